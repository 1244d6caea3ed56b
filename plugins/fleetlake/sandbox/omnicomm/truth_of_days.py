"""The true totals of days: counted second by second along the rides, in litres and metres."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fleetlake.sandbox.omnicomm import reports
from fleetlake.sandbox.omnicomm.driving import MOVING_KMH, SPEED_LIMIT_KMH, Stretch, cool_down, warm_up
from fleetlake.sandbox.omnicomm.model import Model
from fleetlake.sandbox.omnicomm.park import Truck
from fleetlake.sandbox.omnicomm.totals import FuelTotals, recalculated_until
from fleetlake.sandbox.world import DAY_S, Ride, moment

Row = dict[str, Any]


@dataclass(frozen=True)
class _Day:
    known_s: int
    distance_m: int
    speeding_m: int
    max_speed_kmh: float
    moving_s: int
    worked_s: int
    idling_s: int
    normal_s: int
    excess_s: int
    start_m: int
    end_m: int
    fuel: FuelTotals | None


def statistics(model: Model, trucks: Iterable[Truck], days: range, now_ms: int) -> Iterator[Row]:
    """A row per truck and day, also of trucks without data."""
    for truck in trucks:
        for number in days:
            day = _day(model, truck, number, now_ms)
            yield {
                "terminal_id": truck.terminal_id,
                "interval_start": moment(number * DAY_S),
                "interval_end": moment((number + 1) * DAY_S),
                "vehicle_name": truck.name,
                **(_seconds(day) if day else _NOTHING),
                "under_load_time_s": None,
                **_shares(day),
                **_statistics_fuel(truck, day),
                "extra": None,
            }


def consolidated(model: Model, trucks: Iterable[Truck], days: range, now_ms: int) -> Iterator[Row]:
    """A row per truck and day with data."""
    for truck in trucks:
        for number in days:
            if day := _day(model, truck, number, now_ms):
                inputs: list[Row] = []
                if truck.index % 2 == 0:
                    inputs = [
                        {
                            "univInputNumber": 1,
                            "uniType": 0,
                            "uniName": "Lift",
                            "univInputOnTime": (day.worked_s - day.moving_s) // 10,
                            "univInputOnConsumption": 0,
                            "univInputHourConsumption": 0,
                            "univInputMaxValue": 0,
                        }
                    ]
                yield {
                    "terminal_id": truck.terminal_id,
                    "report_day": moment(number * DAY_S).date(),
                    "report_time": moment(number * DAY_S),
                    **_seconds(day),
                    "under_load_time_s": day.normal_s,
                    "odometer_start_m": day.start_m,
                    "odometer_end_m": day.end_m,
                    **_consolidated_fuel(truck, day),
                    "additional_fuel_start_l": None,
                    "can_distance": None,
                    "can_fuel_used": None,
                    "can_total_distance_m": day.end_m if truck.index % 3 == 0 else None,
                    "universal_inputs": inputs,
                    "extra": {"canmt": {}},
                }


# --- counting -----------------------------------------------------------------------------------------------------------


def _day(model: Model, truck: Truck, number: int, now_ms: int) -> _Day | None:
    start, end = number * DAY_S, (number + 1) * DAY_S
    until = min(end, now_ms // 1000 - 10)
    late = truck.vehicle.late(number)
    hole = range(late.start, late.end) if late and (late.received + 60) * 1000 > now_ms else range(0)
    pieces = [(a, b) for a, b in ((start, min(until, hole.start or until)), (max(start, hole.stop), until)) if a < b]
    if not hole:
        pieces = [(start, until)] if start < until else []
    if not pieces or not truck.is_receiving:
        return None
    first, last = pieces[0][0], pieces[-1][1]
    rides = list(truck.vehicle.under_way(first - 300, last + 300))
    distance = sum(_metres(ride, first, last) for ride in rides)
    if number < recalculated_until(model.park):
        distance = distance * 102 // 100
    moving = sum(1 for _, _ in _faster(rides, MOVING_KMH, pieces))
    worked = sum(
        max(0, min(ride.end + cool_down(truck, ride), b) - max(ride.start - warm_up(truck, ride), a))
        for ride in rides
        for a, b in pieces
    )
    excess = moving // 200 if truck.has_rpm else 0
    idling = worked - moving if truck.has_rpm else 0
    start_m = truck.vehicle.odometer_m(number)
    before = truck.vehicle.rides(number - 1)[-1:]
    if before and before[0].end > start:  # it runs over midnight
        start_m -= before[0].distance_m - round(before[0].driven(start)[0])
    start_m += sum(_metres(ride, start, first) for ride in truck.vehicle.under_way(start, first))
    points = model.track.points(truck, start, end, now_ms)
    return _Day(
        known_s=sum(b - a for a, b in pieces),
        distance_m=distance,
        speeding_m=sum(_stretches_m(rides, SPEED_LIMIT_KMH, pieces)),
        max_speed_kmh=max((point.speed_kmh for point in points), default=0.0),
        moving_s=moving,
        worked_s=worked,
        idling_s=idling,
        normal_s=worked - idling - excess if truck.has_rpm else 0,
        excess_s=excess,
        start_m=start_m,
        end_m=start_m + sum(_metres(ride, first, last) for ride in rides),
        fuel=model.reckoning.fuel(truck, first, last),
    )


def _metres(ride: Ride, start: int, end: int) -> int:
    return round(ride.driven(end)[0]) - round(ride.driven(start)[0])


def _faster(rides: Iterable[Ride], speed_kmh: float, pieces: Iterable[Stretch]) -> Iterator[tuple[Ride, int]]:
    """Every second under way at which it goes faster, one by one."""
    for ride in rides:
        for start, end in pieces:
            for second in range(max(ride.start, start), min(ride.end, end)):
                if ride.driven(second)[1] * 3.6 > speed_kmh:
                    yield ride, second


def _stretches_m(rides: Iterable[Ride], speed_kmh: float, pieces: Iterable[Stretch]) -> Iterator[int]:
    """Whole metres of every run of such seconds."""
    run: tuple[Ride, int, int] | None = None
    for ride, second in _faster(rides, speed_kmh, pieces):
        if run and run[0] is ride and run[2] == second:
            run = (ride, run[1], second + 1)
            continue
        if run:
            yield _metres(*run)
        run = (ride, second, second + 1)
    if run:
        yield _metres(*run)


# --- columns ------------------------------------------------------------------------------------------------------------


_NOTHING: Row = {
    "distance_m": 0,
    "speeding_distance_m": 0,
    "max_speed_kmh": 0,
    "moving_time_s": 0,
    "engine_run_time_s": 0,
    "engine_moving_time_s": 0,
    "idle_time_s": 0,
    "engine_off_time_s": None,
    "idling_rpm_time_s": 0,
    "normal_rpm_time_s": 0,
    "excess_rpm_time_s": 0,
    "service_counter": None,
}


def _seconds(day: _Day) -> Row:
    return {
        "distance_m": day.distance_m,
        "speeding_distance_m": day.speeding_m,
        "max_speed_kmh": day.max_speed_kmh,
        "moving_time_s": day.moving_s,
        "engine_run_time_s": day.worked_s,
        "engine_moving_time_s": day.moving_s,
        "idle_time_s": day.worked_s - day.moving_s,
        "engine_off_time_s": day.known_s - day.worked_s,
        "idling_rpm_time_s": day.idling_s,
        "normal_rpm_time_s": day.normal_s,
        "excess_rpm_time_s": day.excess_s,
        "service_counter": None,
    }


def _shares(day: _Day | None) -> Row:
    if day is None:
        zero = dict.fromkeys(("moving_pct", "engine_moving_pct", "idle_pct"), 0)
        return zero | dict.fromkeys(
            ("engine_run_pct", "engine_off_pct", "idling_rpm_pct", "normal_rpm_pct", "excess_rpm_pct")
        )
    rpm = day.worked_s if day.idling_s + day.normal_s + day.excess_s else 0
    return {
        "moving_pct": reports.share(day.moving_s, DAY_S),
        "engine_run_pct": None,  # no answer was seen with it
        "engine_moving_pct": reports.share(day.moving_s, DAY_S),
        "idle_pct": reports.share(day.worked_s - day.moving_s, DAY_S),
        "engine_off_pct": reports.share(day.known_s - day.worked_s, DAY_S),
        "idling_rpm_pct": reports.share(day.idling_s, rpm),
        "normal_rpm_pct": reports.share(day.normal_s, rpm),
        "excess_rpm_pct": reports.share(day.excess_s, rpm),
    }


_ALWAYS = (
    "fuel_start_l",
    "fuel_end_l",
    "fuel_min_l",
    "fuel_max_l",
    "fuel_used_l",
    "fuel_used_moving_l",
    "fuel_used_standing_l",
)
_RATES = (
    "fuel_rate_l_per_100km",
    "fuel_rate_moving_l_per_100km",
    "fuel_rate_engine_on_l_per_h",
    "fuel_rate_standing_l_per_h",
)
_POURED = ("fuel_refuelled_l", "fuel_drained_l", "fuel_deviation_l")
_STATISTICS_ONLY = (
    "fuel_used_engine_on_l",
    "fuel_used_idle_l",
    "fuel_used_moving_idling_rpm_l",
    "fuel_used_standing_idling_rpm_l",
    "fuel_rate_l_per_h",
    "fuel_rate_moving_l_per_h",
    "co2_kg",
)
_NORMS = (
    "fuel_filled_l",
    "fuel_delivered_l",
    "norm_fuel_rate_l_per_100km",
    "norm_fuel_rate_l_per_h",
    "duty_fuel_rate_l_per_100km",
    "duty_fuel_rate_l_per_h",
    "fuel_rate_deviation_pct",
    "fuel_used_deviation_pct",
)


def _common_fuel(truck: Truck, day: _Day, fuel: FuelTotals) -> Row:
    km, idle_s = day.distance_m / 1000, day.worked_s - day.moving_s
    return {
        "fuel_start_l": fuel.start / 10,
        "fuel_end_l": fuel.end / 10,
        "fuel_min_l": fuel.lowest / 10,
        "fuel_max_l": fuel.highest / 10,
        "fuel_used_l": (fuel.start + fuel.refuelled - fuel.drained - fuel.end) / 10,
        "fuel_used_moving_l": fuel.moving / 10,
        "fuel_used_standing_l": (fuel.used - fuel.moving) / 10,
        "fuel_refuelled_l": fuel.refuelled / 10,
        "fuel_drained_l": fuel.drained / 10,
        "fuel_deviation_l": 0 if truck.index % 6 == 5 else fuel.used / 10,
        "fuel_rate_l_per_100km": _tenth(reports.rate(fuel.used, km, 100)),
        "fuel_rate_moving_l_per_100km": _tenth(reports.rate(fuel.moving, km, 100)),
        "fuel_rate_engine_on_l_per_h": _tenth(reports.rate(fuel.moving + fuel.idle, day.worked_s / 3600)),
        "fuel_rate_standing_l_per_h": _tenth(reports.rate(fuel.idle, idle_s / 3600)),
    }


def _statistics_fuel(truck: Truck, day: _Day | None) -> Row:
    if day is None or day.fuel is None:
        names = (*_ALWAYS, *_RATES, *_POURED, *_STATISTICS_ONLY, *_NORMS, "fuel_used_idling_rpm_l")
        return dict.fromkeys(names)
    fuel = day.fuel
    return {
        **_common_fuel(truck, day, fuel),
        "fuel_used_engine_on_l": (fuel.moving + fuel.idle) / 10,
        "fuel_used_idle_l": fuel.idle / 10,
        "fuel_used_moving_idling_rpm_l": fuel.moving_idle / 10,
        "fuel_used_standing_idling_rpm_l": fuel.idle / 10,
        "fuel_used_idling_rpm_l": (fuel.moving_idle + fuel.idle) / 10,
        "fuel_rate_l_per_h": _tenth(reports.rate(fuel.used, day.worked_s / 3600)),
        "fuel_rate_moving_l_per_h": _tenth(reports.rate(fuel.moving, day.moving_s / 3600)),
        "co2_kg": round(fuel.used / 10 * 2.64, 6),
        **dict.fromkeys(_NORMS, 0),
        **dict.fromkeys(("norm_fuel_rate_l_per_h", "fuel_rate_deviation_pct", "fuel_used_deviation_pct")),
    }


def _consolidated_fuel(truck: Truck, day: _Day) -> Row:
    rest = dict.fromkeys(_STATISTICS_ONLY) | dict.fromkeys(_NORMS, 0)
    rest |= dict.fromkeys(("fuel_filled_l", "duty_fuel_rate_l_per_h"))
    if day.fuel is None:
        return dict.fromkeys((*_ALWAYS, *_RATES)) | dict.fromkeys(_POURED, 0) | rest
    found = _common_fuel(truck, day, day.fuel)
    return found | {name: found[name] or 0 for name in _RATES} | rest


def _tenth(value: float | None) -> float | None:
    return None if value is None else value / 10
