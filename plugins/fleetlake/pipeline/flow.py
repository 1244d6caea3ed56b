"""The verbs of a run: plan, load, ask, poll, collect, certify. Airflow's operators call these, and so can a test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fleetlake.coverage import missing, unproven
from fleetlake.errors import BatchHeld, FleetlakeError, IncompleteAnswer, Skippable
from fleetlake.pipeline.expected import note_expected
from fleetlake.pipeline.extract import Extracted, Read, extract
from fleetlake.pipeline.jobs import Jobs
from fleetlake.pipeline.parts import Parts
from fleetlake.pipeline.publish import Summary
from fleetlake.pipeline.reads import Reading, Work
from fleetlake.pipeline.run import Run
from fleetlake.pipeline.turns import longest_ago
from fleetlake.pipeline.usage import Step, recorded
from fleetlake.pipeline.vehicles import SHOWN, Vehicles
from fleetlake.reading import FLEET, Feed, JobStatus, Kind, Lane, Source

if TYPE_CHECKING:
    from fleetlake.accounts import Account
    from fleetlake.pipeline.heal import Healing
    from fleetlake.pipeline.job_table import Job
    from fleetlake.settings import Settings
    from fleetlake.warehouse import Warehouse

log = logging.getLogger(__name__)


class Pipeline:
    """One account's way from vendor to warehouse.

    Stores and connections are opened on first use and closed at the end of the ``with`` block.

    Args:
        settings: where the stores are.
        account: whose data.
        source_factory: opens the vendor's source; called at most once, and only by verbs that ask the vendor.
    """

    def __init__(self, settings: Settings, account: Account, source_factory: Callable[[], Source]) -> None:
        self._parts = Parts(settings, account, source_factory)
        self._vehicles = Vehicles(self._parts)
        self._jobs = Jobs(self._parts, self._vehicles)
        self._is_first = True  # nothing has been asked of the vendor: what comes first logs in

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._parts.close()

    # --- the verbs ------------------------------------------------------------------------------------------------------

    def plan(self, run: Run, *, entity_feed: str, feeds: Sequence[str]) -> list[list[str]]:
        """Read and publish the list of vehicles, then share out the work.

        Args:
            run: the run; ``run.vehicles`` narrows it.
            entity_feed: snapshot feed that lists the vehicles.
            feeds: feeds the chunks will be loaded with: a vehicle for which all of them are complete already is left
                out, unless the run was forced or repeats an earlier run of the same partition.

        Returns:
            Chunks of vendor ids, at most ``account.max_chunks`` of them.

        Raises:
            UnknownVehicle: a vehicle of ``run.vehicles`` is not in the account.
            ConfigError: a table of ``run.datasets`` is not the vendor's.
            FleetlakeError: the list could not be read.
        """
        self._parts.check_datasets(run.datasets)
        self._parts.warehouse.forget_run_end(run.dag_id, run.run_id)
        error = self._load_feed(run, self._parts.feed(entity_feed), [FLEET], Summary())
        if error is not None:
            raise error  # with yesterday's list a new vehicle would be missing, and nobody would know
        scopes = self._vehicles.chosen(run)
        tables = {table for name in feeds for table in self._parts.feed(name).datasets if run.wants([table])}
        if feeds and self._may_skip(run):
            todo: set[str] = set()
            for table in tables:
                if self._parts.contracts[table].kind is Kind.SNAPSHOT:
                    continue  # about now, whatever the window
                if self._parts.contracts[table].scope_column is None:
                    todo |= set(scopes)  # one answer for the whole fleet
                else:
                    todo |= set(self._parts.warehouse.missing(self._parts.account.name, table, scopes, run.window))
            if len(todo) < len(scopes):
                log.info("%d of %d vehicles are complete already: skipped", len(scopes) - len(todo), len(scopes))
            scopes = [scope for scope in scopes if scope in todo]
        return self._parts.chunks(scopes)

    def load(self, run: Run, *, feeds: Sequence[str], scopes: Sequence[str]) -> dict[str, Any]:
        """Extract to raw and publish, for some vehicles and all datasets of some feeds; of feeds that the run wants.

        A failing vehicle stops no other, nor does a batch that is held stop other tables: what came home is published, then
        the first error is raised. A retry goes on with what is missing, first with vehicles that have not failed: after a few
        failures in a row a try ends, since the vendor may be away.

        Returns:
            Counters by dataset.

        Raises:
            FleetlakeError: the first error of a read that failed and may succeed later.
            BatchHeld: nothing else failed: no retry can help.
        """
        self._parts.warehouse.forget_run_end(run.dag_id, run.run_id)
        summary = Summary()
        wanted = [feed for feed in map(self._parts.feed, feeds) if run.wants(feed.datasets)]
        task = [(feed, left) for feed in wanted if (left := self._left(run, feed, scopes))]
        error = _first([self._load_feed(run, feed, left, summary, task) for feed, left in task])
        if error is not None:
            raise error
        return summary.as_dict()

    def ask(self, run: Run, *, feed: str) -> Job:
        """Ask the vendor for a report, unless an earlier try did; see ``Jobs.ask``."""
        with self._recorded(run, feed):
            return self._jobs.ask(run, feed=feed)

    def poll(self, run: Run, *, feed: str) -> JobStatus:
        """Ask the vendor once how the run's report stands; see ``Jobs.poll``."""
        with self._recorded(run, feed):
            return self._jobs.poll(run, feed=feed)

    def collect(self, run: Run, *, feed: str) -> list[list[str]]:
        """Bring the run's report home and publish it; see ``Jobs.collect``."""
        with self._recorded(run, feed):
            return self._jobs.collect(run, feed=feed)

    def prove(self, run: Run) -> list[str]:
        """Prove what a report would have proven, where every vehicle was read without it; see ``Jobs.prove``."""
        return self._jobs.prove(run)

    def reap_jobs(self) -> list[Job]:
        """Bring jobs to their end that nobody else will; see ``Jobs.reap``."""
        return self._jobs.reap()

    def certify(self, run: Run, *, datasets: Sequence[str]) -> dict[str, Any]:
        """Prove that the run's window is complete, and rebuild the quality pages.

        Snapshots are about now, not about a window: they are published or their task has failed, there is nothing to prove.

        Returns:
            Per dataset the number of scopes proven complete.

        Raises:
            IncompleteAnswer: a scope of the window is not proven complete; names the first ones and their states. What the
                vendor does not keep any more is told, but no failure: nobody could mend it.
        """
        self._jobs.prove(run)
        note_expected(self._parts, self._vehicles, run, datasets)
        vehicles = self._vehicles.chosen(run)
        proven: dict[str, Any] = {}
        holes: list[str] = [] if vehicles else [f"{self._vehicles.contract.table}: the account has no vehicles"]
        for table in datasets:
            contract = self._parts.contracts[table]
            if contract.kind is Kind.SNAPSHOT or not run.wants([table]):
                continue
            scopes = vehicles if contract.scope_column else [FLEET]
            known = self._parts.warehouse.covered(self._parts.account.name, table, scopes, run.window)
            open_scopes = {scope for scope, items in known.items() if missing(items, run.window)}
            gone = {scope for scope, items in known.items() if unproven(items, run.window)} - open_scopes
            proven[table] = {"complete": len(scopes) - len(open_scopes) - len(gone), "of": len(scopes)}
            if gone:
                proven[table]["out_of_retention"] = len(gone)
                log.warning(
                    "%s: of %d of %d the vendor no longer keeps all of %s", table, len(gone), len(scopes), run.window
                )
            if open_scopes:
                named = ", ".join(sorted(open_scopes)[:SHOWN])
                more = f" and {len(open_scopes) - SHOWN} more" if len(open_scopes) > SHOWN else ""
                holes.append(f"{table}: {len(open_scopes)} of {len(scopes)} not complete ({named}{more})")
        self._build_docs()
        self._parts.warehouse.record_run_end(run.dag_id, run.run_id, is_complete=not holes)
        if holes:
            raise IncompleteAnswer(
                "; ".join(holes),
                where=f"{self._parts.account.name} {run.window}",
                remedy="select * from ops.hole; run the DAG again for this partition when the cause is gone",
            )
        return proven

    # --- parts ----------------------------------------------------------------------------------------------------------

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse, migrated to this vendor's contracts."""
        return self._parts.warehouse

    @property
    def healing(self) -> Healing:
        """Mends the account's holes."""
        from fleetlake.pipeline.heal import Healing

        return Healing(self._parts, self._vehicles, self.load)

    def _load_feed(
        self, run: Run, feed: Feed, scopes: Sequence[str], summary: Summary, task: Work = ()
    ) -> FleetlakeError | None:
        """Extract and publish one feed of a task; returns the first error that a retry may mend, or that a batch is held."""
        with self._recorded(run, feed.name) as step:
            rounds = Reading(self._parts.warehouse, self._parts.account).rounds(run, feed, scopes, task)
            return self._loaded(run, feed, rounds, summary, step)

    def _recorded(self, run: Run, feed: str) -> AbstractContextManager[Step]:
        is_first, self._is_first = self._is_first, False
        return recorded(self._parts.warehouse, run, feed, is_first=is_first)

    def _loaded(
        self, run: Run, feed: Feed, rounds: Iterable[list[Read]], summary: Summary, step: Step
    ) -> FleetlakeError | None:
        taken: list[Read] = []
        brought: list[Extracted] = []
        held: list[BatchHeld] = []
        for todo in rounds:
            reads = longest_ago(self._parts, feed, todo, lambda read: read.all_scopes)
            extracted = list(extract(self._parts.raw, self._parts.source, reads))
            taken += reads
            brought += extracted
            step.took(taken, brought)
            held += self._publish(run, feed, extracted, summary)
            for result in extracted:
                if result.error is not None and not isinstance(result.error, Skippable):
                    return result.error
            if len(extracted) < len(reads):
                return IncompleteAnswer(f"{feed.name}: {len(reads) - len(extracted)} reads were not tried")
        return _first(held)

    def _publish(self, run: Run, feed: Feed, extracted: Sequence[Extracted], summary: Summary) -> list[BatchHeld]:
        """Publish into all tables of a feed; returns why some are held."""
        held = []
        for table in feed.datasets:
            try:
                self._parts.publisher.publish(run, feed, self._parts.contracts[table], extracted, summary)
            except BatchHeld as error:
                log.error("%s", error)
                held.append(error)
        return held

    def _left(self, run: Run, feed: Feed, scopes: Sequence[str]) -> Sequence[str]:
        """What a backfill still has to read of a feed: it asks for what is missing, feed by feed."""
        tables = [self._parts.contracts[table] for table in feed.datasets if run.wants([table])]
        is_known = feed.kind is not Kind.SNAPSHOT and all(bool(table.scope_column) is feed.per_scope for table in tables)
        if run.lane is not Lane.BACKFILL or not is_known or not self._may_skip(run):
            return scopes
        left: set[str] = set()
        for table in tables:
            left |= set(self._parts.warehouse.missing(self._parts.account.name, table.table, scopes, run.window))
        return [scope for scope in scopes if scope in left]

    def _may_skip(self, run: Run) -> bool:
        """Complete vehicles are left out only where nobody asked for them again: a backfill asks for what is missing."""
        if run.force or run.mode == "stream":
            return False
        if run.lane is Lane.BACKFILL:
            return True
        return not self._parts.warehouse.was_loaded_by_other(run.dag_id, run.partition, run.run_id)

    def _build_docs(self) -> None:
        from fleetlake.quality.docs import build_docs

        build_docs(self._parts.settings.data_docs)


def _first(errors: Iterable[FleetlakeError | None]) -> FleetlakeError | None:
    """The error to raise: one that a retry may mend goes before a held batch, which waits for a person."""
    return min(
        (error for error in errors if error is not None), key=lambda error: isinstance(error, BatchHeld), default=None
    )
