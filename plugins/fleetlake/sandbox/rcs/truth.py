"""What is true at RCS, in the words of the contracts: the oracle that warehouse and lake are compared with."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fleetlake.sandbox.rcs import diagnostics, people
from fleetlake.sandbox.rcs.park import Park
from fleetlake.sandbox.rcs.telemetry import Telemetry, event_second, revision_of
from fleetlake.sandbox.world import DAY_S, moment
from fleetlake.window import Window

Row = Mapping[str, Any]

_TELEMETRY = {
    # column -> the vendor's field, where the value is taken over as it is
    "revision": "revision",
    "vehicle_id": "vehicle_id",
    "latitude_deg": "latitude",
    "longitude_deg": "longitude",
    "heading_deg": "heading",
    "dilution": "dilution",
    "satellites": "satellites_count",
    "telemetry_tracking_mode": "telemetry_tracking_mode",
    "speed_kmh": "speed",
    "engine_speed_rpm": "engine_rpm",
    "mileage_km": "mileage",
    "mileage_source": "mileage_source",
    "battery_v": "unit_voltage",
    "fuel_level_l": "fuel_liters",
    "fuel_level_pct": "fuel_percents",
    "coolant_temp_c": "coolant_temperature",
    "engine_temp_c": "engine_temperature",
    "ambient_temp_c": "outer_temperature",
    "is_ignition_on": "ignition_is_on",
    "is_engine_started": "engine_is_started",
    "is_central_lock_closed": "central_lock_is_closed",
    "is_driver_door_open": "driver_door_is_open",
    "is_trunk_open": "trunk_is_open",
    "is_hood_open": "hood_is_open",
    "has_check_engine_trouble": "check_engine_trouble",
    "has_oil_pressure_trouble": "oil_pressure_trouble",
    "has_battery_trouble": "battery_trouble",
    "has_brake_fluid_trouble": "brake_fluid_trouble",
    "has_airbag_trouble": "airbag_trouble",
    "has_abs_esp_trouble": "abs_esp_trouble",
    "is_maintenance_required": "maintenance_required",
    "accelerations_count": "accelerations_count",
    "decelerations_count": "deccelerations_count",
    "high_speed_s": "high_speed_seconds",
    "is_towing": "towing",
    "has_weak_punch": "weak_punch",
    "has_strong_punch": "strong_punch",
    "gearbox_position": "gearbox_position",
    "tire_status_front_left": "tire_status_front_left",
    "tire_status_front_right": "tire_status_front_right",
    "tire_status_rear_left": "tire_status_rear_left",
    "tire_status_rear_right": "tire_status_rear_right",
    "is_online": "is_online",
}
_TIMES = {"device_time": "device_time", "received_time": "server_time", "processed_time": "processed_time"}
_NAMED = frozenset({*_TELEMETRY.values(), *_TIMES.values()})
_INDICATORS = {
    "fuel_level_l": "fuel_liters",
    "fuel_level_pct": "fuel_percents",
    "engine_off_voltage_v": "engine_off_voltage",
    "engine_on_voltage_v": "engine_on_voltage",
    "engine_speed_rpm": "engine_rpm",
    "oil_level_pct": "oil_level_percents",
    "has_brake_fluid_trouble": "brake_fluid_trouble",
    "has_tires_trouble": "tires_trouble",
    "is_engine_on": "is_engine_on",
}
_BITS = (
    "is_test_failed",
    "is_test_failed_this_cycle",
    "is_pending",
    "is_confirmed",
    "is_test_not_completed_since_clear",
    "is_test_failed_since_clear",
    "is_test_not_completed_this_cycle",
    "is_warning_indicator_requested",
)
_SYSTEMS = {"P": "powertrain", "C": "chassis", "B": "body", "U": "network"}


def truth(park: Park, dataset: str, window: Window | None, customer: str) -> Iterator[Row]:
    """Rows of a dataset with its time column in ``window``, received until now."""
    now_ms = park.context.clock.now_ms()
    makers: Mapping[str, Callable[[Park, str, Window | None, int], Iterator[Row]]] = {
        "vehicle": _vehicles,
        "telemetry": _telemetry,
        "health_report": _reports,
        "trouble": _troubles,
        "app_user": _users,
        "client_notification": _notifications,
    }
    return makers[dataset](park, customer, window, now_ms)


def _vehicles(park: Park, customer: str, _: Window | None, now_ms: int) -> Iterator[Row]:
    for car in park.readable(customer):
        last = car.vehicle.latest(now_ms)
        has_device_time = last is not None and event_second(last) == last.time
        yield {
            "vehicle_id": car.id,
            "vin": car.vin,
            "source_id": car.source_id,
            "registration_plate": car.plate,
            "brand": car.brand,
            "model": car.model,
            "model_year": car.year,
            "device_number": car.device,
            "device_firmware": car.firmware,
            "last_event_time": moment(last.time) if last and has_device_time else None,
            "last_received_time": moment(last.received_ms // 1000) if last else None,
            "last_revision": revision_of(car, last) if last else None,
        }


def _telemetry(park: Park, customer: str, window: Window | None, now_ms: int) -> Iterator[Row]:
    start, end = _seconds(window)
    telemetry = Telemetry(park)
    for car in park.readable(customer):
        for record in telemetry.truth(car, start, end, now_ms):
            row = {column: record.get(name) for column, name in _TELEMETRY.items()}
            row |= {column: _time(record.get(name)) for column, name in _TIMES.items()}
            row["event_time"] = row["device_time"] or row["received_time"]
            row["odometer_m"] = None if row["mileage_km"] is None else row["mileage_km"] * 1000
            row["extra"] = {key: value for key, value in record.items() if key not in _NAMED} or None
            yield row


def _reports(park: Park, customer: str, window: Window | None, now_ms: int) -> Iterator[Row]:
    for report in _all_reports(park, customer, window, now_ms):
        found = report.indicators or {}
        yield {
            "report_id": report.id,
            "vehicle_id": report.car.id,
            "vin": report.car.vin,
            "created_time": moment(report.created),
            "completed_time": moment(report.completed) if report.completed is not None else None,
            "initiator": report.initiator,
            "severity": report.severity,
            "result": report.result,
            **{column: found.get(name) for column, name in _INDICATORS.items()},
            "troubles_count": len(report.troubles),
        }


def _troubles(park: Park, customer: str, window: Window | None, now_ms: int) -> Iterator[Row]:
    for report in _all_reports(park, customer, window, now_ms):
        for trouble in report.troubles:
            code, _, failure_type = trouble.dtc.partition("-")
            status = trouble.status
            yield {
                "report_id": report.id,
                "ecu_key": str(trouble.ecu_id) if trouble.ecu_id is not None else trouble.ecu or "-",
                "dtc": trouble.dtc,
                "vehicle_id": report.car.id,
                "report_time": moment(report.created),
                "ecu": trouble.ecu,
                "ecu_id": trouble.ecu_id,
                "dtc_code": code,
                "dtc_system": _SYSTEMS[code[0]],
                "dtc_origin": _origin(code),
                "failure_type": failure_type or None,
                "description": trouble.description,
                "status_byte": status,
                **{name: None if status is None else bool(status >> bit & 1) for bit, name in enumerate(_BITS)},
                "maturity": trouble.maturity,
                "derived_maturity": diagnostics.maturity_of(status),
                "is_maturity_trusted": None if status is None else diagnostics.obeys_d2(status),
            }


def _users(park: Park, customer: str, window: Window | None, now_ms: int) -> Iterator[Row]:
    start, end = _bounds(window, now_ms)
    keeps = park.assumptions.truth_personal_data == "keep"
    for user in people.users(park, customer, start, end, now_ms // 1000):
        yield {
            "user_id": user.id,
            "source_id": user.source_id,
            "registered_time": moment(user.registered),
            "updated_time": moment(user.updated),
            "phone": user.phone if keeps else _ending(user.phone),
            "first_name": user.first_name if keeps else _initial(user.first_name),
            "last_name": user.last_name if keeps else _initial(user.last_name),
            "middle_name": user.middle_name if keeps else _initial(user.middle_name),
            "email": user.email if keeps or user.email is None else "***@" + user.email.split("@")[1],
            "city": user.city,
            "locale": user.locale,
            "dealer_network": user.dealer_network,
            "vehicle_ids": None if user.vehicle_ids is None else list(user.vehicle_ids),
        }


def _notifications(park: Park, customer: str, window: Window | None, now_ms: int) -> Iterator[Row]:
    start, end = _bounds(window, now_ms)
    keeps = park.assumptions.truth_personal_data == "keep"
    for offer in people.notifications(park, customer, start, end, now_ms // 1000):
        phones = offer.user_phones
        yield {
            "notification_id": offer.id,
            "notification_type": offer.kind,
            "planned_time": moment(offer.planned),
            "created_time": moment(offer.created),
            "sent_time": moment(offer.sent),
            "title": offer.title,
            "message": offer.text,
            "dealer_network": offer.dealer_network,
            "vehicle_ids": None if offer.vehicle_ids is None else list(offer.vehicle_ids),
            "user_phones": None if phones is None else [phone if keeps else _ending(phone) for phone in phones],
            "recipients_count": offer.recipients,
        }


def _initial(name: str | None) -> str | None:
    return None if name is None else f"{name[0]}***"


def _ending(phone: str) -> str:
    return f"***{phone[-2:]}"


def _all_reports(park: Park, customer: str, window: Window | None, now_ms: int) -> Iterator[diagnostics.Report]:
    start, end = _seconds(window)
    now = now_ms // 1000
    first = max(start or 0, park.context.world.first_day * DAY_S)
    for car in park.readable(customer):
        yield from diagnostics.reports(park, car, first, now + 1 if end is None else end, now)


def _origin(code: str) -> str:
    """Who defines a code: SAE J2012 keeps 0 (and P2, P34 and up) for the standard."""
    if code[1] == "0" or code[:2] == "P2" or re.match("P3[4-9A-F]", code):
        return "standard"
    return "manufacturer"


def _seconds(window: Window | None) -> tuple[int | None, int | None]:
    """Bounds in whole seconds; data have no fractions, so rounding up keeps ``[start, end)``."""
    if window is None:
        return None, None
    return (-int(-window.start.timestamp() // 1), -int(-window.end.timestamp() // 1))


def _bounds(window: Window | None, now_ms: int) -> tuple[int, int]:
    start, end = _seconds(window)
    return start or 0, now_ms // 1000 + 1 if end is None else end


def _time(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
