"""What a sandbox is made of: seed, sizes, clock, ports, and the vendors' open questions."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from fleetlake.errors import ConfigError

T = TypeVar("T")

SIZES = ("vehicles", "bikes", "trucks", "cars", "cameras")
"""Settings that say how large the fleets are."""


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
    assumptions: Mapping[str, Any] = field(default_factory=dict)

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
