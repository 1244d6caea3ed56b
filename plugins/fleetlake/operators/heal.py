"""Self-healing as a DAG: of each account plan what can be mended, mend it in parallel, close."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import CronTriggerTimetable, Param

from fleetlake.accounts import Account, load_accounts
from fleetlake.errors import ConfigError
from fleetlake.operators.alerts import tell
from fleetlake.operators.base import FleetOperator, find_account
from fleetlake.operators.wiring import house_args
from fleetlake.reading import Lane
from fleetlake.settings import Settings
from fleetlake.window import Window, utc

if TYPE_CHECKING:
    from airflow.sdk import Context

    from fleetlake.pipeline import Pipeline
    from fleetlake.pipeline.run import Run

SWITCH = "FLEETLAKE_SELF_HEAL"
"""Environment variable: ``off`` creates the DAG paused. Whoever is there already stays as people have set it."""


class HealingOperator(FleetOperator):
    """A task of self-healing: about an account, but about no window of its own."""

    def is_meant(self, context: Mapping[str, Any]) -> bool:
        """The run is about this account: about all of them, unless its param names one."""
        named = (context.get("params") or {}).get("account")
        if named in (None, "", self.account):
            return True
        self.log.info("this run is about account %s", named)
        return False

    @contextmanager
    def pipeline(self, context: Mapping[str, Any]) -> Iterator[tuple[Pipeline, Run]]:
        """The pipeline of this task's account, and the run; the run's window stands for none.

        Raises:
            ConfigError: unknown account.
        """
        from fleetlake.hooks import hook_for, settings_with_warehouse
        from fleetlake.pipeline import Pipeline
        from fleetlake.pipeline.run import Run

        settings = Settings.from_env()
        account = find_account(settings, self.account)
        run = Run(
            account=account,
            dag_id=context["ti"].dag_id,
            run_id=context["ti"].run_id,
            window=Window.day(account.start_date),
            lane=Lane.BACKFILL,
            try_number=context["ti"].try_number,
            clears=getattr(context["dag_run"], "clear_number", None) or 0,
        )
        with Pipeline(settings_with_warehouse(settings), account, lambda: hook_for(account).get_source(run.lane)) as opened:
            yield opened, run


class HealRedriveOperator(HealingOperator):
    """Judge again, from raw, what was set aside or held by another reading than today's."""

    def __init__(self, *, execution_timeout: timedelta | None = timedelta(minutes=30), **kwargs: Any) -> None:
        super().__init__(execution_timeout=execution_timeout, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Judge again and return what came of it; what could not be judged is told as a warning each."""
        if not self.is_meant(context):
            return {}
        from fleetlake.hooks import settings_with_warehouse
        from fleetlake.pipeline.redrive import redrive

        settings = Settings.from_env()
        report = redrive(settings_with_warehouse(settings), find_account(settings, self.account))
        self.log.info("%s", report)
        return report.as_dict()


class HealPlanOperator(HealingOperator):
    """Bring home reports nobody waits for, then turn the account's holes into the fewest requests that mend them.

    Returns one list of requests per task, at most the account's ``max_chunks`` of them.
    """

    def __init__(
        self,
        *,
        trigger_rule: str = "all_done",  # what could not be taken up keeps nothing from being planned
        execution_timeout: timedelta | None = timedelta(minutes=30),
        **kwargs: Any,
    ) -> None:
        super().__init__(trigger_rule=trigger_rule, execution_timeout=execution_timeout, **kwargs)

    def execute(self, context: Context) -> list[list[dict[str, Any]]]:
        """Plan; with the param ``again`` also what was given up."""
        params = context.get("params") or {}
        if not self.is_meant(context):
            return []
        with self.pipeline(context) as (pipeline, run):
            for job in pipeline.reap_jobs():
                self.log.info("report %s: %s", job.job_id, job.stage.value)
            tasks = pipeline.healing.plan(run, budget=params.get("requests"), everything=bool(params.get("again")))
        return [[item.as_dict() for item in task] for task in tasks]


class HealOperator(HealingOperator):
    """Carry out some of the planned requests.

    Args:
        requests: as ``HealPlanOperator`` returns them.
    """

    def __init__(
        self,
        *,
        requests: Sequence[Mapping[str, Any]],
        execution_timeout: timedelta | None = timedelta(hours=2),
        map_index_template: str | None = "{{ task.chunk }}",
        **kwargs: Any,
    ) -> None:
        super().__init__(execution_timeout=execution_timeout, map_index_template=map_index_template, **kwargs)
        self.requests = requests

    @property
    def chunk(self) -> str:
        """Name of the mapped task in the UI: what it asks for, and how much of it."""
        feeds = sorted({item["feed"] for item in self.requests})
        return f"{', '.join(feeds)} ({len(self.requests)})"

    def execute(self, context: Context) -> dict[str, int]:
        """Mend and return what came of it, in numbers."""
        from fleetlake.pipeline.heal import Request

        with self.pipeline(context) as (pipeline, run):
            done = pipeline.healing.heal(run, [Request.from_dict(item) for item in self.requests])
        self.log.info("%s", done)
        return done.as_dict()


class HealCloseOperator(HealingOperator):
    """Settle what is left, and tell people what was given up. Runs also when there was nothing to do, or something failed."""

    def __init__(
        self,
        *,
        trigger_rule: str = "all_done",
        execution_timeout: timedelta | None = timedelta(minutes=30),
        **kwargs: Any,
    ) -> None:
        super().__init__(trigger_rule=trigger_rule, execution_timeout=execution_timeout, **kwargs)

    def execute(self, context: Context) -> dict[str, int]:
        """Close and return what is left, in numbers. Fails when people could not be told: its next try tells them."""

        def announce(subject: str, message: str) -> None:
            tell(context, account=self.account, subject=subject, message=message)

        with self.pipeline(context) as (pipeline, run):
            done = pipeline.healing.close(run, announce)
        self.log.info("%s", done)
        return done.as_dict()


def heal_dag(dag_id: str, *, doc: str | None) -> dict[str, Any]:
    """Arguments for the ``DAG`` that mends holes: every hour, one run at a time.

    Args:
        dag_id: id of the DAG.
        doc: Markdown for the DAG's page.
    """
    switch = os.environ.get(SWITCH, "on")
    if switch not in ("on", "off"):
        raise ConfigError(f"{switch!r} is neither on nor off", where=SWITCH, remedy="write on or off")
    accounts = load_accounts(Settings.from_env().include)
    return {
        "dag_id": dag_id,
        "doc_md": doc,
        # Not at the full hour: nightly loads begin there.
        "schedule": CronTriggerTimetable("40 * * * *", timezone="UTC"),
        "start_date": utc(min(account.start_date for account in accounts)),
        "catchup": False,
        "max_active_runs": 1,
        "is_paused_upon_creation": switch == "off",
        "tags": ["extra", "fleet", "heal"],
        "params": {
            "account": Param(None, type=["null", "string"], title="Account", description="Only this one; empty = all."),
            "requests": Param(
                None,
                type=["null", "integer"],
                minimum=1,
                title="Requests",
                description="At most so many per account; empty = what the quota of backfills allows in 45 minutes.",
            ),
            "again": Param(False, type="boolean", title="Again", description="Try again what was given up."),
        },
        "default_args": house_args(),
    }


def all_accounts() -> list[Account]:
    """The accounts of ``include/accounts.yaml``, in its order."""
    return load_accounts(Settings.from_env().include)
