"""Backfills while the schedule is on, by Airflow's own command and by ours: they end, equal truth, and keep to the pool."""

from __future__ import annotations

import datetime as dt
import json
import signal

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


def test_fleetlake_backfill_prices_loads_and_proves_the_other_dags(living):
    """`fleetlake backfill` from price to proof: two vendors, three DAGs, two accounts of one vendor."""
    first = YESTERDAY - dt.timedelta(days=1)
    bikes = [f"powunity.{name}" for name in ("position", "event", "trip", "stop", "summary")]
    health = ["rcs.health_report", "rcs.trouble"]
    options = [word for table in [*bikes, *health] for word in ("--dataset", table)]
    options += ["--from", str(first), "--to", str(YESTERDAY)]
    plans = {plan["dag_id"]: plan for plan in map(json.loads, living.command("plan", *options, "--json").splitlines())}
    assert set(plans) == {"rcs_health_reports", "powunity_trips", "powunity_trips__south"}
    assert plans["powunity_trips"]["command"].startswith("airflow backfill create --dag-id powunity_trips ")
    shown = living.command("backfill", *options, "--yes", "--unpause", timeout=900)
    assert "powunity_trips: Airflow would make 2 runs" in shown
    for table in [*bikes, *health]:
        assert f"{table}: " in shown
    assert "hole:" not in shown
    for table in health:
        living.assert_equals_truth(table, "main", "main", first, YESTERDAY)
    for account in ("north", "south"):
        for table in bikes:
            living.assert_equals_truth(table, account, account, first, YESTERDAY)
    assert "nothing to read" in living.command("backfill", *options, "--yes"), "all is proven: Airflow is not even asked"


def test_ctrl_c_leaves_the_backfill_running_and_follow_attaches_to_it(living):
    day = YESTERDAY - dt.timedelta(days=3)
    options = ["--dataset", "powunity.summary", "--account", "north", "--from", str(day), "--to", str(day)]
    slow = {"kind": "slow", "vendor": "powunity", "path": "*/devices", "seconds": 10}
    living.sandbox("PUT", "/faults", json=[slow])
    following = living.start("backfill", *options, "--yes", "--unpause")
    try:
        until("no backfill is made", lambda: living.api.running_backfill("powunity_trips"), 120)
        found = living.api.running_backfill("powunity_trips")
        until("it is not followed", lambda: "0 of 1 days" in following.stderr_text(), 120)
        following.send_signal(signal.SIGINT)
        assert following.wait(60) == 130
        assert f"fleetlake backfill --follow {found['id']}" in following.stderr_text()
    finally:
        following.kill()
        living.sandbox("DELETE", "/faults")
    shown = living.command("backfill", "--follow", str(found["id"]), timeout=600)
    assert "powunity.summary: " in shown
    assert "hole:" not in shown
    living.assert_equals_truth("powunity.summary", "north", "north", day, day)
