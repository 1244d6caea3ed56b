"""Whose turn it is: what failed last is asked last, so that vehicles that cannot be read never stand in the way of others.

After some failures in a row a try ends, for the vendor may be away. Who was left out then is first in the next try.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from fleetlake.warehouse import ledger

if TYPE_CHECKING:
    from fleetlake.pipeline.parts import Parts
    from fleetlake.reading import Feed

T = TypeVar("T")

_NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)


def longest_ago(parts: Parts, feed: Feed, items: Sequence[T], scopes: Callable[[T], Collection[str]]) -> list[T]:
    """Things to ask of a feed, those first that are about a scope that never failed or failed longest ago; else in order.

    Snapshots leave nothing in the ledger: they stay in order.
    """
    everyone = sorted({scope for item in items for scope in scopes(item)})
    failed: dict[str, dt.datetime] = {}
    with parts.warehouse.session() as connection:
        for table in feed.datasets:
            for scope, at in ledger.last_failures(connection, parts.account.name, table, everyone).items():
                failed[scope] = max(at, failed.get(scope, at))
    return sorted(items, key=lambda item: min(failed.get(scope, _NEVER) for scope in scopes(item)))


def in_turn(items: Iterable[T], scopes: Callable[[T], Collection[str]], failing: set[str]) -> Iterator[T]:
    """Things to ask in order, but what is about failing scopes alone after all others.

    Args:
        items: what is to be asked.
        scopes: whom it is about.
        failing: scopes that have failed; the caller adds to it on the way.
    """
    later = []
    for item in items:
        if failing.issuperset(scopes(item)):
            later.append(item)
        else:
            yield item
    yield from later
