"""Asynchronous reports: ask for one, look how it stands, bring it home."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fleetlake.coverage import Interval, State
from fleetlake.errors import ConfigError, JobFailed, JobPending
from fleetlake.pipeline.extract import Extracted, Read, commit_report
from fleetlake.pipeline.parts import Parts, scope_column
from fleetlake.pipeline.proof import until_fetched
from fleetlake.pipeline.publish import Summary
from fleetlake.pipeline.reads import key_of
from fleetlake.pipeline.vehicles import Vehicles
from fleetlake.reading import FLEET, Feed, JobState, JobStatus
from fleetlake.window import DAY

if TYPE_CHECKING:
    from fleetlake.pipeline.run import Run
    from fleetlake.reading import ReportSource

log = logging.getLogger(__name__)


class Jobs:
    """The asynchronous reports of one account.

    Args:
        parts: the account's.
        vehicles: the account's.
    """

    def __init__(self, parts: Parts, vehicles: Vehicles) -> None:
        self._parts = parts
        self._vehicles = vehicles

    def submit(self, run: Run, *, feed: str) -> str:
        """Ask the vendor for a report about the run's window; returns its token. Exactly one request is sent.

        Raises:
            ConfigError: the window is longer than the vendor allows.
        """
        limit = self._parts.feed(feed).max_days
        if limit is not None and run.window.end - run.window.start > limit * DAY:
            raise ConfigError(
                f"{feed}: the vendor allows {limit} days in one report, the window is {run.window}",
                where="params window_start, window_end",
                remedy="use a shorter window, or create a backfill: it makes a run per day",
            )
        return self._source.submit(feed, run.window)

    def poll(self, feed: str, token: str) -> JobStatus:
        """Ask the vendor once how a report stands."""
        return self._source.poll(feed, token)

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
        contract_feed = self._parts.feed(feed)
        read = Read(feed=contract_feed, key=key_of(self._parts.account, contract_feed, FLEET, run.window, f"job-{token}"))
        pages = self._parts.raw.pages(read.key)
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
            extracted = commit_report(self._parts.raw, read, status.page)
        summary = Summary()
        publisher = self._parts.publisher
        for table in contract_feed.datasets:
            publisher.publish(run, contract_feed, self._parts.contracts[table], [extracted], summary)
        log.info("published %s", summary.as_dict())
        if details is None:
            return []
        return self._parts.chunks(self._named(run, contract_feed, extracted, self._parts.feed(details)))

    @property
    def _source(self) -> ReportSource:
        source: Any = self._parts.source
        if not hasattr(source, "submit"):
            raise ConfigError(f"vendor {self._parts.account.vendor!r} has no asynchronous reports")
        result: ReportSource = source
        return result

    def _named(self, run: Run, feed: Feed, report: Extracted, details: Feed) -> list[str]:
        """Vehicles the report names; the others are recorded as having nothing for the details' own datasets."""
        own = [table for table in details.datasets if table not in feed.datasets]
        column = scope_column(self._parts.contracts[own[0]])
        contract = self._parts.contracts[feed.datasets[0]]
        values, are_all = self._parts.publisher.values(contract, report, column)
        named = {str(value) for value in values}
        everyone = {str(row[scope_column(self._vehicles.contract)]) for row in self._vehicles.rows()}
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
                for scope in sorted(everyone - named)
            ]
        )
        return sorted(named & set(self._vehicles.chosen(run)))
