"""The price of a plan's parts: which feed reads what on which days, in how many steps, and what that comes to."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from fleetlake.pipeline.history import LATELY, History, history_of, lately, share_of
from fleetlake.pipeline.price import Price
from fleetlake.window import DAY, Window

if TYPE_CHECKING:
    import psycopg

    from fleetlake.accounts import Account
    from fleetlake.reading import Feed

Spans = dict[str, list[tuple[int, int]]]
"""Days to read by vehicle: half-open ranges of day numbers, counted from the first day of the wish."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody wants to have.

    Attributes:
        datasets: tables, ``schema.table``.
        window: whole UTC days.
        vehicles: only these, by any identity; empty = all.
        account: only this account; ``None`` = all of the vendor.
        refetch: also what is complete already.
        active_runs: days loaded at once.
    """

    datasets: tuple[str, ...]
    window: Window
    vehicles: tuple[str, ...] = ()
    account: str | None = None
    refetch: bool = False
    active_runs: int = 2

    @property
    def first(self) -> dt.date:
        """First day."""
        return self.window.start.date()

    @property
    def dates(self) -> int:
        """Number of days."""
        return (self.window.end - self.window.start) // DAY


@dataclass(frozen=True, kw_only=True)
class FeedPlan:
    """The part of a plan that one feed has.

    Attributes:
        feed: the feed.
        datasets: tables it fills.
        reads: reads: chains of requests for a vehicle (or a batch) and a day.
        price: what they cost.
        spread: half-width of the bytes, relative; ``request_spread`` of the requests.
            basis: where the figures come from; ``is_guess`` there is no history.
    """

    feed: str
    datasets: tuple[str, ...]
    reads: float
    price: Price
    spread: float
    request_spread: float
    basis: str
    is_guess: bool

    @property
    def seconds_per_read(self) -> float:
        """Weight of a read when progress is counted."""
        return self.price.seconds / self.reads if self.reads else 0.0


_JOBS = f"SELECT sum(requests), count(DISTINCT (dag_id, run_id)) FROM {LATELY}"


class Pricing:
    """Prices feeds for the days of a plan.

    Args:
        connection: to the warehouse.
        account: whose history.
        wish: what is wanted.
        counts: vehicles by day for which anything is missing.
        runs: days from the first to the last with something to read.
        vehicles: vehicles the wish is about.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        account: Account,
        wish: Wish,
        counts: Sequence[int],
        runs: int,
        vehicles: int,
    ) -> None:
        self._connection = connection
        self._account = account
        self._wish = wish
        self._counts = counts
        self._runs = runs
        self._vehicles = vehicles
        self._details: set[str] = set()
        self._login = 0.0
        self._knows_first: dict[bool, bool] = {}

    @property
    def _tasks(self) -> list[int]:
        """Mapped tasks by day."""
        size, most = self._account.chunk_size, self._account.max_chunks
        return [min(most, math.ceil(count / size)) for count in self._counts]

    def of_list(self, feed: Feed) -> FeedPlan:
        """The list of vehicles, once a run."""
        history = self._history(feed)
        usual = history.fleet
        return self._part(history, self._runs, usual.pages * self._runs, usual.bytes * self._runs, self._runs)

    def of_jobs(self, feed: Feed) -> FeedPlan:
        """A report, asked for once a run: one request to ask for it, and polls until it is there."""
        history = self._history(feed)
        if feed.details:
            self._details.add(feed.details)
        row = self._connection.execute(_JOBS, lately(self._account, feed)).fetchone()
        requests = float(row[0]) / int(row[1]) if row and row[1] else 3.0
        return self._part(history, self._runs, requests * self._runs, history.fleet.bytes * self._runs, 0)

    def of(self, feed: Feed, spans: Spans) -> FeedPlan:
        """A feed that is read per vehicle, per batch, or for the fleet."""
        history = self._history(feed)
        weights = [0.0, *accumulate(history.factor(self._wish.first + day * DAY) for day in range(self._wish.dates))]
        share = share_of(self._connection, self._account, feed, self._vehicles) if feed.name in self._details else 1.0
        reads = pages = size = 0.0
        for scope, pairs in spans.items():
            days = sum(high - low for low, high in pairs)
            weight = sum(weights[high] - weights[low] for low, high in pairs)
            reads += days
            size += history.bytes(scope, days, weight)
            if feed.batch == 1:
                pages += history.pages(scope, days, weight)
        tasks = self._tasks if feed.per_scope else [min(1, count) for count in by_day(spans, self._wish.dates)]
        if feed.batch > 1:
            reads = float(
                sum(_batches(feed.batch, *pair) for pair in zip(by_day(spans, self._wish.dates), tasks, strict=True))
            )
            pages = reads * history.fleet.pages
        self._knows_first[feed.per_scope] = self._knows_first.get(feed.per_scope, False) or history.knows_first
        return self._part(history, reads * share, pages * share, size * share, sum(tasks))

    def login(self, parts: Sequence[FeedPlan]) -> list[FeedPlan]:
        """Logins of tasks whose first feed is another one than usual, because only some tables are wanted."""
        requests = sum(
            self._login * (sum(self._tasks) if per_scope else self._runs)
            for per_scope, known in self._knows_first.items()
            if not known
        )
        if not parts or requests < 1:
            return []
        return [
            FeedPlan(
                feed="login", datasets=(), reads=0, price=Price(requests=requests), spread=0.0, request_spread=0.1,
                basis="other tasks of the account", is_guess=False,
            )
        ]  # fmt: skip

    def work_s(self, parts: Sequence[FeedPlan], idle_s: float) -> float:
        """Time without a quota: answers and publishing, by the tasks that run at once, and what Airflow adds to a run.

        Args:
            parts: the plan's, ``seconds`` being the work of one task.
            idle_s: time of a run in which none of its tasks worked.
        """
        tasks = max(self._tasks, default=0) or 1
        at_once = min(self._account.pool_slots, tasks * self._wish.active_runs)
        busy_s = sum(part.price.seconds for part in parts)
        return busy_s / at_once + idle_s * self._runs / min(self._wish.active_runs, max(self._runs, 1))

    def _history(self, feed: Feed) -> History:
        history = history_of(self._connection, self._account, feed)
        self._login = max(self._login, history.login)
        return history

    def _part(self, history: History, reads: float, pages: float, size: float, steps: float) -> FeedPlan:
        requests = pages + history.extra * steps
        busy_s = requests * history.answer_s + reads * history.own_s
        feed = history.feed
        return FeedPlan(
            feed=feed.name,
            datasets=tuple(feed.datasets),
            reads=reads,
            price=Price(requests=requests, bytes=size, rows=history.rows(size, feed.datasets), seconds=busy_s),
            spread=history.uncertainty(history.spread, self._runs),
            request_spread=history.uncertainty(history.page_spread, self._runs),
            basis=history.basis,
            is_guess=history.reads == 0,
        )


def timed(part: FeedPlan, scale: Callable[[Price], float]) -> FeedPlan:
    """The part with its share of the whole time."""
    return replace(part, price=replace(part.price, seconds=scale(part.price)))


def union(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges joined where they touch, in order."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return joined


def by_day(spans: Mapping[str, Sequence[tuple[int, int]]], days: int) -> list[int]:
    """How many of the spans hold each day."""
    steps = [0] * (days + 1)
    for pairs in spans.values():
        for low, high in pairs:
            steps[low] += 1
            steps[high] -= 1
    return list(accumulate(steps[:days]))


def _batches(batch: int, vehicles: int, tasks: int) -> int:
    """Requests for a day's vehicles when each task asks for its share in batches."""
    if not vehicles:
        return 0
    least, more = divmod(vehicles, tasks)
    return more * math.ceil((least + 1) / batch) + (tasks - more) * math.ceil(least / batch)
