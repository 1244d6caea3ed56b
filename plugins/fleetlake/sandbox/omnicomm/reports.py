"""The two reports of totals, each in its own shape: ``statistics`` and ``consolidatedReport``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fleetlake.sandbox.omnicomm.park import Truck
from fleetlake.sandbox.omnicomm.totals import CO2_KG_PER_DL, FuelTotals, Totals

Json = dict[str, Any]


def plain(value: float) -> int | float:
    """A number as the vendor writes it: without decimals when it is whole."""
    return int(value) if float(value).is_integer() else value


def share(part: float, whole: float) -> int | float | None:
    """Per cent, two decimals; ``None`` of nothing."""
    return plain(round(part / whole * 100, 2)) if whole else None


def rate(part: float, whole: float, factor: float = 1.0) -> int | float | None:
    """``part / whole * factor``, one decimal; ``None`` of nothing."""
    return plain(round(part / whole * factor, 1)) if whole else None


# --- statistics: one row per vehicle ------------------------------------------------------------------------------------


def statistics(rows: Sequence[tuple[Truck, Totals | None]], length_s: int, groups: Collection[str]) -> Json:
    """The ``data`` of an answer: totals and ``vehicleDataList``, only the groups asked for."""
    known = [totals for _, totals in rows if totals]
    data: Json = {}
    if "mw" in groups:
        data["totalMw"] = _total_mw(known, len(rows), length_s)
    if "fuel" in groups:
        data["totalFuel"] = _total_fuel(known, len(rows))
    data["vehicleDataList"] = [_vehicle(truck, totals, groups) for truck, totals in rows]
    return data


def _vehicle(truck: Truck, totals: Totals | None, groups: Collection[str]) -> Json:
    makers: Mapping[str, Any] = {
        "mw": lambda: _mw(totals),
        "fuel": lambda: _fuel(truck, totals),
        "mnt": dict,
        "ae": lambda: {"uniDataList": [{"univInputMaxValue": None}]},
        "can": dict,
        "ccan": lambda: {"spn245": _spn245(truck, totals)},
    }
    return {
        "vehicleID": truck.terminal_id,
        "name": truck.name,
        **{name: make() for name, make in makers.items() if name in groups},
    }


def _mw(totals: Totals | None) -> Json:
    if totals is None:
        zero = "mileage mileageSpeeding maxSpeed movement movementPercent worked workedOnMovement "
        zero += "workedOnMovementPercent workedNoMovement workedNoMovementPercent idlingRPM normalRPM excessRPM"
        null = "idlingRPMPercent normalRPMPercent excessRPMPercent layUp layUpPercent motoHoursServiceCounter"
        return dict.fromkeys(zero.split(), 0) | dict.fromkeys(null.split())
    rpm = totals.idling_rpm_s + totals.normal_rpm_s + totals.excess_rpm_s and totals.worked_s
    return {
        "mileage": plain(totals.distance_m / 1000),
        "mileageSpeeding": plain(totals.speeding_m / 1000),
        "maxSpeed": plain(totals.max_speed_kmh),
        "movement": totals.moving_s,
        "movementPercent": share(totals.moving_s, totals.length_s),
        "worked": totals.worked_s,
        "workedOnMovement": totals.moving_s,
        "workedOnMovementPercent": share(totals.moving_s, totals.length_s),
        "workedNoMovement": totals.idle_s,
        "workedNoMovementPercent": share(totals.idle_s, totals.length_s),
        "idlingRPM": totals.idling_rpm_s,
        "idlingRPMPercent": share(totals.idling_rpm_s, rpm),
        "normalRPM": totals.normal_rpm_s,
        "normalRPMPercent": share(totals.normal_rpm_s, rpm),
        "excessRPM": totals.excess_rpm_s,
        "excessRPMPercent": share(totals.excess_rpm_s, rpm),
        "layUp": totals.off_s,
        "layUpPercent": share(totals.off_s, totals.length_s),
        "motoHoursServiceCounter": None,
    }


_FUEL = """
startVolume endVolume maxVolume minVolume fuelConsumption fuelConsumptionOnMove fuelConsumptionWOMovement
fuelCons100 fuelConsumptionOnMove100 fuelConsMH fuelConsMHWOMovement fuelConsumptionOnWorked
fuelConsumptionOnWorkedNoMovement fuelConsumptionOnMoveIdle fuelConsumptionNotMoveIdle fuelConsPerMotorhour
fuelConsMHMovement refuelling draining filling delivery deviation co2Emission normCons100 normConsumptionMH
dutyConsumption100 dutyConsumptionMH fuelCons100Dev fuelConsDev fuelCons100Ex fuelConsEx deviationWorkNormIdleLoad
"""
_DAILY_NULLS = 11
"""The first names of ``_FUEL`` that are null in a daily row without fuel data."""


def _fuel(truck: Truck, totals: Totals | None) -> Json:
    if totals is None or totals.fuel is None:
        return dict.fromkeys(_FUEL.split())
    fuel = totals.fuel
    km, moving_h, worked_h = totals.distance_m / 1000, totals.moving_s / 3600, totals.worked_s / 3600
    return {
        "startVolume": fuel.start,
        "endVolume": fuel.end,
        "maxVolume": fuel.highest,
        "minVolume": fuel.lowest,
        "fuelConsumption": fuel.used,
        "fuelConsumptionOnMove": fuel.moving,
        "fuelConsumptionWOMovement": fuel.standing,
        "fuelConsumptionOnWorked": fuel.engine_on,
        "fuelConsumptionOnWorkedNoMovement": fuel.idle,
        "fuelConsumptionOnMoveIdle": fuel.moving_idle,
        "fuelConsumptionNotMoveIdle": fuel.idle,
        "fuelCons100": rate(fuel.used, km, 100),
        "fuelConsMH": rate(fuel.engine_on, worked_h),
        "fuelConsumptionOnMove100": rate(fuel.moving, km, 100),
        "fuelConsPerMotorhour": rate(fuel.used, worked_h),
        "fuelConsMHMovement": rate(fuel.moving, moving_h),
        "fuelConsMHWOMovement": rate(fuel.idle, totals.idle_s / 3600),
        "refuelling": fuel.refuelled,
        "draining": fuel.drained,
        "filling": 0,
        "delivery": 0,
        "deviation": deviation_cl(truck, fuel),
        "co2Emission": plain(round(fuel.used * CO2_KG_PER_DL, 3)),
        "normCons100": 0,
        "normConsumptionMH": None,
        "dutyConsumption100": 0,
        "dutyConsumptionMH": 0,
        "fuelCons100Dev": None,
        "fuelConsDev": None,
        "fuelCons100Ex": 0,
        "fuelConsEx": 0,
        "deviationWorkNormIdleLoad": plain((fuel.moving_idle + fuel.idle) / 10),
    }


def deviation_cl(truck: Truck, fuel: FuelTotals) -> int:
    """Centilitres: ten times the consumption for most trucks, 0 for the others."""
    return 0 if truck.index % 6 == 5 else fuel.used * 10


def _total_mw(known: Sequence[Totals], count: int, length_s: int) -> Json:
    moving, worked = sum(item.moving_s for item in known), sum(item.worked_s for item in known)
    idling, normal = sum(item.idling_rpm_s for item in known), sum(item.normal_rpm_s for item in known)
    excess, off = sum(item.excess_rpm_s for item in known), sum(item.off_s for item in known)
    km = sum(item.distance_m for item in known) / 1000
    litres = sum(item.fuel.used for item in known if item.fuel) / 10
    rpm, whole = idling + normal + excess and worked, count * length_s
    return {
        "totalMileage": plain(round(km, 3)),
        "totalMovementMileage": plain(round(km, 3)),
        "averageMileage": plain(round(km / count, 3)),
        "averageSpeed": rate(km, moving, 3600),
        "maxSpeed": plain(max((item.max_speed_kmh for item in known), default=0)),
        "totalMileageSpeeding": plain(round(sum(item.speeding_m for item in known) / 1000, 3)),
        "totalMoveTime": moving,
        "averageMoveTime": plain(round(moving / count, 1)),
        "totalMoveTimePercent": share(moving, whole),
        "totalWorked": worked,
        "totalWorkedPercent": share(worked, whole),
        "totalWorkedOnMove": moving,
        "totalWorkedOnMovePercent": share(moving, whole),
        "totalWorkedNoMovementTime": worked - moving,
        "totalWorkedNoMovementPercent": share(worked - moving, whole),
        "totalLayUpTime": off,
        "totalLayUpTimePercent": share(off, whole),
        "totalWorkedOnIdlingRPM": idling,
        "totalWorkedOnIdlingRPMPercent": share(idling, rpm),
        "totalWorkedOnNormalRPM": normal,
        "totalWorkedOnNormalRPMPercent": share(normal, rpm),
        "totalWorkedOnExcessRPM": excess,
        "totalWorkedOnExcessRPMPercent": share(excess, rpm),
        "totalWorkedUnderLoadRPM": normal,
        "totalWorkedUnderLoadRPMPercent": share(normal, rpm),
        "totalMileagePerLitre": plain(round(km / litres, 2)) if litres else None,
        "totalMovementMileagePerLitre": plain(round(km / litres, 2)) if litres else None,
    }


def _total_fuel(known: Sequence[Totals], count: int) -> Json:
    fuels = [item.fuel for item in known if item.fuel]
    used, moving = sum(fuel.used for fuel in fuels), sum(fuel.moving for fuel in fuels)
    engine_on, idle = sum(fuel.engine_on for fuel in fuels), sum(fuel.idle for fuel in fuels)
    km = sum(item.distance_m for item in known) / 1000
    worked_h, moving_h = sum(item.worked_s for item in known) / 3600, sum(item.moving_s for item in known) / 3600
    per_moving_h = rate(moving, moving_h)
    return {
        "totalConsumption": used,
        "averageConsumption": plain(round(used / count, 1)),
        "totalConsumptionOnMove": moving,
        "totalConsumptionWOMovement": used - moving,
        "averageConsumption100": rate(used, km, 100),
        "averageConsumptionOnMove100": rate(moving, km, 100),
        "averageConsumptionMH": rate(engine_on, worked_h),
        "averageConsumptionMHMovement": rate(moving, moving_h * count),
        "averageConsumptionMHWOMovement": rate(idle, worked_h - moving_h),
        "consPerMHEngineOn": rate(used, worked_h),
        "consumptionEngineOn": engine_on,
        "totalFuelConsumptionMHMovement": per_moving_h,
        "totalFuelOnMoveIdle": sum(fuel.moving_idle for fuel in fuels),
        "totalFuelOnMoveNorm": moving - sum(fuel.moving_idle for fuel in fuels),
        "totalFuelOnMoveCrit": None,
        "totalFuelNotMoveIdle": idle,
        "totalFuelNotMoveNorm": used - moving - idle,
        "totalFuelNotMoveCrit": None,
        "totalRefuelling": sum(fuel.refuelled for fuel in fuels),
        "totalDraining": sum(fuel.drained for fuel in fuels),
        "totalDelivery": 0,
        "totalFilling": None,
        "co2Emission": plain(round(used * CO2_KG_PER_DL, 3)),
    }


# --- consolidatedReport: one row per vehicle and UTC day ----------------------------------------------------------------


def consolidated(truck: Truck, day_start: int, totals: Totals) -> Json:
    """One of the ``items``."""
    row = {
        "vehicleId": truck.terminal_id,
        "date": day_start,
        "mv": {
            "mileage": plain(totals.distance_m / 1000),
            "mileageAtPeriodBegin": plain(totals.odometer_start_m / 1000),
            "mileageAtPeriodEnd": plain(totals.odometer_end_m / 1000),
            "mileageSpeeding": plain(totals.speeding_m / 1000),
            "maxSpeed": plain(totals.max_speed_kmh),
            "movement": totals.moving_s,
            "worked": totals.worked_s,
            "workedOnMovement": totals.moving_s,
            "workedNoMovement": totals.idle_s,
            "idlingRPM": totals.idling_rpm_s,
            "normalRPM": totals.normal_rpm_s,
            "excessRPM": totals.excess_rpm_s,
            "workedUnderLoadRPM": totals.normal_rpm_s,
            "layUp": totals.off_s,
            "motoHoursServiceCounter": None,
        },
        "fuel": _daily_fuel(truck, totals),
        "fueladd": {"startVolume": None},
        "can": {"distance": None, "fuelUsed": None},
        "ccan": {"spn245": _spn245(truck, totals)},
        "canmt": {},
        "uniDataList": universal_inputs(truck, totals),
    }
    return {"consolidatedReport": row}


def _daily_fuel(truck: Truck, totals: Totals) -> Json:
    fuel, km = totals.fuel, totals.distance_m / 1000
    rest = {
        "delivery": 0,
        "dutyConsumption100": 0,
        "normCons100": 0,
        "normConsumptionMH": 0,
        "fuelCons100Dev": 0,
        "fuelConsDev": 0,
    }
    if fuel is None:
        return dict.fromkeys(_FUEL.split()[:_DAILY_NULLS]) | {"refuelling": 0, "draining": 0, "deviation": 0} | rest
    return {
        "startVolume": fuel.start,
        "endVolume": fuel.end,
        "minVolume": fuel.lowest,
        "maxVolume": fuel.highest,
        "fuelConsumption": fuel.used,
        "fuelConsumptionOnMove": fuel.moving,
        "fuelConsumptionWOMovement": fuel.standing,
        "fuelCons100": rate(fuel.used, km, 100) or 0,
        "fuelConsumptionOnMove100": rate(fuel.moving, km, 100) or 0,
        "fuelConsMH": rate(fuel.engine_on, totals.worked_s, 3600) or 0,
        "fuelConsMHWOMovement": rate(fuel.idle, totals.idle_s, 3600) or 0,
        "refuelling": fuel.refuelled,
        "draining": fuel.drained,
        "deviation": deviation_cl(truck, fuel),
        **rest,
    }


def _spn245(truck: Truck, totals: Totals | None) -> int | float | None:
    """Total distance of the CAN bus, km, where it is read."""
    return plain(totals.odometer_end_m / 1000) if totals and truck.index % 3 == 0 else None


def universal_inputs(truck: Truck, totals: Totals) -> list[Json]:
    """What hangs on the universal inputs: on every second truck a lift that runs one tenth of the idle time."""
    if truck.index % 2:
        return []
    values = ("univInputOnTime", "univInputOnConsumption", "univInputHourConsumption", "univInputMaxValue")
    item: Json = {"univInputNumber": 1, "uniType": 0, "uniName": "Lift", **dict.fromkeys(values, 0)}
    return [item | {"univInputOnTime": totals.idle_s // 10}]
