"""PowUnity as the pipeline sees it: feeds and pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping

from fleetlake.errors import ConfigError, OutOfRetention
from fleetlake.http.answers import Answer
from fleetlake.http.batches import below_cap
from fleetlake.reading import Feed, Kind, Page
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import MAX_POSITIONS
from fleetlake.vendors.powunity.decode import rows
from fleetlake.window import Window


def _window_feed(name: str, dataset: str, cap: int | None = None) -> Feed:
    # One day at most: beyond 24 h the server rebuilds reports from events, with other results.
    return Feed(name=name, kind=Kind.WINDOW, per_scope=True, datasets=(dataset,), max_days=1, cap=cap)


FEEDS: Mapping[str, Feed] = {
    feed.name: feed
    for feed in (
        Feed(name="devices", kind=Kind.SNAPSHOT, per_scope=False, datasets=("powunity.device",)),
        _window_feed("positions", "powunity.position", cap=MAX_POSITIONS),
        _window_feed("events", "powunity.event"),
        _window_feed("trips", "powunity.trip"),
        _window_feed("stops", "powunity.stop"),
        _window_feed("summary", "powunity.summary"),
    )
}


class PowUnitySource:
    """One PowUnity account's data, page by page (``fleetlake.reading.Source``)."""

    feeds = FEEDS

    def __init__(self, client: PowUnityClient) -> None:
        self.client = client
        self._calls: Mapping[str, Callable[[str, Window], Answer]] = {
            "positions": client.positions,
            "events": client.events,
            "trips": client.trips,
            "stops": client.stops,
            "summary": client.summary,
        }

    def pages(
        self, feed: str, *, scope: str, window: Window | None, cursor: str | None, stream: bool = False
    ) -> Iterator[Page]:
        """See ``fleetlake.reading.Source.pages``.

        One page per device and UTC day. The server does not page: a whole JSON array with status 200 is the proof that
        nothing is missing. Servers of the 6th generation cut positions at a number: a day with so many is read in pieces.
        The cursor is the end of what was read.

        Raises:
            OutOfRetention: the server does not keep a part of the window any more (POW-09). Of a day that it keeps a part of
                nothing is read: reports are made from positions, and would cut their trips.
        """
        if feed == "devices":
            yield _page(self.client.devices(), cursor=None, is_last=True)
            return
        call = self._calls.get(feed)
        if call is None:
            raise ConfigError(f"PowUnity has no feed {feed!r}", where="powunity", remedy=f"one of {', '.join(FEEDS)}")
        if window is None or stream:
            raise ConfigError(f"feed {feed!r} reads windows only", where="powunity")
        kept = self._kept(window)
        done = max(dt.datetime.fromisoformat(cursor) if cursor else window.start, kept)
        cap = self.client.config.max_positions if feed == "positions" else 0
        for day in window.days():
            if day.end <= done:
                continue
            rest = Window(max(day.start, done), day.end) if cap else day
            for piece, answer in below_cap(lambda part: call(scope, part), lambda got: len(rows(got.body)), rest, cap):
                is_last = piece.end == window.end and kept == window.start
                yield _page(answer, cursor=piece.end.isoformat(), is_last=is_last)
        if kept > window.start:
            raise OutOfRetention(
                f"the server keeps {self.client.config.history_days} days: what happened before is gone there",
                where=f"{feed} {window}",
                remedy="rows loaded earlier stay; raise history_days if this server keeps more",
                since=kept,
            )

    def check(self) -> str:
        """See ``PowUnityClient.check``."""
        return self.client.check()

    def close(self) -> None:
        """Give back sockets."""
        self.client.close()

    def _kept(self, window: Window) -> dt.datetime:
        """From when on the server has everything of a window: its start, or the first whole day kept, or its end."""
        days = self.client.config.history_days
        since = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
        if not days or since <= window.start:
            return window.start
        return min([window.end, *(day.start for day in window.days() if day.start >= since)])


def _page(answer: Answer, *, cursor: str | None, is_last: bool) -> Page:
    return Page(
        body=answer.body,
        request=answer.request,
        status=answer.status,
        content_type=answer.content_type,
        fetched_at=answer.fetched_at,
        rows=len(rows(answer.body)),
        cursor=cursor,
        is_last=is_last,
    )
