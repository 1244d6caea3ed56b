"""Trips and stops: told or made from samples, in one set of units, from the best source."""

from __future__ import annotations

import math
from typing import Any

import pytest

from .house import DAY, House, at, whole

VENDOR = ("vehicle_key", "vendor", "account", "vendor_vehicle_id", "vendor_trip_id", "driver_key", "built_at")


def drive(clock: str, speed: float | None, **more: Any) -> dict[str, Any]:
    """A record of RCS."""
    moment = at(clock)
    return {
        "vehicle_id": "car-1", "event_time": moment, "speed_kmh": speed, "revision": more.pop("revision", f"r{clock}"), **more
    }  # fmt: skip


def point(clock: str, speed: float, north: float, **more: Any) -> dict[str, Any]:
    """A valid point of Omnicomm, so many thousandths of a degree north of 48."""
    return {
        "terminal_id": 1, "event_time": at(clock), "speed_kmh": speed, "latitude_deg": 48 + north / 1000, "longitude_deg": 16.0,
        "is_valid": True, **more,
    }  # fmt: skip


def metres(north: float) -> int:
    """Length of so many thousandths of a degree of latitude, in whole metres."""
    return round(math.radians(north / 1000) * 6371008.8)


def test_the_same_trip_in_knots_and_milliseconds_and_in_kmh_and_seconds_is_the_same_row(house: House) -> None:
    place = {
        "start_latitude_deg": 48.1, "start_longitude_deg": 16.1, "end_latitude_deg": 48.2, "end_longitude_deg": 16.2,
        "start_address": "A", "end_address": "B",
    }  # fmt: skip
    common = {"start_time": at("08:00"), "end_time": at("08:30"), "distance_m": 15000.0, "max_speed_kmh": 74.08, **place}
    house.load("powunity.device", {"device_id": 1})
    house.load("suivideflotte.vehicle", {"vehicle_id": 1}, account="france")
    house.load(
        "powunity.trip",
        {"device_id": 1, "duration_ms": 1_800_000, "max_speed_kn": 40.0, "average_speed_kn": 1.0, "driver_unique_id": "7",
         "start_odometer_m": None, **common},
    )  # fmt: skip
    house.load(
        "suivideflotte.trip",
        {"vehicle_id": 1, "trip_id": 99, "driver_id": 5, "duration_s": 1800.0, **common},
        account="france",
    )
    house.build()
    powunity, other = (
        {name: value for name, value in house.one("trip", f"vendor = '{vendor}'").items() if name not in VENDOR}
        for vendor in ("powunity", "suivideflotte")
    )
    assert powunity == other
    assert powunity == {
        "start_time": at("08:00"), "day": DAY, "end_time": at("08:30"), "duration_s": 1800.0, "distance_m": 15000.0,
        "average_speed_kmh": 30.0, "max_speed_kmh": 74.08, **place, "start_odometer_m": None, "end_odometer_m": None,
        "is_private": False, "is_derived": False,
    }  # fmt: skip
    assert house.table("trip", "vendor_trip_id", "driver_key") == [
        ("99", "suivideflotte:france:5"), (None, "powunity:north:7"),
    ]  # fmt: skip


def test_rcs_records_become_a_trip_from_the_first_to_the_last_moving_one(house: House) -> None:
    house.load("rcs.vehicle", {"vehicle_id": "car-1"})
    house.load(
        "rcs.telemetry",
        drive("08:00:00", 0.0, odometer_m=1000.0, latitude_deg=48.0, longitude_deg=16.0),
        drive("08:01:00", 10.0, odometer_m=1100.0, latitude_deg=48.1, longitude_deg=16.1),
        drive("08:02:00", 50.0, odometer_m=1900.0),
        drive("08:03:00", 2.0, odometer_m=2500.0),  # not faster than 2 km/h: standing, but the trip goes on
        drive("08:07:00", 40.0, odometer_m=2600.0, latitude_deg=48.2, longitude_deg=16.2),
        drive("08:08:00", None, odometer_m=9999.0),
    )
    house.build()
    trip = house.one("trip")
    assert (trip["start_time"], trip["end_time"], trip["duration_s"]) == (at("08:01"), at("08:07"), 360.0)
    assert (trip["distance_m"], trip["start_odometer_m"], trip["end_odometer_m"]) == (1500.0, 1100.0, 2600.0)
    assert (trip["max_speed_kmh"], trip["average_speed_kmh"]) == (50.0, 15.0)
    assert (trip["start_latitude_deg"], trip["end_longitude_deg"]) == (48.1, 16.2)
    assert trip["is_derived"]
    assert trip["start_address"] is trip["driver_key"] is None


@pytest.mark.parametrize(("gap", "trips"), [("08:06:00", 1), ("08:06:01", 2)])
def test_moving_records_more_than_300_s_apart_are_two_trips(house: House, gap: str, trips: int) -> None:
    house.load("rcs.vehicle", {"vehicle_id": "car-1"})
    house.load(
        "rcs.telemetry",
        drive("08:00:00", 30.0), drive("08:01:00", 30.0), drive("08:03:00", 0.0), drive(gap, 30.0), drive("08:09:00", 30.0),
    )  # fmt: skip
    house.build()
    assert len(house.table("trip", "start_time")) == trips
    assert house.one("vehicle_day")["trips"] == trips
    stops = house.table("stop", "start_time", "end_time", "duration_s")
    assert stops == ([] if trips == 1 else [(at("08:01"), at("08:06:01"), 301.0)])


def test_a_run_shorter_than_a_minute_is_no_trip(house: House) -> None:
    house.load("rcs.vehicle", {"vehicle_id": "car-1"})
    house.load(
        "rcs.telemetry", drive("08:00:00", 30.0), drive("08:00:59", 30.0), drive("09:00:00", 9.0), drive("09:01:00", 9.0)
    )
    house.build()
    assert house.table("trip", "start_time", "duration_s") == [(at("09:00"), 60.0)]
    assert house.one("trip")["distance_m"] is None, "without odometer the distance is unknown"


def test_of_records_with_one_time_the_greatest_revision_counts(house: House) -> None:
    house.load("rcs.vehicle", {"vehicle_id": "car-1"})
    house.load(
        "rcs.telemetry",
        drive("08:00", 30.0, revision="a1", odometer_m=0.0), drive("08:00", 60.0, revision="a2", odometer_m=100.0),
        drive("08:02", 40.0, revision="B", odometer_m=900.0), drive("08:02", 20.0, revision="9", odometer_m=5.0),
    )  # fmt: skip
    house.build()
    assert house.table("trip", "distance_m", "max_speed_kmh") == [(800.0, 60.0)]


def test_a_trip_over_midnight_is_cut_into_two(house: House) -> None:
    house.load("rcs.vehicle", {"vehicle_id": "car-1"})
    clocks = [("23:56:00", 0), ("23:58:00", 0), ("23:59:59", 0), ("00:01:00", 1), ("00:03:00", 1)]
    house.load(
        "rcs.telemetry",
        *(
            {
                "vehicle_id": "car-1",
                "revision": str(n),
                "event_time": at(clock, day),
                "speed_kmh": 50.0,
                "odometer_m": 100.0 * n,
            }
            for n, (clock, day) in enumerate(clocks)
        ),
    )
    house.build()
    assert house.table("trip", "start_time", "end_time", "distance_m") == [
        (at("23:56"), at("23:59:59"), 200.0), (at("00:01", 1), at("00:03", 1), 100.0),
    ]  # fmt: skip
    assert len(house.table("vehicle_day", "day")) == 2


def test_omnicomm_distance_is_great_circles_over_valid_points_in_whole_metres(house: House) -> None:
    house.load("omnicomm.vehicle", {"terminal_id": 1})
    house.load(
        "omnicomm.track_point",
        point("08:00", 0.0, 0.0),
        point("08:01", 20.0, 1.0),
        point("08:02", 90.0, 500.0, is_valid=False),
        point("08:03", 1.0, 1.4),  # standing points between the first and the last moving one count for the distance
        point("08:04", 30.0, 11.0),
        point("08:05", 0.0, 12.0),
    )
    house.build()
    assert house.table("trip", "start_time", "end_time", "distance_m", "max_speed_kmh") == [
        (at("08:01"), at("08:04"), float(metres(10.0)), 30.0)
    ]


def test_a_worse_device_of_the_vehicle_does_not_count_twice(house: House) -> None:
    house.load("rcs.vehicle", {"vehicle_id": "car-1", "vin": "WVWZZZ1JZXW000001"})
    house.load("suivideflotte.vehicle", {"vehicle_id": 7, "vin": "wvwzzz1jzxw000001"}, account="france")
    ride = {"vehicle_id": 7, "distance_m": 900.0}
    house.load(
        "suivideflotte.trip",
        {**ride, "trip_id": 1, "start_time": at("08:00"), "end_time": at("08:03")},
        {**ride, "trip_id": 2, "start_time": at("08:00", 1), "end_time": at("08:03", 1)},
        account="france",
    )
    house.load("rcs.telemetry", drive("08:00", 30.0, odometer_m=0.0), drive("08:03", 30.0, odometer_m=1000.0))
    house.build()
    assert house.table("trip", "vendor", "day", "distance_m") == [
        ("rcs", DAY, 1000.0), ("suivideflotte", at("00:00", 1).date(), 900.0),
    ]  # fmt: skip
    assert house.table("vehicle_day", "distance_m", "trips", "sources") == [
        (1000.0, 1, "rcs/north/car-1"), (900.0, 1, "suivideflotte/france/7"),
    ]  # fmt: skip


def test_a_deleted_trip_is_gone(house: House) -> None:
    from fleetlake.changes import Deletion

    house.load("powunity.device", {"device_id": 1})
    keep = {"device_id": 1, "start_time": at("08:00"), "end_time": at("08:30"), "distance_m": 1.0}
    house.load("powunity.trip", keep, {**keep, "start_time": at("09:00"), "end_time": at("09:30")})
    house.build()
    assert len(house.table("trip", "start_time")) == 2
    house.load("powunity.trip", keep, delete=Deletion(account="north", scopes=[1], window=whole(), at=at("00:00")))
    house.build()
    assert house.table("trip", "start_time") == [(at("08:00"),)]
    assert house.one("vehicle_day")["trips"] == 1
    assert house.table("stop", "start_time") == []
