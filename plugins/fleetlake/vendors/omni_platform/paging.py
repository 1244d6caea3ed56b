"""Offset paging over a list that may move: a pass counts only when nothing moved during it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fleetlake.errors import Retriable

log = logging.getLogger(__name__)
T = TypeVar("T")
_LATER_S = 60.0


@dataclass(frozen=True)
class Listed(Generic[T]):
    """One answer.

    Attributes:
        page: what is passed on.
        total: ``totalCount``.
        ids: id of each row; ``None`` where a row does not say.
    """

    page: T
    total: int
    ids: Sequence[str | None]


@dataclass(frozen=True)
class Placed(Generic[T]):
    """An answer of a whole pass, its rows (those it shares with the answer before included), and the offset after it."""

    page: T
    rows: int
    offset: int
    total: int


def whole_pass(
    ask: Callable[[int, int], Listed[T]], *, page_size: int, offset: int, total: int | None, max_restarts: int, where: str
) -> list[Placed[T]]:
    """List everything from ``offset`` on, and begin again at 0 when the list moved.

    The rows of an abandoned pass are nowhere: they are let go of before anybody has seen them. That is why a pass is kept
    in memory until it is whole. Its answers are few: a list is an hour of events, or one of the small ones.

    Args:
        ask: gives the answer for an offset and a limit.
        page_size: rows per answer.
        offset: where to go on; not 0 after an interruption.
        total: ``totalCount`` seen before the interruption.
        max_restarts: how often to begin again.
        where: name of the list for messages.

    Raises:
        Retriable: it moved every time.
    """
    problem = ""
    for attempt in range(max_restarts + 1):
        placed, problem = _one_pass(ask, page_size, offset, total)
        if not problem:
            return placed
        offset, total = 0, None
        if attempt < max_restarts:
            log.info("%s: %s; listing it again", where, problem)
    raise Retriable(
        f"the list moved during each of {max_restarts + 1} passes: {problem}",
        where=where,
        remedy="it is tried again; shorter windows (window_minutes) or larger pages (page_size) move less",
        retry_after=_LATER_S,
    )


def _one_pass(
    ask: Callable[[int, int], Listed[T]], page_size: int, offset: int, total: int | None
) -> tuple[list[Placed[T]], str]:
    """The answers of a pass, or why it does not count.

    ``totalCount`` alone does not tell a list in which one row went and another came. So each answer begins with the last
    row of the one before: where that is another row by now, the list has shifted.
    """
    placed: list[Placed[T]] = []
    seen: set[str] = set()
    last: str | None = None
    while True:
        overlap = 1 if offset else 0
        listed = ask(offset - overlap, page_size + overlap)
        total = listed.total if total is None else total
        if listed.total != total:
            return [], f"totalCount went from {total} to {listed.total}"
        if last is not None and (not listed.ids or listed.ids[0] != last):
            return [], f"row {offset} is another one than before"
        fresh = listed.ids[overlap:]
        known = [one for one in fresh if one is not None]
        if len(set(known)) < len(known) or not seen.isdisjoint(known):
            return [], "a row came twice"
        seen.update(known)
        offset += len(fresh)
        placed.append(Placed(listed.page, len(listed.ids), offset, total))
        if offset == total:
            return placed, ""
        if offset > total or not fresh:  # a page may be shorter than asked for, but not empty before the end
            return [], f"{offset} rows came, totalCount is {total}"
        last = fresh[-1]
