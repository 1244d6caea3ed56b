"""What a sandbox is made of: seed, sizes, clock, ports, and the vendors' open questions."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from fleetlake.errors import ConfigError
from fleetlake.sandbox.world import DAY_S, MAX_LATE_S, Late, day_number

T = TypeVar("T")

SIZES = ("vehicles", "bikes", "trucks", "cars", "cameras")
"""Settings that say how large the fleets are."""


@dataclass(frozen=True, kw_only=True)
class HeldBack:
    """A vehicle without reception: what its device takes in a stretch of time reaches the vendor together, later.

    Attributes:
        fleet: name of the fleet in the world, ``powunity.north`` or ``rcs-main-open``.
        vehicle: index in the fleet.
        start, end: the stretch, within one UTC day.
        received: when it arrives; at most three days after its start.
    """

    fleet: str
    vehicle: int
    start: dt.datetime
    end: dt.datetime
    received: dt.datetime


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """Settings of one sandbox.

    Attributes:
        state_dir: folder for certificates, ``sandbox.json`` and the request log.
        seed: same seed, same bytes.
        vehicles: vehicles of the main RCS customer.
        bikes: bikes of each PowUnity customer.
        trucks: vehicles of the main Omnicomm customer.
        cars: vehicles of the main SuiviDeFlotte customer.
        cameras: cameras of the main OMNI Platform customer.
        as_of: the moment the sandbox believes it is, UTC; ``None`` = the real clock. Nothing received later is visible.
        history_start: first UTC day with data.
        host: address of the listeners.
        ports: port by listener (a vendor's name, or ``control``); absent or 0 = a free one.
        rooms: vendors to serve; ``None`` = all.
        held_back: exactly these stretches of samples reach the vendor late; ``None`` = about three vehicle-days in ten
            have one, as the seed says.
        assumptions: overrides of room settings, ``"rcs.take_max": 500``; see each room's assumptions class.
    """

    state_dir: Path
    seed: int = 7
    vehicles: int = 12
    bikes: int = 10
    trucks: int = 8
    cars: int = 10
    cameras: int = 4
    as_of: dt.datetime | None = None
    history_start: dt.date = dt.date(2025, 1, 1)
    host: str = "127.0.0.1"
    ports: Mapping[str, int] = field(default_factory=dict)
    rooms: tuple[str, ...] | None = None
    held_back: tuple[HeldBack, ...] | None = None
    assumptions: Mapping[str, Any] = field(default_factory=dict)

    def late_by_day(self) -> dict[tuple[str, int, int], Late] | None:
        """The stretches held back, by fleet, vehicle and day number; ``None`` when the seed decides.

        Raises:
            ConfigError: a stretch leaves its day, arrives before its end, or arrives more than three days after its start.
        """
        if self.held_back is None:
            return None
        found = {}
        for item in self.held_back:
            start, end, received = (int(moment.timestamp()) for moment in (item.start, item.end, item.received))
            day = day_number(start)
            if not (start < end <= (day + 1) * DAY_S and end <= received <= start + MAX_LATE_S):
                raise ConfigError(
                    f"{item.fleet} {item.vehicle}: cannot hold back {item.start} to {item.end} until {item.received}",
                    where="held_back",
                    remedy="a stretch lies in one UTC day and arrives within three days of its start",
                )
            found[item.fleet, item.vehicle, day] = Late(start, end, received)
        return found

    def room(self, name: str, kind: type[T]) -> T:
        """The assumptions of the room ``name``: dataclass ``kind`` with the overrides ``<name>.<field>`` applied.

        Raises:
            ConfigError: an override names no field, or its value is not of the field's type.
        """
        known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
        values: dict[str, Any] = {}
        for key, value in self.assumptions.items():
            vendor, _, option = key.partition(".")
            if vendor != name:
                continue
            if option not in known:
                near = difflib.get_close_matches(option, known, 1)
                hint = f"did you mean {name}.{near[0]}?" if near else f"known: {', '.join(known)}"
                raise ConfigError(f"unknown sandbox setting {key!r}", where="--set", remedy=hint)
            values[option] = _convert(key, value, known[option].default)
        return kind(**values)


def _convert(key: str, value: Any, default: Any) -> Any:
    """Text from a command line as a value of the default's type."""
    if not isinstance(value, str) or isinstance(default, str):
        return value
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        if default is None:
            return None if value.lower() in ("", "none") else float(value)
        return type(default)(value)
    except (KeyError, ValueError):
        raise ConfigError(
            f"{key} is {value!r}", where="--set", remedy=f"give a value like the default, {default!r}"
        ) from None
