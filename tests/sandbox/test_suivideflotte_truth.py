"""The fleet of SuiviDeFlotte: shared vehicles, late and provisional trips, and rows in the columns of the contracts."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fleetlake.canonical import Digest
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError
from fleetlake.sandbox.omnicomm.park import Park as TruckPark
from fleetlake.sandbox.rcs.park import Park as RcsPark
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.suivideflotte import ROOM
from fleetlake.sandbox.suivideflotte.park import Car, Park
from fleetlake.sandbox.world import day_number, moment
from fleetlake.window import Window

AS_OF = dt.datetime(2026, 11, 20, 12, 0, 0, tzinfo=dt.UTC)
INCLUDE = Path(__file__).parents[2] / "include"
WEEK = Window.parse("2026-11-13", "2026-11-20")


def _context(**changes: Any) -> Context:
    assumptions = {f"suivideflotte.{key}": changes.pop(key) for key in list(changes) if key in _ASSUMED}
    return Context.of(SandboxSettings(**{"state_dir": Path("unused"), "as_of": AS_OF, **changes}, assumptions=assumptions))


_ASSUMED = {"late_share", "settling_h", "history_days", "private_share", "deleted_trips"}


def _rows(context: Context, dataset: str, window: Window | None = WEEK, customer: str | None = None) -> list[Any]:
    return list(ROOM.truth(context, dataset, window, customer))


@pytest.fixture(scope="module")
def context() -> Context:
    return _context()


@pytest.mark.parametrize("dataset", ROOM.datasets)
def test_truth_has_exactly_the_columns_and_types_of_the_contract(context: Context, dataset: str) -> None:
    contract = load_contracts(INCLUDE, "suivideflotte")[f"suivideflotte.{dataset}"]
    rows = _rows(context, dataset)
    assert len(rows) >= 10
    kinds = {
        "text": str,
        "bigint": int,
        "double precision": (int, float),
        "boolean": bool,
        "timestamptz": dt.datetime,
        "jsonb": dict,
    }
    seen = set()
    for row in rows:
        assert row.keys() == {column.name for column in contract.columns}
        for column in contract.columns:
            value = row[column.name]
            if value is None:
                assert not column.required, column.name
                continue
            seen.add(column.name)
            assert isinstance(value, kinds[column.type]), (column.name, value)
            if column.minimum is not None:
                assert column.minimum <= value <= (column.maximum if column.maximum is not None else value)
    rest = set() if dataset in ("vehicle", "trip") else {"extra"}
    assert seen == {column.name for column in contract.columns} - rest, "every column has a value somewhere"
    keys = Counter(tuple(row[column.name] for column in contract.columns if column.is_key) for row in rows)
    assert max(keys.values()) == 1
    if contract.time_column:
        assert all(row[contract.time_column] in WEEK for row in rows)


def test_the_same_vehicle_is_known_to_other_vendors(context: Context) -> None:
    cars = Park(context).cars("france")
    rcs, trucks = list(RcsPark(context).readable("main")), TruckPark(context)
    for index in range(3):
        assert cars[index].vehicle is rcs[index].vehicle
        assert (cars[index].vin, cars[index].plate) == (rcs[index].vin, rcs[index].plate)
    for index in range(2):
        assert cars[3 + index].vehicle is trucks.truck(index).vehicle
        assert (cars[3 + index].vin, cars[3 + index].plate) == (None, trucks.truck(index).plate)
    assert cars[5].plate == trucks.truck(2).plate
    assert cars[5].vin not in (None, trucks.truck(2).vin)
    assert cars[5].vehicle is not trucks.truck(2).vehicle
    others = {id(car.vehicle) for car in cars[5:]}
    assert not others & {id(car.vehicle) for car in rcs}


def test_a_fleet_without_its_twins_still_has_all_its_vehicles() -> None:
    cars = Park(_context(vehicles=1, trucks=1, cars=7)).cars("france")
    assert len({car.vehicle.key for car in cars}) == 7
    assert [car.plate is None for car in cars[:6]] == [False] * 6


def test_a_trip_is_the_ride_of_the_world_and_midnight_does_not_cut_it(context: Context) -> None:
    window = Window.parse("2026-10-01", "2026-11-01")
    trips = {(row["vehicle_id"], row["start_time"]): row for row in _rows(context, "trip", window)}
    park, crossing, found = Park(context), 0, 0
    for car in park.cars("france"):
        for day in range(day_number(window.start), day_number(window.end)):
            for ride in car.vehicle.rides(day):
                row = trips[car.id, moment(ride.start)]
                found += 1
                assert (row["end_time"], row["distance_m"]) == (moment(ride.end), ride.distance_m)
                assert row["duration_s"] == ride.end - ride.start
                assert row["average_speed_kmh"] == pytest.approx(ride.distance_m / (ride.end - ride.start) * 3.6, abs=0.051)
                if found <= 20:  # second by second: slow
                    fastest = max(ride.driven(second)[1] for second in range(ride.start, ride.end + 1))
                    assert row["max_speed_kmh"] == pytest.approx(fastest * 3.6, abs=0.051)
                assert row["max_speed_kmh"] >= row["average_speed_kmh"]
                assert row["driver_id"] in (None, park.driver_id(car, ride.driver))
                crossing += row["start_time"].date() != row["end_time"].date()
    assert found == len(trips)
    assert crossing > 3


def test_drivers_of_trips_and_vehicles_are_in_the_list_of_drivers(context: Context) -> None:
    drivers = {row["driver_id"] for row in _rows(context, "driver")}
    trips = {row["driver_id"] for row in _rows(context, "trip")}
    assert trips - {None} <= drivers
    assert None in trips
    assert {row["driver_id"] for row in _rows(context, "vehicle")} - {None} <= drivers


def test_private_trips_keep_times_and_lose_places(context: Context) -> None:
    trips = _rows(context, "trip")
    places = [name for name in trips[0] if name.startswith(("start_", "end_")) and not name.endswith("_time")]
    private = [row for row in trips if row["is_private"]]
    assert 0 < len(private) < len(trips) / 3
    assert all(row[name] is None for row in private for name in places)
    assert all(row["end_time"] > row["start_time"] and row["distance_m"] > 0 for row in private)
    open_ = [row for row in trips if not row["is_private"]]
    assert all(row["start_latitude_deg"] is not None and row["end_longitude_deg"] is not None for row in open_)


def test_nothing_is_told_before_it_is_received() -> None:
    counts = []
    for as_of in ("2026-11-16T00:00", "2026-11-16T12:00", "2026-11-17T00:00", "2026-11-18T12:00"):
        context = _context(as_of=dt.datetime.fromisoformat(as_of).replace(tzinfo=dt.UTC), late_share=0.4)
        rows = _rows(context, "trip", Window.day("2026-11-16"))
        assert all(row["end_time"] <= context.clock.now() for row in rows)
        assert all(row["event_time"] <= context.clock.now() for row in _rows(context, "alert"))
        counts.append(len(rows))
    assert counts[0] == 0
    assert counts == sorted(set(counts)), "each later look sees more, also days after the trips"


def test_a_late_trip_gets_a_greater_id_than_those_told_before() -> None:
    trips = sorted(_rows(_context(late_share=0.3), "trip"), key=lambda row: (row["vehicle_id"], row["start_time"]))
    by_vehicle = [
        [row["trip_id"] for row in trips if row["vehicle_id"] == vehicle] for vehicle in {row["vehicle_id"] for row in trips}
    ]
    assert any(ids != sorted(ids) for ids in by_vehicle)
    assert all(row["trip_id"] < 1 << 53 for row in trips)


def test_a_trip_may_change_until_it_has_settled() -> None:
    final = {row["trip_id"]: row for row in _rows(_context(), "trip")}
    told = {row["trip_id"]: row for row in _rows(_context(settling_h=48.0), "trip")}
    assert told.keys() == final.keys()
    changed = {trip for trip, row in told.items() if row != final[trip]}
    assert changed
    assert all(final[trip]["end_time"] > AS_OF - dt.timedelta(hours=80) for trip in changed)
    for trip in changed:
        assert told[trip]["end_time"] < final[trip]["end_time"]
        assert told[trip]["distance_m"] < final[trip]["distance_m"]
        assert told[trip]["start_time"] == final[trip]["start_time"]


def test_trips_older_than_the_history_are_gone() -> None:
    window = Window.parse("2025-11-01", "2025-12-01")
    kept = _rows(_context(), "trip", window)
    assert min(row["start_time"] for row in kept) >= AS_OF - dt.timedelta(days=365)
    assert len(_rows(_context(history_days=0), "trip", window)) > len(kept) > 0


def test_deleted_trips_are_gone_without_a_trace() -> None:
    whole = _rows(_context(), "trip")
    gone = {whole[1]["trip_id"], whole[-1]["trip_id"]}
    left = _rows(_context(deleted_trips=" ".join(map(str, gone))), "trip")
    assert left == [row for row in whole if row["trip_id"] not in gone]
    assert len(left) == len(whole) - 2


def test_alerts_lie_on_the_way_of_a_trip(context: Context) -> None:
    trips = _rows(context, "trip")
    hidden = 0
    for alert in _rows(context, "alert", Window.parse("2026-11-14", "2026-11-18")):
        inside = [
            row
            for row in trips
            if row["vehicle_id"] == alert["vehicle_id"] and row["start_time"] <= alert["event_time"] < row["end_time"]
        ]
        assert len(inside) <= 1
        if inside:
            assert (alert["latitude_deg"] is None) == inside[0]["is_private"]
            hidden += inside[0]["is_private"]
        assert alert["message"]
    assert hidden


def test_the_last_position_of_a_private_trip_is_not_told() -> None:
    seen = set()
    for hour in (3, 8, 12, 17):
        context = _context(as_of=dt.datetime(2026, 11, 19, hour, 10, tzinfo=dt.UTC), private_share=1.0)
        for row, car in zip(_rows(context, "vehicle", None), Park(context).cars("france"), strict=True):
            ride = _last_ride(context, car)
            seen.add(ride)
            assert (row["last_latitude_deg"] is None) == ride
            assert row["last_event_time"] is not None
    assert seen == {True, False}


def _last_ride(context: Context, car: Car) -> bool:
    last = car.vehicle.latest(context.clock.now_ms())
    assert last
    return last.ride is not None


def test_windows_add_up(context: Context) -> None:
    for dataset in ("trip", "alert"):
        whole = Digest.of(_rows(context, dataset))
        days = [row for day in WEEK.days() for row in _rows(context, dataset, day)]
        assert Digest.of(days) == whole
        assert whole.rows > 10


def test_the_second_customer_has_other_vehicles_trips_and_drivers(context: Context) -> None:
    for dataset, key in (("vehicle", "vehicle_id"), ("trip", "trip_id"), ("driver", "driver_id"), ("poi", "poi_id")):
        mine, other = ({row[key] for row in _rows(context, dataset, WEEK, name)} for name in ("france", "other"))
        assert other
        assert not mine & other


def test_a_vehicle_stays_the_same_when_the_fleet_grows(context: Context) -> None:
    small = _rows(context, "trip")
    vehicles = {row["vehicle_id"] for row in small}
    large = [row for row in _rows(_context(cars=14), "trip") if row["vehicle_id"] in vehicles]
    assert Digest.of(small) == Digest.of(large)


def test_unknown_names_are_refused(context: Context) -> None:
    with pytest.raises(ConfigError, match="trip"):
        _rows(context, "tripp")
    with pytest.raises(ConfigError, match="france"):
        _rows(context, "trip", WEEK, "nobody")
