"""Asynchronous reports: ask for one exactly once, look how it stands, bring it home, or do without it.

``ops.job`` is told before the vendor is. A process may die at any moment; the next one reads there what to do:

==========================  ==============================================================================================
found                       what the next try does
==========================  ==============================================================================================
nothing, or ``intended``    nothing was sent: asks
``sending``                 the request may have been carried out, and its answer is lost: never asks again
``asked`` … ``succeeded``   attaches to the report
``collected``               the same again, without a request; a run that was cleared since asks anew
``failed``, ``lost``        the vendor's last word: asks anew
``abandoned``               reads the window without the report; a run that was cleared since asks anew
==========================  ==============================================================================================
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from fleetlake.coverage import Interval, State, unproven
from fleetlake.errors import (
    BatchHeld,
    ConfigError,
    Fatal,
    FleetlakeError,
    JobFailed,
    JobPending,
    RateLimited,
    VendorUnavailable,
)
from fleetlake.pipeline.extract import Extracted, Read, commit_report
from fleetlake.pipeline.job_table import Desk, Job, JobKey, JobTable, Stage
from fleetlake.pipeline.parts import Parts, scope_column
from fleetlake.pipeline.proof import until_fetched
from fleetlake.pipeline.publish import Summary
from fleetlake.pipeline.reads import key_of
from fleetlake.pipeline.run import Run
from fleetlake.pipeline.vehicles import Vehicles
from fleetlake.reading import FLEET, Feed, JobState, JobStatus, Kind, Lane
from fleetlake.window import DAY

if TYPE_CHECKING:
    from fleetlake.raw import ReadKey
    from fleetlake.reading import ReportSource

log = logging.getLogger(__name__)

_UNKNOWN = "it is not known whether the vendor took the request"
_ENDS = {JobState.FAILED: Stage.FAILED, JobState.LOST: Stage.LOST}


class Jobs:
    """The asynchronous reports of one account.

    Args:
        parts: the account's.
        vehicles: the account's.
    """

    def __init__(self, parts: Parts, vehicles: Vehicles) -> None:
        self._parts = parts
        self._vehicles = vehicles

    # --- the verbs ------------------------------------------------------------------------------------------------------

    def ask(self, run: Run, *, feed: str) -> Job:
        """The report about the run's window: asked for now, or by an earlier try. At most one request is sent.

        Returns:
            The job. Open with a token: wait for it (``poll``), then ``collect``. Over: ``collect`` at once.

        Raises:
            ConfigError: the window is longer than the vendor allows.
            FleetlakeError: the vendor refused, or nothing could be sent; a retry may ask.
        """
        limit = self._parts.feed(feed).max_days
        if limit is not None and run.window.end - run.window.start > limit * DAY:
            raise ConfigError(
                f"{feed}: the vendor allows {limit} days in one report, the window is {run.window}",
                where="params window_start, window_end",
                remedy="use a shorter window, or create a backfill: it makes a run per day",
            )
        source = self._source
        with self._table.alone(JobKey.of(run, feed)) as desk:
            job = desk.latest()
            if job is None or self._is_asked_anew(job, run):
                job = desk.intend(run)
            if job.stage is Stage.INTENDED:
                self._send(source, desk, job)
            elif job.stage is Stage.SENDING:
                self._close(job, Stage.ABANDONED, f"{_UNKNOWN}: the process that sent it is gone")
            else:
                log.info("attaching to job %d (%s), asked for by an earlier try", job.job_id, job.stage.value)
        job = self._table.get(job.job_id)
        if job.stage in (Stage.ASKED, Stage.RUNNING):
            self._note(job, State.PREPARING, f"job {job.job_id}: the vendor prepares the report")
        elif job.stage is Stage.ABANDONED:
            log.warning("job %d is abandoned: %s. The window is read without the report", job.job_id, job.words)
        return job

    def poll(self, run: Run, *, feed: str) -> JobStatus:
        """Ask the vendor once how the run's report stands, and note it.

        Raises:
            ConfigError: none was asked for.
        """
        job = self._job(run, feed)
        if job.token is None:
            raise ConfigError(f"job {job.job_id} is {job.stage.value}: there is no report to ask about", where=str(job.key))
        status = self._source.poll(feed, job.token)
        if status.state in _ENDS:
            self._close(job, _ENDS[status.state], status.message)
        else:
            self._table.move(job, Stage.RUNNING if status.state is JobState.RUNNING else Stage.SUCCEEDED, status.message)
        return status

    def collect(self, run: Run, *, feed: str) -> list[list[str]]:
        """Bring the run's report home and publish it. If it is abandoned, say what to read instead.

        Returns:
            Chunks of the vehicles to read with the feed's ``details``: those that the report names; without a report all.

        Raises:
            JobPending: not finished yet.
            JobFailed: the vendor lost it or failed; a retry asks anew.
            ConfigError: none was asked for; or it is abandoned and cannot be done without.
        """
        job = self._job(run, feed)
        if job.stage is Stage.ABANDONED:
            return self._parts.chunks(self._without(job))
        pages = self._parts.raw.pages(self._place(job))
        if not pages:
            status = self.poll(run, feed=feed)
            if not status.state.is_terminal:
                raise JobPending("the report is not ready yet", where=str(job.key))
            if status.page is None:
                raise JobFailed(
                    f"the report ended as {status.state.value}: {status.message}",
                    where=str(job.key),
                    remedy="the next try asks for a new report",
                )
            pages = commit_report(self._parts.raw, self._read(job), status.page).pages
        return self._parts.chunks(self._publish(run, job, Extracted(self._read(job), pages)))

    def prove(self, run: Run) -> list[str]:
        """Prove tables that a report would have proven, where every vehicle was read without it.

        Returns:
            The tables proven by this call.
        """
        proven = []
        everyone = self._everyone()
        warehouse, account = self._parts.warehouse, self._parts.account.name
        for feed in self._parts.room.feeds.values():
            if feed.kind is not Kind.REPORT or not feed.details or not everyone:
                continue
            holes = [table for table in self._proven_by(feed) if warehouse.missing(account, table, [FLEET], run.window)]
            others = self._only_in_details(feed)
            if not holes or not others or not self._source.feeds[feed.name].details_suffice:
                continue
            known = [warehouse.covered(account, table, everyone, run.window) for table in others]
            if any(unproven(intervals, run.window) for scopes in known for intervals in scopes.values()):
                continue
            read = [item.fetched_at for scopes in known for items in scopes.values() for item in items if item.fetched_at]
            words = f"details: {feed.details} was read for each of {len(everyone)} vehicles"
            self._parts.record_coverage(
                self._interval(table, FLEET, run, State.COMPLETE, words, min(read, default=None)) for table in holes
            )
            proven += holes
        return proven

    def reap(self) -> list[Job]:
        """Bring jobs to their end that nobody else will: those older than the vendor remembers reports.

        What is home but not published is published. What may never have been sent, or whose token is dead, is given up, and
        its window becomes a hole of the ledger.

        Returns:
            The jobs, as they are now.
        """
        life_s = {feed.name: feed.job_life_s for feed in self._parts.room.feeds.values() if feed.kind is Kind.REPORT}
        reaped = []
        for found in self._table.overdue(self._parts.account.name, life_s):
            with self._table.alone(found.key):  # whoever is just asking goes first
                job = self._table.get(found.job_id)
                if job.stage.is_open:
                    self._reap(job)
            reaped.append(self._table.get(found.job_id))
        return reaped

    # --- parts ----------------------------------------------------------------------------------------------------------

    @property
    def _table(self) -> JobTable:
        return JobTable(self._parts.warehouse)

    @property
    def _source(self) -> ReportSource:
        source: Any = self._parts.source
        if not hasattr(source, "submit"):
            raise ConfigError(f"vendor {self._parts.account.vendor!r} has no asynchronous reports")
        result: ReportSource = source
        return result

    def _job(self, run: Run, feed: str) -> Job:
        job = self._table.latest(JobKey.of(run, feed))
        if job is None:
            raise ConfigError(f"{feed}: this run has asked for no report", where=str(run.window), remedy="ask first")
        return job

    @staticmethod
    def _is_asked_anew(job: Job, run: Run) -> bool:
        """A job that is over answers retries of the run that asked. A failed one answers nobody."""
        if job.stage.is_open:
            return False
        return job.stage in (Stage.FAILED, Stage.LOST) or job.clears != run.clears

    def _send(self, source: ReportSource, desk: Desk, job: Job) -> None:
        """Send the one request, and write down what is known of its outcome before anything else."""
        try:
            token = source.submit(job.key.feed, job.key.window, lambda: desk.sending(job))
        except FleetlakeError as error:
            now = self._table.get(job.job_id)
            if now.stage is not Stage.SENDING:
                raise  # before anything was sent
            if isinstance(error, VendorUnavailable) and not error.was_sent:
                desk.not_sent(job)
                raise
            if isinstance(error, Fatal | RateLimited):
                self._close(job, Stage.FAILED, f"refused: {error.message}")
                raise
            self._close(job, Stage.ABANDONED, f"{_UNKNOWN}: {error.message}")
            return
        desk.asked(job, token)
        log.info("job %d: asked for report %s", job.job_id, token)

    def _close(self, job: Job, stage: Stage, words: str) -> None:
        """The job ends without a report: its window is a hole."""
        # The ledger first: a crash in between leaves an open job, which comes by here again.
        self._note(job, State.FAILED, f"job {job.job_id} {stage.value}: {words}", everyone=True)
        self._table.move(job, stage, words)

    def _reap(self, job: Job) -> None:
        pages = self._parts.raw.pages(self._place(job)) if job.token else []
        if pages:
            try:
                self._publish(_run_of(job, self._parts), job, Extracted(self._read(job), pages))
            except BatchHeld as error:
                self._table.move(job, Stage.COLLECTED, f"home, but held: {error.message}")
            except FleetlakeError as error:
                log.warning("job %d is home but cannot be published now: %s", job.job_id, error)
        elif job.stage is Stage.INTENDED:
            self._close(job, Stage.ABANDONED, "nothing was sent, and nobody came back to send it")
        elif job.stage is Stage.SENDING:
            self._close(job, Stage.ABANDONED, f"{_UNKNOWN}, and nobody came back")
        else:
            self._close(job, Stage.LOST, "nobody collected it while the vendor remembered it")

    def _publish(self, run: Run, job: Job, report: Extracted) -> list[str]:
        """Publish a report that is home, and close the job; returns the vehicles it names."""
        feed = report.read.feed
        summary = Summary()
        for table in feed.datasets:
            self._parts.publisher.publish(run, feed, self._parts.contracts[table], [report], summary)
        log.info("published %s", summary.as_dict())
        named = self._named(run, feed, report) if feed.details else []
        self._table.move(job, Stage.COLLECTED)
        return named

    def _without(self, job: Job) -> list[str]:
        """All vehicles: together their details tell what the report would have told."""
        feed = self._source.feeds[job.key.feed]
        if not feed.details or not feed.details_suffice:
            raise ConfigError(
                f"job {job.job_id} is abandoned ({job.words}), and nothing else tells the same",
                where=str(job.key),
                remedy="clear the run: it asks anew; or, for RCS, leave `severity` of the connection empty",
            )
        return self._everyone()

    def _everyone(self) -> list[str]:
        return sorted(str(row[scope_column(self._vehicles.contract)]) for row in self._vehicles.rows())

    def _place(self, job: Job) -> ReadKey:
        return key_of(self._parts.account, self._parts.feed(job.key.feed), FLEET, job.key.window, f"job-{job.token}")

    def _read(self, job: Job) -> Read:
        return Read(feed=self._parts.feed(job.key.feed), key=self._place(job))

    def _proven_by(self, feed: Feed) -> list[str]:
        """The report's tables, of which it is the report that proves them."""
        return [table for table in feed.datasets if self._parts.contracts[table].feed == feed.name]

    def _only_in_details(self, feed: Feed) -> list[str]:
        if not feed.details:
            return []
        return [table for table in self._parts.feed(feed.details).datasets if table not in feed.datasets]

    def _note(self, job: Job, state: State, proof: str, *, everyone: bool = False) -> None:
        """Tell the ledger about a window without an answer; of the details, too, where nobody is going to read them."""
        feed = self._parts.feed(job.key.feed)
        run = _run_of(job, self._parts)
        places = [(table, FLEET) for table in self._proven_by(feed)]
        if everyone:
            places += [(table, scope) for table in self._only_in_details(feed) for scope in self._everyone()]
        now = dt.datetime.now(dt.UTC)
        self._parts.record_coverage(self._interval(table, scope, run, state, proof, now) for table, scope in places)

    def _interval(self, table: str, scope: str, run: Run, state: State, proof: str, at: dt.datetime | None) -> Interval:
        return Interval(
            account=self._parts.account.name,
            dataset=table,
            scope=scope,
            window=run.window,
            state=state,
            proof=proof,
            fetched_at=at,
            run_id=run.run_id,
        )

    def _named(self, run: Run, feed: Feed, report: Extracted) -> list[str]:
        """Vehicles the report names; the others are recorded as having nothing for the details' own datasets."""
        own = self._only_in_details(feed)
        column = scope_column(self._parts.contracts[own[0]])
        contract = self._parts.contracts[feed.datasets[0]]
        values, are_all = self._parts.publisher.values(contract, report, column)
        named = {str(value) for value in values}
        last = report.pages[-1]
        if not are_all:
            # A row hides its vehicle: nobody may be called silent, so all are asked.
            log.warning("%s: a row of the report does not say its vehicle: all vehicles are read", contract.table)
            return sorted(set(self._vehicles.chosen(run)))
        self._parts.record_coverage(
            [
                Interval(
                    account=self._parts.account.name,
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
                for scope in sorted(set(self._everyone()) - named)
            ]
        )
        return sorted(named & set(self._vehicles.chosen(run)))


def _run_of(job: Job, parts: Parts) -> Run:
    """The run that asked, as far as its job tells."""
    key = job.key
    return Run(
        account=parts.account,
        dag_id=key.dag_id,
        run_id=key.run_id,
        window=key.window,
        lane=Lane(job.lane),
        clears=job.clears,
    )
