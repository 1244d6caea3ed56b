"""What an answer proves: which rows it allows to be marked deleted, and what it says about completeness."""

from __future__ import annotations

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from fleetlake.changes import Deletion
from fleetlake.coverage import Interval, State
from fleetlake.pipeline.batch import Batch
from fleetlake.reading import FLEET, Kind
from fleetlake.window import Window

if TYPE_CHECKING:
    from fleetlake.pipeline.batch import Batcher
    from fleetlake.pipeline.extract import Extracted, Read
    from fleetlake.pipeline.run import Run
    from fleetlake.quality.verdict import Verdict
    from fleetlake.warehouse import Warehouse

log = logging.getLogger(__name__)

Asked = tuple[str, str]
"""A read's folder in the raw store, and a scope it is about."""

SecondLook = Callable[["Read"], "Extracted"]
"""Reads what a read has read once more, independently; its pages are committed to raw like all others."""


@dataclass(frozen=True)
class Decisions:
    """What was believed of a batch, in view of what the warehouse held at that time.

    A replay takes them from the journal: asked again later, the same questions would have other answers.

    Attributes:
        doubts: why an answer is not believed, in words whose part before the colon is the kind. It deletes nothing and
            proves nothing.
        confirmed: known rows are missing from the answer, and a second reading lacks them too: they are marked deleted.
            Nothing is marked for what is not named here.
    """

    doubts: Mapping[Asked, str] = field(default_factory=dict)
    confirmed: frozenset[Asked] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: ``{"doubts": [[folder, scope, reason], …], "confirmed": [[folder, scope], …]}``."""
        return {
            "doubts": [[*asked, reason] for asked, reason in sorted(self.doubts.items())],
            "confirmed": [list(asked) for asked in sorted(self.confirmed)],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` gave."""
        return cls(
            {(folder, scope): reason for folder, scope, reason in data["doubts"]},
            frozenset((folder, scope) for folder, scope in data["confirmed"]),
        )


class Judge:
    """Decides what answers are to be believed.

    Args:
        warehouse: knows the rows there are, and what other runs got.
        second_look: asks the vendor again; ``None`` where nobody can be asked: then nothing is marked deleted.
    """

    def __init__(self, warehouse: Warehouse, second_look: SecondLook | None) -> None:
        self._warehouse = warehouse
        self._second_look = second_look

    def decide(self, run: Run, batch: Batch, batcher: Batcher) -> tuple[Batch, Decisions]:  # noqa: ARG002
        """Judge a batch, before it is audited and published.

        Args:
            run: the run.
            batch: its answers.
            batcher: that made it; reads the rows of second readings.

        Returns:
            The batch to publish, with the rows of second readings where there were any, and what was decided about it.
        """
        doubts = _implausible(self._warehouse, run, batch)
        asked = {(item.read.key.folder, scope) for item in batch.whole for scope in item.answered}
        return batch, Decisions(doubts, frozenset(asked - doubts.keys()))


def _implausible(warehouse: Warehouse, run: Run, batch: Batch) -> dict[Asked, str]:
    """Whole answers that cannot be believed that far: they lack half or more of the rows known of a vehicle's window.

    Vendors give parts of reports while they recompute them, or nothing, in the form of a whole answer. Nothing is
    marked deleted because of such an answer, and it proves nothing, until another run gets the same.
    """
    contract = batch.contract
    doubts: dict[Asked, str] = {}
    if contract.time_column is None:
        return doubts
    for item in batch.whole:
        window = item.read.window
        if window is None or (contract.scope_column is None and item.read.scope != FLEET):
            continue
        known = warehouse.count_rows(contract, run.account.name, item.answered, window)
        for scope in item.answered:
            count = batch.rows_of[item.read.key.folder, scope]
            if scope not in known or 2 * count > known[scope]:
                continue
            kind = f"implausible {count} of {known[scope]}"
            if (scope, kind) in warehouse.doubts(run.account.name, contract.table, window, run.run_id):
                log.warning("%s %s %s: another run got the same %d rows: believed", contract.table, scope, window, count)
                continue
            doubts[item.read.key.folder, scope] = f"{kind}: half or more of the known rows are missing"
            log.warning(
                "%s %s %s: %d of %d known rows: nothing is marked deleted unless another run gets the same",
                contract.table,
                scope,
                window,
                count,
                known[scope],
            )
    return doubts


def allowed_deletions(run: Run, batch: Batch, verdict: Verdict, decisions: Decisions) -> list[Deletion]:
    """What complete answers allow to be marked deleted: rows of their scopes and windows that they no longer hold.

    Rows the audit set aside are still at the vendor: their keys are named. A scope with a row that could not even be
    typed is left alone, because nobody knows which row that is.
    """
    spoiled = {item.scope for item in batch.rejects}

    def believed(item: Extracted) -> list[str]:
        return [scope for scope in item.answered if (item.read.key.folder, scope) in decisions.confirmed]

    groups: dict[Window | None, list[Extracted]] = defaultdict(list)
    for item in batch.whole:
        if item.read.scope not in spoiled and believed(item):
            groups[item.read.window].append(item)
    rejected = sorted({item.row_index for item in verdict.rejected})
    present = batch.table.select(list(batch.contract.key)).take(rejected) if rejected else None
    return [
        Deletion(
            account=run.account.name,
            scopes=None if items[0].read.scope == FLEET else sorted({scope for item in items for scope in believed(item)}),
            window=window,
            at=min(item.pages[0].fetched_at for item in items),
            present=present,
        )
        for window, items in groups.items()
    ]


def coverage_of(run: Run, batch: Batch, decisions: Decisions, *, held: bool = False) -> list[Interval]:
    """What each read proves about its scope: complete, partial or failed, and why we think so."""
    contract = batch.contract
    if contract.kind is Kind.SNAPSHOT:
        return []
    intervals = []
    for item in batch.reads:
        if contract.feed != item.read.feed.name:
            continue  # another feed is the one that proves this dataset complete
        answered = set(item.answered)
        for scope in item.read.all_scopes:
            count = batch.rows_of[item.read.key.folder, scope]
            last = next((page for page in reversed(item.pages) if not page.scopes or scope in page.scopes), None)
            if held:
                state, proof = State.FAILED, "held: a critical quality check failed"
            elif item.read.key.folder in batch.foreign:
                state, proof = State.PARTIAL, "foreign: the answer holds rows about other vehicles"
            elif (item.read.key.folder, scope) in decisions.doubts:
                state, proof = State.PARTIAL, decisions.doubts[item.read.key.folder, scope]
            elif scope in answered and last is not None:
                # A stream brings what is new; how many rows its whole time holds it does not say.
                state = State.COMPLETE if count or item.read.stream else State.EMPTY_CONFIRMED
                proof = f"{'stream' if item.read.stream else 'terminal page'}: {last.path}"
            elif scope in item.refused:
                state, proof = State.FAILED, f"refused: {item.refused[scope]}"
            elif item.error is not None:
                state, proof = (State.PARTIAL if item.pages else State.FAILED), f"error: {item.error}"
            else:
                state, proof = State.PARTIAL, "open: the last page has not come"
            window = (item.read.proves if item.is_complete else item.read.window) or run.window
            fetched_at = last.fetched_at if last else item.tried_at
            intervals += [
                Interval(
                    account=run.account.name,
                    dataset=contract.table,
                    scope=scope,
                    window=part,
                    state=part_state,
                    proof=proof,
                    rows=None if item.read.stream else count if part_state is state else 0,
                    fetched_at=fetched_at,
                    load_id=batch.load_id,
                    run_id=run.run_id,
                )
                for part, part_state in until_fetched(window, fetched_at, state)
            ]
    return intervals


def until_fetched(window: Window, fetched_at: dt.datetime, state: State) -> list[tuple[Window, State]]:
    """An answer proves nothing about the time after it was given."""
    if fetched_at >= window.end or state in (State.FAILED, State.PARTIAL):
        return [(window, state)]
    if fetched_at <= window.start:
        return [(window, State.NOT_YET)]
    return [(Window(window.start, fetched_at), state), (Window(fetched_at, window.end), State.NOT_YET)]
