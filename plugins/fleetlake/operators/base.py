"""What all operators share: the account, the run, and the pipeline they hand over to."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from fleetlake.accounts import Account, load_accounts
from fleetlake.errors import ConfigError
from fleetlake.reading import Lane
from fleetlake.settings import Settings
from fleetlake.window import window_for

if TYPE_CHECKING:
    from fleetlake.pipeline import Pipeline
    from fleetlake.pipeline.run import Run


class FleetOperator(BaseOperator):
    """A task about one account.

    Args:
        account: name of the account in ``include/accounts.yaml``; looked up when the task runs.
    """

    def __init__(self, *, account: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account

    @contextmanager
    def pipeline(self, context: Mapping[str, Any]) -> Iterator[tuple[Pipeline, Run]]:
        """The pipeline of this task's account, and the run that the task belongs to.

        Raises:
            ConfigError: unknown account, or params that contradict each other.
            NoWindow: the run has neither a partition nor an explicit window.
        """
        # Here and not at the top: DAG files import this module, and the pipeline brings Arrow and pandas along.
        from fleetlake.hooks import hook_for, settings_with_warehouse
        from fleetlake.pipeline import Pipeline

        settings = Settings.from_env()
        account = find_account(settings, self.account)
        run = run_of(context, account)
        self.log.info("Account %s (%s), window %s, lane %s", account.name, account.vendor, run.window, run.lane.value)
        with Pipeline(settings_with_warehouse(settings), account, lambda: hook_for(account).get_source(run.lane)) as opened:
            yield opened, run


def find_account(settings: Settings, name: str) -> Account:
    """The account called ``name``.

    Raises:
        ConfigError: there is none; names the near match.
    """
    accounts = {account.name: account for account in load_accounts(settings.include)}
    if name in accounts:
        return accounts[name]
    near = difflib.get_close_matches(name, accounts, 1)
    raise ConfigError(
        f"there is no account {name!r}",
        where=str(settings.include / "accounts.yaml"),
        remedy=f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(accounts)}",
    )


def run_of(context: Mapping[str, Any], account: Account) -> Run:
    """The run that a task context belongs to.

    Backfills use the backfill lane; only scheduled runs continue streams where they stopped, all others read their window.

    Raises:
        ConfigError: a backfill with an explicit window, which would load the same window once per day.
        NoWindow: the run has neither a partition nor an explicit window.
    """
    from fleetlake.pipeline.run import Run

    params = context.get("params") or {}
    run_type = str(getattr(context["dag_run"].run_type, "value", context["dag_run"].run_type))
    if run_type == "backfill" and (params.get("window_start") or params.get("window_end")):
        raise ConfigError(
            "a backfill cannot have an explicit window: each of its runs has its own day",
            where="params window_start and window_end",
            remedy="give the range as the backfill's from and to dates",
        )
    window = window_for(context)
    return Run(
        account=account,
        dag_id=context["ti"].dag_id,
        run_id=context["ti"].run_id,
        window=window,
        lane=Lane.BACKFILL if run_type == "backfill" else Lane.SCHEDULED,
        partition=context.get("partition_key"),
        vehicles=tuple(params.get("vehicles") or ()),
        datasets=tuple(params.get("datasets") or ()),
        force=bool(params.get("force") or params.get("believe")),
        believe=bool(params.get("believe")),
        mode="stream" if run_type == "scheduled" else "window",
        try_number=context["ti"].try_number,
        clears=getattr(context["dag_run"], "clear_number", None) or 0,
    )
