"""Positions and events of a Traccar 5.12 server, and how it writes them.

Times are kept as integer milliseconds since 1970 (UTC): detection compares many of them. They become text only in an
answer, always as ``2026-11-20T07:10:00.000+00:00``.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@lru_cache(maxsize=512)
def _date_text(day: int) -> str:
    return (_EPOCH + dt.timedelta(days=day)).date().isoformat()


def iso(ms: int, zone: str = "+00:00") -> str:
    """Time as this server writes it, always with milliseconds and ``+00:00``."""
    day, rest = divmod(ms, DAY)
    hour, rest = divmod(rest, HOUR)
    minute, rest = divmod(rest, MINUTE)
    second, milli = divmod(rest, SECOND)
    return f"{_date_text(day)}T{hour:02}:{minute:02}:{second:02}.{milli:03}{zone}"


def iso_or_none(ms: int | None) -> str | None:
    """Like :func:`iso`, with nulls written."""
    return None if ms is None else iso(ms)


def to_ms(moment: dt.datetime) -> int:
    """Milliseconds since 1970 of an aware datetime; fractions of a millisecond are cut off."""
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)


def from_ms(ms: int) -> dt.datetime:
    """Aware UTC datetime of milliseconds since 1970."""
    return _EPOCH + dt.timedelta(milliseconds=ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One position as the server stores it.

    Attributes:
        id: unique; says nothing about time.
        attributes: free map; ``totalDistance`` (m), ``motion`` and ``hours`` (ms) drive the reports.
        server_ms: when the server received it; before that it does not exist for a caller.
        device_ms: when the device sent it.
        fix_ms: time of the GPS fix; ranges and reports go by it.
        speed: knots.
        altitude: metres, like ``accuracy`` (0 = unknown).
    """

    id: int
    attributes: dict[str, Any]
    device_id: int
    protocol: str
    server_ms: int
    device_ms: int
    fix_ms: int
    latitude: float
    longitude: float
    altitude: float = 0.0
    speed: float = 0.0
    course: float = 0.0
    accuracy: float = 0.0
    valid: bool = True
    outdated: bool = False
    address: str | None = None
    network: dict[str, Any] | None = None
    geofence_ids: list[int] | None = None

    @property
    def motion(self) -> bool:
        """The server's verdict when it stored the position."""
        return self.attributes.get("motion") is True

    @property
    def total_distance(self) -> float:
        """Server odometer, m."""
        return float(self.attributes.get("totalDistance", 0.0))

    def as_json(self) -> dict[str, Any]:
        """The object as the server writes it, in its field order."""
        return {
            "id": self.id,
            "attributes": self.attributes,
            "deviceId": self.device_id,
            "protocol": self.protocol,
            "serverTime": iso(self.server_ms),
            "deviceTime": iso(self.device_ms),
            "fixTime": iso(self.fix_ms),
            "outdated": self.outdated,
            "valid": self.valid,
            "latitude": self.latitude,
            "longitude": self.longitude,
            "altitude": self.altitude,
            "speed": self.speed,
            "course": self.course,
            "address": self.address,
            "accuracy": self.accuracy,
            "network": self.network,
            "geofenceIds": self.geofence_ids,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One stored event.

    Attributes:
        time_ms: time of the position that caused it; for status events the server's time.
        known_ms: when the server stored it; before that it does not exist for a caller.
        position_id: 0 = none, like ``geofence_id`` and ``maintenance_id``.
    """

    id: int
    device_id: int
    type: str
    time_ms: int
    known_ms: int
    position_id: int = 0
    geofence_id: int = 0
    maintenance_id: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The object as the server writes it, in its field order."""
        return {
            "id": self.id,
            "attributes": self.attributes,
            "deviceId": self.device_id,
            "type": self.type,
            "eventTime": iso(self.time_ms),
            "positionId": self.position_id,
            "geofenceId": self.geofence_id,
            "maintenanceId": self.maintenance_id,
        }
