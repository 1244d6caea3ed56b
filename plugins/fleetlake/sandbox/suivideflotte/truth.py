"""What is true at SuiviDeFlotte, in the words of the contracts: the oracle that warehouse and lake are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fleetlake.sandbox.suivideflotte import trips
from fleetlake.sandbox.suivideflotte.park import Park
from fleetlake.sandbox.world import KNOT_MS, moment
from fleetlake.window import Window

Row = Mapping[str, Any]


def truth(park: Park, dataset: str, window: Window | None, customer: str) -> Iterator[Row]:
    """Rows of a dataset with its time column in ``window``, told until now."""
    now = park.context.clock.now_ms() // 1000
    start, end = (0, now + 1) if window is None else (_second(window.start), _second(window.end))
    return DATASETS[dataset](park, customer, start, end)


def _second(time: Any) -> int:
    """Bounds in whole seconds; data have no fractions, so rounding up keeps ``[start, end)``."""
    return -int(-time.timestamp() // 1)


def _vehicles(park: Park, customer: str, *_: int) -> Iterator[Row]:
    for car in park.cars(customer):
        last = car.vehicle.latest(park.context.clock.now_ms())
        hidden = last is None or trips.is_private(park, car, last.ride)
        yield {
            "vehicle_id": car.id,
            "name": car.name,
            "registration_plate": car.plate,
            "brand": car.brand,
            "model": car.model,
            "vin": car.vin,
            "old_service_id": car.id_sdf,
            "odometer_m": last.odometer_m if last else None,
            "group_id": car.group_id,
            "driver_id": car.driver_id,
            "is_active": car.active,
            "last_event_time": moment(last.time) if last else None,
            "last_latitude_deg": last.latitude if last and not hidden else None,
            "last_longitude_deg": last.longitude if last and not hidden else None,
            "last_speed_kmh": round(last.speed_kn * KNOT_MS * 3.6, 1) if last else None,
            "last_heading_deg": last.heading if last else None,
            "updated_time": moment(last.received_ms // 1000) if last else None,
            "extra": {"color": car.colour} if park.assumptions.more_fields else None,
        }


def _trips(park: Park, customer: str, start: int, end: int) -> Iterator[Row]:
    now = park.context.clock.now_ms() // 1000
    for car in park.cars(customer):
        for trip in trips.trips(park, car, start, end, now):
            first, last = trip.start_place, trip.end_place
            yield {
                "trip_id": trip.id,
                "vehicle_id": car.id,
                "driver_id": trip.driver_id,
                "start_time": moment(trip.start),
                "end_time": moment(trip.end),
                "start_latitude_deg": first.latitude if first else None,
                "start_longitude_deg": first.longitude if first else None,
                "end_latitude_deg": last.latitude if last else None,
                "end_longitude_deg": last.longitude if last else None,
                "start_address": trip.start_address,
                "end_address": trip.end_address,
                "distance_m": trip.distance_m,
                "duration_s": trip.duration_s,
                "max_speed_kmh": trip.max_speed_kmh,
                "average_speed_kmh": trip.average_speed_kmh,
                "is_private": trip.is_private,
                "extra": {"category": trip.category} if park.assumptions.more_fields else None,
            }


def _alerts(park: Park, customer: str, start: int, end: int) -> Iterator[Row]:
    now = park.context.clock.now_ms() // 1000
    for car in park.cars(customer):
        for alert in trips.alerts(park, car, start, end, now):
            yield {
                "alert_id": alert.id,
                "vehicle_id": car.id,
                "driver_id": alert.driver_id,
                "event_time": moment(alert.time),
                "alert_type": alert.kind,
                "message": alert.message,
                "latitude_deg": alert.place.latitude if alert.place else None,
                "longitude_deg": alert.place.longitude if alert.place else None,
                "address": alert.address,
                "extra": None,
            }


def _pois(park: Park, customer: str, *_: int) -> Iterator[Row]:
    for poi in park.pois(customer):
        yield {
            "poi_id": poi.id,
            "name": poi.name,
            "latitude_deg": poi.latitude,
            "longitude_deg": poi.longitude,
            "radius_m": poi.radius_m,
            "address": poi.address,
            "category_id": poi.category_id,
            "external_ref": poi.external_ref,
            "extra": None,
        }


def _drivers(park: Park, customer: str, *_: int) -> Iterator[Row]:
    for driver in park.drivers(customer):
        yield {
            "driver_id": driver.id,
            "name": driver.name,
            "external_ref": driver.external_ref,
            "badge_number": driver.badge,
            "is_active": driver.active,
            "updated_time": moment(driver.updated),
            "extra": None,
        }


DATASETS: Mapping[str, Callable[[Park, str, int, int], Iterator[Row]]] = {
    "vehicle": _vehicles,
    "trip": _trips,
    "poi": _pois,
    "driver": _drivers,
    "alert": _alerts,
}
"""Rows by dataset, for a park, a customer and seconds since 1970."""
