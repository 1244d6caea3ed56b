"""What vehicles do: rides, stops, positions, and when each of it reaches the vendor. Nothing is stored.

Everything is a function of (seed, fleet, vehicle, day) and is computed when asked for, so a fleet may be of any size and
a window of any age. Cumulative quantities are closed: the odometer at the start of a week is ``rate x weeks + jitter``,
and the days of a week share the difference, so nobody adds up years of rides.

Units: times are whole seconds since 1970 UTC, ``received_ms`` milliseconds, days are days since 1970 (``day_number``).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple, overload

from fleetlake.sandbox.dice import dice, number
from fleetlake.sandbox.rides import Place, Ride, Route, speeds_over

__all__ = [
    "BIKE",
    "CAR",
    "DAY_S",
    "KNOT_MS",
    "MAX_LATE_S",
    "Driver",
    "Fleet",
    "Late",
    "Place",
    "Profile",
    "Ride",
    "Sample",
    "Vehicle",
    "World",
    "day_number",
    "moment",
]

DAY_S = 86_400
MAX_LATE_S = 72 * 3600
"""No sample reaches the vendor later than this after it was taken."""

_BURST_MS = 40  # between two samples of a late upload
_LONGEST_MS = 8_600  # from taking to receiving a sample that is sent at once

KNOT_MS = 1852 / 3600
"""Metres per second of one knot."""

_FIRST_RIDE_S, _LAST_RIDE_S = 5 * 3600 + 600, 22 * 3600 + 2400
_GAP_S = 720  # shortest parking between two rides: longer than every vendor's trip detection needs
_CITIES = ((52.52, 13.405), (48.137, 11.575), (48.208, 16.373), (53.551, 9.994), (50.937, 6.96), (47.376, 8.541))
_NAMES = (
    ("Ada", "Bruno", "Clara", "David", "Elif", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Karla", "Luca"),
    ("Adler", "Berger", "Conti", "Dorn", "Ebert", "Falk", "Graf", "Huber", "Iversen", "Jung", "Keller", "Lang"),
)


def day_number(moment: dt.date | dt.datetime | float) -> int:
    """Days since 1970 of a UTC moment, a date, or seconds since 1970."""
    if isinstance(moment, dt.datetime):
        return int(moment.timestamp()) // DAY_S
    if isinstance(moment, dt.date):
        return moment.toordinal() - dt.date(1970, 1, 1).toordinal()
    return int(moment // DAY_S)


def moment(seconds: float) -> dt.datetime:
    """Aware UTC datetime of seconds since 1970."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How the vehicles of a fleet behave.

    Attributes:
        kind: ``car`` or ``bike``.
        km_per_day: average distance.
        speed_kmh: range of a vehicle's average speed while under way.
        outings: largest number of outings in a day.
        moving_s, parked_s: seconds between samples while under way and while parked.
        late_share: share of vehicle-days with a stretch that is uploaded late.
    """

    kind: str
    km_per_day: float
    speed_kmh: tuple[float, float]
    outings: int = 3
    moving_s: int = 30
    parked_s: int = 600
    late_share: float = 0.3


CAR = Profile(kind="car", km_per_day=52.0, speed_kmh=(28.0, 40.0))
BIKE = Profile(kind="bike", km_per_day=13.0, speed_kmh=(11.0, 15.0), moving_s=20, parked_s=1800)


class Sample(NamedTuple):
    """One reading of a vehicle's device.

    Attributes:
        time: device time, seconds since 1970.
        received_ms: when the vendor got it, milliseconds since 1970.
        upload: 0 or 1 for data sent at once, 2..7 for a late upload. (received_ms, upload) is unique within a vehicle.
        latitude, longitude: degrees, six decimals.
        heading: whole degrees.
        speed_kn: knots, three decimals, so that knots x 1.852 has at most six.
        odometer_m: cumulative, whole metres.
        engine_s: cumulative seconds of use.
        ride: the ride under way, ``None`` while parked.
    """

    time: int
    received_ms: int
    upload: int
    latitude: float
    longitude: float
    heading: int
    speed_kn: float
    odometer_m: int
    engine_s: int
    ride: Ride | None

    @property
    def is_late(self) -> bool:
        """It was uploaded hours after it was taken."""
        return self.upload >= 2


@dataclass(frozen=True)
class Late:
    """A stretch ``[start, end)`` of one day's samples that arrives together at ``received``; seconds since 1970."""

    start: int
    end: int
    received: int


@dataclass(frozen=True)
class Driver:
    """A driver of a fleet."""

    index: int
    name: str
    unique_id: str


class Vehicle:
    """One vehicle of a fleet. Get it from ``Fleet``."""

    def __init__(self, world: World, fleet: str, index: int, profile: Profile) -> None:
        self._world = world
        self.fleet = fleet
        self.index = index
        self.profile = profile
        self.key = (world.seed, fleet, index)
        roll = dice(*self.key, "vehicle")
        city = roll.choice(_CITIES)
        self.home = Place(
            round(city[0] + roll.uniform(-0.06, 0.06), 6), round(city[1] + roll.uniform(-0.09, 0.09), 6), roll.randrange(360)
        )
        self._rate_m = profile.km_per_day * roll.uniform(0.75, 1.25) * 1000
        self._speed_ms = roll.uniform(*profile.speed_kmh) / 3.6
        self._base_m = roll.randrange(2_000_000, 90_000_000) if profile.kind == "car" else roll.randrange(0, 9_000_000)

    def rides(self, day: int) -> tuple[Ride, ...]:
        """Rides that start on ``day``, in order; the last may run over midnight."""
        return self._world.rides(self, day)

    def samples(self, day: int) -> tuple[Sample, ...]:
        """All samples taken on ``day``, by time, whenever they are received."""
        return self._world.samples(self, day)

    def under_way(self, start: int, end: int) -> Iterator[Ride]:
        """Rides that touch ``[start, end)``, in order."""
        for day in range(start // DAY_S - 1, (end - 1) // DAY_S + 1):
            yield from (ride for ride in self.rides(day) if ride.start < end and ride.end > start)

    def driver(self, day: int) -> int:
        """Index of the driver of ``day``: mostly the vehicle's own, sometimes a colleague."""
        roll = number(*self.key, "driver", day)
        return self.index if roll % 8 else (roll >> 8) % (self.index + 1)

    def odometer_m(self, day: int) -> int:
        """Cumulative metres before the first ride that starts on ``day``."""
        week, weekday = divmod(day, 7)
        start, end = self._week_start(week), self._week_start(week + 1)
        shares = self._shares(week)
        return start + math.floor((end - start) * (sum(shares[:weekday]) / sum(shares)))

    def engine_s(self, day: int) -> int:
        """Cumulative seconds of use before the first ride that starts on ``day``."""
        return math.floor(self.odometer_m(day) / self._speed_ms)

    def late(self, day: int) -> Late | None:
        """The stretch of ``day`` that is uploaded late, if any."""
        if self._world.late is not None:
            return self._world.late.get((self.fleet, self.index, day))
        roll = dice(*self.key, "late", day)
        rides = self.rides(day)
        if not rides or roll.random() >= self.profile.late_share:
            return None
        ride = roll.choice(rides)
        midnight = (day + 1) * DAY_S
        start = max(ride.start - roll.randrange(600, 1800), day * DAY_S)
        end = min(start + roll.randrange(1800, 4 * 3600), midnight)
        longest = MAX_LATE_S - (end - start) - 600
        wait = roll.randrange(3600, 6 * 3600) if roll.random() < 0.5 else roll.randrange(6 * 3600, longest)
        return Late(start, end, end + wait)

    def _week_start(self, week: int) -> int:
        jitter = number(*self.key, "week", week) % 10_000 / 10_000
        return self._base_m + math.floor(self._rate_m * (7 * (week - 2600) + 2.5 * jitter))

    def _shares(self, week: int) -> tuple[float, ...]:
        """Shares of a week's distance by day; a day may have none. Weeks of day numbers start on a Thursday."""
        roll = dice(*self.key, "shares", week)
        shares = []
        for weekday in range(7):
            idle = roll.random() < (0.45 if weekday in (2, 3) else 0.08)
            share = roll.uniform(0.5, 1.5)
            shares.append(0.0 if idle and weekday != 5 else share)
        return tuple(shares)

    def _plan(self, day: int) -> tuple[Ride, ...]:
        distance, seconds = self.odometer_m(day + 1) - self.odometer_m(day), self.engine_s(day + 1) - self.engine_s(day)
        if distance <= 0:
            return ()
        roll = dice(*self.key, "rides", day)
        outings = 1 + roll.randrange(self.profile.outings)
        night = outings > 1 and roll.random() < 0.25
        legs: list[tuple[str, Route, float]] = []
        for outing in range(outings):
            route = Route(
                self.home.latitude,
                self.home.longitude,
                roll.uniform(0, math.tau),
                roll.uniform(1500, 5000),
                roll.uniform(0, math.tau),
            )
            share = roll.uniform(0.6, 1.4)
            is_night = night and outing == outings - 1
            if is_night or roll.random() < 0.25:
                legs.append(("loop", route, share * (0.5 if is_night else 1.0)))
            else:
                legs += [("out", route, share / 2), ("back", route, share / 2)]
        total = sum(share for _, _, share in legs)
        marks = [0.0, *accumulate(share / total for _, _, share in legs)]
        metres = [round(distance * mark) for mark in marks]
        clock = [round(seconds * mark) for mark in marks]
        starts = self._starts(day, [b - a for a, b in pairwise(clock)], night)
        driver, odometer, engine = self.driver(day), self.odometer_m(day), self.engine_s(day)
        rides = []
        for index, (leg, route, _) in enumerate(legs):
            length, duration = metres[index + 1] - metres[index], clock[index + 1] - clock[index]
            times, speeds, driven = speeds_over(dice(*self.key, "speed", day, index), duration, length)
            rides.append(
                Ride(
                    day,
                    index,
                    starts[index],
                    starts[index] + duration,
                    length,
                    odometer + metres[index],
                    engine + clock[index],
                    driver,
                    route,
                    leg,
                    times,
                    speeds,
                    driven,
                )
            )
        return tuple(rides)

    def _starts(self, day: int, durations: Sequence[int], night: bool) -> list[int]:
        """Start of each ride: by day between morning and evening, with the last one laid over midnight if ``night``."""
        roll = dice(*self.key, "starts", day)
        by_day = durations[:-1] if night else durations
        weights = [roll.uniform(0.2, 1.0) for _ in range(len(by_day) + 1)]
        last, before = _LAST_RIDE_S, 0
        if night:
            # A long one begins early enough to be over before the next morning's rides; those of this day make room.
            before = max(math.floor(durations[-1] * roll.uniform(0.3, 0.7)), durations[-1] - _FIRST_RIDE_S + _GAP_S)
            last = min(last, DAY_S - before)
        slack = max(last - _FIRST_RIDE_S - sum(by_day) - _GAP_S * len(by_day), 0)
        starts, at = [], day * DAY_S + _FIRST_RIDE_S
        for duration, weight in zip(by_day, weights, strict=False):
            at += math.floor(slack * weight / sum(weights))
            starts.append(at)
            at += duration + _GAP_S
        if night:
            starts.append((day + 1) * DAY_S - before)
        return starts

    def latest(self, now_ms: int) -> Sample | None:
        """The sample received last until ``now_ms`` (live or late), found without building whole days."""
        today = now_ms // 1000 // DAY_S
        best: tuple[int, int, int, int] | None = None  # received_ms, upload, day, time
        for day in range(today, today - MAX_LATE_S // DAY_S - 1, -1):
            if day < self._world.first_day:
                break
            late, times = self.late(day), self._times(day)
            held = [time for time in times if late and late.start <= time < late.end]
            if late:
                visible = (now_ms - late.received * 1000) // _BURST_MS
                if visible >= 0:
                    index = min(visible, len(held) - 1)
                    found = (late.received * 1000 + _BURST_MS * index, _late_upload(day), day, held[index])
                    best = max(best or found, found)
            for time in reversed(times):
                if best and time * 1000 + _LONGEST_MS < best[0]:
                    break
                received = _received_ms(time)
                if received <= now_ms and not (late and late.start <= time < late.end):
                    found = (received, day % 2, day, time)
                    best = max(best or found, found)
        if best is None:
            return None
        return next(sample for sample in self._take(best[2], (best[3],)))

    def _times(self, day: int) -> list[int]:
        start, end = day * DAY_S, (day + 1) * DAY_S
        step = self.profile.parked_s
        times = set(range(start + number(*self.key, "beat") % step, end, step))
        for ride in self.under_way(start, end):
            inside = range(ride.start, ride.end - self.profile.moving_s // 2, self.profile.moving_s)
            times.update(time for time in (*inside, ride.end) if start <= time < end)
        return sorted(times)

    def _take(self, day: int, only: Sequence[int] | None = None) -> tuple[Sample, ...]:
        start, end = day * DAY_S, (day + 1) * DAY_S
        late = self.late(day)
        times = self._times(day)
        held = [time for time in times if late.start <= time < late.end] if late else []
        burst = {time: late.received * 1000 + _BURST_MS * index for index, time in enumerate(held)} if late else {}
        samples = []
        upcoming = self.under_way(start, end)
        current, done = next(upcoming, None), self._before(start)
        stood_after, place = done, done.place(done.distance_m) if done else self.home
        odometer, engine = self._standing(done, day)
        for time in times if only is None else only:
            while current and current.end < time:
                done, current = current, next(upcoming, None)
            received, upload = (burst[time], _late_upload(day)) if time in burst else (_received_ms(time), day % 2)
            if current and current.start <= time:
                driven, speed = current.driven(time)
                spot, metres = current.place(driven), current.odometer_m + round(driven)
                used, knots = current.engine_s + time - current.start, round(speed / KNOT_MS, 3)
                samples.append(Sample(time, received, upload, *spot, knots, metres, used, current))
            else:
                if done is not stood_after:
                    stood_after, place = done, done.place(done.distance_m) if done else self.home
                    odometer, engine = self._standing(done, day)
                samples.append(Sample(time, received, upload, *place, 0.0, odometer, engine, None))
        return tuple(samples)

    def _before(self, start: int) -> Ride | None:
        """The last ride that ended before midnight ``start``, if it was on the day before: it says where we stand."""
        day = start // DAY_S - 1
        return next((ride for ride in reversed(self.rides(day)) if ride.end <= start), None)

    def _standing(self, done: Ride | None, day: int) -> tuple[int, int]:
        if done is None:
            return self.odometer_m(day), self.engine_s(day)
        return done.odometer_m + done.distance_m, done.engine_s + done.end - done.start


def _received_ms(time: int) -> int:
    """When a sample sent at once arrives: 1 to 9 s later, never two in the same millisecond, not always in order."""
    return time * 1000 + 800 + (time * 2_654_435_761 >> 8) % 8 * 1000 + time % 16 * 50


def _late_upload(day: int) -> int:
    return 2 + day % 6


class Fleet(Sequence[Vehicle]):
    """The vehicles of one customer, made when asked for."""

    def __init__(self, world: World, name: str, size: int, profile: Profile) -> None:
        self._world = world
        self.name = name
        self.profile = profile
        self._size = size
        self._made: dict[int, Vehicle] = {}

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Vehicle: ...
    @overload
    def __getitem__(self, index: slice) -> list[Vehicle]: ...
    def __getitem__(self, index: int | slice) -> Vehicle | list[Vehicle]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(self._size))]
        if not 0 <= index < self._size:
            raise IndexError(index)
        if index not in self._made:
            self._made[index] = Vehicle(self._world, self.name, index, self.profile)
        return self._made[index]

    def driver(self, index: int) -> Driver:
        """The driver with this index (``Ride.driver``); there are as many as vehicles."""
        roll = dice(self._world.seed, self.name, "driver", index)
        return Driver(
            index, f"{roll.choice(_NAMES[0])} {roll.choice(_NAMES[1])}", f"D{roll.randrange(10**7):07d}{index:04d}"
        )


class World:
    """All fleets of a seed.

    Args:
        seed: same seed, same world.
        history_start: first day with samples.
        late: exactly these stretches come late, by fleet, vehicle and day; ``None`` = the dice say which.
    """

    def __init__(
        self,
        seed: int,
        history_start: dt.date = dt.date(2025, 1, 1),
        late: Mapping[tuple[str, int, int], Late] | None = None,
    ) -> None:
        self.seed = seed
        self.first_day = day_number(history_start)
        self.late = late
        self._fleets: dict[tuple[str, int], Fleet] = {}
        # Bounded: a page needs a few days of one vehicle, and several readers run side by side.
        self._rides = lru_cache(maxsize=2048)(Vehicle._plan)
        self._samples = lru_cache(maxsize=256)(Vehicle._take)

    def fleet(self, name: str, size: int, profile: Profile = CAR) -> Fleet:
        """The fleet called ``name``. A vehicle does not change when the fleet grows."""
        return self._fleets.setdefault((name, size), Fleet(self, name, size, profile))

    def rides(self, vehicle: Vehicle, day: int) -> tuple[Ride, ...]:
        """See ``Vehicle.rides``."""
        return self._rides(vehicle, day) if day >= self.first_day else ()

    def samples(self, vehicle: Vehicle, day: int) -> tuple[Sample, ...]:
        """See ``Vehicle.samples``."""
        return self._samples(vehicle, day) if day >= self.first_day else ()
