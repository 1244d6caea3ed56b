"""Halving: a batch of vehicles until the one that spoils it stands alone, a time until its answer is below a cap."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from fleetlake.errors import IncompleteAnswer
from fleetlake.reading import Page
from fleetlake.window import Window

T = TypeVar("T")
log = logging.getLogger(__name__)
_SECOND = dt.timedelta(seconds=1)
_STREAK = 3
"""So many single vehicles refused in a row: the next is probably refused too, and halving would only cost more."""


def bisect(scopes: Sequence[str], cursor: str | None, ask: Callable[[Sequence[str]], Page]) -> Iterator[Page]:
    """Pages about ``scopes``, from left to right; a refused group is halved until single vehicles are refused.

    One refused vehicle among n costs at most ``2 * ceil(log2(n))`` requests more than none. Where many in a row are refused,
    they are asked about one by one until one is answered: n refused ones cost about ``n + log2(n)``.

    Args:
        scopes: the batch; the same order every time, because the cursor counts along it.
        cursor: how many of them are done, to resume; ``None`` = none.
        ask: one request about some of them; its page has ``refusal`` set when the vendor refuses the group.

    Yields:
        Pages with ``scopes``, ``cursor`` and ``is_last`` set; each scope is in exactly one of them.
    """
    done = int(cursor or 0)
    todo = [tuple(scopes[done:])]
    refused = 0
    while todo:
        part = todo.pop()
        if refused >= _STREAK and len(part) > 1:
            todo += [part[1:], part[:1]]
            continue
        page = ask(part)
        if page.refusal and len(part) > 1:
            middle = (len(part) + 1) // 2
            todo += [part[middle:], part[:middle]]
            continue
        refused = refused + 1 if page.refusal else 0
        done += len(part)
        yield replace(page, scopes=part, cursor=str(done), is_last=done == len(scopes))


def below_cap(ask: Callable[[Window], T], size: Callable[[T], int], window: Window, cap: int) -> Iterator[tuple[Window, T]]:
    """Answers about a window, each of less than ``cap`` rows, in order of time.

    An answer of exactly a known cap may have been cut, so it is let go of, and the halves of its time are asked for.

    Args:
        ask: one request.
        size: rows of an answer.
        window: cut at whole seconds.
        cap: rows at which the vendor cuts answers; 0 = never.

    Yields:
        Each answer with the part of the window it is about.

    Raises:
        IncompleteAnswer: the answer about a single second is at the cap.
    """
    todo = [window]
    while todo:
        part = todo.pop()
        answer = ask(part)
        if not cap or size(answer) < cap:
            yield part, answer
            continue
        middle = (part.start + (part.end - part.start) / 2).replace(microsecond=0)
        if not part.start < middle < part.end:
            raise IncompleteAnswer(f"{size(answer)} rows within {part}: the vendor gives no more", where=str(window))
        log.info("%s: %d rows, the most this vendor gives: it is read in halves", part, size(answer))
        todo += [Window(middle, part.end), Window(part.start, middle)]
