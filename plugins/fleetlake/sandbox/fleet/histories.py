"""Tables that are not made day by day: troubles, visits, events, faces, drivers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from fleetlake.sandbox.fleet.identity import Device, Identities
from fleetlake.sandbox.fleet.stints import Row
from fleetlake.sandbox.rooms import Context, room
from fleetlake.window import Window

Account = tuple[str, str]


class Histories:
    """Answers over a whole window."""

    def __init__(self, context: Context, accounts: Iterable[Account], identities: Identities, window: Window) -> None:
        self._context = context
        self._accounts = list(accounts)
        self._identities = identities
        self._window = window

    def _rows(self, vendor: str, dataset: str, *, whole: bool = False) -> Iterator[tuple[str, Row]]:
        for name, account in self._accounts:
            if name == vendor:
                window = None if whole else self._window
                yield from ((account, row) for row in room(vendor).truth(self._context, dataset, window, account))

    def _by_device(self, vendor: str, dataset: str, column: str) -> dict[Device, list[Row]]:
        found: dict[Device, list[Row]] = defaultdict(list)
        for account, row in self._rows(vendor, dataset):
            found[vendor, account, str(row[column])].append(row)
        return found

    def troubles(self) -> Iterator[dict[str, Any]]:
        """Episodes of trouble codes."""
        of_report: dict[str, list[Row]] = defaultdict(list)
        for _, row in self._rows("rcs", "trouble"):
            of_report[row["report_id"]].append(row)
        for device, reports in self._by_device("rcs", "health_report", "vehicle_id").items():
            reports.sort(key=lambda report: (report["created_time"], report["report_id"]))
            for identity in self._identities.by_device.get(device, ()):
                open_now: dict[tuple[str, str], dict[str, Any]] = {}
                for report in reports:
                    found = of_report.get(report["report_id"], [])
                    healthy = report["result"] == "DONE" and report["severity"] == "OK"
                    if not identity.covers(report["created_time"]) or not (found or healthy):
                        continue
                    present = {(row["ecu_key"], row["dtc"]): row for row in found}
                    for key in [key for key in open_now if key not in present]:
                        yield open_now.pop(key) | {"closed_at": report["created_time"], "is_open": False}
                    for key, row in present.items():
                        open_now[key] = _seen(open_now.get(key) or _opened(identity.vehicle_key, device, row), row)
                yield from open_now.values()

    def geofence_visits(self) -> Iterator[dict[str, Any]]:
        """From entering a zone to leaving it."""
        for account, row in self._rows("omnicomm", "geofence_visit"):
            if row["geofence_id"] is not None:
                visit = {name: row[name] for name in ("geofence_name", "distance_m", "max_speed_kmh")}
                device = ("omnicomm", account, str(row["terminal_id"]))
                yield from self._visit(device, row["geofence_id"], row["start_time"], row["end_time"], visit)
        for device, events in self._by_device("powunity", "event", "device_id").items():
            inside: dict[int, Any] = {}
            for event in sorted(events, key=lambda event: event["event_time"]):
                zone = event["geofence_id"]
                if event["event_type"] == "geofenceEnter":
                    if zone in inside:
                        yield from self._visit(device, zone, inside[zone], None, {})
                    inside[zone] = event["event_time"]
                elif event["event_type"] == "geofenceExit" and zone in inside:
                    yield from self._visit(device, zone, inside.pop(zone), event["event_time"], {})
            for zone, entered in inside.items():
                yield from self._visit(device, zone, entered, None, {})

    def _visit(self, device: Device, zone: int, entered: Any, left: Any, more: Row) -> Iterator[dict[str, Any]]:
        identity = self._identities.at(device, entered)
        if identity:
            yield {
                "vehicle_key": identity.vehicle_key,
                **_named(device),
                "geofence_id": str(zone),
                "entered_time": entered,
                "left_time": left,
                "duration_s": None if left is None else (left - entered).total_seconds(),
                "day": entered.date(),
                "geofence_name": None,
                "distance_m": None,
                "max_speed_kmh": None,
                **more,
            }

    def events(self) -> Iterator[dict[str, Any]]:
        """Everything the vendors tell at a moment."""
        for account, row in self._rows("powunity", "event"):
            told = {"message": row["alarm"], "attributes": row["attributes"]}
            yield self._event(
                ("powunity", account, str(row["device_id"])), str(row["event_id"]), row, row["event_type"], told
            )
        for account, row in self._rows("omnicomm", "event"):
            epoch = int(row["event_time"].timestamp())
            number = f"{row['terminal_id']}:{epoch}:{row['type_code']}:{row['occurrence']}"
            told = {"attributes": row["parameters"], **_place(row)}
            yield self._event(("omnicomm", account, str(row["terminal_id"])), number, row, row["event_type"], told)
        for account, row in self._rows("suivideflotte", "alert"):
            told = {"message": row["message"], **_place(row)}
            device = ("suivideflotte", account, str(row["vehicle_id"]))
            yield self._event(device, str(row["alert_id"]), row, row["alert_type"], told)

    def _event(self, device: Device, number: str, row: Row, kind: str, told: Row) -> dict[str, Any]:
        identity = self._identities.at(device, row["event_time"])
        vendor, account, _ = device
        return {
            "vendor": vendor,
            "account": account,
            "vendor_event_id": number,
            "vehicle_key": identity and identity.vehicle_key,
            "day": row["event_time"].date(),
            "event_time": row["event_time"],
            "event_type": snake_case(kind),
            "message": None,
            "latitude_deg": None,
            "longitude_deg": None,
            "attributes": None,
            **told,
        }

    def identifications(self) -> Iterator[dict[str, Any]]:
        """Candidates of the faces that cameras saw."""
        titles = {
            (account, row["camera_id"]): row["title"] for account, row in self._rows("omni_platform", "camera", whole=True)
        }
        for account, row in self._rows("omni_platform", "event"):
            if row["event_type"] != "identification":
                continue
            for number, candidate in enumerate(row["candidates"] or ()):
                yield {
                    "account": account,
                    "event_id": row["event_id"],
                    "candidate": number,
                    "day": row["event_time"].date(),
                    "event_time": row["event_time"],
                    "camera_id": row["camera_id"],
                    "camera_title": titles.get((account, row["camera_id"])),
                    "agent_id": row["agent_id"],
                    "activity_id": row["activity_id"],
                    "profile_id": candidate.get("profile_id"),
                    "confidence": candidate.get("confidence"),
                    "group_ids": candidate.get("group_ids"),
                }

    def drivers(self) -> Iterator[dict[str, Any]]:
        """Drivers that the vendors name."""
        for account, row in self._rows("suivideflotte", "driver", whole=True):
            yield _driver("suivideflotte", account, str(row["driver_id"]), row["name"])
        latest: dict[tuple[str, str], Row] = {}
        for account, row in self._rows("powunity", "trip"):
            if row["driver_unique_id"]:
                key = (account, row["driver_unique_id"])
                latest[key] = max(latest.get(key, row), row, key=lambda trip: trip["start_time"])
        for (account, number), trip in latest.items():
            yield _driver("powunity", account, number, trip["driver_name"])


def _opened(vehicle_key: str, device: Device, row: Row) -> dict[str, Any]:
    return {
        "vehicle_key": vehicle_key,
        **_named(device),
        "ecu_key": row["ecu_key"],
        "dtc": row["dtc"],
        "opened_at": row["report_time"],
        "closed_at": None,
        "reports": 0,
        "is_confirmed": False,
        "is_warning_indicator_requested": False,
        "is_open": True,
    }


def _seen(episode: dict[str, Any], row: Row) -> dict[str, Any]:
    lamps = ("is_confirmed", "is_warning_indicator_requested")
    return {
        **episode,
        **{name: row[name] for name in ("ecu", "dtc_code", "description")},
        **{name: episode[name] or bool(row[name]) for name in lamps},
        "last_seen_at": row["report_time"],
        "reports": episode["reports"] + 1,
    }


def _named(device: Device) -> dict[str, Any]:
    return dict(zip(("vendor", "account", "vendor_vehicle_id"), device, strict=True))


def _place(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("latitude_deg", "longitude_deg")}


def _driver(vendor: str, account: str, number: str, name: str | None) -> dict[str, Any]:
    return {
        "driver_key": f"{vendor}:{account}:{number}",
        "vendor": vendor,
        "account": account,
        "vendor_driver_id": number,
        "name": name,
    }


def snake_case(text: str) -> str:
    """``deviceMoving`` → ``device_moving``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
