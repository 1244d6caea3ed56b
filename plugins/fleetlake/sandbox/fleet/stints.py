"""One day of one device on one vehicle: what it has to say, cut down to what the vehicle's day needs."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

from fleetlake.sandbox.fleet import walks
from fleetlake.sandbox.fleet.identity import Device, Identities, Identity
from fleetlake.sandbox.rooms import Context, room
from fleetlake.window import Window

Row = Mapping[str, Any]

ENGINE_GAP_S = 120


@dataclass
class Stint:
    """What a device says about its vehicle on a UTC day.

    Readings are kept per piece of the day between two changes of the vehicle's devices: within a piece nobody gains or
    loses the right to speak.

    Attributes:
        cuts: where the pieces after the first begin.
        samples: records, positions or track points.
        odometer: first and last reading of each piece.
        fuel: levels by tank.
        engine_s: engine time of an RCS device.
        records, speeds, engines: its records, those with a speed, those that know whether the engine is on.
    """

    identity: Identity
    day: Window
    cuts: list[dt.datetime]
    samples: int = 0
    trips: list[dict[str, Any]] = field(default_factory=list)
    odometer: dict[int, tuple[walks.Level, walks.Level]] = field(default_factory=dict)
    fuel: dict[int, list[walks.Level]] = field(default_factory=lambda: defaultdict(list))
    engine_s: float = 0.0
    records: int = 0
    speeds: int = 0
    engines: int = 0
    daily: Row | None = None
    summary: Row | None = None

    @property
    def is_whole_day(self) -> bool:
        """The device was on the vehicle all day."""
        return self.identity.covers_all(self.day.start, self.day.end)

    def piece(self, moment: dt.datetime) -> int:
        """Number of the piece of the day."""
        return bisect_right(self.cuts, moment)

    def read_odometer(self, moment: dt.datetime, metres: float) -> None:
        """Take in a reading; they come in order of time."""
        piece = self.piece(moment)
        reading = walks.Level(moment, metres)
        self.odometer[piece] = (self.odometer.get(piece, (reading,))[0], reading)


class Days:
    """All stints of a day, vehicle by vehicle.

    Attributes:
        offsets: metres to add to an identity's odometer readings.
    """

    def __init__(self, context: Context, accounts: Iterable[tuple[str, str]], identities: Identities) -> None:
        self._context = context
        self._accounts = list(accounts)
        self._identities = identities
        self.offsets: dict[Identity, float] = {}

    def of(self, day: Window) -> dict[str, list[Stint]]:
        """Stints of the day by vehicle, best device first."""
        found: dict[Identity, Stint] = {}

        def stint(identity: Identity) -> Stint:
            if identity not in found:
                found[identity] = Stint(identity, day, self._cuts(identity.vehicle_key, day))
            return found[identity]

        for vendor, account in self._accounts:
            for dataset, id_column, time_column, take in _TAKERS.get(vendor, ()):
                for device, rows in self.rows(vendor, account, dataset, id_column, day):
                    ordered = sorted(rows, key=itemgetter(time_column))
                    for identity in self._identities.by_device.get(device, ()):
                        own = [row for row in ordered if identity.covers(row[time_column])]
                        if own:
                            take(stint(identity), own, self.offsets.get(identity, 0.0))
        result: dict[str, list[Stint]] = defaultdict(list)
        for item in sorted(found.values(), key=lambda item: (item.identity.order, item.identity.start)):
            result[item.identity.vehicle_key].append(item)
        return result

    def rows(
        self, vendor: str, account: str, dataset: str, id_column: str, window: Window
    ) -> Iterator[tuple[Device, Iterator[Row]]]:
        """Rows of a dataset, device by device."""
        rows = room(vendor).truth(self._context, dataset, window, account)
        for number, group in groupby(rows, key=lambda row: str(row[id_column])):
            yield (vendor, account, number), group

    def _cuts(self, vehicle_key: str, day: Window) -> list[dt.datetime]:
        bounds = (bound for identity in self._identities.by_vehicle[vehicle_key] for bound in (identity.start, identity.end))
        return sorted({bound for bound in bounds if bound is not None and bound in day})


def _rcs_telemetry(stint: Stint, rows: list[Row], offset: float) -> None:
    stint.samples += len(rows)
    records = _one_per_time(rows)
    stint.records += len(records)
    stint.speeds += sum(row["speed_kmh"] is not None for row in records)
    stint.engines += sum(row["is_engine_started"] is not None or row["is_ignition_on"] is not None for row in records)
    points = [
        walks.Point(row["event_time"], row["speed_kmh"], row["latitude_deg"], row["longitude_deg"], row["odometer_m"])
        for row in records
    ]
    stint.trips += walks.trips(points, walks.by_odometer)
    for before, after in pairwise(records):
        seconds = (after["event_time"] - before["event_time"]).total_seconds()
        started = before["is_engine_started"]
        if seconds <= ENGINE_GAP_S and (before["is_ignition_on"] if started is None else started):
            stint.engine_s += seconds
    for row in records:
        if row["odometer_m"] is not None:
            stint.read_odometer(row["event_time"], row["odometer_m"] + offset)
        if row["fuel_level_l"] is not None:
            stint.fuel[1].append(walks.Level(row["event_time"], round(row["fuel_level_l"], 6)))


def _one_per_time(rows: list[Row]) -> list[Row]:
    """Of records with one time, the one the vendor got last."""
    return [max(group, key=lambda row: row["revision"]) for _, group in groupby(rows, key=lambda row: row["event_time"])]


def _powunity_trips(stint: Stint, rows: list[Row], offset: float) -> None:
    for row in rows:
        driver = row["driver_unique_id"]
        odometers = {
            name: None if row[name] is None else row[name] + offset for name in ("start_odometer_m", "end_odometer_m")
        }
        stint.trips.append(_told(row) | odometers | {"driver_key": _driver_key(stint.identity, driver)})


def _suivideflotte_trips(stint: Stint, rows: list[Row], _: float) -> None:
    latest = {row["start_time"]: row for row in sorted(rows, key=itemgetter("trip_id"))}
    for row in latest.values():
        stint.trips.append(
            _told(row)
            | {
                "driver_key": _driver_key(stint.identity, row["driver_id"]),
                "is_private": bool(row["is_private"]),
                "vendor_trip_id": str(row["trip_id"]),
            }
        )


_TOLD = (
    "start_time",
    "end_time",
    "distance_m",
    "max_speed_kmh",
    "start_latitude_deg",
    "start_longitude_deg",
    "end_latitude_deg",
    "end_longitude_deg",
    "start_address",
    "end_address",
)


def _told(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in _TOLD}


def _driver_key(identity: Identity, driver: object) -> str | None:
    vendor, account, _ = identity.device
    return None if driver in (None, "") else f"{vendor}:{account}:{driver}"


def _powunity_positions(stint: Stint, rows: list[Row], offset: float) -> None:
    stint.samples += len(rows)
    for row in rows:
        if row["odometer_m"] is not None:
            stint.read_odometer(row["event_time"], row["odometer_m"] + offset)


def _powunity_summary(stint: Stint, rows: list[Row], _: float) -> None:
    stint.summary = rows[0]


def _omnicomm_points(stint: Stint, rows: list[Row], _: float) -> None:
    stint.samples += len(rows)
    points = [
        walks.Point(row["event_time"], row["speed_kmh"], row["latitude_deg"], row["longitude_deg"], None)
        for row in rows
        if row["is_valid"]
    ]
    stint.trips += walks.trips(points, walks.by_ground)


def _omnicomm_daily(stint: Stint, rows: list[Row], _: float) -> None:
    stint.daily = rows[0]


def _omnicomm_fuel(stint: Stint, rows: list[Row], _: float) -> None:
    for row in rows:
        if row["fuel_level_l"] is not None:
            stint.fuel[row["tank"]].append(walks.Level(row["event_time"], round(row["fuel_level_l"], 6)))


_TAKERS = {
    "rcs": (("telemetry", "vehicle_id", "event_time", _rcs_telemetry),),
    "powunity": (
        ("trip", "device_id", "start_time", _powunity_trips),
        ("position", "device_id", "event_time", _powunity_positions),
        ("summary", "device_id", "start_time", _powunity_summary),
    ),
    "omnicomm": (
        ("track_point", "terminal_id", "event_time", _omnicomm_points),
        ("consolidated_report", "terminal_id", "report_time", _omnicomm_daily),
        ("fuel_level", "terminal_id", "event_time", _omnicomm_fuel),
    ),
    "suivideflotte": (("trip", "vehicle_id", "start_time", _suivideflotte_trips),),
}
