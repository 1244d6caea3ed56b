"""Ways and rides: where a vehicle is, how fast, and how far it has come, at any second, without stepping through it."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

_METRES_PER_DEGREE = 111_320.0


class Place(NamedTuple):
    """A point on the ground, degrees WGS84 with six decimals, and the course there, whole degrees."""

    latitude: float
    longitude: float
    heading: int


@dataclass(frozen=True)
class Route:
    """A way from home: a bearing with a sine laid over it, so any point is computed at once."""

    latitude: float
    longitude: float
    bearing: float
    wave_m: float
    phase: float

    def at(self, distance_m: float, *, back: bool = False) -> Place:
        """The place ``distance_m`` metres from home along the way."""
        slope, k = 0.45, math.tau / self.wave_m
        along = 0.93 * distance_m
        across = slope / k * (math.sin(k * distance_m + self.phase) - math.sin(self.phase))
        north = along * math.cos(self.bearing) - across * math.sin(self.bearing)
        east = along * math.sin(self.bearing) + across * math.cos(self.bearing)
        course = self.bearing + math.atan2(slope * math.cos(k * distance_m + self.phase), 0.93)
        return Place(
            round(self.latitude + north / _METRES_PER_DEGREE, 6),
            round(self.longitude + east / (_METRES_PER_DEGREE * math.cos(math.radians(self.latitude))), 6),
            round(math.degrees(course + (math.pi if back else 0.0))) % 360,
        )


@dataclass(frozen=True, eq=False)
class Ride:
    """One ride: from standing to standing, with short stops on the way (never as long as a parking).

    Attributes:
        day, index: the UTC day it starts on, and its position among the rides of that day.
        start, end: seconds since 1970; the end may lie in the next day.
        distance_m: whole metres.
        odometer_m, engine_s: cumulative values at its start.
        driver: index of the driver.
        route: the way.
        leg: ``out`` (home to the far end), ``back``, or ``loop`` (there and back in one ride).
    """

    day: int
    index: int
    start: int
    end: int
    distance_m: int
    odometer_m: int
    engine_s: int
    driver: int
    route: Route
    leg: str
    _times: tuple[int, ...]
    _speeds: tuple[float, ...]
    _driven: tuple[float, ...]

    @property
    def max_speed_ms(self) -> float:
        """Highest speed on the way, m/s."""
        return max(self._speeds)

    def driven(self, time: int) -> tuple[float, float]:
        """Metres driven since the start, and speed in m/s, at ``time``."""
        at = min(max(time, self.start), self.end) - self.start
        index = min(bisect_right(self._times, at), len(self._times) - 1) - 1
        t0, t1 = self._times[index], self._times[index + 1]
        v0, v1 = self._speeds[index], self._speeds[index + 1]
        speed = v0 + (v1 - v0) * (at - t0) / (t1 - t0)
        return self._driven[index] + (v0 + speed) / 2 * (at - t0), speed

    def faster_than(self, speed_ms: float) -> list[tuple[int, int]]:
        """The stretches ``[start, end)`` of whole seconds at which it goes faster than this, in order."""
        found: list[tuple[int, int]] = []
        for (t0, t1), (v0, v1) in zip(pairwise(self._times), pairwise(self._speeds), strict=True):
            if v0 <= speed_ms and v1 <= speed_ms:
                continue
            crossing = t0 if v0 == v1 else t0 + (speed_ms - v0) / (v1 - v0) * (t1 - t0)
            start = t0 if v0 > speed_ms else math.floor(crossing) + 1
            end = t1 if v1 >= speed_ms else math.ceil(crossing)
            if start >= end:
                continue
            if found and found[-1][1] == self.start + start:
                found[-1] = (found[-1][0], self.start + end)
            else:
                found.append((self.start + start, self.start + end))
        return found

    def place(self, driven_m: float) -> Place:
        """Where the vehicle is after ``driven_m`` metres of this ride."""
        if self.leg == "out":
            return self.route.at(driven_m)
        if self.leg == "back":
            return self.route.at(max(self.distance_m - driven_m, 0.0), back=True)
        half = self.distance_m / 2
        return self.route.at(driven_m if driven_m <= half else max(self.distance_m - driven_m, 0.0), back=driven_m > half)


def speeds_over(
    roll: random.Random, duration: int, distance: int
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    """Speed over a ride as a line through points: times since its start (s), speeds there (m/s), metres driven by then."""
    times, speeds = [0], [0.0]

    def go_to(seconds: int, speed: float) -> None:
        times.append(times[-1] + seconds)
        speeds.append(speed)

    while times[-1] < duration - 150:
        go_to(roll.randrange(25, 70), roll.uniform(0.7, 1.7))
        if roll.random() < 0.15 and times[-1] < duration - 450:
            # A traffic light, or now and then an errand: too short to be a parking for anyone's trip detection.
            pause = roll.randrange(110, 260) if roll.random() < 0.2 else roll.randrange(10, 80)
            go_to(12, 0.0)
            go_to(pause, 0.0)
    rest = duration - times[-1]
    go_to(rest // 2, 1.0)
    go_to(rest - rest // 2, 0.0)
    driven = [0.0]
    for (t0, t1), (v0, v1) in zip(pairwise(times), pairwise(speeds), strict=True):
        driven.append(driven[-1] + (v0 + v1) / 2 * (t1 - t0))
    scale = distance / driven[-1]
    return tuple(times), tuple(speed * scale for speed in speeds), tuple(metres * scale for metres in driven)
