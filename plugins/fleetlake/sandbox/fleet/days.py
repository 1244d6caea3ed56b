"""The day of a vehicle, put together from what its devices say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from fleetlake.sandbox.fleet import walks
from fleetlake.sandbox.fleet.identity import Device
from fleetlake.sandbox.fleet.stints import Row, Stint
from fleetlake.window import Window

SHORTEST_STOP_S = 300
FASTEST_KMH = 200

_TRIP_DEFAULTS: dict[str, Any] = {
    "start_address": None,
    "end_address": None,
    "start_odometer_m": None,
    "end_odometer_m": None,
    "driver_key": None,
    "is_private": False,
    "is_derived": False,
    "vendor_trip_id": None,
}


_PLACES = {f"{end}_{what}" for end in ("start", "end") for what in ("latitude_deg", "longitude_deg", "address")}


class VehicleDay:
    """What is true of one vehicle on one UTC day.

    Args:
        stints: of its devices, best first.
    """

    def __init__(self, vehicle_key: str, day: Window, stints: list[Stint]) -> None:
        self.vehicle_key = vehicle_key
        self.day = day
        self._stints = stints
        self.trips = sorted(
            self._make_trips(),
            key=lambda trip: (trip["start_time"], trip["vendor"], trip["account"], trip["vendor_vehicle_id"]),
        )
        self._levels = self._make_levels()
        self.fuel_events = list(self._make_fuel_events())

    def _heard(self, stint: Stint, speaks: Callable[[Stint], bool]) -> Callable[[dt.datetime], bool]:
        """Tell for a moment whether ``stint`` is heard: no better device with facts of the kind was on the vehicle then."""
        better = [other for other in self._stints if other.identity.order < stint.identity.order and speaks(other)]
        return lambda moment: not any(other.identity.covers(moment) for other in better)

    def _make_trips(self) -> Iterator[dict[str, Any]]:
        for stint in self._stints:
            better = [other for item in self._stints if item.identity.order < stint.identity.order for other in item.trips]
            for trip in stint.trips:
                if not any(_shared(trip, other) > dt.timedelta() for other in better):
                    yield _discreet(self._trip(stint, trip | self._told_of(trip)))

    def _told_of(self, trip: dict[str, Any]) -> dict[str, Any]:
        """Driver and privacy of a derived trip: those of the told trip of the day that shares most time with it."""
        if not trip.get("is_derived"):
            return {}
        shared = [
            (_shared(trip, other), -number, other)
            for number, other in enumerate(
                sorted(
                    (other for stint in self._stints for other in stint.trips if not other.get("is_derived")),
                    key=lambda other: other["start_time"],
                )
            )
        ]
        time, _, same = max(shared, default=(dt.timedelta(), 0, {}), key=lambda item: item[:2])
        return {name: same[name] for name in ("driver_key", "is_private") if name in same} if time > dt.timedelta() else {}

    def _trip(self, stint: Stint, trip: dict[str, Any]) -> dict[str, Any]:
        seconds = (trip["end_time"] - trip["start_time"]).total_seconds()
        metres = trip["distance_m"]
        return {
            **self._of_device(stint),
            **_TRIP_DEFAULTS,
            **trip,
            "duration_s": seconds,
            "average_speed_kmh": metres / seconds * 3.6 if metres is not None and seconds else None,
        }

    def _of_device(self, stint: Stint) -> dict[str, Any]:
        vendor, account, device = stint.identity.device
        return {
            "vehicle_key": self.vehicle_key,
            "day": self.day.start.date(),
            "vendor": vendor,
            "account": account,
            "vendor_vehicle_id": device,
        }

    def stops(self) -> Iterator[dict[str, Any]]:
        """Standing between two trips."""
        for before, after in pairwise(self.trips):
            seconds = (after["start_time"] - before["end_time"]).total_seconds()
            if seconds >= SHORTEST_STOP_S:
                yield {
                    "vehicle_key": self.vehicle_key,
                    "day": self.day.start.date(),
                    "start_time": before["end_time"],
                    "end_time": after["start_time"],
                    "duration_s": seconds,
                    "latitude_deg": before["end_latitude_deg"],
                    "longitude_deg": before["end_longitude_deg"],
                    "address": before["end_address"],
                }

    def _make_levels(self) -> list[tuple[Stint, int, list[walks.Level]]]:
        """Fuel levels that are heard, by device and tank."""
        found = []
        for stint in self._stints:
            heard = self._heard(stint, lambda other: bool(other.fuel))
            found += [(stint, tank, [level for level in levels if heard(level.time)]) for tank, levels in stint.fuel.items()]
        return found

    def _make_fuel_events(self) -> Iterator[dict[str, Any]]:
        for stint, tank, levels in self._levels:
            for event in walks.fuel_events(levels):
                yield {**self._of_device(stint), "tank": tank, **event}

    def row(self) -> dict[str, Any]:
        """The row of ``fleet.vehicle_day``: every day of the generator is proven complete, so an empty one is a row too."""
        source = next((stint for stint in self._stints if stint.daily is not None and stint.is_whole_day), None)
        daily: Row = (source and source.daily) or {}
        driven, moving = self._driven()
        distance = driven
        if source and self._tellers() <= {source.identity.device}:
            distance = _first(daily.get("distance_m"), driven)
            moving = _first(daily.get("moving_time_s"), moving)
        engine = _first(daily.get("engine_run_time_s"), self._engine_s())
        idle = daily.get("idle_time_s")
        if idle is None and engine is not None and moving is not None:
            idle = max(engine - moving, 0.0)
        fuel = self._fuel()
        start_m, end_m = self._odometer(daily)
        speeds = [trip["max_speed_kmh"] for trip in self.trips if trip["max_speed_kmh"] is not None]
        row = {
            "vehicle_key": self.vehicle_key,
            "day": self.day.start.date(),
            "distance_m": distance,
            "moving_time_s": moving,
            "engine_run_time_s": engine,
            "idle_time_s": idle,
            **{name: _first(daily.get(name), value) for name, value in fuel.items()},
            "trips": len(self.trips),
            "stops": sum(1 for _ in self.stops()),
            "max_speed_kmh": max(speeds) if speeds else daily.get("max_speed_kmh"),
            "odometer_start_m": start_m,
            "odometer_end_m": end_m,
            "first_trip_time": self.trips[0]["start_time"] if self.trips else None,
            "last_trip_time": self.trips[-1]["end_time"] if self.trips else None,
            "sources": self._sources(source),
        }
        notes = list(_doubts(row, daily.get("distance_m"), driven))
        return row | {"trust_score": 100 - 20 * len(notes), "trust_notes": "; ".join(notes)}

    def _driven(self) -> tuple[float | None, float | None]:
        """Metres and seconds under way, by the trips."""
        records, speeds = (sum(getattr(stint, name) for stint in self._stints) for name in ("records", "speeds"))
        if not self.trips and records and not speeds:
            return None, None
        metres = [trip["distance_m"] for trip in self.trips]
        return None if None in metres else sum(metres), sum(trip["duration_s"] for trip in self.trips)

    def _engine_s(self) -> float | None:
        """Engine time of the best device that knows it."""
        for stint in self._stints:
            own = [other for other in self._stints if other.identity.device == stint.identity.device]
            if any(other.engines for other in own):
                return sum(other.engine_s for other in own)
            if stint.summary and stint.is_whole_day and stint.summary["engine_run_time_s"] is not None:
                return float(stint.summary["engine_run_time_s"])
        return None

    def _fuel(self) -> dict[str, float | None]:
        levels = sorted(level for stint, _, heard in self._levels if stint.identity.device[0] == "rcs" for level in heard)
        if len(levels) < 2:
            return dict.fromkeys(("fuel_used_l", "fuel_refuelled_l", "fuel_drained_l"))
        filled, drained = (
            sum(event["volume_l"] for event in self.fuel_events if (event["vendor"], event["kind"]) == ("rcs", kind))
            for kind in ("refuel", "drain")
        )
        used = levels[0].litres - levels[-1].litres + filled - drained
        return {"fuel_used_l": used, "fuel_refuelled_l": filled, "fuel_drained_l": drained}

    def _odometer(self, daily: Row) -> tuple[float | None, float | None]:
        readings: list[walks.Level] = []
        for stint in self._stints:
            heard = self._heard(stint, lambda other: bool(other.odometer))
            readings += [reading for piece in stint.odometer.values() for reading in piece if heard(reading.time)]
        if not readings:
            return daily.get("odometer_start_m"), daily.get("odometer_end_m")
        return (
            min(readings, key=lambda reading: reading.time).litres,
            max(readings, key=lambda reading: reading.time).litres,
        )

    def _tellers(self) -> set[Device]:
        """Devices whose trips count."""
        return {(trip["vendor"], trip["account"], trip["vendor_vehicle_id"]) for trip in self.trips}

    def _sources(self, daily: Stint | None) -> str:
        devices = {stint.identity.device for stint in self._stints if stint.samples or stint is daily}
        devices |= self._tellers()
        return ", ".join(sorted("/".join(device) for device in devices))


def _shared(one: dict[str, Any], other: dict[str, Any]) -> dt.timedelta:
    """Time that two trips have in common; negative: that lies between them."""
    shared: dt.timedelta = min(one["end_time"], other["end_time"]) - max(one["start_time"], other["start_time"])
    return shared


def _discreet(trip: dict[str, Any]) -> dict[str, Any]:
    """Without places when it was private."""
    if not trip["is_private"]:
        return trip
    return {name: None if name in _PLACES else trip[name] for name in trip}


def _doubts(row: dict[str, Any], reported: float | None, driven: float | None) -> Iterator[str]:
    """Reasons to trust a day less; every day of the generator is complete."""
    if reported is not None and driven is not None and abs(reported - driven) > max(1000.0, reported / 10):
        yield "trips differ from daily report"
    start, end, distance = row["odometer_start_m"], row["odometer_end_m"], row["distance_m"]
    if None not in (start, end, distance) and abs(end - start - distance) > max(1000.0, distance / 10):
        yield "odometer differs from distance"
    if row["max_speed_kmh"] is not None and row["max_speed_kmh"] > FASTEST_KMH:
        yield "implausible speed"
    if row["fuel_used_l"] is not None and row["fuel_used_l"] < 0:
        yield "negative fuel"
    if distance is None:
        yield "distance unknown"
    if row["moving_time_s"] is None:
        yield "speed unknown"


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
