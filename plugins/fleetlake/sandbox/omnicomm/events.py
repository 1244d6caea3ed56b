"""Events: stops, parkings, speeding, and a kind whose meaning nobody knows (OMN-07)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from fleetlake.sandbox.dice import number
from fleetlake.sandbox.omnicomm.driving import SPEED_LIMIT_KMH, Driving, warm_up
from fleetlake.sandbox.omnicomm.park import Truck
from fleetlake.sandbox.omnicomm.zones import REGION_KMH, region_of
from fleetlake.sandbox.world import DAY_S

STOP, PARKING, SPEEDING, SPEEDING_IN_ZONE, UNKNOWN = 43, 98, 14, 94, 33
STOP_S, PARKING_S = 60, 300
_LONGEST_REST_S = 9 * DAY_S
_SPEEDING_S = 20


class Event(NamedTuple):
    """One event; it is told when what it tells of is over.

    Attributes:
        time: seconds since 1970.
        kind: vendor's number.
        parameters: by position.
        latitude, longitude: degrees.
    """

    time: int
    kind: int
    parameters: tuple[int, ...]
    latitude: float
    longitude: float

    def as_json(self) -> dict[str, Any]:
        """The vendor's form: parameters are texts."""
        return {
            "type": self.kind,
            "latitude": self.latitude,
            "longitude": self.longitude,
            "parameters": [str(value) for value in self.parameters],
            "timestamp": self.time,
            "eventAddress": address(self.latitude, self.longitude),
        }


class Events:
    """Events of all trucks."""

    def __init__(self, driving: Driving) -> None:
        self._driving = driving

    def between(self, truck: Truck, start: int, end: int, now_ms: int) -> list[Event]:
        """Events with their time in ``[start, end)`` that the vendor knows, by time and kind; some are told twice."""
        found = [*self._stops(truck, start, end), *self._speeding(truck, start, end), *self._unknown(truck, start, end)]
        known = [
            event for event in found if start <= event.time < end and self._driving.heard_ms(truck, event.time) <= now_ms
        ]
        return sorted(known, key=lambda event: (event.time, event.kind))

    def _stops(self, truck: Truck, start: int, end: int) -> Iterator[Event]:
        moving = self._driving.moving(truck, start - _LONGEST_REST_S, end + PARKING_S)
        for (_, stopped), (went_on, _) in pairwise(moving):
            duration = went_on - stopped
            place = self._place(truck, stopped)
            if duration > STOP_S:
                yield Event(went_on, STOP, (STOP_S, duration), *place)
            if duration > PARKING_S:
                yield Event(went_on, PARKING, (PARKING_S, duration), *place)

    def _speeding(self, truck: Truck, start: int, end: int) -> Iterator[Event]:
        for a, b in self._driving.faster(truck, SPEED_LIMIT_KMH, start - DAY_S, end + DAY_S):
            if b - a >= _SPEEDING_S:
                average = round(self._driving.metres(truck, [(a, b)]) / (b - a) * 3.6)
                yield Event(b, SPEEDING, (round(SPEED_LIMIT_KMH), average, b - a), *self._place(truck, b))
        region = region_of(truck)
        for a, b in self._driving.faster(truck, REGION_KMH, start - DAY_S, end + DAY_S) if region else ():
            place = self._place(truck, b)
            if b - a >= _SPEEDING_S and region and region.holds(*place):
                average = round(self._driving.metres(truck, [(a, b)]) / (b - a) * 3.6)
                yield Event(b, SPEEDING_IN_ZONE, (round(REGION_KMH), 0, average, b - a), *place)

    def _unknown(self, truck: Truck, start: int, end: int) -> Iterator[Event]:
        for ride in self._driving.rides(truck, start, end):
            if (warm := warm_up(truck, ride)) > STOP_S:
                event = Event(ride.start, UNKNOWN, (STOP_S, warm), *self._place(truck, ride.start))
                yield event
                if number(truck.terminal_id, "twice", ride.start) % 5 == 0:
                    yield event

    def _place(self, truck: Truck, time: int) -> tuple[float, float]:
        return place_at(self._driving, truck, time)


def place_at(driving: Driving, truck: Truck, time: int) -> tuple[float, float]:
    """Where a truck is while it is under way, or has just come to a stop."""
    for ride in driving.rides(truck, time - 1, time + 1):
        spot = ride.place(ride.driven(time)[0])
        return spot.latitude, spot.longitude
    return truck.vehicle.home.latitude, truck.vehicle.home.longitude


def address(latitude: float, longitude: float) -> str:
    """An address of the sandbox's country."""
    return f"Road {number(round(latitude, 2), round(longitude, 2)) % 400}, km {round(abs(longitude) * 10) % 90}"
