"""What is true of the fleet in the vendor-neutral tables: the oracle that the schema ``fleet`` is compared with.

It is worked out from what is true at the vendors and from what the generator knows about its vehicles, row by row along
time, and shares nothing with the statements that build the tables.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from fleetlake.errors import ConfigError
from fleetlake.sandbox.fleet.days import VehicleDay
from fleetlake.sandbox.fleet.entities import entities
from fleetlake.sandbox.fleet.histories import Histories
from fleetlake.sandbox.fleet.identity import Identities, Identity
from fleetlake.sandbox.fleet.mapping import FOREVER, Mapping
from fleetlake.sandbox.fleet.positions import positions
from fleetlake.sandbox.fleet.stints import Days
from fleetlake.sandbox.rooms import ROOMS, Context
from fleetlake.window import Window

__all__ = ["TABLES", "FleetTruth", "all_accounts"]

_ACCOUNTS = (
    ("rcs", "main"),
    ("powunity", "north"),
    ("powunity", "south"),
    ("omnicomm", "trucks"),
    ("suivideflotte", "france"),
    ("omni_platform", "depot"),
)


def all_accounts() -> list[tuple[str, str]]:
    """Vendor and account of every customer that is loaded where nothing else is said, as far as the sandbox has its vendor."""
    return [pair for pair in _ACCOUNTS if pair[0] in ROOMS]


class FleetTruth:
    """Truth of the fleet's tables when exactly ``window`` is loaded and proven complete.

    Args:
        context: settings, world, clock.
        accounts: pairs of vendor and account; an account is named like its customer.
        window: whole UTC days.
        mapping: file that says which device is on which vehicle; ``None`` = none.

    Raises:
        ConfigError: the window is not made of whole days.
    """

    def __init__(
        self, context: Context, accounts: Iterable[tuple[str, str]], window: Window, mapping: Path | None = None
    ) -> None:
        if window != window.whole_days():
            raise ConfigError(f"{window} is not made of whole days", remedy="begin and end at UTC midnights")
        self._accounts = sorted(accounts)
        self._window = window
        found = (entity for vendor, account in self._accounts for entity in entities(context, vendor, account))
        self.identities = Identities(found, Mapping.read(mapping))
        self._days = Days(context, self._accounts, self.identities)
        self._days.offsets = self._offsets()
        self._histories = Histories(context, self._accounts, self.identities, window)

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Rows of a table, in the model's columns without ``built_at``; numbers are not rounded.

        Raises:
            ConfigError: there is no such table.
        """
        if table not in TABLES:
            raise ConfigError(f"no fleet table {table!r}", remedy=f"one of: {', '.join(TABLES)}")
        return TABLES[table](self)

    def vehicle_days(self) -> Iterator[VehicleDay]:
        """Day by day, vehicle by vehicle."""
        for day in self._window.days():
            stints = self._days.of(day)
            there = {
                identity.vehicle_key
                for identity in self.identities.all
                if identity.start < day.end and (identity.end is None or identity.end > day.start)
            }
            for vehicle_key in sorted(there):
                yield VehicleDay(vehicle_key, day, stints.get(vehicle_key, []))

    def _identity_rows(self) -> Iterator[dict[str, Any]]:
        for identity in self.identities.all:
            vendor, account, device = identity.device
            yield {
                "vendor": vendor,
                "account": account,
                "vendor_vehicle_id": device,
                "valid_from": identity.start,
                "vehicle_key": identity.vehicle_key,
                "valid_to": identity.end,
                "matched_by": identity.matched_by,
                "rank": identity.rank,
                "odometer_offset_m": self._days.offsets.get(identity, 0.0),
            }

    def _position_rows(self) -> Iterator[dict[str, Any]]:
        private: dict[str, list[tuple[dt.datetime, dt.datetime]]] = defaultdict(list)
        for vehicle_day in self.vehicle_days():
            private[vehicle_day.vehicle_key] += [
                (trip["start_time"], trip["end_time"]) for trip in vehicle_day.trips if trip["is_private"]
            ]
        for row in positions(self._days, self._accounts, self.identities, self._window):
            if not any(start <= row["event_time"] <= end for start, end in private[row["vehicle_key"]]):
                yield row

    def _offsets(self) -> dict[Identity, float]:
        """Metres to add to the odometer of trackers that came later, so that the vehicle's goes on."""
        late = [item for item in self.identities.all if item.device[0] == "powunity" and item.start > FOREVER]
        offsets: dict[Identity, float] = {}
        for identity in sorted(late, key=lambda item: item.start):
            first = self._reading(identity, last=False)
            if first is None:
                offsets[identity] = 0.0
                continue
            before = max(
                (
                    other
                    for other in self.identities.by_vehicle[identity.vehicle_key]
                    if other.device[0] == "powunity" and other.start < identity.start
                ),
                key=lambda other: other.start,
                default=None,
            )
            reached = identity.told_odometer_m
            if reached is None:
                last = self._reading(before, last=True, until=identity) if before else None
                reached = 0.0 if before is None or last is None else last + offsets.get(before, 0.0)
            offsets[identity] = reached - first
        return offsets

    def _reading(self, identity: Identity, *, last: bool, until: Identity | None = None) -> float | None:
        """First or last reading of a tracker while on a vehicle, before another came."""
        vendor, account, _ = identity.device
        days = list(self._window.days())
        for day in reversed(days) if last else days:
            for device, rows in self._days.rows(vendor, account, "position", "device_id", day):
                if device != identity.device:
                    continue
                readings = [
                    (row["event_time"], row["odometer_m"])
                    for row in rows
                    if row["odometer_m"] is not None
                    and identity.covers(row["event_time"])
                    and (until is None or row["event_time"] < until.start)
                ]
                if readings:
                    return float((max if last else min)(readings)[1])
        return None


def _per_day(
    rows: Callable[[VehicleDay], Iterable[dict[str, Any]]],
) -> Callable[[FleetTruth], Iterator[dict[str, Any]]]:
    def all_rows(truth: FleetTruth) -> Iterator[dict[str, Any]]:
        for vehicle_day in truth.vehicle_days():
            yield from rows(vehicle_day)

    return all_rows


TABLES: dict[str, Callable[[FleetTruth], Iterator[dict[str, Any]]]] = {
    "vehicle": lambda truth: truth.identities.vehicles(),
    "vehicle_identity": FleetTruth._identity_rows,
    "driver": lambda truth: truth._histories.drivers(),
    "trip": _per_day(lambda vehicle_day: vehicle_day.trips),
    "stop": _per_day(VehicleDay.stops),
    "position": FleetTruth._position_rows,
    "vehicle_day": _per_day(lambda vehicle_day: [vehicle_day.row()]),
    "fuel_event": _per_day(lambda vehicle_day: vehicle_day.fuel_events),
    "trouble": lambda truth: truth._histories.troubles(),
    "geofence_visit": lambda truth: truth._histories.geofence_visits(),
    "event": lambda truth: truth._histories.events(),
    "identification": lambda truth: truth._histories.identifications(),
}
