"""OMNI Platform as the pipeline sees it: feeds and pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping

from fleetlake.errors import ConfigError, IncompleteAnswer, OutOfRetention, Retriable, ScopeUnavailable
from fleetlake.http.answers import Answer
from fleetlake.reading import Feed, Kind, Page
from fleetlake.vendors.omni_platform import decode
from fleetlake.vendors.omni_platform.client import OmniClient
from fleetlake.vendors.omni_platform.listings import LISTS
from fleetlake.vendors.omni_platform.paging import Listed, Placed, whole_pass
from fleetlake.window import Window

_SECOND = dt.timedelta(seconds=1)


def _list_feed(name: str, dataset: str) -> Feed:
    return Feed(name=name, kind=Kind.SNAPSHOT, per_scope=False, datasets=(dataset,))


FEEDS: Mapping[str, Feed] = {
    feed.name: feed
    for feed in (
        _list_feed("cameras", "omni_platform.camera"),
        _list_feed("agents", "omni_platform.agent"),
        _list_feed("profile_groups", "omni_platform.profile_group"),
        _list_feed("profiles", "omni_platform.profile"),
        Feed(
            name="events",
            kind=Kind.WINDOW,
            per_scope=False,
            datasets=("omni_platform.event",),
            max_days=1,
            day_pages=30,  # a list an hour at least
            day_bytes=500_000,
            day_rows=1000,
        ),
    )
}


class OmniSource:
    """One workspace's data, page by page (``fleetlake.reading.Source``).

    Args:
        client: the connection.
        now: what time it is.
    """

    feeds = FEEDS

    def __init__(self, client: OmniClient, now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> None:
        self.client = client
        self._now = now
        self._ttl: dt.timedelta | None = None
        self._knows_ttl = False

    def pages(
        self,
        feed: str,
        *,
        scope: str,  # noqa: ARG002 - every feed is about the whole workspace
        window: Window | None,
        cursor: str | None,
        stream: bool = False,
    ) -> Iterator[Page]:
        """See ``fleetlake.reading.Source.pages``.

        Events come in pieces of at most an hour, each listed in a pass during which nothing moved. The proof that nothing
        is missing is a whole pass over every piece. So a broken read begins its piece anew: pages of it that are already
        kept do no harm, but what happened to the list since then nobody knows. A cursor begins with the start of the
        piece; what follows only keeps the passes of two processes apart. A list that is no history begins anew as a whole.

        Raises:
            Retriable: the end of the window is too young to be read for good, or a piece does not stand still.
            IncompleteAnswer: the window reaches into the future.
            OutOfRetention: the vendor does not keep a part of the window any more.
            ScopeUnavailable: it does not say whether it does. In both cases what it still has is paged first, without a last
                page: those rows are loaded, nothing is deleted.
        """
        if feed in LISTS:
            yield from self._list(feed)
            return
        if feed != "events":
            raise ConfigError(
                f"OMNI Platform has no feed {feed!r}", where="omni_platform", remedy=f"one of {', '.join(FEEDS)}"
            )
        if window is None or stream:
            raise ConfigError(f"feed {feed!r} reads windows only", where="omni_platform")
        yield from self._events(window, cursor)

    def check(self) -> str:
        """See ``OmniClient.check``."""
        return self.client.check()

    def close(self) -> None:
        """Give back sockets."""
        self.client.close()

    def _list(self, feed: str) -> Iterator[Page]:
        def ask(at: int, limit: int) -> Listed[Answer]:
            return _listed(feed, self.client.listed(feed, offset=at, limit=limit))

        for placed in self._passed(ask, feed):
            yield _page(placed, feed, cursor=_inside("list", placed), is_last=placed.offset == placed.total)

    def _events(self, window: Window, cursor: str | None) -> Iterator[Page]:
        kept_since = self._kept_since()
        first = window.start if kept_since is None else max(window.start, kept_since)
        doubt = self._doubt(window, first)
        start = _start(cursor) if cursor else first
        if start >= window.end and doubt is None:
            start = first  # read to its end when that proved nothing yet
        while start < window.end:
            settled = (self._now() - self.client.config.settling).replace(microsecond=0)
            end = min(start + self.client.config.longest_window, window.end, settled)
            if end <= start:
                raise self._too_young(window, start)
            piece = Window(start, end)
            for placed in self._piece(piece):
                is_end = placed.offset == placed.total
                after = end.isoformat() if is_end else _inside(start.isoformat(), placed)
                is_last = is_end and end == window.end and doubt is None
                yield _page(placed, f"events {piece}", cursor=after, is_last=is_last)
            start = end
        if doubt is not None:
            raise doubt

    def _piece(self, piece: Window) -> list[Placed[Answer]]:
        def ask(at: int, limit: int) -> Listed[Answer]:
            return _listed("events", self.client.events(piece, offset=at, limit=limit))

        return self._passed(ask, f"events {piece}")

    def _passed(self, ask: Callable[[int, int], Listed[Answer]], where: str) -> list[Placed[Answer]]:
        config = self.client.config
        return whole_pass(ask, page_size=config.page_size, max_restarts=config.max_restarts, where=where)

    def _kept_since(self) -> dt.datetime | None:
        """From when on the vendor still has everything, as a whole second; ``None`` = no limit is known."""
        if not self._knows_ttl:
            self._ttl = self.client.activity_ttl()
            self._knows_ttl = True
        if self._ttl is None:
            return None
        try:
            return (self._now() - self._ttl).replace(microsecond=0) + _SECOND
        except OverflowError:
            return None

    def _doubt(self, window: Window, first: dt.datetime) -> OutOfRetention | ScopeUnavailable | None:
        """Why even a whole list would not show all that happened in a window: the vendor may have dropped a part."""
        if first > window.start:
            return OutOfRetention(
                f"the vendor keeps events for {self._ttl}: what happened before is gone there",
                where=f"events {window}",
                remedy="rows loaded earlier stay; if the time is wrong, set activity_ttl_unit_s in the connection",
                since=min(first, window.end),
            )
        if self._ttl is None and self._now() - window.start > self.client.config.trusted_history:
            return ScopeUnavailable(
                "the workspace does not say how long it keeps events: what it still shows is loaded, but proves nothing",
                where=f"events {window}",
                remedy="let the token's user read workspaceInfo; or set trusted_history_h to what the vendor surely keeps",
            )
        return None

    def _too_young(self, window: Window, done: dt.datetime) -> Retriable | IncompleteAnswer:
        wait = window.end + self.client.config.settling - self._now()
        where = f"events {window}"
        if wait <= 2 * self.client.config.settling:
            return Retriable(
                f"events younger than {self.client.config.settle_s} s may still be joined by others: read until {done.isoformat()}",
                where=where,
                remedy="it is tried again when they have settled",
                retry_after=max(1.0, wait.total_seconds() + 1),
            )
        return IncompleteAnswer(
            f"the window reaches into the future: read until {done.isoformat()}",
            where=where,
            remedy="what there is so far is loaded; the run of the next day completes it",
        )


def _start(cursor: str) -> dt.datetime:
    """Start of the piece that a cursor is in."""
    try:
        return dt.datetime.fromisoformat(cursor.partition(" ")[0])
    except ValueError:
        raise ConfigError(f"{cursor!r} is no cursor of events", where="events") from None


def _inside(what: str, placed: Placed[Answer]) -> str:
    return f"{what} {placed.offset} {placed.seal}"


def _listed(feed: str, answer: Answer) -> Listed[Answer]:
    found = decode.rows(feed, answer.body)
    return Listed(answer, found.total, found.ids())


def _page(placed: Placed[Answer], what: str, *, cursor: str, is_last: bool) -> Page:
    answer = placed.page
    return Page(
        body=answer.body,
        # The address is the same for all: what was asked for stands in the body that was sent.
        request=f"{answer.request} {what}, rows {placed.offset - placed.rows} to {placed.offset} of {placed.total}",
        status=answer.status,
        content_type=answer.content_type,
        fetched_at=answer.fetched_at,
        rows=placed.rows,
        cursor=cursor,
        is_last=is_last,
        total=placed.total if placed.offset == placed.total else None,
    )
