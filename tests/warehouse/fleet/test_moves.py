"""A tracker changes vehicles: its facts belong to each vehicle in its time, and no vehicle's odometer jumps."""

from __future__ import annotations

from typing import Any

from .house import DAY, House, at, whole

NOON = "2026-03-02T12:00Z"


def ride(device: int, start: str, end: str, metres: float, day: int = 0, **more: Any) -> dict[str, Any]:
    return {"device_id": device, "start_time": at(start, day), "end_time": at(end, day), "distance_m": metres, **more}


def place(number: int, device: int, clock: str, odometer: float, day: int = 0) -> dict[str, Any]:
    return {
        "position_id": number,
        "device_id": device,
        "event_time": at(clock, day),
        "odometer_m": odometer,
        "is_valid": True,
    }


def tracker(device: int, **more: Any) -> dict[str, Any]:
    return {"vendor": "powunity", "account": "north", "id": device, **more}


def test_a_tracker_moved_at_noon_gives_each_vehicle_its_trips(house: House) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load(
        "powunity.trip",
        ride(1, "08:00", "08:30", 5000.0),
        ride(1, "11:50", "12:10", 2000.0),  # begun before noon: the first vehicle's
        ride(1, "12:00", "12:20", 1000.0),
        ride(1, "18:00", "18:30", 3000.0),
        proven=[("1", whole())],
    )
    house.map_vehicles(
        {"id": "bike-a", "devices": [tracker(1, to=NOON)]}, {"id": "bike-b", "devices": [tracker(1, **{"from": NOON})]}
    )
    house.build()
    assert house.table("vehicle_day", "vehicle_key", "distance_m", "trips", "trust_notes") == [
        ("bike-a", 7000.0, 2, ""), ("bike-b", 4000.0, 2, ""),
    ]  # fmt: skip
    assert house.table("stop", "vehicle_key", "start_time") == [("bike-a", at("08:30")), ("bike-b", at("12:20"))]


def test_samples_are_cut_where_the_device_changes_hands(house: House) -> None:
    house.load("rcs.vehicle", {"vehicle_id": "box"})
    house.load(
        "rcs.telemetry",
        *(
            {"vehicle_id": "box", "revision": f"{minute:02}", "event_time": at(f"11:{minute:02}"), "speed_kmh": 60.0,
             "odometer_m": minute * 1000.0}
            for minute in range(0, 60, 2)
        ),
    )  # fmt: skip
    half = "2026-03-02T11:31Z"
    box = {"vendor": "rcs", "account": "north", "id": "box"}
    house.map_vehicles({"id": "a", "devices": [{**box, "to": half}]}, {"id": "b", "devices": [{**box, "from": half}]})
    house.build()
    assert house.table("trip", "vehicle_key", "start_time", "end_time", "distance_m") == [
        ("a", at("11:00"), at("11:30"), 30_000.0), ("b", at("11:32"), at("11:58"), 26_000.0),
    ]  # fmt: skip


def test_the_odometer_goes_on_when_the_tracker_is_changed(house: House) -> None:
    house.load("powunity.device", {"device_id": 1}, {"device_id": 2}, {"device_id": 3})
    house.load(
        "powunity.position",
        place(1, 1, "08:00", 100_000.0), place(2, 1, "11:00", 107_000.0), place(3, 1, "13:00", 999_000.0),
        place(4, 2, "09:00", 5.0), place(5, 2, "12:30", 40.0), place(6, 2, "18:00", 4040.0),
        place(7, 3, "08:00", 70.0, day=1), place(8, 3, "20:00", 570.0, day=1),
    )  # fmt: skip
    house.load("powunity.trip", ride(2, "12:30", "18:00", 4000.0, start_odometer_m=40.0, end_odometer_m=4040.0))
    house.map_vehicles(
        {
            "id": "bike",
            "devices": [
                tracker(1, to=NOON),
                tracker(2, **{"from": NOON}, to="2026-03-03"),
                tracker(3, **{"from": "2026-03-03"}),
            ],
        }
    )
    house.build()
    assert house.table("vehicle_identity", "vendor_vehicle_id", "odometer_offset_m") == [
        ("1", 0.0), ("2", 106_960.0), ("3", 110_930.0),
    ]  # fmt: skip
    assert house.table("vehicle_day", "day", "odometer_start_m", "odometer_end_m") == [
        (DAY, 100_000.0, 111_000.0), (at("00:00", 1).date(), 111_000.0, 111_500.0),
    ]  # fmt: skip
    readings = house.rows("SELECT odometer_m FROM fleet.position WHERE vehicle_key = 'bike' ORDER BY event_time")
    odometer = [row["odometer_m"] for row in readings]
    assert odometer == sorted(odometer)
    assert house.table("trip", "start_odometer_m", "end_odometer_m") == [(107_000.0, 111_000.0)]


def test_the_odometer_told_by_the_file_counts(house: House) -> None:
    house.load("powunity.device", {"device_id": 2})
    house.load("powunity.position", place(1, 2, "13:00", 40.0), place(2, 2, "14:00", 140.0))
    house.map_vehicles({"id": "bike", "devices": [tracker(2, **{"from": NOON}, odometer_m=8_000_000)]})
    house.build()
    assert house.table("vehicle_day", "odometer_start_m", "odometer_end_m") == [(8_000_000.0, 8_000_100.0)]


def test_a_late_reading_before_the_change_moves_the_odometer_of_all_later_days(house: House) -> None:
    house.load("powunity.device", {"device_id": 1}, {"device_id": 2})
    house.load(
        "powunity.position", place(1, 1, "08:00", 1000.0), place(2, 2, "13:00", 0.0), place(3, 2, "13:00", 50.0, day=5)
    )
    house.map_vehicles({"id": "bike", "devices": [tracker(1, to=NOON), tracker(2, **{"from": NOON})]})
    house.build()
    assert house.table("vehicle_day", "odometer_end_m") == [(1000.0,), (1050.0,)]
    house.load("powunity.position", place(4, 1, "11:59", 1300.0))
    report = house.build()
    assert house.table("vehicle_day", "odometer_end_m") == [(1300.0,), (1350.0,)]
    assert report.updated == 3, "two days and the identity"


def test_changing_the_file_rebuilds_the_days_it_is_about_and_says_so(house: House) -> None:
    house.load("powunity.device", {"device_id": 1, "name": "Tracker"}, {"device_id": 2})
    house.load(
        "powunity.trip",
        ride(1, "08:00", "08:30", 5000.0), ride(1, "08:00", "08:30", 700.0, day=3), ride(2, "08:00", "08:30", 1.0),
        proven=[("1", whole(0, 9)), ("2", whole(0, 9))],
    )  # fmt: skip
    house.load("powunity.event", {"event_id": 1, "device_id": 1, "event_time": at("08:00", 3), "event_type": "alarm"})
    house.build()
    before = house.everything(built_at=True)
    house.map_vehicles({"id": "bike", "name": "Bike", "devices": [tracker(1, to="2026-03-04")]})
    house.build()
    assert house.table("vehicle_day", "vehicle_key", "day", "distance_m") == [
        ("bike", DAY, 5000.0), ("bike", at("00:00", 1).date(), 0.0),
        ("powunity:north:2", DAY, 1.0), *(("powunity:north:2", at("00:00", day).date(), 0.0) for day in range(1, 9)),
    ]  # fmt: skip
    assert house.table("event", "vehicle_key") == [(None,)], "after the fourth nobody has the tracker"
    kept = [row for row in before["fleet.vehicle_day"] if row[0] == "powunity:north:2"]
    assert kept[0] in house.everything(built_at=True)["fleet.vehicle_day"]
    told = house.rows("SELECT DISTINCT table_name, kind, cause, vehicle_key, day FROM ops.restatement ORDER BY 1, 2, 5")
    assert {(row["table_name"], row["kind"], row["vehicle_key"]) for row in told} == {
        ("fleet.event", "removed", "powunity:north:1"),
        ("fleet.trip", "removed", "powunity:north:1"),
        ("fleet.vehicle_day", "removed", "powunity:north:1"),
    }
    assert {row["cause"] for row in told} == {"identity"}
    incremental = house.everything()
    full = house.build(full=True)
    assert (full.inserted, full.updated, full.deleted) == (0, 0, 0)
    assert house.everything() == incremental


def test_a_vehicle_that_gets_a_second_vendor_keeps_its_key_and_counts_once(house: House) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load("suivideflotte.vehicle", {"vehicle_id": 2, "registration_plate": "W 1"})
    house.map_vehicles({"id": "van", "plate": "W-1", "devices": [tracker(1)]})
    house.load("powunity.trip", ride(1, "08:00", "08:30", 5000.0), ride(1, "08:00", "08:30", 5000.0, day=1))
    house.build()
    assert house.table("trip", "vehicle_key", "vendor") == [("van", "powunity"), ("van", "powunity")]
    house.load(
        "suivideflotte.trip",
        {"vehicle_id": 2, "trip_id": 9, "start_time": at("08:01"), "end_time": at("08:29"), "distance_m": 4900.0},
    )
    house.build()
    assert house.table("vehicle_day", "day", "distance_m", "trips", "sources") == [
        (DAY, 4900.0, 1, "suivideflotte/north/2"), (at("00:00", 1).date(), 5000.0, 1, "powunity/north/1"),
    ]  # fmt: skip


def test_a_vehicle_its_vendor_lists_no_more_keeps_its_history(house: House) -> None:
    from fleetlake.changes import Deletion

    house.load("powunity.device", {"device_id": 1, "name": "Old"})
    house.load("powunity.trip", ride(1, "08:00", "08:30", 5000.0))
    house.build()
    house.load("powunity.device", {"device_id": 2}, delete=Deletion(account="north", at=at("00:00")))
    house.build()
    assert house.table("trip", "vehicle_key") == [("powunity:north:1",)]
    assert house.table("vehicle", "name") == [("Old",), ("powunity:north:2",)]
