"""RCS answers to rows. Pure functions: bytes in, rows out, no connection and no state.

Rows keep the vendor's bytes wherever its shape allows. Two things are made: camelCase names become snake_case (the guide
uses both), and the troubles inside health reports become rows of their own.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError, MalformedAnswer
from fleetlake.reading import Asked
from fleetlake.settings import Settings
from fleetlake.vendors.rcs import dtc, privacy

Raw = msgspec.Raw
ZONE = dt.UTC
"""Zone of the vendor's times without zone (RCS-06); the contracts' reader ``naive`` takes the same."""


class _Envelope(msgspec.Struct):
    items: list[Raw]


class _Revision(msgspec.Struct):
    revision: str


class _RevisionItems(msgspec.Struct):
    items: list[_Revision]


class _ErrorBody(msgspec.Struct):
    error: dict[str, Any]


class Task(msgspec.Struct):
    """State of an overview task, as the vendor writes it."""

    status: str = ""
    error: Any = None


class Overview(msgspec.Struct):
    """Answer of a task poll; ``report`` is null until it is ready."""

    task: Task
    report: dict[str, Raw] | None = None


_ROWS = msgspec.json.Decoder(list[Raw] | _Envelope)
_REVISIONS = msgspec.json.Decoder(list[_Revision] | _RevisionItems)
_OVERVIEW = msgspec.json.Decoder(Overview)
_CAMEL = re.compile(rb'"[a-z][a-z0-9_]*+[A-Z]\w*"\s*:')


def split(feed: str, dataset: str, body: bytes, asked: Asked | None = None) -> list[Raw]:
    """Cut an answer into rows of a dataset, each a JSON object.

    Args:
        feed: feed that the answer belongs to.
        dataset: table to fill, for example ``rcs.trouble``.
        body: the answer as it came.
        asked: account, whose policy about personal data counts.

    Raises:
        MalformedAnswer: the body is not a whole answer of this feed.
        ConfigError: the feed does not fill this dataset.
    """
    if (feed, dataset) not in _SPLITTERS:
        raise ConfigError(f"feed {feed!r} holds no rows of {dataset!r}", where="rcs")
    found = _SPLITTERS[feed, dataset](body)
    masks = _PERSONAL.get(dataset)
    if masks and privacy.is_masked(asked.account if asked else None):
        contract = load_contracts(Settings.from_env().include, "rcs")[dataset]
        known = {column.source for column in contract.columns if column.source}
        return [privacy.mask_row(row, masks, known) for row in found]
    return found


def rows(body: bytes) -> list[Raw]:
    """Rows of a list answer: a bare array, or ``{"items": […]}`` (RCS-01)."""
    value = _decoded(_ROWS, body)
    items = value.items if isinstance(value, _Envelope) else value
    if items and _CAMEL.search(body):
        return [_snake_row(item) for item in items]
    return items


def revisions(body: bytes) -> list[str]:
    """Revisions of the rows of a telemetry answer, in its order and spelling.

    Raises:
        MalformedAnswer: a row has no revision, or an empty one.
    """
    value = _decoded(_REVISIONS, body)
    found = [item.revision for item in (value.items if isinstance(value, _RevisionItems) else value)]
    if "" in found:
        raise MalformedAnswer("a telemetry record has an empty revision", where="telemetry")
    return found


def overview(body: bytes) -> Overview:
    """Answer of a task poll.

    Raises:
        MalformedAnswer: it is none.
    """
    return _decoded(_OVERVIEW, body)  # type: ignore[no-any-return]


def overview_rows(body: bytes) -> list[Raw]:
    """Entries of a finished overview; none while it is not ready."""
    report = overview(body).report
    if report is None:
        return []
    if "vehicles" not in report:
        raise MalformedAnswer("the overview has no `vehicles`", where="health_overview")
    return rows(bytes(report["vehicles"]))


def trouble_rows(body: bytes) -> list[Raw]:
    """One row per trouble of the reports: its fields, and ``report_id``, ``vehicle_id``, ``created_at`` of the report.

    Codes that came as numbers or in lower case are spelled as text in upper case. A trouble that is no object becomes a
    row as it is, for the audit to set aside.
    """
    result = []
    for raw in rows(body):
        report = _object(raw)
        head = {
            "report_id": report.get("id", report.get("report_id")),
            "vehicle_id": report.get("vehicle_id"),
            "created_at": report.get("created_at"),
        }
        troubles = report.get("troubles")
        for trouble in troubles if isinstance(troubles, list) else ():
            if not isinstance(trouble, dict):
                result.append(Raw(msgspec.json.encode(trouble)))
                continue
            code = trouble.get("dtc")
            parsed = dtc.parse_code(code) if isinstance(code, str | int) else None
            if parsed is not None:
                trouble["dtc"] = parsed.text
            result.append(Raw(msgspec.json.encode({**trouble, **head})))
    return result


_SPLITTERS = {
    ("vehicles", "rcs.vehicle"): rows,
    ("telemetry", "rcs.telemetry"): rows,
    ("health_overview", "rcs.health_report"): overview_rows,
    ("health_reports", "rcs.health_report"): rows,
    ("health_reports", "rcs.trouble"): trouble_rows,
    ("users", "rcs.app_user"): rows,
    ("client_notifications", "rcs.client_notification"): rows,
}
_PERSONAL = {
    "rcs.app_user": {
        "phone": privacy.mask_phone,
        "first_name": privacy.mask_name,
        "last_name": privacy.mask_name,
        "middle_name": privacy.mask_name,
        "email": privacy.mask_email,
    },
    "rcs.client_notification": {"user_phones": privacy.mask_phone},
}
"""Fields that say who somebody is, by dataset."""


def to_vendor_time(moment: dt.datetime) -> str:
    """A moment as the vendor reads it: ISO 8601 to the second, without zone."""
    return moment.astimezone(ZONE).replace(tzinfo=None).isoformat(timespec="seconds")


def error_of(body: bytes) -> dict[str, Any] | None:
    """The ``error`` object of an error body, ``None`` when the body is none."""
    try:
        return msgspec.json.decode(body, type=_ErrorBody).error
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return None


def _decoded(decoder: Any, body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        problem = str(error)
    found = error_of(body)
    if found is not None:
        problem = (
            f"it is an error of the vendor: {found.get('code') or found.get('type')} {found.get('message') or ''}".rstrip()
        )
    elif body.lstrip()[:1] == b"<":
        problem = "it is a web page, probably a proxy's"
    elif not body:
        problem = "it is empty"
    raise MalformedAnswer(f"the answer is not what RCS promises: {problem}", remedy="it is asked for again by the next run")


def _object(raw: Raw) -> dict[str, Any]:
    value = msgspec.json.decode(raw)
    return value if isinstance(value, dict) else {}


def _snake_row(raw: Raw) -> Raw:
    return Raw(msgspec.json.encode(_snake(msgspec.json.decode(raw))))


def _snake(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower(): _snake(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_snake(item) for item in value]
    return value
