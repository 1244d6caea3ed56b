"""Times of an account to UTC and back. Pure functions.

A wall clock without zone is not always a moment. In the hour that autumn repeats, the first occurrence (summer time) is
taken, unless the length of the trip tells otherwise. A time in the hour that spring leaves out is read with the offset
before the change: 02:30 becomes what the clock then calls 03:30.
"""

from __future__ import annotations

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

from fleetlake.vendors.suivideflotte.fieldmap import ISO


def read_time(text: str, form: str) -> dt.datetime | None:
    """A moment as the vendor writes it: the account's format, or ISO 8601; with zone only where it names one.

    ``None`` when it is none.
    """
    if form != ISO:
        try:
            return dt.datetime.strptime(text, form)  # noqa: DTZ007 - what the vendor says, no more
        except ValueError:
            pass
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return None


def to_utc(moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """A moment in UTC; without zone it is on the wall clock of ``zone``, the first of two where there are two."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(dt.UTC)


def span_to_utc(
    start: dt.datetime, end: dt.datetime, seconds: float | None, zone: ZoneInfo
) -> tuple[dt.datetime, dt.datetime]:
    """Both ends of something in UTC; in the repeated hour those that fit its length best.

    Args:
        start: first moment as the vendor says it.
        end: last moment.
        seconds: its length as the vendor says it; ``None`` = unknown, then it must only not end before it begins.
        zone: the account's.
    """

    def misfit(pair: tuple[dt.datetime, dt.datetime]) -> float:
        length = (pair[1] - pair[0]).total_seconds()
        return abs(length - seconds) if seconds is not None else float(length < 0)

    # `min` keeps the first of equals: both in summer time.
    return min(itertools.product(_readings(start, zone), _readings(end, zone)), key=misfit)


def to_vendor_time(moment: dt.datetime, zone: ZoneInfo, form: str) -> str:
    """A moment as the vendor reads it."""
    local = moment.astimezone(zone)
    return local.isoformat(timespec="seconds") if form == ISO else local.strftime(form)


def _readings(moment: dt.datetime, zone: ZoneInfo) -> list[dt.datetime]:
    """What a wall clock may mean: one moment, or two in the hour that autumn repeats."""
    first = to_utc(moment, zone)
    if moment.tzinfo:
        return [first]
    second = to_utc(moment.replace(fold=1), zone)
    # In spring's missing hour the second reading is the earlier one; it is not offered.
    return [first, second] if second > first else [first]
