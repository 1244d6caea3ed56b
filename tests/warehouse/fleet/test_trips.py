"""Trips and stops: told or made from samples, in one set of units, from the best source."""

from __future__ import annotations

import datetime as dt
import json
import math
import shutil
from typing import Any

import pytest
from fleetlake.contracts import load_contracts
from fleetlake.pipeline.decode import decode_rows
from fleetlake.reading import Asked
from fleetlake.vendors.powunity import decode as powunity
from fleetlake.vendors.suivideflotte import decode as suivideflotte

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


PLACE = {
    "start_latitude_deg": 48.1, "start_longitude_deg": 16.1, "end_latitude_deg": 48.2, "end_longitude_deg": 16.2,
    "start_address": "A", "end_address": "B",
}  # fmt: skip
KNOTS_AND_MILLISECONDS = {
    "deviceId": 1, "deviceName": "Bike", "startTime": "2026-03-02T08:00:00.000+00:00", "endTime": "2026-03-02T08:30:00.000+00:00",
    "duration": 1_800_000, "distance": 15000.0, "averageSpeed": 30 / 1.852, "maxSpeed": 40.0, "spentFuel": 0.0,
    "startOdometer": None, "endOdometer": None, "startPositionId": 1, "endPositionId": 2, "startLat": 48.1, "startLon": 16.1,
    "endLat": 48.2, "endLon": 16.2, "startAddress": "A", "endAddress": "B", "driverUniqueId": "7", "driverName": "Eva",
}  # fmt: skip
KILOMETRES_AND_SECONDS = {
    "id": 99, "vehicle_id": 1, "driver_id": 5, "start_dt": "2026-03-02 09:00:00", "end_dt": "2026-03-02 09:30:00",
    "start_lat": 48.1, "start_lon": 16.1, "end_lat": 48.2, "end_lon": 16.2, "start_address": "A", "end_address": "B",
    "distance": 15.0, "duration": 1800, "max_speed": 74.08, "avg_speed": 30.0, "private": False,
}  # fmt: skip


def tell(house: House, dataset: str, trip: dict[str, Any], account: str) -> dict[str, Any]:
    """Publish what a vendor answered; returns the row as typed by its room and contract."""
    vendor = dataset.partition(".")[0]
    decode = {"powunity": powunity, "suivideflotte": suivideflotte}[vendor]
    contract = load_contracts(house.include)[dataset]
    rows = decode.split("trips", dataset, json.dumps([trip]).encode(), Asked(account, "1", whole()))
    decoded = decode_rows(contract, rows)
    assert decoded.rejects == []
    (row,) = decoded.table.to_pylist()
    house.load(dataset, row, account=account)
    return row


@pytest.fixture
def vendors(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house with a bike and a car, and contracts of its own to spoil."""
    contracts = house.include / "contracts"
    source = contracts.resolve()
    contracts.unlink()
    shutil.copytree(source, contracts)
    shutil.copytree(source.parent / "suivideflotte", house.include / "suivideflotte")
    monkeypatch.setenv("FLEETLAKE_INCLUDE", str(house.include))
    house.load("powunity.device", {"device_id": 1})
    house.load("suivideflotte.vehicle", {"vehicle_id": 1}, account="france")
    return house


def test_the_same_trip_in_knots_and_milliseconds_and_in_kmh_and_seconds_is_the_same_row(vendors: House) -> None:
    """From the vendors' own words, through their rooms and contracts."""
    bike = tell(vendors, "powunity.trip", KNOTS_AND_MILLISECONDS, "north")
    car = tell(vendors, "suivideflotte.trip", KILOMETRES_AND_SECONDS, "france")
    for name in ("duration_s", "average_speed_kmh", "max_speed_kmh", "distance_m"):
        assert bike[name] == pytest.approx(car[name], abs=1e-6), name
    vendors.build()
    told = [vendors.one("trip", f"vendor = '{vendor}'") for vendor in ("powunity", "suivideflotte")]
    powunity_row, other = ({name: value for name, value in row.items() if name not in VENDOR} for row in told)
    assert powunity_row == other
    assert powunity_row == {
        "start_time": at("08:00"), "day": DAY, "end_time": at("08:30"), "duration_s": 1800.0, "distance_m": 15000.0,
        "average_speed_kmh": 30.0, "max_speed_kmh": 74.08, **PLACE, "start_odometer_m": None, "end_odometer_m": None,
        "is_private": False, "is_derived": False,
    }  # fmt: skip
    assert vendors.table("trip", "vendor_trip_id", "driver_key") == [
        ("99", "suivideflotte:france:5"), (None, "powunity:north:7"),
    ]  # fmt: skip


def test_a_wrong_factor_in_a_contract_makes_another_row(vendors: House) -> None:
    path = vendors.include / "contracts" / "powunity" / "trip.yaml"
    path.write_text(path.read_text().replace("value: 1.852", "value: 1.609344").replace("value: 0.001", "value: 1.0"))
    bike = tell(vendors, "powunity.trip", KNOTS_AND_MILLISECONDS, "north")
    assert (bike["duration_s"], bike["max_speed_kmh"]) == (1_800_000.0, pytest.approx(64.37376))
    vendors.build()
    assert vendors.one("trip")["max_speed_kmh"] == pytest.approx(64.37376)


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


def test_distance_of_rcs_is_between_the_first_and_the_last_reading_under_way(house: House) -> None:
    house.load("rcs.vehicle", {"vehicle_id": "car-1"})
    house.load(
        "rcs.telemetry",
        drive("08:00", 30.0), drive("08:01", 30.0, odometer_m=1000.0), drive("08:02", 0.0, odometer_m=1600.0), drive("08:03", 9.0),
        drive("09:00", 30.0), drive("09:01", 30.0, odometer_m=1600.0), drive("09:02", 9.0), drive("09:03", 0.0, odometer_m=2000.0),
    )  # fmt: skip
    house.build()
    assert house.table("trip", "start_time", "distance_m") == [(at("08:00"), 600.0), (at("09:00"), None)]
    day = house.one("vehicle_day")
    assert (day["distance_m"], day["moving_time_s"]) == (None, 300.0), "one of the trips may be of any length"
    assert "distance unknown" in day["trust_notes"]


def test_a_terminal_replaced_at_noon_loses_no_kilometre(house: House) -> None:
    """Both have the vehicle's VIN and report the whole day, each what it saw."""
    house.load("omnicomm.vehicle", {"terminal_id": 5}, {"terminal_id": 6})
    house.load("omnicomm.vehicle_profile", *({"terminal_id": number, "vin": "WVWZZZ1JZXW000001"} for number in (5, 6)))
    rides = {5: ("08:00", "08:30", 360.0), 6: ("13:00", "15:00", 2340.0)}
    for terminal, (start, end, north) in rides.items():
        house.load(
            "omnicomm.consolidated_report",
            {"terminal_id": terminal, "report_day": DAY, "report_time": at("00:00"), "distance_m": north * 111.0, "moving_time_s": 9.0},
            proven=[(str(terminal), whole())],
        )  # fmt: skip
        minutes = int((at(end) - at(start)).total_seconds()) // 60
        house.load(
            "omnicomm.track_point",
            *(
                point("00:00", 80.0, north * minute / minutes, terminal_id=terminal)
                | {"event_time": at(start) + dt.timedelta(minutes=minute)}
                for minute in range(minutes + 1)
            ),
        )
    house.build()
    day = house.one("vehicle_day")
    assert day["distance_m"] == pytest.approx(300_000, rel=0.01)
    assert (day["moving_time_s"], day["trips"]) == (9000.0, 2)


def test_a_short_trip_of_a_better_device_hides_only_what_it_overlaps(house: House) -> None:
    house.load("omnicomm.vehicle", {"terminal_id": 1})
    house.load("omnicomm.vehicle_profile", {"terminal_id": 1, "vin": "WVWZZZ1JZXW000001"})
    house.load("suivideflotte.vehicle", {"vehicle_id": 1, "vin": "WVWZZZ1JZXW000001"})
    house.load("omnicomm.track_point", *(point(clock, 9.0, 0.0) for clock in ("07:00:00", "07:00:45", "07:01:30")))
    house.load(
        "omnicomm.consolidated_report",
        {"terminal_id": 1, "report_day": DAY, "report_time": at("00:00"), "distance_m": 200.0, "moving_time_s": 90.0},
    )
    trip = {"vehicle_id": 1}
    house.load(
        "suivideflotte.trip",
        {**trip, "trip_id": 1, "start_time": at("06:55"), "end_time": at("07:01"), "distance_m": 500.0},
        {**trip, "trip_id": 2, "start_time": at("07:01:30"), "end_time": at("07:05"), "distance_m": 700.0},
        {**trip, "trip_id": 3, "start_time": at("08:00"), "end_time": at("12:00"), "distance_m": 300_000.0},
    )
    house.build()
    assert house.table("trip", "vendor", "start_time") == [
        ("omnicomm", at("07:00")), ("suivideflotte", at("07:01:30")), ("suivideflotte", at("08:00")),
    ]  # fmt: skip
    day = house.one("vehicle_day")
    assert (day["distance_m"], day["moving_time_s"]) == (300_700.0, 90.0 + 210 + 4 * 3600)
    assert day["trust_notes"] == "not proven complete; trips differ from daily report"


def test_of_two_trips_with_one_start_the_later_made_counts(house: House) -> None:
    """By number: as texts 9 would come after 10."""
    house.load("suivideflotte.vehicle", {"vehicle_id": 1})
    trip = {"vehicle_id": 1, "start_time": at("08:00"), "end_time": at("09:00")}
    house.load("suivideflotte.trip", *({**trip, "trip_id": number, "distance_m": number * 1000.0} for number in (9, 10)))
    house.build()
    assert house.table("trip", "vendor_trip_id", "distance_m") == [("10", 10_000.0)]
    assert house.one("vehicle_day")["distance_m"] == 10_000.0


@pytest.mark.parametrize("is_derived", [False, True])
def test_where_a_private_trip_went_is_told_nowhere(house: House, is_derived: bool) -> None:
    vin = "WVWZZZ1JZXW000001"
    house.load("suivideflotte.vehicle", {"vehicle_id": 1, "vin": vin})
    house.load("omnicomm.vehicle", {"terminal_id": 1})
    house.load("omnicomm.vehicle_profile", {"terminal_id": 1, "vin": vin})
    if is_derived:
        clocks = ("07:50", "08:00", "08:04", "08:08", "08:30")
        house.load(
            "omnicomm.track_point", *(point(clock, 9.0 if "08:00" <= clock <= "08:08" else 0.0, 1.0) for clock in clocks)
        )
    place = {f"{end}_{what}": 48.0 for end in ("start", "end") for what in ("latitude_deg", "longitude_deg")}
    trip = {"vehicle_id": 1, "driver_id": 3, "start_address": "A", "end_address": "B", "distance_m": 900.0, **place}
    house.load(
        "suivideflotte.trip",
        {**trip, "trip_id": 1, "start_time": at("08:00"), "end_time": at("08:10"), "is_private": True},
        {**trip, "trip_id": 2, "start_time": at("10:00"), "end_time": at("10:10"), "is_private": False},
    )
    house.build()
    private, open_ = house.rows("SELECT * FROM fleet.trip ORDER BY start_time")
    assert (private["is_private"], private["is_derived"], private["driver_key"]) == (
        True,
        is_derived,
        "suivideflotte:north:3",
    )
    assert {private[name] for name in (*place, "start_address", "end_address")} == {None}
    assert (open_["start_latitude_deg"], open_["end_address"]) == (48.0, "B")
    stop = house.one("stop")
    assert stop["latitude_deg"] is stop["longitude_deg"] is stop["address"] is None
    positions = house.table("position", "event_time")
    assert positions == ([(at("07:50"),), (at("08:30"),)] if is_derived else [])


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
