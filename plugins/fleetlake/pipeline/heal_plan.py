"""From holes to requests: what is due, how it is asked for with the fewest requests, and who carries them out."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fleetlake.coverage.cover import Asking, Pages, common, each, together, union, without
from fleetlake.pipeline.heal_table import HealTable, Hole
from fleetlake.pipeline.history import History, history_of
from fleetlake.pipeline.run import Run
from fleetlake.reading import Kind, Lane
from fleetlake.window import DAY, Window

if TYPE_CHECKING:
    import psycopg

    from fleetlake.pipeline.parts import Parts
    from fleetlake.pipeline.vehicles import Vehicles
    from fleetlake.reading import Feed

_MOST_HOLES = 50_000
_DEFAULT_DAYS = 7
"""Days in one request where the vendor names no limit, as in ``Reading``."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Vehicles to ask about, and when: JSON on its way from plan to heal.

    Attributes:
        feed: what is asked.
        window: for which time.
        scopes: about whom; of a batch feed in one request, else in a chain of requests each.
        pages: requests it is expected to take.
    """

    feed: str
    window: Window
    scopes: tuple[str, ...]
    pages: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        start, end = self.window.start.isoformat(), self.window.end.isoformat()
        return {"feed": self.feed, "start": start, "end": end, "scopes": list(self.scopes), "pages": round(self.pages, 1)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Request:
        """From ``as_dict``."""
        window = Window.parse(value["start"], value["end"])
        return cls(feed=value["feed"], window=window, scopes=tuple(value["scopes"]), pages=value["pages"])


def proven_by(parts: Parts, feed: Feed) -> list[str]:
    """The tables that an answer of a feed can prove complete."""
    return [table for table in feed.datasets if parts.contracts[table].feed == feed.name]


class Planning:
    """From the holes of one account to requests.

    Args:
        parts: the account's.
        vehicles: the account's.
    """

    def __init__(self, parts: Parts, vehicles: Vehicles) -> None:
        self._parts = parts
        self._vehicles = vehicles

    def due(self, table: HealTable, run_id: str, now: dt.datetime) -> list[Hole]:
        """Holes of tables we know, without what is blocked, and without today, which is the schedule's."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        trials = table.trials()
        due = []
        known = [name for name, contract in self._parts.contracts.items() if contract.kind is not Kind.SNAPSHOT]
        for hole in table.holes(known, run_id, now, midnight, _MOST_HOLES):
            past = Window(hole.window.start, min(hole.window.end, midnight))
            blocked = [item.window for item in trials.get((hole.dataset, hole.scope), ()) if item.blocks(run_id, now)]
            due += [replace(hole, window=part) for part in without(past, blocked)]
        return due

    def requests(self, connection: psycopg.Connection[Any], due: Sequence[Hole]) -> list[Request]:
        """The fewest requests that read what is due, all feeds together."""
        missing: dict[str, dict[str, list[Window]]] = defaultdict(lambda: defaultdict(list))
        for hole in due:
            contract = self._parts.contracts[hole.dataset]
            if contract.kind is Kind.REPORT:
                details = self._parts.feed(contract.feed).details
                for scope, windows in self._lacking_details(details, hole.window).items():
                    missing[details][scope] += windows
            else:
                missing[contract.feed][hole.scope].append(hole.window)
        requests = []
        for name, scopes in missing.items():
            feed = self._parts.feed(name)
            history = history_of(connection, self._parts.account, feed)
            pages = _pages(feed, history)
            whole = {scope: union(map(_whole(feed), windows)) for scope, windows in scopes.items()}
            days = (feed.max_days or _DEFAULT_DAYS) if feed.kind is not Kind.REVISION else _DEFAULT_DAYS
            found = together(whole, days, feed.batch) if feed.batch > 1 else each(whole, days, pages)
            requests += [_priced(name, asking, pages) for asking in found]
        return requests

    def _lacking_details(self, details: str, window: Window) -> dict[str, list[Window]]:
        """Vehicles whose details must be read before a report's window can be proven without the report."""
        if not details:
            return {}
        lacking: dict[str, list[Window]] = defaultdict(list)
        everyone = self._vehicles.chosen(
            Run(account=self._parts.account, dag_id="", run_id="", window=window, lane=Lane.BACKFILL)
        )
        for table in proven_by(self._parts, self._parts.feed(details)):
            for scope, windows in self._parts.warehouse.missing(self._parts.account.name, table, everyone, window).items():
                lacking[scope] += windows
        return lacking

    def pieces(self, due: Sequence[Hole], requests: Sequence[Request], left: Sequence[Request]) -> list[Hole]:
        """The parts of holes that requests mend; ``left`` are those that wait for another run."""
        asked: dict[tuple[str, str], list[Window]] = defaultdict(list)
        for request in requests:
            tables = proven_by(self._parts, self._parts.feed(request.feed))
            for scope in request.scopes:
                for table in tables:
                    asked[table, scope].append(request.window)
        pieces = []
        for hole in due:
            contract = self._parts.contracts[hole.dataset]
            if contract.kind is Kind.REPORT:  # closed once all details are there, whoever reads them
                details = self._parts.feed(contract.feed).details
                if details and not any(item.feed == details and common(item.window, hole.window) for item in left):
                    pieces.append(hole)
                continue
            for window in asked.get((hole.dataset, hole.scope), ()):
                part = common(hole.window, window)
                if part:
                    pieces.append(replace(hole, window=part))
        return pieces

    def shared_out(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Requests for one task each, at most ``account.max_chunks``, of about equal size."""
        account = self._parts.account
        items = []
        for item in requests:
            step = max(1, len(item.scopes)) if self._parts.feed(item.feed).batch > 1 else account.chunk_size
            for at in range(0, len(item.scopes), step):
                scopes = item.scopes[at : at + step]
                items.append(replace(item, scopes=scopes, pages=item.pages * len(scopes) / len(item.scopes)))
        total = sum(item.pages for item in items)
        count = min(account.max_chunks, len(items), math.ceil(total / account.chunk_size))
        tasks: list[list[Request]] = [[] for _ in range(count)]
        # Neighbours stay together: what is read for one window is published at once.
        position = 0.0
        for item in sorted(items, key=lambda item: (item.feed, item.window, item.scopes)):
            tasks[min(count - 1, int(position * count / total))].append(item)
            position += item.pages
        return [task for task in tasks if task]


def _whole(feed: Feed) -> Callable[[Window], Window]:
    """The window that is asked for so that another is read: reports are read by whole days."""
    return (lambda window: window) if feed.kind is Kind.REVISION else Window.whole_days


def _pages(feed: Feed, history: History) -> Pages:
    """Pages of a request chain, from what reading has cost; without history the pages of a stream grow with its days."""

    def pages(scope: str, window: Window) -> float:
        if feed.batch > 1:
            return max(1.0, history.fleet.pages if history.reads else 1.0)
        if not history.reads:
            days = (window.end - window.start) / DAY
            return feed.day_pages * (days if feed.kind is Kind.REVISION else 1.0)
        return history.pages(scope, 1, history.weight(window))

    return pages


def _priced(feed: str, asking: Asking, pages: Pages) -> Request:
    return Request(feed=feed, window=asking.window, scopes=asking.scopes, pages=pages(asking.scopes[0], asking.window))


def within(budget: int, requests: Sequence[Request]) -> tuple[list[Request], list[Request]]:
    """The oldest, and of equally old ones those that mend most, as long as the budget lasts; and the rest.

    Oldest first, because vendors forget from that end.
    """
    ordered = sorted(
        requests, key=lambda item: (item.window.start, -len(item.scopes), -(item.window.end - item.window.start))
    )
    chosen: list[Request] = []
    spent = 0.0
    for item in ordered:
        if chosen and spent + item.pages > budget:
            break
        chosen.append(item)
        spent += item.pages
    return chosen, ordered[len(chosen) :]
