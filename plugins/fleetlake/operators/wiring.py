"""The house rules of every DAG, so that a DAG file only wires."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, CronPartitionTimetable, Param

from fleetlake.accounts import Account, load_accounts
from fleetlake.operators.retries import FleetRetryPolicy, log_failure
from fleetlake.settings import Settings
from fleetlake.window import utc

_MOMENT = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?$"


def accounts_of(vendor: str) -> list[Account]:
    """The vendor's accounts in ``include/accounts.yaml``, in its order."""
    return [account for account in load_accounts(Settings.from_env().include) if account.vendor == vendor]


def day_dag(base: str, account: Account, *, doc: str | None, tags: Iterable[str] = ()) -> dict[str, Any]:
    """Arguments for a ``DAG`` that loads an account day by day.

    Scheduled at midnight UTC for the day before, whose date is the partition key. Manual runs take a partition key or the
    params ``window_start`` and ``window_end``.

    Args:
        base: DAG id of the vendor's first account.
        account: whose data.
        doc: Markdown for the DAG's page; a DAG file gives its docstring.
        tags: what the DAG loads; vendor and account are added.
    """
    return {
        "dag_id": account.dag_id(base),
        "doc_md": f"{doc or ''}\n\nAccount `{account.name}`, connection `{account.conn_id}`, pool `{account.pool}`.",
        "schedule": CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
        "start_date": utc(account.start_date),
        "catchup": False,
        "max_active_runs": 3,
        "tags": sorted({account.vendor, account.name, *tags}),
        "params": {
            "vehicles": Param(
                [],
                type="array",
                items={"type": "string", "minLength": 1},
                title="Vehicles",
                description="Only these, by any identity of the vehicle or device table; empty = all.",
            ),
            "datasets": Param(
                [],
                type="array",
                items={"type": "string", "minLength": 1},
                title="Datasets",
                description="Only these tables, for example powunity.trip; empty = all of this DAG.",
            ),
            "force": Param(
                False, type="boolean", title="Force", description="Ask the vendor again for what is already complete."
            ),
            "believe": Param(
                False,
                type="boolean",
                title="Believe",
                description="Ask again, and believe an answer that lacks half or more of what is known (or a list that shrank) if an"
                " earlier run got the same: its rows are then marked deleted.",
            ),
            "window_start": _moment(
                "Window start",
                "First moment to load, UTC, for a run without a partition key. Reports are read by whole days.",
            ),
            "window_end": _moment("Window end", "First moment not to load; the day 2026-01-05 ends at 2026-01-06."),
        },
        "default_args": {**house_args(), "account": account.name, "pool": account.pool},
    }


def house_args() -> dict[str, Any]:
    """Default arguments of every task: who owns it, and what happens after an error."""
    return {
        "owner": "fleetlake",
        "retries": 4,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=15),
        "retry_policy": FleetRetryPolicy(),
        "on_failure_callback": log_failure,
    }


def assets(account: Account, tables: Iterable[str]) -> list[Asset]:
    """One asset per table of an account: name ``rcs.telemetry@main``."""
    return [Asset(f"{table}@{account.name}", f"fleetlake://{table.replace('.', '/')}/{account.name}") for table in tables]


def _moment(title: str, description: str) -> Param:
    return Param(
        None,
        type=["null", "string"],
        pattern=_MOMENT,
        title=title,
        description=description,
        examples=["2026-01-05", "2026-01-05T06:00Z"],
    )
