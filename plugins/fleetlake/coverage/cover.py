"""The smallest set of requests that reads what is missing. Pure logic.

What is missing lies on a line of days; a request covers at most so many days of it, for one scope or for a batch of scopes.
Going from left to right and beginning each request where the first missing time begins needs the fewest requests.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleetlake.window import DAY, Window

Pages = Callable[[str, Window], float]
"""Pages of one request chain about a scope and a window."""


@dataclass(frozen=True, order=True)
class Asking:
    """One chain of requests.

    Attributes:
        window: what is asked for.
        scopes: whom it is about: one, or a batch.
    """

    window: Window
    scopes: tuple[str, ...]


def union(windows: Iterable[Window]) -> list[Window]:
    """Windows that overlap or touch as one; in order."""
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and window.start <= merged[-1].end:
            merged[-1] = Window(merged[-1].start, max(merged[-1].end, window.end))
        else:
            merged.append(window)
    return merged


def without(window: Window, others: Iterable[Window]) -> list[Window]:
    """The parts of a window outside some others, in order."""
    parts = []
    position = window.start
    for other in union(others):
        if other.end <= position:
            continue
        if other.start >= window.end:
            break
        if other.start > position:
            parts.append(Window(position, other.start))
        position = other.end
    if position < window.end:
        parts.append(Window(position, window.end))
    return parts


def common(left: Window, right: Window) -> Window | None:
    """What two windows share; ``None`` when it is nothing."""
    start, end = max(left.start, right.start), min(left.end, right.end)
    return Window(start, end) if start < end else None


def each(missing: Mapping[str, Sequence[Window]], max_days: int, pages: Pages) -> list[Asking]:
    """Requests about one scope each.

    Two missing times are asked for at once where one request may span them, and where that takes no more pages than asking
    for each: what lies between them comes along.

    Args:
        missing: what is missing, by scope.
        max_days: UTC dates that one request may touch.
        pages: pages that a request takes.
    """
    askings = []
    for scope, windows in missing.items():
        todo = union(windows)
        while todo:
            first, *todo = todo
            limit = _limit(first, max_days)
            span, rest = _cut(first, limit)
            if rest:
                todo.insert(0, rest)
            while todo and todo[0].start < limit:
                part, rest = _cut(todo[0], limit)
                together = Window(span.start, part.end)
                if part.start > span.end and pages(scope, together) > pages(scope, span) + pages(scope, part):
                    break
                span = together
                todo = [rest, *todo[1:]] if rest else todo[1:]
            askings.append(Asking(span, (scope,)))
    return askings


def together(missing: Mapping[str, Sequence[Window]], max_days: int, size: int) -> list[Asking]:
    """Requests about up to ``size`` scopes each. Scopes that lack different days of a span are asked about in one request."""
    todo = {scope: union(windows) for scope, windows in missing.items() if windows}
    askings = []
    while todo:
        first = min(windows[0] for windows in todo.values())
        limit = _limit(first, max_days)
        members = sorted(scope for scope, windows in todo.items() if windows[0].start < limit)
        end = first.start
        for scope in members:
            inside = [_cut(window, limit) for window in todo[scope] if window.start < limit]
            end = max(end, inside[-1][0].end)
            rest = [part for _, part in inside if part] + [window for window in todo[scope] if window.start >= limit]
            if rest:
                todo[scope] = rest
            else:
                del todo[scope]
        span = Window(first.start, end)
        askings += [Asking(span, tuple(members[at : at + size])) for at in range(0, len(members), size)]
    return askings


def _limit(first: Window, max_days: int) -> dt.datetime:
    return first.start.replace(hour=0, minute=0, second=0, microsecond=0) + max_days * DAY


def _cut(window: Window, limit: dt.datetime) -> tuple[Window, Window | None]:
    """What a request can take of a window, and what is left for the next one."""
    if window.end <= limit:
        return window, None
    return Window(window.start, limit), Window(limit, window.end)
