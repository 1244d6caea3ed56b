"""From raw to readers: decode, audit, set bad rows aside, publish the good ones to lake and warehouse.

Order of events for one batch: audit (no lock held) → lock of the table → lake commit → warehouse transaction with rows,
load, reads, coverage, quality and quarantine. A crash anywhere leaves either nothing, or a lake commit that publishing the
same batch again completes: the batch's id is a digest of its pages, and both stores ignore what they already hold.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetlake.errors import BatchHeld
from fleetlake.pipeline.aside import audit_rejects, typing_rejects
from fleetlake.pipeline.batch import Batch, Batcher
from fleetlake.pipeline.proof import Decisions, Judge, SecondLook, allowed_deletions, coverage_of
from fleetlake.warehouse import CheckRecord, LoadRecord, ReadRecord

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
        second_look: asks the vendor again before rows are marked deleted; ``None`` = nobody can be asked.
    """

    def __init__(
        self,
        raw: RawStore,
        lake: Lake,
        warehouse: Warehouse,
        room: VendorRoom,
        docs: Path | None,
        second_look: SecondLook | None = None,
    ) -> None:
        self._raw = raw
        self._lake = lake
        self._warehouse = warehouse
        self._room = room
        self._docs = docs
        self._judge = Judge(warehouse, second_look)

    def publish(self, run: Run, feed: Feed, contract: Contract, extracted: Sequence[Extracted], summary: Summary) -> None:
        """Publish one dataset from the pages of a feed.

        Raises:
            BatchHeld: a critical check failed; what went before is published, this batch is recorded as held.
            StoreUnavailable, StoreConflict: try again.
        """
        batcher = Batcher(self._raw, contract, self._room.split, self._room.derivations.get(contract.table))
        for found in batcher.batches(extracted):
            batch, decisions = self._judge.decide(run, found, batcher)
            self._publish_batch(run, feed, batch, decisions, summary)

    def _publish_batch(self, run: Run, feed: Feed, batch: Batch, decisions: Decisions, summary: Summary) -> None:
        contract = batch.contract
        verdict = self._audit(run, batch)
        quarantine = [*typing_rejects(run, batch), *audit_rejects(run, batch, verdict, self._raw, self._room.split)]
        record = self._load_record(run, feed, batch, verdict, len(quarantine))
        checks = [CheckRecord.of(result) for result in verdict.results]
        if batch.unknown_fields:
            log.warning("%s: the vendor sends fields we do not know: %s", contract.table, sorted(batch.unknown_fields))
        if verdict.held:
            with self._warehouse.publishing(contract) as tx:
                tx.record_load(record)
                tx.record_quality(batch.load_id, run.account.name, contract.table, checks)
                tx.record_coverage(coverage_of(run, batch, decisions, held=True))
            raise BatchHeld(
                f"{contract.table}: {verdict.reason}",
                where=f"load {batch.load_id}",
                remedy="see ops.quality_result for this load; mend the contract or the source, then run again",
            )
        deletions = allowed_deletions(run, batch, verdict, decisions)
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
            tx.record_coverage(coverage_of(run, batch, decisions))
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


def _field(raw: str, column: Column) -> str | None:
    """The value of a text column in a row that could not be typed as a whole."""
    try:
        value = json.loads(raw)
        for part in (column.source or "").split("."):
            value = value[part]
    except (ValueError, KeyError, TypeError):
        return None
    return (value.lower() if column.read == "lower" else value) if isinstance(value, str) else None
