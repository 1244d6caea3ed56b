"""The verbs of a run: plan, load, submit, poll, collect, certify. Airflow's operators call these, and so can a test."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fleetlake.contracts import Contract, load_contracts
from fleetlake.coverage import Interval, State
from fleetlake.errors import ConfigError, FleetlakeError, IncompleteAnswer, JobFailed, JobPending, Skippable, UnknownVehicle
from fleetlake.pipeline.extract import Extracted, Read, commit_report, extract
from fleetlake.pipeline.proof import until_fetched
from fleetlake.pipeline.publish import Publisher, Summary
from fleetlake.pipeline.reads import Reading, key_of
from fleetlake.pipeline.rooms import vendor_room
from fleetlake.pipeline.run import Run
from fleetlake.raw import RawStore
from fleetlake.reading import FLEET, Feed, JobState, JobStatus, Kind, Source
from fleetlake.window import DAY

if TYPE_CHECKING:
    from fleetlake.accounts import Account
    from fleetlake.lake import Lake
    from fleetlake.reading import ReportSource
    from fleetlake.settings import Settings
    from fleetlake.warehouse import Warehouse

log = logging.getLogger(__name__)

_SHOWN = 5
"""Vehicles named in an error or a log line; the rest is counted."""


class Pipeline:
    """One account's way from vendor to warehouse.

    Stores and connections are opened on first use and closed at the end of the ``with`` block.

    Args:
        settings: where the stores are.
        account: whose data.
        source_factory: opens the vendor's source; called at most once, and only by verbs that ask the vendor.
    """

    def __init__(self, settings: Settings, account: Account, source_factory: Callable[[], Source]) -> None:
        self._settings = settings
        self._account = account
        self._source_factory = source_factory
        self._source: Source | None = None
        self._warehouse: Warehouse | None = None
        self._lake: Lake | None = None
        self._contracts = load_contracts(settings.include, account.vendor)
        self._room = vendor_room(account.vendor)
        self._raw = RawStore(settings.raw_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._source is not None:
            self._source.close()
        if self._warehouse is not None:
            self._warehouse.close()

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
            FleetlakeError: the list could not be read.
        """
        self.warehouse.forget_run_end(run.dag_id, run.run_id)
        error = self._load_feed(run, self._feed(entity_feed), [FLEET], Summary())
        if error is not None:
            raise error  # with yesterday's list a new vehicle would be missing, and nobody would know
        scopes = self._vehicles(run)
        if feeds and self._may_skip(run):
            todo: set[str] = set()
            for table in {table for name in feeds for table in self._feed(name).datasets}:
                if self._contracts[table].kind is Kind.SNAPSHOT:
                    continue  # about now, whatever the window
                if self._contracts[table].scope_column is None:
                    todo |= set(scopes)  # one answer for the whole fleet
                else:
                    todo |= set(self.warehouse.missing(self._account.name, table, scopes, run.window))
            if len(todo) < len(scopes):
                log.info("%d of %d vehicles are complete already: skipped", len(scopes) - len(todo), len(scopes))
            scopes = [scope for scope in scopes if scope in todo]
        return self._chunks(scopes)

    def load(self, run: Run, *, feeds: Sequence[str], scopes: Sequence[str]) -> dict[str, Any]:
        """Extract to raw and publish, for some vehicles and all datasets of some feeds.

        A failing vehicle stops no other: what came home is published, then the first error is raised. A retry goes on
        with what is missing.

        Returns:
            Counters by dataset.

        Raises:
            FleetlakeError: the first error of a read that failed and may succeed later.
        """
        self.warehouse.forget_run_end(run.dag_id, run.run_id)
        summary = Summary()
        errors = [self._load_feed(run, self._feed(name), scopes, summary) for name in feeds]
        for error in errors:
            if error is not None:
                raise error
        return summary.as_dict()

    def submit(self, run: Run, *, feed: str) -> str:
        """Ask the vendor for a report about the run's window; returns its token. Exactly one request is sent.

        Raises:
            ConfigError: the window is longer than the vendor allows.
        """
        limit = self._feed(feed).max_days
        if limit is not None and run.window.end - run.window.start > limit * DAY:
            raise ConfigError(
                f"{feed}: the vendor allows {limit} days in one report, the window is {run.window}",
                where="params window_start, window_end",
                remedy="use a shorter window, or create a backfill: it makes a run per day",
            )
        return self._report_source().submit(feed, run.window)

    def poll(self, feed: str, token: str) -> JobStatus:
        """Ask the vendor once how a report stands."""
        return self._report_source().poll(feed, token)

    def collect(self, run: Run, *, feed: str, token: str, details: str | None = None) -> list[list[str]]:
        """Bring a finished report home and publish it.

        Args:
            run: the run that submitted it.
            feed: report feed.
            token: token of the job.
            details: per-vehicle feed that completes the report. The vehicles the report does not name have nothing to
                complete, and that is recorded for its datasets.

        Returns:
            Chunks of the vehicles named in the report, for the details.

        Raises:
            JobPending: not finished yet.
            JobFailed: the vendor lost it or failed; submit anew.
        """
        contract_feed = self._feed(feed)
        read = Read(feed=contract_feed, key=key_of(self._account, contract_feed, FLEET, run.window, f"job-{token}"))
        pages = self._raw.pages(read.key)
        if pages:
            extracted = Extracted(read, pages)
        else:
            status = self.poll(feed, token)
            where = f"{feed} {run.window}"
            if not status.state.is_terminal:
                raise JobPending("the report is not ready yet", where=where)
            if status.state is not JobState.SUCCEEDED or status.page is None:
                raise JobFailed(
                    f"the report ended as {status.state.value}: {status.message}", where=where, remedy="run the task again"
                )
            extracted = commit_report(self._raw, read, status.page)
        summary = Summary()
        publisher = self._publisher()
        for table in contract_feed.datasets:
            publisher.publish(run, contract_feed, self._contracts[table], [extracted], summary)
        log.info("published %s", summary.as_dict())
        if details is None:
            return []
        return self._chunks(self._named(run, contract_feed, extracted, self._feed(details)))

    def certify(self, run: Run, *, datasets: Sequence[str]) -> dict[str, Any]:
        """Prove that the run's window is complete, and rebuild the quality pages.

        Snapshots are about now, not about a window: they are published or their task has failed, there is nothing to prove.

        Returns:
            Per dataset the number of scopes proven complete.

        Raises:
            IncompleteAnswer: a scope of the window is not proven complete; names the first ones and their states.
        """
        vehicles = self._vehicles(run)
        proven: dict[str, Any] = {}
        holes: list[str] = [] if vehicles else [f"{self._entity.table}: the account has no vehicles"]
        for table in datasets:
            contract = self._contracts[table]
            if contract.kind is Kind.SNAPSHOT:
                continue
            scopes = vehicles if contract.scope_column else [FLEET]
            missing = self.warehouse.missing(self._account.name, table, scopes, run.window)
            proven[table] = {"complete": len(scopes) - len(missing), "of": len(scopes)}
            if missing:
                named = ", ".join(sorted(missing)[:_SHOWN])
                more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
                holes.append(f"{table}: {len(missing)} of {len(scopes)} not complete ({named}{more})")
        self._build_docs()
        self.warehouse.record_run_end(run.dag_id, run.run_id, is_complete=not holes)
        if holes:
            raise IncompleteAnswer(
                "; ".join(holes),
                where=f"{self._account.name} {run.window}",
                remedy="select * from ops.hole; run the DAG again for this partition when the cause is gone",
            )
        return proven

    # --- parts ----------------------------------------------------------------------------------------------------------

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse, migrated to this vendor's contracts."""
        if self._warehouse is None:
            from fleetlake.warehouse import Warehouse

            self._warehouse = Warehouse(self._settings.require_warehouse())
            self._warehouse.migrate(list(self._contracts.values()))
        return self._warehouse

    def _publisher(self) -> Publisher:
        from fleetlake.lake import Lake

        if self._lake is None:
            self._lake = Lake(self._settings.lake_url)
        return Publisher(self._raw, self._lake, self.warehouse, self._room, self._settings.data_docs)

    def _get_source(self) -> Source:
        if self._source is None:
            self._source = self._source_factory()
        return self._source

    def _report_source(self) -> ReportSource:
        source: Any = self._get_source()
        if not hasattr(source, "submit"):
            raise ConfigError(f"vendor {self._account.vendor!r} has no asynchronous reports")
        result: ReportSource = source
        return result

    def _feed(self, name: str) -> Feed:
        if name not in self._room.feeds:
            near = get_close_matches(name, self._room.feeds, 1)
            raise ConfigError(
                f"{self._account.vendor} has no feed {name!r}",
                remedy=f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(self._room.feeds)}",
            )
        return self._room.feeds[name]

    def _load_feed(self, run: Run, feed: Feed, scopes: Sequence[str], summary: Summary) -> FleetlakeError | None:
        """Extract and publish one feed; returns the first error that a retry may mend."""
        reads = Reading(self.warehouse, self._account).reads(run, feed, scopes)
        extracted = list(extract(self._raw, self._get_source(), reads))
        publisher = self._publisher()
        if feed.kind is Kind.SNAPSHOT:
            for result in extracted:
                result.may_delete = feed.per_scope or self._is_believed(run, publisher, result)
        for table in feed.datasets:
            publisher.publish(run, feed, self._contracts[table], extracted, summary)
        for result in extracted:
            if result.error is not None and not isinstance(result.error, Skippable):
                return result.error
        if len(extracted) < len(reads):
            return IncompleteAnswer(f"{feed.name}: {len(reads) - len(extracted)} reads were not tried")
        return None

    def _is_believed(self, run: Run, publisher: Publisher, result: Extracted) -> bool:
        """Whether a list (of vehicles, of geofences …) may mark what it lacks as deleted.

        A list carries no proof that it is whole. So what is missing must be missing from a second reading too, and a list
        that lost more than a tenth of its items (and more than one) is not believed at all, unless forced.
        """
        contract = self._contracts[result.read.feed.datasets[0]]
        column = contract.scope_column or contract.key[1]
        rows = self.warehouse.rows(contract, account=self._account.name, columns=["deleted_at", column])
        known = {str(row[column]) for row in rows if row["deleted_at"] is None}

        def missing(answer: Extracted) -> set[str]:
            values, are_all = publisher.values(contract, answer, column)
            return known - {str(value) for value in values} if are_all else set()

        gone = missing(result) if result.is_complete else set()
        if not gone:
            return True
        shown = ", ".join(sorted(gone)[:_SHOWN])
        if len(gone) > max(1, len(known) // 10) and not run.force:
            log.warning(
                "%s: the list lacks %d of %d known (%s): none is marked deleted; force a run if they are really gone",
                contract.table,
                len(gone),
                len(known),
                shown,
            )
            return False
        read = result.read
        again = Read(feed=read.feed, key=replace(read.key, read=f"{read.key.read}-again"))
        for second in extract(self._raw, self._get_source(), [again]):
            if second.is_complete and gone <= missing(second):
                return True
        log.warning("%s: a second reading does not confirm that %s is gone", contract.table, shown)
        return False

    @property
    def _entity(self) -> Contract:
        """Contract of the table that lists the vendor's vehicles."""
        feed = next(item for item in self._room.feeds.values() if item.kind is Kind.SNAPSHOT)
        return self._contracts[feed.datasets[0]]

    def _entity_rows(self) -> list[dict[str, Any]]:
        columns = ["deleted_at", *self._room.identities]
        rows = self.warehouse.rows(self._entity, account=self._account.name, columns=columns)
        return [row for row in rows if row["deleted_at"] is None]

    def _vehicles(self, run: Run) -> list[str]:
        """Vendor ids the run is about, sorted."""
        contract = self._entity
        scope_column = _scope_column(contract)
        names: dict[str, str] = {}
        scopes = set()
        for row in self._entity_rows():
            scope = str(row[scope_column])
            scopes.add(scope)
            names |= {str(row[column]).lower(): scope for column in self._room.identities if row[column] is not None}
        if not run.vehicles:
            return sorted(scopes)
        chosen = set()
        for vehicle in run.vehicles:
            if vehicle.lower() not in names:
                near = get_close_matches(vehicle.lower(), names, 1, 0.5)
                raise UnknownVehicle(
                    f"account {self._account.name!r} has no vehicle {vehicle!r}",
                    where="params.vehicles",
                    remedy=f"did you mean {near[0]!r}?" if near else f"select * from {contract.table}",
                )
            chosen.add(names[vehicle.lower()])
        return sorted(chosen)

    def _may_skip(self, run: Run) -> bool:
        """Complete vehicles are left out only where nobody asked for them again."""
        if run.force or run.mode == "stream":
            return False
        return not self.warehouse.was_loaded_by_other(run.dag_id, run.partition, run.run_id)

    def _chunks(self, scopes: Sequence[str]) -> list[list[str]]:
        if not scopes:
            return []
        count = min(self._account.max_chunks, math.ceil(len(scopes) / self._account.chunk_size))
        return [list(scopes[index::count]) for index in range(count)]

    def _named(self, run: Run, feed: Feed, report: Extracted, details: Feed) -> list[str]:
        """Vehicles the report names; the others are recorded as having nothing for the details' own datasets."""
        own = [table for table in details.datasets if table not in feed.datasets]
        column = _scope_column(self._contracts[own[0]])
        contract = self._contracts[feed.datasets[0]]
        values, are_all = self._publisher().values(contract, report, column)
        named = {str(value) for value in values}
        everyone = {str(row[_scope_column(self._entity)]) for row in self._entity_rows()}
        last = report.pages[-1]
        if not are_all:
            # A row hides its vehicle: nobody may be called silent, so all are asked.
            log.warning("%s: a row of the report does not say its vehicle: all vehicles are read", contract.table)
            return sorted(set(self._vehicles(run)))
        self.warehouse.record_coverage(
            [
                Interval(
                    account=self._account.name,
                    dataset=table,
                    scope=scope,
                    window=part,
                    state=state,
                    proof=f"overview: names no report of this vehicle ({last.path})",
                    rows=0,
                    fetched_at=last.fetched_at,
                    run_id=run.run_id,
                )
                for part, state in until_fetched(run.window, last.fetched_at, State.EMPTY_CONFIRMED)
                for table in own
                for scope in sorted(everyone - named)
            ]
        )
        return sorted(named & set(self._vehicles(run)))

    def _build_docs(self) -> None:
        from fleetlake.quality.docs import build_docs

        build_docs(self._settings.data_docs)


def _scope_column(contract: Contract) -> str:
    if contract.scope_column is None:
        raise ConfigError(f"{contract.table} names no scopeColumn", where=str(contract.path))
    return contract.scope_column
