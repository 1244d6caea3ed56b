"""Interval logic of the coverage ledger, for the intervals of one account, dataset and scope.

The rules:

* The intervals of a scope never overlap. Recording one carves those it overlaps.
* Adjacent intervals that are proven are one, whatever the kinds of their proofs, which are all named: a year of days is one
  row, silent Sundays among them. Adjacent intervals that are not proven are one when state and kind of proof are the same.
* A proof is not undone by a failure. Where an interval is proven (``complete`` or ``empty_confirmed``), a later result that
  proves nothing leaves it as it is; what was ``refused`` this way is remembered apart, as an attempt. ``supersede`` overrules
  this, for the day when a person knows that a proof was wrong.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fleetlake.window import Window


class State(StrEnum):
    """What is known about an interval."""

    COMPLETE = "complete"  # the vendor said it has no more, and all of it is published
    EMPTY_CONFIRMED = "empty_confirmed"  # the vendor said it has nothing; beside data it is part of what is complete
    PARTIAL = "partial"  # some of it is published, the rest is missing or held
    NOT_YET = "not_yet"  # the vendor cannot have it yet
    PREPARING = "preparing"  # the vendor is computing it
    FAILED = "failed"  # it was asked for and could not be read
    OUT_OF_RETENTION = "out_of_retention"  # the vendor does not keep it any more

    @property
    def is_proven(self) -> bool:
        """There is nothing left to fetch."""
        return self in PROVEN

    @property
    def is_settled(self) -> bool:
        """No request can change it any more: it is proven, or the vendor does not keep it."""
        return self in PROVEN or self is State.OUT_OF_RETENTION


PROVEN = frozenset({State.COMPLETE, State.EMPTY_CONFIRMED})


@dataclass(frozen=True, kw_only=True)
class Interval:
    """One entry of the ledger.

    Attributes:
        account: account.
        dataset: table name of the contract.
        scope: vehicle, device, or ``reading.FLEET``.
        window: the interval, half-open, UTC.
        state: what is known.
        proof: how it is known: ``kind: detail``; the kind is a word or two. Of merged proofs: ``kind + kind: detail of the
            one read last``.
        rows: rows the vendor had; ``None`` when unknown, also for what is left of a carved interval.
        fetched_at: when it was read; of merged intervals the latest.
        load_id: load that brought it; of merged intervals the latest one's.
        run_id: run that recorded it; of merged intervals the latest one's.
    """

    account: str
    dataset: str
    scope: str
    window: Window
    state: State
    proof: str
    rows: int | None = None
    fetched_at: dt.datetime | None = None
    load_id: str | None = None
    run_id: str | None = None

    @property
    def proof_kind(self) -> str:
        """First part of the proof."""
        return self.proof.partition(":")[0].strip()


def clip(interval: Interval, window: Window) -> Interval | None:
    """The part of an interval inside a window; ``None`` when there is none. Rows of a cut interval are unknown."""
    start, end = max(interval.window.start, window.start), min(interval.window.end, window.end)
    if start >= end:
        return None
    if (start, end) == (interval.window.start, interval.window.end):
        return interval
    return replace(interval, window=Window(start, end), rows=None)


def carve(intervals: Iterable[Interval], window: Window) -> list[Interval]:
    """The parts of intervals outside a window."""
    pieces = []
    for interval in intervals:
        own = interval.window
        if own.end <= window.start or own.start >= window.end:
            pieces.append(interval)
            continue
        if own.start < window.start:
            pieces.append(replace(interval, window=Window(own.start, window.start), rows=None))
        if own.end > window.end:
            pieces.append(replace(interval, window=Window(window.end, own.end), rows=None))
    return pieces


def overlay(intervals: Sequence[Interval], new: Interval, *, supersede: bool = False) -> list[Interval]:
    """The intervals of a scope after a new one was recorded, merged and in order.

    Args:
        intervals: what is known; no two overlap.
        new: the new result.
        supersede: the new result replaces even a proof.
    """
    added = [new]
    if not (supersede or new.state.is_proven):
        for known in intervals:
            if known.state.is_proven:
                added = carve(added, known.window)
    kept = list(intervals)
    for piece in added:
        kept = carve(kept, piece.window)
    return merge(kept + added)


def refused(intervals: Iterable[Interval], new: Interval) -> list[Interval]:
    """The parts of a new result that ``overlay`` leaves out because something better is known there."""
    if new.state.is_proven:
        return []
    pieces = (clip(new, known.window) for known in intervals if known.state.is_proven)
    return [piece for piece in pieces if piece is not None]


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Join adjacent intervals that say the same; in order. The intervals must not overlap."""
    merged: list[Interval] = []
    for interval in sorted(intervals, key=lambda item: item.window.start):
        last = merged[-1] if merged else None
        if last is not None and last.window.end == interval.window.start and _alike(last, interval):
            merged[-1] = _join(last, interval)
        else:
            merged.append(interval)
    return merged


def _alike(left: Interval, right: Interval) -> bool:
    if left.state.is_proven:
        return right.state.is_proven
    return left.state == right.state and left.proof_kind == right.proof_kind


def _join(left: Interval, right: Interval) -> Interval:
    newer = left if (left.fetched_at or _NEVER) > (right.fetched_at or _NEVER) else right
    kinds = sorted({kind.strip() for item in (left, right) for kind in item.proof_kind.split("+")})
    detail = newer.proof.partition(":")[2].strip()
    return replace(
        newer,
        window=Window(left.window.start, right.window.end),
        state=left.state if left.state == right.state else State.COMPLETE,
        proof=" + ".join(kinds) + (f": {detail}" if detail else ""),
        rows=None if left.rows is None or right.rows is None else left.rows + right.rows,
    )


_NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)


def proven(intervals: Iterable[Interval], window: Window) -> bool:
    """All of the window is proven."""
    return not unproven(intervals, window)


def unproven(intervals: Iterable[Interval], window: Window) -> list[Window]:
    """The parts of a window that are not proven, in order."""
    return _left([item for item in intervals if item.state.is_proven], window)


def missing(intervals: Iterable[Interval], window: Window) -> list[Window]:
    """The parts of a window that are still worth asking for, in order: not proven, and not out of the vendor's retention."""
    return _left([item for item in intervals if item.state.is_settled], window)


def _left(intervals: Iterable[Interval], window: Window) -> list[Window]:
    holes = []
    position = window.start
    for interval in sorted(intervals, key=lambda item: item.window.start):
        if interval.window.end <= position:
            continue
        if interval.window.start >= window.end:
            break
        if interval.window.start > position:
            holes.append(Window(position, interval.window.start))
        position = interval.window.end
    if position < window.end:
        holes.append(Window(position, window.end))
    return holes
