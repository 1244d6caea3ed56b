"""The vendor-neutral tables equal what the generator knows about its vehicles, whichever vendor told of them."""

from __future__ import annotations

import json

import pytest
from fleetlake.canonical import Digest, canonical_row
from fleetlake.fleet_tables import load_fleet_tables
from fleetlake.sandbox.fleet import TABLES
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.settings import Settings
from fleetlake.window import Window

from ..loaded import ASSUMPTIONS, FleetPlace
from .conftest import AS_OF, INCLUDE

DAYS = Window.parse("2026-11-20", "2026-11-22")
MOVED_AT = "2026-11-21T03:00:00+00:00"
MOVED = {"powunity.moved_bike": 1, "powunity.moved_at": MOVED_AT, "powunity.moved_onto": 5}
NO_FILE = "vehicles: []\n"
FILE = f"""
priority: [omnicomm, rcs, suivideflotte, powunity]
vehicles:
  - id: bike-2
    name: Old bike
    devices:
      - {{vendor: powunity, account: north, id: 10016, to: "{MOVED_AT}"}}
  - id: bike-6
    name: New bike
    devices:
      - {{vendor: powunity, account: north, id: 10016, from: "{MOVED_AT}", odometer_m: 250000}}
  - id: bike-1
    name: One bike, two trackers
    devices:
      - {{vendor: powunity, account: north, id: 10000, to: "2026-11-21T00:00:00Z"}}
      - {{vendor: powunity, account: north, id: 10032, from: "2026-11-21T00:00:00Z"}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_database):
    home = tmp_path_factory.mktemp("fleet")
    sandbox_settings = SandboxSettings(
        state_dir=home / "sandbox",
        as_of=AS_OF,
        vehicles=5,
        bikes=4,
        trucks=4,
        cars=8,
        cameras=2,
        assumptions={**ASSUMPTIONS, **MOVED},
    )
    settings = Settings(
        home=home,
        include=INCLUDE,
        warehouse_url=make_database(migrated=True),
        lake_url=str(home / "lake"),
        raw_url=str(home / "raw"),
    )
    with running(sandbox_settings) as sandbox:
        place = FleetPlace(sandbox, settings)
        for day in DAYS.days():
            place.load_day(day.start.date().isoformat())
        yield place
        place.warehouse.close()


@pytest.fixture(scope="module")
def plain(place):
    """Built without a word from the customer: vehicles are found by VIN and plate."""
    place.mapping.write_text(NO_FILE)
    place.build()
    return place, place.truth(DAYS)


@pytest.fixture(scope="module")
def mapped(plain):
    """The customer has said where his trackers are; the same house, built again."""
    place, _ = plain
    before = place.sql("SELECT count(*) FROM fleet.trip WHERE vehicle_key LIKE 'powunity:%'")[0][0]
    place.mapping.write_text(FILE)
    place.build()
    after = place.sql("SELECT count(*) FROM fleet.trip WHERE vehicle_key LIKE 'powunity:%'")[0][0]
    assert after < before, "trips have moved to the vehicles of the file"
    return place, place.truth(DAYS, place.mapping)


def rows_of(place, table):
    """Rows of a table of the warehouse, without the time they were built."""
    names, rows = place.warehouse.query(f"SELECT * FROM fleet.{table}")
    wanted = [name for name in names if name != "built_at"]
    return [{name: value for name, value in zip(names, row, strict=True) if name in wanted} for row in rows]


def difference(place, table, found, expected):
    """What a person wants to see first: rows on one side only, or the first cell that differs."""
    key = load_fleet_tables(place.settings.include)[f"fleet.{table}"].key or (
        "vehicle_key",
        "event_time",
        "vendor_vehicle_id",
    )
    sides = [
        {tuple(str(row[name]) for name in key): json.loads(canonical_row(row)) for row in side} for side in (found, expected)
    ]
    for name, one, other in (("only in the warehouse", *sides), ("only in truth", *sides[::-1])):
        if extra := sorted(set(one) - set(other)):
            return f"{table}: {len(extra)} rows {name}, first {one[extra[0]]}"
    for number in sorted(sides[0]):
        row, truth = sides[0][number], sides[1][number]
        cells = {
            name: (row.get(name, "-"), truth.get(name, "-"))
            for name in {**row, **truth}
            if row.get(name, "-") != truth.get(name, "-")
        }
        if cells:
            return f"{table} {dict(zip(key, number, strict=True))}: (warehouse, truth) = {cells}"
    return f"{table}: {len(found)} rows, {len(expected)} true ones, repeated keys"


def assert_true(place, truth, table):
    found, expected = rows_of(place, table), list(truth.rows(table))
    equal = Digest.of(found) == Digest.of(expected)
    assert equal, difference(place, table, found, expected)
    return len(found)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_equals_truth(plain, table):
    place, truth = plain
    assert assert_true(place, truth, table) > 0


@pytest.mark.parametrize("table", TABLES)
def test_every_table_equals_truth_with_a_mapping_file_and_a_moved_tracker(mapped, table):
    place, truth = mapped
    assert assert_true(place, truth, table) > 0
