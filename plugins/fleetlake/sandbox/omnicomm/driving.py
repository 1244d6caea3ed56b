"""What trucks do, second by second: moving, speeding, engine on, metres; and what the vendor has heard of by now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from fleetlake.sandbox.dice import number
from fleetlake.sandbox.omnicomm.park import Park, Truck
from fleetlake.sandbox.world import DAY_S, Ride

Stretch = tuple[int, int]
"""``[start, end)`` in seconds since 1970."""

MOVING_KMH = 2.0
"""Faster than this is movement."""

SPEED_LIMIT_KMH = 80.0
"""Limit in the profile of every truck."""

_LIVE_S = 10
"""So long after it happened the vendor knows, unless it is uploaded late."""

_BURST_S = 60
"""So long a late upload takes at most."""


class Driving:
    """What the trucks of a park do. Stateless but for caches."""

    def __init__(self, park: Park) -> None:
        self.park = park
        self._first = park.context.world.first_day * DAY_S
        self._faster = lru_cache(maxsize=1024)(Ride.faster_than)

    def rides(self, truck: Truck, start: int, end: int) -> Iterator[Ride]:
        """Rides that touch ``[start, end)``."""
        return truck.vehicle.under_way(start, end) if truck.is_receiving and start < end else iter(())

    def faster(self, truck: Truck, speed_kmh: float, start: int, end: int) -> list[Stretch]:
        """Stretches inside ``[start, end)`` in which it goes faster than this."""
        found = (item for ride in self.rides(truck, start, end) for item in self._faster(ride, speed_kmh / 3.6))
        return clip(found, start, end)

    def moving(self, truck: Truck, start: int, end: int) -> list[Stretch]:
        """Stretches of movement inside ``[start, end)``."""
        return self.faster(truck, MOVING_KMH, start, end)

    def engine(self, truck: Truck, start: int, end: int) -> list[Stretch]:
        """Stretches inside ``[start, end)`` with the engine on: every ride, and a while before and after it."""
        rides = self.rides(truck, start - 300, end + 300)
        return clip(((ride.start - warm_up(truck, ride), ride.end + cool_down(truck, ride)) for ride in rides), start, end)

    def idle(self, truck: Truck, start: int, end: int) -> list[Stretch]:
        """Stretches with the engine on and without movement."""
        return subtract(self.engine(truck, start, end), self.moving(truck, start, end))

    def odometer_m(self, truck: Truck, time: int) -> int:
        """Whole metres on the odometer."""
        vehicle, day = truck.vehicle, time // DAY_S
        for ride in reversed(vehicle.rides(day)):
            if ride.start <= time:
                return ride.odometer_m + round(ride.driven(time)[0])
        for ride in vehicle.rides(day - 1)[-1:]:  # it may run over midnight
            return ride.odometer_m + round(ride.driven(time)[0])
        return vehicle.odometer_m(day)

    def metres(self, truck: Truck, stretches: Iterable[Stretch]) -> int:
        """Whole metres driven in these stretches."""
        return sum(self.odometer_m(truck, end) - self.odometer_m(truck, start) for start, end in stretches)

    def is_engine_on(self, truck: Truck, time: int) -> bool:
        """The engine runs at this second."""
        return bool(self.engine(truck, time, time + 1))

    # What the vendor knows

    def heard_ms(self, truck: Truck, time: int) -> int:
        """When the vendor has learnt of what happened at ``time``, milliseconds since 1970."""
        late = truck.vehicle.late(time // DAY_S)
        if late and late.start <= time < late.end:
            return (late.received + _BURST_S) * 1000
        return (time + _LIVE_S) * 1000

    def known(self, truck: Truck, start: int, end: int, now_ms: int) -> list[Stretch]:
        """Stretches of ``[start, end)`` of which the vendor has data at ``now_ms``."""
        if not truck.is_receiving:
            return []
        start, end = max(start, self._first), min(end, now_ms // 1000 - _LIVE_S)
        missing: list[Stretch] = []
        for day in range(start // DAY_S, (end - 1) // DAY_S + 1):
            late = truck.vehicle.late(day)
            if late and (late.received + _BURST_S) * 1000 > now_ms:
                missing.append((late.start, late.end))
        return subtract([(start, end)] if start < end else [], missing)


def warm_up(truck: Truck, ride: Ride) -> int:
    """Seconds the engine runs before a ride."""
    return 30 + number(truck.terminal_id, "warm-up", ride.start) % 120


def cool_down(truck: Truck, ride: Ride) -> int:
    """Seconds the engine runs after a ride."""
    return 20 + number(truck.terminal_id, "cool-down", ride.end) % 80


def clip(stretches: Iterable[Stretch], start: int, end: int) -> list[Stretch]:
    """The parts of stretches inside ``[start, end)``."""
    cut = ((max(a, start), min(b, end)) for a, b in stretches)
    return [(a, b) for a, b in cut if a < b]


def subtract(stretches: Sequence[Stretch], holes: Sequence[Stretch]) -> list[Stretch]:
    """Stretches without the holes; both in order and disjoint."""
    found = []
    for start, end in stretches:
        at = start
        for a, b in holes:
            if b <= at or a >= end:
                continue
            if a > at:
                found.append((at, a))
            at = max(at, b)
        if at < end:
            found.append((at, end))
    return found


def seconds(stretches: Iterable[Stretch]) -> int:
    """Total length."""
    return sum(end - start for start, end in stretches)


def within(stretches: Sequence[Stretch], pieces: Sequence[Stretch]) -> list[Stretch]:
    """The parts of stretches inside any of the pieces; both in order and disjoint."""
    return [part for start, end in pieces for part in clip(stretches, start, end)]
