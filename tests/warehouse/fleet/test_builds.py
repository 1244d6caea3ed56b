"""Builds beside each other, builds that are killed, builds of many vehicles, and the commands that start them."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fleetlake import cli, fleet
from fleetlake.changes import Deletion
from fleetlake.errors import ConfigError

from .house import DAY, House, at, whole

VEHICLES, DAYS = 12, 3


def fill(house: House, days: range = range(DAYS)) -> None:
    """Twelve bikes that ride twice a day."""
    house.load("powunity.device", *({"device_id": number} for number in range(VEHICLES)))
    house.load(
        "powunity.trip",
        *(
            {"device_id": n, "start_time": at(f"{hour:02}:00", d), "end_time": at(f"{hour:02}:30", d), "distance_m": 100.0 * hour}
            for n in range(VEHICLES) for d in days for hour in (8, 18)
        ),
        proven=[(str(number), whole(days[0], len(days))) for number in range(VEHICLES)],
    )  # fmt: skip


def assert_equal_to_full(house: House) -> None:
    before = house.everything(built_at=True)
    report = house.build(full=True)
    assert (report.inserted, report.updated, report.deleted, report.restatements) == (0, 0, 0, 0)
    assert house.everything(built_at=True) == before


def test_two_builds_at_once_do_the_work_once(house: House) -> None:
    fill(house)
    reports: list[fleet.Report] = []
    threads = [threading.Thread(target=lambda: reports.append(fleet.build(house.settings, batch=5))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(report.units for report in reports) == [0, 0, VEHICLES * DAYS]
    assert sum(report.inserted for report in reports) == VEHICLES * DAYS * 4 + 2 * VEHICLES  # trips, stop, day; who is who
    assert_equal_to_full(house)


def test_a_build_waits_for_the_one_before_it(house: House) -> None:
    fill(house)
    with house.warehouse.session() as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('fleetlake:model', 0))")
        other.commit()
        thread = threading.Thread(target=house.build)
        thread.start()
        deadline = time.monotonic() + 30
        while not house.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert time.monotonic() < deadline
        assert house.rows("SELECT count(*) AS n FROM ops.model_build") == [{"n": 0}]
    thread.join(60)
    assert len(house.table("vehicle_day", "day")) == VEHICLES * DAYS


@pytest.mark.parametrize("batches", [1, 3])
def test_a_build_that_is_killed_between_batches_is_finished_by_the_next(new_house: House, batches: int) -> None:
    house = new_house
    fill(house)
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("builder_process.py"), str(house.settings.warehouse_url), house.include, "7"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin and process.stdout
    for number in range(1, batches + 1):
        assert process.stdout.readline().split()[0] == str(7 * number)
        if number < batches:
            process.stdin.write("\n")
            process.stdin.flush()
    process.kill()
    process.wait(30)
    process.stdin.close()
    process.stdout.close()

    assert len(house.table("vehicle_day", "day")) == 7 * batches
    assert house.rows("SELECT count(*) AS n FROM ops.change") == [{"n": 0}], "taken up, and in the queue"
    found = fleet.status(house.warehouse)
    assert (found["units_waiting"], found["unfinished_builds"]) == (VEHICLES * DAYS - 7 * batches, 1)

    # What comes in between is built with the rest.
    house.load("powunity.trip", {"device_id": 0, "start_time": at("12:00"), "end_time": at("12:30"), "distance_m": 5.0})
    house.build()
    assert len(house.table("vehicle_day", "day")) == VEHICLES * DAYS
    assert house.one("vehicle_day", f"vehicle_key = 'powunity:north:0' AND day = '{DAY}'")["trips"] == 3
    found = fleet.status(house.warehouse)
    assert (found["units_waiting"], found["unfinished_builds"]) == (0, 0)
    assert_equal_to_full(house)


def test_a_build_that_breaks_leaves_no_batch_half(house: House) -> None:
    fill(house)
    house.build()
    before = house.everything(built_at=True)
    house.load(
        "powunity.trip", {"device_id": 0, "start_time": at("12:00"), "end_time": at("12:30"), "distance_m": float("inf")}
    )
    house.load("powunity.trip", {"device_id": 1, "start_time": at("12:00"), "end_time": at("12:30"), "distance_m": 1.0})
    with house.warehouse.session() as connection:
        connection.execute(
            "ALTER TABLE fleet.stop ADD CONSTRAINT broken CHECK (vehicle_key <> 'powunity:north:1') NOT VALID"
        )
        connection.commit()
    try:
        with pytest.raises(Exception, match="broken"):
            house.build(batch=1)
        after = house.everything(built_at=True)
        changed = {row for table in after for row in set(after[table]) ^ set(before[table])}
        assert {value for row in changed for value in row if str(value).startswith("powunity:north:")} == {
            "powunity:north:0"
        }
    finally:
        with house.warehouse.session() as connection:
            connection.execute("ALTER TABLE fleet.stop DROP CONSTRAINT broken")
            connection.commit()
    house.build()
    assert house.one("vehicle_day", f"vehicle_key = 'powunity:north:1' AND day = '{DAY}'")["trips"] == 3
    assert_equal_to_full(house)


def test_twelve_vehicles_with_samples_are_built_in_seconds(house: House) -> None:
    """A record every thirty seconds from six to eighteen."""
    house.load("rcs.vehicle", *({"vehicle_id": f"car-{number}"} for number in range(VEHICLES)))
    moments = [(hour, minute, second) for hour in range(6, 18) for minute in range(60) for second in (0, 30)]
    for number in range(VEHICLES):
        house.load(
            "rcs.telemetry",
            *(
                {"vehicle_id": f"car-{number}", "revision": f"{number}-{d}-{n:05}", "event_time": at(f"{h:02}:{m:02}:{s:02}", d),
                 "speed_kmh": 50.0 if m < 40 else 0.0, "odometer_m": d * 1e6 + n * 400.0, "fuel_level_l": 60 - n / 100,
                 "is_ignition_on": m < 45, "latitude_deg": 48 + n / 1e5, "longitude_deg": 16.0}
                for d in range(DAYS) for n, (h, m, s) in enumerate(moments)
            ),
        )  # fmt: skip
    started = time.process_time()
    report = house.build()
    assert report.units >= VEHICLES * DAYS
    assert house.rows("SELECT count(*) AS n, min(trips) AS low FROM fleet.vehicle_day") == [
        {"n": VEHICLES * DAYS, "low": 12}
    ]
    # 52,000 records; alone on the machine a second or two.
    assert report.seconds < 20, time.process_time() - started


def test_a_model_that_declares_other_columns_is_built_anew(new_house: House) -> None:
    house = new_house
    fill(house)
    house.build()
    before = house.everything()
    path = house.include / "fleet" / "model" / "stop.yaml"
    path.write_text(path.read_text().replace("name: address", "name: place_address"))
    queries = house.include / "sql"
    source = queries.resolve()
    queries.unlink()
    shutil.copytree(source, queries)
    query = queries / "fleet" / "020_stop.sql"
    query.write_text(query.read_text().replace("AS address", "AS place_address"))
    report = house.build()
    assert report.is_full
    assert house.table("stop", "place_address", "start_time")
    assert house.everything()["fleet.trip"] == before["fleet.trip"]


def test_a_build_that_dies_after_making_a_table_anew_leaves_the_full_build_to_the_next(new_house: House) -> None:
    """It dies while it waits for a lock, between making tables and filling the queue."""
    house = new_house
    fill(house)
    house.build()
    before = house.everything()
    with house.warehouse.session() as connection:
        connection.execute("DROP TABLE fleet.trip, fleet.stop CASCADE")
        connection.commit()
    failed: list[BaseException] = []

    def die() -> None:
        try:
            fleet.build(house.settings)
        except Exception as error:
            failed.append(error)

    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO ops.model_build%'"
    with house.warehouse.session() as other:
        other.execute("LOCK TABLE ops.model_build IN SHARE MODE")
        thread = threading.Thread(target=die)
        thread.start()
        deadline = time.monotonic() + 30
        while not (found := house.rows(waiting)):
            assert time.monotonic() < deadline
        other.execute("SELECT pg_terminate_backend(%s)", [found[0]["pid"]])
        thread.join(60)
        other.rollback()
    assert failed
    report = house.build()
    assert report.is_full
    assert house.everything() == before


def test_another_query_builds_all_anew_and_another_comment_nothing(new_house: House) -> None:
    house = new_house
    queries = house.include / "sql"
    source = queries.resolve()
    queries.unlink()
    shutil.copytree(source, queries)
    fill(house)
    assert house.build().is_full
    assert not house.build().is_full
    assert len(house.table("stop", "start_time")) == VEHICLES * DAYS
    query = queries / "fleet" / "020_stop.sql"
    query.write_text(query.read_text().replace("interval '300 seconds'", "interval '20 hours'"))
    report = house.build()
    assert report.is_full
    assert house.table("stop", "start_time") == []
    declared = house.include / "fleet" / "model" / "stop.yaml"
    declared.write_text(declared.read_text().replace("description: UTC day.", "description: The UTC day."))
    report = house.build()
    assert (report.is_full, report.units) == (False, 0)
    assert_equal_to_full(house)


def test_a_dropped_vendor_table_does_not_stop_the_next_build(new_house: House) -> None:
    """The runbook drops a table whose contract has changed its types; the view on it goes along."""
    fill(new_house)
    new_house.build()
    with new_house.warehouse.session() as connection:
        connection.execute("DROP TABLE powunity.position CASCADE")
        connection.execute("DROP TABLE powunity.event CASCADE")
        connection.commit()
    new_house.build()
    assert new_house.rows("SELECT count(*) AS n FROM fleet.position") == [{"n": 0}]
    assert new_house.rows("SELECT to_regclass('powunity.event_geofence')::text AS name") == [
        {"name": "powunity.event_geofence"}
    ]


def test_every_column_in_the_database_has_its_meaning_and_unit(house: House) -> None:
    house.build()
    missing = house.rows(
        """
        SELECT c.relname, a.attname FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'fleet'::regnamespace AND c.relkind IN ('r', 'v') AND col_description(c.oid, a.attnum) IS NULL
        """
    )
    assert missing == []
    (row,) = house.rows("SELECT col_description('fleet.trip'::regclass, attnum) AS text FROM pg_attribute"
                        " WHERE attrelid = 'fleet.trip'::regclass AND attname = 'average_speed_kmh'")  # fmt: skip
    assert row["text"].endswith("[km/h]")


# --- commands -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ask(house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command against the house; gives exit status, standard output, standard error."""
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", str(house.settings.warehouse_url))
    monkeypatch.setenv("FLEETLAKE_HOME", str(house.settings.home))
    monkeypatch.setenv("FLEETLAKE_INCLUDE", str(house.include))

    def run(*arguments: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def test_the_model_is_built_and_told_from_a_terminal(house: House, ask: Any) -> None:
    fill(house)
    status, out, _ = ask("model", "build", "--json")
    report = json.loads(out)
    assert (status, report["units"], report["vehicles"], report["waiting"]) == (0, VEHICLES * DAYS, VEHICLES, 0)
    status, out, _ = ask("model", "build", "--full")
    assert status == 0
    assert "36 vehicle-days built (all)" in out
    assert "0 rows new, 0 changed, 0 gone, 0 restatements; 12 vehicles, 0 conflicts" in out
    house.load("powunity.trip", {"device_id": 0, "start_time": at("12:00"), "end_time": at("12:30")}, over=False)
    _, _, err = ask("model", "build")
    assert "1 changes and 0 vehicle-days wait" in err
    status, out, _ = ask("model", "status", "--json")
    found = json.loads(out)
    assert (found["built"], found["vehicle_days"], found["changes_waiting"]) == (True, VEHICLES * DAYS, 1)
    _, out, _ = ask("model", "status")
    assert "vehicle days" in out


def test_digests_cover_the_model(house: House, ask: Any) -> None:
    fill(house)
    house.build()
    status, out, _ = ask("digest", "fleet.trip", "fleet.vehicle", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [(line["table"], line["warehouse"]["rows"]) for line in lines] == [
        ("fleet.trip", 72),
        ("fleet.vehicle", VEHICLES),
    ]
    _, out, _ = ask("digest", "fleet.trip", "--from", "2026-03-02", "--to", "2026-03-03", "--json")
    assert json.loads(out)["warehouse"]["rows"] == 24
    _, out, _ = ask("digest", "fleet.trip", "--account", "south", "--json")
    assert json.loads(out)["warehouse"]["rows"] == 0
    _, out, _ = ask("digest", "--store", "warehouse", "--json")
    tables = [json.loads(line)["table"] for line in out.splitlines()]
    assert {"powunity.trip", "fleet.vehicle_day", "fleet.driver"} <= set(tables)
    assert "fleet.position" not in tables, "a view: its rows are counted where they are"
    status, _, err = ask("digest", "fleet.trips")
    assert status == 2
    assert "fleet.trip" in err


def test_the_status_of_a_house_without_a_model_says_so(new_house: House) -> None:
    assert fleet.status(new_house.warehouse) == {"built": False}
    with pytest.raises(ConfigError, match="no warehouse"):
        fleet.build(dataclasses.replace(new_house.settings, warehouse_url=None))


def test_a_deleted_fact_leaves_a_day_that_is_proven_empty(house: House) -> None:
    fill(house, range(1))
    house.build()
    house.load("powunity.trip", delete=Deletion(account="north", scopes=[3], window=whole(), at=at("00:00")))
    report = house.build()
    assert (report.deleted, report.updated) == (3, 1)
    assert house.table("vehicle_day", "distance_m", "trips", "sources", where="trips = 0") == [(0.0, 0, "")]
    told = house.rows("SELECT table_name, kind FROM ops.restatement ORDER BY 1")
    assert {(row["table_name"], row["kind"]) for row in told} == {
        ("fleet.stop", "removed"), ("fleet.trip", "removed"), ("fleet.vehicle_day", "changed"),
    }  # fmt: skip
