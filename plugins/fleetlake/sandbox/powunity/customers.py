"""PowUnity accounts of the sandbox: who logs in, and which trackers, groups, geofences and drivers are theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fleetlake.errors import ConfigError
from fleetlake.sandbox.dice import number
from fleetlake.sandbox.powunity import tracker
from fleetlake.sandbox.powunity.model import to_ms
from fleetlake.sandbox.powunity.reports import Thresholds
from fleetlake.sandbox.powunity.tracker import Move
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.world import BIKE, DAY_S, Fleet, Late, Sample, Vehicle
from fleetlake.window import utc

CUSTOMERS = ("north", "south")
HOME_RADIUS_M = 150

_FIRST_DEVICE_ID = 10_000
_PER_BIKE = 16  # ids of one bike: 8 customers x 2 registrations of its tracker
_EPOCH_S = 1_262_304_000  # 2010-01-01: ids count seconds from here, in 30 bits
_TIME_BITS, _KIND_BITS, _ID_BITS = 30, 4, 53  # an id fits into a double, as those of a real server do
_FACTOR = 0x0B4E_9F3D_6A71_C5
_HALF = 27  # at least half of the bits: such a shift-and-xor undoes itself
_INVERSE = pow(_FACTOR, -1, 1 << _ID_BITS)


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """Answers taken for what the vendor leaves open; override with ``powunity.<field>``.

    Attributes:
        user_token: User has a field ``token`` (POW-01).
        bearer: ``Authorization: Bearer`` works (POW-02).
        period_limit_s: longest window of a report, seconds; 0 = unset (POW-03).
        min_trip_m, min_trip_s, min_parking_s, no_data_s: trip detection (POW-03).
        motion_kn: above this a bike moves; 2 km/h (POW-03).
        fast_s: a report over more than this is put together from events (POW-03).
        token_expires: when the account's token ends, ISO 8601; empty = never (POW-06).
        history_days: positions and events older than this are gone; 0 = kept for ever (POW-09).
        max_positions: answers with positions are cut after so many; 0 = never, as before Traccar 6.14.5.
        erased: stretches of time whose positions somebody has deleted, ``<device id>/<start>/<end>`` with blanks between:
            the trips of that time are gone too.
        readded_bike: number of the bike whose tracker is removed and added again, per customer; -1 = none.
        readded_at: when, ISO 8601; from then on it has a new id and none of its history.
        moved_bike: number of the bike whose tracker is put onto another bike, per customer; -1 = none.
        moved_at: when, ISO 8601; the tracker keeps its id and its odometer.
        moved_onto: number of the bike it is put onto; one without tracker of its own, so not below the number of bikes.
    """

    user_token: bool = True
    bearer: bool = False
    period_limit_s: int = 0
    min_trip_m: float = 500.0
    min_trip_s: int = 300
    min_parking_s: int = 300
    no_data_s: int = 3600
    motion_kn: float = 1.08
    fast_s: int = 86400
    token_expires: str = ""
    history_days: int = 0
    max_positions: int = 0
    erased: str = ""
    readded_bike: int = -1
    readded_at: str = ""
    moved_bike: int = -1
    moved_at: str = ""
    moved_onto: int = -1

    def erased_ms(self, device_id: int) -> list[tuple[int, int]]:
        """Stretches of time of a device that are erased, both ends included, milliseconds."""
        stretches = (text.split("/") for text in self.erased.split())
        return [(to_ms(utc(start)), to_ms(utc(end))) for device, start, end in stretches if int(device) == device_id]

    @property
    def thresholds(self) -> Thresholds:
        """Those of trip detection."""
        return Thresholds(
            min_trip_m=self.min_trip_m,
            min_trip_s=self.min_trip_s,
            min_parking_s=self.min_parking_s,
            no_data_s=self.no_data_s,
            fast_s=self.fast_s,
        )


@dataclass(frozen=True)
class Bike:
    """A tracker on a bike, as registered at present.

    Attributes:
        customer: number of its customer.
        vehicle: the bike it was made for; what that bike does, in the world.
        registration: 0, or 1 after it was removed and added again.
        since_ms: it has no data before; 0 = no limit.
        move: when it was put onto another bike, ``None`` = never.
    """

    customer: int
    vehicle: Vehicle
    registration: int
    since_ms: int
    move: Move | None = None

    def samples(self, day: int) -> tuple[Sample, ...]:
        """What it takes on ``day``, by time."""
        return tracker.samples(self.vehicle, self.move, day)

    def late(self, day: int) -> list[Late]:
        """Stretches of ``day`` that it uploads late, in order."""
        return list(tracker.late(self.vehicle, self.move, day))

    @property
    def ordinal(self) -> int:
        """Unique number of this registration."""
        return self.vehicle.index * _PER_BIKE + self.customer * 2 + self.registration

    @property
    def id(self) -> int:
        """Vendor id: another one after the tracker is added again."""
        return _FIRST_DEVICE_ID + self.ordinal

    @property
    def unique_id(self) -> str:
        """Ten digits on the sticker: it stays."""
        return f"{4_710_000_000 + self.customer * 1_000_000 + self.vehicle.index + 1}"

    @property
    def name(self) -> str:
        """Name given by the owner."""
        return f"Cargo bike {CUSTOMERS[self.customer][0].upper()}{self.vehicle.index + 1}"

    @property
    def group_id(self) -> int:
        """Group, 0 = none."""
        return (self.customer * 2 + self.vehicle.index % 3) if self.vehicle.index % 3 else 0

    @property
    def geofence_id(self) -> int:
        """The geofence around its home."""
        return 1 + self.vehicle.index * len(CUSTOMERS) + self.customer

    @property
    def has_ignition(self) -> bool:
        """Wired to the bike's power: it knows when the bike is switched on."""
        return self.vehicle.index % 3 != 2

    @property
    def has_driver_key(self) -> bool:
        """Its rider identifies himself."""
        return self.vehicle.index % 5 != 4

    @property
    def protocol(self) -> str:
        """``h02`` writes battery levels as integers, ``osmand`` as doubles."""
        return "osmand" if self.vehicle.index % 4 == 3 else "h02"

    def position_id(self, time_s: int) -> int:
        """Id of the position taken at ``time_s``: unique, and in no order of time."""
        return _scramble(self.ordinal << _TIME_BITS | time_s - _EPOCH_S)

    def event_id(self, time_s: int, kind: int) -> int:
        """Id of an event: unique, and in no order of time."""
        return _scramble((self.ordinal << _TIME_BITS | time_s - _EPOCH_S) << _KIND_BITS | kind)


def read_position_id(value: int) -> tuple[int, int]:
    """Ordinal of the bike and seconds since 1970 of a position id."""
    ordinal, seconds = divmod(_unscramble(value), 1 << _TIME_BITS)
    return ordinal, seconds + _EPOCH_S


def read_event_id(value: int) -> tuple[int, int]:
    """Ordinal of the bike and seconds since 1970 of an event id."""
    ordinal, seconds = divmod(_unscramble(value) >> _KIND_BITS, 1 << _TIME_BITS)
    return ordinal, seconds + _EPOCH_S


def _scramble(value: int) -> int:
    """Another number for each number below 2**53, without pattern."""
    value = value * _FACTOR % (1 << _ID_BITS)
    return (value ^ value >> _HALF) * _FACTOR % (1 << _ID_BITS)


def _unscramble(value: int) -> int:
    value = value * _INVERSE % (1 << _ID_BITS)
    return (value ^ value >> _HALF) * _INVERSE % (1 << _ID_BITS)


class Customer:
    """One account and what belongs to it, at the moment of the context's clock."""

    def __init__(self, context: Context, index: int) -> None:
        self._context = context
        self.index = index
        self.name = CUSTOMERS[index]
        self.assumptions = context.settings.room("powunity", Assumptions)
        self.fleet: Fleet = context.world.fleet(f"powunity.{self.name}", context.settings.bikes, BIKE)
        readded = self.assumptions.readded_at
        self._readded_ms = to_ms(utc(readded)) if readded else 0
        self._move = self._read_move()

    @property
    def user_id(self) -> int:
        """Vendor id of the user."""
        return 2 + self.index

    @property
    def email(self) -> str:
        """Login."""
        return f"{self.name}@bikes.example"

    @property
    def password(self) -> str:
        """Password, the same for the same seed."""
        return f"{self.name}-{number(self._context.settings.seed, 'powunity', self.name, 'password'):016x}"

    def bikes(self) -> list[Bike]:
        """All bikes that are registered now."""
        return [self._bike(vehicle) for vehicle in self.fleet]

    def bike(self, device_id: int) -> Bike | None:
        """The bike with this vendor id, ``None`` if it is not (or no longer) this customer's."""
        return self._of_ordinal(device_id - _FIRST_DEVICE_ID)

    def bike_of_ordinal(self, ordinal: int) -> Bike | None:
        """Like :meth:`bike`, by :attr:`Bike.ordinal`."""
        return self._of_ordinal(ordinal)

    def _of_ordinal(self, ordinal: int) -> Bike | None:
        index, rest = divmod(ordinal, _PER_BIKE)
        if not 0 <= index < len(self.fleet):
            return None
        bike = self._bike(self.fleet[index])
        return bike if rest == bike.customer * 2 + bike.registration else None

    def _bike(self, vehicle: Vehicle) -> Bike:
        again = vehicle.index == self.assumptions.readded_bike and self._context.clock.now_ms() >= self._readded_ms
        move = self._move if vehicle.index == self.assumptions.moved_bike else None
        return Bike(self.index, vehicle, int(again), self._readded_ms if again else 0, move)

    def _read_move(self) -> Move | None:
        bike, at, onto = self.assumptions.moved_bike, self.assumptions.moved_at, self.assumptions.moved_onto
        if bike < 0:
            return None
        if not at or onto < len(self.fleet):
            raise ConfigError(
                f"the tracker of bike {bike} is moved onto bike {onto} at {at!r}",
                where="--set powunity.moved_bike",
                remedy=f"give powunity.moved_at (ISO 8601) and powunity.moved_onto, at least {len(self.fleet)}: "
                "the bikes below have trackers",
            )
        return Move(to_ms(utc(at)) // 1000, self._context.world.fleet(self.fleet.name, onto + 1, BIKE)[onto])

    def user(self, token: str) -> dict[str, Any]:
        """The User object, in the server's field order."""
        user: dict[str, Any] = {
            "id": self.user_id,
            "attributes": {},
            "name": self.name,
            "login": None,
            "email": self.email,
            "phone": None,
            "readonly": True,
            "administrator": False,
            "map": None,
            "latitude": 0.0,
            "longitude": 0.0,
            "zoom": 0,
            "twelveHourFormat": False,
            "coordinateFormat": None,
            "disabled": False,
            "expirationTime": None,
            "deviceLimit": -1,
            "userLimit": 0,
            "deviceReadonly": False,
            "limitCommands": False,
            "disableReports": False,
            "fixedEmail": False,
            "poiLayer": None,
            "totpKey": None,
            "temporary": False,
            "password": None,
        }
        return user | ({"token": token} if self.assumptions.user_token else {})

    def groups(self) -> list[dict[str, Any]]:
        """Group objects."""
        return [
            {"id": self.index * 2 + number, "attributes": {}, "groupId": 0, "name": f"{name} {self.name}"}
            for number, name in ((1, "Delivery"), (2, "Rental"))
        ]

    def geofences(self) -> list[dict[str, Any]]:
        """Geofence objects: a circle around each bike's home, latitude first."""
        return [
            {
                "id": bike.geofence_id,
                "attributes": {},
                "calendarId": 0,
                "name": f"Home of {bike.name}",
                "description": None,
                "area": f"CIRCLE ({bike.vehicle.home.latitude} {bike.vehicle.home.longitude}, {HOME_RADIUS_M})",
            }
            for bike in self.bikes()
        ]

    def drivers(self) -> list[dict[str, Any]]:
        """Driver objects."""
        found = (self.fleet.driver(index) for index in range(self._drivers))
        return [
            {
                "id": 1 + driver.index * len(CUSTOMERS) + self.index,
                "attributes": {},
                "name": driver.name,
                "uniqueId": driver.unique_id,
            }
            for driver in found
        ]

    def driver_name(self, unique_id: str) -> str | None:
        """Name of the driver with this key."""
        index = int(unique_id[-4:])  # the world numbers its drivers in the last digits
        return self.fleet.driver(index).name if index < self._drivers else None

    @property
    def _drivers(self) -> int:
        """As many as bikes, the one without tracker included when a tracker is put onto it."""
        return max(len(self.fleet), self._move.onto.index + 1 if self._move else 0)

    def maintenance(self) -> list[dict[str, Any]]:
        """Maintenance objects: one rule, by distance in metres."""
        return [
            {
                "id": 1 + self.index,
                "attributes": {},
                "name": "Brakes",
                "type": "totalDistance",
                "start": 0.0,
                "period": 1_000_000.0,
            }
        ]


def customers(context: Context) -> Iterator[Customer]:
    """All customers, in order."""
    for index in range(len(CUSTOMERS)):
        yield Customer(context, index)


def first_ms(context: Context, assumptions: Assumptions) -> int:
    """Nothing older than this is kept, milliseconds since 1970."""
    start = context.world.first_day * DAY_S * 1000
    if assumptions.history_days:
        start = max(start, context.clock.now_ms() - assumptions.history_days * DAY_S * 1000)
    return start
