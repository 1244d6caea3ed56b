"""What is true about the bikes, in the columns of the contracts, without asking the interface.

Trips, stops and summaries are true per UTC day, ``[day, day + 1)``. They are worked out here in another way than
``reports.py`` does it: the day is cut into runs of moving and of standing, runs too short to count are absorbed, and what
remains are the trips and stops. So each way checks the other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise, zip_longest
from typing import Any, NamedTuple

from fleetlake.sandbox.powunity.customers import Bike, Customer, first_ms
from fleetlake.sandbox.powunity.feed import Feed
from fleetlake.sandbox.powunity.model import DAY, SECOND, Event, Position, from_ms, to_ms
from fleetlake.sandbox.powunity.reports import KNOTS_PER_MPS, Thresholds
from fleetlake.sandbox.rooms import Context
from fleetlake.window import Window

KMH_PER_KNOT = 1.852

Row = dict[str, Any]


class BikeDay(NamedTuple):
    """One UTC day of one bike."""

    feed: Feed
    customer: Customer
    bike: Bike
    day: int

    def positions(self) -> list[Position]:
        """Visible positions of the day, by fix time."""
        return self.feed.positions(self.bike, self.day * DAY, (self.day + 1) * DAY - 1)


def rows(context: Context, customer: Customer, dataset: str, window: Window | None) -> Iterator[Row]:
    """Rows of ``dataset`` whose time lies in ``window``; ``None`` = everything until now."""
    feed = Feed(context, customer)
    if dataset == "device":
        yield from (_device(feed.device(bike)) for bike in customer.bikes())
        return
    start = to_ms(window.start) if window else first_ms(context, customer.assumptions)
    end = to_ms(window.end) if window else context.clock.now_ms() + 1
    for bike in customer.bikes():
        for day in range(start // DAY, (min(end, context.clock.now_ms() + 1) - 1) // DAY + 1):
            for row, time in _DAILY[dataset](BikeDay(feed, customer, bike, day)):
                if start <= time < end:
                    yield row


def _position_rows(at: BikeDay) -> Iterator[tuple[Row, int]]:
    for position in at.positions():
        free = position.attributes
        yield (
            {
                "position_id": position.id,
                "device_id": position.device_id,
                "event_time": from_ms(position.fix_ms),
                "device_time": from_ms(position.device_ms),
                "received_time": from_ms(position.server_ms),
                "protocol": position.protocol,
                "is_outdated": position.outdated,
                "is_valid": position.valid,
                "latitude_deg": position.latitude,
                "longitude_deg": position.longitude,
                "altitude_m": position.altitude,
                "speed_kn": position.speed,
                "speed_kmh": position.speed * KMH_PER_KNOT,
                "heading_deg": position.course,
                "h_accuracy_m": position.accuracy,
                "address": position.address,
                "distance_m": free.get("distance"),
                "odometer_m": free.get("totalDistance"),
                "engine_run_time_ms": free.get("hours"),
                "engine_run_time_s": _seconds(free.get("hours")),
                "is_motion": free.get("motion"),
                "is_ignition_on": free.get("ignition"),
                "battery_level_pct": free.get("batteryLevel"),
                "alarm": free.get("alarm"),
                "driver_unique_id": free.get("driverUniqueId"),
                "geofence_ids": position.geofence_ids,
                "network": position.network,
                "attributes": free,
            },
            position.fix_ms,
        )


def _event_rows(at: BikeDay) -> Iterator[tuple[Row, int]]:
    for event in at.feed.events(at.bike, at.day * DAY, (at.day + 1) * DAY - 1):
        yield _event(event), event.time_ms


def _event(event: Event) -> Row:
    return {
        "event_id": event.id,
        "device_id": event.device_id,
        "event_type": event.type,
        "event_time": from_ms(event.time_ms),
        "position_id": event.position_id,
        "geofence_id": event.geofence_id,
        "maintenance_id": event.maintenance_id,
        "alarm": event.attributes.get("alarm"),
        "driver_unique_id": event.attributes.get("driverUniqueId"),
        "attributes": event.attributes,
    }


def _device(device: Mapping[str, Any]) -> Row:
    return {
        "device_id": device["id"],
        "unique_id": device["uniqueId"],
        "name": device["name"],
        "group_id": device["groupId"],
        "calendar_id": device["calendarId"],
        "status": device["status"],
        "last_update_time": None if device["lastUpdate"] is None else from_ms(device["lastUpdate"]),
        "position_id": device["positionId"],
        "phone": device["phone"],
        "model": device["model"],
        "contact": device["contact"],
        "category": device["category"],
        "is_disabled": device["disabled"],
        "expiration_time": device["expirationTime"],
        "attributes": device["attributes"],
    }


Run = list[Position]


@dataclass
class Phase:
    """A stretch of moving or of standing that counts, with shorter runs of the other kind inside it."""

    moving: bool
    runs: list[Run]


def _phases(positions: list[Position], limits: Thresholds) -> list[Phase]:
    """Phases of a day, moving and standing in turn."""
    silent = {
        position.id
        for pair in pairwise(positions)
        if pair[1].fix_ms - pair[0].fix_ms >= limits.no_data_s * SECOND
        for position in pair
    }
    phases: list[Phase] = []
    for moving, members in groupby(positions, key=lambda position: position.motion and position.id not in silent):
        run = list(members)
        if phases and (phases[-1].moving == moving or not _counts(run, moving, limits)):
            phases[-1].runs.append(run)
        else:
            phases.append(Phase(moving, [run]))
    return phases


def _counts(run: Run, moving: bool, limits: Thresholds) -> bool:
    seconds = (run[-1].fix_ms - run[0].fix_ms) / SECOND
    if moving:
        metres = run[-1].total_distance - run[0].total_distance
        return len(run) > 1 and (seconds >= limits.min_trip_s or metres >= limits.min_trip_m)
    return seconds >= limits.min_parking_s


def _spans(at: BikeDay, *, trips: bool) -> Iterator[tuple[Position, Position, float]]:
    """First position, last position and highest speed (knots) of each trip, or of each stop."""
    limits = at.customer.assumptions.thresholds
    phases = _phases(at.positions(), limits)
    for phase, following in zip_longest(phases, phases[1:]):
        if phase.moving != trips:
            continue
        start = phase.runs[0][0]
        if following is not None:
            end = following.runs[0][0]
        else:
            # Still open: it lasts to the end of the day, or to where a change began that is too young to count.
            settled = len(phase.runs) % 2 == 1
            end = phase.runs[-1][-1] if settled else phase.runs[-1][0]
        if end is not start:
            yield start, end, _top_speed(phase, following, limits)


def _top_speed(phase: Phase, following: Phase | None, limits: Thresholds) -> float:
    # The vendor passes over the first position after each change, and looks until it is sure that the trip is over.
    seen = [*phase.runs[0], *(position for run in phase.runs[1:] for position in run[1:])]
    if following is not None:
        over = following.runs[0]
        sure = over[0].fix_ms + limits.min_parking_s * SECOND
        seen += [now for before, now in pairwise(over) if before.fix_ms < sure]
    return max(position.speed for position in seen)


def _trip_rows(at: BikeDay) -> Iterator[tuple[Row, int]]:
    for start, end, top in _spans(at, trips=True):
        distance = end.total_distance - start.total_distance
        driver = start.attributes.get("driverUniqueId") or end.attributes.get("driverUniqueId")
        yield (
            {
                "device_id": at.bike.id,
                "start_time": from_ms(start.fix_ms),
                "end_time": from_ms(end.fix_ms),
                "device_name": at.bike.name,
                **_duration(start, end),
                "distance_m": distance,
                **_speed("average_speed", _average(distance, start, end)),
                **_speed("max_speed", top),
                "fuel_used_l": 0.0,
                "start_odometer_m": start.total_distance,
                "end_odometer_m": end.total_distance,
                "start_position_id": start.id,
                "end_position_id": end.id,
                "start_latitude_deg": start.latitude,
                "start_longitude_deg": start.longitude,
                "end_latitude_deg": end.latitude,
                "end_longitude_deg": end.longitude,
                "start_address": None,
                "end_address": None,
                "driver_unique_id": driver,
                "driver_name": at.customer.driver_name(driver) if driver else None,
            },
            start.fix_ms,
        )


def _stop_rows(at: BikeDay) -> Iterator[tuple[Row, int]]:
    for start, end, _ in _spans(at, trips=False):
        yield (
            {
                "device_id": at.bike.id,
                "start_time": from_ms(start.fix_ms),
                "end_time": from_ms(end.fix_ms),
                "device_name": at.bike.name,
                **_duration(start, end),
                "distance_m": 0.0,
                "fuel_used_l": 0.0,
                "start_odometer_m": start.total_distance,
                "end_odometer_m": end.total_distance,
                "position_id": start.id,
                "latitude_deg": start.latitude,
                "longitude_deg": start.longitude,
                "address": None,
                **_engine(at.bike, start, end),
            },
            start.fix_ms,
        )


def _summary_rows(at: BikeDay) -> Iterator[tuple[Row, int]]:
    positions = at.positions()
    if not positions:
        return
    start, end = positions[0], positions[-1]
    distance = end.total_distance - start.total_distance
    yield (
        {
            "device_id": at.bike.id,
            "summary_day": dt.date(1970, 1, 1) + dt.timedelta(days=at.day),
            "start_time": from_ms(start.fix_ms),
            "end_time": from_ms(end.fix_ms),
            "device_name": at.bike.name,
            "distance_m": distance,
            **_speed("average_speed", _average(distance, start, end)),
            **_speed("max_speed", max(position.speed for position in positions)),
            "fuel_used_l": 0.0,
            "start_odometer_m": start.total_distance,
            "end_odometer_m": end.total_distance,
            **_engine(at.bike, start, end),
        },
        start.fix_ms,
    )


def _average(distance: float, start: Position, end: Position) -> float:
    milliseconds = end.fix_ms - start.fix_ms
    return distance / (milliseconds / 1000) * KNOTS_PER_MPS if milliseconds else 0.0


def _speed(name: str, knots: float) -> Row:
    return {f"{name}_kn": knots, f"{name}_kmh": knots * KMH_PER_KNOT}


def _duration(start: Position, end: Position) -> Row:
    milliseconds = end.fix_ms - start.fix_ms
    return {"duration_ms": milliseconds, "duration_s": _seconds(milliseconds)}


def _engine(bike: Bike, start: Position, end: Position) -> Row:
    used = end.attributes["hours"] - start.attributes["hours"] if bike.has_ignition else 0
    return {"engine_run_time_ms": used, "engine_run_time_s": _seconds(used)}


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


_DAILY: Mapping[str, Callable[[BikeDay], Iterator[tuple[Row, int]]]] = {
    "position": _position_rows,
    "event": _event_rows,
    "trip": _trip_rows,
    "stop": _stop_rows,
    "summary": _summary_rows,
}
DATASETS = ("device", *_DAILY)
