"""Totals of a truck over an interval, from what the vendor has heard of it: the figures behind both reports."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from fleetlake.sandbox.omnicomm.driving import SPEED_LIMIT_KMH, Driving, seconds, within
from fleetlake.sandbox.omnicomm.fuel import Fuel
from fleetlake.sandbox.omnicomm.park import Park, Truck
from fleetlake.sandbox.omnicomm.track import Track
from fleetlake.sandbox.world import DAY_S, day_number

CO2_KG_PER_DL = 0.264
"""2.640 kg of a litre of diesel."""


@dataclass(frozen=True, kw_only=True)
class FuelTotals:
    """Fuel of an interval, whole decilitres.

    Attributes:
        start, end, lowest, highest: levels.
        used: start + refuelled - drained - end, so what the weather does to a tank is part of it; may be negative.
        moving: used under way; the rest is ``standing``.
        idle: burnt standing with the engine on.
        moving_idle: used under way with the engine at idling speed.
    """

    start: int
    end: int
    lowest: int
    highest: int
    refuelled: int
    drained: int
    used: int
    moving: int
    idle: int
    moving_idle: int

    @property
    def standing(self) -> int:
        """Used while not moving."""
        return self.used - self.moving

    @property
    def engine_on(self) -> int:
        """Used while the engine was on."""
        return self.moving + self.idle


@dataclass(frozen=True, kw_only=True)
class Totals:
    """One truck, one interval; seconds, whole metres, km/h.

    Attributes:
        length_s: length of the interval asked for.
        known_s: of it, seconds of which the vendor has data.
        fuel: ``None`` = the sensor was silent.
    """

    length_s: int
    known_s: int
    distance_m: int
    speeding_m: int
    max_speed_kmh: float
    moving_s: int
    worked_s: int
    idling_rpm_s: int
    normal_rpm_s: int
    excess_rpm_s: int
    odometer_start_m: int
    odometer_end_m: int
    fuel: FuelTotals | None

    @property
    def idle_s(self) -> int:
        """Engine on, not moving."""
        return self.worked_s - self.moving_s

    @property
    def off_s(self) -> int:
        """Engine off, as far as the vendor knows."""
        return self.known_s - self.worked_s


class Reckoning:
    """Totals of the trucks of a park."""

    def __init__(self, park: Park, driving: Driving, fuel: Fuel, track: Track) -> None:
        self._park = park
        self._driving = driving
        self._fuel = fuel
        self._track = track

    def totals(self, truck: Truck, start: int, end: int, now_ms: int) -> Totals | None:
        """Totals of ``[start, end)``; ``None`` = the vendor has no data of it."""
        pieces = self._driving.known(truck, start, end, now_ms)
        if not pieces:
            return None
        first, last = pieces[0][0], pieces[-1][1]
        worked = seconds(within(self._driving.engine(truck, first, last), pieces))
        moving = seconds(within(self._driving.moving(truck, first, last), pieces))
        speeding = within(self._driving.faster(truck, SPEED_LIMIT_KMH, first, last), pieces)
        excess = moving // 200 if truck.has_rpm else 0
        idling = worked - moving if truck.has_rpm else 0
        return Totals(
            length_s=end - start,
            known_s=seconds(pieces),
            distance_m=self._distance(truck, first, last),
            speeding_m=self._driving.metres(truck, speeding),
            max_speed_kmh=max((point.speed_kmh for point in self._track.points(truck, start, end, now_ms)), default=0.0),
            moving_s=moving,
            worked_s=worked,
            idling_rpm_s=idling,
            normal_rpm_s=worked - idling - excess if truck.has_rpm else 0,
            excess_rpm_s=excess,
            odometer_start_m=self._driving.odometer_m(truck, first),
            odometer_end_m=self._driving.odometer_m(truck, last),
            fuel=self.fuel(truck, first, last),
        )

    def fuel(self, truck: Truck, start: int, end: int) -> FuelTotals | None:
        """The balance of the tanks over ``[start, end)``."""
        if self._fuel.is_dead(truck, start // DAY_S) or self._fuel.is_dead(truck, (end - 1) // DAY_S):
            return None
        pours = [pour.volume_dl for pour in self._fuel.pours(truck, start, end)]
        refuelled, drained = sum(v for v in pours if v > 0), -sum(v for v in pours if v < 0)
        first, last = self._fuel.level_dl(truck, start), self._fuel.level_dl(truck, end)
        lowest, highest = self._fuel.extremes(truck, start, end)
        burnt = self._fuel.used(truck, start, end)
        return FuelTotals(
            start=first,
            end=last,
            lowest=lowest,
            highest=highest,
            refuelled=refuelled,
            drained=drained,
            used=first + refuelled - drained - last,
            moving=burnt.moving,
            idle=burnt.idle,
            moving_idle=burnt.moving // 50 if truck.has_rpm else 0,
        )

    def _distance(self, truck: Truck, start: int, end: int) -> int:
        """Metres driven; days before ``recalculated_until`` have been reckoned again and grew by 2 %."""
        metres, until = 0, recalculated_until(self._park)
        for day in range(start // DAY_S, (end - 1) // DAY_S + 1):
            part = self._driving.metres(truck, [(max(start, day * DAY_S), min(end, (day + 1) * DAY_S))])
            metres += part * 102 // 100 if day < until else part
        return metres


def recalculated_until(park: Park) -> int:
    """First day, as days since 1970, that has not been reckoned again."""
    text = park.assumptions.recalculated_until
    return day_number(dt.date.fromisoformat(text)) if text else 0
