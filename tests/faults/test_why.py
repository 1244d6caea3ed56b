"""A thousand rows taken at random from every table of a loaded house: each leads to the bytes of the vendor's answer and back."""

from __future__ import annotations

import datetime as dt
import json
import random
import time
from collections import Counter
from dataclasses import replace

import msgspec
import pytest
from fleetlake.fleet import origin
from fleetlake.fleet_tables import load_fleet_tables
from fleetlake.pipeline.why import Why
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.settings import Settings
from fleetlake.window import Window

from tests.warehouse.loaded import ASSUMPTIONS, INCLUDE, FleetPlace

pytestmark = pytest.mark.timeout(600)

AS_OF = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
WINDOW = Window(AS_OF - dt.timedelta(days=2), AS_OF)
SAMPLE = 1000


@pytest.fixture(scope="module")
def loaded(make_database, tmp_path_factory):
    """Two days of all five vendors, and the fleet built from them."""
    folder = tmp_path_factory.mktemp("why")
    fleet = {"vehicles": 4, "bikes": 3, "trucks": 3, "cars": 4}
    with running(SandboxSettings(state_dir=folder / "sandbox", as_of=AS_OF, assumptions=ASSUMPTIONS, **fleet)) as sandbox:
        settings = Settings(
            home=folder,
            include=INCLUDE,
            warehouse_url=make_database(migrated=True),
            lake_url=str(folder / "lake"),
            raw_url=str(folder / "raw"),
        )
        place = FleetPlace(sandbox, settings)
        place.load_days(WINDOW)
        place.load_users("2026-11-21", window=WINDOW, partition=None)
        with place.pipeline("omnicomm") as pipeline:
            run = place.run("omnicomm", "2026-11-21", window=WINDOW, partition=None)
            (scopes,) = pipeline.plan(replace(run, force=True), entity_feed="vehicle_tree", feeds=[])
            pipeline.load(run, feeds=["statistics", "journal", "journal_additional", "states"], scopes=scopes)
        place.build()
    # The vendors are gone from here on.
    yield place
    place.warehouse.close()


def sampled(place, tables, number):
    """Random rows of some tables, as evenly spread over them as there are rows."""
    pools = {}
    for table, names in tables.items():
        found, rows = place.warehouse.query(f"SELECT {', '.join(names)} FROM {table} ORDER BY random() LIMIT {number}")
        pools[table] = [dict(zip(found, row, strict=True)) for row in rows]
    chosen = []
    while len(chosen) < number and any(pools.values()):
        for table, pool in pools.items():
            if pool and len(chosen) < number:
                chosen.append((table, pool.pop()))
    random.Random(1).shuffle(chosen)
    return chosen


def check_vendor_row(asked, contract, row):
    """The row's origin, proven: bytes that are the vendor's object, a request, a run, and the same cells again."""
    found = asked.origin(contract, row)
    body = asked._raw.body(found.page)
    assert found.place is not None, (contract.table, row)
    vendors_own = json.loads(body[found.place.start : found.place.end])
    assert isinstance(vendors_own, dict)
    assert json.loads(found.raw) == vendors_own
    read = msgspec.json.decode(asked._read(row["raw_page"], contract).places.rows[row["raw_row"]])
    known = {str(value) for value in leaves(vendors_own)}
    shared = [value for value in leaves(read) if str(value) in known]
    assert shared, "the row has nothing of the object it is said to be"
    assert found.is_same, (contract.table, [cell for cell in found.cells if not cell.is_same])
    assert found.page.request
    assert found.page.status == 200
    assert found.load["run_id"]
    assert found.load["dag_id"]
    assert found.load["contract_version"] == contract.version
    return found


def leaves(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif value is not None:
        yield value


def test_a_thousand_random_rows_lead_to_the_vendors_bytes_and_back(loaded):
    contracts = {
        table: [column.name for column in contract.all_columns]
        for table, contract in loaded.contracts.items()
        if loaded.sql(f"SELECT EXISTS (SELECT FROM {table})") == [(True,)]
    }
    model = load_fleet_tables(loaded.settings.include)
    fleet = {name: list(table.names) for name, table in model.items()}
    rows = [*sampled(loaded, contracts, SAMPLE * 6 // 10), *sampled(loaded, fleet, SAMPLE * 4 // 10)]
    assert len(rows) == SAMPLE
    tables, shapes = Counter(table for table, _ in rows), Counter()
    vendor_rows, seconds = 0, -time.monotonic()
    without_source = Counter()
    with loaded.warehouse.session() as connection:
        asked = Why(loaded.settings, connection)
        for name, row in rows:
            if name in loaded.contracts:
                found = check_vendor_row(asked, loaded.contracts[name], row)
                shapes["with fields beside it" if found.place.added else "as it stands"] += 1
                shapes["repeated in the answer"] += bool(found.place.elsewhere)
                vendor_rows += 1
                continue
            connection.commit()
            again = origin.made_again(connection, loaded.settings.include, model[name], row)
            assert again == row, name
            sources = list(origin.sources(connection, loaded.contracts, model[name], row, limit=2))
            without_source[name] += not sources
            for source in sources:
                for item in source.rows:
                    check_vendor_row(asked, source.contract, item)
                    vendor_rows += 1
    seconds += time.monotonic()
    print(
        f"\n{SAMPLE} random rows of {len(tables)} tables (fewest {min(tables.values())} of one): all resolved, all read again"
        f" as stored; {vendor_rows} vendors' rows behind them, {dict(shapes)}; {seconds:.0f} s"
    )
    # An unknown device of the mapping file is told by no vendor: it is the only kind of row without a source.
    assert set(+without_source) <= {"fleet.vehicle_conflict"}
    assert len(tables) >= 40
    assert vendor_rows > SAMPLE


def test_rows_that_are_gone_at_the_vendor_lead_to_the_answer_that_had_them(loaded):
    contract = loaded.contracts["powunity.trip"]
    names = [column.name for column in contract.all_columns]
    found, rows = loaded.warehouse.query(f"SELECT {', '.join(names)} FROM powunity.trip LIMIT 1")
    row = dict(zip(found, next(iter(rows)), strict=True)) | {"deleted_at": AS_OF, "load_id": "a later load"}
    with loaded.warehouse.session() as connection:
        origin_of_row = Why(loaded.settings, connection).origin(contract, row)
    assert origin_of_row.is_same
    assert "no longer has it" in origin_of_row.notes[0]
    assert "had brought it" in origin_of_row.notes[0]
