"""The tables of schema ``fleet`` as ``include/fleet/model/*.yaml`` declares them: columns, units, meanings, where they come from.

The files are Open Data Contract Standard 3.1, one table each, like the vendors' contracts. Where a column comes from stands
in the standard's own ``transformSourceObjects`` and ``transformDescription``; on the table, in ``customProperties``:

``grain``    what is built at once: ``vehicle_day``, ``account_day``, ``vehicle`` (its whole history), ``whole`` (the table), or
             ``view`` (nothing is stored)
``sources``  vendor tables whose changes make rows stale
``indexes``  lists of columns to index beside the key
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from fleetlake.contracts import TYPES
from fleetlake.errors import ContractError

GRAINS = ("vehicle_day", "account_day", "vehicle", "whole", "view")


@dataclass(frozen=True, kw_only=True)
class FleetColumn:
    """One column.

    Attributes:
        name: snake_case with the unit as suffix.
        type: PostgreSQL type, one of ``contracts.TYPES``.
        description: meaning.
        unit: unit of the values, ``None`` for plain values.
        is_key: part of the primary key.
        required: never null.
        lineage: columns, tables or files it is made from.
        how: how it is made, where the names do not say it.
    """

    name: str
    type: str
    description: str
    unit: str | None = None
    is_key: bool = False
    required: bool = False
    lineage: tuple[str, ...] = ()
    how: str | None = None

    @property
    def comment(self) -> str:
        """Comment in the database: meaning and, in brackets, unit."""
        return f"{self.description} [{self.unit}]" if self.unit else self.description


@dataclass(frozen=True, kw_only=True)
class FleetTable:
    """One table or view of schema ``fleet``.

    Attributes:
        name: table name without schema.
        version: version of the declaration.
        description: what it holds.
        rows: what one row is.
        grain: one of ``GRAINS``.
        sources: vendor tables whose changes make rows stale.
        indexes: columns of each index beside the key's.
        columns: in order, without ``built_at``.
    """

    name: str
    version: str
    description: str
    rows: str
    grain: str
    sources: frozenset[str]
    indexes: tuple[tuple[str, ...], ...]
    columns: tuple[FleetColumn, ...]

    @property
    def table(self) -> str:
        """Qualified name."""
        return f"fleet.{self.name}"

    @property
    def key(self) -> tuple[str, ...]:
        """Primary key."""
        return tuple(column.name for column in self.columns if column.is_key)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def stored_columns(self) -> tuple[FleetColumn, ...]:
        """Columns of the table in the warehouse."""
        return self.columns if self.grain == "view" else (*self.columns, BUILT_AT)


BUILT_AT = FleetColumn(
    name="built_at",
    type="timestamptz",
    required=True,
    description="When the row took its present form.",
)


def load_fleet_tables(include: Path) -> dict[str, FleetTable]:
    """All tables below ``include/fleet/model``, by qualified name.

    Raises:
        ContractError: a file is wrong; says which file and column.
    """
    tables = [_read(path, path.stat().st_mtime_ns) for path in sorted((include / "fleet" / "model").glob("*.yaml"))]
    return {table.table: table for table in tables}


@cache
def _read(path: Path, _mtime: int) -> FleetTable:
    from open_data_contract_standard.model import OpenDataContractStandard
    from pydantic import ValidationError

    where = str(path)
    try:
        data = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        document = OpenDataContractStandard.model_validate(data)
    except yaml.YAMLError as error:
        raise ContractError(f"not YAML: {error}", where=where) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ContractError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where=where) from None
    if not document.schema_ or len(document.schema_) != 1 or document.schema_[0].name != path.stem:
        raise ContractError("a file describes exactly the table it is named after", where=where)
    schema = document.schema_[0]
    custom: dict[str, Any] = {str(item.property): item.value for item in schema.customProperties or ()}
    unknown = set(custom) - {"grain", "sources", "indexes"}
    if unknown or custom.get("grain") not in GRAINS:
        raise ContractError(
            f"unknown customProperty {min(unknown)!r}" if unknown else f"grain is {custom.get('grain')!r}",
            where=where,
            remedy=f"grain (one of {', '.join(GRAINS)}), sources, indexes",
        )
    if not document.version or not schema.description or not schema.dataGranularityDescription:
        raise ContractError("version, description and dataGranularityDescription are required", where=where)
    table = FleetTable(
        name=path.stem,
        version=document.version,
        description=" ".join(schema.description.split()),
        rows=schema.dataGranularityDescription,
        grain=custom["grain"],
        sources=frozenset(custom.get("sources", ())),
        indexes=tuple(tuple(names) for names in custom.get("indexes", ())),
        columns=tuple(_column(prop, where) for prop in schema.properties or ()),
    )
    if table.grain != "view" and not table.key:
        raise ContractError("no primary key", where=where, remedy="mark the key columns with `primaryKey: true`")
    if wrong := {name for names in table.indexes for name in names} - set(table.names):
        raise ContractError(f"index on {min(wrong)!r}, which is no column", where=where)
    return table


def _column(prop: Any, path: str) -> FleetColumn:
    where = f"{path}: {prop.name}"
    if not prop.name or not prop.description:
        raise ContractError("a column needs name and description", where=where)
    if prop.physicalType not in TYPES or prop.logicalType != TYPES[prop.physicalType]:
        raise ContractError(f"physicalType {prop.physicalType!r} with logicalType {prop.logicalType!r}", where=where)
    custom: dict[str, Any] = {item.property: item.value for item in prop.customProperties or ()}
    if set(custom) - {"unit"}:
        raise ContractError(f"unknown customProperty {min(set(custom) - {'unit'})!r}", where=where)
    return FleetColumn(
        name=prop.name,
        type=prop.physicalType,
        description=" ".join(prop.description.split()),
        unit=custom.get("unit"),
        is_key=bool(prop.primaryKey),
        required=bool(prop.required or prop.primaryKey),
        lineage=tuple(prop.transformSourceObjects or ()),
        how=prop.transformDescription,
    )
