"""Half-open UTC time windows: the only way fleetlake speaks about a range of time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fleetlake.errors import ConfigError, NoWindow

DAY = dt.timedelta(days=1)


def utc(value: dt.datetime | dt.date | str) -> dt.datetime:
    """Read a moment as an aware UTC datetime.

    Args:
        value: an aware datetime, a date (its midnight), or ISO 8601 text. Text without a zone is taken as UTC,
            because people type ``2026-01-05`` on a command line; a *datetime* without a zone is refused.

    Raises:
        ConfigError: not a moment, or a datetime without zone.
    """
    if isinstance(value, str):
        try:
            parsed = dt.datetime.fromisoformat(value)
        except ValueError:
            raise ConfigError(
                f"{value!r} is not a date or time", remedy="write ISO 8601, for example 2026-01-05 or 2026-01-05T06:00Z"
            ) from None
        value = parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)
    if not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if value.tzinfo is None:
        raise ConfigError(f"{value.isoformat()} has no time zone", remedy="give an aware datetime in UTC")
    moment = value.astimezone(dt.UTC)
    # A plain datetime, whatever was given: Airflow's own kind (pendulum) loses its zone in arithmetic.
    return dt.datetime.combine(moment.date(), moment.time(), dt.UTC)


@dataclass(frozen=True, order=True)
class Window:
    """A half-open interval ``[start, end)`` in UTC.

    Raises:
        ConfigError: naive datetimes, or an empty or reversed interval.
    """

    start: dt.datetime
    end: dt.datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", utc(self.start))
        object.__setattr__(self, "end", utc(self.end))
        if self.start >= self.end:
            raise ConfigError(
                f"empty window: {self.start.isoformat()} is not before {self.end.isoformat()}",
                remedy="the end is exclusive: the day 2026-01-05 ends at 2026-01-06",
            )

    @classmethod
    def day(cls, value: dt.datetime | dt.date | str) -> Window:
        """The UTC day that starts at ``value``'s date."""
        start = utc(value).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(start, start + DAY)

    @classmethod
    def parse(cls, start: str, end: str) -> Window:
        """Window from two ISO 8601 texts."""
        return cls(utc(start), utc(end))

    def __contains__(self, moment: dt.datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M:%SZ}/{self.end:%Y-%m-%dT%H:%M:%SZ}"

    def days(self) -> Iterator[Window]:
        """Cut at UTC midnights, in order. The pieces cover the window exactly."""
        yield from self.split(1)

    def split(self, days: int) -> Iterator[Window]:
        """Cut into pieces that touch at most ``days`` UTC dates each, in order."""
        if days < 1:
            raise ConfigError(f"cannot split a window into pieces of {days} days")
        start = self.start
        while start < self.end:
            midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
            end = min(midnight + days * DAY, self.end)
            yield Window(start, end)
            start = end

    def whole_days(self) -> Window:
        """The window, rounded out to UTC midnights."""
        start = self.start.replace(hour=0, minute=0, second=0, microsecond=0)
        end = self.end.replace(hour=0, minute=0, second=0, microsecond=0)
        return Window(start, end if end == self.end else end + DAY)

    def widen(self, *, before: dt.timedelta = dt.timedelta(0)) -> Window:
        """The window with its start moved back by ``before``."""
        return Window(self.start - before, self.end)


def window_for(context: Mapping[str, Any], grain: dt.timedelta = DAY) -> Window:
    """The window of an Airflow run, from its task context (any mapping: no Airflow needed).

    Order: explicit params ``window_start``/``window_end``; the partition date; the data interval.

    Raises:
        NoWindow: none of them is there.
        ConfigError: only one param is given, or a param is not a time.
    """
    params = context.get("params") or {}
    start, end = params.get("window_start"), params.get("window_end")
    if start and end:
        return Window.parse(start, end)
    if start or end:
        raise ConfigError(
            "params window_start and window_end belong together",
            where="params",
            remedy="give both, or neither with a partition key",
        )
    if (day := context.get("partition_date")) is not None:
        return Window(day, day + grain)
    low, high = context.get("data_interval_start"), context.get("data_interval_end")
    if low and high and low < high:
        return Window(low, high)
    raise NoWindow(
        "this run has no window",
        where="dag run",
        remedy="trigger it with a partition key (2026-01-05), or with params window_start and window_end",
    )
