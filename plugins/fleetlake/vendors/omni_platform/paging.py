"""Offset paging over a list that may move: a pass counts only when nothing moved during it."""

from __future__ import annotations

import hashlib
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
    """An answer of a whole pass.

    Attributes:
        page: what is passed on.
        rows: its rows, those it shares with the answer before included.
        offset: rows of the list up to its end.
        total: rows of the list.
        seal: the same for all answers of a pass, another one for a pass over other rows.
    """

    page: T
    rows: int
    offset: int
    total: int
    seal: str


def whole_pass(ask: Callable[[int, int], Listed[T]], *, page_size: int, max_restarts: int, where: str) -> list[Placed[T]]:
    """List everything, and begin again when the list moved.

    The rows of an abandoned pass are nowhere: they are let go of before anybody has seen them. That is why a pass is kept
    in memory until it is whole. Its answers are few: a list is an hour of events, or one of the small ones. And that is
    why an interrupted pass is not gone on with: nobody watched the list meanwhile.

    Args:
        ask: gives the answer for an offset and a limit.
        page_size: rows per answer.
        max_restarts: how often to begin again.
        where: name of the list for messages.

    Raises:
        Retriable: it moved every time.
    """
    problem = ""
    for attempt in range(max_restarts + 1):
        listed, problem = _one_pass(ask, page_size)
        if not problem:
            return _placed(listed)
        if attempt < max_restarts:
            log.info("%s: %s; listing it again", where, problem)
    raise Retriable(
        f"the list moved during each of {max_restarts + 1} passes: {problem}",
        where=where,
        remedy="it is tried again; shorter windows (window_minutes) or larger pages (page_size) move less",
        retry_after=_LATER_S,
    )


def _one_pass(ask: Callable[[int, int], Listed[T]], page_size: int) -> tuple[list[Listed[T]], str]:
    """The answers of a pass, or why it does not count.

    ``totalCount`` alone does not tell a list in which one row went and another came. So each answer begins with the last
    row of the one before: where that is another row by now, the list has shifted.
    """
    answers: list[Listed[T]] = []
    seen: set[str] = set()
    offset = 0
    while True:
        overlap = 1 if answers else 0
        listed = ask(offset - overlap, page_size + overlap)
        if answers:
            total, last = answers[-1].total, answers[-1].ids[-1]
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
        answers.append(listed)
        if offset == listed.total:
            return answers, ""
        if offset > listed.total or not fresh:  # a page may be shorter than asked for, but not empty before the end
            return [], f"{offset} rows came, totalCount is {listed.total}"


def _placed(answers: Sequence[Listed[T]]) -> list[Placed[T]]:
    ids = "\n".join(str(one) for listed in answers for one in listed.ids)
    seal = hashlib.sha256(ids.encode()).hexdigest()[:16]
    placed: list[Placed[T]] = []
    offset = 0
    for listed in answers:
        offset += len(listed.ids) - (1 if placed else 0)
        placed.append(Placed(listed.page, len(listed.ids), offset, listed.total, seal))
    return placed
