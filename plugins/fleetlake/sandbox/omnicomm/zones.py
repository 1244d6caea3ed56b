"""Geofences, and the visits to them. A zone is a box in degrees, so that it is exactly what its polygon shows."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fleetlake.sandbox.dice import dice
from fleetlake.sandbox.omnicomm.driving import SPEED_LIMIT_KMH, Driving
from fleetlake.sandbox.omnicomm.park import Park, Truck
from fleetlake.sandbox.omnicomm.reports import plain
from fleetlake.sandbox.omnicomm.totals import Reckoning
from fleetlake.sandbox.omnicomm.track import Point, Track
from fleetlake.sandbox.world import DAY_S

REGION_KMH = 70.0
_LONGEST_VISIT_S = 10 * DAY_S
_FIRST_ID = {"trucks": 71, "other": 5071}


@dataclass(frozen=True)
class Zone:
    """A geofence.

    Attributes:
        kind: ``Polygon``, ``LineString``, or ``None``: a row without a shape.
        limit_kmh: speed limit; in the name, or in ``allowedSpeed`` when ``has_limit``.
        points: corners or points of a line, degrees.
        line_width_m: of a line.
    """

    id: int
    uuid: str
    name: str
    kind: str | None
    points: tuple[tuple[float, float], ...]
    line_width_m: int | None = None
    limit_kmh: float = SPEED_LIMIT_KMH
    has_limit: bool = False

    def holds(self, latitude: float, longitude: float) -> bool:
        """The point is inside; nobody ever is on a line."""
        if self.kind != "Polygon":
            return False
        (south, west), (north, east) = self.points[0], self.points[2]
        return south <= latitude <= north and west <= longitude <= east

    def as_json(self) -> dict[str, Any]:
        """A row of the list."""
        key = "pointId" if self.id % 5 == 4 else "pointID"  # both are seen
        row = {
            "id": self.id,
            "uuid": self.uuid,
            "name": self.name,
            "color": self.color,
            "transparency": 50,
            "geometryTypeName": self.kind,
            "lineWidth": self.line_width_m,
            "points": [
                {key: number + 1, "latitude": latitude, "longitude": longitude}
                for number, (latitude, longitude) in enumerate(self.points)
            ],
        }
        return row | ({"allowedSpeed": round(self.limit_kmh)} if self.has_limit else {})

    @property
    def color(self) -> str:
        """Colour on the map."""
        return f"#{self.id * 2_654_435_761 % 0xFFFFFF:06x}"


@dataclass(frozen=True)
class Visit:
    """A stay inside a zone, or outside all of them (``zone`` is ``None``); seconds, whole metres, decilitres.

    Attributes:
        end: first point elsewhere; while it lasts, the last point known.
    """

    truck: Truck
    zone: Zone | None
    start: int
    end: int
    distance_m: int
    speeding_m: int
    max_speed_kmh: float
    fuel_dl: int | None


class Zones:
    """Geofences of all customers."""

    def __init__(self, park: Park) -> None:
        self._park = park
        self._all = lru_cache(maxsize=8)(self._make)

    def of(self, customer: str) -> tuple[Zone, ...]:
        """All zones of a customer, by id."""
        return self._all(customer)

    def _make(self, customer: str) -> tuple[Zone, ...]:
        seed, first = self._park.context.settings.seed, _FIRST_ID[customer]
        own = [zone for truck in self._park.trucks(customer) for zone in _zones_of(truck) if zone]
        roll = dice(seed, "omnicomm", customer, "zones")
        start = first + 2 * len(self._park.trucks(customer))
        roads = []
        for number in range(start, start + self._park.assumptions.geofences):
            latitude, longitude = round(roll.uniform(44, 46), 6), round(roll.uniform(67, 69), 6)
            line = tuple((round(latitude + step * 0.004, 6), round(longitude + step * 0.003, 6)) for step in range(4))
            if (number - start) % 7 == 6:
                roads.append(Zone(number, _uuid(number), f"draft {number}", None, ()))
            else:
                roads.append(Zone(number, _uuid(number), f"Pit road {number} 50 km/h", "LineString", line, 50, 50.0))
        return tuple(sorted([*own, *roads], key=lambda zone: zone.id))


def region_of(truck: Truck) -> Zone | None:
    """The large zone around the home of every second truck."""
    return _zones_of(truck)[1]


def _zones_of(truck: Truck) -> tuple[Zone, Zone | None]:
    number, home = _FIRST_ID[truck.customer] + 2 * truck.index, truck.vehicle.home

    def box(id_: int, name: str, north: float, east: float, limit: float, has_limit: bool) -> Zone:
        south_, north_ = round(home.latitude - north, 6), round(home.latitude + north, 6)
        west_, east_ = round(home.longitude - east, 6), round(home.longitude + east, 6)
        ring = ((south_, west_), (south_, east_), (north_, east_), (north_, west_), (south_, west_))
        return Zone(id_, _uuid(id_), name, "Polygon", ring, None, limit, has_limit)

    depot = box(number, f"Yard of {truck.name}", 0.004, 0.006, 20.0, truck.index % 4 == 0)
    if truck.index % 2:
        return depot, None
    return depot, box(number + 1, f"Region {truck.index + 1} {REGION_KMH:.0f} km/h", 0.2, 0.3, REGION_KMH, False)


def _uuid(number: int) -> str:
    return str(uuid.uuid3(uuid.NAMESPACE_OID, f"omnicomm zone {number}"))


class Visits:
    """Visits of all trucks."""

    def __init__(self, driving: Driving, reckoning: Reckoning, track: Track) -> None:
        self._driving = driving
        self._reckoning = reckoning
        self._track = track

    def between(
        self, truck: Truck, zones: Sequence[Zone], start: int, end: int, now_ms: int, *, outside: bool
    ) -> list[Visit]:
        """Visits that begin in ``[start, end)``, whole, by beginning.

        ``zones`` are those that count; with ``outside`` also stays outside all of them. Known at ``now_ms``.
        """
        boxes = [zone for zone in zones if zone.kind == "Polygon"]
        open_: dict[Zone | None, list[Point]] = {}
        found: list[Visit] = []
        for point in self._track.points(truck, start - DAY_S, end + _LONGEST_VISIT_S, now_ms):
            if not point.is_valid:
                continue
            if point.time >= end and not any(items[0].time >= start for items in open_.values()):
                break
            here: set[Zone | None] = {zone for zone in boxes if zone.holds(point.latitude, point.longitude)}
            if not here and outside:
                here = {None}
            left = [zone for zone in open_ if zone not in here]
            found += [self.visit(truck, zone, open_.pop(zone), point.time) for zone in left]
            for zone in here:
                open_.setdefault(zone, []).append(point)
        found += [self.visit(truck, zone, points, points[-1].time) for zone, points in open_.items()]
        inside = [visit for visit in found if start <= visit.start < end]
        return sorted(inside, key=lambda visit: (visit.start, visit.zone.id if visit.zone else 0))

    def visit(self, truck: Truck, zone: Zone | None, points: Sequence[Point], end: int) -> Visit:
        """A visit with these points that is over at ``end``."""
        start, limit = points[0].time, zone.limit_kmh if zone else SPEED_LIMIT_KMH
        fuel = self._reckoning.fuel(truck, start, end) if end > start else None
        return Visit(
            truck=truck,
            zone=zone,
            start=start,
            end=end,
            distance_m=self._driving.metres(truck, [(start, end)]),
            speeding_m=self._driving.metres(truck, self._driving.faster(truck, limit, start, end)),
            max_speed_kmh=max(point.speed_kmh for point in points),
            fuel_dl=fuel.used if fuel else None,
        )


def as_json(visit: Visit) -> dict[str, Any]:
    """A row of the answer."""
    zone = visit.zone
    return {
        "vehicleId": visit.truck.terminal_id,
        "vehicleName": visit.truck.name,
        "geozoneId": zone.id if zone else None,
        "geozoneName": zone.name if zone else None,
        "geoInfo": {"startDate": visit.start, "endDate": visit.end, "duration": visit.end - visit.start},
        "mv": {
            "mileage": plain(visit.distance_m / 1000),
            "maxSpeed": plain(visit.max_speed_kmh),
            "mileageSpeeding": plain(visit.speeding_m / 1000),
        },
        "fuel": {"fuelConsumption": visit.fuel_dl},
    }


def pages(zones: Sequence[Zone], page: int, size: int, overlap: int) -> Iterator[Zone]:
    """One page; every page but the first begins with the last rows of the one before."""
    stride = max(size - overlap, 1)
    return iter(zones[(page - 1) * stride : (page - 1) * stride + size])
