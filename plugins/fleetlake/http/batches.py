"""Asking about many vehicles at once where one that is out of reach spoils the answer for all: halve until it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from fleetlake.reading import Page

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
