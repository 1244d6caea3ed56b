"""SuiviDeFlotte as the pipeline sees it: feeds and pages."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterator, Mapping

from fleetlake.errors import ConfigError, CursorStuck, IncompleteAnswer, MalformedAnswer, OutOfRetention
from fleetlake.http.answers import Answer
from fleetlake.reading import Feed, Kind, Page
from fleetlake.vendors.suivideflotte.client import SuiviDeFlotteClient, filters, judge_vehicle, segment
from fleetlake.vendors.suivideflotte.decode import Listing, is_end, listing
from fleetlake.vendors.suivideflotte.fieldmap import TABLES, FieldMap, Resource
from fleetlake.vendors.suivideflotte.localtime import to_vendor_time
from fleetlake.vendors.suivideflotte.paging import Come, Place
from fleetlake.window import Window


def _feed(name: str, kind: Kind, *, per_scope: bool = False, max_days: int | None = None) -> Feed:
    return Feed(name=name, kind=kind, per_scope=per_scope, datasets=(TABLES[name],), max_days=max_days)


FEEDS: Mapping[str, Feed] = {
    feed.name: feed
    for feed in (
        _feed("vehicles", Kind.SNAPSHOT),
        # Some days in one request: calls are scarcer than rows.
        _feed("trips", Kind.WINDOW, per_scope=True, max_days=7),
        _feed("alerts", Kind.WINDOW, max_days=7),
        _feed("poi", Kind.SNAPSHOT),
        _feed("drivers", Kind.SNAPSHOT),
    )
}


class SuiviDeFlotteSource:
    """One SuiviDeFlotte account's data, page by page (``fleetlake.reading.Source``).

    Args:
        client: the account's client.
        fieldmap: the account's mapping file.
    """

    feeds = FEEDS

    def __init__(self, client: SuiviDeFlotteClient, fieldmap: FieldMap) -> None:
        self.client = client
        self.fieldmap = fieldmap

    def pages(
        self, feed: str, *, scope: str, window: Window | None, cursor: str | None, stream: bool = False
    ) -> Iterator[Page]:
        """See ``fleetlake.reading.Source.pages``.

        A list is read by id upwards. It is no snapshot: when a row vanishes while it is read, later rows move one place
        up, and one slips from the next page to the one read before. So every page is read again right after the next
        one; rows that come twice are one for the pipeline. The cursor is the page to go on with, and its size; after a
        page whose predecessor is still to be read again it says too what came, for only both together tell the end.

        The end is a paginator's last page, an empty page, or the refusal of a page past the end. A paginator counts its
        rows: the last page carries the count.

        Raises:
            OutOfRetention: the vendor does not keep a part of the window any more; what it has was paged first, without a
                last page.
        """
        return self._pages(feed, scope, window, cursor, stream=stream)

    def pages_again(self, feed: str, *, scope: str, window: Window | None, cursor: str | None) -> Iterator[Page]:
        """See ``fleetlake.reading.SecondSource.pages_again``: by id downwards.

        What a page hides lies elsewhere in the list then, and shows.
        """
        return self._pages(feed, scope, window, cursor, downwards=True)

    def _pages(
        self,
        feed: str,
        scope: str,
        window: Window | None,
        cursor: str | None,
        *,
        stream: bool = False,
        downwards: bool = False,
    ) -> Iterator[Page]:
        if feed not in FEEDS:
            raise ConfigError(
                f"SuiviDeFlotte has no feed {feed!r}", where="suivideflotte", remedy=f"one of {', '.join(FEEDS)}"
            )
        if stream or (window is None) != (FEEDS[feed].kind is Kind.SNAPSHOT):
            reads = "no window" if FEEDS[feed].kind is Kind.SNAPSHOT else "windows only"
            raise ConfigError(f"feed {feed!r} reads {reads}", where="suivideflotte")
        gone = self._gone(window)
        if gone is not None and window is not None and gone.since == window.end:
            raise gone
        resource = self.fieldmap.resource(feed)
        path = resource.path.replace("{scope}", segment(scope))
        query = self._query(resource, scope, window, downwards=downwards)
        place = Place.of(cursor)
        while True:
            answer = self._ask(resource, path, query, scope, place.asks, place.size)
            found = _checked(answer, place.asks)
            size = place.size or self.client.per_page
            come = place.come or Come.of(found, size)
            if place.come is None and place.number > 1:
                place = Place(place.number, size, come)
                yield _page(answer, len(found.data), place, is_last=False)
                continue
            is_repeated = place.come is not None and come.is_repeated_by(found)
            stuck = _stuck(come, place.number, size, answer) if is_repeated else None
            # An array that does not page is repeated too: every page is the whole.
            is_last = stuck is None and (is_repeated or come.is_end)
            total = found.total if come.total is None else come.total
            place = Place(place.number if stuck else place.number + 1, size)
            yield _page(answer, len(found.data), place, is_last=is_last and gone is None, total=total if is_last else None)
            if stuck:
                raise stuck
            if is_last:
                if gone is not None:
                    raise gone
                return
            if place.number > self.client.config.max_pages:
                raise CursorStuck(
                    f"the list has not ended after {self.client.config.max_pages} pages",
                    where=answer.request,
                    remedy="raise max_pages if the list is that long; else the vendor repeats itself",
                )

    def check(self) -> str:
        """See ``SuiviDeFlotteClient.check``."""
        return self.client.check(self.fieldmap.resource("vehicles").path)

    def close(self) -> None:
        """Give back sockets."""
        self.client.close()

    def _gone(self, window: Window | None) -> OutOfRetention | None:
        """What is to be said of a window that reaches back beyond what the vendor keeps (SDF-07)."""
        days = self.client.config.history_days
        if window is None or not days:
            return None
        since = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
        if since <= window.start:
            return None
        return OutOfRetention(
            f"the vendor keeps {days} days: what happened before is gone there",
            where=str(window),
            remedy="rows loaded earlier stay; raise history_days if this customer's history is longer",
            since=min(since, window.end),
        )

    def _query(self, resource: Resource, scope: str, window: Window | None, *, downwards: bool) -> dict[str, str]:
        query = filters(
            fields=resource.top_fields if resource.only_fields else (),
            equals={name: value.replace("{scope}", scope) for name, value in resource.equals.items()},
            sort=[f"-{resource.sort}" if downwards else resource.sort] if resource.sort else (),
        )
        if window is not None:
            to_text = functools.partial(to_vendor_time, zone=self.fieldmap.zone, form=self.fieldmap.date_format)
            query |= {
                resource.start: to_text(window.start - resource.margin),
                resource.end: to_text(window.end + resource.margin),
            }
        return query

    def _ask(
        self, resource: Resource, path: str, query: Mapping[str, str], scope: str, number: int, size: int | None
    ) -> Answer:
        try:
            return self.client.page(path, query, page=number, per_page=size)
        except ConfigError as error:
            error.where = f"{error.where}; {resource.where}"
            if "{scope}" in resource.path and "HTTP 404" in error.message:
                self._find_vehicle(scope)
            raise

    def _find_vehicle(self, vehicle: str) -> None:
        """A 404 to a vehicle's list: is the vehicle gone, or the path wrong?

        Raises:
            ScopeUnavailable: the vendor does not know the vehicle.
        """
        vehicles = self.fieldmap.resource("vehicles").path
        self.client.get(f"{vehicles}/{segment(vehicle)}", judge=functools.partial(judge_vehicle, vehicle))


def _checked(answer: Answer, number: int) -> Listing:
    if answer.status == 422 and is_end(answer.body):
        return Listing([])
    found = listing(answer.body)
    if found.current_page is not None and found.current_page != number:
        raise MalformedAnswer(f"page {number} was asked for, page {found.current_page} came", where=answer.request)
    promised = found.last - found.first + 1 if found.first is not None and found.last is not None else len(found.data)
    if len(found.data) != promised:
        raise IncompleteAnswer(
            f"page {number} says it has {promised} rows and has {len(found.data)}",
            where=answer.request,
            remedy="it is asked for again by the next run",
        )
    return found


def _stuck(come: Come, number: int, size: int, answer: Answer) -> CursorStuck | None:
    """What is wrong with a page that has the rows of the page before, which ``answer`` holds."""
    if come.is_counted:
        return CursorStuck(f"page {number} has the rows of the page before", where=answer.request)
    if come.rows == size:
        return CursorStuck(
            f"a full page of {size} rows is that of the page before: nobody knows whether more follow",
            where=answer.request,
            remedy="it is asked for again by the next run; if it stays, set another per_page",
        )
    return None


def _page(answer: Answer, rows: int, place: Place, *, is_last: bool, total: int | None = None) -> Page:
    return Page(
        body=answer.body,
        request=answer.request,
        status=answer.status,
        content_type=answer.content_type,
        fetched_at=answer.fetched_at,
        rows=rows,
        cursor=str(place),
        is_last=is_last,
        total=total,
    )
