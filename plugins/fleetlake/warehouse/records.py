"""Rows of the ``ops`` tables as objects; the column comments there say more about each field."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from fleetlake.changes import Change
from fleetlake.window import Window


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, kw_only=True)
class LoadRecord:
    """One batch: a row of ``ops.load``.

    Attributes:
        load_id: digest of what the batch is made of.
        window: the run's window.
        state: ``published`` or ``held``.
        change: what publishing did; of a held batch nothing.
        is_scheduled: a run read it on its day: how old its rows were tells how late they come.
        journal: the entry of the raw store's journal that tells of it.
        reading: see ``pipeline.fingerprint``.
        others: as the columns of ``ops.load``.
    """

    load_id: str
    account: str
    dataset: str
    contract_version: str
    feed: str
    kind: str
    lane: str
    dag_id: str
    run_id: str
    partition: str | None = None
    window: Window | None = None
    scopes: int = 0
    pages: int = 0
    bytes: int = 0
    rows_read: int = 0
    rows_quarantined: int = 0
    rows_outside_window: int = 0
    state: str = "published"
    reason: str | None = None
    fetched_from: dt.datetime | None = None
    fetched_to: dt.datetime | None = None
    started_at: dt.datetime = field(default_factory=_now)
    journal: str | None = None
    reading: str | None = None
    change: Change = field(default_factory=Change)
    is_scheduled: bool = False

    def with_change(self, change: Change) -> LoadRecord:
        """The record with what publishing did."""
        return replace(self, change=change)


@dataclass(frozen=True, kw_only=True)
class ReadRecord:
    """One read of the raw store that was published: a row of ``ops.read``; ``read`` is its folder."""

    read: str
    dataset: str
    account: str
    feed: str
    scope: str
    window_start: dt.datetime | None = None
    window_end: dt.datetime | None = None
    dag_id: str
    run_id: str
    pages: int
    bytes: int
    rows: int = 0
    is_complete: bool
    cursor_to: str | None = None
    load_id: str
    clears: int = 0
    fetched_at: dt.datetime | None = None
    vehicles: Sequence[str] | None = None
    is_believed: bool = True
    is_skipped: bool = False
    is_held: bool = False

    def but_held(self) -> ReadRecord:
        """The record of the same read when its batch is held: nothing is published from it."""
        return replace(self, is_complete=False, is_held=True)


class ReadEnd(NamedTuple):
    """How a read has ended.

    Attributes:
        clears: how often its run had been cleared by then.
        is_held: its batch is held, of one table at least.
        is_over: it is published whole, or refused, or held, for all tables.
    """

    clears: int
    is_held: bool
    is_over: bool


class Checked(Protocol):
    """What ``quality`` says about one check; the rooms do not know each other."""

    @property
    def check(self) -> str:
        """Name of the check."""
        ...

    @property
    def column(self) -> str | None:
        """Column it is about."""
        ...

    @property
    def severity(self) -> str:
        """``warning``, ``error`` or ``critical``."""
        ...

    @property
    def success(self) -> bool:
        """The batch passed."""
        ...

    @property
    def evaluated(self) -> int:
        """Values looked at."""
        ...

    @property
    def unexpected(self) -> int:
        """Values that fail."""
        ...

    @property
    def observed(self) -> str | None:
        """What was seen."""
        ...

    @property
    def limit(self) -> str | None:
        """What is allowed."""
        ...


@dataclass(frozen=True, kw_only=True)
class CheckRecord:
    """Result of one check on a batch: a row of ``ops.quality_result``; ``column`` empty = about the whole batch."""

    check: str
    column: str | None = None
    severity: str
    success: bool
    rows_checked: int | None = None
    rows_failed: int | None = None
    expected: str | None = None
    observed: str | None = None

    @classmethod
    def of(cls, result: Checked) -> CheckRecord:
        """The record of a check result of ``quality``."""
        return cls(
            check=result.check,
            column=result.column,
            severity=result.severity,
            success=result.success,
            rows_checked=result.evaluated,
            rows_failed=result.unexpected,
            expected=result.limit,
            observed=result.observed,
        )


@dataclass(frozen=True, kw_only=True)
class QuarantineRecord:
    """One row that was set aside for one reason: a row of ``ops.quarantine``.

    Attributes:
        id: the same finding has the same id.
        raw: the row as the vendor sent it, JSON text or whatever it was.
        page: raw page that holds it.
        index: position in that page.
        key: key of the row in words, where it has one.
        others: as the columns of ``ops.quarantine``.
    """

    id: str
    account: str
    dataset: str
    scope: str | None
    stage: str
    check: str
    column: str | None
    reason: str
    severity: str
    raw: str | None
    page: str
    index: int
    key: str | None
    load_id: str
    contract_version: str
    reading: str | None = None
