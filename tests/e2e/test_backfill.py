"""A backfill made by Airflow's own command while the schedule is on: it ends, equals truth, and keeps to the pool."""

from __future__ import annotations

import datetime as dt

import pytest
from fleetlake.accounts import load_accounts

from tests.e2e.living import YESTERDAY, until

DAYS = 14
pytestmark = pytest.mark.timeout(1500)


def scheduled(living, dag_id):
    """Runs of the schedule for yesterday."""
    runs = living.api.runs([dag_id])
    return [run for run in runs if run["run_type"] == "scheduled" and run["partition_key"] == str(YESTERDAY)]


def test_fourteen_days_of_telemetry_beside_the_schedule(living):
    first = YESTERDAY - dt.timedelta(days=DAYS - 1)
    living.sandbox("DELETE", "/log")
    living.api.set_paused("rcs_telemetry", False)
    until("the schedule has made no run for yesterday", lambda: scheduled(living, "rcs_telemetry"), 180)
    living.airflow(
        "backfill", "create", "--dag-id", "rcs_telemetry", "--from-date", str(first), "--to-date", str(YESTERDAY),
        "--max-active-runs", "3",
    )  # fmt: skip
    days = [first + dt.timedelta(days=number) for number in range(DAYS)]
    runs = living.wait_for_runs("rcs_telemetry", days, 900)
    assert {run["run_type"] for run in runs} == {"scheduled", "backfill"}
    assert sorted(run["partition_key"] for run in runs) == [str(day) for day in days], "one run per day"
    living.assert_equals_truth("rcs.telemetry", "main", "main", first, YESTERDAY)
    account = next(account for account in load_accounts(living.stack.settings.include) if account.vendor == "rcs")
    stats = living.sandbox("GET", "/stats")["rcs"]["main"]
    assert 0 < stats["max_in_flight"] <= account.pool_slots
    assert [entry for entry in living.requests_log() if entry["status"] == 429] == []
    holes = living.sql("SELECT * FROM ops.hole WHERE dataset = 'rcs.telemetry'")
    assert holes == []


def test_backfills_of_the_other_dags_equal_truth(living):
    first = YESTERDAY - dt.timedelta(days=1)
    for dag_id in ("rcs_health_reports", "powunity_trips", "powunity_trips__south"):
        living.api.set_paused(dag_id, False)
        living.airflow(
            "backfill", "create", "--dag-id", dag_id, "--from-date", str(first), "--to-date", str(YESTERDAY),
            "--max-active-runs", "2",
        )  # fmt: skip
    for dag_id in ("rcs_health_reports", "powunity_trips", "powunity_trips__south"):
        living.wait_for_runs(dag_id, [first, YESTERDAY], 600)
    for table in ("rcs.health_report", "rcs.trouble"):
        living.assert_equals_truth(table, "main", "main", first, YESTERDAY)
    for account in ("north", "south"):
        for name in ("position", "event", "trip", "stop", "summary"):
            living.assert_equals_truth(f"powunity.{name}", account, account, first, YESTERDAY)
