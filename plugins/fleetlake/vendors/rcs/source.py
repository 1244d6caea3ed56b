"""RCS as the pipeline sees it: feeds, pages, reports."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from fleetlake.errors import ConfigError
from fleetlake.http.answers import Answer
from fleetlake.http.pagination import RevisionPaginator
from fleetlake.reading import Feed, JobStatus, Kind, Page
from fleetlake.vendors.rcs import decode
from fleetlake.vendors.rcs.client import RcsClient, page_of
from fleetlake.window import Window

_log = logging.getLogger(__name__)
_SECOND = dt.timedelta(seconds=1)

FEEDS: Mapping[str, Feed] = {
    feed.name: feed
    for feed in (
        Feed(name="vehicles", kind=Kind.SNAPSHOT, per_scope=False, datasets=("rcs.vehicle",)),
        Feed(
            name="telemetry",
            kind=Kind.REVISION,
            per_scope=True,
            datasets=("rcs.telemetry",),
            day_pages=3,
            day_bytes=400_000,
            day_rows=2000,
        ),
        Feed(
            name="health_overview",
            kind=Kind.REPORT,
            per_scope=False,
            datasets=("rcs.health_report",),
            max_days=7,
            details="health_reports",
            job_life_s=3600,  # RCS-03
        ),
        Feed(
            name="health_reports",
            kind=Kind.WINDOW,
            per_scope=True,
            datasets=("rcs.health_report", "rcs.trouble"),
            max_days=7,
            looks_back=False,  # the day's overview says which vehicles have reports of that day
        ),
        Feed(name="users", kind=Kind.WINDOW, per_scope=False, datasets=("rcs.app_user",), max_days=7),
        Feed(
            name="client_notifications", kind=Kind.WINDOW, per_scope=False, datasets=("rcs.client_notification",), max_days=7
        ),
    )
}


class RcsSource:
    """One RCS account's data, page by page (``fleetlake.reading.ReportSource``)."""

    feeds: Mapping[str, Feed] = FEEDS

    def __init__(self, client: RcsClient) -> None:
        self.client = client
        if client.config.severity:
            # What is read vehicle by vehicle is filtered, the overview is not: it can only be had as a report.
            overview = replace(FEEDS["health_overview"], details_suffice=False)
            self.feeds = {**FEEDS, overview.name: overview}

    def pages(
        self, feed: str, *, scope: str, window: Window | None, cursor: str | None, stream: bool = False
    ) -> Iterator[Page]:
        """See ``fleetlake.reading.Source.pages``.

        Telemetry pages carry the greatest revision seen as cursor; the last one is an answer with nothing greater than
        that. Health reports come one page per piece of at most ``report_days`` dates; their cursor is the piece's end.
        Users and notifications are one page.
        """
        if feed == "vehicles":
            yield from self._vehicles()
        elif feed == "telemetry":
            yield from self._telemetry(scope, window, cursor, stream)
        elif feed == "health_reports":
            yield from self._health_reports(scope, _required(window, feed), cursor)
        elif feed in ("users", "client_notifications"):
            yield self._whole(feed, _required(window, feed))
        else:
            known = feed in FEEDS
            raise ConfigError(
                f"feed {feed!r} is a report: submit it, then poll" if known else f"RCS has no feed {feed!r}",
                where="rcs",
                remedy=f"one of {', '.join(FEEDS)}",
            )

    def submit(self, feed: str, window: Window, about_to_send: Callable[[], None] | None = None) -> str:
        """See ``fleetlake.reading.ReportSource.submit``."""
        _is_report(feed)
        days = self.client.config.report_days
        if len(list(window.split(days))) > 1:
            raise ConfigError(
                f"an overview covers at most {days} calendar days, not {window}",
                where="health_overview",
                remedy="cut the window",
            )
        return self.client.submit_overview(window.start, _last_second(window.end), about_to_send)

    def poll(self, feed: str, token: str) -> JobStatus:
        """See ``fleetlake.reading.ReportSource.poll``."""
        _is_report(feed)
        return self.client.poll_overview(token)

    def check(self) -> str:
        """See ``RcsClient.check``."""
        return self.client.check()

    def close(self) -> None:
        """Give back sockets."""
        self.client.close()

    def _vehicles(self) -> Iterator[Page]:
        answer = self.client.vehicles()
        yield page_of(answer, rows=len(decode.rows(answer.body)))

    def _telemetry(self, vehicle: str, window: Window | None, cursor: str | None, stream: bool) -> Iterator[Page]:
        if window is None and not (stream and cursor):
            raise ConfigError("telemetry needs a window, or a revision to go on from", where="telemetry")
        config = self.client.config

        def fetch(revision: str | None, take: int) -> tuple[tuple[Answer, int], Sequence[str]]:
            # A stream takes whatever was received after its revision; its window only says where it begins.
            start = window.start if window and not (stream and revision) else None
            end = window.end if window and not stream else None
            answer = self.client.telemetry(vehicle, start=start, end=end, min_revision=revision, take=take)
            found = decode.revisions(answer.body)
            is_inclusive = any(item.lower() == revision for item in found)
            if revision and found and is_inclusive != config.min_revision_inclusive:
                _log.info("RCS-01: the minimum revision is %s", "inclusive" if is_inclusive else "exclusive")
            return (answer, len(found)), found

        chain = RevisionPaginator(fetch, take=config.take, max_take=config.max_take, where=f"telemetry {vehicle}")
        for step in chain.run(cursor):
            answer, rows = step.page
            yield page_of(answer, rows=rows, cursor=step.cursor, is_last=step.is_last)

    def _health_reports(self, vehicle: str, window: Window, cursor: str | None) -> Iterator[Page]:
        done = dt.datetime.fromisoformat(cursor) if cursor else window.start
        for piece in window.split(self.client.config.report_days):
            if piece.end <= done:
                continue
            answer = self.client.health_reports(vehicle, piece.start, _last_second(piece.end))
            rows = len(decode.rows(answer.body))
            yield page_of(answer, rows=rows, cursor=piece.end.isoformat(), is_last=piece.end == window.end)

    def _whole(self, feed: str, window: Window) -> Page:
        """An answer about the fleet and a window; the vendor does not page it.

        Whether `to` belongs to the range is not known: asked is up to the window's end, and a row at the end is left out.
        """
        call = self.client.users if feed == "users" else self.client.client_notifications
        answer = call(window)
        return page_of(answer, rows=len(decode.rows(answer.body)))


def _last_second(end: dt.datetime) -> dt.datetime:
    """The last whole second before an exclusive end: the vendor's ranges end with it."""
    floor = end.replace(microsecond=0)
    return floor if floor < end else end - _SECOND


def _required(window: Window | None, feed: str) -> Window:
    if window is None:
        raise ConfigError(f"feed {feed!r} needs a window", where="rcs")
    return window


def _is_report(feed: str) -> None:
    if feed != "health_overview":
        raise ConfigError(f"feed {feed!r} is no report", where="rcs", remedy="use health_overview")
