"""What both services do with lists: pages, spellings of time, lookups."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphql import GraphQLError

from fleetlake.sandbox.omni_platform.assumptions import OmniAssumptions

Item = dict[str, Any]


def page(items: Sequence[Any], offset: int | None, limit: int | None, assumptions: OmniAssumptions) -> Sequence[Any]:
    """The rows of one page (OPL-04).

    Raises:
        GraphQLError: a negative number.
    """
    start, size = offset or 0, assumptions.limit_default if limit is None else limit
    if start < 0 or size < 0:
        raise GraphQLError("offset and limit must not be negative")
    return items[start : start + min(size, assumptions.limit_max)]


def counted(items: Sequence[Any], shown: Sequence[Any], tell: Callable[[Any], Item]) -> Item:
    """A list answer."""
    return {"totalCount": len(items), "collectionItems": [tell(item) for item in shown]}


def spelled(moment: dt.datetime | int, *, blank: bool = False) -> str:
    """A date as the vendor writes it: ISO with zone, with a blank instead of ``T`` on the live side."""
    if isinstance(moment, int):
        moment = from_ms(moment)
    return moment.isoformat(sep=" " if blank else "T", timespec="microseconds" if blank else "auto")


def from_ms(milliseconds: int) -> dt.datetime:
    """Aware UTC datetime of milliseconds since 1970."""
    return dt.datetime.fromtimestamp(milliseconds // 1000, dt.UTC) + dt.timedelta(milliseconds=milliseconds % 1000)


def bounds(lookup: Mapping[str, Any] | None) -> tuple[int | None, int | None]:
    """Half-open interval of milliseconds that a date filter leaves.

    Raises:
        GraphQLError: a value is no ISO 8601 date.
    """
    start: int | None = None
    end: int | None = None
    for name, text in (lookup or {}).items():
        if text is None:
            continue
        moment = _moment(text)
        if name in ("gt", "gte", "exact"):
            low = moment + (name == "gt")
            start = low if start is None else max(start, low)
        if name in ("lt", "lte", "exact"):
            high = moment + (name != "lt")
            end = high if end is None else min(end, high)
    return start, end


def _moment(text: Any) -> int:
    """Milliseconds, rounded up: events are told by the millisecond."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise GraphQLError(f"{text!r} is not a valid date") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return -((dt.datetime(1970, 1, 1, tzinfo=dt.UTC) - moment) // dt.timedelta(milliseconds=1))
