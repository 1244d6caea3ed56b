"""App users and the offers that were sent to them. Names and numbers are invented; the numbers are kept free for fiction."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from fleetlake.sandbox.dice import dice
from fleetlake.sandbox.rcs.park import Park
from fleetlake.sandbox.world import DAY_S

_FIRST = ("Ada", "Bruno", "Élodie", "David", "Юлия", "Félix", "Greta", "Hugo", "Inès", "Jonas", "Karla", "Łukasz")
_LAST = ("Adler", "Berger", "Conti", "D'Arcy", "Ebert", "Фёдорова", "Graf", "Huber", "Iversen", "Jung", "Keller", "Söder")
_CITIES = ("Lyon", "Köln", "Wien", "Zürich", "Тула", "Grenoble")
_LOCALES = ("fr-FR", "de-DE", "ru-RU")
_NETWORKS = ("North", "South")
_OFFERS = (
    ("Winter check", "Free check of battery and tyres until the end of the month."),
    ("Oil change", "Your car is due for an oil change: 15 % off this week."),
    ("Contrôle de l'été", "Climatisation vérifiée et rechargée à prix doux."),
)
_PER_DAY = 5
"""Serial numbers of users kept free for a day."""

_RECENT_DAYS = 30


@dataclass(frozen=True)
class User:
    """A user of the mobile app as the profile stands now; times in seconds since 1970.

    Attributes:
        updated: when the profile was last changed; at first when it was made.
        vehicle_ids: connected vehicles, ``None`` = the member is absent.
    """

    id: str
    source_id: str | None
    registered: int
    updated: int
    phone: str
    first_name: str
    last_name: str
    middle_name: str | None
    email: str | None
    city: str
    locale: str
    dealer_network: str | None
    vehicle_ids: tuple[str, ...] | None


@dataclass(frozen=True)
class Notification:
    """An offer that was sent; times in seconds since 1970.

    Attributes:
        kind: ``SPECIAL`` (to a group) or ``PERSONAL``.
        vehicle_ids, user_phones: recipients of a personal offer: one of the two.
    """

    id: str
    kind: str
    created: int
    planned: int
    sent: int
    title: str
    text: str
    dealer_network: str | None
    vehicle_ids: tuple[str, ...] | None
    user_phones: tuple[str, ...] | None
    recipients: int


def users(park: Park, customer: str, start: int, end: int, now: int) -> Iterator[User]:
    """Users registered in ``[start, end)`` and until ``now``, by time."""
    for day, index, registered in _registrations(park, customer, start, min(end, now + 1)):
        yield _user(park, customer, day, index, registered, now)


def notifications(park: Park, customer: str, start: int, end: int, now: int) -> Iterator[Notification]:
    """Offers planned for ``[start, end)`` and sent until ``now``, by planned time."""
    for day in _days(park, start, min(end, now + 1)):
        roll = dice(park.context.settings.seed, "rcs", "notifications", customer, day)
        minutes = sorted(roll.sample(range(7 * 60, 20 * 60), roll.randrange(1, 5)))
        for index, minute in enumerate(minutes):
            planned = day * DAY_S + minute * 60
            if start <= planned < end:
                found = _notification(park, customer, day, index, planned)
                if found.sent <= now:
                    yield found


def _days(park: Park, start: int, end: int) -> range:
    return range(max(start // DAY_S, park.context.world.first_day), (end - 1) // DAY_S + 1)


def _registrations(park: Park, customer: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Day, number within the day, and second of the registrations in ``[start, end)``."""
    for day in _days(park, start, end):
        roll = dice(park.context.settings.seed, "rcs", "users", customer, day)
        seconds = sorted(roll.sample(range(6 * 3600, 22 * 3600), roll.randrange(_PER_DAY)))
        for index, second in enumerate(seconds):
            if start <= day * DAY_S + second < end:
                yield day, index, day * DAY_S + second


def _serial(park: Park, day: int, index: int) -> int:
    return (day - park.context.world.first_day) * _PER_DAY + index


def _phone(customer: str, serial: int) -> str:
    return f"+336399{'8' if customer == 'main' else '9'}{serial % 100_000:05d}"


def _user(park: Park, customer: str, day: int, index: int, registered: int, now: int) -> User:
    roll = dice(park.context.settings.seed, "rcs", "user", customer, day, index)
    serial = _serial(park, day, index)
    first, last = roll.choice(_FIRST), roll.choice(_LAST)
    cities = roll.sample(_CITIES, 2)
    moved = registered + roll.randrange(600, 60 * DAY_S)
    has_moved = roll.random() < 0.3 and moved <= now
    cars = [car.id for car in park.readable(customer)]
    return User(
        id=_guid(park, "user", customer, day, index),
        source_id=None if roll.random() < 0.3 else f"CRM-U{serial:06d}",
        registered=registered,
        updated=moved if has_moved else registered,
        phone=_phone(customer, serial),
        first_name=first,
        last_name=last,
        middle_name="Maria" if roll.random() < 0.25 else None,
        email=None if roll.random() < 0.2 else f"user{serial}@{customer}.example",
        city=cities[has_moved],
        locale=roll.choice(_LOCALES),
        dealer_network=roll.choice((*_NETWORKS, None)),
        vehicle_ids=None if roll.random() < 0.3 else tuple(roll.sample(cars, min(len(cars), roll.randrange(3)))),
    )


def _notification(park: Park, customer: str, day: int, index: int, planned: int) -> Notification:
    roll = dice(park.context.settings.seed, "rcs", "notification", customer, day, index)
    title, text = roll.choice(_OFFERS)
    created = planned - roll.randrange(60, 5 * DAY_S)
    wait = roll.randrange(3600, 20 * 3600) if roll.random() < 0.08 else roll.randrange(2, 90)
    vehicles: tuple[str, ...] | None = None
    phones: tuple[str, ...] | None = None
    kind = "PERSONAL" if roll.random() < 0.6 else "SPECIAL"
    recipients = roll.randrange(20, 400)
    if kind == "PERSONAL":
        cars = [car.id for car in park.readable(customer)]
        recent = [
            _phone(customer, _serial(park, day, index))
            for day, index, _ in _registrations(park, customer, created - _RECENT_DAYS * DAY_S, created)
        ]
        if recent and (roll.random() < 0.6 or not cars):
            phones = tuple(roll.sample(recent, min(len(recent), roll.randrange(1, 4))))
        else:
            vehicles = tuple(roll.sample(cars, min(len(cars), roll.randrange(1, 4))))
        recipients = len(phones or vehicles or ())
    return Notification(
        id=_guid(park, "notification", customer, day, index),
        kind=kind,
        created=created,
        planned=planned,
        sent=planned + wait,
        title=title,
        text=text,
        dealer_network=roll.choice(_NETWORKS) if kind == "SPECIAL" or roll.random() < 0.5 else None,
        vehicle_ids=vehicles,
        user_phones=phones,
        recipients=recipients,
    )


def _guid(park: Park, *key: object) -> str:
    roll = dice(park.context.settings.seed, "rcs", "guid", *key)
    return str(uuid.UUID(int=roll.getrandbits(128), version=4))
