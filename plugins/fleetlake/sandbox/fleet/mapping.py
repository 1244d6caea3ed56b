"""The customer's word on which device is on which vehicle: ``include/fleet/vehicles.yaml``."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fleetlake.window import utc

VENDORS = ("omnicomm", "rcs", "suivideflotte", "powunity")
"""Vendors with vehicles, best first."""

FOREVER = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
"""Start of an assignment without start."""


@dataclass(frozen=True)
class Mounting:
    """A device on a vehicle, ``[start, end)``; ``end`` ``None`` = still."""

    vendor: str
    account: str
    device: str
    start: dt.datetime
    end: dt.datetime | None
    odometer_m: float | None


@dataclass(frozen=True)
class Listed:
    """A vehicle of the file."""

    key: str
    name: str | None
    vin: str | None
    plate: str | None
    mountings: tuple[Mounting, ...]


@dataclass(frozen=True)
class Mapping:
    """The file.

    Attributes:
        ranks: 1 = the vendor believed first.
        vehicles: in the order of the file.
    """

    ranks: dict[str, int]
    vehicles: tuple[Listed, ...]

    @classmethod
    def read(cls, path: Path | None) -> Mapping:
        """The mapping in ``path``; ``None`` = no file: default order, nothing listed."""
        data: dict[str, Any] = (yaml.safe_load(path.read_text()) if path else None) or {}
        order = [*(data.get("priority") or ()), *VENDORS]
        ranks = {vendor: rank for rank, vendor in enumerate(dict.fromkeys(order), start=1)}
        return cls(ranks, tuple(_listed(item) for item in data.get("vehicles") or ()))


def _listed(item: dict[str, Any]) -> Listed:
    return Listed(
        key=str(item["id"]),
        name=item.get("name"),
        vin=item.get("vin"),
        plate=item.get("plate"),
        mountings=tuple(_mounting(device) for device in item.get("devices") or ()),
    )


def _mounting(item: dict[str, Any]) -> Mounting:
    metres = item.get("odometer_m")
    return Mounting(
        vendor=item["vendor"],
        account=item["account"],
        device=str(item["id"]),
        start=utc(item["from"]) if item.get("from") else FOREVER,
        end=utc(item["to"]) if item.get("to") else None,
        odometer_m=None if metres is None else float(metres),
    )
