"""What a truck is (its profile) and how it stands now (its state), in the vendor's words."""

from __future__ import annotations

from typing import Any

from fleetlake.sandbox.omnicomm.driving import SPEED_LIMIT_KMH, Driving
from fleetlake.sandbox.omnicomm.events import PARKING_S, STOP_S, address
from fleetlake.sandbox.omnicomm.fuel import Fuel
from fleetlake.sandbox.omnicomm.park import Truck
from fleetlake.sandbox.omnicomm.reports import plain
from fleetlake.sandbox.omnicomm.track import Track
from fleetlake.sandbox.world import DAY_S

Json = dict[str, Any]


class Profiles:
    """Profiles and states of all trucks."""

    def __init__(self, driving: Driving, fuel: Fuel, track: Track) -> None:
        self._driving = driving
        self._fuel = fuel
        self._track = track

    def profile(self, truck: Truck) -> Json:
        """Blocks of a profile; some are lists or null."""
        tank = main_tank(truck)
        return {
            "terminal": {
                "terminalId": truck.terminal_id,
                "uuid": truck.uuid,
                "manufactureId": f"M{truck.terminal_id}",
                "terminalType": truck.terminal_type,
                "registratorType": "Profi 2.0",
            },
            "vehicle": vehicle(truck),
            "movement": {
                "speedSource": 0,
                "excludePointWithIgnitionOff": False,
                "mileageCoef": 1,
                "standingDuration": PARKING_S,
                "stoppingDuration": STOP_S,
                "noValidDataDuration": 60,
            },
            "engine": {"rpmCoef": 1, "rpmIdling": 800, "rpmCritical": 2400} if truck.has_rpm else None,
            "mainTank": [tank] if has_list(truck) else tank,
            "deliverySensors": [] if truck.terminal_type == "FTC" else None,
            "additionalTank": None,
            "univInputs": [{"univInputNumber": 1, "univInputType": 2, "univInputDevice": "Lift", "inverse": False}],
            "calibrationTables": [
                {
                    "sensorNmb": number,
                    "tankNmb": number,
                    "records": [{"code": 0, "liters": 0}, {"code": 4095, "liters": plain(truck.tank_dl / 10)}],
                }
                for number in range(1, truck.tanks + 1)
            ],
            "safeDriving": {"maximalSpeed": 90, "limitSpeed": round(SPEED_LIMIT_KMH), "maxIdleRpmDuration": 600},
            "reader": {"startRegByKey": False, "stopRegByIgnition": True, "regRestoringPeriod": 0},
            "iqFreeze": None,
        }

    def state(self, truck: Truck, now_ms: int) -> Json:
        """The state; any field may be null, and some are missing."""
        last = self._track.latest(truck, now_ms)
        if last is None:
            return {"status": False, "address": None, "lastDataDate": None, "lastGPS": None, "currentFuel": None}
        fix = self._track.latest(truck, now_ms, valid=True) or last
        is_on = self._driving.is_engine_on(truck, last.time)
        is_dead = self._fuel.is_dead(truck, last.time // DAY_S)
        state = {
            "status": True,
            "address": None if truck.index % 4 == 3 else address(fix.latitude, fix.longitude),
            "lastDataDate": last.time,
            "lastGPS": {"latitude": fix.latitude, "longitude": fix.longitude},
            "lastGPSDir": fix.direction,
            "lastGPSSat": fix.satellites,
            "currentSpeed": plain(last.speed_kmh),
            "currentFuel": None if is_dead else plain(self._fuel.level_dl(truck, last.time) / 10),
            "currentIgn": is_on,
            "speedExceed": last.speed_kmh > SPEED_LIMIT_KMH,
            "voltage": 27.6 if is_on else 24.9,
        }
        return state if truck.index % 4 == 3 else state | {"checkVoltage": 0, "currentInputValue": [0, int(is_on)]}


def has_list(truck: Truck) -> bool:
    """The block of its main tank is a list."""
    return truck.index % 3 == 2


def main_tank(truck: Truck) -> Json:
    """The block ``mainTank``; norms in litres."""
    return {
        "tankType": "Main",
        "checkFuelQualityLls5": False,
        "fillThreshold": 20,
        "drainThreshold": 10,
        "mileageConsumption": plain(truck.litres_per_100km),
        "motorHourConsumption": plain(truck.idle_litres_per_h),
        "fuelType": 2,
    }


def vehicle(truck: Truck) -> Json:
    """The block ``vehicle``."""
    return {
        "thingName": truck.name,
        "garageNumber": truck.garage_number,
        "function": "Delivery",
        "brand": truck.brand,
        "model": truck.model,
        "color": truck.colour,
        "vin": truck.vin,
        "engineNumber": "",
        "chassisNumber": None,
        "licencePlate": truck.plate,
        "manufactureYear": truck.year,
        "categories": "C",
        "comment": None,
    }
