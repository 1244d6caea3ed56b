"""Where the vehicles were: every place that a device told while it was on a vehicle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fleetlake.sandbox.fleet.identity import Identities
from fleetlake.sandbox.fleet.stints import Days
from fleetlake.window import Window

_SOURCES = {
    "rcs": ("telemetry", "vehicle_id"),
    "powunity": ("position", "device_id"),
    "omnicomm": ("track_point", "terminal_id"),
}
_TAKEN = ("latitude_deg", "longitude_deg", "speed_kmh", "heading_deg")
_SOMETIMES = ("received_time", "altitude_m")


def positions(
    days: Days, accounts: list[tuple[str, str]], identities: Identities, window: Window
) -> Iterator[dict[str, Any]]:
    """Rows of ``fleet.position``, day by day and device by device."""
    for day in window.days():
        for vendor, account in accounts:
            if vendor not in _SOURCES:
                continue
            for device, rows in days.rows(vendor, account, *_SOURCES[vendor], day):
                for row in rows:
                    identity = identities.at(device, row["event_time"])
                    if identity is None or row["latitude_deg"] is None:
                        continue
                    metres = row.get("odometer_m")
                    yield {
                        "vehicle_key": identity.vehicle_key,
                        "event_time": row["event_time"],
                        **{name: row[name] for name in _TAKEN},
                        **{name: row.get(name) for name in _SOMETIMES},
                        "odometer_m": None if metres is None else metres + days.offsets.get(identity, 0.0),
                        "is_valid": row.get("is_valid", True),
                        "vendor": vendor,
                        "account": account,
                        "vendor_vehicle_id": device[2],
                    }
