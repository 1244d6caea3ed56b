"""kill -9 between POST and report: one POST at the vendor, one report loaded."""

from __future__ import annotations

import datetime as dt
import os
import signal

import psutil
import pytest
from fleetlake.stack import parts

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


def ask_for(living, day):
    """Start a run about one day while polls are slow; gives its id."""
    living.sandbox("DELETE", "/log")
    living.api.set_paused("rcs_health_reports", False)
    slow = {"kind": "slow", "vendor": "rcs", "path": "/vehicle-health/reports/*", "seconds": 6}
    living.sandbox("PUT", "/faults", json=[slow])
    window = {"window_start": str(day), "window_end": str(day + dt.timedelta(days=1))}
    return living.trigger("rcs_health_reports", conf=window)


def overview_task(living, run_id):
    return next(
        (task for task in living.api.tasks("rcs_health_reports", run_id) if task["task_id"] == "fetch_overview"), None
    )


def assert_one_report(living, run_id, day):
    """The run ends well, with one POST at the vendor and one report loaded that equals truth."""
    until(
        lambda: f"run is {living.run('rcs_health_reports', run_id)['state']}",
        lambda: living.run("rcs_health_reports", run_id)["state"] in ("success", "failed"),
        300,
    )
    assert living.run("rcs_health_reports", run_id)["state"] == "success", living.failures("rcs_health_reports", run_id)
    assert len(posts(living, day)) == 1
    loads = living.sql(f"SELECT load_id FROM ops.load WHERE feed = 'health_overview' AND run_id = '{run_id}'")
    assert len(loads) == 1
    living.assert_equals_truth("rcs.health_report", "main", "main", day, day)


def test_worker_killed_while_it_collects_attaches_to_the_same_report(living):
    day = YESTERDAY - dt.timedelta(days=5)
    run_id = ask_for(living, day)

    def collecting():
        task = overview_task(living, run_id)
        # A poll has been seen: the triggerer has waited, this worker is the one that collects.
        return task and task["state"] == "running" and polls(living) and task_process(living, task["id"])

    worker = until("no worker collects the report", collecting, 180)
    os.kill(worker.pid, signal.SIGKILL)
    living.sandbox("DELETE", "/faults")
    assert_one_report(living, run_id, day)
    assert overview_task(living, run_id)["try_number"] >= 2, "the kill must have cost a try"


def test_triggerer_killed_while_it_waits_goes_on_with_the_same_report(living):
    day = YESTERDAY - dt.timedelta(days=6)
    run_id = ask_for(living, day)

    def waiting():
        task = overview_task(living, run_id)
        return task and task["state"] == "deferred" and posts(living, day)

    until("the task is not deferred", waiting, 180)
    triggerer = living.stack.processes.find("triggerer")
    os.killpg(triggerer.pid, signal.SIGKILL)
    until("the triggerer lives on", lambda: living.stack.processes.find("triggerer") is None, 30)
    living.sandbox("DELETE", "/faults")
    command = parts.airflow_commands(living.stack.port)["triggerer"]
    living.stack.processes.start("triggerer", command, living.stack.environment())
    assert_one_report(living, run_id, day)
