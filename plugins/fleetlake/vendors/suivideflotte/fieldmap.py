"""The mapping file of an account: what SuiviDeFlotte's paths, fields, times and units are called and mean there.

The vendor publishes none of them (SDF-01), so they are data: ``include/suivideflotte/<account>.yaml``, or ``default.yaml``
for an account without a file of its own. It is checked against the contracts when it is read.
"""

from __future__ import annotations

import datetime as dt
import difflib
import zoneinfo
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from fleetlake.contracts import Column, Contract, load_contracts
from fleetlake.errors import ConfigError
from fleetlake.settings import Settings

TABLES: Mapping[str, str] = {
    "vehicles": "suivideflotte.vehicle",
    "trips": "suivideflotte.trip",
    "alerts": "suivideflotte.alert",
    "poi": "suivideflotte.poi",
    "drivers": "suivideflotte.driver",
}
"""Resource of a mapping file, which is also the name of a feed, to the table it fills."""

RESERVED = ("fields", "equals", "like", "sort", "page", "perpage")
"""Names of the filters; the vendor gives no parameter one of them."""

ISO = "iso"
"""``date_format`` for times with their offset."""

_LENGTHS: Mapping[str, float] = {"km": 1000.0, "m": 1.0}
_DURATIONS: Mapping[str, float] = {"s": 1.0, "min": 60.0, "ms": 0.001}
_SETTINGS = ("timezone", "date_format", "distance_unit", "odometer_unit", "duration_unit", "resources")
_RESOURCE_KEYS = ("path", "sort", "equals", "from", "to", "margin_hours", "only_fields", "fields")
_PLACE = "{scope}"


@dataclass(frozen=True)
class Field:
    """Where a column's value is in the vendor's object.

    Attributes:
        column: column of the contract.
        path: names from the outside in.
        is_optional: it may be absent.
        factor: column = vendor value x factor.
    """

    column: Column
    path: tuple[str, ...]
    is_optional: bool
    factor: float


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One list of the vendor.

    Attributes:
        name: key of ``TABLES``.
        contract: the table it fills.
        path: path of the list, ``{scope}`` where the vehicle stands.
        fields: its mapped fields.
        sort: vendor field to sort by, empty = no sorting.
        equals: filter that every request carries, by vendor field; ``{scope}`` stands for the vehicle.
        start, end: names of the parameters for a window.
        margin: asked beyond both ends of a window.
        only_fields: ask for the mapped fields only; the others are then lost.
        where: file and key, for messages.
    """

    name: str
    contract: Contract
    path: str
    fields: tuple[Field, ...]
    sort: str = ""
    equals: Mapping[str, str] = field(default_factory=dict)
    start: str = "from"
    end: str = "to"
    margin: dt.timedelta = dt.timedelta(0)
    only_fields: bool = False
    where: str = ""

    @property
    def top_fields(self) -> list[str]:
        """Names of the vendor's fields that hold mapped values."""
        return list(dict.fromkeys(item.path[0] for item in self.fields))


@dataclass(frozen=True, kw_only=True)
class FieldMap:
    """A checked mapping file.

    Attributes:
        path: the file.
        zone: zone of the vendor's times that name none (SDF-05).
        date_format: format of times in requests, and in answers that are not ISO 8601; ``iso`` = with offset.
        resources: by name; those that the file describes.
    """

    path: Path
    zone: zoneinfo.ZoneInfo
    date_format: str
    resources: Mapping[str, Resource]

    def resource(self, name: str) -> Resource:
        """A resource.

        Raises:
            ConfigError: the file does not describe it.
        """
        if name not in self.resources:
            raise ConfigError(
                f"resource {name!r} is not described",
                where=str(self.path),
                remedy=f"describe it under resources, as default.yaml does; described are {', '.join(self.resources)}",
            )
        return self.resources[name]


def load_fieldmap(account: str, include: Path | None = None) -> FieldMap:
    """The mapping of an account. Files are read once per process and change of content.

    Args:
        account: name of the account.
        include: folder of contracts and mapping files; ``None`` = the configured one.

    Raises:
        ConfigError: the file is missing or wrong; says which key, and a near match.
    """
    include = include or Settings.from_env().include
    folder = include / "suivideflotte"
    path = next((path for path in (folder / f"{account}.yaml", folder / "default.yaml") if path.is_file()), None)
    if path is None:
        raise ConfigError(
            f"account {account!r} has no mapping file",
            where=str(folder),
            remedy=f"describe the customer's interface in {account}.yaml or default.yaml",
        )
    return _read(path, path.stat().st_mtime_ns, include)


@cache
def _read(path: Path, _mtime: int, include: Path) -> FieldMap:
    where = str(path)
    try:
        data = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=where) from None
    data = _mapping(data, where, _SETTINGS)
    resources = _mapping(data.get("resources"), f"{where}: resources", TABLES)
    factors = {
        "distance_m": _unit(data, "distance_unit", "km", _LENGTHS, where),
        "odometer_m": _unit(data, "odometer_unit", "km", _LENGTHS, where),
        "duration_s": _unit(data, "duration_unit", "s", _DURATIONS, where),
    }
    contracts = load_contracts(include, "suivideflotte")
    return FieldMap(
        path=path,
        zone=_zone(str(data.get("timezone", "Europe/Paris")), where),
        date_format=_date_format(data.get("date_format", "%Y-%m-%d %H:%M:%S"), where),
        resources={
            name: _resource(name, entry, contracts[TABLES[name]], factors, f"{where}: resources.{name}")
            for name, entry in resources.items()
        },
    )


def _resource(name: str, entry: Any, contract: Contract, factors: Mapping[str, float], where: str) -> Resource:
    entry = _mapping(entry, where, _RESOURCE_KEYS)
    path = entry.get("path")
    if not isinstance(path, str) or not path.startswith("/") or "?" in path:
        raise ConfigError(f"path is {path!r}", where=where, remedy="write it from the slash on, without query")
    equals = {str(key): str(value) for key, value in _mapping(entry.get("equals", {}), f"{where}.equals").items()}
    is_per_vehicle = contract.scope_column is not None and contract.time_column is not None
    if is_per_vehicle != (_PLACE in path + "".join(equals.values())):
        says = "must name its vehicle" if is_per_vehicle else "is about the whole fleet"
        raise ConfigError(f"the request {says}", where=where, remedy=f"see {_PLACE} in path or equals in default.yaml")
    for key in ("from", "to"):
        if str(entry.get(key, key)) in RESERVED:
            raise ConfigError(f"{key} is {entry[key]!r}, the name of a filter", where=where, remedy="see the vendor's page")
    margin = entry.get("margin_hours", 0)
    if not isinstance(margin, int | float) or isinstance(margin, bool) or not 0 <= margin <= 168:
        raise ConfigError(f"margin_hours is {margin!r}", where=where, remedy="write hours, 0 to 168")
    if not isinstance(entry.get("only_fields", False), bool):
        raise ConfigError("only_fields cannot be read", where=where, remedy="write true or false")
    return Resource(
        name=name,
        contract=contract,
        path=path,
        fields=_fields(entry.get("fields"), contract, factors, f"{where}.fields"),
        sort=str(entry.get("sort") or ""),
        equals=equals,
        start=str(entry.get("from", "from")),
        end=str(entry.get("to", "to")),
        margin=dt.timedelta(hours=margin),
        only_fields=entry.get("only_fields", False),
        where=where,
    )


def _fields(entry: Any, contract: Contract, factors: Mapping[str, float], where: str) -> tuple[Field, ...]:
    columns = {column.name: column for column in contract.columns if column.source is not None}
    named = _mapping(entry, where, columns)
    needed = [name for name, column in columns.items() if column.required and name != contract.scope_column]
    needed += [column.name for column in contract.columns if column.is_key and column.name not in needed]
    for name in needed:
        if name not in named:
            raise ConfigError(f"column {name!r} has no field", where=where, remedy="every row needs it: name its field")
    fields = []
    for name, source in named.items():
        text = str(source or "")
        path = tuple(text.removesuffix("?").split("."))
        if not all(path):
            raise ConfigError(f"{name} is {source!r}", where=where, remedy="name a field of the vendor, dots between levels")
        fields.append(Field(columns[name], path, text.endswith("?"), factors.get(name, 1.0)))
    return tuple(fields)


def _mapping(value: Any, where: str, known: Collection[str] | None = None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError("a mapping is expected", where=where, remedy="compare with default.yaml")
    for key in value:
        if known is not None and key not in known:
            raise ConfigError(f"unknown key {key!r}", where=where, remedy=_near(str(key), known))
    return value


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def _unit(data: Mapping[str, Any], key: str, default: str, units: Mapping[str, float], where: str) -> float:
    name = str(data.get(key, default))
    if name not in units:
        raise ConfigError(f"{key} is {name!r}", where=where, remedy=f"one of {', '.join(units)}")
    return units[name]


def _zone(name: str, where: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(name, zoneinfo.available_timezones(), 1)
    raise ConfigError(
        f"timezone is {name!r}", where=where, remedy=f"did you mean {near[0]!r}?" if near else "write it as Europe/Paris"
    )


def _date_format(value: Any, where: str) -> str:
    moment = dt.datetime(2026, 11, 22, 13, 14, 15)  # noqa: DTZ001 - a wall clock
    if value == ISO:
        return ISO
    try:
        if dt.datetime.strptime(moment.strftime(str(value)), str(value)).replace(second=15) == moment:  # noqa: DTZ007
            return str(value)
    except ValueError:
        pass
    raise ConfigError(
        f"date_format is {value!r}",
        where=where,
        remedy=f"write {ISO}, or a format with date, hours and minutes: %Y-%m-%d %H:%M:%S",
    )
