"""kill -9 between POST and report: one POST at the vendor, one report loaded."""

from __future__ import annotations

import datetime as dt
import os
import signal

import psutil
import pytest

from tests.e2e.living import YESTERDAY, until

pytestmark = pytest.mark.timeout(900)


def posts(living, day):
    """Reports asked for about that day; the schedule asks for others at the same time."""
    return [entry for entry in living.requests_log() if entry["method"] == "POST" and f"from={day}" in entry["query"]]


def polls(living):
    return [
        entry for entry in living.requests_log() if entry["method"] == "GET" and "/vehicle-health/reports/" in entry["path"]
    ]


def task_process(living, task_instance_id):
    """The process that executes a try: a child of one of the executor's workers, named after the try."""
    scheduler = living.stack.processes.find("scheduler")
    for process in psutil.Process(scheduler.pid).children(recursive=True):
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if task_instance_id in title and "LocalExecutor" not in title:
            return process
    return None


def test_worker_killed_while_it_collects_attaches_to_the_same_report(living):
    day = YESTERDAY - dt.timedelta(days=5)
    living.sandbox("DELETE", "/log")
    living.api.set_paused("rcs_health_reports", False)
    # Polls are slow: the worker that collects the report is killed while it waits for the answer.
    living.sandbox(
        "PUT", "/faults", json=[{"kind": "slow", "vendor": "rcs", "path": "/vehicle-health/reports/*", "seconds": 6}]
    )
    run_id = living.trigger(
        "rcs_health_reports", conf={"window_start": str(day), "window_end": str(day + dt.timedelta(days=1))}
    )

    def collecting():
        tasks = living.api.tasks("rcs_health_reports", run_id)
        running = [task for task in tasks if task["task_id"] == "fetch_overview" and task["state"] == "running"]
        # A poll has been seen: the triggerer has waited, this worker is the one that collects.
        return running and posts(living, day) and polls(living) and task_process(living, running[0]["id"])

    seen = until("no worker runs fetch_overview after the POST", collecting, 120)
    os.kill(seen.pid, signal.SIGKILL)
    living.sandbox("DELETE", "/faults")
    until(
        lambda: f"run is {living.run('rcs_health_reports', run_id)['state']}",
        lambda: living.run("rcs_health_reports", run_id)["state"] in ("success", "failed"),
        300,
    )
    assert living.run("rcs_health_reports", run_id)["state"] == "success", living.failures("rcs_health_reports", run_id)
    assert len(posts(living, day)) == 1
    tries = next(t for t in living.api.tasks("rcs_health_reports", run_id) if t["task_id"] == "fetch_overview")["try_number"]
    assert tries >= 2, "the kill must have cost a try"
    loads = living.sql(f"SELECT load_id FROM ops.load WHERE feed = 'health_overview' AND run_id = '{run_id}'")
    assert len(loads) == 1
    living.assert_equals_truth("rcs.health_report", "main", "main", day, day)
