"""Telemetry records of RCS: what a vehicle's samples look like in the vendor's words, and in which order they arrived."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from fleetlake.sandbox.dice import dice
from fleetlake.sandbox.rcs.diagnostics import lamp_is_on
from fleetlake.sandbox.rcs.park import Car, Park
from fleetlake.sandbox.world import DAY_S, MAX_LATE_S, Sample, moment

_LATE_DAYS = MAX_LATE_S // DAY_S
_SHIFT = 23
"""Bits of a revision below the milliseconds: 20 for the vehicle's slot, 3 for the upload."""

_HIDDEN = ("HIDE_LOCATION", "PROOF_OF_OWNERSHIP")
_TIRES = ("front_left", "front_right", "rear_left", "rear_right")


class Record(NamedTuple):
    """One record, ready to serve: 16 lower-case hex digits, event time (s), time of receipt (ms), JSON."""

    revision: str
    event: int
    received_ms: int
    body: bytes


def naive(seconds: float) -> str:
    """A datetime as RCS writes it: no zone, whole seconds."""
    day, second = divmod(int(seconds), DAY_S)
    return f"{_date(day)}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


@lru_cache(maxsize=1024)
def _date(day: int) -> str:
    return f"{moment(day * DAY_S):%Y-%m-%d}"


def revision_of(car: Car, sample: Sample) -> str:
    """Sixteen lower-case hex digits that grow with the time of receipt and are unique in the sandbox."""
    return f"{sample.received_ms << _SHIFT | car.slot << 3 | sample.upload:016x}"


def event_second(sample: Sample) -> int:
    """Device time, or time of receipt for records without it."""
    return sample.time if _has_device_time(sample) else sample.received_ms // 1000


def _has_device_time(sample: Sample) -> bool:
    # Records of the server's own making (about one in fifty) know no device time.
    return sample.is_late or sample.time * 2_654_435_761 >> 11 & 63 != 7


class DayFacts(NamedTuple):
    """What is the same for all records of a vehicle's day."""

    mode: str
    lamp: bool
    weak_tire: str | None
    outside: float


class Telemetry:
    """All records of a park, computed when asked for."""

    def __init__(self, park: Park) -> None:
        self._park = park
        self._newer_fields = park.assumptions.newer_fields
        self._day = lru_cache(maxsize=256)(self._encode_day)
        self._facts = lru_cache(maxsize=4096)(self._make_facts)

    def page(
        self, car: Car, *, start: int | None, end: int | None, minimum: str | None, take: int, now_ms: int
    ) -> list[Record]:
        """At most ``take`` records in order of revision, event time in ``[start, end]``, revision from ``minimum`` on.

        Work is bounded by what is answered: it begins on the day of receipt that ``minimum`` names.
        """
        first = max(self._park.context.world.first_day, (start or 0) // DAY_S, _day_of(minimum))
        last = now_ms // 1000 // DAY_S
        if end is not None:
            last = min(last, end // DAY_S + _LATE_DAYS)
        oldest = max(self._park.context.world.first_day, (start or 0) // DAY_S - 1)
        found: list[Record] = []
        for day in range(first, last + 1):
            for record in self._received(car, day, oldest, minimum or ""):
                if record.received_ms > now_ms:
                    return found
                if (start is None or record.event >= start) and (end is None or record.event <= end):
                    found.append(record)
                    if len(found) == take:
                        return found
        return found

    def truth(self, car: Car, start: int | None, end: int | None, now_ms: int) -> Iterator[Mapping[str, Any]]:
        """Records with event time in ``[start, end)`` that were received until now, in the vendor's words, by event day."""
        first = max(self._park.context.world.first_day, 0 if start is None else start // DAY_S - 1)
        last = now_ms // 1000 // DAY_S if end is None else (end - 1) // DAY_S
        for day in range(first, last + 1):
            for sample in car.vehicle.samples(day):
                event = event_second(sample)
                if sample.received_ms <= now_ms and (start is None or event >= start) and (end is None or event < end):
                    yield self.record(car, sample)

    def latest(self, car: Car, now_ms: int) -> dict[str, Any] | None:
        """The record received last."""
        sample = car.vehicle.latest(now_ms)
        return self.record(car, sample) if sample else None

    def record(self, car: Car, sample: Sample) -> dict[str, Any]:
        """One record. What is not known is absent, sometimes null."""
        facts = self._facts(car, sample.time // DAY_S)
        chance = sample.time * 40_503 + car.slot * 7_919 >> 3 & 63
        received = sample.received_ms / 1000
        record: dict[str, Any] = {"revision": revision_of(car, sample), "vehicle_id": car.id, "server_time": naive(received)}
        if _has_device_time(sample):
            record["device_time"] = naive(sample.time)
        if chance < 32:
            record["processed_time"] = naive(received + 1)
        record |= _place(sample, facts.mode, chance)
        record |= _motion(sample, chance) if sample.ride else _parking(sample, chance)
        if chance % 4 == 0:
            record |= _fuel(car, sample)
        if chance % 8 == 1:
            record |= _warnings(facts)
            # Due for the last 500 km of every 15 000; the counter is not always at hand.
            record["maintenance_required"] = None if chance % 16 == 1 else sample.odometer_m % 15_000_000 > 14_500_000
        if self._newer_fields and chance % 16 == 5:
            record["lights_are_on"] = sample.time % DAY_S // 3600 not in range(7, 18)
        if self._newer_fields and chance == 37:
            record["eco"] = {"score": sample.odometer_m % 101, "rated_by": "firmware"}
        return record

    def _received(self, car: Car, day: int, oldest: int, minimum: str) -> list[Record]:
        """What was taken on day ``oldest`` or later and arrived on ``day``, by revision, as far as the cursor lets through."""
        records = [
            record
            for device_day in range(max(day - _LATE_DAYS, oldest), day + 1)
            for record in self._day(car, device_day).get(day, ())
        ]
        records.sort()
        start = bisect_left(records, minimum, key=lambda record: record.revision)
        if not self._park.assumptions.cursor_inclusive and start < len(records) and records[start].revision == minimum:
            start += 1
        return records[start:]

    def _encode_day(self, car: Car, day: int) -> dict[int, list[Record]]:
        """Records taken on ``day``, by day of receipt."""
        encode = msgspec.json.Encoder().encode
        found: dict[int, list[Record]] = {}
        for sample in car.vehicle.samples(day):
            record = self.record(car, sample)
            item = Record(record["revision"], event_second(sample), sample.received_ms, encode(record))
            found.setdefault(sample.received_ms // 1000 // DAY_S, []).append(item)
        return found

    def _make_facts(self, car: Car, day: int) -> DayFacts:
        roll = dice(self._park.context.settings.seed, "rcs", "day", car.slot, day)
        mode = roll.choices(("EVERYTHING", *_HIDDEN), (86, 12, 2))[0]
        weak = roll.choice(_TIRES) if roll.random() < 0.05 else None
        return DayFacts(mode, lamp_is_on(self._park, car, day), weak, round(roll.uniform(-4, 24), 1))


def _day_of(revision: str | None) -> int:
    """Day of receipt that a revision names, from any text: a cursor is opaque, so nobody is refused."""
    head = (revision or "")[:16].ljust(16, "0")
    try:
        return (int(head, 16) >> _SHIFT) // 1000 // DAY_S
    except ValueError:
        return 0


def _place(sample: Sample, mode: str, chance: int) -> dict[str, Any]:
    if mode in _HIDDEN:
        hidden = dict.fromkeys(("latitude", "longitude", "heading"))
        return {**hidden, "telemetry_tracking_mode": mode} if chance % 2 else {"telemetry_tracking_mode": mode}
    if not sample.ride and chance % 4 == 3:
        return {}  # parked devices do not always look for satellites
    place: dict[str, Any] = {"latitude": sample.latitude, "longitude": sample.longitude}
    if sample.ride:
        place["heading"] = sample.heading
    if chance % 2:
        place |= {"dilution": round(0.7 + chance / 40, 2), "satellites_count": 6 + chance % 9}
    if chance % 16 == 2:
        place["telemetry_tracking_mode"] = mode
    return place


def _motion(sample: Sample, chance: int) -> dict[str, Any]:
    kmh = round(sample.speed_kn * 1.852, 6)
    motion: dict[str, Any] = {
        "speed": kmh,
        "engine_rpm": round(780 + kmh % 37 * 45) if kmh else 760 + chance,
        "mileage": sample.odometer_m / 1000,
        "ignition_is_on": True,
        "engine_is_started": True,
    }
    if chance % 4 == 2:
        warm = min((sample.time - sample.ride.start) / 7, 70.0) if sample.ride else 0.0
        motion |= {"unit_voltage": round(13.9 + chance / 160, 2), "coolant_temperature": round(18 + warm, 1)}
        motion |= {"engine_temperature": round(20 + warm * 1.1, 1), "gearbox_position": "DRIVE" if kmh else "NEUTRAL"}
    if chance % 8 == 5:
        motion |= {"accelerations_count": chance % 3, "deccelerations_count": chance % 2}
        motion["high_speed_seconds"] = 12 if kmh > 80 else 0
    return motion


def _parking(sample: Sample, chance: int) -> dict[str, Any]:
    parked: dict[str, Any] = {"speed": None if chance % 8 == 7 else 0, "ignition_is_on": False, "is_online": True}
    if chance % 2:
        parked |= {"mileage": sample.odometer_m / 1000, "mileage_source": "ABSOLUTE" if chance % 4 == 1 else "ORIGINAL"}
        parked["unit_voltage"] = round(12.2 + chance / 160, 2)
    if chance % 4 == 0:
        parked |= {"engine_is_started": False, "gearbox_position": "PARKING", "central_lock_is_closed": chance != 8}
        parked |= {"driver_door_is_open": chance == 8, "trunk_is_open": False, "hood_is_open": False}
    if chance == 61:
        parked |= {"towing": False, "weak_punch": True, "strong_punch": False}
    return parked


def _fuel(car: Car, sample: Sample) -> dict[str, Any]:
    """Fuel from the odometer: it falls with every kilometre and is filled up when four fifths are gone."""
    used = sample.odometer_m / 100_000 * car.litres_per_100km % (car.tank_l * 0.8)
    litres = round(car.tank_l * 0.95 - used, 1)
    share = round(litres / car.tank_l * 100, 1)
    return {"fuel_percents": share} if car.slot % 4 == 1 else {"fuel_liters": litres, "fuel_percents": share}


def _warnings(facts: DayFacts) -> dict[str, Any]:
    return {
        "check_engine_trouble": facts.lamp,
        "oil_pressure_trouble": False,
        "battery_trouble": False,
        "brake_fluid_trouble": False,
        "airbag_trouble": False,
        "abs_esp_trouble": False,
        "outer_temperature": facts.outside,
        **{f"tire_status_{tire}": "LOW" if tire == facts.weak_tire else "NORMAL" for tire in _TIRES},
    }
