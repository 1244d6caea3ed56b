"""Raw rows to typed Arrow columns, as a contract says.

One compiled ``msgspec`` decoder per contract checks the types of all fields at once and says which one is wrong; values are
then moved column by column into Arrow, and converted there (times, units, lower case). A row that does not fit is set
aside with its reason; its neighbours are not touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from fleetlake.canonical import FLOAT_DIGITS
from fleetlake.errors import ContractError

if TYPE_CHECKING:
    from fleetlake.contracts import Column, Contract
    from fleetlake.reading import Derivation

EXTRA = "extra"
"""Name of the JSON column that keeps the vendor's fields a contract does not name."""

_JSON_NULL = msgspec.Raw(b"null")
_UNREADABLE = (ValueError, OverflowError, RecursionError)
"""What JSON can raise: malformed, of another type, no UTF-8 (all ValueError); too large a number; too deep."""
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_PYTHON_TYPES: Mapping[str, Any] = {
    "text": str | None,
    "bigint": int | float | None,  # vendors switch between 90 and 90.0
    "integer": int | float | None,
    "double precision": float | None,
    "boolean": bool | None,
    "timestamptz": str | None,
    "date": str | None,
    "jsonb": msgspec.Raw,
}


@dataclass(frozen=True)
class Reject:
    """A row that could not be typed.

    Attributes:
        index: position among the rows given.
        column: the column concerned, if one is to blame.
        reason: what is wrong, for a person.
    """

    index: int
    column: str | None
    reason: str


@dataclass(frozen=True)
class Decoded:
    """Typed rows of a page.

    Attributes:
        table: business columns of the contract, one row per row that could be typed; nulls not yet judged.
        indices: for each row of ``table`` its position among the rows given.
        rejects: the others.
        unknown_fields: top-level vendor fields that the contract neither names nor ignores (seen in the first row; empty when the
            contract keeps them in ``extra``).
    """

    table: pa.Table
    indices: list[int]
    rejects: list[Reject]
    unknown_fields: frozenset[str]


def decode_rows(contract: Contract, rows: Sequence[msgspec.Raw], derivation: Derivation | None = None) -> Decoded:
    """Type the rows of one vendor answer.

    Args:
        contract: what the columns are.
        rows: one JSON object each, as split by the vendor's room.
        derivation: makes the columns without a source.

    Raises:
        ContractError: the contract has a column without source that the derivation does not make.
    """
    reader = _reader(contract, derivation)
    records, indices, rejects = reader.read(rows)
    fields = reader.values(records)
    columns: dict[str, pa.Array] = {}
    bad: dict[int, Reject] = {}
    for column in contract.columns:
        if column.source is not None:
            columns[column.name] = _convert(column, fields[column.source], indices, bad)
    if derivation is not None:
        needs = {path: _plain(path, fields[path], indices, bad) for path in derivation.needs}
        for name, values in derivation.make(needs, columns).items():
            columns[name] = _derived(contract.column(name), values, indices, bad)
    has_extra = any(column.name == EXTRA and column.source is None for column in contract.columns)
    if has_extra:
        columns[EXTRA] = _extras(rows, reader.top_level, indices, bad)
    for column in contract.columns:
        if column.name not in columns:
            raise ContractError(
                f"column {column.name!r} has no source and no derivation",
                where=str(contract.path),
                remedy="give it a `source`, or make it in the vendor's mapping",
            )
    table = pa.table({column.name: columns[column.name] for column in contract.columns})
    if bad:
        keep = [position for position, index in enumerate(indices) if index not in bad]
        table = table.take(pa.array(keep, pa.int64()))  # the type must be said: there may be nothing left to keep
        indices = [indices[position] for position in keep]
        rejects = sorted([*rejects, *bad.values()], key=lambda reject: reject.index)
    unknown = frozenset[str]() if has_extra or not rows else _unknown(rows[0], reader.top_level | contract.ignored)
    return Decoded(table, indices, rejects, unknown)


def empty_table(contract: Contract) -> pa.Table:
    """A table without rows in the shape of ``Decoded.table``."""
    return pa.schema([(column.name, column.arrow_type) for column in contract.columns]).empty_table()


# --- reading fields -----------------------------------------------------------------------------------------------------


@dataclass
class _Node:
    """One level of the vendor's row: its wanted fields, nested ones with a node of their own."""

    leaves: dict[str, str] = field(default_factory=dict)  # name -> physical type
    children: dict[str, _Node] = field(default_factory=dict)


class _Reader:
    """Decoder for a set of paths; compiled once per contract."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        root = _Node()
        for path, kind in paths.items():
            node, *rest = root, *path.split(".")
            for part in rest[:-1]:
                node = node.children.setdefault(part, _Node())
            if node.leaves.setdefault(rest[-1], kind) != kind:
                raise ContractError(f"source {path!r} is read as {kind} and as {node.leaves[rest[-1]]}")
        self.top_level = frozenset({*root.leaves, *root.children})
        self._fields = _Compiled(root)
        self._decode = msgspec.json.Decoder(self._fields.type).decode

    def read(self, rows: Sequence[msgspec.Raw]) -> tuple[list[Any], list[int], list[Reject]]:
        records, indices, rejects = [], [], []
        decode, expand = self._decode, self._fields.expand
        for index, raw in enumerate(rows):
            try:
                record = decode(raw)
                expand(record)
            except _UNREADABLE as error:
                rejects.append(Reject(index, None, str(error)))
                continue
            records.append(record)
            indices.append(index)
        return records, indices, rejects

    def values(self, records: list[Any]) -> dict[str, list[Any]]:
        result: dict[str, list[Any]] = {}
        self._fields.collect(records, "", result)
        return result


class _Compiled:
    """A struct type for one level, and how to walk its instances."""

    def __init__(self, node: _Node) -> None:
        self.names = {name: f"f{number}" for number, name in enumerate({**node.leaves, **node.children})}
        self.leaves = node.leaves
        self.children = {name: _Compiled(child) for name, child in node.children.items()}
        # A field wanted whole (as JSON) and in parts is taken whole, and its parts are decoded from it.
        self.both = {
            name: msgspec.json.Decoder(self.children[name].type | None) for name in node.children if name in node.leaves
        }
        definitions: list[tuple[str, Any, Any]] = []
        for name, attribute in self.names.items():
            if name in node.leaves:
                kind = node.leaves[name]
                definitions.append((attribute, _PYTHON_TYPES[kind], _JSON_NULL if kind == "jsonb" else None))
            else:
                definitions.append((attribute, self.children[name].type | None, None))
        definitions += [(f"{self.names[name]}_parts", Any, None) for name in self.both]
        rename = {attribute: name for name, attribute in self.names.items()}
        self.type: Any = msgspec.defstruct("Row", definitions, rename=rename)

    def expand(self, record: Any) -> None:
        for name, decoder in self.both.items():
            attribute = self.names[name]
            setattr(record, f"{attribute}_parts", decoder.decode(getattr(record, attribute)))
        for name, child in self.children.items():
            if name not in self.both and child.both and (value := getattr(record, self.names[name])) is not None:
                child.expand(value)

    def collect(self, records: list[Any], prefix: str, result: dict[str, list[Any]]) -> None:
        for name in self.leaves:
            attribute = self.names[name]
            result[prefix + name] = [None if record is None else getattr(record, attribute) for record in records]
        for name, child in self.children.items():
            attribute = self.names[name] + ("_parts" if name in self.both else "")
            parts = [None if record is None else getattr(record, attribute) for record in records]
            child.collect(parts, f"{prefix}{name}.", result)


@lru_cache(maxsize=64)
def _cached_reader(paths: tuple[tuple[str, str], ...]) -> _Reader:
    return _Reader(dict(paths))


def _reader(contract: Contract, derivation: Derivation | None) -> _Reader:
    paths: dict[str, str] = {}
    for column in contract.columns:
        if column.source is not None:
            # Two columns may read one field (a vendor value and its canonical form): the wider type serves both.
            kind = "jsonb" if column.read == "json" else "bigint" if column.read in _UNIX else column.type
            known = paths.setdefault(column.source, kind)
            if known != kind:
                paths[column.source] = "double precision" if {known, kind} <= _NUMBERS else kind
    for path, kind in (derivation.needs if derivation else {}).items():
        paths.setdefault(path, kind)
    return _cached_reader(tuple(paths.items()))


_NUMBERS = {"bigint", "integer", "double precision"}
_UNIX = {"unix_s": 1_000_000, "unix_ms": 1_000}
"""Microseconds of one unit."""


# --- converting columns -------------------------------------------------------------------------------------------------


def _convert(column: Column, values: list[Any], indices: list[int], bad: dict[int, Reject]) -> pa.Array:
    convert = _converter(column)
    try:
        return convert(values)
    except (*_UNREADABLE, pa.ArrowTypeError):
        # Rare: find the rows to blame one by one, and keep the others.
        kept: list[Any] = []
        for value, index in zip(values, indices, strict=True):
            try:
                convert([value])
                kept.append(value)
            except (*_UNREADABLE, pa.ArrowTypeError):
                bad[index] = Reject(index, column.name, f"{_shown(value)} is no {column.type} ({column.source})")
                kept.append(None)
        return convert(kept)


def _converter(column: Column) -> Callable[[list[Any]], pa.Array]:
    target = column.arrow_type
    if column.read == "json":
        return lambda values: pa.array([_json_text(value) for value in values], target)
    if column.read in _UNIX:
        scale = _UNIX[column.read]
        return lambda values: pa.array(
            [None if value is None else round(value * scale) for value in values], pa.timestamp("us", tz="UTC")
        ).cast(target)
    if column.type in ("timestamptz", "date"):
        if column.read == "naive":
            return lambda values: _assume_utc(values, target)
        return lambda values: pa.array(values, pa.string()).cast(target)
    if column.type == "text":
        if column.read == "lower":
            return lambda values: _without_nul(pc.utf8_lower(pa.array(values, target)))
        return lambda values: _without_nul(pa.array(values, target))
    if column.factor is not None:
        factor = column.factor
        return lambda values: pc.round(pc.multiply(pa.array(values, pa.float64()), factor), FLOAT_DIGITS).cast(target)
    if column.type in ("bigint", "integer"):
        return lambda values: pa.array([_whole(value) for value in values], target)
    return lambda values: pa.array(values, target)


def _without_nul(texts: pa.Array) -> pa.Array:
    # No store can hold this character; the row that has it must not take its batch along.
    if pc.any(pc.match_substring(texts, "\x00")).as_py():
        raise ValueError("a text with a NUL character")
    return texts


def _assume_utc(values: list[Any], target: pa.DataType) -> pa.Array:
    try:
        return pc.assume_timezone(pa.array(values, pa.string()).cast(pa.timestamp("us")), "UTC")
    except pa.ArrowInvalid:
        # Vendor pages promise text without zone; one that has a zone all the same says what it means.
        zoned = [value if value is None or _has_zone(value) else f"{value}Z" for value in values]
        return pa.array(zoned, pa.string()).cast(target)


def _has_zone(text: str) -> bool:
    time = text[10:]
    return time.endswith("Z") or "+" in time or "-" in time


def _whole(value: Any) -> Any:
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError("not a whole number")
        return int(value)
    return value


def _json_text(value: Any) -> str | None:
    """Canonical JSON text: sorted keys, no spaces; JSON null is null."""
    if value is None or bytes(value) == b"null":
        return None
    return _canonical_json(msgspec.json.decode(value))


def _canonical_json(value: Any) -> str:
    text = msgspec.json.encode(value, order="deterministic").decode()
    if "\\u0000" in text and _NUL.search(text):
        raise ValueError("a text with a NUL character")
    return text


def _plain(path: str, values: list[Any], indices: list[int], bad: dict[int, Reject]) -> list[Any]:
    """Values for a derivation; a row whose JSON cannot be read is marked bad and has none."""
    plain = []
    for index, value in zip(indices, values, strict=True):
        try:
            plain.append(msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value)
        except _UNREADABLE as error:
            bad.setdefault(index, Reject(index, None, f"{_shown(value)} cannot be read: {error} ({path})"))
            plain.append(None)
    return plain


def _derived(column: Column, values: Any, indices: list[int], bad: dict[int, Reject]) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    array = values.cast(column.arrow_type) if isinstance(values, pa.Array) else pa.array(values, column.arrow_type)
    if column.type == "text":
        for position, has_nul in enumerate(pc.match_substring(array, "\x00").to_pylist()):
            if has_nul:
                bad.setdefault(indices[position], Reject(indices[position], column.name, "a text with a NUL character"))
    return array


def _extras(
    rows: Sequence[msgspec.Raw], known: frozenset[str], indices: list[int], bad: dict[int, Reject]
) -> pa.StringArray:
    """What the contract does not name, as JSON text; a row with something no store can hold is marked bad."""
    texts = []
    for index in indices:
        text = None
        try:
            fields = msgspec.json.decode(rows[index], type=dict[str, msgspec.Raw])
            rest = {name: value for name, value in fields.items() if name not in known}
            try:
                text = _extra(rest)
            except _UNREADABLE:
                for name, value in rest.items():  # one of them is to blame: say which
                    try:
                        _extra({name: value})
                    except _UNREADABLE as error:
                        raise ValueError(f"field {name!r} cannot be kept: {_shown(value)}: {error}") from None
                raise
        except _UNREADABLE as error:
            bad.setdefault(index, Reject(index, EXTRA, str(error)))
        texts.append(text)
    return pa.array(texts, pa.string())


def _extra(fields: Mapping[str, msgspec.Raw]) -> str | None:
    return _canonical_json({name: msgspec.json.decode(value) for name, value in fields.items()}) if fields else None


def _unknown(raw: msgspec.Raw, known: frozenset[str]) -> frozenset[str]:
    try:
        return frozenset(msgspec.json.decode(raw, type=dict[str, msgspec.Raw])) - known
    except _UNREADABLE:
        return frozenset()


def _shown(value: Any) -> str:
    text = bytes(value).decode(errors="replace") if isinstance(value, msgspec.Raw) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
