"""Omnicomm as the pipeline sees it: feeds, pages, batches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from fleetlake.errors import ConfigError, IncompleteAnswer
from fleetlake.http.answers import Answer
from fleetlake.http.batches import bisect
from fleetlake.reading import FLEET, Asked, Feed, Kind, Page
from fleetlake.vendors.omnicomm.client import OmnicommClient
from fleetlake.vendors.omnicomm.config import MAX_DAYS, MAX_VEHICLES
from fleetlake.vendors.omnicomm.decode import page_info, split
from fleetlake.vendors.omnicomm.verdicts import refusal
from fleetlake.window import Window


def _list(name: str, *tables: str, per_vehicle: bool = False) -> Feed:
    return Feed(name=name, kind=Kind.SNAPSHOT, per_scope=per_vehicle, datasets=tables)


def _days(name: str, table: str) -> Feed:
    return Feed(name=name, kind=Kind.WINDOW, per_scope=True, datasets=(table,), max_days=1)


def _report(name: str, table: str, max_days: int) -> Feed:
    return Feed(name=name, kind=Kind.WINDOW, per_scope=True, datasets=(table,), max_days=max_days, batch=MAX_VEHICLES)


FEEDS: Mapping[str, Feed] = {
    feed.name: feed
    for feed in (
        _list("vehicle_tree", "omnicomm.vehicle", "omnicomm.vehicle_group"),
        _list("profiles", "omnicomm.vehicle_profile", per_vehicle=True),
        _list("states", "omnicomm.vehicle_state", per_vehicle=True),
        _report("consolidated", "omnicomm.consolidated_report", MAX_DAYS),
        # Totals of an interval: one day each.
        _report("statistics", "omnicomm.statistics", 1),
        _days("track", "omnicomm.track_point"),
        _days("events", "omnicomm.event"),
        _days("fuel_level", "omnicomm.fuel_level"),
        _report("geofence_visits", "omnicomm.geofence_visit", MAX_DAYS),
        _list("geofences", "omnicomm.geofence"),
        _days("journal", "omnicomm.journal"),
        _days("journal_additional", "omnicomm.journal_parameter"),
        _list("users", "omnicomm.account_user"),
        _list("drivers", "omnicomm.driver"),
        _list("video_profiles", "omnicomm.video_profile"),
        _list("video_tasks", "omnicomm.video_task"),
    )
}

_JOURNALS = ("journal", "journal_additional")


class OmnicommSource:
    """One Omnicomm account's data, page by page (``fleetlake.reading.BatchSource``)."""

    feeds = FEEDS

    def __init__(self, client: OmnicommClient) -> None:
        self.client = client
        self._of_vehicle: Mapping[str, Callable[[str], Answer]] = {"profiles": client.profile, "states": client.state}
        self._of_day: Mapping[str, Callable[[str, Window], Answer]] = {
            "track": client.track,
            "events": client.events,
            "fuel_level": client.fuel_level,
            "journal": client.journal,
            "journal_additional": client.journal_additional,
        }
        self._of_batch: Mapping[str, Callable[[Sequence[str], Window], Answer]] = {
            "statistics": client.statistics,
            "consolidated": client.consolidated,
            "geofence_visits": client.geofence_visits,
        }

    def pages(
        self, feed: str, *, scope: str, window: Window | None, cursor: str | None, stream: bool = False
    ) -> Iterator[Page]:
        """See ``fleetlake.reading.Source.pages``.

        Reports are not paged: a whole answer is the proof that nothing is missing. One page per vehicle and UTC day (the
        journal: per some hours), whose cursor is the end of what was read. The geofence list is paged.
        """
        if feed not in FEEDS:
            raise ConfigError(f"Omnicomm has no feed {feed!r}", where="omnicomm", remedy=f"one of {', '.join(FEEDS)}")
        if feed in self._of_day:
            if stream:
                raise ConfigError(f"feed {feed!r} reads windows only", where="omnicomm")
            yield from self._daily(feed, scope, _required(window, feed), cursor)
        elif feed in self._of_batch:
            raise ConfigError(f"feed {feed!r} asks about several vehicles at once", where="omnicomm", remedy="batch_pages")
        elif feed == "geofences":
            yield from self._geofences()
        elif feed == "vehicle_tree":
            yield _page(feed, FLEET, None, self.client.tree())
        elif feed in self._of_vehicle:
            yield _page(feed, scope, None, self._of_vehicle[feed](scope))
        else:
            yield _page(feed, FLEET, None, self.client.unverified(feed))

    def batch_pages(self, feed: str, *, scopes: Sequence[str], window: Window | None, cursor: str | None) -> Iterator[Page]:
        """See ``fleetlake.reading.BatchSource.batch_pages``.

        One vehicle out of reach makes the vendor refuse the whole batch: it is halved until that vehicle stands alone.
        """
        call = self._of_batch.get(feed)
        if call is None:
            raise ConfigError(f"feed {feed!r} asks about one vehicle at a time", where="omnicomm", remedy="pages")
        whole = _required(window, feed)
        limit = FEEDS[feed].max_days or MAX_DAYS
        if len(list(whole.split(limit))) > 1:
            raise ConfigError(f"{feed}: {whole} is longer than {limit} days", where="omnicomm", remedy="cut the window")

        def ask(part: Sequence[str]) -> Page:
            return _page(feed, ",".join(part), whole, call(part, whole))

        yield from bisect(scopes, cursor, ask)

    def check(self) -> str:
        """See ``OmnicommClient.check``."""
        return self.client.check()

    def close(self) -> None:
        """Give back sockets."""
        self.client.close()

    def _daily(self, feed: str, scope: str, window: Window, cursor: str | None) -> Iterator[Page]:
        done = dt.datetime.fromisoformat(cursor) if cursor else window.start
        for day in window.days():
            for piece in _pieces(day, self.client.config.journal_hours) if feed in _JOURNALS else [day]:
                if piece.end > done:
                    answer = self._of_day[feed](scope, piece)
                    yield _page(feed, scope, piece, answer, piece.end.isoformat(), is_last=piece.end == window.end)

    def _geofences(self) -> Iterator[Page]:
        """Pages until every geofence of the total is seen. They may overlap, so rows are told apart by their ids.

        A broken read begins anew: pages already kept do no harm, and the list may have moved meanwhile.
        """
        seen: set[object] = set()
        number = 1
        while True:
            answer = self.client.geofences(number)
            total, found = page_info(answer.body)
            is_new = bool(set(found) - seen)
            seen |= set(found)
            if total is None:
                is_last = len(found) < self.client.config.page_size or not is_new
            else:
                is_last = len(seen) >= total
                if not is_new and not is_last:
                    raise IncompleteAnswer(
                        f"the vendor counts {total} geofences and shows {len(seen)}",
                        where=answer.request,
                        remedy="run the task again; the list may have changed while it was read",
                    )
            page = _page("geofences", FLEET, None, answer, str(number), is_last=is_last)
            yield replace(page, total=total if is_last else None)
            if is_last:
                return
            number += 1


def _pieces(day: Window, hours: int) -> Iterator[Window]:
    start = day.start
    while start < day.end:
        end = min(start + dt.timedelta(hours=hours), day.end)
        yield Window(start, end)
        start = end


def _page(
    feed: str, scope: str, window: Window | None, answer: Answer, cursor: str | None = None, *, is_last: bool = True
) -> Page:
    words = refusal(answer)
    rows = [] if words else split(feed, FEEDS[feed].datasets[0], answer.body, Asked("", scope, window))
    return Page(
        body=answer.body,
        request=answer.request,
        status=answer.status,
        content_type=answer.content_type,
        fetched_at=answer.fetched_at,
        rows=len(rows),
        cursor=cursor,
        is_last=is_last,
        refusal=words,
    )


def _required(window: Window | None, feed: str) -> Window:
    if window is None:
        raise ConfigError(f"feed {feed!r} needs a window", where="omnicomm")
    return window
