"""From vendor to raw: reads that stop anywhere and go on at the last committed page."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from fleetlake.errors import ConfigError, Fatal, FleetlakeError, IncompleteAnswer, ScopeUnavailable, Skippable
from fleetlake.pipeline.turns import in_turn
from fleetlake.raw import PageRef, RawStore, ReadKey
from fleetlake.reading import Feed, Page, Source
from fleetlake.window import Window

if TYPE_CHECKING:
    from fleetlake.reading import BatchSource, SecondSource

log = logging.getLogger(__name__)

_AGAIN = "-again"
"""Ends the names of second readings."""

_GIVE_UP_AFTER = 3
"""Reads in a row, of different scopes as long as there are, that may fail before the vendor is taken to be down."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """One chain of requests: one feed, one scope (or one batch of them), one window.

    Attributes:
        feed: what is read.
        key: its place in the raw store.
        stream: continue by revision instead of reading the window.
        cursor: where a stream starts, ``None`` = at the start of the window.
        since: from when on nothing is left out once a stream has come to its end; never after the window's start.
        scopes: of a batch feed: the vehicles asked about at once.
    """

    feed: Feed
    key: ReadKey
    stream: bool = False
    cursor: str | None = None
    since: dt.datetime | None = None
    scopes: tuple[str, ...] = ()

    @property
    def scope(self) -> str:
        """Vehicle or device id, or ``FLEET``; of a batch a name for it."""
        return self.key.scope

    @property
    def is_again(self) -> bool:
        """It is a second reading of what another read has read: it confirms or denies, and proves nothing by itself."""
        return self.key.read.endswith(_AGAIN)

    def again(self) -> Read:
        """The second reading of the same, with a place of its own in the raw store."""
        return replace(self, key=replace(self.key, read=f"{self.key.read}{_AGAIN}"))

    @property
    def all_scopes(self) -> tuple[str, ...]:
        """What the read is about, one by one."""
        return self.scopes or (self.key.scope,)

    @property
    def window(self) -> Window | None:
        """The window asked for; ``None`` for snapshots."""
        return self.key.window

    @property
    def proves(self) -> Window | None:
        """What is known to be whole when the last page is there: the window, and for streams all since they began."""
        window = self.key.window
        if window is not None and self.since is not None and self.since < window.start:
            return Window(self.since, window.end)
        return window


@dataclass
class Extracted:
    """What a read has brought home.

    Attributes:
        read: the read.
        pages: its committed pages in order, those of earlier tries included.
        fetched: pages fetched in this try.
        error: why it stopped early, ``None`` if it did not.
        may_delete: rows that a complete answer lacks may be marked deleted; ``False`` where the answer is whole in form
            but not to be believed that far.
        tried_at: when the read was begun in this try, UTC.
    """

    read: Read
    pages: list[PageRef] = field(default_factory=list)
    fetched: int = 0
    error: FleetlakeError | None = None
    may_delete: bool = True
    tried_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @property
    def is_complete(self) -> bool:
        """The vendor's terminal page is committed."""
        return bool(self.pages) and self.pages[-1].is_last

    @property
    def cursor(self) -> str | None:
        """Cursor after the last committed page."""
        return self.pages[-1].cursor_out if self.pages else self.read.cursor

    @property
    def refused(self) -> dict[str, str]:
        """Scopes of a batch that the vendor refused, with its words."""
        return {scope: page.refusal for page in self.pages if page.refusal for scope in page.scopes}

    @property
    def answered(self) -> tuple[str, ...]:
        """Scopes that are read wholly: of a batch also while others are still missing."""
        if self.read.scopes:
            return tuple(scope for page in self.pages if not page.refusal for scope in page.scopes)
        return self.read.all_scopes if self.is_complete else ()


def first_of(folder: str) -> str:
    """Folder of the read that a second reading is about; any other folder as it is."""
    return folder.removesuffix(_AGAIN)


def extract(raw: RawStore, source: Source, reads: Iterable[Read]) -> Iterator[Extracted]:
    """Carry out reads one after the other; the failure of one does not stop the others.

    Of a scope that fails, further reads come after those of all other scopes.

    Yields:
        One result per read, with ``error`` set where it failed. When several reads in a row fail the vendor itself is taken
        to be away: the rest is not tried, and the generator ends early.

    Raises:
        Fatal: the configuration is wrong; no other read could do better.
    """
    failures = 0
    failing: set[str] = set()
    for read in in_turn(reads, lambda read: read.all_scopes, failing):
        result = Extracted(read)
        try:
            _extract_one(raw, source, result)
        except Fatal:
            raise
        except FleetlakeError as error:
            log.warning("%s %s: %s", read.feed.name, read.scope, error)
            result.error = error
        # A vehicle that cannot be read says nothing about the vendor, neither good nor bad.
        if not isinstance(result.error, Skippable):
            failures = failures + 1 if result.error is not None else 0
            if result.error is not None:
                failing.update(read.all_scopes)
        if result.error is None and (refused := result.refused):
            result.error = ScopeUnavailable(
                f"{read.feed.name}: the vendor refuses {len(refused)} of {len(read.scopes)} vehicles: "
                + "; ".join(f"{scope}: {words}" for scope, words in refused.items()),
                where=str(read.window),
                remedy="the others are loaded; ask the vendor for access, or take them out of the account",
            )
            log.warning("%s", result.error)
        yield result
        if failures >= _GIVE_UP_AFTER:
            log.warning("%d reads in a row failed: leaving the rest to the next try", failures)
            return


def commit_report(raw: RawStore, read: Read, page: Page) -> Extracted:
    """Commit the one page of a finished report."""
    result = Extracted(read, raw.pages(read.key))
    if not result.is_complete:
        result.pages.append(raw.commit(read.key, len(result.pages), page, None))
        result.fetched = 1
    return result


def _extract_one(raw: RawStore, source: Source, result: Extracted) -> None:
    """Go on after the last committed page. The pages before it are looked at when nothing is left to ask."""
    read = result.read
    earlier, last = raw.resume_point(read.key)
    result.pages = [last] if last else []
    try:
        _ask(raw, source, result, earlier)
    finally:
        if earlier > 1:
            mine, result.pages = result.pages[1:], []  # never some without the others
            result.pages = [*raw.pages(read.key)[:earlier], *mine]


def _ask(raw: RawStore, source: Source, result: Extracted, earlier: int) -> None:
    read = result.read
    while not result.is_complete:
        cursor = result.cursor
        progressed = False
        for page in _pages(source, read, cursor):
            ref = raw.commit(read.key, earlier + result.fetched, page, cursor)
            result.pages.append(ref)
            result.fetched += 1
            progressed = True
            if ref.cursor_out != page.cursor or ref.is_last:
                break  # another worker was first: its page is the log, go on from there
            cursor = page.cursor
        if not progressed:
            raise IncompleteAnswer(
                "the vendor's answer ended without its last page",
                where=f"{read.feed.name} {read.scope} {read.window}",
                remedy="run the task again; it goes on after the last page",
            )


def _pages(source: Source, read: Read, cursor: str | None) -> Iterator[Page]:
    if not read.scopes:
        if read.is_again and hasattr(source, "pages_again"):
            second = cast("SecondSource", source)
            return second.pages_again(read.feed.name, scope=read.scope, window=read.window, cursor=cursor)
        return source.pages(read.feed.name, scope=read.scope, window=read.proves, cursor=cursor, stream=read.stream)
    if not hasattr(source, "batch_pages"):
        raise ConfigError(f"{read.feed.name}: its source cannot ask about several vehicles at once", where="Feed.batch")
    return cast("BatchSource", source).batch_pages(read.feed.name, scopes=read.scopes, window=read.window, cursor=cursor)
