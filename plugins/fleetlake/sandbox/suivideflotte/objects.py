"""The vendor's objects as JSON members, in the fields of section 2.3."""

from __future__ import annotations

from typing import Any

from fleetlake.sandbox.suivideflotte import trips
from fleetlake.sandbox.suivideflotte.answers import Times
from fleetlake.sandbox.suivideflotte.assumptions import SuiviDeFlotteAssumptions
from fleetlake.sandbox.suivideflotte.park import Car, Driver, Park, Poi
from fleetlake.sandbox.suivideflotte.trips import Alert, Trip
from fleetlake.sandbox.world import KNOT_MS

Row = dict[str, Any]

VEHICLE = (
    *("id", "id_sdf", "name", "reg_plate", "brand", "model", "vin", "odometer", "group_id", "driver_id", "active"),
    *("last_position", "updated_at"),
)
TRIP = (
    *("id", "vehicle_id", "driver_id", "start_dt", "end_dt", "start_lat", "start_lon", "end_lat", "end_lon"),
    *("start_address", "end_address", "distance", "duration", "max_speed", "avg_speed", "private"),
)
POI = ("id", "name", "lat", "lon", "radius", "address", "category_id", "external_ref")
DRIVER = ("id", "name", "external_ref", "badge", "active", "updated_at")
ALERT = ("id", "vehicle_id", "driver_id", "dt", "type", "message", "lat", "lon", "address")


def fields(named: tuple[str, ...], assumptions: SuiviDeFlotteAssumptions) -> tuple[str, ...]:
    """Fields of an object: those of section 2.3, and what else it has."""
    more = {VEHICLE: ("color",), TRIP: ("category",)}.get(named, ())
    return (*named, *more) if assumptions.more_fields else named


class Writer:
    """Writes objects with one account's settings.

    Args:
        park: what the objects belong to.
        times: how times are written.
    """

    def __init__(self, park: Park, times: Times) -> None:
        self._park = park
        self._times = times

    def vehicle(self, car: Car, now_ms: int) -> Row:
        """A vehicle with what its box sent last; all it has, whatever is told."""
        last = car.vehicle.latest(now_ms)
        position: Row | None = None
        if last:
            hidden = trips.is_private(self._park, car, last.ride)
            position = {
                "lat": None if hidden else last.latitude,
                "lon": None if hidden else last.longitude,
                "dt": self._times.text(last.time),
                "speed": round(last.speed_kn * KNOT_MS * 3.6, 1),
                "angle": last.heading,
            }
        return {
            "id": car.id,
            "id_sdf": car.id_sdf,
            "name": car.name,
            "reg_plate": car.plate,
            "brand": car.brand,
            "model": car.model,
            "vin": car.vin,
            "odometer": last.odometer_m / 1000 if last else None,
            "group_id": car.group_id,
            "driver_id": car.driver_id,
            "active": car.active,
            "last_position": position,
            "updated_at": self._times.text(last.received_ms // 1000) if last else None,
            "color": car.colour,
        }

    def trip(self, trip: Trip) -> Row:
        """A trip; a private one has its places as nulls. All it has, whatever is told."""
        start, end = trip.start_place, trip.end_place
        in_km = self._park.assumptions.distance_unit == "km"
        return {
            "id": trip.id,
            "vehicle_id": trip.car.id,
            "driver_id": trip.driver_id,
            "start_dt": self._times.text(trip.start),
            "end_dt": self._times.text(trip.end),
            "start_lat": start.latitude if start else None,
            "start_lon": start.longitude if start else None,
            "end_lat": end.latitude if end else None,
            "end_lon": end.longitude if end else None,
            "start_address": trip.start_address,
            "end_address": trip.end_address,
            "distance": trip.distance_m / 1000 if in_km else trip.distance_m,
            "duration": trip.duration_s,
            "max_speed": trip.max_speed_kmh,
            "avg_speed": trip.average_speed_kmh,
            "private": trip.is_private,
            "category": trip.category,
        }

    def poi(self, poi: Poi) -> Row:
        """A point of interest."""
        return {
            "id": poi.id,
            "name": poi.name,
            "lat": poi.latitude,
            "lon": poi.longitude,
            "radius": poi.radius_m,
            "address": poi.address,
            "category_id": poi.category_id,
            "external_ref": poi.external_ref,
        }

    def driver(self, driver: Driver) -> Row:
        """A driver."""
        return {
            "id": driver.id,
            "name": driver.name,
            "external_ref": driver.external_ref,
            "badge": driver.badge,
            "active": driver.active,
            "updated_at": self._times.text(driver.updated),
        }

    def alert(self, alert: Alert) -> Row:
        """An alert."""
        return {
            "id": alert.id,
            "vehicle_id": alert.car.id,
            "driver_id": alert.driver_id,
            "dt": self._times.text(alert.time),
            "type": alert.kind,
            "message": alert.message,
            "lat": alert.place.latitude if alert.place else None,
            "lon": alert.place.longitude if alert.place else None,
            "address": alert.address,
        }
