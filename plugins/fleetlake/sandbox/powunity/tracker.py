"""What a tracker reports: what its bike does and, once it was moved, what the other bike does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fleetlake.sandbox.world import DAY_S, Late, Sample, Vehicle

_EARTH_M = 6_371_008.8


@dataclass(frozen=True)
class Move:
    """A tracker was taken off its bike and put onto another one.

    Attributes:
        at_s: from here on it reports the other bike, seconds since 1970.
        onto: the other bike; it has no tracker of its own.
    """

    at_s: int
    onto: Vehicle


def samples(vehicle: Vehicle, move: Move | None, day: int) -> tuple[Sample, ...]:
    """Samples that the tracker takes on ``day``, by time.

    Odometer and engine time belong to the tracker: they go on from where they were, and the way from bike to bike counts.
    """
    if move is None or (day + 1) * DAY_S <= move.at_s:
        return vehicle.samples(day)
    metres, seconds = _offsets(vehicle, move)
    before = (sample for sample in vehicle.samples(day) if sample.time < move.at_s)
    since = (sample for sample in move.onto.samples(day) if sample.time >= move.at_s)
    carried = (
        sample._replace(odometer_m=sample.odometer_m + metres, engine_s=sample.engine_s + seconds) for sample in since
    )
    return (*before, *carried)


def late(vehicle: Vehicle, move: Move | None, day: int) -> Iterator[Late]:
    """Stretches of ``day`` that are uploaded late, in order."""
    own = vehicle.late(day)
    if move is None:
        if own:
            yield own
        return
    if own and own.start < move.at_s:
        yield replace(own, end=min(own.end, move.at_s))
    other = move.onto.late(day)
    if other and other.end > move.at_s:
        yield replace(other, start=max(other.start, move.at_s))


def _offsets(vehicle: Vehicle, move: Move) -> tuple[int, int]:
    """Metres and seconds of use to add to what the other bike counts."""
    day = move.at_s // DAY_S
    last = max(
        (sample for step in (-1, 0) for sample in vehicle.samples(day + step) if sample.time < move.at_s), default=None
    )
    first = min(sample for step in (0, 1) for sample in move.onto.samples(day + step) if sample.time >= move.at_s)
    if last is None:  # nothing was ever taken on the first bike
        return -first.odometer_m, -first.engine_s
    return last.odometer_m + _metres(last, first) - first.odometer_m, last.engine_s - first.engine_s


def _metres(start: Sample, end: Sample) -> int:
    """Great-circle distance, whole metres."""
    south, north = math.radians(start.latitude), math.radians(end.latitude)
    across = math.sin(math.radians(end.longitude - start.longitude) / 2) ** 2
    half = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * across
    return round(2 * _EARTH_M * math.asin(math.sqrt(half)))
