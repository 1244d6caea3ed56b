"""Troubles, visits, events, identifications, drivers and positions, each against rows worked out by hand."""

from __future__ import annotations

import json
from typing import Any

from .house import DAY, House, at

NEXT = at("00:00", 1).date()


def health(
    number: int, day: int, codes: list[str], *, result: str = "DONE", severity: str | None = None, **more: Any
) -> tuple[Any, Any]:
    """A health report, and its troubles."""
    verdict = severity or ("DTC_IS_PRESENT" if codes else "OK")
    name = f"report-{number}"
    report = {
        "report_id": name,
        "vehicle_id": "car-1",
        "created_time": at("06:00", day),
        "result": result,
        "severity": verdict,
    }
    troubles = [
        {"report_id": name, "vehicle_id": "car-1", "report_time": at("06:00", day), "ecu_key": "1", "dtc": code,
         "dtc_code": f"P{code}", "ecu": "Engine", "description": f"seen {number}", **more}
        for code in codes
    ]  # fmt: skip
    return report, troubles


def load_health(house: House, *found: tuple[Any, Any]) -> None:
    for report, troubles in found:
        house.load("rcs.health_report", report)
        house.load("rcs.trouble", *troubles)


def test_an_episode_runs_from_the_first_report_with_the_code_to_the_first_without(house: House) -> None:
    house.load("rcs.vehicle", {"vehicle_id": "car-1"})
    load_health(
        house,
        health(1, 0, ["301"]),
        health(2, 1, ["301", "420"], is_confirmed=True, is_warning_indicator_requested=True),
        health(3, 2, [], severity="TROUBLE_IS_PRESENT"),  # says neither that there are codes nor that there are none
        health(4, 3, [], result="ERROR"),
        health(5, 4, ["420"]),
        health(6, 5, []),
        health(7, 6, ["301"]),
    )
    house.build()
    columns = ("dtc", "opened_at", "closed_at", "last_seen_at", "reports", "is_confirmed", "is_open", "description")
    assert house.table("trouble", *columns) == [
        ("301", at("06:00", 0), at("06:00", 4), at("06:00", 1), 2, True, False, "seen 2"),
        ("301", at("06:00", 6), None, at("06:00", 6), 1, False, True, "seen 7"),
        ("420", at("06:00", 1), at("06:00", 5), at("06:00", 4), 2, True, False, "seen 5"),
    ]
    trouble = house.one("trouble", "dtc = '420'")
    assert (trouble["vehicle_key"], trouble["ecu"], trouble["dtc_code"]) == ("rcs:north:car-1", "Engine", "P420")
    assert trouble["is_warning_indicator_requested"]


def test_a_late_report_closes_an_episode_that_was_open(house: House) -> None:
    house.load("rcs.vehicle", {"vehicle_id": "car-1"})
    load_health(house, health(1, 0, ["301"]), health(3, 9, ["301"]))
    house.build()
    assert house.table("trouble", "opened_at", "closed_at", "reports") == [(at("06:00"), None, 2)]
    load_health(house, health(2, 4, []))
    house.build()
    assert house.table("trouble", "opened_at", "closed_at", "reports") == [
        (at("06:00"), at("06:00", 4), 1), (at("06:00", 9), None, 1),
    ]  # fmt: skip


def fence(number: int, kind: str, clock: str, zone: int = 5, day: int = 0) -> dict[str, Any]:
    return {"event_id": number, "device_id": 1, "event_type": kind, "event_time": at(clock, day), "geofence_id": zone}


def test_entering_and_leaving_a_zone_is_a_visit(house: House) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load(
        "powunity.event",
        fence(1, "geofenceExit", "07:00"),
        fence(2, "geofenceEnter", "08:00"),
        fence(3, "geofenceEnter", "08:30", zone=6),
        fence(4, "geofenceExit", "09:00"),
        fence(5, "geofenceEnter", "10:00"),  # its exit was never told: the next entering ends nothing
        fence(6, "geofenceEnter", "11:00"),
        fence(7, "geofenceExit", "11:30"),
    )
    house.build()
    assert house.table("geofence_visit", "geofence_id", "entered_time", "left_time", "duration_s", "day") == [
        ("5", at("08:00"), at("09:00"), 3600.0, DAY),
        ("5", at("10:00"), None, None, DAY),
        ("5", at("11:00"), at("11:30"), 1800.0, DAY),
        ("6", at("08:30"), None, None, DAY),
    ]


def test_leaving_on_a_later_day_ends_the_visit_of_the_earlier_one(house: House) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load("powunity.event", fence(1, "geofenceEnter", "20:00"), fence(2, "geofenceEnter", "21:00", zone=6))
    house.build()
    before = house.everything()["fleet.geofence_visit"]
    house.load("powunity.event", fence(3, "geofenceExit", "06:00", day=3))
    report = house.build()
    assert house.table("geofence_visit", "geofence_id", "left_time") == [("5", at("06:00", 3)), ("6", None)]
    assert report.units == 2, "the day of leaving and the day of entering, no other"
    full = house.build(full=True)
    assert (full.inserted, full.updated, full.deleted) == (0, 0, 0)
    assert before != house.everything()["fleet.geofence_visit"]


def test_visits_of_omnicomm_have_a_zone_and_its_figures(house: House) -> None:
    house.load("omnicomm.vehicle", {"terminal_id": 1})
    visit = {"terminal_id": 1, "end_time": at("09:00"), "distance_m": 70.0, "max_speed_kmh": 12.0, "duration_s": 1.0}
    house.load(
        "omnicomm.geofence_visit",
        {**visit, "geofence_key": "77", "geofence_id": 77, "geofence_name": "Depot", "start_time": at("08:00")},
        {**visit, "geofence_key": "-", "start_time": at("07:00")},
    )
    house.build()
    columns = ("geofence_id", "geofence_name", "entered_time", "left_time", "duration_s", "distance_m", "max_speed_kmh")
    assert house.table("geofence_visit", *columns) == [("77", "Depot", at("08:00"), at("09:00"), 3600.0, 70.0, 12.0)]


def test_events_of_all_vendors_have_one_form(house: House) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load("omnicomm.vehicle", {"terminal_id": 202000001})
    house.load("suivideflotte.vehicle", {"vehicle_id": 1})
    house.load(
        "powunity.event",
        {
            "event_id": 9,
            "device_id": 1,
            "event_type": "deviceMoving",
            "event_time": at("08:00"),
            "alarm": "sos",
            "attributes": '{"a":1}',
        },
        {"event_id": 10, "device_id": 404, "event_type": "alarm", "event_time": at("09:00")},
    )
    house.load(
        "omnicomm.event",
        {"terminal_id": 202000001, "event_time": at("00:00:01"), "type_code": 14, "occurrence": 1, "event_type": "speeding",
         "latitude_deg": 48.0, "longitude_deg": 16.0, "parameters": '{"limit":50}'},
    )  # fmt: skip
    house.load(
        "suivideflotte.alert",
        {
            "alert_id": 3,
            "vehicle_id": 1,
            "event_time": at("10:00"),
            "alert_type": "Speed",
            "message": "Too fast",
            "latitude_deg": 1.0,
        },
    )
    house.build()
    columns = ("vendor", "vendor_event_id", "vehicle_key", "event_type", "message", "latitude_deg", "attributes")
    epoch = int(at("00:00:01").timestamp())
    assert house.table("event", *columns) == [
        ("omnicomm", f"202000001:{epoch}:14:1", "omnicomm:north:202000001", "speeding", None, 48.0, {"limit": 50}),
        ("powunity", "10", None, "alarm", None, None, None),
        ("powunity", "9", "powunity:north:1", "device_moving", "sos", None, {"a": 1}),
        ("suivideflotte", "3", "suivideflotte:north:1", "speed", "Too fast", 1.0, None),
    ]
    house.load("powunity.device", {"device_id": 404})
    house.build()
    assert house.table("event", "vehicle_key", where="vendor_event_id = '10'") == [("powunity:north:404",)]


def test_each_candidate_of_an_identification_is_a_row(house: House) -> None:
    candidates = [
        {"profile_id": "p1", "confidence": 0.9, "group_ids": ["g"]},
        {"profile_id": "p2", "confidence": 0.25, "group_ids": None},
    ]
    common = {"camera_id": "c1", "agent_id": "a1", "activity_id": "x"}
    house.load(
        "omni_platform.event",
        {
            "event_id": "e1",
            "event_type": "identification",
            "event_time": at("08:00"),
            "candidates": json.dumps(candidates),
            **common,
        },
        {"event_id": "e2", "event_type": "identification", "event_time": at("09:00"), "candidates": "[]", **common},
        {
            "event_id": "e3",
            "event_type": "activity",
            "event_time": at("10:00"),
            "candidates": json.dumps(candidates),
            **common,
        },
        {"event_id": "e4", "event_type": "identification", "event_time": at("10:00", 1), "candidates": None, **common},
        account="depot",
    )
    house.build()
    columns = ("account", "event_id", "candidate", "profile_id", "confidence", "group_ids", "camera_title", "day")
    assert house.table("identification", *columns) == [
        ("depot", "e1", 0, "p1", 0.9, ["g"], None, DAY), ("depot", "e1", 1, "p2", 0.25, None, None, DAY),
    ]  # fmt: skip
    house.load("omni_platform.camera", {"camera_id": "c1", "title": "Gate"}, account="depot")
    house.build()
    assert house.table("identification", "camera_title") == [("Gate",), ("Gate",)]


def test_drivers_are_those_listed_and_those_named_in_trips(house: House) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load("suivideflotte.driver", {"driver_id": 5, "name": "Ada"}, account="france")
    ride = {"device_id": 1, "distance_m": 1.0}
    house.load(
        "powunity.trip",
        {**ride, "start_time": at("08:00"), "end_time": at("08:10"), "driver_unique_id": "k1", "driver_name": "Bob"},
        {**ride, "start_time": at("09:00"), "end_time": at("09:10"), "driver_unique_id": "k1", "driver_name": "Bob B."},
        {**ride, "start_time": at("10:00"), "end_time": at("10:10"), "driver_unique_id": "k2"},
        {**ride, "start_time": at("11:00"), "end_time": at("11:10"), "driver_unique_id": ""},
    )
    house.load(
        "powunity.trip",
        {**ride, "start_time": at("08:00"), "end_time": at("08:10"), "driver_unique_id": "k1"},
        account="south",
    )
    house.build()
    assert house.table("driver", "driver_key", "vendor", "account", "vendor_driver_id", "name") == [
        ("powunity:north:k1", "powunity", "north", "k1", "Bob B."),
        ("powunity:north:k2", "powunity", "north", "k2", None),
        ("powunity:south:k1", "powunity", "south", "k1", None),
        ("suivideflotte:france:5", "suivideflotte", "france", "5", "Ada"),
    ]


def test_positions_of_all_vendors_are_seen_without_a_copy(house: House) -> None:
    house.load("rcs.vehicle", {"vehicle_id": "car-1"})
    house.load("powunity.device", {"device_id": 1})
    house.load("omnicomm.vehicle", {"terminal_id": 1})
    place = {"latitude_deg": 48.0, "longitude_deg": 16.0, "speed_kmh": 7.0}
    house.load(
        "rcs.telemetry",
        {"vehicle_id": "car-1", "revision": "1", "event_time": at("08:00"), "odometer_m": 5.0, **place},
        {"vehicle_id": "car-1", "revision": "2", "event_time": at("08:01")},
    )
    house.load(
        "powunity.position",
        {"device_id": 1, "position_id": 1, "event_time": at("08:00"), "altitude_m": 9.0, "is_valid": False, **place},
    )
    house.load("omnicomm.track_point", {"terminal_id": 1, "event_time": at("08:00"), "is_valid": True, **place})
    house.build()
    assert house.table("position", "vehicle_key", "altitude_m", "odometer_m", "is_valid", "speed_kmh") == [
        ("omnicomm:north:1", None, None, True, 7.0),
        ("powunity:north:1", 9.0, None, False, 7.0),
        ("rcs:north:car-1", None, 5.0, True, 7.0),
    ]
