"""What the boxes in the vehicles tell: rides as trips, and alerts on the way. Both can come hours late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fleetlake.sandbox.dice import dice
from fleetlake.sandbox.rides import Place, Ride
from fleetlake.sandbox.suivideflotte.park import Car, Park
from fleetlake.sandbox.world import DAY_S

_EPOCH_S = 1_262_304_000  # 2010-01-01: ids count seconds from here, in 30 bits
_LONGEST_RIDE_S = DAY_S
_ALERTS = {
    "speeding": "Vitesse élevée : {speed} km/h",
    "harsh_braking": "Freinage brusque",
    "out_of_hours": "Utilisation hors horaires",
    "low_battery": "Tension batterie faible",
}


@dataclass(frozen=True)
class Trip:
    """One trip as told at present; times in seconds since 1970.

    Attributes:
        start_place, end_place: ``None`` for private trips, like the addresses.
        duration_s: from start to end.
    """

    id: int
    car: Car
    driver_id: int | None
    start: int
    end: int
    start_place: Place | None
    end_place: Place | None
    start_address: str | None
    end_address: str | None
    distance_m: int
    duration_s: int
    max_speed_kmh: float
    average_speed_kmh: float
    is_private: bool
    category: str


@dataclass(frozen=True)
class Alert:
    """One alert; time in seconds since 1970, no place on a private trip."""

    id: int
    car: Car
    driver_id: int | None
    time: int
    kind: str
    message: str
    place: Place | None
    address: str | None


def trips(park: Park, car: Car, start: int, end: int, now: int) -> Iterator[Trip]:
    """Trips of a vehicle that start in ``[start, end)`` and were told until ``now``, by start."""
    start = max(start, first_second(park, now))
    for ride in _rides(car, start, min(end, now + 1)):
        told = ride.end + _Facts(park, car, ride).delay_s
        if start <= ride.start < end and told <= now and _identity(car, ride, told) not in park.deleted_trips:
            yield _trip(park, car, ride, told, now)


def alerts(park: Park, car: Car, start: int, end: int, now: int) -> Iterator[Alert]:
    """Alerts of a vehicle in ``[start, end)`` that were told until ``now``, by time."""
    start = max(start, first_second(park, now))
    for ride in _rides(car, start, min(end, now + 1)):
        facts = _Facts(park, car, ride)
        if facts.alert is None:
            continue
        time = ride.start + facts.alert_after_s
        told = time + facts.delay_s
        if not (start <= time < end and told <= now):
            continue
        driven, speed = ride.driven(time)
        place = None if facts.is_private else ride.place(driven)
        yield Alert(
            id=_identity(car, ride, told),
            car=car,
            driver_id=facts.driver_id,
            time=time,
            kind=facts.alert,
            message=_ALERTS[facts.alert].format(speed=round(speed * 3.6)),
            place=place,
            address=park.address(place.latitude, place.longitude) if place else None,
        )


def is_private(park: Park, car: Car, ride: Ride | None) -> bool:
    """The vehicle is on a private trip: nobody is told where it is."""
    return ride is not None and _Facts(park, car, ride).is_private


def first_second(park: Park, now: int) -> int:
    """Nothing older is kept (SDF-07), seconds since 1970."""
    start, days = park.context.world.first_day * DAY_S, park.assumptions.history_days
    return max(start, now - days * DAY_S) if days else start


class _Facts:
    """What this vendor adds to a ride of the world, always the same."""

    def __init__(self, park: Park, car: Car, ride: Ride) -> None:
        roll = dice(park.context.settings.seed, "suivideflotte", "ride", car.ordinal, ride.day, ride.index)
        wishes = park.assumptions
        self.is_private = roll.random() < wishes.private_share
        hours, seconds = roll.randrange(3600, 30 * 3600), roll.randrange(15, 120)
        self.delay_s = hours if roll.random() < wishes.late_share else seconds
        self.driver_id = None if roll.random() < 0.1 else park.driver_id(car, ride.driver)
        self.unsettled_s = roll.randrange(60, 240)
        self.alert = roll.choice(tuple(_ALERTS)) if roll.random() < 0.25 else None
        self.alert_after_s = roll.randrange(max(ride.end - ride.start, 1))


def _rides(car: Car, start: int, end: int) -> Iterator[Ride]:
    """Rides that may have something to tell about ``[start, end)``."""
    if start < end:
        for day in range((start - _LONGEST_RIDE_S) // DAY_S, (end - 1) // DAY_S + 1):
            yield from car.vehicle.rides(day)


def _trip(park: Park, car: Car, ride: Ride, told: int, now: int) -> Trip:
    facts = _Facts(park, car, ride)
    end, distance, last = ride.end, ride.distance_m, ride.place(ride.distance_m)
    if now < told + park.assumptions.settling_h * 3600:
        # Provisional: the box's last stretch is still missing.
        end = max(ride.start + 1, ride.end - facts.unsettled_s)
        driven = ride.driven(end)[0]
        distance, last = int(driven), ride.place(driven)
    first = ride.place(0.0)
    told_of = not facts.is_private
    return Trip(
        id=_identity(car, ride, told),
        car=car,
        driver_id=facts.driver_id,
        start=ride.start,
        end=end,
        start_place=first if told_of else None,
        end_place=last if told_of else None,
        start_address=park.address(first.latitude, first.longitude) if told_of else None,
        end_address=park.address(last.latitude, last.longitude) if told_of else None,
        distance_m=distance,
        duration_s=end - ride.start,
        max_speed_kmh=round(ride.max_speed_ms * 3.6, 1),
        average_speed_kmh=round(distance / (end - ride.start) * 3.6, 1),
        is_private=facts.is_private,
        category="perso" if facts.is_private else "pro",
    )


def _identity(car: Car, ride: Ride, told: int) -> int:
    """Id as a database counts: in the order of telling, so what comes late has a greater id than what came before."""
    return ((told - _EPOCH_S) << 6 | ride.day % 4 << 4 | ride.index) << 16 | car.ordinal
