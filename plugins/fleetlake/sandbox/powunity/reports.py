"""Reports of a Traccar 5.12 server, as functions of positions and events.

Every function takes positions sorted by fix time. A report over at most :attr:`Thresholds.fast_s` is worked out anew
from positions ("slow"); a longer one is put together from stored motion events ("fast"), with other bounds and a maximum
speed of 0. Output objects have the server's field order; speeds are knots, distances metres, durations milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from fleetlake.sandbox.powunity.model import DAY, SECOND, Event, Position, iso

KNOTS_PER_MPS = 1.94384

DriverName = Callable[[str], str | None]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Settings of trip detection (POW-03); defaults are those of the stock server."""

    min_trip_m: float = 500.0
    min_trip_s: int = 300
    min_parking_s: int = 300
    no_data_s: int = 3600
    fast_s: int = 86400


@dataclass(slots=True)
class MotionState:
    """What the server remembers of a device's motion.

    Attributes:
        streak: the confirmed state: moving or not.
        moving: the state of the last position.
        since_ms: when an unconfirmed change began, ``None`` when there is none.
        since_m: odometer at that moment.
    """

    streak: bool
    moving: bool
    since_ms: int | None = None
    since_m: float = 0.0

    def update(self, position: Position, moving: bool, limits: Thresholds) -> bool:
        """Take the next position in; true when it confirms a change of state."""
        if moving != self.moving:
            self.moving = moving
            if moving == self.streak:
                self.since_ms = None
            else:
                self.since_ms, self.since_m = position.fix_ms, position.total_distance
            return False
        if self.since_ms is None:
            return False
        elapsed = position.fix_ms - self.since_ms
        if moving:
            confirmed = elapsed >= limits.min_trip_s * SECOND or position.total_distance - self.since_m >= limits.min_trip_m
        else:
            confirmed = elapsed >= limits.min_parking_s * SECOND
        if confirmed:
            self.streak, self.since_ms = moving, None
        return confirmed


def _moving(positions: Sequence[Position], index: int, limits: Thresholds) -> bool:
    # The points on both sides of a long silence count as standing, whatever they say themselves.
    gap = limits.no_data_s * SECOND
    now = positions[index].fix_ms
    if index + 1 < len(positions) and positions[index + 1].fix_ms - now >= gap:
        return False
    if index > 0 and now - positions[index - 1].fix_ms >= gap:
        return False
    return positions[index].motion


@dataclass(frozen=True, slots=True)
class Span:
    """A trip or a stop: its end points and the highest speed (knots)."""

    start: Position
    end: Position
    max_speed: float


def slow_spans(positions: Sequence[Position], *, trips: bool, limits: Thresholds) -> list[Span]:
    """Trips (or stops) worked out from the positions of a window.

    Spans that touch the window's edges are cut there: the first position counts as confirmed, and the last span ends at
    the last position, so that an open trip grows from one call to the next.
    """
    spans: list[Span] = []
    if not positions:
        return spans
    first = _moving(positions, 0, limits)
    state = MotionState(streak=first, moving=first)
    inside = first == trips
    start = 0 if inside else None
    end: int | None = None
    max_speed = 0.0
    for index, position in enumerate(positions):
        moving = _moving(positions, index, limits)
        if moving == state.moving:
            max_speed = max(max_speed, position.speed)
        elif moving == trips:
            if not inside:
                start, max_speed = index, position.speed
            end = None
        else:
            end = index
        if not state.update(position, moving, limits):
            continue
        if moving == trips:
            inside, end = True, None
        elif start is not None and end is not None:
            spans.append(Span(positions[start], positions[end], max_speed))
            inside, start, end = False, None, None
    if inside and start is not None and start < len(positions) - 1:
        spans.append(Span(positions[start], positions[-1 if end is None else end], max_speed))
    return spans


def fast_spans(events: Sequence[Event], position_of: Callable[[int], Position | None], *, trips: bool) -> list[Span]:
    """Trips (or stops) put together from pairs of stored deviceMoving and deviceStopped events."""
    spans: list[Span] = []
    opening: Event | None = None
    for event in events:
        if event.type not in ("deviceMoving", "deviceStopped"):
            continue
        if (event.type == "deviceMoving") == trips:
            opening = event
        elif opening is not None:
            start, end = position_of(opening.position_id), position_of(event.position_id)
            if start is not None and end is not None:
                spans.append(Span(start, end, 0.0))
            opening = None
    return spans


def trip_item(span: Span, device_name: str, driver_name: DriverName) -> dict[str, Any]:
    """One item of ``/reports/trips``."""
    start, end = span.start, span.end
    start_m, end_m, distance = _odometers(start, end)
    duration = end.fix_ms - start.fix_ms
    driver = start.attributes.get("driverUniqueId", end.attributes.get("driverUniqueId"))
    return {
        "deviceId": start.device_id,
        "deviceName": device_name,
        "distance": distance,
        "averageSpeed": _knots(distance, duration),
        "maxSpeed": span.max_speed,
        "spentFuel": _fuel(start, end),
        "startOdometer": start_m,
        "endOdometer": end_m,
        "startTime": iso(start.fix_ms),
        "endTime": iso(end.fix_ms),
        "startPositionId": start.id,
        "endPositionId": end.id,
        "startLat": start.latitude,
        "startLon": start.longitude,
        "endLat": end.latitude,
        "endLon": end.longitude,
        "startAddress": start.address,
        "endAddress": end.address,
        "duration": duration,
        "driverUniqueId": driver,
        "driverName": driver_name(driver) if driver is not None else None,
    }


def stop_item(span: Span, device_name: str) -> dict[str, Any]:
    """One item of ``/reports/stops``; its distance and speeds are 0 by definition."""
    start, end = span.start, span.end
    start_m, end_m, _ = _odometers(start, end)
    return {
        "deviceId": start.device_id,
        "deviceName": device_name,
        "distance": 0.0,
        "averageSpeed": 0.0,
        "maxSpeed": 0.0,
        "spentFuel": _fuel(start, end),
        "startOdometer": start_m,
        "endOdometer": end_m,
        "startTime": iso(start.fix_ms),
        "endTime": iso(end.fix_ms),
        "positionId": start.id,
        "latitude": start.latitude,
        "longitude": start.longitude,
        "address": start.address,
        "duration": end.fix_ms - start.fix_ms,
        "engineHours": _engine_hours(start, end),
    }


def summary_item(positions: Sequence[Position], device_name: str, *, fast: bool) -> dict[str, Any] | None:
    """One item of ``/reports/summary``, ``None`` without positions."""
    if not positions:
        return None
    first, last = positions[0], positions[-1]
    start_m, end_m, distance = _odometers(first, last)
    return {
        "deviceId": first.device_id,
        "deviceName": device_name,
        "distance": distance,
        "averageSpeed": _knots(distance, last.fix_ms - first.fix_ms),
        "maxSpeed": 0.0 if fast else max(position.speed for position in positions),
        "spentFuel": _fuel(first, last),
        "startOdometer": start_m,
        "endOdometer": end_m,
        "startTime": iso(first.fix_ms),
        "endTime": iso(last.fix_ms),
        "engineHours": _engine_hours(first, last),
    }


def day_pieces(start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """The pieces of a daily summary, cut at UTC midnights; both ends of each are inclusive, so midnight is in two."""
    pieces = []
    while start_ms // DAY < end_ms // DAY:
        midnight = (start_ms // DAY + 1) * DAY
        pieces.append((start_ms, midnight))
        start_ms = midnight
    pieces.append((start_ms, end_ms))
    return pieces


def combined_item(device_id: int, positions: Sequence[Position], events: Sequence[Event]) -> dict[str, Any]:
    """One item of ``/reports/combined``: longitude first, deviceMoving left out, positions only of events."""
    wanted = {event.position_id for event in events}
    return {
        "deviceId": device_id,
        "route": [[position.longitude, position.latitude] for position in positions],
        "events": [event.as_json() for event in events if event.position_id > 0 and event.type != "deviceMoving"],
        "positions": [position.as_json() for position in positions if position.id in wanted],
    }


def _odometers(start: Position, end: Position) -> tuple[float, float, float]:
    first, last = start.attributes.get("odometer", 0), end.attributes.get("odometer", 0)
    if not (first and last):
        first, last = start.total_distance, end.total_distance
    return float(first), float(last), float(last) - float(first)


def _knots(distance: float, duration: int) -> float:
    return distance * 1000 / duration * KNOTS_PER_MPS if duration > 0 else 0.0


def _fuel(start: Position, end: Position) -> float:
    levels: list[Mapping[str, Any]] = [start.attributes, end.attributes]
    if not all("fuelLevel" in attributes for attributes in levels):
        return 0.0
    used = Decimal(str(float(levels[0]["fuelLevel"]) - float(levels[1]["fuelLevel"])))
    return float(used.quantize(Decimal("0.1"), ROUND_HALF_EVEN))


def _engine_hours(start: Position, end: Position) -> int:
    if "hours" not in start.attributes or "hours" not in end.attributes:
        return 0
    return int(end.attributes["hours"]) - int(start.attributes["hours"])
