"""Trips, filling and draining, found by walking along a device's readings in order of time."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

MOVING_KMH = 2.0
LONGEST_GAP_S = 300
SHORTEST_TRIP_S = 60

STEP_L = 1.0
REFUEL_L = 5.0
DRAIN_L = 10.0
DRAIN_GAP_S = 600

EARTH_M = 6_371_008.8


class Point(NamedTuple):
    """A reading of a device, as far as trips need it."""

    time: dt.datetime
    speed_kmh: float | None
    latitude: float | None
    longitude: float | None
    odometer_m: float | None


class Level(NamedTuple):
    """Litres in a tank."""

    time: dt.datetime
    litres: float


def trips(points: Sequence[Point], distance: Callable[[Sequence[Point]], float | None]) -> Iterator[dict[str, Any]]:
    """Trips within ``points`` (in order of time), in the model's columns.

    Args:
        points: readings that count, of one device, one assignment and one UTC day.
        distance: metres over the points of a trip, standing ones included.
    """
    first = last = -1
    for index, point in enumerate(points):
        if point.speed_kmh is None or point.speed_kmh <= MOVING_KMH:
            continue
        if first >= 0 and (point.time - points[last].time).total_seconds() > LONGEST_GAP_S:
            yield from _trip(points[first : last + 1], distance)
            first = -1
        first, last = (index if first < 0 else first), index
    if first >= 0:
        yield from _trip(points[first : last + 1], distance)


def _trip(points: Sequence[Point], distance: Callable[[Sequence[Point]], float | None]) -> Iterator[dict[str, Any]]:
    start, end = points[0], points[-1]
    if (end.time - start.time).total_seconds() < SHORTEST_TRIP_S:
        return
    yield {
        "start_time": start.time,
        "end_time": end.time,
        "distance_m": distance(points),
        "max_speed_kmh": max(point.speed_kmh for point in points if point.speed_kmh is not None),
        "start_latitude_deg": start.latitude,
        "start_longitude_deg": start.longitude,
        "end_latitude_deg": end.latitude,
        "end_longitude_deg": end.longitude,
        "start_odometer_m": start.odometer_m,
        "end_odometer_m": end.odometer_m,
        "is_derived": True,
    }


def by_odometer(points: Sequence[Point]) -> float | None:
    """Metres by the vehicle's odometer, from its first reading to its last."""
    readings = [point.odometer_m for point in points if point.odometer_m is not None]
    return readings[-1] - readings[0] if len(readings) > 1 else None


def by_ground(points: Sequence[Point]) -> float | None:
    """Metres over ground, from point to point, whole."""
    return float(round(sum(_metres(one, other) for one, other in pairwise(points))))


def _metres(one: Point, other: Point) -> float:
    if one.latitude is None or one.longitude is None or other.latitude is None or other.longitude is None:
        raise ValueError(f"a valid point without a place at {one.time} or {other.time}")
    south, north = math.radians(one.latitude), math.radians(other.latitude)
    turn = math.radians(other.longitude - one.longitude)
    half = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin(turn / 2) ** 2
    return 2 * EARTH_M * math.asin(math.sqrt(half))


def fuel_events(levels: Sequence[Level]) -> Iterator[dict[str, Any]]:
    """Refuellings and drains within ``levels`` (in order of time) of one tank, assignment and UTC day."""
    kind: str | None = None
    start = 0
    for index in range(1, len(levels) + 1):
        step = _step(levels[index - 1], levels[index]) if index < len(levels) else None
        if step != kind:
            if kind is not None:
                yield from _fuel_event(kind, levels[start], levels[index - 1])
            kind, start = step, index - 1


def _step(before: Level, after: Level) -> str | None:
    change = after.litres - before.litres
    if change >= STEP_L:
        return "refuel"
    seconds = (after.time - before.time).total_seconds()
    if change <= -STEP_L and seconds <= DRAIN_GAP_S and -change / (seconds / 60) >= 1:
        return "drain"
    return None


def _fuel_event(kind: str, before: Level, after: Level) -> Iterator[dict[str, Any]]:
    litres = abs(after.litres - before.litres)
    if litres < (REFUEL_L if kind == "refuel" else DRAIN_L):
        return
    yield {
        "event_time": after.time,
        "begin_time": before.time,
        "kind": kind,
        "volume_l": litres,
        "level_before_l": before.litres,
        "level_after_l": after.litres,
    }
