"""Points of a track, as dirty as real ones: parked jitter, points without satellites, and now and then an absurd spike."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from fleetlake.sandbox.dice import dice, number
from fleetlake.sandbox.omnicomm.park import Park, Truck
from fleetlake.sandbox.world import DAY_S, MAX_LATE_S, Sample

VALID_SATELLITES = 4
VALID_KMH = 250.0
"""A faster point is no fix either, whatever its satellites say."""


class Point(NamedTuple):
    """One point.

    Attributes:
        time, received_ms: when it was taken (seconds) and when the vendor got it (milliseconds), since 1970.
        latitude, longitude: degrees, six decimals.
        speed_kmh: one decimal.
        direction: whole degrees.
        satellites: 0 = no fix.
    """

    time: int
    received_ms: int
    latitude: float
    longitude: float
    speed_kmh: float
    direction: int
    satellites: int

    @property
    def is_valid(self) -> bool:
        """A fix one can believe."""
        return self.satellites >= VALID_SATELLITES and self.speed_kmh <= VALID_KMH


class Track:
    """Tracks of all trucks."""

    def __init__(self, park: Park) -> None:
        self._park = park
        self._seed = park.context.settings.seed
        self._points = lru_cache(maxsize=128)(self._make)

    def points(self, truck: Truck, start: int, end: int, now_ms: int) -> Iterator[Point]:
        """Points taken in ``[start, end)`` and received until ``now_ms``, by time. Times are unique."""
        start, end = max(start, self._park.context.world.first_day * DAY_S), min(end, now_ms // 1000 + 1)
        for day in range(start // DAY_S, (end - 1) // DAY_S + 1):
            for point in self._points(truck, day):
                if start <= point.time < end and point.received_ms <= now_ms:
                    yield point

    def latest(self, truck: Truck, now_ms: int, *, valid: bool = False) -> Point | None:
        """The youngest point known, or the youngest one that is valid."""
        today = now_ms // 1000 // DAY_S
        for day in range(today, today - MAX_LATE_S // DAY_S - 1, -1):
            for point in reversed(list(self.points(truck, day * DAY_S, (day + 1) * DAY_S, now_ms))):
                if point.is_valid or not valid:
                    return point
        return None

    def _make(self, truck: Truck, day: int) -> tuple[Point, ...]:
        if not truck.is_receiving:
            return ()
        samples = truck.vehicle.samples(day)
        spike = self._spike(truck, day, samples)
        return tuple(
            self._absurd(sample, spike) if sample.time == spike else self._point(truck, sample) for sample in samples
        )

    def _point(self, truck: Truck, sample: Sample) -> Point:
        chance = number(self._seed, truck.terminal_id, sample.time)
        if sample.ride is None:
            north, east = (chance >> 8) % 7 - 3, (chance >> 16) % 7 - 3
            return Point(
                sample.time,
                sample.received_ms,
                round(sample.latitude + north * 1e-5, 6),
                round(sample.longitude + east * 1e-5, 6),
                round(0.4 + chance % 7 / 10, 1),
                (chance >> 24) % 360,
                0 if chance % 3 == 0 else 4 + (chance >> 32) % 8,
            )
        return Point(
            sample.time,
            sample.received_ms,
            sample.latitude,
            sample.longitude,
            round(sample.speed_kn * 1.852, 1),
            sample.heading,
            0 if chance % 64 == 0 else 6 + chance % 9,
        )

    def _spike(self, truck: Truck, day: int, samples: tuple[Sample, ...]) -> int | None:
        """Time of the day's absurd point, if it has one."""
        roll = dice(self._seed, "omnicomm", "spike", truck.terminal_id, day)
        under_way = [sample.time for sample in samples if sample.ride]
        return roll.choice(under_way) if under_way and roll.random() < 0.25 else None

    def _absurd(self, sample: Sample, spike: int) -> Point:
        speed = 260 + spike * 40_503 % 3950 / 10
        return Point(
            sample.time,
            sample.received_ms,
            round(sample.latitude + 0.081, 6),
            sample.longitude,
            round(speed, 1),
            sample.heading,
            7,
        )
