"""PowUnity (Traccar) answers to rows. Pure functions: bytes in, rows out."""

from __future__ import annotations

import datetime as dt

import msgspec

from fleetlake.errors import ConfigError, MalformedAnswer
from fleetlake.reading import Asked

Raw = msgspec.Raw
_ROWS = msgspec.json.Decoder(list[Raw])
_DATASETS = {
    ("devices", "powunity.device"),
    ("positions", "powunity.position"),
    ("events", "powunity.event"),
    ("trips", "powunity.trip"),
    ("stops", "powunity.stop"),
    ("summary", "powunity.summary"),
}


def split(feed: str, dataset: str, body: bytes, asked: Asked | None = None) -> list[Raw]:  # noqa: ARG001
    """Cut an answer into rows of a dataset, each a JSON object.

    Args:
        feed: feed that the answer belongs to.
        dataset: table to fill, for example ``powunity.trip``.
        body: the answer as it came.
        asked: not needed: these rows say whose they are.

    Raises:
        MalformedAnswer: the body is not a whole JSON array: cut off, an error text, a web page.
        ConfigError: the feed does not fill this dataset.
    """
    if (feed, dataset) not in _DATASETS:
        raise ConfigError(f"feed {feed!r} holds no rows of {dataset!r}", where="powunity")
    items = rows(body)
    # Servers up to 4.12 call an event's time `serverTime`; every later one has `eventTime` (POW-01).
    if feed == "events" and b'"serverTime"' in body and b'"eventTime"' not in body:
        return [_with_event_time(item) for item in items]
    return items


def rows(body: bytes) -> list[Raw]:
    """Items of a list answer.

    Raises:
        MalformedAnswer: it is no whole JSON array.
    """
    try:
        return _ROWS.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        problem = str(error)
    start = body.lstrip()[:1]
    if start == b"<":
        problem = "it is a web page, probably a proxy's"
    elif not start:
        problem = "it is empty"
    elif start not in b'[{"':
        problem = f"it is a text: {body[:120].decode(errors='replace')!r}"
    raise MalformedAnswer(f"the answer is no whole JSON array: {problem}", remedy="it is asked for again by the next run")


def to_vendor_time(moment: dt.datetime) -> str:
    """A moment as the server reads it: ISO 8601 in UTC with zone, milliseconds only where there are some."""
    moment = moment.astimezone(dt.UTC)
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def _with_event_time(raw: Raw) -> Raw:
    event = msgspec.json.decode(raw)
    if isinstance(event, dict):
        event["eventTime"] = event.get("serverTime")
    return Raw(msgspec.json.encode(event))
