"""The journal of raw packets, and the parameters they carried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from fleetlake.sandbox.dice import number
from fleetlake.sandbox.omnicomm.driving import Driving, Stretch
from fleetlake.sandbox.omnicomm.fuel import Fuel
from fleetlake.sandbox.omnicomm.park import Truck
from fleetlake.sandbox.omnicomm.track import Point, Track
from fleetlake.sandbox.world import DAY_S

SLOTS = 6
"""Slots for level sensors."""


class Packet(NamedTuple):
    """One raw packet of a terminal.

    Attributes:
        point: time and place.
        is_ignition_on: the engine runs.
        supply_dv: decivolts; ``None`` = not in the packet.
        satellites: ``None`` = not in the packet.
        codes: by slot of the level sensors; ``None`` = not in the packet.
    """

    point: Point
    is_ignition_on: bool
    supply_dv: int | None
    satellites: int | None
    codes: tuple[int | None, ...]

    def as_json(self) -> dict[str, Any]:
        """The vendor's form: a value that is not there is 0 and its companion says so."""
        point = self.point
        return {
            "EVENT_DATE": point.time,
            "U_BOARD": self.supply_dv or 0,
            "U_BOARD_PRESENT": int(self.supply_dv is not None),
            "LATITUDE": round(point.latitude * 10_000_000),
            "LONGITUDE": round(point.longitude * 10_000_000),
            "SATELLITES_NMB": self.satellites or 0,
            "SATELLITES_NMB_PRESENT": int(self.satellites is not None),
            "LLS_ID": list(range(1, SLOTS + 1)),
            "LLS_CODE": [code or 0 for code in self.codes],
            "LLS_CODE_PRESENT": [int(code is not None) for code in self.codes],
            "IS_IGNITION_ON": int(self.is_ignition_on),
            "IS_EXTERNAL_SUPPLY_BROKEN": 0,
            "IS_GPS_JAMMING": int(point.satellites == 0 and point.time % 7 == 0),
            "IS_GSM_JAMMING": 0,
            "DRIVER_CODE": "",
            **self.rest(),
        }

    def rest(self) -> dict[str, Any]:
        """Fields that few readers want; a real packet has some 300 of them."""
        return {
            "LLS_STATUS": [],
            "LLS_TEMPERATURE": [],
            "CAN_DT_PRESENT": 0,
            "OBD_DT_UBOARD": 0,
            "AMTR_X": self.point.time % 5 - 2,
            "BAT_LIFE": 0,
        }


class Parameters(NamedTuple):
    """Named values of a packet; ``kept`` = how many pairs are left when the text is cut, ``None`` = all."""

    time: int
    pairs: dict[str, str]
    kept: int | None

    def as_json(self) -> dict[str, Any]:
        """The vendor's form: JSON as a text, whole or cut in the middle of a value."""
        text = json.dumps(self.pairs)
        if self.kept is not None:
            name = list(self.pairs)[self.kept]
            text = text[: text.index(json.dumps(name)) + len(json.dumps(name)) + 4]
        return {"eventDate": self.time, "jsonData": text}


class Journal:
    """Journals of all trucks."""

    def __init__(self, driving: Driving, fuel: Fuel, track: Track) -> None:
        self._driving = driving
        self._fuel = fuel
        self._track = track
        self._cuts = driving.park.assumptions.truncate_json

    def packets(self, truck: Truck, start: int, end: int, now_ms: int) -> Iterator[Packet]:
        """Packets of ``[start, end)``, by time; now and then one is there twice."""
        engine = self._driving.engine(truck, start, end)
        for point in self._track.points(truck, start, end, now_ms):
            packet = self._packet(truck, point, is_on=_is_inside(engine, point.time))
            yield packet
            if point.time % 97 == 0:
                yield packet

    def parameters(self, truck: Truck, start: int, end: int, now_ms: int) -> Iterator[Parameters]:
        """Parameters of the CAN bus: with every fourth packet or so while the engine runs."""
        engine = self._driving.engine(truck, start, end)
        for point in self._track.points(truck, start, end, now_ms):
            chance = number(truck.terminal_id, "parameters", point.time)
            if chance % 4 == 0 and _is_inside(engine, point.time):
                pairs = {
                    "Engine speed, rpm": str(700 + round(point.speed_kmh * 11)),
                    "Coolant temperature, °C": str(70 + point.time % 21),
                    "Odometer, km": f"{self._driving.odometer_m(truck, point.time) / 1000:.1f}",
                }
                yield Parameters(point.time, pairs, (chance >> 8) % 3 if self._cuts and (chance >> 4) % 5 == 0 else None)

    def _packet(self, truck: Truck, point: Point, *, is_on: bool) -> Packet:
        chance = number(truck.terminal_id, "packet", point.time)
        codes: list[int | None] = [None] * SLOTS
        if not self._fuel.is_dead(truck, point.time // DAY_S):
            level = self._fuel.level_dl(truck, point.time)
            codes[: truck.tanks] = tank_levels(truck, level)
        return Packet(
            point=point,
            is_ignition_on=is_on,
            supply_dv=None if chance % 50 == 0 else (276 if is_on else 249) + chance % 3,
            satellites=None if chance % 40 == 1 else point.satellites,
            codes=tuple(codes),
        )


def _is_inside(stretches: list[Stretch], time: int) -> bool:
    return any(start <= time < end for start, end in stretches)


def tank_levels(truck: Truck, level_dl: int) -> list[int]:
    """The level in each tank: of two, the second holds three tenths."""
    second = level_dl * 3 // 10
    return [level_dl - second, second] if truck.tanks == 2 else [level_dl]
