"""Dataset contracts: one ODCS 3.x YAML file per dataset, read into a frozen description.

A contract is the single source of Arrow schema, table DDL with comments, lake schema, quality suite and data dictionary.
What ODCS has no field for stands in ``customProperties``:

on the schema object
    ``feed``        the feed of the vendor's room whose pages hold the rows
    ``kind``        ``snapshot``, ``window``, ``revision`` or ``report`` (``fleetlake.reading.Kind``)
    ``loadedBy``    the DAG that loads the table, as the vendor's first account has it; absent: none does
    ``scopeColumn`` the column that holds the scope of a request (vehicle or device id); absent: fleet-wide
    ``timeColumn``  the column that places a row in a window and in a day partition; absent: no partitions
    ``receivedColumn`` the column that says when the vendor had the row; absent: the vendor does not tell
    ``merge``       ``replace`` (default) or ``coalesce``: a null never overwrites a known value
    ``ignored``     vendor fields left out on purpose; any other field without a column is reported as unknown

on a property
    ``source``      path of the value in the vendor's row, dots between levels; absent: made by the vendor's mapping
    ``sourceUnit``  the vendor's unit
    ``unit``        the unit of the column
    ``factor``      column = vendor value x factor
    ``read``        how to read it: ``iso`` (text with zone), ``naive`` (text without zone, taken as UTC), ``unix_s`` and
                    ``unix_ms`` (number of seconds or milliseconds since 1970), ``lower``, ``json``

Checks of the table are ODCS ``quality`` entries (see ``TableCheck``); checks of a column are its ``required``, ``unique``,
``primaryKey``, ``enum`` and ``logicalTypeOptions`` (minimum, maximum, pattern).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fleetlake.equations import Equation, read_equation
from fleetlake.errors import ContractError
from fleetlake.reading import Kind

if TYPE_CHECKING:
    import pyarrow as pa
    from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, SchemaProperty

TYPES: Mapping[str, str] = {
    # physical type in PostgreSQL -> logical type in ODCS that fits it
    "text": "string",
    "bigint": "integer",
    "integer": "integer",
    "double precision": "number",
    "boolean": "boolean",
    "timestamptz": "timestamp",
    "date": "date",
    "jsonb": "object",
}

READERS = ("iso", "naive", "unix_s", "unix_ms", "lower", "json")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: snake_case with the unit as suffix.
        type: PostgreSQL type, one of ``TYPES``.
        description: meaning, for the column comment and the dictionary.
        unit: unit of the values, ``None`` for plain values.
        source: path in the vendor's row, ``None`` for derived columns.
        source_unit: the vendor's unit.
        factor: column = vendor value x factor.
        read: one of ``READERS`` or ``None``.
        is_key: part of the primary key (``account`` is always its first part).
        required: null is an error.
        minimum, maximum, pattern, enum: allowed values; ``None`` = not checked.
        severity: severity of this column's checks: ``warning``, ``error`` or ``critical``.
        references: ``schema.table.column`` whose values these must be, or ``None``.
        is_personal: it may say who somebody is (ODCS ``classification: personal``); not shown where differences are told.
    """

    name: str
    type: str
    description: str
    unit: str | None = None
    source: str | None = None
    source_unit: str | None = None
    factor: float | None = None
    read: str | None = None
    is_key: bool = False
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    enum: tuple[Any, ...] | None = None
    severity: str = "error"
    references: str | None = None
    is_personal: bool = False

    @property
    def arrow_type(self) -> pa.DataType:
        """Arrow type of the column; JSON columns are canonical JSON text."""
        import pyarrow as pa

        return {
            "text": pa.string(),
            "bigint": pa.int64(),
            "integer": pa.int32(),
            "double precision": pa.float64(),
            "boolean": pa.bool_(),
            "timestamptz": pa.timestamp("us", tz="UTC"),
            "date": pa.date32(),
            "jsonb": pa.string(),
        }[self.type]


@dataclass(frozen=True, kw_only=True)
class TableCheck:
    """A check about a whole batch, or about several columns of a row.

    Attributes:
        name: ``freshness`` (seconds allowed between window end and newest row), ``max_rejected_pct`` (share of rows a batch
            may lose to quarantine before it is held), ``row_count_min``, or ``identity`` (an equation between columns).
        limit: the number that goes with it; of an identity how far off it may be.
        severity: ``warning``, ``error`` or ``critical``.
        equation: of an identity.
    """

    name: str
    limit: float
    severity: str
    equation: Equation | None = None

    @property
    def title(self) -> str:
        """The name, unique within a contract: a table may have several identities."""
        return self.name if self.equation is None else f"{self.name}: {self.equation.text}"


TABLE_CHECKS = ("freshness", "max_rejected_pct", "row_count_min", "identity")
SEVERITIES = ("warning", "error", "critical")


@dataclass(frozen=True, kw_only=True)
class Contract:
    """One dataset: what its table holds and how it is filled.

    Attributes:
        vendor: the vendor's room, also the schema in the warehouse.
        name: table name.
        version: version of the contract.
        description: what one row is.
        feed: feed whose pages hold the rows.
        kind: how the feed is read.
        loaded_by: base id of the DAG that loads it (``Account.dag_id`` makes the account's of it); ``None`` = none does.
        columns: business columns in order, without ``account`` and the provenance columns.
        scope_column, time_column, received_column: see the module.
        merge: ``replace`` or ``coalesce``.
        ignored: vendor fields left out on purpose.
        checks: checks on the batch.
        grain: what makes a row.
        limitations: what a reader must know before trusting it.
        path: the file it was read from.
    """

    vendor: str
    name: str
    version: str
    description: str
    feed: str
    kind: Kind
    columns: tuple[Column, ...]
    loaded_by: str | None = None
    scope_column: str | None = None
    time_column: str | None = None
    received_column: str | None = None
    merge: str = "replace"
    ignored: frozenset[str] = frozenset()
    checks: tuple[TableCheck, ...] = ()
    grain: str | None = None
    limitations: str | None = None
    path: Path | None = field(default=None, compare=False)

    @property
    def table(self) -> str:
        """Qualified table name, also the dataset's name everywhere: ``rcs.telemetry``."""
        return f"{self.vendor}.{self.name}"

    @property
    def key(self) -> tuple[str, ...]:
        """Primary key: the account, then the contract's key columns."""
        return ("account", *(column.name for column in self.columns if column.is_key))

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """Columns of the lake table: account, business columns, provenance."""
        return (ACCOUNT, *self.columns, *PROVENANCE)

    @property
    def content_columns(self) -> tuple[Column, ...]:
        """Columns whose change makes a row a different row: business columns and the deletion mark."""
        return (*self.columns, PROVENANCE[-1])

    @property
    def arrow_schema(self) -> pa.Schema:
        """Arrow schema of ``all_columns``, with unit and description as field metadata."""
        import pyarrow as pa

        return pa.schema(
            [
                pa.field(
                    column.name,
                    column.arrow_type,
                    nullable=not column.required,
                    metadata={"unit": column.unit or "", "description": column.description},
                )
                for column in self.all_columns
            ]
        )

    def column(self, name: str) -> Column:
        """The column called ``name``.

        Raises:
            KeyError: there is none.
        """
        for column in self.all_columns:
            if column.name == name:
                return column
        raise KeyError(name)


ACCOUNT = Column(
    name="account",
    type="text",
    required=True,
    is_key=True,
    description="Account (set of vendor credentials) it came from.",
)

PROVENANCE = (
    Column(name="fetched_at", type="timestamptz", required=True, description="When fleetlake read the vendor's answer."),
    Column(name="raw_page", type="text", required=True, description="Raw page that holds the row, below the raw store."),
    Column(name="raw_row", type="integer", required=True, description="Position of the row in its raw page, from 0."),
    Column(name="load_id", type="text", required=True, description="Batch that last changed the row; see ops.load."),
    Column(
        name="deleted_at",
        type="timestamptz",
        description="When a complete answer of the vendor no longer held the row; null: it is current.",
    ),
)

LOADED_AT = Column(
    name="loaded_at",
    type="timestamptz",
    required=True,
    description="When the warehouse took the row in its present form (warehouse only).",
)


def load_contracts(include: Path, vendor: str | None = None) -> dict[str, Contract]:
    """All contracts below ``include/contracts``, by table name.

    Raises:
        ContractError: a file is wrong; says which file and property, and how to mend it.
    """
    contracts: dict[str, Contract] = {}
    for path in sorted((include / "contracts").glob(f"{vendor or '*'}/*.yaml")):
        contract = read_contract(path)
        contracts[contract.table] = contract
    return contracts


def read_contract(path: Path) -> Contract:
    """Read one contract file. Files are read once per process and change of content.

    Raises:
        ContractError: see ``load_contracts``.
    """
    return _read(path, path.stat().st_mtime_ns)


@cache
def _read(path: Path, _mtime: int) -> Contract:
    from open_data_contract_standard.model import OpenDataContractStandard
    from pydantic import ValidationError

    try:
        # The C loader reads a contract ten times faster than the default one.
        data = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        document = OpenDataContractStandard.model_validate(data)
    except yaml.YAMLError as error:
        raise ContractError(f"not YAML: {error}", where=str(path)) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ContractError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            where=str(path),
            remedy="see the Open Data Contract Standard 3.1",
        ) from None
    if not document.schema_ or len(document.schema_) != 1:
        raise ContractError("a contract describes exactly one table", where=str(path), remedy="one entry under `schema`")
    return _contract(path, document, document.schema_[0])


def _contract(path: Path, document: OpenDataContractStandard, schema: SchemaObject) -> Contract:
    vendor = path.parent.name
    where = str(path)
    if schema.name != path.stem:
        raise ContractError(f"table {schema.name!r} in file {path.name}", where=where, remedy="give both the same name")
    custom = _custom(
        schema.customProperties,
        ("feed", "kind", "loadedBy", "scopeColumn", "timeColumn", "receivedColumn", "merge", "ignored"),
        where,
    )
    for key in ("feed", "kind"):
        if key not in custom:
            raise ContractError(f"customProperty {key!r} is missing", where=where, remedy="see docs/add-a-vendor.md")
    columns = tuple(_column(prop, where) for prop in schema.properties or ())
    names = [column.name for column in columns]
    reserved = {ACCOUNT.name, LOADED_AT.name, *(column.name for column in PROVENANCE)}
    for name in names:
        if names.count(name) > 1 or name in reserved:
            raise ContractError(
                f"column {name!r} is {'reserved' if name in reserved else 'there twice'}",
                where=where,
                remedy="rename it",
            )
    for key in ("scopeColumn", "timeColumn", "receivedColumn"):
        if custom.get(key) and custom[key] not in names:
            raise ContractError(f"{key} {custom[key]!r} is no column", where=where, remedy=_near(custom[key], names))
    if not any(column.is_key for column in columns):
        raise ContractError("no primary key", where=where, remedy="mark the key columns with `primaryKey: true`")
    if not document.version or not schema.description:
        raise ContractError("version and the table's description are required", where=where)
    return Contract(
        vendor=vendor,
        name=schema.name,
        version=document.version,
        description=" ".join(schema.description.split()),
        feed=str(custom["feed"]),
        kind=Kind(_one_of(custom["kind"], [kind.value for kind in Kind], "kind", where)),
        columns=columns,
        loaded_by=custom.get("loadedBy"),
        scope_column=custom.get("scopeColumn"),
        time_column=custom.get("timeColumn"),
        received_column=custom.get("receivedColumn"),
        merge=_one_of(custom.get("merge", "replace"), ["replace", "coalesce"], "merge", where),
        ignored=frozenset(custom.get("ignored", ())),
        checks=tuple(_table_check(check, columns, where) for check in schema.quality or ()),
        grain=schema.dataGranularityDescription,
        limitations=document.description.limitations if document.description else None,
        path=path,
    )


def _column(prop: SchemaProperty, path: str) -> Column:
    where = f"{path}: {prop.name}"
    if not prop.name or not prop.description:
        raise ContractError("a property needs name and description", where=where)
    kind = _one_of(prop.physicalType, list(TYPES), "physicalType", where)
    if prop.logicalType != TYPES[kind] and not (kind == "jsonb" and prop.logicalType == "array"):
        raise ContractError(
            f"logicalType {prop.logicalType!r} does not go with physicalType {kind!r}",
            where=where,
            remedy=f"write logicalType: {TYPES[kind]}",
        )
    custom = _custom(prop.customProperties, ("source", "sourceUnit", "unit", "factor", "read"), where)
    options = prop.logicalTypeOptions or {}
    for key in options:
        _one_of(key, ["minimum", "maximum", "pattern"], "logicalTypeOptions", where)
    severity = next((check.severity for check in prop.quality or () if check.severity), "error")
    references = next((relation.to for relation in prop.relationships or () if relation.to), None)
    factor = custom.get("factor")
    if factor is not None and kind not in ("double precision", "bigint", "integer"):
        raise ContractError("factor needs a number column", where=where, remedy="use physicalType double precision")
    return Column(
        name=prop.name,
        type=kind,
        description=" ".join(prop.description.split()),
        unit=custom.get("unit"),
        source=custom.get("source"),
        source_unit=custom.get("sourceUnit"),
        factor=float(factor) if factor is not None else None,
        read=_one_of(custom["read"], list(READERS), "read", where) if "read" in custom else None,
        is_key=bool(prop.primaryKey),
        required=bool(prop.required or prop.primaryKey),
        minimum=options.get("minimum"),
        maximum=options.get("maximum"),
        pattern=options.get("pattern"),
        enum=tuple(item.value for item in prop.enum) if prop.enum else None,
        severity=_one_of(severity, list(SEVERITIES), "severity", where),
        references=references if isinstance(references, str) else None,
        is_personal=_one_of(prop.classification or "plain", ["plain", "personal"], "classification", where) == "personal",
    )


def _table_check(check: Any, columns: Sequence[Column], where: str) -> TableCheck:
    limit = check.mustBeLessOrEqualTo if check.mustBeLessOrEqualTo is not None else check.mustBeGreaterOrEqualTo
    if limit is None:
        raise ContractError(
            f"check {check.name!r} has no limit",
            where=where,
            remedy="give mustBeLessOrEqualTo or mustBeGreaterOrEqualTo",
        )
    name = _one_of(check.name, list(TABLE_CHECKS), "quality", where)
    return TableCheck(
        name=name,
        limit=float(limit),
        severity=_one_of(check.severity or "warning", list(SEVERITIES), "severity", where),
        equation=_equation(check.implementation, columns, where) if name == "identity" else None,
    )


def _equation(text: Any, columns: Sequence[Column], where: str) -> Equation:
    numbers = [column.name for column in columns if column.type in ("bigint", "integer", "double precision")]
    try:
        return read_equation(text if isinstance(text, str) else "", numbers)
    except ValueError as error:
        problem = str(error)
    raise ContractError(
        f"identity: {problem}",
        where=where,
        remedy="write implementation: total_s = moving_s + standing_s, of number columns",
    )


def _custom(properties: Sequence[Any] | None, known: Sequence[str], where: str) -> dict[str, Any]:
    values = {}
    for item in properties or ():
        _one_of(item.property, list(known), "customProperty", where)
        values[item.property] = item.value
    return values


def _one_of(value: Any, known: list[str], what: str, where: str) -> str:
    if value in known:
        return str(value)
    raise ContractError(f"{what} is {value!r}", where=where, remedy=_near(str(value), known))


def _near(value: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(known)}"
