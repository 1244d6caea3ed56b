"""Words for reading a vendor: pages, feeds, and what a vendor's room must offer.

A **feed** is what is asked of a vendor (one kind of request); a **dataset** is what is published (one contract, one
table). Most feeds fill one dataset; some answers hold rows for two (a health report and its troubles).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from fleetlake.window import Window

if TYPE_CHECKING:
    import msgspec

FLEET = "_fleet"
"""Scope of a request that is about the whole account."""


class Lane(StrEnum):
    """Who goes first when an account's quota is short: live, then scheduled, then backfill."""

    LIVE = "live"
    SCHEDULED = "scheduled"
    BACKFILL = "backfill"


class Kind(StrEnum):
    """How a feed is read."""

    SNAPSHOT = "snapshot"  # the current state of all entities, no time range
    WINDOW = "window"  # one scope, one window of event time; the answer replaces that window
    REVISION = "revision"  # as WINDOW for backfills; scheduled runs continue from a revision instead
    REPORT = "report"  # an asynchronous job about a window: submit, poll, collect


@dataclass(frozen=True, kw_only=True)
class Page:
    """One vendor answer, as it came, with what is needed to go on after it.

    Attributes:
        body: the bytes of the answer, undecoded (content encoding removed).
        request: method, path and query as sent; never a credential.
        status: HTTP status.
        content_type: header of the answer, empty when absent.
        fetched_at: when the answer had arrived, UTC.
        rows: how many rows the body holds.
        cursor: where the next page starts; ``None`` when the feed has no cursor or nothing was read.
        is_last: the vendor has no more: the proof of completeness rests on this.
        scopes: of a batch feed: the vehicles this answer is about.
        refusal: of a batch feed: the vendor's words when it refused exactly these; the body is its evidence, not data.
        total: on the last page of a list whose rows the vendor counts: how many it says there are in all its pages;
            ``None`` on the others, and where it does not count. A read of several lists has the sum of them.
    """

    body: bytes
    request: str
    status: int
    content_type: str
    fetched_at: dt.datetime
    rows: int
    cursor: str | None = None
    is_last: bool = True
    scopes: tuple[str, ...] = ()
    refusal: str = ""
    total: int | None = None


@dataclass(frozen=True)
class Asked:
    """What a page was asked for: answers do not always repeat it.

    Attributes:
        account: account it was read with.
        scope: vehicle, device or ``FLEET``; of a batch feed a name for the batch.
        window: window asked for; ``None`` for snapshots.
    """

    account: str
    scope: str
    window: Window | None


def with_fields(row: bytes | msgspec.Raw, fields: Mapping[str, Any]) -> msgspec.Raw:
    """A JSON object with fields put in front of its own, without decoding it.

    Args:
        row: a JSON object, as it came.
        fields: by convention named with a leading underscore, so that no vendor field is hidden.
    """
    import msgspec

    text = bytes(row).lstrip()
    if text[:1] != b"{":
        return msgspec.Raw(text)  # no object: typing says so
    head = msgspec.json.encode(dict(fields))[:-1]
    rest = text[1:].lstrip()
    return msgspec.Raw(head + (rest if rest[:1] == b"}" else b"," + rest))


@dataclass(frozen=True, kw_only=True)
class Feed:
    """One kind of request of a vendor.

    Attributes:
        name: unique within the vendor; the folder of its raw pages.
        kind: how it is read.
        per_scope: one request chain per vehicle or device, not one for the fleet.
        datasets: contracts filled from its pages.
        max_days: the longest window of one request, in UTC dates; ``None`` = no limit.
        cap: rows after which the vendor cuts an answer without saying so; one with exactly so many proves nothing.
            ``None`` = no such limit is known.
        batch: so many vehicles in one request at most; the source of a feed with more than one is a ``BatchSource``.
        looks_back: scheduled runs may read days before their own again.
        details: of a report: the per-vehicle feed that completes it.
        details_suffice: of a report: ``details``, read for every vehicle, tells all that the report tells.
        job_life_s: of a report: the vendor forgets it after so many seconds.
        day_pages, day_bytes, day_rows: pages, bytes and rows of one read of one day, roughly: the price of a backfill before
            anything was read.
    """

    name: str
    kind: Kind
    per_scope: bool
    datasets: Sequence[str]
    max_days: int | None = None
    cap: int | None = None
    batch: int = 1
    looks_back: bool = True
    details: str = ""
    details_suffice: bool = True
    job_life_s: float = 3600.0
    day_pages: float = 1.0
    day_bytes: int = 20_000
    day_rows: int = 50


class Source(Protocol):
    """What a vendor's room offers to the pipeline: one account's data, page by page.

    Implementations live in ``vendors/<vendor>/source.py``. They raise only errors of ``fleetlake.errors``.
    """

    feeds: Mapping[str, Feed]

    def pages(
        self, feed: str, *, scope: str, window: Window | None, cursor: str | None, stream: bool = False
    ) -> Iterator[Page]:
        """Read a feed, starting after ``cursor``.

        Args:
            feed: name of a feed.
            scope: vendor id of the vehicle or device, or ``FLEET``.
            window: window of event time; ``None`` for snapshots.
            cursor: ``Page.cursor`` of the last committed page, to resume; ``None`` to start.
            stream: for revision feeds: read everything received after ``cursor`` whatever its event time.
                Without a cursor a stream starts at ``window.start`` and has no end.

        Yields:
            Pages in order; exactly one, the final one, has ``is_last``.
        """
        ...

    def close(self) -> None:
        """Give back sockets and sessions."""
        ...


class SecondSource(Source, Protocol):
    """A source that can read a list in another way, so that a second reading shares as little as possible with the first.

    Without it a second reading asks the same questions again.
    """

    def pages_again(self, feed: str, *, scope: str, window: Window | None, cursor: str | None) -> Iterator[Page]:
        """As ``pages``, in another order or with other pages; for feeds that have only one way, the same."""
        ...


class BatchSource(Source, Protocol):
    """A source with feeds that ask about several vehicles at once."""

    def batch_pages(self, feed: str, *, scopes: Sequence[str], window: Window | None, cursor: str | None) -> Iterator[Page]:
        """Read a batch feed for some vehicles, starting after ``cursor``.

        Args:
            feed: a feed with ``batch`` above 1.
            scopes: vendor ids, at most ``batch``, in an order that a resumed read repeats.
            window: window of event time.
            cursor: as in ``pages``.

        Yields:
            Pages, each with the ``scopes`` it answers for, or refuses (``refusal``). Together they name every scope.
        """
        ...


class JobState(StrEnum):
    """State of a vendor's asynchronous job."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"  # unknown or expired token

    @property
    def is_terminal(self) -> bool:
        """No further poll can change it."""
        return self is not JobState.RUNNING


@dataclass(frozen=True)
class JobStatus:
    """What a poll of an asynchronous job said.

    Attributes:
        state: where the job is.
        message: the vendor's words, empty if none.
        page: the finished report as a raw page, only with ``SUCCEEDED``.
    """

    state: JobState
    message: str = ""
    page: Page | None = field(default=None, repr=False)


class ReportSource(Source, Protocol):
    """A source with asynchronous reports."""

    def submit(self, feed: str, window: Window, about_to_send: Callable[[], None] | None = None) -> str:
        """Ask for a report; returns the token. Exactly one request is sent, never repeated on an unclear outcome.

        Args:
            feed: a report feed.
            window: window of event time.
            about_to_send: called immediately before the request is sent; when it raises nothing is sent.
        """
        ...

    def poll(self, feed: str, token: str) -> JobStatus:
        """Ask once how the job stands."""
        ...


@dataclass(frozen=True)
class Derivation:
    """Columns of a dataset that no single vendor field holds: the odd part of a mapping.

    Attributes:
        needs: vendor fields (paths as in a contract's ``source``) read for this purpose only, each with the type of
            ``contracts.TYPES`` it must have; ``jsonb`` gives the decoded JSON value, whatever its type.
        make: from the values of ``needs`` (path to list) and the columns read so far (name to Arrow array), the derived
            columns (name to values, one per row). It must not raise for odd values: null is the answer to nonsense.
    """

    needs: Mapping[str, str]
    make: Callable[[Mapping[str, list[Any]], Mapping[str, Any]], Mapping[str, Any]]
