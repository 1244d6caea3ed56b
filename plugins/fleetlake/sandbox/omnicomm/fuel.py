"""Fuel in the tanks, in whole decilitres: it falls with metres and idle seconds, and jumps while parked.

A week is closed in itself, as the world's weeks are: its first and last level are thrown, and what is filled in between is
what was used. So the level at any moment is known without adding up years, and every balance is exact.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from fleetlake.sandbox.dice import dice, number
from fleetlake.sandbox.omnicomm.driving import Driving
from fleetlake.sandbox.omnicomm.park import Truck
from fleetlake.sandbox.world import DAY_S

WEEK_S = 7 * DAY_S
LEAST_REFUEL_DL = 500


@dataclass(frozen=True)
class Pour:
    """A refuel (positive) or a drain (negative), at one second.

    Attributes:
        time: seconds since 1970; parked.
        volume_dl: decilitres.
    """

    time: int
    volume_dl: int


@dataclass(frozen=True)
class Use:
    """Fuel burnt in an interval, decilitres: ``moving`` under way, ``idle`` standing with the engine on."""

    moving: int
    idle: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.moving + self.idle


@dataclass(frozen=True)
class _Week:
    start: int
    level: int
    pours: tuple[Pour, ...]


class Fuel:
    """Tanks of all trucks."""

    def __init__(self, driving: Driving) -> None:
        self._driving = driving
        self._seed = driving.park.context.settings.seed
        self._first = driving.park.context.world.first_day * DAY_S
        self._idle = lru_cache(maxsize=2048)(self._idle_of)
        self._midnight = lru_cache(maxsize=2048)(self._of_midnight)
        self._week = lru_cache(maxsize=512)(self._plan)

    def level_dl(self, truck: Truck, time: int) -> int:
        """Fuel in all tanks."""
        day = time // DAY_S
        level, burnt = self._midnight(truck, day)
        poured = sum(pour.volume_dl for pour in self._week(truck, time // WEEK_S).pours if pour.time <= time)
        moving = self._burnt_moving(truck, time) - burnt
        return level + poured - moving - self._idle_until(truck, time, day) + self._drift(truck, time)

    def used(self, truck: Truck, start: int, end: int) -> Use:
        """Fuel burnt in ``[start, end)``; adjacent intervals add up exactly."""
        if end <= start:
            return Use(0, 0)
        before, after = self._burnt_moving(truck, start), self._burnt_moving(truck, end)
        first, last = start // DAY_S, end // DAY_S
        idle = sum(self._idle_until(truck, (day + 1) * DAY_S, day) for day in range(first, last))
        idle += self._idle_until(truck, end, last) - self._idle_until(truck, start, first)
        return Use(after - before, idle)

    def pours(self, truck: Truck, start: int, end: int) -> list[Pour]:
        """Refuels and drains after ``start`` and until ``end``, both as in ``level_dl``."""
        weeks = range(start // WEEK_S, end // WEEK_S + 1)
        return [pour for week in weeks for pour in self._week(truck, week).pours if start < pour.time <= end]

    def extremes(self, truck: Truck, start: int, end: int) -> tuple[int, int]:
        """Lowest and highest level of an interval: levels fall but for refuels."""
        moments = [start, end]
        for pour in self.pours(truck, start, end):
            moments += [pour.time - 1, pour.time]
        levels = [self.level_dl(truck, moment) for moment in moments]
        return min(levels), max(levels)

    def is_dead(self, truck: Truck, day: int) -> bool:
        """The level sensor was silent on this day."""
        return number(self._seed, "omnicomm", "sensor", truck.terminal_id, day) % 29 == 0

    def _drift(self, truck: Truck, time: int) -> int:
        """Some tanks swell and shrink with the weather: so a parked truck seems to burn, or to gain."""
        return number(self._seed, "drift", truck.terminal_id, time // 21_600) % 7 - 3 if truck.index % 5 == 4 else 0

    def _burnt_moving(self, truck: Truck, time: int) -> int:
        """Decilitres burnt under way in the truck's whole life."""
        return self._driving.odometer_m(truck, time) * round(truck.litres_per_100km * 10) // 100_000

    def _of_midnight(self, truck: Truck, day: int) -> tuple[int, int]:
        """At the beginning of a day: the level without the week's pours, and what was burnt under way until then."""
        week, start = self._week(truck, day // 7), day * DAY_S
        return week.level - self.used(truck, week.start, start).total, self._burnt_moving(truck, start)

    def _idle_until(self, truck: Truck, time: int, day: int) -> int:
        """Decilitres burnt idly from the beginning of ``day`` until ``time`` within it."""
        starts, lengths, before = self._idle(truck, day)
        index = bisect_right(starts, time) - 1
        if index < 0:
            return 0
        idle_s = before[index] + min(time - starts[index], lengths[index])
        return idle_s * round(truck.idle_litres_per_h * 10) // 3600

    def _idle_of(self, truck: Truck, day: int) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        stretches = self._driving.idle(truck, day * DAY_S, (day + 1) * DAY_S)
        lengths = [end - start for start, end in stretches]
        return [start for start, _ in stretches], lengths, list(accumulate(lengths, initial=0))

    # A week's refuels

    def _plan(self, truck: Truck, week: int) -> _Week:
        start, end = max(week * WEEK_S, self._first), (week + 1) * WEEK_S
        level, closing = self._at_start(truck, week), self._at_start(truck, week + 1)
        burnt = self.used(truck, start, end).total
        stops = self._parkings(truck, start, end)
        if start != week * WEEK_S or not stops:  # history begins here: nothing must fit a week before
            return _Week(start, closing + burnt, ())
        roll = dice(self._seed, "omnicomm", "week", truck.terminal_id, week)
        pours: list[Pour] = []
        if len(stops) > 2 and roll.random() < 0.1:
            pours.append(Pour(stops.pop(roll.randrange(1, len(stops) - 1)), -roll.randrange(300, 450)))
        drained = sum(pour.volume_dl for pour in pours)
        refuels: list[Pour] = []
        for stop, following in zip(stops, [*stops[1:], end], strict=False):
            if stop == stops[-1]:
                break
            now = level + sum(pour.volume_dl for pour in (*pours, *refuels) if pour.time <= stop)
            soon = now + sum(pour.volume_dl for pour in pours if stop < pour.time <= following)
            if soon - self.used(truck, start, following).total < 0.12 * truck.tank_dl:
                refuels.append(Pour(stop, round(0.93 * truck.tank_dl) - now + self.used(truck, start, stop).total))
        missing = closing + burnt - drained - level - sum(pour.volume_dl for pour in refuels)
        if missing < LEAST_REFUEL_DL and refuels:
            less = LEAST_REFUEL_DL - missing
            refuels[-1] = Pour(refuels[-1].time, refuels[-1].volume_dl - less)
            missing = LEAST_REFUEL_DL
        refuels.append(Pour(stops[-1], missing))
        return _Week(start, level, tuple(sorted([*pours, *refuels], key=lambda pour: pour.time)))

    def _at_start(self, truck: Truck, week: int) -> int:
        share = 0.60 + number(self._seed, "omnicomm", "level", truck.terminal_id, week) % 1000 / 1000 * 0.06
        return round(truck.tank_dl * share)

    def _parkings(self, truck: Truck, start: int, end: int) -> list[int]:
        """A moment after every ride that is over by then, before the next one warms up."""
        moments = []
        for ride in self._driving.rides(truck, start, end):
            moment = ride.end + 150 + number(truck.terminal_id, "pump", ride.end) % 250
            if start < moment < end - 600:
                moments.append(moment)
        return moments
