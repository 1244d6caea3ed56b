"""``include/fleet/vehicles.yaml``: what people know about vehicles and no vendor tells."""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fleetlake.errors import ConfigError

VENDORS = ("omnicomm", "rcs", "suivideflotte", "powunity")
"""Vendors that tell of vehicles, in the default order of priority."""

BEGINNING = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
"""Start of an assignment without a beginning."""

_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


@dataclass(frozen=True, kw_only=True)
class MappedDevice:
    """A device of a vehicle, from one moment to another.

    Attributes:
        vendor, account, id: the device; ``id`` is the vendor's, as text.
        valid_from: UTC.
        valid_to: UTC, exclusive; ``None``: it lasts.
        odometer_m: the vehicle's odometer when the device was mounted; ``None``: not known.
    """

    vendor: str
    account: str
    id: str
    valid_from: dt.datetime = BEGINNING
    valid_to: dt.datetime | None = None
    odometer_m: float | None = None


@dataclass(frozen=True, kw_only=True)
class MappedVehicle:
    """A vehicle of the file; ``id`` is its key in schema ``fleet``."""

    id: str
    name: str | None = None
    vin: str | None = None
    plate: str | None = None
    devices: tuple[MappedDevice, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VehicleFile:
    """The file: the order of vendors, and the vehicles.

    Attributes:
        priority: vendors, the most trusted first; all of them.
        vehicles: in the order of the file.
    """

    priority: tuple[str, ...] = VENDORS
    vehicles: tuple[MappedVehicle, ...] = ()

    def rank(self, vendor: str) -> int:
        """Place of a vendor in the order, from 1."""
        return self.priority.index(vendor) + 1


def read_vehicle_file(include: Path) -> VehicleFile:
    """Read ``fleet/vehicles.yaml``; without the file nothing is mapped.

    Raises:
        ConfigError: an entry is wrong; names it and a near match.
    """
    path = include / "fleet" / "vehicles.yaml"
    if not path.is_file():
        return VehicleFile()
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=str(path)) from None
    _known_keys(data, ("priority", "vehicles"), str(path))
    priority = data.get("priority") or []
    for vendor in priority:
        _vendor(vendor, f"{path}: priority")
    if len(set(priority)) < len(priority):
        raise ConfigError("a vendor is listed twice", where=f"{path}: priority")
    vehicles = [_vehicle(entry, f"{path}: vehicles[{index}]") for index, entry in enumerate(data.get("vehicles") or ())]
    for what in ("id", "vin"):
        values = [normal(value) if what == "vin" else value for item in vehicles if (value := getattr(item, what))]
        if twice := sorted({value for value in values if value and values.count(value) > 1}):
            raise ConfigError(f"two vehicles have the {what} {twice[0]!r}", where=str(path))
    return VehicleFile(
        priority=(*priority, *(vendor for vendor in VENDORS if vendor not in priority)), vehicles=tuple(vehicles)
    )


def normal(text: str | None) -> str | None:
    """A plate or VIN in normal form: upper case, letters and digits only; ``None`` when nothing remains."""
    return "".join(letter for letter in (text or "").upper() if letter.isalnum()) or None


def _vehicle(entry: Any, where: str) -> MappedVehicle:
    _known_keys(entry, ("id", "name", "vin", "plate", "devices"), where)
    if not _ID.match(str(entry.get("id", ""))):
        raise ConfigError(f"id is {entry.get('id')!r}", where=where, remedy="letters, digits, dots, dashes, underscores")
    vin = _text(entry.get("vin"))
    if vin and len(normal(vin) or "") != 17:
        raise ConfigError(f"vin is {vin!r}", where=where, remedy="a VIN has 17 letters and digits")
    return MappedVehicle(
        id=str(entry["id"]),
        name=_text(entry.get("name")),
        vin=vin,
        plate=_text(entry.get("plate")),
        devices=tuple(_device(item, f"{where}.devices[{index}]") for index, item in enumerate(entry.get("devices") or ())),
    )


def _device(entry: Any, where: str) -> MappedDevice:
    _known_keys(entry, ("vendor", "account", "id", "from", "to", "odometer_m"), where)
    for key in ("account", "id"):
        if not _text(entry.get(key)):
            raise ConfigError(f"{key} is missing", where=where)
    odometer = entry.get("odometer_m")
    if odometer is not None and (
        not isinstance(odometer, int | float) or isinstance(odometer, bool) or not math.isfinite(odometer) or odometer < 0
    ):
        raise ConfigError(f"odometer_m is {odometer!r}", where=where, remedy="metres, as a number")
    device = MappedDevice(
        vendor=_vendor(entry.get("vendor"), where),
        account=str(entry["account"]),
        id=str(entry["id"]),
        valid_from=_moment(entry.get("from"), f"{where}.from") or BEGINNING,
        valid_to=_moment(entry.get("to"), f"{where}.to"),
        odometer_m=float(odometer) if odometer is not None else None,
    )
    if device.valid_to is not None and device.valid_to <= device.valid_from:
        raise ConfigError("`to` is not after `from`", where=where)
    return device


def _vendor(value: Any, where: str) -> str:
    if value in VENDORS:
        return str(value)
    near = difflib.get_close_matches(str(value), VENDORS, 1)
    raise ConfigError(
        f"there is no vendor {value!r} with vehicles",
        where=where,
        remedy=f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(VENDORS)}",
    )


def _moment(value: Any, where: str) -> dt.datetime | None:
    """A moment; YAML gives dates and times as objects, quoted ones as text. Without a zone it is UTC."""
    if value is None:
        return None
    try:
        moment = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value))
    except ValueError:
        raise ConfigError(f"{value!r} is no moment", where=where, remedy="write 2026-01-05 or 2026-01-05T14:30Z") from None
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None


def _known_keys(entry: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(entry, AnyMapping):
        raise ConfigError("a mapping is expected", where=where, remedy=f"with the keys {', '.join(known)}")
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"unknown key {key!r}", where=where, remedy=hint)
