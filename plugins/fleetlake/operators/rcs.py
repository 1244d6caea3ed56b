"""RCS health reports: ask once, wait without a worker, collect."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fleetlake.errors import JobPending
from fleetlake.operators.base import FleetOperator, find_account
from fleetlake.settings import Settings
from fleetlake.triggers.rcs import FIRST_POLL_S, RcsReportTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class RcsHealthReportOperator(FleetOperator):
    """Ask RCS for the overview of all health reports of the window, wait for it in the triggerer, collect it.

    A thin skin over ``Pipeline.ask`` and ``Pipeline.collect``: what was asked for stands in ``ops.job``, so a worker or
    triggerer that dies costs no second request. A run that is cleared after its report was collected asks anew. Returns
    chunks of the vehicles that the report names; of all vehicles, when there is no knowing whether RCS took the request.

    Args:
        feed: the report's feed.
        timeout_s: how long to wait for the report in one try. The report outlives it.
        first_poll_s: pause before the first poll, see ``fleetlake.triggers.rcs``.
    """

    def __init__(
        self,
        *,
        feed: str = "health_overview",
        timeout_s: float = 1800,
        first_poll_s: float = FIRST_POLL_S,
        execution_timeout: timedelta | None = timedelta(minutes=30),
        **kwargs: Any,
    ) -> None:
        super().__init__(execution_timeout=execution_timeout, **kwargs)
        self.feed = feed
        self.timeout_s = timeout_s
        self.first_poll_s = first_poll_s

    def execute(self, context: Context) -> list[list[str]] | None:
        """Ask for the report, unless an earlier try did, and defer; without a report to wait for, collect at once."""
        with self.pipeline(context) as (pipeline, run):
            job = pipeline.ask(run, feed=self.feed)
            if not job.stage.is_open:
                return pipeline.collect(run, feed=self.feed)
            lane = run.lane
        self.defer(
            trigger=RcsReportTrigger(
                account=self.account,
                conn_id=find_account(Settings.from_env(), self.account).conn_id,
                feed=self.feed,
                token=str(job.token),
                lane=lane.value,
                deadline=time.time() + self.timeout_s,
                first_poll_s=self.first_poll_s,
            ),
            method_name="collect",
            # A net below the trigger's own deadline, for the case that no triggerer runs.
            timeout=timedelta(seconds=self.timeout_s * 2 + 60),
        )
        return None

    def collect(self, context: Context, event: Mapping[str, Any] | None) -> list[list[str]]:
        """Load the report, whatever the trigger has seen of it: the vendor is asked once more.

        Raises:
            JobFailed: the report is dead at the vendor; a retry asks anew.
            JobPending: it is not finished yet; a retry attaches to it again.
        """
        status, token, message = _checked(event)
        if status == "timeout":
            raise JobPending(
                f"report {token} is not finished after {self.timeout_s:.0f} s: {message}",
                remedy="the next try waits for the same report",
            )
        if status == "error":
            self.log.warning("Report %s: %s", token, message)
        with self.pipeline(context) as (pipeline, run):
            return pipeline.collect(run, feed=self.feed)

    def on_kill(self) -> None:
        """RCS cannot cancel a report. It stays in ``ops.job``: if the task runs again, it attaches to it."""
        self.log.info("Killed. RCS has no way to cancel a report; if one was asked for, the next try attaches to it")


def _checked(event: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if event is None or event.get("status") not in ("success", "error", "timeout", "unreadable") or not event.get("token"):
        raise RuntimeError(f"the trigger fired an event that is none of ours: {event!r}")
    return str(event["status"]), str(event["token"]), str(event.get("message") or "")
