"""What is true of the fleet agrees with what its vehicles did in the world, and follows the definitions word by word."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from fleetlake.canonical import Digest, canonical_row
from fleetlake.errors import ConfigError
from fleetlake.sandbox.cli import app
from fleetlake.sandbox.fleet import TABLES, FleetTruth, walks
from fleetlake.sandbox.fleet.histories import snake_case
from fleetlake.sandbox.rcs.park import Park
from fleetlake.sandbox.rooms import Context, room
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.world import BIKE, DAY_S, Vehicle, day_number, moment
from fleetlake.window import Window, utc

sandbox_cli = typer.main.get_command(app)
AS_OF = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)  # nothing of the days is still on its way
DAYS = Window.parse("2026-11-20", "2026-11-22")
ACCOUNTS = [("rcs", "main"), ("powunity", "north")]
MOVED = {"powunity.moved_bike": 1, "powunity.moved_at": "2026-11-21T03:00:00", "powunity.moved_onto": 5}
MOVED_FILE = """
vehicles:
  - id: bike-old
    name: Old bike
    devices: [{vendor: powunity, account: north, id: 10016, to: "2026-11-21T03:00:00Z"}]
  - id: bike-new
    devices: [{vendor: powunity, account: north, id: 10016, from: "2026-11-21T03:00:00Z", odometer_m: 1000}]
"""


def _context(**changes: Any) -> Context:
    return Context.of(SandboxSettings(**{"state_dir": Path("unused"), "as_of": AS_OF, "vehicles": 4, "bikes": 3, **changes}))


@pytest.fixture(scope="module")
def plain() -> FleetTruth:
    """Truth without a file."""
    return FleetTruth(_context(), ACCOUNTS, DAYS)


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "vehicles.yaml"
    path.write_text(text)
    return path


def _driven_m(vehicle: Vehicle, window: Window) -> int:
    """Metres of the odometer from the first to the last sample of the window."""
    days = range(day_number(window.start), day_number(window.end - dt.timedelta(seconds=1)) + 1)
    samples = [sample for day in days for sample in vehicle.samples(day) if moment(sample.time) in window]
    return samples[-1].odometer_m - samples[0].odometer_m


def test_trips_from_samples_are_the_rides_of_the_world() -> None:
    context = _context()
    truth = FleetTruth(context, [("rcs", "main")], DAYS)
    found = defaultdict(list)
    for trip in truth.rows("trip"):
        found[trip["vendor_vehicle_id"]].append(trip)
    rides = 0
    for car in Park(context).readable("main"):
        for ride in car.vehicle.under_way(int(DAYS.start.timestamp()), int(DAYS.end.timestamp())):
            if ride.day * DAY_S + DAY_S < ride.end or ride.start < DAYS.start.timestamp():
                continue  # over midnight: two trips
            near = [
                trip
                for trip in found[car.id]
                if trip["end_time"] > moment(ride.start) and trip["start_time"] < moment(ride.end)
            ]
            rides += 1
            assert near[0]["start_time"] - moment(ride.start) < dt.timedelta(seconds=90)
            assert moment(ride.end) - near[-1]["end_time"] < dt.timedelta(seconds=90)
            assert sum(trip["distance_m"] for trip in near) == pytest.approx(ride.distance_m, rel=0.1)
    assert rides > 10
    for trips in found.values():
        assert all(one["end_time"].date() == one["start_time"].date() for one in trips), "cut at midnight"


def test_days_of_a_car_cover_what_its_odometer_counts() -> None:
    context = _context()
    rows = {
        (row["vehicle_key"], row["day"]): row for row in FleetTruth(context, [("rcs", "main")], DAYS).rows("vehicle_day")
    }
    for car in Park(context).readable("main"):
        for day in DAYS.days():
            row = rows.pop((f"vin:{car.vin}", day.start.date()))
            assert row["distance_m"] == pytest.approx(_driven_m(car.vehicle, day), rel=0.03, abs=300)
            assert row["odometer_end_m"] - row["odometer_start_m"] >= row["distance_m"]
            assert (row["trust_score"], row["trust_notes"]) == (100, "")
            used = row["distance_m"] / 100_000 * car.litres_per_100km
            assert row["fuel_used_l"] is None or row["fuel_used_l"] == pytest.approx(used, abs=1.0)
    assert rows == {}


def test_a_moved_tracker_gives_its_trips_to_the_vehicle_it_was_on(tmp_path: Path) -> None:
    context = _context(assumptions=MOVED)
    truth = FleetTruth(context, [("powunity", "north")], DAYS, _file(tmp_path, MOVED_FILE))
    fleet = context.world.fleet("powunity.north", 6, BIKE)
    moved = utc("2026-11-21T03:00:00")
    driven: dict[str, float] = defaultdict(float)
    for trip in truth.rows("trip"):
        driven[trip["vehicle_key"]] += trip["distance_m"]
    for key, bike, window in (
        ("bike-old", fleet[1], Window(DAYS.start, moved)),
        ("bike-new", fleet[5], Window(moved, DAYS.end)),
    ):
        assert driven[key] == pytest.approx(_driven_m(bike, window), rel=0.05, abs=500)
    assert "powunity:north:10016" not in driven
    assert driven["bike-new"] > 1000


def test_the_odometer_of_a_vehicle_never_jumps_back_when_its_tracker_is_changed(tmp_path: Path) -> None:
    text = """
vehicles:
  - id: twice
    devices:
      - {vendor: powunity, account: north, id: 10000, to: "2026-11-21T00:00:00Z"}
      - {vendor: powunity, account: north, id: 10016, from: "2026-11-21T00:00:00Z"}
"""
    truth = FleetTruth(_context(), [("powunity", "north")], DAYS, _file(tmp_path, text))
    positions = [row for row in truth.rows("position") if row["vehicle_key"] == "twice"]
    readings = sorted((row["event_time"], row["odometer_m"]) for row in positions)
    assert {row["vendor_vehicle_id"] for row in positions} == {"10000", "10016"}
    assert all(before[1] <= after[1] for before, after in pairwise(readings))
    first, last = (row for row in truth.rows("vehicle_day") if row["vehicle_key"] == "twice")
    assert first["odometer_end_m"] == last["odometer_start_m"]


def test_odometer_of_the_file_is_where_a_tracker_begins(tmp_path: Path) -> None:
    truth = FleetTruth(_context(assumptions=MOVED), [("powunity", "north")], DAYS, _file(tmp_path, MOVED_FILE))
    first = min(
        (row for row in truth.rows("position") if row["vehicle_key"] == "bike-new"), key=lambda row: row["event_time"]
    )
    assert first["odometer_m"] == 1000


def test_best_device_is_heard_while_it_is_there(tmp_path: Path) -> None:
    """Until noon only the tracker is on the vehicle, then also a car's device, which is believed more."""
    context = _context()
    car = next(Park(context).readable("main"))
    text = f"""
vehicles:
  - id: both
    devices:
      - {{vendor: powunity, account: north, id: 10000}}
      - {{vendor: rcs, account: main, id: {car.id}, from: "2026-11-20T12:00:00Z"}}
"""
    noon = utc("2026-11-20T12:00:00")
    truth = FleetTruth(context, ACCOUNTS, Window.day("2026-11-20"), _file(tmp_path, text))
    alone = FleetTruth(context, ACCOUNTS, Window.day("2026-11-20"))
    trips = [row for row in truth.rows("trip") if row["vehicle_key"] == "both"]
    own = [row for row in alone.rows("trip") if row["vendor_vehicle_id"] == "10000"]
    better = [row for row in trips if row["vendor"] == "rcs"]
    heard = [
        row["start_time"]
        for row in own
        if not any(row["start_time"] < other["end_time"] and row["end_time"] > other["start_time"] for other in better)
    ]
    assert [row["start_time"] for row in trips if row["vendor"] == "powunity"] == heard
    assert heard[0] < noon
    assert all(row["start_time"] >= noon for row in trips if row["vendor"] == "rcs")
    (day,) = [row for row in truth.rows("vehicle_day") if row["vehicle_key"] == "both"]
    assert day["sources"] == f"powunity/north/10000, rcs/main/{car.id}"
    assert day["odometer_start_m"] < day["odometer_end_m"]
    swapped = _file(tmp_path, "priority: [powunity, rcs]\n" + text)
    trips = [row for row in FleetTruth(context, ACCOUNTS, DAYS, swapped).rows("trip") if row["vehicle_key"] == "both"]
    day = [row for row in trips if row["day"] == dt.date(2026, 11, 20)]
    assert [row["start_time"] for row in day if row["vendor"] == "powunity"] == [row["start_time"] for row in own]


def test_a_device_of_the_file_belongs_to_nobody_outside_its_times(tmp_path: Path) -> None:
    text = """
vehicles:
  - id: only-morning
    devices: [{vendor: powunity, account: north, id: 10000, from: "2026-11-20", to: "2026-11-20T12:00:00Z"}]
"""
    truth = FleetTruth(_context(), [("powunity", "north")], DAYS, _file(tmp_path, text))
    assert all(
        row["start_time"] < utc("2026-11-20T12:00:00") for row in truth.rows("trip") if row["vendor_vehicle_id"] == "10000"
    )
    events = {row["vehicle_key"] for row in truth.rows("event") if row["event_time"] >= utc("2026-11-21")}
    assert None in events
    assert "only-morning" not in events


def test_the_file_names_vehicles_and_claims_entities_by_vin(tmp_path: Path) -> None:
    context = _context()
    car = next(Park(context).readable("main"))
    text = f"vehicles: [{{id: v-1, name: First, vin: {car.vin.lower()}}}, {{id: v-2}}]"
    truth = FleetTruth(context, ACCOUNTS, DAYS, _file(tmp_path, text))
    rows = {row["vehicle_key"]: row for row in truth.rows("vehicle")}
    assert (rows["v-1"]["name"], rows["v-1"]["vin"], rows["v-1"]["brand"]) == ("First", car.vin, car.brand)
    assert (rows["v-2"]["name"], rows["v-2"]["device_count"]) == ("v-2", 0)
    assert f"vin:{car.vin}" not in rows


EVERYBODY = [*ACCOUNTS, ("omnicomm", "trucks"), ("suivideflotte", "france"), ("omni_platform", "depot")]


@pytest.fixture(scope="module")
def everybody() -> FleetTruth:
    """Truth of all vendors, of one day."""
    return FleetTruth(_context(trucks=4, cars=8, cameras=2), EVERYBODY, Window.day("2026-11-20"))


def test_a_vehicle_that_several_vendors_know_is_one_vehicle(everybody: FleetTruth) -> None:
    """Cars 1 to 3 are those of RCS, 4 and 5 are trucks by their plates, 6 has the plate of a truck by mistake."""
    by_device = {(row["vendor"], row["vendor_vehicle_id"]): row for row in everybody.rows("vehicle_identity")}
    cars = list(Park(_context()).readable("main"))[:3]
    for number, car in enumerate(cars, start=40_001):
        row = by_device["suivideflotte", str(number)]
        assert row["vehicle_key"] == by_device["rcs", car.id]["vehicle_key"] == f"vin:{car.vin}"
        assert row["matched_by"] == "vin"
    for number, terminal in ((40_004, 202_000_001), (40_005, 202_000_002)):
        row = by_device["suivideflotte", str(number)]
        assert row["vehicle_key"] == by_device["omnicomm", str(terminal)]["vehicle_key"]
        assert row["matched_by"] == "plate"
    assert by_device["suivideflotte", "40006"]["vehicle_key"] != by_device["omnicomm", "202000003"]["vehicle_key"]
    ranks = {row["vendor"]: row["rank"] for row in by_device.values()}
    assert ranks == {"omnicomm": 1, "rcs": 2, "suivideflotte": 3, "powunity": 4}


def test_a_ride_that_two_vendors_tell_of_counts_once(everybody: FleetTruth) -> None:
    trips = list(everybody.rows("trip"))
    vendors = defaultdict(set)
    for trip in trips:
        vendors[trip["vehicle_key"]].add(trip["vendor"])
    assert all(len(names) == 1 for names in vendors.values())
    told_by = {row["vehicle_key"]: row["sources"] for row in everybody.rows("vehicle_day")}
    vendors_heard = {text.partition("/")[0] for text in told_by.values()}
    assert vendors_heard == {"", "omnicomm", "rcs", "suivideflotte", "powunity"}, "empty: it stood all day, as is proven"
    alone = FleetTruth(_context(trucks=4, cars=8), [("suivideflotte", "france")], Window.day("2026-11-20"))
    left_out = sum(1 for _ in alone.rows("trip")) - sum(trip["vendor"] == "suivideflotte" for trip in trips)
    assert left_out > 3


def test_a_truck_is_told_by_its_daily_report(everybody: FleetTruth) -> None:
    rows = [row for row in everybody.rows("vehicle_day") if row["sources"].startswith("omnicomm")]
    reports = {
        str(row["terminal_id"]): row
        for row in room("omnicomm").truth(_context(trucks=4), "consolidated_report", Window.day("2026-11-20"), "trucks")
    }
    assert len(rows) == len(reports) == 4
    for row in rows:
        report = reports[row["sources"].rpartition("/")[2]]
        for name in ("distance_m", "moving_time_s", "idle_time_s", "fuel_used_l", "fuel_drained_l", "odometer_start_m"):
            assert row[name] == report[name], name


def test_faces_are_told_one_by_one(everybody: FleetTruth) -> None:
    rows = list(everybody.rows("identification"))
    assert {row["candidate"] for row in rows} >= {0, 1}
    keys = {(row["event_id"], row["candidate"]) for row in rows}
    assert len(keys) == len(rows)
    assert all(0 < row["confidence"] <= 1 for row in rows)


def _levels(*litres: float, step_s: int = 300) -> list[walks.Level]:
    start = utc("2026-11-20")
    return [walks.Level(start + dt.timedelta(seconds=step_s * index), value) for index, value in enumerate(litres)]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (_levels(20, 20, 24, 26, 26), [("refuel", 6, 20, 26)]),
        (_levels(20, 24.9), []),
        (_levels(20, 25), [("refuel", 5, 20, 25)]),
        (_levels(20, 23, 23.5, 26), []),
        (_levels(60, 50, 44, 44), [("drain", 16, 60, 44)]),
        (_levels(60, 50, step_s=600), [("drain", 10, 60, 50)]),
        (_levels(60, 45, step_s=601), []),
        (_levels(60, 56, 52, 48), []),
        (_levels(60, 50, 62, 62), [("drain", 10, 60, 50), ("refuel", 12, 50, 62)]),
    ],
    ids=["two rises", "too little", "just enough", "a pause", "a theft", "slow enough", "too long", "too slow", "both"],
)
def test_filling_and_draining(levels: list[walks.Level], expected: list[tuple[str, float, float, float]]) -> None:
    found = [
        (event["kind"], event["volume_l"], event["level_before_l"], event["level_after_l"])
        for event in walks.fuel_events(levels)
    ]
    assert found == expected


def _points(*speeds: tuple[int, float | None]) -> list[walks.Point]:
    start = utc("2026-11-20")
    return [walks.Point(start + dt.timedelta(seconds=at), speed, 50.0, 10 + at / 10_000, at * 10.0) for at, speed in speeds]


def test_a_trip_ends_after_five_minutes_without_motion_and_short_ones_do_not_count() -> None:
    points = _points((0, 2.0), (10, 20.0), (100, None), (200, 0.0), (310, 30.0), (611, 9.0), (660, 9.0))
    (trip,) = walks.trips(points, walks.by_odometer)
    assert (trip["start_time"].second, trip["distance_m"], trip["max_speed_kmh"]) == (10, 3000.0, 30.0)
    assert [item["distance_m"] for item in walks.trips(_points((0, 3.0), (60, 3.0)), walks.by_odometer)] == [600.0]


def test_distance_over_ground_is_the_sum_over_all_points() -> None:
    (trip,) = walks.trips(_points((0, 5.0), (100, 0.0), (200, 5.0)), walks.by_ground)
    assert trip["distance_m"] == 1429.0  # two hundredths of a degree of longitude at 50 degrees north


def test_episodes_of_a_code_do_not_overlap_and_close_with_the_first_report_without_it() -> None:
    context = _context()
    window = Window.parse("2026-08-01", "2026-11-20")
    truth = FleetTruth(context, [("rcs", "main")], window)
    episodes = list(truth.rows("trouble"))
    assert any(not row["is_open"] for row in episodes)
    assert any(row["is_open"] for row in episodes)
    by_code = defaultdict(list)
    for row in episodes:
        assert row["opened_at"] <= row["last_seen_at"]
        assert row["is_open"] == (row["closed_at"] is None)
        assert row["closed_at"] is None or row["closed_at"] > row["last_seen_at"]
        assert row["reports"] > 1 or row["opened_at"] == row["last_seen_at"]
        by_code[row["vehicle_key"], row["ecu_key"], row["dtc"]].append(row)
    assert max(map(len, by_code.values())) > 1, "codes come back"
    for rows in by_code.values():
        rows.sort(key=lambda row: row["opened_at"])
        assert all(one["closed_at"] < other["opened_at"] for one, other in pairwise(rows))


def test_visits_last_from_entering_to_leaving(plain: FleetTruth) -> None:
    visits = list(plain.rows("geofence_visit"))
    assert any(row["left_time"] is None for row in visits)
    closed = [row for row in visits if row["left_time"]]
    assert closed
    assert all(row["duration_s"] == (row["left_time"] - row["entered_time"]).total_seconds() > 0 for row in closed)


def test_words_of_the_vendors_in_one_style() -> None:
    assert [snake_case(text) for text in ("deviceMoving", "alarm", "type_12", "SOS")] == [
        "device_moving",
        "alarm",
        "type_12",
        "sos",
    ]


@pytest.mark.parametrize("table", [name for name in TABLES if name != "identification"])
def test_every_table_has_rows_with_one_set_of_columns(table: str, plain: FleetTruth) -> None:
    columns = {tuple(sorted(row)) for row in plain.rows(table)}
    assert len(columns) == 1


def test_same_seed_same_truth_and_a_window_is_the_sum_of_its_days() -> None:
    small = {"vehicles": 2, "bikes": 1}
    whole, again, other = (FleetTruth(_context(**small, seed=seed), ACCOUNTS, DAYS) for seed in (7, 7, 8))
    parts = [FleetTruth(_context(**small), ACCOUNTS, day) for day in DAYS.days()]
    for table in ("trip", "vehicle_day"):
        digests = [Digest.of(truth.rows(table)) for truth in (whole, again, other)]
        assert digests[0] == digests[1] != digests[2]
        assert Digest.of(row for part in parts for row in part.rows(table)) == digests[0]


def test_truth_of_the_fleet_from_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--seed", "7", "--vehicles", "2", "--bikes", "1", "--as-of", "2026-11-25", "--state", str(tmp_path)]
    days = ["--from", "2026-11-20", "--to", "2026-11-21"]
    who = ["--account", "rcs:main", "--account", "powunity:north"]
    command = ["truth", "fleet", "vehicle_day", *size, *days, *who]
    assert sandbox_cli(command, standalone_mode=False) is None
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    context = _context(vehicles=2, bikes=1)
    expected = FleetTruth(context, ACCOUNTS, Window.day("2026-11-20")).rows("vehicle_day")
    assert rows == [json.loads(canonical_row(row)) for row in expected]
    with pytest.raises(ConfigError, match="needs --from and --to"):
        sandbox_cli(["truth", "fleet", "trip", *size], standalone_mode=False)
    with pytest.raises(ConfigError, match="vendor:account"):
        sandbox_cli([*command, "--account", "rcs"], standalone_mode=False)


def test_parts_of_days_and_unknown_tables_are_refused() -> None:
    with pytest.raises(ConfigError, match="whole days"):
        FleetTruth(_context(), ACCOUNTS, Window.parse("2026-11-20T01:00", "2026-11-21"))
    with pytest.raises(ConfigError, match="one of: vehicle"):
        FleetTruth(_context(), ACCOUNTS, DAYS).rows("trips")
