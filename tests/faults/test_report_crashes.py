"""Airflow's worker or triggerer is killed (SIGKILL) at each moment of a health report's life: one request at the vendor.

The same without Airflow, with the details and the proof: `test_job_crashes.py`.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fleetlake.accounts import Account
from fleetlake.contracts import load_contracts
from fleetlake.pipeline import Pipeline, Run
from fleetlake.reading import Lane
from fleetlake.sandbox.rooms import room
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.settings import Settings
from fleetlake.vendors.rcs.client import RcsClient
from fleetlake.vendors.rcs.config import RcsConfig
from fleetlake.vendors.rcs.source import RcsSource
from fleetlake.warehouse import Warehouse
from fleetlake.window import Window

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).resolve().parents[2]
AS_OF = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
DAG_FILE = """
from airflow.sdk import DAG
from fleetlake.operators import RcsHealthReportOperator, accounts_of, day_dag

for account in accounts_of("rcs"):
    with DAG(**day_dag("report_crashes", account, doc="### One task")):
        RcsHealthReportOperator(task_id="fetch_overview", first_poll_s=0.2)
"""


class Place:
    """An Airflow home with one DAG, a sandbox, a warehouse."""

    def __init__(self, folder, sandbox, warehouse_url):
        self.sandbox = sandbox
        dags = folder / "dags"
        dags.mkdir()
        (dags / "report_crashes.py").write_text(DAG_FILE)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "FLEETLAKE"))}
        rcs = {"conn_type": "rcs", "host": sandbox.urls["rcs"], "extra": sandbox.customers["rcs"]["main"]}
        self.env = clean | {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
            "AIRFLOW_CONN_RCS_DEFAULT": json.dumps(rcs),
            "FLEETLAKE_HOME": str(folder / "fleetlake"),
            "FLEETLAKE_WAREHOUSE_URL": warehouse_url,
        }
        self.settings = Settings.from_env(self.env)
        self.python("-c", "from airflow.utils.db import initdb; initdb()", check=True)
        self.load_vehicles()

    def load_vehicles(self):
        """What the DAG's first task does: reports of unknown vehicles would be set aside."""
        account = Account(name="main", vendor="rcs", conn_id="rcs_default")
        config = RcsConfig(base_url=self.sandbox.urls["rcs"], **self.sandbox.customers["rcs"]["main"])
        run = Run(account=account, dag_id="vehicles", run_id="once", window=Window.day("2026-11-11"), lane=Lane.SCHEDULED)
        with Pipeline(self.settings, account, lambda: RcsSource(RcsClient(config))) as pipeline:
            pipeline.plan(run, entity_feed="vehicles", feeds=[])

    def python(self, *arguments, check=False):
        return subprocess.run(
            [sys.executable, *arguments], env=self.env, capture_output=True, text=True, check=check, timeout=280
        )

    def run(self, day, moment="never", *more):
        return self.python(str(Path(__file__).with_name("run_report_task.py")), moment, str(day), *more)

    def succeed(self, day, *more):
        done = self.run(day, "never", *more)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-8000:]
        return said

    def jobs(self, day):
        """State and requests of each job about a day."""
        with Warehouse(self.settings.require_warehouse()) as warehouse:
            query = f"SELECT state, posts FROM ops.job WHERE window_start = '{day}' ORDER BY job_id"
            return list(warehouse.query(query)[1])

    def posts(self, day):
        """Reports asked for about a day, by the sandbox's log."""
        return [
            entry
            for entry in self.sandbox.log("rcs")
            if entry["method"] == "POST" and f"from={day}T" in entry["query"].replace("%3A", ":")
        ]

    def assert_the_report_is_loaded(self, day):
        contract = load_contracts(self.settings.include)["rcs.health_report"]
        with Warehouse(self.settings.require_warehouse()) as warehouse:
            rows = [row for row in warehouse.rows(contract, account="main") if row[contract.time_column].date() == day]
        truth = list(room("rcs").truth(self.sandbox.context, "health_report", Window.day(day), "main"))
        assert truth, "a day without reports proves nothing"
        assert sorted(row["report_id"] for row in rows) == sorted(row["report_id"] for row in truth)


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_database):
    folder = tmp_path_factory.mktemp("crashes")
    settings = SandboxSettings(state_dir=folder / "sandbox", as_of=AS_OF, vehicles=6)
    with running(settings) as sandbox:
        yield Place(folder, sandbox, make_database())


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (13, "sent, token not stored"),
        (14, "token stored, not deferred"),
        (15, "the trigger polls"),
        (17, "collected, Airflow not told"),
    ],
)
def test_a_task_killed_at_a_moment_of_its_reports_life_asks_once(place, number, moment):
    day = dt.date(2026, 11, number)
    killed = place.run(day, moment)
    assert killed.returncode == -signal.SIGKILL, killed.stdout[-3000:] + killed.stderr[-3000:]
    said = place.succeed(day, "again")
    print(f"\nkilled {moment!r}: {len(place.posts(day))} POST, job {place.jobs(day)}")
    assert len(place.posts(day)) == 1
    if moment == "sent, token not stored":
        assert place.jobs(day) == [("abandoned", 1)]
        assert "The window is read without the report" in said
        with Warehouse(place.settings.require_warehouse()) as warehouse:
            vehicles = [row[0] for row in warehouse.query("SELECT vehicle_id::text FROM rcs.vehicle")[1]]
        [returned] = [line for line in said.splitlines() if line.startswith("returned ")]
        assert len(vehicles) > 1
        assert all(vehicle in returned for vehicle in vehicles), "every vehicle is read instead"
    else:
        assert place.jobs(day) == [("collected", 1)]
        place.assert_the_report_is_loaded(day)


def test_a_run_that_is_cleared_after_its_report_was_collected_asks_anew(place):
    day = dt.date(2026, 11, 18)
    place.succeed(day)
    place.succeed(day, "again")
    assert len(place.posts(day)) == 1, "a retry is no wish for another report"
    place.succeed(day, "cleared")
    assert len(place.posts(day)) == 2
    assert place.jobs(day) == [("collected", 1), ("collected", 1)]
    place.assert_the_report_is_loaded(day)
