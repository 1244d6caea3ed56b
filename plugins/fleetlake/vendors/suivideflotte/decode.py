"""SuiviDeFlotte answers to rows: the vendor's names become those of the contracts, as the account's mapping file says.

Times become UTC, lengths metres and seconds; texts and numbers that only dress up as the other are told apart by the
column's type (a database behind a web framework may write 12.5 as "12.5", true as 1). Anything else keeps its shape and is
judged by the pipeline.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any

import msgspec

from fleetlake.canonical import FLOAT_DIGITS
from fleetlake.errors import ConfigError, MalformedAnswer
from fleetlake.reading import Asked
from fleetlake.vendors.suivideflotte.fieldmap import TABLES, Field, FieldMap, Resource, load_fieldmap
from fleetlake.vendors.suivideflotte.localtime import read_time, span_to_utc, to_utc

Raw = msgspec.Raw
_NONE = ("", "0000-00-00 00:00:00")
"""What databases of the vendor's kind write for "no time"."""

_BOOLEANS = {0: False, 1: True, "0": False, "1": True, "true": True, "false": False}


class Listing(msgspec.Struct):
    """A list answer: a paginator, or the rows alone (SDF-04).

    Attributes:
        data: the rows.
        current_page, last_page: where a paginator stands; ``None`` for an array.
        first, last: numbers of the first and last row in the whole list, from 1, as a paginator says.
        total: rows of the whole list, as a paginator counts them.
    """

    data: list[Raw]
    current_page: int | None = None
    last_page: int | None = None
    first: int | None = msgspec.field(default=None, name="from")
    last: int | None = msgspec.field(default=None, name="to")
    total: int | None = None


class _ApiError(msgspec.Struct):
    code: int
    message: str | dict[str, Any]


class _OauthError(msgspec.Struct):
    error: str
    message: str = ""
    hint: str = ""


_LISTING = msgspec.json.Decoder(list[Raw] | Listing)
_API_ERROR = msgspec.json.Decoder(_ApiError)
_OAUTH_ERROR = msgspec.json.Decoder(_OauthError)
_ROW = msgspec.json.Decoder(float_hook=lambda text: int(number) if (number := float(text)).is_integer() else number)
"""12.0 and 12 are one number."""

_UNREADABLE = (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError)


def split(feed: str, dataset: str, body: bytes, asked: Asked) -> list[Raw]:
    """Cut an answer into rows of a dataset, each a JSON object with the contract's names.

    Args:
        feed: feed that the answer belongs to.
        dataset: table to fill, for example ``suivideflotte.trip``.
        body: the answer as it came.
        asked: account, whose mapping file rules, and vehicle.

    Raises:
        MalformedAnswer: the body is not a whole list.
        ConfigError: the feed does not fill this dataset, the mapping file is wrong, or names a field that a row lacks.
    """
    if TABLES.get(feed) != dataset:
        raise ConfigError(f"feed {feed!r} holds no rows of {dataset!r}", where="suivideflotte")
    if is_end(body):
        return []
    fieldmap = load_fieldmap(asked.account)
    resource = fieldmap.resource(feed)
    return [_row(raw, fieldmap, resource, asked) for raw in listing(body).data]


def listing(body: bytes) -> Listing:
    """A list answer.

    Raises:
        MalformedAnswer: it is none, or not whole.
    """
    try:
        value = _LISTING.decode(body)
    except _UNREADABLE as error:
        problem = str(error)
    else:
        return value if isinstance(value, Listing) else Listing(value)
    words = error_words(body)
    if words:
        problem = f"it is an error of the vendor: {words}"
    elif body.lstrip()[:1] == b"<":
        problem = "it is a web page, probably a proxy's"
    elif not body.strip():
        problem = "it is empty"
    raise MalformedAnswer(f"the answer is no whole list: {problem}", remedy="it is asked for again by the next run")


def seal(found: Listing) -> str:
    """Differs for answers with other rows, and is the same for the same rows in the same order, however they are written."""
    texts = [_canonical(row) for row in found.data]
    return hashlib.sha256(b"\n".join(texts)).hexdigest()[:32]


def is_end(body: bytes) -> bool:
    """Whether the body is the refusal of a page past the end, which ends a list (SDF-04).

    Of an answer with status 422 to a page after the first. A map of refusals must be about the page alone.
    """
    try:
        error = _API_ERROR.decode(body)
    except _UNREADABLE:
        return False
    return error.code == 422 and (isinstance(error.message, str) or set(error.message) == {"page"})


def refusals(body: bytes) -> dict[str, list[str]]:
    """The texts of a 422, by the parameter they are about; empty when the body has no such map."""
    try:
        message = _API_ERROR.decode(body).message
    except _UNREADABLE:
        return {}
    if isinstance(message, str):
        return {}
    return {name: [str(text) for text in (texts if isinstance(texts, list) else [texts])] for name, texts in message.items()}


def error_words(body: bytes) -> str:
    """What the vendor says is wrong, in either of its two shapes of errors; empty when the body has neither."""
    if texts := refusals(body):
        return "; ".join(f"{name}: {' '.join(lines)}" for name, lines in texts.items())
    try:
        return str(_API_ERROR.decode(body).message)
    except _UNREADABLE:
        pass
    try:
        error = _OAUTH_ERROR.decode(body)
    except _UNREADABLE:
        return ""
    words = ": ".join(part for part in (error.error, error.message) if part)
    return f"{words} ({error.hint})" if error.hint else words


def _canonical(row: Raw) -> bytes:
    try:
        return json.dumps(_ROW.decode(row), sort_keys=True).encode()
    except _UNREADABLE:
        return bytes(row)


def _row(raw: Raw, fieldmap: FieldMap, resource: Resource, asked: Asked) -> Raw:
    try:
        source = msgspec.json.decode(raw)
    except _UNREADABLE:
        return raw  # the pipeline says what is wrong with it
    if not isinstance(source, dict):
        return raw
    row = {item.column.name: _convert(_taken(source, item, fieldmap, resource), item) for item in resource.fields}
    contract = resource.contract
    if contract.time_column and contract.scope_column and contract.scope_column not in row:
        row[contract.scope_column] = _number(asked.scope, whole=True)
    _settle_times(row, fieldmap, resource)
    return Raw(msgspec.json.encode({**row, **_left_over(source, resource)}))


def _taken(source: dict[str, Any], item: Field, fieldmap: FieldMap, resource: Resource) -> Any:
    """A mapped value; a part of nothing (``null``) is nothing."""
    value: Any = source
    for name in item.path:
        if value is None:
            return None
        if not isinstance(value, dict) or name not in value:
            if item.is_optional:
                return None
            raise ConfigError(
                f"an answer of {resource.path} has no field {'.'.join(item.path)!r}, which column {item.column.name!r} is"
                f" mapped to; it has {', '.join(map(repr, source))}",
                where=f"{fieldmap.path}: resources.{resource.name}.fields.{item.column.name}",
                remedy=f"name the right field; write {'.'.join(item.path)}? if it may be absent, or leave the column out",
            )
        value = value[name]
    return value


def _convert(value: Any, item: Field) -> Any:
    kind = item.column.type
    if value is None:
        return None
    if kind in ("bigint", "integer"):
        return _number(value, whole=True)
    if kind == "double precision":
        number = _number(value, whole=False)
        plain = isinstance(number, int | float) and not isinstance(number, bool)
        return round(number * item.factor, FLOAT_DIGITS) if plain and item.factor != 1.0 else number
    if kind == "boolean" and isinstance(value, int | str):
        return _BOOLEANS.get(value, value)
    if kind == "text" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _number(value: Any, *, whole: bool) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return int(value) if whole else float(value)
    except ValueError:
        return None if not value.strip() else value


def _settle_times(row: dict[str, Any], fieldmap: FieldMap, resource: Resource) -> None:
    """Texts of times become UTC; what cannot be read stays, and the row is set aside."""
    moments: dict[str, dt.datetime] = {}
    for item in resource.fields:
        name = item.column.name
        if item.column.type != "timestamptz" or not isinstance(row[name], str):
            continue
        if row[name].strip() in _NONE:
            row[name] = None
        elif (moment := read_time(row[name], fieldmap.date_format)) is not None:
            moments[name] = moment
    settled = {name: to_utc(moment, fieldmap.zone) for name, moment in moments.items()}
    if {"start_time", "end_time"} <= set(moments):
        length = row.get("duration_s")
        settled["start_time"], settled["end_time"] = span_to_utc(
            moments["start_time"],
            moments["end_time"],
            length if isinstance(length, int | float) else None,
            fieldmap.zone,
        )
    row |= {name: moment.isoformat().replace("+00:00", "Z") for name, moment in settled.items()}


def _left_over(source: dict[str, Any], resource: Resource) -> dict[str, Any]:
    """What the mapping file does not name, as it came; a name that a column has too gets ``vendor_`` in front."""
    rest = dict(source)
    for item in resource.fields:
        top, *below = item.path
        if not below or not isinstance(rest.get(top), dict):
            rest.pop(top, None)
    for item in resource.fields:
        if len(item.path) > 1 and isinstance(rest.get(item.path[0]), dict):
            rest[item.path[0]] = _without(rest[item.path[0]], item.path[1:])
            if not rest[item.path[0]]:
                del rest[item.path[0]]
    columns = {column.name for column in resource.contract.columns}
    return {f"vendor_{name}" if name in columns else name: value for name, value in rest.items()}


def _without(value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    top, *below = path
    inner = value.get(top)
    if below and isinstance(inner, dict):
        return {**value, top: _without(inner, tuple(below))}
    return {name: item for name, item in value.items() if name != top}
