"""What an answer proves: which rows it allows to be marked deleted, and what it says about completeness.

An answer is believed when its last page came, the vendor's own count, where there is one, is that of the rows that came,
its size is at no known cap, and it does not lack half or more of what is known. Rows that it lacks are marked deleted when a
second reading lacks them too. See ``docs/completeness.md``.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from fleetlake.changes import Deletion
from fleetlake.coverage import Interval, State
from fleetlake.errors import OutOfRetention, ScopeUnavailable
from fleetlake.pipeline.batch import Batch
from fleetlake.pipeline.extract import first_of
from fleetlake.pipeline.overtaken import left, windows_of
from fleetlake.reading import FLEET, Kind
from fleetlake.warehouse import absence
from fleetlake.warehouse.absence import Answered
from fleetlake.warehouse.overtaken import Newer
from fleetlake.window import Window

if TYPE_CHECKING:
    import psycopg

    from fleetlake.pipeline.batch import Batcher
    from fleetlake.pipeline.extract import Extracted, Read
    from fleetlake.pipeline.run import Run
    from fleetlake.quality.verdict import Verdict
    from fleetlake.warehouse import Warehouse

log = logging.getLogger(__name__)

Asked = tuple[str, str]
"""A read's folder in the raw store, and a scope it is about."""

SecondLook = Callable[[Sequence["Read"]], Iterable["Extracted"]]
"""Carries out second readings (``Read.again``); their pages are committed to raw like all others."""


@dataclass(frozen=True)
class Decisions:
    """What was believed of a batch, in view of what the warehouse held at that time.

    A replay takes them from the journal: asked again later, the same questions would have other answers.

    Attributes:
        doubts: why an answer is not believed, in words whose part before the colon is the kind. It deletes nothing and
            proves nothing.
        confirmed: known rows are missing from the answer, and a second reading lacks them too: they are marked deleted.
            Nothing is marked for what is not named here.
        newer: newer answers that were published before: where they tell of the same, this one deletes and proves nothing.
        left_out: rows, by page, that these newer answers contradict.
    """

    doubts: Mapping[Asked, str] = field(default_factory=dict)
    confirmed: frozenset[Asked] = frozenset()
    newer: tuple[Newer, ...] = ()
    left_out: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def doubted(self) -> set[str]:
        """Folders of reads whose answer is not believed, for one of their scopes at least."""
        return {folder for folder, _ in self.doubts}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: ``{"doubts": [[folder, scope, reason], …], "confirmed": [[folder, scope], …]}``, the rest if any."""
        return {
            "doubts": [[*asked, reason] for asked, reason in sorted(self.doubts.items())],
            "confirmed": [list(asked) for asked in sorted(self.confirmed)],
            **({"newer": [item.to_json() for item in self.newer]} if self.newer else {}),
            **({"left_out": {page: list(rows) for page, rows in sorted(self.left_out.items())}} if self.left_out else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` gave."""
        return cls(
            {(folder, scope): reason for folder, scope, reason in data["doubts"]},
            frozenset((folder, scope) for folder, scope in data["confirmed"]),
            tuple(Newer.from_json(item) for item in data.get("newer", ())),
            {page: tuple(rows) for page, rows in data.get("left_out", {}).items()},
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

    def decide(self, run: Run, batch: Batch, batcher: Batcher) -> tuple[Batch, Decisions]:
        """Judge a batch, before it is audited and published.

        Args:
            run: the run.
            batch: its answers.
            batcher: that made it; reads the rows of second readings.

        Returns:
            The batch to publish, with the rows of second readings where there were any, and what was decided about it.
        """
        doubts = not_whole(batch)
        answers = {asked: answer for asked, answer in _answers(batch).items() if asked not in doubts}
        missing: dict[Asked, int] = {}
        if answers:
            with self._warehouse.session() as connection:
                missing = self._missing(connection, run, batch, answers, doubts)
        confirmed: frozenset[Asked] = frozenset()
        if missing and self._second_look is not None:
            reads = {item.read.key.folder: item.read.again() for item in batch.whole}
            seconds = list(self._second_look([reads[folder] for folder in sorted({asked[0] for asked in missing})]))
            joined, again = batcher.joined(batch, seconds)
            lacking = {asked: answers[asked] for asked in missing}
            with self._warehouse.session() as connection:
                lacks = absence.lacking(connection, batch.contract, run.account.name, lacking, batch.table, again.table)
            batch = joined
            doubts |= _denied(missing, lacks, reads, seconds, again)
            confirmed = frozenset(missing.keys() - doubts.keys())
        else:
            doubts |= {asked: f"{_unconfirmed(count)}: nobody can be asked again" for asked, count in missing.items()}
        for (folder, scope), reason in doubts.items():
            log.warning("%s %s, %s: nothing is marked deleted: %s", batch.contract.table, scope, folder, reason)
        return batch, Decisions(doubts, confirmed)

    def _missing(
        self,
        connection: psycopg.Connection[Any],
        run: Run,
        batch: Batch,
        answers: Mapping[Asked, Answered],
        doubts: dict[Asked, str],
    ) -> dict[Asked, int]:
        """How many known rows each answer lacks; adds to the doubts where they are too many to be believed."""
        contract, account = batch.contract, run.account.name
        known = absence.known(connection, contract, account, answers)
        if contract.kind is not Kind.SNAPSHOT:
            doubts |= _implausible(connection, run, batch, answers, known)
        spoiled = _spoiled(batch)
        compared = {asked: answers[asked] for asked in known if asked not in doubts and asked[0] not in spoiled}
        if not compared:
            return {}
        lacks = absence.lacking(connection, contract, account, compared, batch.table)
        missing = {asked: lack.missing for asked, lack in lacks.items()}
        if contract.kind is Kind.SNAPSHOT and not run.believe:
            doubts |= _short_lists(missing, known)
        return {asked: count for asked, count in missing.items() if asked not in doubts}


def not_whole(batch: Batch) -> dict[Asked, str]:
    """Answers that came to their last page and are provably not whole, or not provably whole: by count and size."""
    doubts: dict[Asked, str] = {}
    for item in batch.reads:
        if not (item.is_complete or isinstance(item.error, OutOfRetention)):
            continue
        counts = [page.total for page in item.pages if page.total is not None]
        came = batch.distinct.get(item.read.key.folder)
        cap = item.read.feed.cap
        reason = ""
        if counts and came is not None and came != sum(counts):
            reason = f"counted: the vendor counts {sum(counts)} rows, {came} came"
        elif cap is not None and any(page.rows >= cap for page in item.pages):
            reason = f"cap: an answer has {cap} rows, the most this vendor gives"
        if reason:
            doubts |= {(item.read.key.folder, scope): reason for scope in item.read.all_scopes}
    return doubts


def _answers(batch: Batch) -> dict[Asked, Answered]:
    """Whole answers whose rows can be compared with those that are known."""
    contract = batch.contract
    return {
        (item.read.key.folder, scope): Answered(scope=scope, window=item.read.window, at=item.pages[0].fetched_at)
        for item in batch.whole
        for scope in item.answered
        if (item.read.window is None or contract.time_column) and (scope == FLEET or contract.scope_column)
    }


def _implausible(
    connection: psycopg.Connection[Any],
    run: Run,
    batch: Batch,
    answers: Mapping[Asked, Answered],
    known: Mapping[Asked, int],
) -> dict[Asked, str]:
    """Whole answers that lack half or more of the rows known of a vehicle's window, or of those that came with an earlier one.

    Vendors give parts of reports while they recompute them, or nothing, in the form of a whole answer, and they may do so for
    days. Nothing is marked deleted because of such an answer, and it proves nothing, until a person says so and another run
    has got the same.
    """
    contract = batch.contract
    most, doubted = absence.history(connection, contract.table, run.account.name, answers, run.run_id)
    doubts: dict[Asked, str] = {}
    for asked in answers:
        count, expected = batch.rows_of[asked], max(known.get(asked, 0), most.get(asked, 0))
        if not expected or 2 * count > expected:
            continue
        kind = f"implausible {count} of {expected}"
        if run.believe and (asked, kind) in doubted:
            log.warning("%s %s: another run got the same %d of %d rows: believed", contract.table, asked[1], count, expected)
        else:
            doubts[asked] = f"{kind}: half or more of the known rows are missing"
    return doubts


def _short_lists(missing: Mapping[Asked, int], known: Mapping[Asked, int]) -> dict[Asked, str]:
    """Lists of the fleet that lost more than a tenth of their items, and more than one."""
    return {
        asked: f"implausible: the list lacks {count} of {known[asked]} known; start a run with `believe` if they are really gone"
        for asked, count in missing.items()
        if asked[1] == FLEET and count > max(1, known[asked] // 10)
    }


def _denied(
    missing: Mapping[Asked, int],
    lacks: Mapping[Asked, absence.Lack],
    reads: Mapping[str, Read],
    seconds: Sequence[Extracted],
    again: Batch,
) -> dict[Asked, str]:
    """Answers whose missing rows a second reading does not confirm to be gone, and why not."""
    found = {item.read.key.folder: item for item in seconds}
    unusable, spoiled = not_whole(again), _spoiled(again)
    doubts: dict[Asked, str] = {}
    for asked, count in missing.items():
        folder, scope = reads[asked[0]].key.folder, asked[1]
        second = found.get(folder)
        if second is None:
            doubts[asked] = f"{_unconfirmed(count)}: the vendor failed"
        elif scope not in second.answered:
            doubts[asked] = f"{_unconfirmed(count)}: {second.error or 'it has no last page'}"
        elif (folder, scope) in unusable:
            doubts[asked] = f"{_unconfirmed(count)}: {unusable[folder, scope]}"
        elif folder in spoiled:
            doubts[asked] = f"{_unconfirmed(count)}: it holds rows that cannot be read, or of other vehicles"
        elif returned := lacks[asked].returned:
            doubts[asked] = f"unsteady: {returned} of {count} missing known rows came with a second reading"
    return doubts


def _unconfirmed(count: int) -> str:
    return f"unconfirmed: {count} known rows are missing, and no second reading says so"


def _spoiled(batch: Batch) -> set[str]:
    """Folders of reads with a row that could not be typed, or is about another vehicle: which row that is nobody knows.

    A row that only a second reading has spoils the first one too.
    """
    return {folder for item in batch.rejects for folder in (item.page.key.folder, first_of(item.page.key.folder))}


def allowed_deletions(run: Run, batch: Batch, verdict: Verdict, decisions: Decisions) -> list[Deletion]:
    """What complete answers allow to be marked deleted: rows of their scopes and windows that they no longer hold.

    Rows the audit set aside are still at the vendor: their keys are named. An answer with a row that could not even be
    typed is left alone, because nobody knows which row that is.
    """
    spoiled = _spoiled(batch)

    told = windows_of(decisions.newer)
    groups: dict[Window | None, list[tuple[Extracted, str]]] = defaultdict(list)
    for item in batch.whole:
        folder = item.read.key.folder
        for scope in item.answered:
            if folder not in spoiled and (folder, scope) in decisions.confirmed:
                for part in left(item.read.window, told.get((folder, scope))):
                    groups[part].append((item, scope))
    rejected = sorted({item.row_index for item in verdict.rejected})
    present = batch.table.select(list(batch.contract.key)).take(rejected) if rejected else None
    return [
        Deletion(
            account=run.account.name,
            scopes=None if members[0][0].read.scope == FLEET else sorted({scope for _, scope in members}),
            window=window,
            at=min(item.pages[0].fetched_at for item, _ in members),
            present=present,
        )
        for window, members in groups.items()
    ]


def coverage_of(run: Run, batch: Batch, decisions: Decisions, *, held: bool = False) -> list[Interval]:
    """What each read proves about its scope: complete, partial or failed, and why we think so."""
    contract = batch.contract
    if contract.kind is Kind.SNAPSHOT:
        return []
    intervals = []
    for item in batch.reads:
        if contract.feed != item.read.feed.name or item.read.is_again:
            continue  # another feed is the one that proves this dataset complete; a second reading only confirms
        for scope in item.read.all_scopes:
            count = batch.rows_of[item.read.key.folder, scope]
            last = next((page for page in reversed(item.pages) if not page.scopes or scope in page.scopes), None)
            window = (item.read.proves if item.is_complete else item.read.window) or run.window
            fetched_at = last.fetched_at if last else item.tried_at
            # What happened while a read went on, or waited to be resumed, may belong on pages that had come already.
            first = next((page for page in item.pages if not page.scopes or scope in page.scopes), None)
            known_until = first.fetched_at if first and not item.read.stream else fetched_at
            state, proof = _state(batch, item, scope, decisions, held=held)
            kept: Window | None = window
            if isinstance(item.error, OutOfRetention) and state is not State.FAILED:
                gone, kept = _cut(window, item.error.since)
                intervals.append(
                    Interval(
                        account=run.account.name,
                        dataset=contract.table,
                        scope=scope,
                        window=gone,
                        state=State.OUT_OF_RETENTION,
                        proof=f"out of retention: {item.error.message}",
                        fetched_at=fetched_at,
                        load_id=batch.load_id,
                        run_id=run.run_id,
                    )
                )
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
                for part, part_state in (until_fetched(kept, known_until, state) if kept else ())
            ]
    return intervals


def _state(batch: Batch, item: Extracted, scope: str, decisions: Decisions, *, held: bool) -> tuple[State, str]:
    """State and proof of what a read says about one of its scopes."""
    folder = item.read.key.folder
    last = next((page for page in reversed(item.pages) if not page.scopes or scope in page.scopes), None)
    if held:
        return State.FAILED, "held: a critical quality check failed"
    if folder in batch.foreign:
        return State.PARTIAL, "foreign: the answer holds rows about other vehicles"
    if (folder, scope) in decisions.doubts:
        return State.PARTIAL, decisions.doubts[folder, scope]
    # Of what the vendor still keeps it has given everything.
    is_whole = scope in item.answered or isinstance(item.error, OutOfRetention)
    if is_whole and last is not None:
        # A stream brings what is new; how many rows its whole time holds it does not say.
        state = State.COMPLETE if batch.rows_of[folder, scope] or item.read.stream else State.EMPTY_CONFIRMED
        return state, f"{'stream' if item.read.stream else 'terminal page'}: {last.path}"
    if scope in item.refused:
        return State.FAILED, f"refused: {item.refused[scope]}"
    if isinstance(item.error, ScopeUnavailable) and not item.pages:
        return State.FAILED, f"refused: {item.error.message}"
    if item.error is not None and not isinstance(item.error, OutOfRetention):
        return (State.PARTIAL if item.pages else State.FAILED), f"error: {item.error}"
    return State.PARTIAL, "open: the last page has not come"


def _cut(window: Window, since: dt.datetime | None) -> tuple[Window, Window | None]:
    """The part of a window that the vendor does not keep any more, and the part that it does."""
    if since is None or since >= window.end:
        return window, None
    since = max(since, window.start + dt.timedelta(microseconds=1))  # something is gone, or there would be no error
    return Window(window.start, since), Window(since, window.end)


def until_fetched(window: Window, fetched_at: dt.datetime, state: State) -> list[tuple[Window, State]]:
    """An answer proves nothing about the time after it was given."""
    if fetched_at >= window.end or state in (State.FAILED, State.PARTIAL):
        return [(window, state)]
    if fetched_at <= window.start:
        return [(window, State.NOT_YET)]
    return [(Window(window.start, fetched_at), state), (Window(fetched_at, window.end), State.NOT_YET)]
