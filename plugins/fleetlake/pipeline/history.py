"""What reading has cost: the history from which prices are made.

A read is one chain of requests for one vehicle (or one batch) and one window. Its price is what this vehicle's reads cost on
average, plus or minus the pages per row that the feed's reads show, and the bytes of the rows that come or go. So the price of
a day is right whether the history was read day by day or in longer windows, and a vehicle that sends ten times as much is
priced ten times as much.
Requests that are not pages (logins, refusals, repeated ones) are counted per step of a task, as ``ops.usage`` has seen them.
"""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fleetlake.reading import Feed, Kind
from fleetlake.window import DAY, Window

if TYPE_CHECKING:
    import psycopg

    from fleetlake.accounts import Account

HISTORY = dt.timedelta(days=14)
"""How far back reads are taken as a sample of what is to come."""

_FEW = 8
"""Reads below which pages per row are not told from chance."""

_UNKNOWN = 2.0
"""Half-width of a price without history: it may be three times as much, or next to nothing."""

_SATURDAY = 5
_WEEK = 7

_USUAL_SPREAD = 0.3
"""How much days differ where nobody has seen two of them."""

_LEAST = 0.02
"""No forecast is closer than that, however alike the days of the history were."""


@dataclass(frozen=True, kw_only=True)
class Typical:
    """The average of some reads.

    Attributes:
        pages, bytes: per read; of a batch bytes per vehicle.
        rows: per day, days at the edges included.
        days: per read, as asked for.
    """

    pages: float
    bytes: float
    rows: float
    days: float


@dataclass(frozen=True, kw_only=True)
class History:
    """What a feed's reads were like lately; see ``history_of``.

    Attributes:
        feed: the feed.
        reads: reads the figures come from; 0 = the figures are the vendor's defaults.
        scope_days: vehicle-days in them.
        dates: how many dates they are about.
        fleet: the average of all of them.
        by_scope: the average per vehicle; empty for batches.
        pages_per_row, bytes_per_row: how pages and bytes grow with rows.
        rows_again: rows that each page after the first brings once more: some lists are read with overlapping pages.
        edge_days: days that a read brings beyond its window: some vendors are asked for more than is wanted. ``edge_seen``:
            those that the reads of the history brought: after a window that has just ended there is nothing yet.
        weekend: bytes of a Saturday or Sunday relative to the average day of the history; ``workday`` of another day.
        spread: how much the dates of the history differ in bytes, relative; ``page_spread`` in pages.
        rows_per_byte: by table.
        extra: requests per step that are not pages; ``login`` those that come with the first step of a task.
        knows_first: this feed has been the first of a task: ``extra`` holds the login.
        answer_s: time of an answer; ``own_s`` other time per read, publishing most of all.
    """

    feed: Feed
    reads: int = 0
    scope_days: float = 0.0
    dates: int = 0
    fleet: Typical
    by_scope: Mapping[str, Typical] = field(default_factory=dict)
    pages_per_row: float = 0.0
    bytes_per_row: float = 0.0
    rows_again: float = 0.0
    edge_days: float = 0.0
    edge_seen: float = 0.0
    weekend: float = 1.0
    workday: float = 1.0
    spread: float = _UNKNOWN
    page_spread: float = _UNKNOWN
    rows_per_byte: Mapping[str, float] = field(default_factory=dict)
    extra: float = 0.0
    login: float = 0.0
    knows_first: bool = False
    answer_s: float = 0.3
    own_s: float = 0.2

    def factor(self, day: dt.date) -> float:
        """Bytes of a date relative to the average day of the history."""
        return self.weekend if day.weekday() >= _SATURDAY else self.workday

    def bytes(self, scope: str, reads: float, weight: float) -> float:
        """Bytes of some reads of a vehicle.

        Args:
            scope: the vehicle; one without history is taken to be average.
            reads: how many.
            weight: days they are about, each times its ``factor``.
        """
        usual = self.by_scope.get(scope, self.fleet)
        more = self._more_rows(usual, reads, weight)
        if self.rows_again:
            more += self.rows_again * (self.pages(scope, reads, weight) - usual.pages * reads)
        return max(usual.bytes * reads + self.bytes_per_row * more, 0.0)

    def pages(self, scope: str, reads: float, weight: float) -> float:
        """Pages of some reads of a vehicle; arguments as of ``bytes``."""
        usual = self.by_scope.get(scope, self.fleet)
        return max(usual.pages * reads + self.pages_per_row * self._more_rows(usual, reads, weight), reads)

    def _more_rows(self, usual: Typical, reads: float, weight: float) -> float:
        """Rows of some reads beyond those of as many usual ones."""
        return usual.rows * (weight - usual.days * reads + (self.edge_days - self.edge_seen) * reads)

    def rows(self, size: float, tables: Iterable[str]) -> float:
        """Rows in so many bytes."""
        return sum(size * self.rows_per_byte.get(table, 0.0) for table in tables)

    def weight(self, window: Window) -> float:
        """Days of a window, each times its ``factor``."""
        return sum(self.factor(day.start.date()) * ((day.end - day.start) / DAY) for day in window.days())

    def uncertainty(self, spread: float, dates: int) -> float:
        """Half-width of a forecast for so many dates, relative; 19 of 20 forecasts should be inside.

        Two things are uncertain: the average, known from the history's dates, and what the dates to come have to offer.
        """
        if self.reads == 0:
            return _UNKNOWN
        return max(_LEAST, 2 * spread * math.sqrt(1 / self.dates + 1 / max(dates, 1)))

    @property
    def basis(self) -> str:
        """Where the figures come from, for people."""
        if self.reads == 0:
            return "no history: the vendor's default, may be far off"
        if self.feed.kind in (Kind.SNAPSHOT, Kind.REPORT):
            return f"{self.reads:,} readings"
        what = "vehicle-days" if self.feed.per_scope else "days"
        return f"{self.scope_days:,.0f} {what} of {self.dates} dates"


_SINCE = "SELECT max(coalesce(window_start, published_at)) FROM ops.read WHERE account = %s AND feed = %s AND is_complete"
_READS = """
SELECT scope, {date}, count(*), sum(days), sum(pages), sum(bytes), sum(rows), sum(pages::float * rows), sum(rows::float * rows)
FROM (
    SELECT DISTINCT ON (folder) scope, pages, bytes, rows, window_start, published_at,
        CASE WHEN window_start IS NULL THEN 1.0
             ELSE extract(epoch FROM window_end - window_start)::float / 86400 END AS days
    FROM ops.read
    WHERE account = %s AND feed = %s AND is_complete AND rows IS NOT NULL AND coalesce(window_start, published_at) > %s
    ORDER BY folder
) reads
GROUP BY 1, 2
"""
_BY_SCOPE = _READS.format(date="NULL::date")
_BY_DATE = _READS.format(date="date(coalesce(window_start, published_at) AT TIME ZONE 'UTC')").replace(
    "SELECT scope,", "SELECT NULL::text,", 1
)
_STEPS = """
SELECT is_first, count(*), sum(requests - pages), sum(requests), sum(answer_s), sum(reads), sum(total_s - answer_s - waited_s),
    sum(bytes), sum(scope_days)
FROM (SELECT * FROM ops.usage WHERE account = %s AND feed = %s AND reads_done = reads ORDER BY usage_id DESC LIMIT 500) steps
GROUP BY is_first
"""
_LOGINS = """
SELECT count(*), sum(requests - pages)
FROM (
    SELECT * FROM ops.usage WHERE account = %s AND is_first AND reads = 1 AND scopes = 1 AND reads_done = 1
    ORDER BY usage_id DESC LIMIT 200
) steps
"""
_SCHEDULED = """
SELECT sum(scope_days) FILTER (WHERE is_scheduled) / nullif(sum(scope_days), 0)
FROM (SELECT * FROM ops.usage WHERE account = %s AND feed = %s ORDER BY usage_id DESC LIMIT 500) steps
"""
_ROWS = """
SELECT dataset, sum(rows_read)::float / nullif(sum(bytes), 0), sum(rows_outside_window)::float / nullif(sum(rows_read), 0)
FROM (SELECT * FROM ops.load WHERE account = %s AND feed = %s AND state = 'published' ORDER BY published_at DESC LIMIT 2000) l
GROUP BY dataset
"""


def history_of(connection: psycopg.Connection[Any], account: Account, feed: Feed) -> History:
    """What the reads of a feed were like in the last ``HISTORY`` of its dates."""
    key = [account.name, feed.name]
    newest = connection.execute(_SINCE, key).fetchone()
    if newest is None or newest[0] is None:
        return _default(feed)
    asked = [*key, newest[0] - HISTORY]
    rows = connection.execute(_BY_SCOPE, asked).fetchall()
    sums = (sum(float(row[place] or 0) for row in rows) for place in range(2, 9))
    reads, days, pages, size, found, crossed, squared = sums
    if not reads:
        return _default(feed)
    length = days / reads
    loads = connection.execute(_ROWS, key).fetchall()
    fetched = size * max((float(row[1] or 0) for row in loads[:1]), default=0.0)
    outside = fetched * max((float(row[2] or 0) for row in loads[:1]), default=0.0)
    edge = _edge_days(feed, length, outside / found if found else 0.0)
    row = connection.execute(_SCHEDULED, key).fetchone()
    scheduled = float(row[0]) if row and row[0] is not None else 0.0
    pages_per_row = _slope(reads, found, pages, crossed, squared)
    rows_again = max(0.0, fetched - found) / (pages - reads) if pages > reads and feed.batch == 1 else 0.0
    steps = {row[0]: row[1:] for row in connection.execute(_STEPS, key)}
    row = connection.execute(_LOGINS, [account.name]).fetchone()
    login = float(row[1]) / row[0] if row and row[0] else 0.0
    count, more = (sum(float(row[place]) for row in steps.values()) for place in (0, 1))
    extra = more / count if count else 0.0
    scope_days = days
    by_scope: dict[str, Typical] = {}
    if feed.batch > 1:
        # The reads are named by their batch: what they bring is shared among the vehicles. What is asked again because a
        # vehicle is refused comes with every batch, logins with the first only.
        pages_per_row = 0.0
        size, scope_days = (sum(float(row[place]) for row in steps.values()) for place in (6, 7))
        logins = min(more, login * float(steps.get(True, [0])[0]))
        batches = sum(float(row[4]) for row in steps.values())
        pages += (more - logins) / batches * reads if batches else 0.0
        extra = logins / count if count else 0.0
    elif feed.per_scope:
        by_scope = {row[0]: _typical(edge, *(float(one) for one in row[2:7])) for row in rows}
    whole_days = scope_days * (1 + edge / length)
    fleet = Typical(
        pages=pages / reads,
        bytes=size / scope_days * length if scope_days else 0.0,
        rows=found / whole_days if whole_days else 0.0,
        days=length,
    )
    usual_rows = fleet.rows * (length + edge) + rows_again * (fleet.pages - 1)
    dates = [
        _Date(row[1], float(row[5]) / float(row[3]), float(row[4]) / float(row[2]), float(row[3]))
        for row in connection.execute(_BY_DATE, asked)
    ]
    # Longer reads hide what their days were like, one by one.
    weekend, workday = _week(dates) if length < 1.5 else (1.0, 1.0)
    scaled = [one.bytes / (weekend if one.is_weekend else workday) for one in dates]
    requests = sum(float(row[2]) for row in steps.values())
    busy_reads = sum(float(row[4]) for row in steps.values())
    return History(
        feed=feed,
        reads=int(reads),
        scope_days=scope_days,
        dates=max(len(dates), round(length)),
        fleet=fleet,
        by_scope=by_scope,
        pages_per_row=pages_per_row,
        bytes_per_row=fleet.bytes / usual_rows if usual_rows > 0 else 0.0,
        rows_again=rows_again,
        edge_days=edge / (1 - scheduled / 2),
        edge_seen=edge,
        weekend=weekend,
        workday=workday,
        spread=_relative_spread(scaled) * math.sqrt(length) if len(dates) > 1 else _USUAL_SPREAD,
        page_spread=_relative_spread([one.pages for one in dates]) if len(dates) > 1 else _USUAL_SPREAD,
        rows_per_byte={row[0]: float(row[1] or 0) for row in loads},
        extra=extra,
        login=login,
        knows_first=True in steps,
        answer_s=sum(float(row[3]) for row in steps.values()) / requests if requests else 0.3,
        own_s=max(0.0, sum(float(row[5]) for row in steps.values())) / busy_reads if busy_reads else 0.2,
    )


LATELY = """(
    SELECT *, max(ended_at) OVER () AS newest FROM ops.usage WHERE account = %(account)s AND feed = %(feed)s
) steps WHERE ended_at > newest - %(history)s"""
"""The steps of a feed in the last ``HISTORY`` in which there were any; its parameters: ``lately``."""


def lately(account: Account, feed: Feed) -> dict[str, object]:
    """Parameters of ``LATELY``."""
    return {"account": account.name, "feed": feed.name, "history": HISTORY}


def _default(feed: Feed) -> History:
    return History(
        feed=feed,
        fleet=Typical(pages=feed.day_pages, bytes=feed.day_bytes, rows=feed.day_rows, days=1.0),
        rows_per_byte=dict.fromkeys(feed.datasets, feed.day_rows / feed.day_bytes),
    )


def _typical(edge: float, reads: float, days: float, pages: float, size: float, rows: float) -> Typical:
    whole_days = days + edge * reads
    return Typical(pages=pages / reads, bytes=size / reads, rows=rows / whole_days, days=days / reads)


def _edge_days(feed: Feed, length: float, outside: float) -> float:
    """Days beyond its window that a read brings, from the share of its rows that lie outside."""
    if feed.kind is not Kind.WINDOW:
        return 0.0
    outside = min(outside, 0.9)
    return length * outside / (1 - outside)


def _slope(count: float, rows: float, pages: float, crossed: float, squared: float) -> float:
    """Pages per row by least squares; 0 where there is too little to tell, never negative."""
    variance = squared - rows * rows / count
    if count < _FEW or variance <= 1e-9 * squared:
        return 0.0
    return max(0.0, (crossed - rows * pages / count) / variance)


@dataclass(frozen=True)
class _Date:
    """One date of the history: bytes per day, pages per read, days read."""

    date: dt.date
    bytes: float
    pages: float
    days: float

    @property
    def is_weekend(self) -> bool:
        return self.date.weekday() >= _SATURDAY


def _week(dates: Sequence[_Date]) -> tuple[float, float]:
    """Bytes of a weekend day and of a workday relative to the average; 1 and 1 until the history has a whole week.

    The median of each kind counts: a day on which much was made up for is no pattern.
    """
    kinds = [[one.bytes for one in dates if one.is_weekend is kind] for kind in (True, False)]
    if len(dates) < _WEEK or len(kinds[0]) < 2:
        return 1.0, 1.0
    weekend, workday = (statistics.median(kind) for kind in kinds)
    whole = (weekend * len(kinds[0]) + workday * len(kinds[1])) / len(dates)
    return (max(weekend / whole, 0.01), max(workday / whole, 0.01)) if whole > 0 else (1.0, 1.0)


def _relative_spread(values: Sequence[float]) -> float:
    if len(values) < 2 or (mean := statistics.fmean(values)) <= 0:
        return 0.0
    return statistics.stdev(values) / mean


def share_of(connection: psycopg.Connection[Any], account: Account, feed: Feed, vehicles: int) -> float:
    """Which part of the vehicles a run reads in a feed whose vehicles a report names; 1 without history."""
    row = connection.execute(
        f"SELECT sum(scopes)::float, count(DISTINCT (dag_id, run_id)) FROM {LATELY}", lately(account, feed)
    ).fetchone()
    if not row or not row[1] or not vehicles:
        return 1.0
    return min(1.0, float(row[0]) / int(row[1]) / vehicles)
