"""Trouble codes and health reports of RCS vehicles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from fleetlake.sandbox.dice import dice
from fleetlake.sandbox.rcs.park import Car, Park
from fleetlake.sandbox.world import DAY_S

_CODES = (
    # code, control unit, its number, words
    ("P0301", "ECM", 16, "Cylinder 1 misfire detected"),
    ("P0420", "ECM", 16, "Catalyst efficiency below threshold"),
    ("P1523", "ECM", 16, None),
    ("P2263", "ECM", 16, "Boost pressure performance"),
    ("P3401", "ECM", 16, "Cylinder 1 deactivation circuit"),
    ("P0171-00", "ECM", 16, None),
    ("C1234-11", "ABS", 40, "Wheel speed sensor, short to ground"),
    ("C0035-1F", "ABS", 40, None),
    ("B1000-96", "BCM", None, "Control unit internal failure"),
    ("B2477-54", "BCM", None, None),
    ("U0100", None, 17, "Lost communication with engine control"),
    ("U0121-87", None, None, "Missing message from brake control"),
    ("U1123", "GW", 0, None),
)
_LIFE = (0x27, 0x2F, 0xAF, 0xAF, 0x2F, 0x2E, 0x6C, 0x2C, 0x28, 0x68, 0x28, 0x68, 0x28, 0x28, 0x68, 0x20, 0x60)
"""Status byte by day of a trouble's life: first failure, confirmed, healed, history, aged."""

_NOT_D2 = (0x41, 0xE3, 0x81, 0x12, 0x90, 0x62)
"""Bytes of control units with an older layout; each breaks a rule of D.2."""

_SLOTS = 3


@dataclass(frozen=True)
class Trouble:
    """One code in one report."""

    dtc: str
    status: int | None
    maturity: str
    ecu: str | None
    ecu_id: int | None
    description: str | None


@dataclass(frozen=True)
class Report:
    """One health report; times in seconds since 1970, ``completed`` is ``None`` while it runs."""

    id: str
    car: Car
    created: int
    completed: int | None
    initiator: str
    severity: str
    result: str
    indicators: dict[str, Any] | None
    troubles: tuple[Trouble, ...]


def reports(park: Park, car: Car, start: int, end: int, now: int) -> Iterator[Report]:
    """Reports of a vehicle started in ``[start, end)`` and until ``now``, in order, as they stand now."""
    end = min(end, now + 1)
    for day in range(start // DAY_S, (end - 1) // DAY_S + 1):
        for report in _of_day(park, car, day):
            if start <= report.created < end:
                running = report.completed is not None and report.completed > now
                yield replace(report, **_RUNNING) if running else report


_RUNNING: dict[str, Any] = {"completed": None, "severity": "OK", "result": "NONE", "indicators": None, "troubles": ()}


def _of_day(park: Park, car: Car, day: int) -> Iterator[Report]:
    """Finished reports of a vehicle that were started on ``day``, in order: 0.7 on average."""
    if day < park.context.world.first_day:
        return
    roll = dice(park.context.settings.seed, "rcs", "reports", car.slot, day)
    count = roll.choices((0, 1, 2), (45, 40, 15))[0]
    seconds = sorted(roll.sample(range(4 * 3600, 23 * 3600), count))
    for index, second in enumerate(seconds):
        created = day * DAY_S + second
        yield _report(park, car, created, f"r-{created:08x}{car.slot:05x}{index}")


def _report(park: Park, car: Car, created: int, identity: str) -> Report:
    roll = dice(park.context.settings.seed, "rcs", identity)
    initiator = "SERVER" if roll.random() < 0.55 else "DEVICE"
    failed = roll.random() < 0.03
    present = troubles(park, car, created // DAY_S)
    read = present if not failed and (initiator == "SERVER" or car.reads_codes) else ()
    indicators: dict[str, Any] = {
        "fuel_liters": round(roll.uniform(0.1, 0.95) * car.tank_l, 1),
        "engine_off_voltage": round(roll.uniform(11.8, 12.9), 2),
        "engine_on_voltage": round(roll.uniform(13.6, 14.4), 2),
        "oil_level_percents": roll.randrange(40, 101),
        "brake_fluid_trouble": roll.random() < 0.03,
        "is_engine_on": roll.random() < 0.4,
    }
    indicators["fuel_percents"] = round(indicators["fuel_liters"] / car.tank_l * 100, 1)
    if indicators["is_engine_on"]:
        indicators["engine_rpm"] = roll.randrange(700, 950)
    if roll.random() < 0.5:
        indicators["tires_trouble"] = roll.random() < 0.05
    trouble = bool(present) or indicators["brake_fluid_trouble"] or indicators.get("tires_trouble", False)
    return Report(
        id=identity,
        car=car,
        created=created,
        completed=created + roll.randrange(20, 95),
        initiator=initiator,
        severity="DTC_IS_PRESENT" if read else "TROUBLE_IS_PRESENT" if trouble and not failed else "OK",
        result="ERROR" if failed else "DONE",
        indicators=None if failed else indicators,
        troubles=read,
    )


def troubles(park: Park, car: Car, day: int) -> tuple[Trouble, ...]:
    """Codes that the vehicle's control units hold on ``day``."""
    seed, found = park.context.settings.seed, []
    for slot in range(_SLOTS):
        roll = dice(seed, "rcs", "trouble", car.slot, slot)
        code, ecu, ecu_id, words = roll.choice(_CODES[slot::_SLOTS])
        period, offset = roll.randrange(25, 90), roll.randrange(90)
        age = (day + offset) % period
        if age >= len(_LIFE):
            continue
        status: int | None = _LIFE[age]
        if not car.uds and slot == 1:
            status = _NOT_D2[age % len(_NOT_D2)]
        if slot == 2 and period % 4 == 0:
            status = None
        maturity = maturity_of(status, park.assumptions.maturity_policy)
        if status is None and period % 8 == 0:
            maturity = "PERMANENT"
        found.append(Trouble(code, status, maturity, ecu, ecu_id, words))
    return tuple(found)


def lamp_is_on(park: Park, car: Car, day: int) -> bool:
    """A control unit asks for the lamp on ``day``."""
    return any(trouble.status is not None and trouble.status & 0x80 for trouble in troubles(park, car, day))


def maturity_of(status: int | None, policy: str = "table") -> str:
    """The vendor's digest of a status byte: section 7.3 of the vendor page, or the rival reading (RCS-10)."""
    if status is None:
        return "UNKNOWN"
    failed, confirmed = status & 0x01, status & 0x08
    if policy == "test_failed" and failed:
        return "ACTIVE"
    if confirmed:
        return "ACTIVE" if failed else "STORED"
    return "PENDING" if status & 0x07 else "UNKNOWN"


def obeys_d2(status: int) -> bool:
    """The byte obeys the rules of ISO 14229-1 D.2 as section 7.2 of the vendor page lists them."""
    bit = [bool(status >> position & 1) for position in range(8)]
    rules = (
        not bit[4] or (not any((bit[0], bit[1], bit[2], bit[3], bit[5])) and bit[6]),
        not bit[1] or (bit[2] and bit[5] and not bit[4] and not bit[6]),
        not bit[0] or (bit[5] and (bit[1] or bit[6])),
        not (bit[2] or bit[3]) or bit[5],
        not bit[7] or bit[3],
    )
    return all(rules)
