"""What the server has stored about a bike: positions and events, made from the world when asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from fleetlake.sandbox.dice import dice
from fleetlake.sandbox.powunity.customers import HOME_RADIUS_M, Bike, Customer, first_ms, read_position_id
from fleetlake.sandbox.powunity.live import notices
from fleetlake.sandbox.powunity.model import DAY, MINUTE, SECOND, Event, Position
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.world import DAY_S, MAX_LATE_S, Ride, Sample, Vehicle

EVENT_TYPES = [
    "commandResult",
    "deviceOnline",
    "deviceUnknown",
    "deviceOffline",
    "deviceInactive",
    "queuedCommandSent",
    "deviceMoving",
    "deviceStopped",
    "deviceOverspeed",
    "deviceFuelDrop",
    "deviceFuelIncrease",
    "geofenceEnter",
    "geofenceExit",
    "alarm",
    "ignitionOn",
    "ignitionOff",
    "maintenance",
    "textMessage",
    "driverChanged",
    "media",
]

OFFLINE_AFTER_MS = 3 * MINUTE

_QUIET_MS = 16_800 * SECOND
"""Time of the UTC day (04:40) at which every bike stands and has sent what it had: events are worked out from there."""

_H02_IDLE, _H02_IGNITION = 0xFFFFFBFF, 0xFFFFFFFF
_H02_ALARMS = {"vibration": 0, "sos": 1, "powerCut": 19}
_METRES_PER_DEGREE = 111_320.0
# Numbers inside event ids; an event type is noticed at most once per bike and second.
_KINDS = {
    kind: number
    for number, kind in enumerate(
        [
            "deviceOnline",
            "deviceOffline",
            "deviceMoving",
            "deviceStopped",
            "geofenceEnter",
            "geofenceExit",
            "alarm",
            "ignitionOn",
            "ignitionOff",
            "driverChanged",
        ],
        start=1,
    )
}


class Feed:
    """Positions and events of one customer. Only what was received until now is visible."""

    def __init__(self, context: Context, customer: Customer) -> None:
        self._context = context
        self._customer = customer
        self._limits = customer.assumptions.thresholds
        # Bounded: a report needs one or two days of one bike, and a few readers run side by side.
        self._positions = lru_cache(maxsize=96)(self._make_positions)
        self._events = lru_cache(maxsize=96)(self._make_events)

    def positions(self, bike: Bike, start_ms: int, end_ms: int) -> list[Position]:
        """Visible positions with a fix in ``[start_ms, end_ms]``, by fix time."""
        start_ms, end_ms, now = self._bounds(bike, start_ms, end_ms)
        return [
            position
            for day in range(start_ms // DAY, end_ms // DAY + 1)
            for position in self._positions(bike, day)
            if start_ms <= position.fix_ms <= end_ms and position.server_ms <= now
        ]

    def position(self, bike: Bike, position_id: int) -> Position | None:
        """One visible position by id."""
        ordinal, seconds = read_position_id(position_id)
        if ordinal != bike.ordinal:
            return None
        found = self.positions(bike, seconds * SECOND, seconds * SECOND)
        return found[0] if found and found[0].id == position_id else None

    def latest(self, bike: Bike) -> Position | None:
        """The visible position with the newest fix."""
        now = self._context.clock.now_ms()
        for day in range(now // DAY, now // DAY - 4, -1):
            if found := self.positions(bike, day * DAY, (day + 1) * DAY - 1):
                return found[-1]
        return None

    def last_contact(self, bike: Bike) -> int | None:
        """When the server last heard of the bike."""
        now = self._context.clock.now_ms()
        today = now // DAY
        heard = [position.server_ms for position in self.positions(bike, (today - 1) * DAY, now)]
        for day in range(today - 2, today - 2 - MAX_LATE_S // DAY_S, -1):
            received = [late.received * SECOND for late in bike.late(day)]
            if any(max(heard, default=0) < moment <= now for moment in received):
                heard += [position.server_ms for position in self.positions(bike, day * DAY, (day + 1) * DAY - 1)]
        return max(heard, default=None)

    def events(self, bike: Bike, start_ms: int, end_ms: int) -> list[Event]:
        """Visible events with a time in ``[start_ms, end_ms]``, by time."""
        start_ms, end_ms, now = self._bounds(bike, start_ms, end_ms)
        found = [
            event
            for day in range((start_ms - _QUIET_MS) // DAY - 1, (end_ms - _QUIET_MS) // DAY + 1)
            for event in self._events(bike, day)
            if start_ms <= event.time_ms <= end_ms and event.known_ms <= now
        ]
        return sorted(found, key=lambda event: event.time_ms)

    def status(self, bike: Bike) -> str:
        """``online`` or ``offline``, as the last status event says; ``unknown`` before the first contact."""
        now = self._context.clock.now_ms()
        if self.last_contact(bike) is None:
            return "unknown"
        changes = (event for day in (now // DAY - 1, now // DAY) for event in self._status_events(bike, day))
        last = max((event for event in changes if event.known_ms <= now), key=lambda event: event.time_ms, default=None)
        return "offline" if last and last.type == "deviceOffline" else "online"

    def device(self, bike: Bike) -> dict[str, Any]:
        """The Device object, in the server's field order, except that ``lastUpdate`` is in milliseconds."""
        latest = self.latest(bike)
        return {
            "id": bike.id,
            "attributes": _device_attributes(bike),
            "groupId": bike.group_id,
            "calendarId": 0,
            "name": bike.name,
            "uniqueId": bike.unique_id,
            "status": self.status(bike),
            "lastUpdate": self.last_contact(bike),
            "positionId": latest.id if latest else 0,
            "phone": None,
            "model": "BikeTrax" if bike.vehicle.index % 2 else None,
            "contact": None,
            "category": "bicycle",
            "disabled": False,
            "expirationTime": None,
        }

    def _bounds(self, bike: Bike, start_ms: int, end_ms: int) -> tuple[int, int, int]:
        now = self._context.clock.now_ms()
        first = max(first_ms(self._context, self._customer.assumptions), bike.since_ms)
        return max(start_ms, first), min(end_ms, now), now

    def _make_positions(self, bike: Bike, day: int) -> tuple[Position, ...]:
        vehicle = bike.vehicle
        samples = bike.samples(day)
        before = bike.samples(day - 1)
        odometer = before[-1].odometer_m if before else (samples[0].odometer_m if samples else 0)
        alarms = _alarms(bike, day, samples)
        network = _network(vehicle) if vehicle.index % 3 == 1 else None
        riders = {ride: self._customer.fleet.driver(ride.driver).unique_id for ride in _rides_of(samples)}
        erased = self._customer.assumptions.erased_ms(bike.id)
        result = []
        for sample in samples:
            moving = sample.speed_kn > self._customer.assumptions.motion_kn
            position = Position(
                id=bike.position_id(sample.time),
                attributes=self._attributes(bike, sample, sample.odometer_m - odometer, alarms.get(sample.time), riders),
                device_id=bike.id,
                protocol=bike.protocol,
                server_ms=sample.received_ms,
                device_ms=sample.time * SECOND,
                fix_ms=sample.time * SECOND,
                latitude=sample.latitude,
                longitude=sample.longitude,
                altitude=float(20 + vehicle.index * 7 % 500) if moving else 0.0,
                speed=sample.speed_kn,
                course=float(sample.heading) if moving else 0.0,
                accuracy=5.0 if moving else 0.0,
                network=None if moving else network,
                geofence_ids=[bike.geofence_id] if _at_home(vehicle, sample) else None,
            )
            odometer = sample.odometer_m
            if not any(start <= position.fix_ms <= end for start, end in erased):
                result.append(position)
        return tuple(result)

    def _attributes(
        self, bike: Bike, sample: Sample, distance: int, alarm: str | None, riders: Mapping[Ride, str]
    ) -> dict[str, Any]:
        under_way = sample.ride is not None and sample.time < sample.ride.end
        day, second = divmod(sample.time, DAY_S)
        level = max(100 - (day + bike.vehicle.index) % 20 * 5 - second // 21_600, 3)
        attributes: dict[str, Any] = {"batteryLevel": float(level) if bike.protocol == "osmand" else level}
        if bike.has_ignition:
            attributes["ignition"] = under_way
        if bike.protocol == "h02":
            status = _H02_IGNITION if under_way and bike.has_ignition else _H02_IDLE
            attributes["status"] = status & ~(1 << _H02_ALARMS[alarm]) if alarm else status
        if alarm:
            attributes["alarm"] = alarm
        if under_way and bike.has_driver_key and sample.ride is not None:
            attributes["driverUniqueId"] = riders[sample.ride]
        attributes["distance"] = float(distance)
        attributes["totalDistance"] = float(sample.odometer_m)
        attributes["motion"] = sample.speed_kn > self._customer.assumptions.motion_kn
        if bike.has_ignition:
            attributes["hours"] = sample.engine_s * 1000
        return attributes

    def _make_events(self, bike: Bike, day: int) -> tuple[Event, ...]:
        """Events noticed at positions between 04:40 of ``day`` and 04:40 of the next day, and status events of ``day``."""
        start = day * DAY + _QUIET_MS
        near = [position for step in (-1, 0, 1) for position in self._positions(bike, day + step)]
        before = [position for position in near if position.fix_ms < start]
        today = [position for position in near if start <= position.fix_ms < start + DAY]
        today.sort(key=lambda position: (position.server_ms, position.fix_ms))
        events = [
            Event(
                id=bike.event_id(notice.position.fix_ms // SECOND, _KINDS[notice.type]),
                device_id=bike.id,
                type=notice.type,
                time_ms=notice.position.fix_ms,
                known_ms=notice.position.server_ms,
                position_id=notice.position.id,
                geofence_id=notice.geofence_id,
                attributes=notice.attributes,
            )
            for notice in notices([*before[-1:], *today], self._limits)
            if notice.position.fix_ms >= start
        ]
        return (*events, *self._status_events(bike, day))

    def _status_events(self, bike: Bike, day: int) -> Iterator[Event]:
        """A bike whose data came late was out of reach: offline three minutes on, online with the next data in time."""
        for late in bike.late(day) if self._positions(bike, day) else ():
            back = (position for step in (0, 1) for position in self._positions(bike, day + step))
            online = next(position.server_ms for position in back if position.fix_ms >= late.end * SECOND)
            for kind, time in (("deviceOffline", late.start * SECOND + OFFLINE_AFTER_MS), ("deviceOnline", online)):
                number = bike.event_id(time // SECOND, _KINDS[kind])
                yield Event(id=number, device_id=bike.id, type=kind, time_ms=time, known_ms=time)


def _rides_of(samples: Sequence[Sample]) -> set[Ride]:
    return {sample.ride for sample in samples if sample.ride is not None}


def _alarms(bike: Bike, day: int, samples: Sequence[Sample]) -> dict[int, str]:
    """Alarms of a day by time: now and then one, while the bike stands."""
    roll = dice(*bike.vehicle.key, "alarm", day)
    standing = [sample.time for sample in samples if sample.ride is None]
    if not standing or roll.random() >= 0.3:
        return {}
    return {roll.choice(standing): roll.choice(list(_H02_ALARMS))}


def _at_home(vehicle: Vehicle, sample: Sample) -> bool:
    north = (sample.latitude - vehicle.home.latitude) * _METRES_PER_DEGREE
    east = (sample.longitude - vehicle.home.longitude) * _METRES_PER_DEGREE
    return math.hypot(north, east * math.cos(math.radians(vehicle.home.latitude))) <= HOME_RADIUS_M


def _network(vehicle: Vehicle) -> dict[str, Any]:
    roll = dice(*vehicle.key, "cell")
    return {
        "radioType": "gsm",
        "considerIp": False,
        "cellTowers": [
            {
                "cellId": roll.randrange(1, 1 << 16),
                "locationAreaCode": roll.randrange(1, 1 << 16),
                "mobileCountryCode": 262,
                "mobileNetworkCode": 1 + roll.randrange(3),
                "signalStrength": None,
            }
        ],
        "wifiAccessPoints": None,
    }


def _device_attributes(bike: Bike) -> dict[str, Any]:
    index = bike.vehicle.index
    if index % 4 == 0:
        return {}
    return {
        "guarded": index % 2 == 0,
        "alarm": False,
        "autoGuard": False,
        "guardType": "movement",
        "geofenceRadius": 50,
        "trialEnd": "2027-06-01T00:00:00.000Z",
        "fwVersion": f"1.{index % 5}.0",
    }
