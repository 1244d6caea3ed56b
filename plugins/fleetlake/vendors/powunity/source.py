"""PowUnity as the pipeline sees it: feeds and pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping

from fleetlake.errors import ConfigError
from fleetlake.http.answers import Answer
from fleetlake.reading import Feed, Kind, Page
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.decode import rows
from fleetlake.window import Window


def _window_feed(name: str, dataset: str) -> Feed:
    # One day at most: beyond 24 h the server rebuilds reports from events, with other results.
    return Feed(name=name, kind=Kind.WINDOW, per_scope=True, datasets=(dataset,), max_days=1)


FEEDS: Mapping[str, Feed] = {
    feed.name: feed
    for feed in (
        Feed(name="devices", kind=Kind.SNAPSHOT, per_scope=False, datasets=("powunity.device",)),
        _window_feed("positions", "powunity.position"),
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
        nothing is missing. The cursor is the end of the day read.
        """
        if feed == "devices":
            yield _page(self.client.devices(), cursor=None, is_last=True)
            return
        call = self._calls.get(feed)
        if call is None:
            raise ConfigError(f"PowUnity has no feed {feed!r}", where="powunity", remedy=f"one of {', '.join(FEEDS)}")
        if window is None or stream:
            raise ConfigError(f"feed {feed!r} reads windows only", where="powunity")
        self._check_history(window)
        done = dt.datetime.fromisoformat(cursor) if cursor else window.start
        for day in window.days():
            if day.end > done:
                yield _page(call(scope, day), cursor=day.end.isoformat(), is_last=day.end == window.end)

    def check(self) -> str:
        """See ``PowUnityClient.check``."""
        return self.client.check()

    def close(self) -> None:
        """Give back sockets."""
        self.client.close()

    def _check_history(self, window: Window) -> None:
        days = self.client.config.history_days
        if days and window.start < dt.datetime.now(dt.UTC) - dt.timedelta(days=days):
            raise ConfigError(
                f"the vendor keeps {days} days; an answer about {window} would lack what it has dropped",
                where="history_days",
                remedy="load later days; raise history_days if this server keeps more",
            )


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
