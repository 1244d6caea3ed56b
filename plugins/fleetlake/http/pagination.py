"""Paging by a revision: ask for everything from a minimum on, until an answer brings nothing new.

The vendor may read "minimum" as inclusive or exclusive, and a page may be shorter than asked for any reason. So a short
page proves nothing: a chain ends only with an answer that holds nothing greater than the cursor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fleetlake.errors import ConfigError, CursorStuck

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step(Generic[T]):
    """One page of a chain.

    Attributes:
        page: what ``fetch`` returned.
        cursor: the greatest revision seen so far, ``None`` while nothing was seen.
        is_last: the answer held nothing greater than the cursor it was asked with.
    """

    page: T
    cursor: str | None
    is_last: bool


class RevisionPaginator(Generic[T]):
    """Follows a revision cursor to its end, and refuses to loop.

    Revisions are compared in lower case, bytewise, never as numbers.

    Args:
        fetch: ``fetch(cursor, take)`` asks for one page and returns it with the revisions of its rows, in any order.
        take: rows to ask for per page.
        max_take: the most that may be asked for.
        where: name of the chain for error messages.
    """

    def __init__(
        self, fetch: Callable[[str | None, int], tuple[T, Sequence[str]]], *, take: int, max_take: int, where: str
    ) -> None:
        if not 1 <= take <= max_take:
            raise ConfigError(f"take is {take}, but must be between 1 and {max_take}", where=where)
        self._fetch = fetch
        self._take = take
        self._max_take = max_take
        self._where = where
        self.pages = 0
        """Answers received so far, useless ones included."""

    def run(self, cursor: str | None) -> Iterator[Step[T]]:
        """Yield the pages after ``cursor``; exactly one, the final one, is last.

        Raises:
            CursorStuck: answers do not get beyond the cursor although they should.
        """
        cursor = cursor.lower() if cursor else None
        is_inclusive = False
        asked_again = False
        while True:
            page, raw_revisions = self._fetch(cursor, self._take)
            self.pages += 1
            revisions = {revision.lower() for revision in raw_revisions}
            greatest = max(revisions, default=None)
            problem = None
            if cursor is not None and any(revision < cursor for revision in revisions):
                problem = f"holds rows below the cursor {cursor}"
            elif cursor is not None and is_inclusive and cursor not in revisions:
                # This vendor's minimum has shown to be inclusive: without the cursor's own row, rows are missing.
                problem = f"lacks the row of the cursor {cursor}"
            elif greatest is not None and (cursor is None or greatest > cursor):
                is_inclusive = is_inclusive or cursor in revisions
                cursor = greatest
                asked_again = False
                yield Step(page, cursor, is_last=False)
            elif len(raw_revisions) >= self._take:
                problem = f"is full and holds nothing beyond the cursor {cursor}"
            else:
                yield Step(page, cursor, is_last=True)
                return
            if problem:
                # With an inclusive minimum and a small `take` a larger page helps. Otherwise ask once more, then give up:
                # never loop, and never take such a page for the end.
                if self._take == self._max_take and asked_again:
                    raise CursorStuck(
                        f"page {self.pages} {problem}",
                        where=self._where,
                        remedy="run it again later; if it stays, the vendor's paging has changed",
                    )
                asked_again = self._take == self._max_take
                self._take = min(self._take * 2, self._max_take)
                _log.warning("%s: page %d %s; asking again with take=%d", self._where, self.pages, problem, self._take)
