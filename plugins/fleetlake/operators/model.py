"""The fleet model as a DAG: built when a day was loaded, whichever vendor's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAny, BaseOperator, CronTriggerTimetable, Param, PartitionedAssetTimetable

from fleetlake.accounts import Account, load_accounts
from fleetlake.operators.wiring import assets, house_args
from fleetlake.settings import Settings
from fleetlake.window import utc

if TYPE_CHECKING:
    from airflow.sdk import Context

MARKERS: dict[str, tuple[str, ...]] = {
    "rcs": ("rcs.telemetry", "rcs.health_report"),
    "powunity": ("powunity.trip",),
    "omnicomm": ("omnicomm.consolidated_report",),
    "suivideflotte": ("suivideflotte.trip",),
    "omni_platform": ("omni_platform.event",),
}
"""Of each loading DAG that feeds the model the table whose asset says that a day is loaded: one event per day and DAG."""


class ModelOperator(BaseOperator):
    """Build schema ``fleet`` from what has changed since the last build; announces its tables' assets.

    What is built follows from the changes, not from the run's day: a run may find that the one before it has done the work.
    Returns what was done, in numbers. Asks no vendor, so it takes no slot of an account's pool.
    """

    def __init__(self, *, execution_timeout: timedelta | None = timedelta(hours=6), **kwargs: Any) -> None:
        kwargs.setdefault("pool", "default_pool")
        super().__init__(execution_timeout=execution_timeout, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Build; with the param ``full`` every vehicle-day anew."""
        # Here and not at the top: DAG files import this module.
        from fleetlake import fleet
        from fleetlake.hooks import settings_with_warehouse

        report = fleet.build(
            settings_with_warehouse(Settings.from_env()),
            full=bool((context.get("params") or {}).get("full")),
            on_progress=lambda done, left: self.log.info("%d vehicle-days built, %d entries of the queue left", done, left),
        )
        self.log.info("%s", report)
        for asset in self.outlets:
            context["outlet_events"][asset].extra.update(build_id=report.build_id, units=report.units)
        return report.as_dict()


def model_dag(dag_id: str, *, doc: str | None, tags: Iterable[str] = (), at: str | None = None) -> dict[str, Any]:
    """Arguments for a ``DAG`` that builds the model.

    It runs for a day as soon as any loading DAG has certified that day, so one vendor that fails holds up no other. Events of
    a day that come together make one run. Runs follow one another. A manual run needs no partition key.

    Args:
        dag_id: id of the DAG.
        doc: Markdown for the DAG's page.
        tags: tags.
        at: cron expression, UTC: run at these times instead, whatever was certified.
    """
    accounts = load_accounts(Settings.from_env().include)
    return {
        "dag_id": dag_id,
        "doc_md": doc,
        "schedule": CronTriggerTimetable(at, timezone="UTC")
        if at
        else PartitionedAssetTimetable(assets=AssetAny(*marker_assets(accounts))),
        "start_date": utc(min(account.start_date for account in accounts)),
        "catchup": False,
        "max_active_runs": 1,
        "tags": sorted({"fleet", *tags}),
        "params": {
            "full": Param(
                False,
                type="boolean",
                title="Full build",
                description="Build every vehicle-day anew. Rows that are right already stay as they are.",
            )
        },
        "default_args": house_args(),
    }


def marker_assets(accounts: Iterable[Account]) -> list[Asset]:
    """The assets whose events start the model: of each account one per loading DAG that feeds it."""
    return [asset for account in accounts for asset in assets(account, MARKERS.get(account.vendor, ()))]


def fleet_assets(tables: Iterable[str]) -> list[Asset]:
    """One asset per table of schema ``fleet``: name ``fleet.trip``."""
    return [Asset(table, f"fleetlake://{table.replace('.', '/')}") for table in tables]
