"""The vendor-neutral tables equal what the generator knows about its vehicles, whichever vendor told of them."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from itertools import pairwise

import pytest
from fleetlake.canonical import Digest, canonical_row
from fleetlake.fleet_tables import load_fleet_tables
from fleetlake.sandbox.fleet import TABLES
from fleetlake.sandbox.rcs.park import Park
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.sandbox.world import BIKE, day_number, moment
from fleetlake.settings import Settings
from fleetlake.window import Window, utc

from ..loaded import ASSUMPTIONS, FleetPlace
from .conftest import INCLUDE

# Days on which a car is filled, a truck is robbed, and both bikes of the moved tracker are ridden.
DAYS = Window.parse("2026-11-12", "2026-11-14")
SOON, LATER = utc("2026-11-14T00:00"), utc("2026-11-20T00:00")
MOVED_AT = "2026-11-13T03:00:00+00:00"
MOVED = {"powunity.moved_bike": 2, "powunity.moved_at": MOVED_AT, "powunity.moved_onto": 5}
NO_FILE = "vehicles: []\n"
FILE = """
vehicles:
  - id: bike-3
    name: Old bike
    devices: [{{vendor: powunity, account: north, id: 10032, to: "{moved}"}}]
  - id: bike-6
    name: New bike
    devices: [{{vendor: powunity, account: north, id: 10032, from: "{moved}", odometer_m: 250000}}]
  - id: bike-1
    name: One bike, two trackers
    devices:
      - {{vendor: powunity, account: north, id: 10000, to: "2026-11-13T00:00:00Z"}}
      - {{vendor: powunity, account: north, id: 10048, from: "2026-11-13T00:00:00Z"}}
  - id: van
    name: A tracker, and from noon a better device
    plate: VAN 1
    devices:
      - {{vendor: powunity, account: north, id: 10016}}
      - {{vendor: rcs, account: main, id: {car}, from: "2026-11-12T12:00:00Z"}}
  - id: truck
    vin: VF1AAAAAAA1234567
    devices:
      - {{vendor: omnicomm, account: trucks, id: 202000004, from: "2026-11-12T06:00:00Z"}}
      - {{vendor: powunity, account: north, id: 10016, from: "2026-11-13"}}
      - {{vendor: omnicomm, account: trucks, id: 999}}
  - id: sold
    devices: [{{vendor: suivideflotte, account: france, id: 40008, to: "2026-11-13"}}]
"""


pytestmark = pytest.mark.timeout(600)  # one load serves all tests of this file, and counts for the first


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_database):
    """Two days of every vendor, of which some data is still on its way."""
    home = tmp_path_factory.mktemp("fleet")
    sandbox_settings = SandboxSettings(
        state_dir=home / "sandbox",
        as_of=SOON,
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
        place.load_days(DAYS)
        yield place
        place.warehouse.close()


@pytest.fixture(scope="module")
def truth_with(place):
    """Give truth with a mapping file, after the house was built with it."""
    built = {}

    def make(text):
        now = place.sandbox.context.clock.now()
        if place.mapping.read_text() != text or not built:
            place.mapping.write_text(text)
            place.build()
        return built.setdefault((text, now), place.truth(DAYS))

    return make


@pytest.fixture(scope="module")
def file(place):
    """The customer's word: trackers that change vehicles, devices from some hour on, and two mistakes."""
    car = list(Park(place.sandbox.context).readable("main"))[4]
    return FILE.format(moved=MOVED_AT, car=car.id)


def difference(place, table, found, expected):
    """What a person wants to see first: rows on one side only, or the first row that differs."""
    key = load_fleet_tables(place.settings.include)[f"fleet.{table}"].key or (
        "vehicle_key",
        "event_time",
        "vendor_vehicle_id",
    )
    sides = [
        {tuple(str(row[name]) for name in key): json.loads(canonical_row(row)) for row in rows} for rows in (found, expected)
    ]
    for name, one, other in (("only in the warehouse", *sides), ("only in truth", *sides[::-1])):
        if extra := sorted(set(one) - set(other)):
            return f"{table}: {len(extra)} rows {name}, the first: {one[extra[0]]}"
    for number in sorted(sides[0]):
        row, true = sides[0][number], sides[1][number]
        cells = {name: (row.get(name), true.get(name)) for name in {**row, **true} if row.get(name) != true.get(name)}
        if cells or set(row) != set(true):
            return (
                f"{table} {dict(zip(key, number, strict=True))}: (warehouse, truth) {cells}, columns {set(row) ^ set(true)}"
            )
    return f"{table}: {len(found)} rows, {len(expected)} true ones, some of them twice"


def assert_true(place, truth, table):
    found, expected = place.fleet_rows(table), list(truth.rows(table))
    equal = Digest.of(found) == Digest.of(expected)
    assert equal, difference(place, table, found, expected)
    return len(found)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_equals_truth(place, truth_with, table):
    """Vehicles that several vendors know are found by VIN and plate."""
    assert assert_true(place, truth_with(NO_FILE), table) > 0


@pytest.mark.parametrize("table", TABLES)
def test_every_table_equals_truth_with_a_mapping_file_and_a_moved_tracker(place, truth_with, file, table):
    assert assert_true(place, truth_with(file), table) > 0


def test_the_days_hold_what_the_definitions_are_about(place, truth_with):
    """Otherwise agreement would say little."""
    truth_with(NO_FILE)
    assert place.sql("SELECT DISTINCT vendor FROM fleet.trip ORDER BY 1") == [
        ("omnicomm",),
        ("powunity",),
        ("rcs",),
        ("suivideflotte",),
    ]
    kinds = {(vendor, kind) for vendor, kind in place.sql("SELECT vendor, kind FROM fleet.fuel_event")}
    assert {("omnicomm", "drain"), ("rcs", "refuel")} <= kinds
    shared = place.sql("SELECT vehicle_key FROM fleet.vehicle_identity GROUP BY 1 HAVING count(DISTINCT vendor) > 1")
    assert len(shared) == 5
    twice = (
        "SELECT count(*) FROM fleet.trip a JOIN fleet.trip b USING (vehicle_key, day)"
        " WHERE a.vendor < b.vendor AND a.start_time < b.end_time AND a.end_time > b.start_time"
    )
    assert place.sql(twice) == [(0,)], "a ride that two vendors tell of counts once"
    alone = "SELECT count(*) > 0 FROM fleet.vehicle_day WHERE sources ~ 'suivideflotte' AND sources ~ ','"
    assert place.sql(alone) == [(True,)], "a ride that only the worse device tells of counts too"
    assert place.sql("SELECT count(*) FROM fleet.trip WHERE is_private AND start_latitude_deg IS NOT NULL") == [(0,)]
    assert place.sql("SELECT count(*) > 0 FROM fleet.trip WHERE is_private") == [(True,)]
    drivers = place.sql("SELECT DISTINCT split_part(driver_key, ':', 1) FROM fleet.trip WHERE is_derived ORDER BY 1")
    assert ("suivideflotte",) in drivers, "a trip made from samples has the driver whom another device's trip names"
    assert place.sql("SELECT count(*) > 0 FROM fleet.vehicle_day WHERE trust_score < 100") == [(True,)]


def test_distance_and_trips_of_a_moved_tracker_go_to_the_bike_that_was_ridden(place, truth_with, file):
    truth_with(file)
    fleet = place.sandbox.context.world.fleet("powunity.north", 6, BIKE)
    for key, bike, window in (
        ("bike-3", fleet[2], Window(DAYS.start, utc(MOVED_AT))),
        ("bike-6", fleet[5], Window(utc(MOVED_AT), DAYS.end)),
    ):
        seconds = range(day_number(window.start), day_number(window.end - dt.timedelta(seconds=1)) + 1)
        samples = [sample for day in seconds for sample in bike.samples(day) if moment(sample.time) in window]
        driven = samples[-1].odometer_m - samples[0].odometer_m
        ((found, trips),) = place.sql(f"SELECT sum(distance_m), count(*) FROM fleet.trip WHERE vehicle_key = '{key}'")
        assert trips > 1
        assert found == pytest.approx(driven, rel=0.1, abs=600)
    assert place.sql("SELECT count(*) FROM fleet.trip WHERE vehicle_key = 'powunity:north:10032'") == [(0,)]


def test_the_odometer_of_a_vehicle_never_runs_backwards(place, truth_with, file):
    """Neither when a tracker is put onto it, nor when another one takes its place."""
    truth_with(file)
    readings = defaultdict(list)
    query = "SELECT vehicle_key, odometer_m FROM fleet.position WHERE vendor = 'powunity' ORDER BY event_time"
    for key, metres in place.sql(query):
        readings[key].append(metres)
    assert {"bike-1", "bike-3", "bike-6"} <= set(readings)
    for metres in readings.values():
        assert all(before <= after for before, after in pairwise(metres))
    assert readings["bike-6"][0] == 250_000
    trackers = "SELECT count(DISTINCT vendor_vehicle_id) FROM fleet.position WHERE vehicle_key = 'bike-1'"
    assert place.sql(trackers) == [(2,)]


def test_mistakes_in_file_and_vendors_data_are_told(place, truth_with, file):
    mistyped = "same_plate_different_vin"
    truth_with(NO_FILE)
    assert place.sql("SELECT kind FROM fleet.vehicle_conflict") == [(mistyped,)]
    truth_with(file)
    assert place.sql(
        "SELECT kind, subject FROM fleet.vehicle_conflict WHERE kind <> 'same_plate_different_vin' ORDER BY 1"
    ) == [
        ("overlapping_assignment", "powunity:north:10016"),
        ("unknown_device", "omnicomm:trucks:999"),
    ]


def test_building_everything_anew_changes_no_row(place, truth_with, file):
    truth_with(file)
    report = place.build(full=True)
    assert report.is_full
    assert (report.inserted, report.updated, report.deleted) == (0, 0, 0)


def test_late_data_changes_the_days_it_belongs_to_and_nothing_is_left_behind(place, truth_with, file):
    """Days later the vehicles have sent what they held back: read again, the tables are true again."""
    truth_with(file)
    before = place.sql("SELECT sum(distance_m) FROM fleet.trip")
    place.sandbox.context.clock.set(LATER)
    place.load_days(DAYS, run_id="again", force=True)
    report = place.build()
    assert not report.is_full
    assert report.inserted + report.updated > 0
    assert place.sql("SELECT sum(distance_m) FROM fleet.trip") > before
    for table in TABLES:
        assert_true(place, place.truth(DAYS), table)
