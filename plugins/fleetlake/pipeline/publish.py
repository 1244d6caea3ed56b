"""From raw to readers: decode, audit, set bad rows aside, publish the good ones to lake and warehouse.

Order of events for one batch: audit (no lock held) → lock of the table → lake commit → warehouse transaction with rows,
load, reads, coverage, quality and quarantine. A crash anywhere leaves either nothing, or a lake commit that publishing the
same batch again completes: the batch's id is a digest of its pages, and both stores ignore what they already hold.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetlake.changes import Deletion
from fleetlake.coverage import Interval, State
from fleetlake.errors import BatchHeld
from fleetlake.pipeline.batch import Batch, Batcher, asked
from fleetlake.reading import FLEET, Kind
from fleetlake.warehouse import CheckRecord, LoadRecord, QuarantineRecord, ReadRecord
from fleetlake.window import Window

if TYPE_CHECKING:
    from fleetlake.contracts import Column, Contract
    from fleetlake.lake import Lake
    from fleetlake.pipeline.extract import Extracted
    from fleetlake.pipeline.rooms import VendorRoom
    from fleetlake.pipeline.run import Run
    from fleetlake.quality.verdict import Verdict
    from fleetlake.raw import RawStore
    from fleetlake.reading import Feed
    from fleetlake.warehouse import Warehouse

log = logging.getLogger(__name__)

Doubts = dict[tuple[str, str], str]
"""Why an answer is not believed, by the read's folder and the scope."""


@dataclass
class Summary:
    """What was published, by dataset: counters small enough for XCom."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, dataset: str, **numbers: int) -> None:
        """Add to the counters of a dataset."""
        self.counts[dataset].update(numbers)

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Plain JSON."""
        return {dataset: dict(counter) for dataset, counter in self.counts.items()}


class Publisher:
    """Publishes what was extracted.

    Args:
        raw, lake, warehouse: the stores.
        room: how to read the vendor's answers.
        docs: folder in which validation results for Data Docs are kept.
    """

    def __init__(self, raw: RawStore, lake: Lake, warehouse: Warehouse, room: VendorRoom, docs: Path | None) -> None:
        self._raw = raw
        self._lake = lake
        self._warehouse = warehouse
        self._room = room
        self._docs = docs

    def publish(self, run: Run, feed: Feed, contract: Contract, extracted: Sequence[Extracted], summary: Summary) -> None:
        """Publish one dataset from the pages of a feed.

        Raises:
            BatchHeld: a critical check failed; what went before is published, this batch is recorded as held.
            StoreUnavailable, StoreConflict: try again.
        """
        batcher = Batcher(self._raw, contract, self._room.split, self._room.derivations.get(contract.table))
        for batch in batcher.batches(extracted):
            self._publish_batch(run, feed, batch, summary)

    def _publish_batch(self, run: Run, feed: Feed, batch: Batch, summary: Summary) -> None:
        contract = batch.contract
        verdict = self._audit(run, batch)
        quarantine = [*self._typing_rejects(run, batch), *self._audit_rejects(run, batch, verdict)]
        record = self._load_record(run, feed, batch, verdict, len(quarantine))
        checks = [CheckRecord.of(result) for result in verdict.results]
        if batch.unknown_fields:
            log.warning("%s: the vendor sends fields we do not know: %s", contract.table, sorted(batch.unknown_fields))
        if verdict.held:
            with self._warehouse.publishing(contract) as tx:
                tx.record_load(record)
                tx.record_quality(batch.load_id, run.account.name, contract.table, checks)
                tx.record_coverage(self._coverage(run, batch, {}, held=True))
            raise BatchHeld(
                f"{contract.table}: {verdict.reason}",
                where=f"load {batch.load_id}",
                remedy="see ops.quality_result for this load; mend the contract or the source, then run again",
            )
        doubts = self._doubts(run, batch)
        deletions = self._deletions(run, batch, verdict, doubts)
        with self._warehouse.publishing(contract) as tx:
            self._lake.publish(contract, verdict.good, batch.load_id, deletions)
            tx.stage(verdict.good)
            change = tx.upsert(batch.load_id)
            for deletion in deletions:
                change += tx.mark_deleted(deletion, batch.load_id)
            tx.record_load(record.with_change(change))
            tx.record_reads([self._read_record(run, feed, batch, item) for item in batch.reads])
            tx.record_quality(batch.load_id, run.account.name, contract.table, checks)
            tx.resolve_older(item.read.key.folder for item in batch.whole)
            tx.record_quarantine(quarantine)
            tx.record_coverage(self._coverage(run, batch, doubts))
            for item in batch.reads:
                if item.read.stream and item.is_complete and item.cursor:
                    tx.advance_cursor(run.account.name, contract.table, item.read.scope, item.cursor, item.read.since)
            tx.record_changes(record)
        summary.add(
            contract.table,
            read=batch.rows_read,
            inserted=change.inserted,
            updated=change.updated,
            unchanged=change.unchanged,
            deleted=change.deleted,
            quarantined=len(quarantine),
            outside_window=batch.outside,
        )
        log.info("%s: %s rows read, %s, %d quarantined", contract.table, batch.rows_read, change, len(quarantine))

    def values(self, contract: Contract, extracted: Extracted, column: str) -> tuple[set[Any], bool]:
        """Distinct values of a column in the pages of a read, whether or not their rows pass typing and audit.

        Returns:
            The values, and whether they are all: not so when a row could not be read so far as to find its value.
        """
        batcher = Batcher(self._raw, contract, self._room.split, self._room.derivations.get(contract.table))
        values: set[Any] = set()
        are_all = True
        for batch in batcher.batches([extracted]):
            values |= set(batch.table[column].unique().to_pylist())
            for item in batch.rejects:
                value = _field(item.raw, contract.column(column))
                are_all &= value is not None
                values.add(value)
        are_all &= None not in values
        return values - {None}, are_all

    def _audit(self, run: Run, batch: Batch) -> Verdict:
        from fleetlake.quality.verdict import audit  # Great Expectations takes seconds to import: only where it judges

        known = {}
        for column in batch.contract.columns:
            if column.references:
                values = [value for value in batch.table[column.name].unique().to_pylist() if value is not None]
                known[column.name] = self._warehouse.known_values(column.references, values, run.account.name)
        return audit(
            batch.contract,
            batch.table,
            window=run.window,
            known_values=known,
            load_id=batch.load_id,
            docs_dir=self._docs,
            account=run.account.name,
        )

    def _typing_rejects(self, run: Run, batch: Batch) -> list[QuarantineRecord]:
        return [
            _quarantine(
                run,
                batch,
                scope=item.scope,
                stage="type",
                check="type",
                column=item.reject.column,
                reason=item.reject.reason,
                severity="error",
                raw=item.raw,
                page=item.page.path,
                index=item.reject.index,
                key=None,
            )
            for item in batch.rejects
        ]

    def _audit_rejects(self, run: Run, batch: Batch, verdict: Verdict) -> list[QuarantineRecord]:
        if not verdict.rejected:
            return []
        contract = batch.contract
        pages = {page.path: page for page in batch.pages}
        names = ["raw_page", "raw_row", *contract.key]
        rows = batch.table.select(names).take([item.row_index for item in verdict.rejected]).to_pylist()
        bodies: dict[str, list[Any]] = {}
        records = []
        for item, row in zip(verdict.rejected, rows, strict=True):
            page = row["raw_page"]
            if page not in bodies:
                bodies[page] = self._room.split(
                    pages[page].key.feed, contract.table, self._raw.body(page), asked(pages[page])
                )
            records.append(
                _quarantine(
                    run,
                    batch,
                    scope=pages[page].key.scope,
                    stage="quality",
                    check=item.check,
                    column=item.column,
                    reason=item.reason,
                    severity=item.severity,
                    raw=bytes(bodies[page][row["raw_row"]]).decode(errors="replace"),
                    page=page,
                    index=row["raw_row"],
                    key=" ".join(str(row[name]) for name in contract.key[1:]),
                )
            )
        return records

    def _load_record(self, run: Run, feed: Feed, batch: Batch, verdict: Verdict, quarantined: int) -> LoadRecord:
        fetched = [page.fetched_at for page in batch.pages]
        return LoadRecord(
            load_id=batch.load_id,
            account=run.account.name,
            dataset=batch.contract.table,
            contract_version=batch.contract.version,
            feed=feed.name,
            kind=feed.kind.value,
            lane=run.lane.value,
            dag_id=run.dag_id,
            run_id=run.run_id,
            partition=run.partition,
            window=run.window,
            scopes=len({scope for item in batch.reads for scope in item.read.all_scopes}),
            pages=len(batch.pages),
            bytes=sum(page.size for page in batch.pages),
            rows_read=batch.rows_read,
            rows_quarantined=quarantined,
            rows_outside_window=batch.outside,
            state="held" if verdict.held else "published",
            reason=verdict.reason if verdict.held else None,
            fetched_from=min(fetched, default=None),
            fetched_to=max(fetched, default=None),
        )

    @staticmethod
    def _read_record(run: Run, feed: Feed, batch: Batch, item: Extracted) -> ReadRecord:
        window = item.read.window
        return ReadRecord(
            read=item.read.key.folder,
            dataset=batch.contract.table,
            account=run.account.name,
            feed=feed.name,
            scope=item.read.scope,
            window_start=window.start if window else None,
            window_end=window.end if window else None,
            dag_id=run.dag_id,
            run_id=run.run_id,
            pages=len(item.pages),
            bytes=sum(page.size for page in item.pages),
            is_complete=item.is_complete,
            cursor_to=item.cursor,
            load_id=batch.load_id,
        )

    def _doubts(self, run: Run, batch: Batch) -> Doubts:
        """Whole answers that cannot be believed that far: they lack half or more of the rows known of a vehicle's window.

        Vendors give parts of reports while they recompute them, or nothing, in the form of a whole answer. Nothing is
        marked deleted because of such an answer, and it proves nothing, until another run gets the same.
        """
        contract = batch.contract
        doubts: Doubts = {}
        if contract.time_column is None:
            return doubts
        for item in batch.whole:
            window = item.read.window
            if window is None or (contract.scope_column is None and item.read.scope != FLEET):
                continue
            known = self._warehouse.count_rows(contract, run.account.name, item.answered, window)
            for scope in item.answered:
                count = batch.rows_of[item.read.key.folder, scope]
                if scope not in known or 2 * count > known[scope]:
                    continue
                kind = f"implausible {count} of {known[scope]}"
                if (scope, kind) in self._warehouse.doubts(run.account.name, contract.table, window, run.run_id):
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

    @staticmethod
    def _deletions(run: Run, batch: Batch, verdict: Verdict, doubts: Doubts) -> list[Deletion]:
        """What complete answers allow to be marked deleted: rows of their scopes and windows that they no longer hold.

        Rows the audit set aside are still at the vendor: their keys are named. A scope with a row that could not even be
        typed is left alone, because nobody knows which row that is.
        """
        spoiled = {item.scope for item in batch.rejects}

        def believed(item: Extracted) -> list[str]:
            return [scope for scope in item.answered if (item.read.key.folder, scope) not in doubts]

        groups: dict[Window | None, list[Extracted]] = defaultdict(list)
        for item in batch.whole:
            if item.read.scope not in spoiled and believed(item):
                groups[item.read.window].append(item)
        rejected = sorted({item.row_index for item in verdict.rejected})
        present = batch.table.select(list(batch.contract.key)).take(rejected) if rejected else None
        return [
            Deletion(
                account=run.account.name,
                scopes=None
                if items[0].read.scope == FLEET
                else sorted({scope for item in items for scope in believed(item)}),
                window=window,
                at=min(item.pages[0].fetched_at for item in items),
                present=present,
            )
            for window, items in groups.items()
        ]

    @staticmethod
    def _coverage(run: Run, batch: Batch, doubts: Doubts, *, held: bool = False) -> list[Interval]:
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
                elif (item.read.key.folder, scope) in doubts:
                    state, proof = State.PARTIAL, doubts[item.read.key.folder, scope]
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
                fetched_at = last.fetched_at if last else dt.datetime.now(dt.UTC)
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


def _field(raw: str, column: Column) -> str | None:
    """The value of a text column in a row that could not be typed as a whole."""
    try:
        value = json.loads(raw)
        for part in (column.source or "").split("."):
            value = value[part]
    except (ValueError, KeyError, TypeError):
        return None
    return (value.lower() if column.read == "lower" else value) if isinstance(value, str) else None


def until_fetched(window: Window, fetched_at: dt.datetime, state: State) -> list[tuple[Window, State]]:
    """An answer proves nothing about the time after it was given."""
    if fetched_at >= window.end or state in (State.FAILED, State.PARTIAL):
        return [(window, state)]
    if fetched_at <= window.start:
        return [(window, State.NOT_YET)]
    return [(Window(window.start, fetched_at), state), (Window(fetched_at, window.end), State.NOT_YET)]


def _quarantine(run: Run, batch: Batch, **fields: Any) -> QuarantineRecord:
    identity = json.dumps([batch.contract.table, run.account.name, fields["raw"], fields["check"], fields["column"]])
    return QuarantineRecord(
        id=hashlib.sha256(identity.encode()).hexdigest()[:32],
        account=run.account.name,
        dataset=batch.contract.table,
        load_id=batch.load_id,
        contract_version=batch.contract.version,
        **fields,
    )
