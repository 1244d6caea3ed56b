"""From raw to readers: decode, audit, set bad rows aside, publish the good ones to lake and warehouse.

Order of events for one batch: audit (no lock held) → lock of the table → journal entry in the raw store → lake commit →
warehouse transaction with rows, load, reads, coverage, quality and quarantine. A crash anywhere leaves either nothing, or a
journal entry and perhaps a lake commit that publishing the same batch again completes: the batch's id is a digest of its
pages, and both stores ignore what they already hold. Whoever publishes into the table next does that first, before anything
newer: ``ops.publishing`` names what was begun last. What comes late all the same gives way to newer answers: ``overtaken``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fleetlake.changes import Change
from fleetlake.coverage import Interval, unproven
from fleetlake.errors import BatchHeld, DataError, Retriable, Skippable
from fleetlake.pipeline import entries
from fleetlake.pipeline.aside import audit_rejects, typing_rejects
from fleetlake.pipeline.batch import Batch, Batcher
from fleetlake.pipeline.fingerprint import reading_of
from fleetlake.pipeline.overtaken import asked_of, covered, fully_covered, without
from fleetlake.pipeline.proof import Decisions, Judge, SecondLook, allowed_deletions, coverage_of
from fleetlake.raw import EntryName
from fleetlake.raw.journal import digest_of
from fleetlake.warehouse import CheckRecord, LoadRecord, ReadRecord

if TYPE_CHECKING:
    import pyarrow as pa

    from fleetlake.changes import Deletion
    from fleetlake.contracts import Column, Contract
    from fleetlake.lake import Lake
    from fleetlake.pipeline.extract import Extracted
    from fleetlake.pipeline.rooms import VendorRoom
    from fleetlake.pipeline.run import Run
    from fleetlake.quality.verdict import Verdict
    from fleetlake.raw import Journal, RawStore
    from fleetlake.reading import Feed
    from fleetlake.warehouse import Publication, Warehouse

log = logging.getLogger(__name__)


HELD = "held"

KnownIn = Callable[[str], "Warehouse | None"]


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


@dataclass(frozen=True)
class Before:
    """What the journal tells of a batch that is published once more.

    Attributes:
        entry: its entry.
        as_then: into stores made anew, under the load id and at the moment of that time, by what was decided then. ``False``:
            into the stores that have it already, where it takes today's names and takes nothing back that came later.
    """

    entry: entries.BatchEntry
    as_then: bool


class Publisher:
    """Publishes what was extracted.

    Args:
        raw, lake, warehouse: the stores.
        room: how to read the vendor's answers.
        docs: folder in which validation results for Data Docs are kept; ``None`` = none are.
        journal: where publications are noted; ``None`` = they are noted already, and the stores are made from it.
        second_look: asks the vendor again before rows are marked deleted; ``None`` = nobody can be asked.
        known_in: for a table that another one refers to, the warehouse to look its rows up in; ``None`` = in ``warehouse``.
    """

    def __init__(
        self,
        raw: RawStore,
        lake: Lake,
        warehouse: Warehouse,
        room: VendorRoom,
        docs: Path | None,
        *,
        journal: Journal | None,
        second_look: SecondLook | None = None,
        known_in: KnownIn | None = None,
    ) -> None:
        self._raw = raw
        self._lake = lake
        self._warehouse = warehouse
        self._room = room
        self._docs = docs
        self._journal = journal
        self._known_in = known_in or (lambda _table: None)
        self._judge = Judge(warehouse, second_look)

    def publish(self, run: Run, feed: Feed, contract: Contract, extracted: Sequence[Extracted], summary: Summary) -> None:
        """Publish one dataset from the pages of a feed.

        Raises:
            BatchHeld: a critical check failed; what went before is published, this batch is recorded as held.
            StoreUnavailable, StoreConflict: try again.
        """
        batcher = self._batcher(contract)
        for found in batcher.batches(extracted):
            batch, decisions = self._judge.decide(run, found, batcher)
            verdict = self._publish_batch(run, feed, batch, decisions, summary)
            if verdict.held:
                raise BatchHeld(
                    f"{contract.table}: {verdict.reason}",
                    where=f"load {batch.load_id}",
                    remedy="see ops.quality_result for this load; mend the contract or the source, then run again",
                )

    def publish_again(self, before: Before, feed: Feed, contract: Contract, summary: Summary) -> None:
        """Publish a batch of the journal once more, under today's contract and mapping.

        A batch that is held counts as ``held`` in the summary; it does not stop those after it.

        Raises:
            DataError: a page is missing or damaged.
            StoreUnavailable, StoreConflict: try again.
        """
        entry = before.entry
        batch = self._batcher(contract).again(entry.parts(self._raw, feed), entry.earlier_rows, entry.foreign)
        if before.as_then:
            batch.load_id = entry.load_id
        self._publish_batch(entry.run, feed, batch, entry.decisions, summary, before)

    def _batcher(self, contract: Contract) -> Batcher:
        return Batcher(self._raw, contract, self._room.split, self._room.derivations.get(contract.table))

    def _publish_batch(
        self, run: Run, feed: Feed, batch: Batch, decisions: Decisions, summary: Summary, before: Before | None = None
    ) -> Verdict:
        contract = batch.contract
        verdict, references = self._audit(run, batch, before)
        quarantine = [*typing_rejects(run, batch), *audit_rejects(run, batch, verdict, self._raw, self._room.split)]
        record = self._load_record(run, feed, batch, verdict, len(quarantine))
        checks = [CheckRecord.of(result) for result in verdict.results]
        if batch.unknown_fields:
            log.warning("%s: the vendor sends fields we do not know: %s", contract.table, sorted(batch.unknown_fields))
        as_then = before is not None and before.as_then
        is_first = before is None or (as_then and before.entry.again is None)
        if before and as_then:
            record = replace(record, started_at=before.entry.started_at)
        change = Change()
        with self._alone(contract, batch.load_id, before.entry.name.moment if before and as_then else None) as tx:
            if not as_then and not verdict.held:
                decisions = self._in_view_of_newer(tx, run, feed, batch, verdict, decisions, before)
            good = without(verdict.good, decisions.left_out)
            content = entries.describe_batch(run, feed, batch, decisions, references, record.state)
            record = replace(record, journal=self._note(tx, batch, record, content, before))
            if not verdict.held:
                change = self._publish_rows(tx, batch, good, allowed_deletions(run, batch, verdict, decisions))
            tx.record_load(record.with_change(change))
            tx.record_quality(batch.load_id, run.account.name, contract.table, checks)
            reads = [self._read_record(run, feed, batch, item, decisions) for item in batch.reads]
            tx.record_reads([item.but_held() for item in reads] if verdict.held else reads)
            if not verdict.held:
                if is_first:
                    # Only what is believed, and the newest there is, says that what was set aside before is gone or mended.
                    doubtful = decisions.doubted | {item.folder for item in decisions.newer}
                    tx.resolve_older({item.read.key.folder for item in batch.whole} - doubtful)
                pages = [page.path for page in batch.pages]
                stale = fully_covered(batch, decisions.newer)
                stale_pages = {page.path for page in batch.pages if page.key.folder in stale}
                tx.record_quarantine([item for item in quarantine if item.page not in stale_pages], pages, reopen=is_first)
            if before and as_then and before.entry.again and before.entry.again.load != batch.load_id:
                tx.supersede_held(before.entry.again.load)
            intervals = coverage_of(run, batch, decisions, held=verdict.held)
            tx.record_coverage(self._beside_newer(intervals, decisions) if is_first else self._unproven(intervals))
            if not verdict.held:
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
            **({"held": 1} if verdict.held else {}),
        )
        log.info("%s: %s rows read, %s, %d quarantined", contract.table, batch.rows_read, change, len(quarantine))
        return verdict

    @contextlib.contextmanager
    def _alone(self, contract: Contract, load_id: str, moment: dt.datetime | None) -> Iterator[Publication]:
        """The transaction that publishes. A publication that a crash has left unfinished is finished before it."""
        while True:
            with self._warehouse.publishing(contract, moment) as tx:
                interrupted = None if self._journal is None else tx.interrupted(load_id)
                if interrupted is None:
                    yield tx
                    return
            self._finish(contract, EntryName.parse(interrupted))

    def _finish(self, contract: Contract, name: EntryName) -> None:
        """Publish what the journal says of a publication that never ended, as it was decided then.

        The lake may hold its rows and the warehouse not: nothing newer may come between.
        """
        try:
            if self._journal is None:
                raise ValueError("without a journal nothing is known to be unfinished")
            entry = entries.understand(name, self._journal.read(name))
            if not isinstance(entry, entries.BatchEntry):
                raise DataError("it is about no batch", where=name.path)
            self.publish_again(Before(entry, as_then=True), self._room.feeds[entry.feed], contract, Summary())
            log.warning("%s: load %s was interrupted by a crash: it is finished now", contract.table, entry.load_id)
        except Retriable:
            raise
        except Exception as error:
            # The crash came before the entry was written, a page is lost, or it cannot be published at all: that stops nobody
            # else. Its own task publishes it again, or says why not.
            log.warning("%s: load %s was interrupted and is left to its task: %s", contract.table, name.load, error)
        self._warehouse.note_publishing(contract.table, name.load, None)

    def _in_view_of_newer(
        self,
        tx: Publication,
        run: Run,
        feed: Feed,
        batch: Batch,
        verdict: Verdict,
        decisions: Decisions,
        before: Before | None,
    ) -> Decisions:
        """What remains of decisions when newer answers about the same were published meanwhile."""
        newer = tx.newer(feed.name, run.account.name, asked_of(batch))
        places = np.flatnonzero(covered(batch, verdict.good, newer))
        if before is not None and before.entry.state != HELD:
            # It was published in its time. What of it is in the table stays; what is not must not come to life again.
            places = places[tx.absent(verdict.good.take(places))]
            newer = newer if len(places) else []
        rows = verdict.good.select(["raw_page", "raw_row"]).take(places).to_pylist()
        left_out: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            left_out[row["raw_page"]].append(row["raw_row"])
        if newer:
            log.warning(
                "%s: newer answers about the same are published already: %d rows left out, nothing of their time is marked"
                " deleted",
                batch.contract.table,
                len(rows),
            )
        return replace(
            decisions, newer=tuple(newer), left_out={page: tuple(sorted(found)) for page, found in left_out.items()}
        )

    def _beside_newer(self, intervals: Sequence[Interval], decisions: Decisions) -> list[Interval]:
        """Intervals without proofs for what a newer answer, published before, has proven."""
        told = {item.vehicle for item in decisions.newer}
        older = [item for item in intervals if item.scope in told and item.state.is_proven]
        return [item for item in intervals if item not in older] + (self._unproven(older) if older else [])

    def _publish_rows(self, tx: Publication, batch: Batch, good: pa.Table, deletions: Sequence[Deletion]) -> Change:
        self._lake.publish(batch.contract, good, batch.load_id, deletions)
        tx.stage(good)
        change = tx.upsert(batch.load_id)
        for deletion in deletions:
            change += tx.mark_deleted(deletion, batch.load_id)
        return change

    def _note(
        self, tx: Publication, batch: Batch, record: LoadRecord, content: dict[str, Any], before: Before | None
    ) -> str:
        """Write the batch into the journal, unless an entry says the same of it; returns the entry's place."""
        if before is not None:
            name = before.entry.name
            if self._journal is None or (name.digest == digest_of(content) and name.load == batch.load_id):
                return name.path
            content = {**content, "again": name.path}
        known = tx.is_published(batch.load_id)
        if known and EntryName.parse(known).digest == digest_of(content):
            return known
        if self._journal is None:
            raise ValueError("without a journal only what is in one can be published")
        clock = entries.clocks_of(batch, record.started_at)
        dataset, load = batch.contract.table, batch.load_id
        self._warehouse.note_publishing(dataset, load, self._journal.name(dataset, tx.moment, load, content).path)
        return self._journal.write(batch.contract.table, tx.moment, batch.load_id, content, clock=clock).path

    def _unproven(self, intervals: Sequence[Interval]) -> list[Interval]:
        """Proofs for times that have none yet: an old answer does not replace what newer ones have told."""
        found = []
        for item in intervals:
            if item.state.is_proven:
                known = self._warehouse.covered(item.account, item.dataset, [item.scope], item.window)[item.scope]
                parts = unproven(known, item.window)
                found += [item if part == item.window else replace(item, window=part, rows=None) for part in parts]
        return found

    def values(self, contract: Contract, extracted: Extracted, column: str) -> tuple[set[Any], bool]:
        """Distinct values of a column in the pages of a read, whether or not their rows pass typing and audit.

        Returns:
            The values, and whether they are all: not so when a row could not be read so far as to find its value.
        """
        batcher = self._batcher(contract)
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

    def _audit(self, run: Run, batch: Batch, before: Before | None) -> tuple[Verdict, entries.References]:
        """Judge a batch; also returns what it refers to and is not known."""
        from fleetlake.quality.verdict import audit  # Great Expectations takes seconds to import: only where it judges

        known: dict[str, set[Any]] = {}
        unknown: dict[str, list[Any]] = {}
        for column in batch.contract.columns:
            if not column.references:
                continue
            values = {value for value in batch.table[column.name].unique().to_pylist() if value is not None}
            if before and before.as_then and column.name in before.entry.references:
                known[column.name] = values - set(before.entry.references[column.name])
            else:
                place = self._known_in(column.references.rpartition(".")[0]) or self._warehouse
                known[column.name] = place.known_values(column.references, sorted(values), run.account.name)
            unknown[column.name] = sorted(values - known[column.name])
        verdict = audit(
            batch.contract,
            batch.table,
            window=run.window,
            known_values=known,
            load_id=batch.load_id,
            docs_dir=self._docs,
            account=run.account.name,
        )
        return verdict, unknown

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
            is_scheduled=run.mode == "stream",
            reading=reading_of(batch.contract, run.account.name),
        )

    @staticmethod
    def _read_record(run: Run, feed: Feed, batch: Batch, item: Extracted, decisions: Decisions) -> ReadRecord:
        window, folder = item.read.window, item.read.key.folder
        is_an_answer = bool(item.pages) and not item.read.stream and not item.read.is_again
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
            clears=run.clears,
            pages=len(item.pages),
            bytes=sum(page.size for page in item.pages),
            rows=sum({page.sha256: page.rows for page in item.pages}.values()),  # some vendors' pages are read twice
            is_complete=item.is_complete,
            is_skipped=isinstance(item.error, Skippable),
            cursor_to=item.cursor,
            load_id=batch.load_id,
            fetched_at=item.pages[0].fetched_at if is_an_answer else None,
            vehicles=item.read.scopes or None,
            is_believed=folder not in decisions.doubted and folder not in batch.foreign,
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
