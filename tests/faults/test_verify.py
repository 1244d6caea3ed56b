"""One wrong cell among two million rows, in either store, is found and named, in the memory of a small process."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from deltalake import DeltaTable, write_deltalake
from fleetlake.lake import Lake

pytestmark = pytest.mark.timeout(600)

TABLE = "powunity.position"
DAYS = 40
ROWS_A_DAY = 50_000
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MOST_MB = 700
PROGRAM = """
import atexit, pathlib, runpy, sys
# Told by the process itself: what wait4 tells of a child counts the memory of its parent too, from before the exec.
atexit.register(lambda: print(pathlib.Path("/proc/self/status").read_text(), file=sys.stderr))
runpy.run_module("fleetlake.cli", run_name="__main__")
"""


def rows_of_day(contract, day):
    """Positions of a day: 500 devices that drive around, with the JSON columns that real ones have."""
    generator = np.random.default_rng(day)
    number = np.arange(ROWS_A_DAY)
    start_us = int((START + dt.timedelta(days=day)).timestamp()) * 1_000_000
    moments = pa.array(start_us + number * (86_400_000_000 // ROWS_A_DAY)).cast(pa.timestamp("us", "UTC"))
    made = {
        "account": pa.repeat(pa.scalar("north"), ROWS_A_DAY),
        "position_id": pa.array(day * ROWS_A_DAY + number),
        "device_id": pa.array(number % 500),
        "protocol": pa.array(np.array(["osmand", "teltonika"])[number % 2]),
        "network": pa.array(np.char.add(np.char.add('{"radioType":"lte","cells":[', number.astype(str)), ",1.5]}")),
        "raw_page": pa.array(np.char.add(f"powunity/north/positions/{day}/", (number // 1000).astype(str))),
        "raw_row": pa.array(number % 1000, pa.int32()),
        "load_id": pa.repeat(pa.scalar(f"load-{day}"), ROWS_A_DAY),
    }
    columns = []
    for column in contract.all_columns:
        if column.name in made:
            values = made[column.name]
        elif column.type == "timestamptz" and column.name != "deleted_at":
            values = moments
        elif column.type == "double precision":
            values = pa.array(np.round(generator.random(ROWS_A_DAY) * 100, 4))
        elif column.type == "boolean":
            values = pa.array(generator.random(ROWS_A_DAY) < 0.5)
        else:
            values = pa.nulls(ROWS_A_DAY, column.arrow_type)
        columns.append(values.cast(column.arrow_type))
    return pa.table(columns, schema=contract.arrow_schema)


@pytest.fixture(scope="module")
def place(make_database, contracts, tmp_path_factory):
    """Both stores with the same two million rows, and a way to verify them in a process of its own."""
    folder = tmp_path_factory.mktemp("verify")
    url, contract = make_database(migrated=True), contracts[TABLE]
    lake = Lake(str(folder / "lake"))
    names = ", ".join(column.name for column in contract.all_columns)
    with psycopg.connect(url.replace("+psycopg", "")) as connection, connection.cursor() as cursor:
        # Filled first, indexed then: half the time.
        indexes = cursor.execute(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'powunity' AND tablename = 'position'"
            " AND indexname <> 'position_pkey'"
        ).fetchall()
        cursor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT position_pkey")
        for (definition,) in indexes:
            cursor.execute(f"DROP INDEX powunity.{definition.split()[2]}")
        for day in range(DAYS):
            rows = rows_of_day(contract, day)
            if day == 0:
                lake.publish(contract, rows, "load-0")
            else:
                write_deltalake(
                    lake.uri(contract), rows.append_column("day", rows["event_time"].cast(pa.date32())), mode="append"
                )
            with cursor.copy(f"COPY {TABLE} ({names}) FROM STDIN (FORMAT csv)") as copy:
                for start in range(0, ROWS_A_DAY, 10_000):
                    text = io.BytesIO()
                    pa_csv.write_csv(rows.slice(start, 10_000), text, pa_csv.WriteOptions(include_header=False))
                    copy.write(text.getbuffer())
        cursor.execute(f"ALTER TABLE {TABLE} ADD PRIMARY KEY ({', '.join(contract.key)})")
        for (definition,) in indexes:
            cursor.execute(definition)
    environment = os.environ | {
        "FLEETLAKE_HOME": str(folder / "home"),
        "FLEETLAKE_WAREHOUSE_URL": url,
        "FLEETLAKE_LAKE_URL": lake.url,
        "FLEETLAKE_RAW_URL": str(folder / "raw"),
    }

    def verify(*options):
        """Exit status, report, seconds, peak memory in MB."""
        begun = time.monotonic()
        command = [sys.executable, "-c", PROGRAM, "verify", TABLE, "--json", *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        peak_mb = int(done.stderr.rpartition("VmHWM:")[2].split()[0]) / 1024
        return done.returncode, json.loads(done.stdout), time.monotonic() - begun, peak_mb

    def change(statement):
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute(statement)

    return verify, change, DeltaTable(lake.uri(contract))


def test_two_million_equal_rows_are_proven_equal_in_little_memory(place):
    verify, _, _ = place
    _, small, _, small_mb = verify("--from", "2026-01-01", "--to", "2026-01-05")
    status, report, seconds, most_mb = verify()
    print(f"\n{report['warehouse']['rows']} rows of {TABLE} equal: {seconds:.1f} s, peak {most_mb:.0f} MB"
          f" ({small['warehouse']['rows']} rows: {small_mb:.0f} MB)")  # fmt: skip
    assert (status, report["equal"], report["differences"]) == (0, True, [])
    assert report["warehouse"] == report["lake"]
    assert report["warehouse"]["rows"] == DAYS * ROWS_A_DAY
    assert small["warehouse"]["rows"] == 4 * ROWS_A_DAY
    assert most_mb < MOST_MB
    assert most_mb < 2 * small_mb  # with ten times the rows: the two readers may come to their peaks together


def test_a_cell_flipped_in_the_warehouse_is_named(place):
    verify, change, _ = place
    change(f"UPDATE {TABLE} SET speed_kmh = -speed_kmh WHERE position_id = 1234567")
    try:
        status, report, seconds, most_mb = verify()
    finally:
        change(f"UPDATE {TABLE} SET speed_kmh = -speed_kmh WHERE position_id = 1234567")
    print(f"\none cell of {report['lake']['rows']} rows flipped in the warehouse: {seconds:.1f} s, peak {most_mb:.0f} MB")
    assert (status, report["differing"], report["days"]) == (1, 1, ["2026-01-25"])
    (difference,) = report["differences"]
    assert difference["key"] == {"account": "north", "position_id": 1234567}
    assert list(difference["cells"]) == ["speed_kmh"]
    cell = difference["cells"]["speed_kmh"]
    assert cell["warehouse"] == -cell["lake"] != 0
    assert most_mb < MOST_MB


def test_a_cell_flipped_in_the_lake_is_named(place):
    verify, _, table = place
    table.update_incremental()
    table.update(updates={"network": """'{"cells":[1,1.5],"radioType":"gsm"}'"""}, predicate="position_id = 765432")
    status, report, seconds, most_mb = verify()
    print(f"\none cell of {report['lake']['rows']} rows flipped in the lake: {seconds:.1f} s, peak {most_mb:.0f} MB")
    assert (status, report["differing"], report["days"]) == (1, 1, ["2026-01-16"])
    (difference,) = report["differences"]
    assert difference["key"] == {"account": "north", "position_id": 765432}
    assert list(difference["cells"]) == ["network"]
    assert '"gsm"' in difference["cells"]["network"]["lake"]
    assert '"lte"' in difference["cells"]["network"]["warehouse"]
    assert most_mb < MOST_MB
