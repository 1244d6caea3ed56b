"""Asking about many vehicles at once where one that is out of reach spoils the answer for all: halve until it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from fleetlake.reading import Page


def bisect(scopes: Sequence[str], cursor: str | None, ask: Callable[[Sequence[str]], Page]) -> Iterator[Page]:
    """Pages about ``scopes``, from left to right; a refused group is halved until single vehicles are refused.

    One refused vehicle among n costs at most ``2 * ceil(log2(n))`` requests more than none.

    Args:
        scopes: the batch; the same order every time, because the cursor counts along it.
        cursor: how many of them are done, to resume; ``None`` = none.
        ask: one request about some of them; its page has ``refusal`` set when the vendor refuses the group.

    Yields:
        Pages with ``scopes``, ``cursor`` and ``is_last`` set; each scope is in exactly one of them.
    """
    done = int(cursor or 0)
    todo = [tuple(scopes[done:])]
    while todo:
        part = todo.pop()
        page = ask(part)
        if page.refusal and len(part) > 1:
            middle = (len(part) + 1) // 2
            todo += [part[middle:], part[:middle]]
            continue
        done += len(part)
        yield replace(page, scopes=part, cursor=str(done), is_last=done == len(scopes))
