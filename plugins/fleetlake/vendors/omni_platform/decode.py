"""OMNI Platform answers to rows. Pure functions: bytes in, rows out.

Here, before typing, personal data is masked and credentials in titles are cut out, so that nothing behind this point,
quarantine included, ever sees them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from fleetlake.errors import ConfigError, MalformedAnswer
from fleetlake.http.redaction import redact
from fleetlake.reading import Asked
from fleetlake.vendors.omni_platform.listings import EVENTS, KEPT_MARK, LISTS

Raw = msgspec.Raw

_DATASETS = {
    "cameras": "omni_platform.camera",
    "agents": "omni_platform.agent",
    "profile_groups": "omni_platform.profile_group",
    "profiles": "omni_platform.profile",
    "events": "omni_platform.event",
}
_NAMELESS = frozenset(
    {
        # what happened
        "id", "type", "class", "date", "detectiondate", "source", "confidence", "score", "identificationdata", "candidates",
        "profile", "profileid", "profilegroups", "groups", "groupid", "groupids", "color", "object", "parents",
        "triggersource", "activityid", "agentid", "cameraid", "workspaceid", "eventid", "trackid",
        # where in the picture
        "bbox", "boundingbox", "rectangle", "left", "right", "top", "bottom", "x", "y", "width", "height", "points", "roi",
        "roiid", "line", "lineid", "direction",
    }
)  # fmt: skip
"""Names in an event's data whose values tell nothing of a person. Everything else is dropped: what a later version, or a
workspace's own form, puts there nobody can foresee. An image's id is an address of a face, so it is not among them."""


class _List(msgspec.Struct):
    totalCount: int  # noqa: N815 - the vendor's name
    collectionItems: list[Raw]  # noqa: N815


class _Answer(msgspec.Struct):
    data: dict[str, Raw]


class _Id(msgspec.Struct):
    id: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)
_LIST = msgspec.json.Decoder(_List)
_ID = msgspec.json.Decoder(_Id)


class Rows(NamedTuple):
    """A list answer: ``totalCount``, the rows as they came, and whether the account keeps personal data."""

    total: int
    rows: list[Raw]
    keeps: bool

    def ids(self) -> list[str | None]:
        """Id of each row; ``None`` where it has none."""
        return [_id(row) for row in self.rows]


def split(feed: str, dataset: str, body: bytes, asked: Asked | None = None) -> list[Raw]:  # noqa: ARG001
    """Cut an answer into rows of a dataset, each a JSON object.

    Args:
        feed: feed that the answer belongs to.
        dataset: table to fill, for example ``omni_platform.event``.
        body: the answer as it came.
        asked: what was asked; the answers say all that is needed.

    Raises:
        MalformedAnswer: the body is not a whole list answer.
        ConfigError: the feed does not fill this dataset.
    """
    if _DATASETS.get(feed) != dataset:
        raise ConfigError(f"feed {feed!r} holds no rows of {dataset!r}", where="omni_platform")
    listed = rows(feed, body)
    change: Callable[[dict[str, Any]], None] | None = None
    if feed in ("cameras", "agents"):
        change = _without_login
    elif feed in ("events", "profiles") and not listed.keeps:
        change = _without_person
    return listed.rows if change is None else [_changed(row, change) for row in listed.rows]


def rows(feed: str, body: bytes) -> Rows:
    """The list in an answer.

    Raises:
        MalformedAnswer: there is none.
    """
    name = EVENTS.query if feed == "events" else LISTS[feed].query
    try:
        data = _ANSWER.decode(body).data
        found = _LIST.decode(data[name])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError, KeyError) as error:
        problem = f"no field {error}" if isinstance(error, KeyError) else str(error)
    else:
        return Rows(found.totalCount, found.collectionItems, KEPT_MARK in data)
    raise MalformedAnswer(
        f"the answer is no list of {name}: {problem}", where=name, remedy="it is asked for again by the next run"
    )


def masked(value: Any) -> Any:
    """A JSON value with nothing but ``_NAMELESS`` names, at any depth; however a name is spelled (``$trackId``, ``track-id``)."""
    if isinstance(value, dict):
        return {key: masked(inner) for key, inner in value.items() if _letters(key) in _NAMELESS}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    return value


def _letters(name: str) -> str:
    return "".join(one for one in name.lower() if one.isalnum())


def _without_person(row: dict[str, Any]) -> None:
    if "data" in row:
        row["data"] = masked(row["data"]) if isinstance(row["data"], dict | list) else None
    if "info" in row:
        row["info"] = None


def _without_login(row: dict[str, Any]) -> None:
    if isinstance(row.get("title"), str):
        row["title"] = redact(row["title"])


def _changed(raw: Raw, change: Callable[[dict[str, Any]], None]) -> Raw:
    try:
        row = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Raw(b"null")  # it cannot be cleaned, so it is not shown: typing sets it aside, the page has it
    if not isinstance(row, dict):
        return Raw(b"null")
    change(row)
    return Raw(msgspec.json.encode(row))


def _id(raw: Raw) -> str | None:
    try:
        found = _ID.decode(raw).id
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return None
    return None if found is None else str(found)
