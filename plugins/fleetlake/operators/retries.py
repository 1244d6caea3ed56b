"""What happens after an error: the groups of ``fleetlake.errors`` as an Airflow retry policy, and words for the log."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import RetryAction, RetryDecision, RetryPolicy

from fleetlake.errors import BatchHeld, Fatal, FleetlakeError

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class FleetRetryPolicy(RetryPolicy):
    """One policy for all tasks.

    ====================================  ================================================================
    error                                 decision
    ====================================  ================================================================
    ``Fatal``                             fail now: a person mends the configuration
    ``BatchHeld``                         fail now: a person looks at the data, raw keeps it
    ``Retriable`` with ``retry_after``    try again after that time, however long ``retry_delay`` is
    everything else                       the task's own ``retries`` and ``retry_delay``
    ====================================  ================================================================

    Airflow stores only that a task has a policy, never the policy itself, so there is nothing to serialize.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - the signature is Airflow's
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Decide; the reason holds the error's remedy and is logged and shown with the task."""
        if not isinstance(exception, FleetlakeError):
            return RetryDecision.default()
        reason = f"{type(exception).__name__}: {exception}"
        if isinstance(exception, Fatal | BatchHeld):
            return RetryDecision.fail(reason)
        wait = getattr(exception, "retry_after", None)
        if wait is not None:
            return RetryDecision.retry(timedelta(seconds=max(1.0, wait)), reason)
        return RetryDecision(RetryAction.DEFAULT, reason=reason)


def log_failure(context: Context) -> None:
    """``on_failure_callback``: after the last try, say what failed, what it was about, and what to do."""
    ti, error = context["ti"], context.get("exception")
    remedy = (
        getattr(error, "remedy", None) or "read the log above; raw pages fetched so far are kept and are not asked for again"
    )
    log.error(
        "%s failed for good in run %s (partition %s): %s. What to do: %s. "
        "Then clear the task: finished vehicles are not loaded twice.",
        f"{ti.dag_id}.{ti.task_id}",
        ti.run_id,
        context.get("partition_key") or "none",
        getattr(error, "message", error),
        remedy,
    )
