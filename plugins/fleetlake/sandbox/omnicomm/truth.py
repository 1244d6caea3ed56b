"""What is true at Omnicomm, in the words of the contracts. Times are counted second by second here, not by the reports."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

from fleetlake.sandbox.omnicomm import profiles
from fleetlake.sandbox.omnicomm.events import PARKING, SPEEDING, SPEEDING_IN_ZONE, STOP, Event
from fleetlake.sandbox.omnicomm.handlers import raw_level_dl
from fleetlake.sandbox.omnicomm.journal import tank_levels
from fleetlake.sandbox.omnicomm.model import Model
from fleetlake.sandbox.omnicomm.park import Group, Truck
from fleetlake.sandbox.omnicomm.truth_of_days import consolidated, statistics
from fleetlake.sandbox.omnicomm.unverified import LISTS
from fleetlake.sandbox.omnicomm.zones import Zone
from fleetlake.sandbox.world import DAY_S, moment
from fleetlake.window import Window

Row = dict[str, Any]
_EVENT_TYPES = {
    STOP: "stop_over_threshold",
    PARKING: "parking_over_threshold",
    SPEEDING: "speeding",
    SPEEDING_IN_ZONE: "speeding_in_geofence",
}
_EVENT_PARTS: Mapping[int, tuple[str, ...]] = {
    STOP: ("threshold_s", "duration_s"),
    PARKING: ("threshold_s", "duration_s"),
    SPEEDING: ("allowed_speed_kmh", "average_speed_kmh", "duration_s"),
    SPEEDING_IN_ZONE: ("allowed_speed_kmh", "", "average_speed_kmh", "duration_s"),
}
_PROFILE_BLOCKS = {
    "terminal": "terminal",
    "movement": "movement",
    "engine": "engine",
    "additional_tank": "additionalTank",
    "delivery_sensors": "deliverySensors",
    "universal_inputs": "univInputs",
    "calibration_tables": "calibrationTables",
    "safe_driving": "safeDriving",
    "card_reader": "reader",
    "iq_freeze": "iqFreeze",
}


class Truth:
    """Rows of one customer, as far as the vendor knows them now.

    Args:
        model: the room.
        customer: whose.
        window: on the dataset's time column; ``None`` = everything until now.
    """

    def __init__(self, model: Model, customer: str, window: Window | None) -> None:
        self._model = model
        self._customer = customer
        self._now_ms = model.clock.now_ms()
        first = model.park.context.world.first_day * DAY_S
        last = self._now_ms // 1000 + 1
        # Data have no fractions of seconds, so rounding up keeps [start, end).
        self._start = first if window is None else max(-int(-window.start.timestamp() // 1), first)
        self._end = last if window is None else min(-int(-window.end.timestamp() // 1), last)

    def rows(self, dataset: str) -> Iterator[Row]:
        """Rows of a dataset."""
        if dataset in LISTS:
            return self._unverified(dataset)
        return self.makers()[dataset]()

    def makers(self) -> Mapping[str, Callable[[], Iterator[Row]]]:
        """How the rows of each dataset are made."""
        return {
            "vehicle": self._vehicles,
            "vehicle_group": self._groups,
            "vehicle_profile": self._profiles,
            "vehicle_state": self._states,
            "statistics": lambda: statistics(self._model, self._readable(), self._days(), self._now_ms),
            "consolidated_report": lambda: consolidated(self._model, self._readable(), self._days(), self._now_ms),
            "track_point": self._track,
            "event": self._events,
            "fuel_level": self._fuel_levels,
            "geofence_visit": self._visits,
            "geofence": self._geofences,
            "journal": self._journal,
            "journal_parameter": self._journal_parameters,
        }

    def _readable(self) -> list[Truck]:
        return self._model.park.readable(self._customer)

    def _days(self) -> range:
        """Days that begin in the window."""
        return range(-(-self._start // DAY_S), -(-self._end // DAY_S))

    # The fleet

    def _vehicles(self) -> Iterator[Row]:
        groups = list(self._model.park.tree(self._customer).walk())
        for truck in self._model.park.trucks(self._customer):
            holding = [group for group in groups if truck in (group.objects or ())]
            yield {
                "terminal_id": truck.terminal_id,
                "vehicle_uuid": truck.uuid,
                "name": truck.name,
                "terminal_type": truck.terminal_type,
                "is_receiving_data": truck.is_receiving,
                "group_ids": [group.id for group in holding],
                "group_names": [group.name for group in holding],
                "extra": None,
            }

    def _groups(self) -> Iterator[Row]:
        todo: list[Group] = [self._model.park.tree(self._customer)]
        while todo:
            group = todo.pop()
            todo += group.children or ()
            yield {
                "group_id": group.id,
                "parent_group_id": group.parent_id,
                "name": group.name,
                "autocheck_id": group.id,
                "vehicles_count": len(group.objects or ()),
                "extra": None,
            }

    def _profiles(self) -> Iterator[Row]:
        for truck in self._readable():
            whole = self._model.profiles.profile(truck)
            tank, rpm = profiles.main_tank(truck), truck.has_rpm
            yield {
                "terminal_id": truck.terminal_id,
                "vehicle_uuid": truck.uuid,
                "terminal_type": truck.terminal_type,
                "registrator_type": "Profi 2.0",
                "manufacture_id": f"M{truck.terminal_id}",
                "name": truck.name,
                "vin": truck.vin,
                "registration_plate": truck.plate,
                "brand": truck.brand,
                "model": truck.model,
                "model_year": truck.year,
                "garage_number": truck.garage_number,
                "function": "Delivery",
                "color": truck.colour,
                "engine_number": "",
                **dict.fromkeys(("chassis_number", "engine_manufacturer", "engine_model", "engine_power")),
                **dict.fromkeys(("registration_certificate", "vehicle_passport", "lease_agreement_number", "comment")),
                "categories": "C",
                "parking_threshold_s": 300,
                "stop_threshold_s": 60,
                "mileage_coefficient": 1,
                "idling_engine_speed": 800 if rpm else None,
                "critical_engine_speed": 2400 if rpm else None,
                "speed_limit": 80,
                "maximum_speed": 90,
                "tank_type": "Main",
                "refuel_threshold": 20,
                "drain_threshold": 10,
                "norm_fuel_per_distance": truck.litres_per_100km,
                "norm_fuel_per_engine_hour": truck.idle_litres_per_h,
                **{column: whole[block] for column, block in _PROFILE_BLOCKS.items()},
                "main_tank": tank,
                # Of a block that is a list the columns show the first item; the list is kept beside it.
                "extra": {"_all_mainTank": [tank]} if profiles.has_list(truck) else None,
            }

    def _states(self) -> Iterator[Row]:
        for truck in self._readable():
            points = list(self._model.track.points(truck, self._now_ms // 1000 - 4 * DAY_S, self._end, self._now_ms))
            last = points[-1] if points else None
            fix = next((point for point in reversed(points) if point.is_valid), last)
            is_on = last is not None and self._model.driving.is_engine_on(truck, last.time)
            is_dead = last is None or self._model.fuel.is_dead(truck, last.time // DAY_S)
            told = last is not None and truck.index % 4 != 3
            row: Row = {
                "terminal_id": truck.terminal_id,
                "last_data_time": moment(last.time) if last else None,
                "latitude_deg": fix.latitude if fix else None,
                "longitude_deg": fix.longitude if fix else None,
                "heading_deg": fix.direction if fix else None,
                "satellites": fix.satellites if fix else None,
                "speed_kmh": last.speed_kmh if last else None,
                "fuel_level_l": None if is_dead or last is None else self._model.fuel.level_dl(truck, last.time) / 10,
                "is_ignition_on": is_on if last else None,
                "battery_v": (27.6 if is_on else 24.9) if last else None,
                "is_speeding": last.speed_kmh > 80 if last else None,
                "status": last is not None,
                "address": self._model.profiles.state(truck, self._now_ms)["address"],
                "check_voltage": 0 if told else None,
                "input_values": [0, int(is_on)] if told else None,
                "extra": None,
            }
            yield row

    # Streams

    def _track(self) -> Iterator[Row]:
        for truck in self._readable():
            for point in self._model.track.points(truck, self._start, self._end, self._now_ms):
                yield {
                    "terminal_id": truck.terminal_id,
                    "event_time": moment(point.time),
                    "latitude_deg": point.latitude,
                    "longitude_deg": point.longitude,
                    "speed_kmh": point.speed_kmh,
                    "heading_deg": point.direction,
                    "satellites": point.satellites,
                    "is_valid": point.satellites >= 4 and point.speed_kmh <= 250,
                }

    def _events(self) -> Iterator[Row]:
        for truck in self._readable():
            seen: Counter[tuple[int, int]] = Counter()
            for event in self._model.events.between(truck, self._start, self._end, self._now_ms):
                yield {**self._event(truck, event), "occurrence": seen[event.time, event.kind]}
                seen[event.time, event.kind] += 1

    def _event(self, truck: Truck, event: Event) -> Row:
        told = event.as_json()
        parts = dict(zip(_EVENT_PARTS.get(event.kind, ()), event.parameters, strict=False))
        names = ("threshold_s", "duration_s", "allowed_speed_kmh", "average_speed_kmh")
        return {
            "terminal_id": truck.terminal_id,
            "event_time": moment(event.time),
            "type_code": event.kind,
            "event_type": _EVENT_TYPES.get(event.kind, f"type_{event.kind}"),
            "latitude_deg": event.latitude,
            "longitude_deg": event.longitude,
            "address": told["eventAddress"],
            "parameters": [str(value) for value in event.parameters],
            **{name: parts.get(name) for name in names},
            "extra": None,
        }

    def _fuel_levels(self) -> Iterator[Row]:
        for truck in self._readable():
            for point in self._model.track.points(truck, self._start, self._end, self._now_ms):
                if self._model.fuel.is_dead(truck, point.time // DAY_S):
                    continue
                for number, level in enumerate(tank_levels(truck, self._model.fuel.level_dl(truck, point.time))):
                    yield {
                        "terminal_id": truck.terminal_id,
                        "tank": number + 1,
                        "event_time": moment(point.time),
                        "fuel_level_raw_l": raw_level_dl(truck, number, point.time, level) / 10,
                        "fuel_level_l": level / 10,
                    }

    # Geofences

    def _geofences(self) -> Iterator[Row]:
        for zone in self._model.zones.of(self._customer):
            yield {
                "geofence_id": zone.id,
                "geofence_uuid": zone.uuid,
                "name": zone.name,
                "geometry_type": zone.kind,
                "allowed_speed_kmh": zone.limit_kmh if zone.has_limit else None,
                "line_width_m": zone.line_width_m,
                "radius_m": None,
                "points": zone.as_json()["points"],
                "points_count": len(zone.points),
                "color": zone.color,
                "transparency_pct": 50,
                "extra": None,
            }

    def _visits(self) -> Iterator[Row]:
        """Zone by zone: runs of valid points inside, and of those inside none."""
        boxes = [zone for zone in self._model.zones.of(self._customer) if zone.kind == "Polygon"]
        least = self._model.park.assumptions.visit_least_s
        for truck in self._readable():
            every = self._model.track.points(truck, self._start - DAY_S, self._end + 10 * DAY_S, self._now_ms)
            points = [point for point in every if point.is_valid]
            near = [zone for zone in boxes if any(zone.holds(point.latitude, point.longitude) for point in points)]
            inside = {zone: [zone.holds(point.latitude, point.longitude) for point in points] for zone in near}
            nowhere = [not any(flags) for flags in zip(*inside.values(), strict=True)] if near else [True] * len(points)
            lists: list[tuple[Zone | None, list[bool]]] = [*inside.items(), (None, nowhere)]
            for zone, flags in lists:
                for is_in, run in groupby(range(len(points)), flags.__getitem__):
                    numbers = list(run)
                    start = points[numbers[0]].time
                    end = points[min(numbers[-1] + 1, len(points) - 1)].time
                    if is_in and self._start <= start < self._end and end - start >= least:
                        visit = self._model.visits.visit(truck, zone, [points[number] for number in numbers], end)
                        yield {
                            "terminal_id": truck.terminal_id,
                            "geofence_key": str(zone.id) if zone else "-",
                            "start_time": moment(start),
                            "end_time": moment(end),
                            "geofence_id": zone.id if zone else None,
                            "geofence_name": zone.name if zone else None,
                            "vehicle_name": truck.name,
                            "duration_s": end - start,
                            "distance_m": visit.distance_m,
                            "max_speed_kmh": visit.max_speed_kmh,
                            "speeding_distance_m": visit.speeding_m,
                            "fuel_used_l": None if visit.fuel_dl is None else visit.fuel_dl / 10,
                            "extra": None,
                        }

    # Journal

    def _journal(self) -> Iterator[Row]:
        for truck in self._readable():
            seen: Counter[int] = Counter()
            for packet in self._model.journal.packets(truck, self._start, self._end, self._now_ms):
                point = packet.point
                yield {
                    "terminal_id": truck.terminal_id,
                    "event_time": moment(point.time),
                    "occurrence": seen[point.time],
                    "latitude_deg": point.latitude,
                    "longitude_deg": point.longitude,
                    "satellites": packet.satellites,
                    "battery_v": None if packet.supply_dv is None else packet.supply_dv / 10,
                    "is_ignition_on": packet.is_ignition_on,
                    "is_external_supply_broken": False,
                    "is_gps_jamming": point.satellites == 0 and point.time % 7 == 0,
                    "is_gsm_jamming": False,
                    "driver_code": "",
                    "level_sensor_codes": list(packet.codes),
                    "extra": {"LLS_ID": list(range(1, 7)), **packet.rest()},
                }
                seen[point.time] += 1

    def _journal_parameters(self) -> Iterator[Row]:
        for truck in self._readable():
            for item in self._model.journal.parameters(truck, self._start, self._end, self._now_ms):
                pairs = list(item.pairs.items())
                yield {
                    "terminal_id": truck.terminal_id,
                    "source": "exCanData",
                    "event_time": moment(item.time),
                    "occurrence": 0,
                    "parameters": dict(pairs if item.kept is None else pairs[: item.kept]),
                    "is_truncated": item.kept is not None,
                    "extra": None,
                }

    # Unverified

    def _unverified(self, dataset: str) -> Iterator[Row]:
        if not self._model.park.assumptions.unverified:
            return
        named = {"account_user": ("login",), "driver": ("name",)}.get(dataset, ())
        for item in LISTS[dataset](self._model.park.trucks(self._customer)):
            rest = {name: value for name, value in item.items() if name not in named}
            key = next(item[name] for name in ("id", "login", "terminalId") if name in item)
            yield {
                "item_key": str(key),
                **{name: item[name] for name in named},
                "extra": json.loads(json.dumps(rest)) or None,
            }


DATASETS = (
    "vehicle",
    "vehicle_group",
    "vehicle_profile",
    "vehicle_state",
    "statistics",
    "consolidated_report",
    "track_point",
    "event",
    "fuel_level",
    "geofence_visit",
    "geofence",
    "journal",
    "journal_parameter",
    *LISTS,
)
"""As the contracts name them."""
