"""Waits until RCS has finished a report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from fleetlake.errors import FleetlakeError, Retriable
from fleetlake.reading import JobState, JobStatus, Lane

if TYPE_CHECKING:
    from fleetlake.reading import ReportSource

FIRST_POLL_S = 3.0
"""Pause before the first poll. Not 0: an event that fires while Airflow still notices the end of the task's first part is
lost, and the try with it."""
MIN_POLL_S, MAX_POLL_S, GROWTH = 2.0, 15.0, 1.5


class RcsReportTrigger(BaseTrigger):
    """Polls a report's token, fires one event, and ends.

    The event is ``{"status": …, "token": …, "message": …}``; the report itself is fetched by the worker. Status:

    ============  ======================================================================================
    success       finished; fetch it
    error         the job failed, or the vendor does not know the token any more: ask anew
    timeout       not finished at the deadline; the token stays good
    unreadable    polling is refused (credentials, version): the worker polls once more and says why
    ============  ======================================================================================

    Args:
        account: name of the account, for the log.
        conn_id: its Airflow connection.
        feed: the report's feed.
        token: what the vendor answered when the report was asked for.
        lane: priority at the vendor's quota.
        deadline: when to stop waiting, seconds since the epoch (a wall clock: it must survive a move to another machine).
        first_poll_s: pause before the first poll.
    """

    def __init__(
        self,
        *,
        account: str,
        conn_id: str,
        feed: str,
        token: str,
        lane: str,
        deadline: float,
        first_poll_s: float = FIRST_POLL_S,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.account = account
        self.conn_id = conn_id
        self.feed = feed
        self.token = token
        self.lane = lane
        self.deadline = deadline
        self.first_poll_s = first_poll_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, JSON only."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "account": self.account,
            "conn_id": self.conn_id,
            "feed": self.feed,
            "token": self.token,
            "lane": self.lane,
            "deadline": self.deadline,
            "first_poll_s": self.first_poll_s,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the job has ended or the deadline has passed; then fire."""
        try:
            status, message = await self._wait()
        except FleetlakeError as error:
            status, message = "unreadable", str(error)
        self.log.info("Report %s of account %s: %s %s", self.token, self.account, status, message)
        yield TriggerEvent({"status": status, "token": self.token, "message": message})  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """RCS cannot cancel a report: say so and let it expire."""
        self.log.info("Report %s of account %s is left to expire: RCS has no way to cancel it", self.token, self.account)

    async def _open(self) -> ReportSource:
        from fleetlake.hooks.rcs import RcsHook

        hook = await RcsHook.aload(self.conn_id)
        return await asyncio.to_thread(hook.get_source, Lane(self.lane))

    async def _wait(self) -> tuple[str, str]:
        source = await self._open()
        try:
            pause, next_pause, message = self.first_poll_s, MIN_POLL_S, "still running"
            while True:
                # The last poll comes at the deadline itself, not an interval before it.
                await asyncio.sleep(max(0.0, min(pause, self.deadline - time.time())))
                try:
                    # The client is synchronous; in a thread it holds up no other trigger.
                    status: JobStatus = await asyncio.to_thread(source.poll, self.feed, self.token)
                except Retriable as error:
                    message = str(error)
                    self.log.warning("Polling failed, going on: %s", message)
                    next_pause = max(next_pause, error.retry_after or 0.0)
                else:
                    if status.state is JobState.SUCCEEDED:
                        return "success", status.message
                    if status.state.is_terminal:
                        return "error", status.message or f"the report is {status.state.value}"
                if time.time() >= self.deadline:
                    return "timeout", message
                pause, next_pause = next_pause, min(max(next_pause, MIN_POLL_S) * GROWTH, MAX_POLL_S)
        finally:
            await asyncio.to_thread(source.close)
