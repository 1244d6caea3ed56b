"""RCS health reports: ask once, wait without a worker, collect."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fleetlake.errors import JobFailed, JobPending
from fleetlake.operators.base import FleetOperator, find_account
from fleetlake.settings import Settings
from fleetlake.triggers.rcs import FIRST_POLL_S, RcsReportTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

JOB = "report_job"
"""Key in the task's state store: ``{"token": …, "window": …}`` of the report asked for and not collected yet."""


class RcsHealthReportOperator(FleetOperator):
    """Ask RCS for the overview of all health reports of the window, wait for it in the triggerer, collect it.

    RCS answers the request with a token and cannot list or cancel jobs, so the token is all there is. It is kept in the
    task's state store from the moment it is known until the report is in raw: a worker or triggerer that dies in between
    costs nothing, the next try attaches to the same report. It is forgotten when the report is collected, or dead at the
    vendor: a run that is cleared afterwards asks anew. Returns chunks of the vehicles that the report names.

    Args:
        feed: the report's feed.
        details: per-vehicle feed that completes the report.
        timeout_s: how long to wait for the report in one try. The token outlives it.
        first_poll_s: pause before the first poll, see ``fleetlake.triggers.rcs``.
    """

    def __init__(
        self,
        *,
        feed: str = "health_overview",
        details: str = "health_reports",
        timeout_s: float = 1800,
        first_poll_s: float = FIRST_POLL_S,
        execution_timeout: timedelta | None = timedelta(minutes=30),
        **kwargs: Any,
    ) -> None:
        super().__init__(execution_timeout=execution_timeout, **kwargs)
        self.feed = feed
        self.details = details
        self.timeout_s = timeout_s
        self.first_poll_s = first_poll_s

    def execute(self, context: Context) -> None:
        """Ask for the report, unless an earlier try did, and defer."""
        store = context["task_state_store"]
        with self.pipeline(context) as (pipeline, run):
            job = store.get(JOB)
            if isinstance(job, dict) and job.get("window") == str(run.window):
                token = str(job["token"])
                self.log.info("Attaching to report %s, asked for by an earlier try", token)
            else:
                token = pipeline.submit(run, feed=self.feed)
                # Nothing may come between these two lines: a crash here costs a second request.
                store.set(JOB, {"token": token, "window": str(run.window)})
                self.log.info("Asked for report %s", token)
            lane = run.lane
        self.defer(
            trigger=RcsReportTrigger(
                account=self.account,
                conn_id=find_account(Settings.from_env(), self.account).conn_id,
                feed=self.feed,
                token=token,
                lane=lane.value,
                deadline=time.time() + self.timeout_s,
                first_poll_s=self.first_poll_s,
            ),
            method_name="collect",
            # A net below the trigger's own deadline, for the case that no triggerer runs.
            timeout=timedelta(seconds=self.timeout_s * 2 + 60),
        )

    def collect(self, context: Context, event: Mapping[str, Any] | None) -> list[list[str]]:
        """Load the finished report.

        Raises:
            JobFailed: the report is dead at the vendor; a retry asks anew.
            JobPending: it is not finished yet; a retry attaches to it again.
        """
        status, token, message = _checked(event)
        store = context["task_state_store"]
        if status == "timeout":
            raise JobPending(
                f"report {token} is not finished after {self.timeout_s:.0f} s: {message}",
                remedy="the next try waits for the same report",
            )
        try:
            if status == "error":
                raise JobFailed(f"report {token} failed: {message}", remedy="the next try asks for a new report")
            with self.pipeline(context) as (pipeline, run):
                chunks = pipeline.collect(run, feed=self.feed, token=token, details=self.details)
        except JobFailed:
            store.delete(JOB)
            raise
        store.delete(JOB)  # else a run that is cleared later would return this report again
        return chunks

    def on_kill(self) -> None:
        """RCS cannot cancel a report. The token stays: if the task runs again, it attaches to the report."""
        self.log.info("Killed. RCS has no way to cancel a report; if one was asked for, the next try attaches to it")


def _checked(event: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if event is None or event.get("status") not in ("success", "error", "timeout", "unreadable") or not event.get("token"):
        raise RuntimeError(f"the trigger fired an event that is none of ours: {event!r}")
    return str(event["status"]), str(event["token"]), str(event.get("message") or "")
