"""Events of a Traccar 5.12 server: what it notices while positions arrive.

It looks at positions in the order of their arrival and, alarms apart, only at those newer than the newest one it has: a
late upload changes reports, but raises no motion, ignition, geofence or driver event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fleetlake.sandbox.powunity.model import Position
from fleetlake.sandbox.powunity.reports import MotionState, Thresholds


@dataclass(frozen=True, slots=True)
class Notice:
    """An event before it has an id.

    Attributes:
        position: the position at which it was noticed; its fix time is the event's time.
    """

    type: str
    position: Position
    geofence_id: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)


def notices(arrivals: Iterable[Position], limits: Thresholds) -> Iterator[Notice]:
    """Events of one device, from its first position on, in the order they are noticed.

    Args:
        arrivals: positions in the order of their arrival. The first one is the device's first contact: it stands still.
        limits: settings of trip detection.
    """
    latest: Position | None = None
    state = MotionState(streak=False, moving=False)
    for position in arrivals:
        if latest is None or position.fix_ms >= latest.fix_ms:
            yield from _changes(latest, position)
            if state.update(position, position.motion, limits):
                # Stamped at the position that settles it, not at the one where it began.
                yield Notice("deviceMoving" if state.streak else "deviceStopped", position)
            latest = position
        if (alarm := position.attributes.get("alarm")) is not None:
            yield Notice("alarm", position, attributes={"alarm": alarm})


def _changes(before: Position | None, now: Position) -> Iterator[Notice]:
    old = set(before.geofence_ids or ()) if before else set()
    new = set(now.geofence_ids or ())
    for geofence in sorted(old - new):
        yield Notice("geofenceExit", now, geofence)
    for geofence in sorted(new - old):
        yield Notice("geofenceEnter", now, geofence)
    if before is None:
        return
    ignition, was = now.attributes.get("ignition"), before.attributes.get("ignition")
    if ignition is not None and was is not None and ignition != was:
        yield Notice("ignitionOn" if ignition else "ignitionOff", now)
    driver = now.attributes.get("driverUniqueId")
    if driver is not None and driver != before.attributes.get("driverUniqueId"):
        yield Notice("driverChanged", now, attributes={"driverUniqueId": driver})
