"""Omnicomm answers to rows. Pure functions: bytes in, rows out.

Every report has a shape of its own (page section 2). Envelopes are read tolerantly: the rows may stand under any of the
names that clients have seen. What an answer does not repeat, its vehicle or its interval, is taken from the question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from fleetlake.errors import ConfigError, MalformedAnswer
from fleetlake.reading import Asked, with_fields
from fleetlake.vendors.omnicomm.verdicts import NO_DATA, OK, status_of

Raw = msgspec.Raw
Fields = dict[str, Raw]

_ROWS = msgspec.json.Decoder(list[Raw])
_FIELDS = msgspec.json.Decoder(Fields)
_READ_BY_PARTS = ("terminal", "vehicle", "movement", "engine", "mainTank", "safeDriving")
"""Blocks of a profile of which single fields are columns."""


def split(feed: str, dataset: str, body: bytes, asked: Asked | None = None) -> list[Raw]:
    """Cut an answer into rows of a dataset, each a JSON object.

    Args:
        feed: feed that the answer belongs to.
        dataset: table to fill, for example ``omnicomm.event``.
        body: the answer as it came.
        asked: what it was asked for; rows of most feeds do not say it.

    Raises:
        MalformedAnswer: the body is not what the vendor page promises: cut off, another shape, an error.
        ConfigError: the feed does not fill this dataset.
    """
    cut = _CUTS.get((feed, dataset))
    if cut is None:
        raise ConfigError(f"feed {feed!r} holds no rows of {dataset!r}", where="omnicomm")
    status = status_of(body)
    if status.code == NO_DATA:
        return []
    if status.code != OK:
        raise MalformedAnswer(f"{feed}: the answer is an error, {status}", remedy="it is asked for again by the next run")
    try:
        return list(cut(body, asked))
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        problem = str(error)
    start = body.lstrip()[:1]
    if start == b"<":
        problem = "it is a web page, probably a proxy's"
    elif start and start not in b'[{"':
        problem = "it is a text"
    raise MalformedAnswer(
        f"{feed}: the answer is not whole, or of another shape: {problem}", remedy="it is asked for again by the next run"
    )


# --- vehicles -----------------------------------------------------------------------------------------------------------


def _groups(body: bytes) -> Iterator[dict[str, Any]]:
    """Groups of the tree, parents first, in its order; however deep, without recursion of ours."""
    root = msgspec.json.decode(body)
    todo = list(reversed(root)) if isinstance(root, list) else [root]
    while todo:
        group = todo.pop()
        if not isinstance(group, dict):
            raise msgspec.ValidationError(f"a group is {type(group).__name__}, not an object")
        yield group
        todo += reversed(group.get("children") or [])


def _vehicles(body: bytes, _asked: Asked | None) -> Iterator[Raw]:
    """The tree repeats a vehicle in every group and saved view that holds it; here it is one row."""
    found: dict[Any, dict[str, Any]] = {}
    for group in _groups(body):
        for item in group.get("objects") or []:
            if not isinstance(item, dict):
                yield _raw(item)
                continue
            # One without a number is shown to the audit, each by itself.
            key = item.get("terminal_id")
            row = found.setdefault(id(item) if key is None else str(key), {**item, "_group_ids": [], "_group_names": []})
            if group.get("id") not in row["_group_ids"]:
                row["_group_ids"].append(group.get("id"))
                row["_group_names"].append(group.get("name"))
    yield from map(_raw, found.values())


def _vehicle_groups(body: bytes, _asked: Asked | None) -> Iterator[Raw]:
    for group in _groups(body):
        own = {name: value for name, value in group.items() if name not in ("objects", "children")}
        yield _raw({**own, "_vehicles_count": len(group.get("objects") or [])})


def _profile(body: bytes, asked: Asked | None) -> Iterator[Raw]:
    """Blocks may be lists: of those that are read by parts the first item is the block, and the list is kept beside it."""
    blocks = _FIELDS.decode(body)
    for name in _READ_BY_PARTS:
        if bytes(blocks.get(name, b"")).lstrip()[:1] == b"[":
            items = _ROWS.decode(blocks[name])
            blocks[f"_all_{name}"] = blocks[name]
            blocks[name] = items[0] if items else Raw(b"null")
    yield with_fields(msgspec.json.encode(blocks), _vehicle(asked))


def _state(body: bytes, asked: Asked | None) -> Iterator[Raw]:
    _FIELDS.decode(body)  # an object, whole
    yield with_fields(body, _vehicle(asked))


# --- reports ------------------------------------------------------------------------------------------------------------


def _statistics(body: bytes, asked: Asked | None) -> Iterator[Raw]:
    window = asked.window if asked else None
    interval = {"_from": int(window.start.timestamp()), "_to": int(window.end.timestamp())} if window else {}
    for row in _list(_field(body, "data"), "vehicleDataList"):
        yield with_fields(row, interval)


def _consolidated(body: bytes, _asked: Asked | None) -> Iterator[Raw]:
    for item in _list(body, "items", "data", "rows", "result"):
        # Each row stands in an object of its own under the report's name.
        inner = _FIELDS.decode(item).get("consolidatedReport") if bytes(item).lstrip()[:1] == b"{" else None
        yield item if inner is None else inner


def _visits(body: bytes, _asked: Asked | None) -> Iterator[Raw]:
    return iter(_list(body, "items", "data", "rows", "result"))


def _of_vehicle(*names: str) -> Callable[[bytes, Asked | None], Iterator[Raw]]:
    """Rows of a list that does not say whose it is."""

    def cut(body: bytes, asked: Asked | None) -> Iterator[Raw]:
        vehicle = _vehicle(asked)
        for row in _list(body, *names):
            yield with_fields(row, vehicle)

    return cut


def _fuel_levels(body: bytes, asked: Asked | None) -> Iterator[Raw]:
    vehicle = _vehicle(asked)
    for number, tank in enumerate(_list(body, "tankData"), start=1):
        for row in _list(tank, "data"):
            yield with_fields(row, {**vehicle, "_tank": number})


def _journal_parameters(body: bytes, asked: Asked | None) -> Iterator[Raw]:
    vehicle, found = _vehicle(asked), _FIELDS.decode(body)
    # The third list has two names, depending on who tells of it.
    sources = [("exCanData", "exCanData"), ("modbusData", "modbusData"), ("userParams", "userParams")]
    if not any(name in found for name, _ in [*sources, ("userParametersData", "")]):
        raise msgspec.ValidationError("none of the lists of parameters is there")
    for name, source in [*sources, ("userParametersData", "userParams")]:
        if name in found:
            for row in _ROWS.decode(found[name]):
                yield with_fields(row, {**vehicle, "_source": source})


# --- lists --------------------------------------------------------------------------------------------------------------


def _geofences(body: bytes, _asked: Asked | None) -> Iterator[Raw]:
    return iter(_list(body, "rows"))


def _unverified(body: bytes, _asked: Asked | None) -> Iterator[Raw]:
    """A list of unknown shape: whatever array there is, each entry with the best name it has."""
    raws = _list(body, "items", "data", "rows", "result", "users", "drivers", "profiles", "tasks")
    for position, raw in enumerate(raws):
        item = msgspec.json.decode(raw)
        known = item if isinstance(item, dict) else {}
        names = (known.get(name) for name in ("uuid", "id", "login", "terminalId"))
        key = next((str(name) for name in names if isinstance(name, str | int) and name != ""), str(position))
        yield with_fields(raw, {"_key": key})


def page_info(body: bytes) -> tuple[int | None, list[Any]]:
    """Of a page of the geofence list: the total it names, and what tells its rows apart (id, else the row itself)."""
    rows = split("geofences", "omnicomm.geofence", body)
    if body.lstrip()[:1] == b"[":
        return None, [_identity(row) for row in rows]
    total = _FIELDS.decode(body).get("total")
    value = None if total is None else msgspec.json.decode(total)
    return value if isinstance(value, int) and not isinstance(value, bool) else None, [_identity(row) for row in rows]


def _identity(row: Raw) -> Any:
    item = msgspec.json.decode(row)
    number = item.get("id") if isinstance(item, dict) else None
    return number if isinstance(number, int | str) else bytes(row)


# --- parts --------------------------------------------------------------------------------------------------------------


def _list(body: bytes | Raw, *names: str) -> Sequence[Raw]:
    """The array of an answer: bare, or under the first of these names that is there.

    Null is no list: taken for an empty one it would prove that there is nothing, and delete what is known.
    """
    start = bytes(body).lstrip()[:1]
    if start == b"[":
        return _ROWS.decode(body)
    fields = _FIELDS.decode(body)
    present = [name for name in names if name in fields]
    if not present:
        raise msgspec.ValidationError(f"none of {', '.join(names)} is there")
    value = fields[present[0]]
    if _is_absent(value):
        raise msgspec.ValidationError(f"{present[0]} is null, not a list")
    return _ROWS.decode(value) if bytes(value).lstrip()[:1] == b"[" else _list(value, *names)


def _field(body: bytes, name: str) -> bytes:
    value = _FIELDS.decode(body).get(name)
    if value is None or _is_absent(value):
        raise msgspec.ValidationError(f"{name} is not there, or null")
    return bytes(value)


def _is_absent(value: Raw | None) -> bool:
    return value is None or bytes(value).strip() == b"null"


def _vehicle(asked: Asked | None) -> dict[str, Any]:
    if asked is None:
        return {}
    return {"_terminal_id": int(asked.scope) if asked.scope.isdecimal() else asked.scope}


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


_CUTS: dict[tuple[str, str], Callable[[bytes, Asked | None], Iterator[Raw]]] = {
    ("vehicle_tree", "omnicomm.vehicle"): _vehicles,
    ("vehicle_tree", "omnicomm.vehicle_group"): _vehicle_groups,
    ("profiles", "omnicomm.vehicle_profile"): _profile,
    ("states", "omnicomm.vehicle_state"): _state,
    ("statistics", "omnicomm.statistics"): _statistics,
    ("consolidated", "omnicomm.consolidated_report"): _consolidated,
    ("track", "omnicomm.track_point"): _of_vehicle("track"),
    ("events", "omnicomm.event"): _of_vehicle("events"),
    ("fuel_level", "omnicomm.fuel_level"): _fuel_levels,
    ("geofence_visits", "omnicomm.geofence_visit"): _visits,
    ("geofences", "omnicomm.geofence"): _geofences,
    ("journal", "omnicomm.journal"): _of_vehicle("columns"),
    ("journal_additional", "omnicomm.journal_parameter"): _journal_parameters,
    ("users", "omnicomm.account_user"): _unverified,
    ("drivers", "omnicomm.driver"): _unverified,
    ("video_profiles", "omnicomm.video_profile"): _unverified,
    ("video_tasks", "omnicomm.video_task"): _unverified,
}
