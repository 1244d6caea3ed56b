"""A living stack for tests: what a person would do with commands and clicks, as methods."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

BIN = Path(sys.executable).parent
TODAY = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
YESTERDAY = (TODAY - dt.timedelta(days=1)).date()


def until(what, condition, seconds):
    """Poll a condition with a deadline; gives its first true value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {seconds} s: {what() if callable(what) else what}"
        time.sleep(0.2)
    return value


class Started(subprocess.Popen):
    """A command under way; what it has said so far can be read."""

    def __init__(self, command, env):
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - as long as it runs
        # Unbuffered: what was said is there to be read.
        super().__init__(command, env={**env, "PYTHONUNBUFFERED": "1"}, stdout=self._out, stderr=self._err)

    def stdout_text(self):
        return self._text(self._out)

    def stderr_text(self):
        return self._text(self._err)

    @staticmethod
    def _text(file):
        return os.pread(file.fileno(), 1 << 20, 0).decode()


class Living:
    """The running stack of a test session.

    Attributes:
        stack: the LocalStack.
        api: client of its Airflow.
    """

    def __init__(self, stack):
        self.stack = stack
        self.api = stack.api()
        self.control = stack.sandbox_state()["urls"]["control"]

    def command(self, *arguments, timeout=120):
        """A `fleetlake` command against this stack; gives its standard output."""
        return self._run([str(BIN / "fleetlake"), *arguments], {"FLEETLAKE_HOME": str(self.stack.home)}, timeout)

    def start(self, *arguments):
        """A `fleetlake` command against this stack that is left running."""
        return Started([str(BIN / "fleetlake"), *arguments], {**os.environ, "FLEETLAKE_HOME": str(self.stack.home)})

    def airflow(self, *arguments):
        """An `airflow` command in this stack's environment."""
        return self._run([str(BIN / "airflow"), *arguments], self.stack.environment())

    def _run(self, command, env, timeout=120):
        env = {**os.environ, **env}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=timeout)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def trigger(self, dag_id, **body):
        """Start a run by REST; gives its id."""
        answer = self.api._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body={"logical_date": None, **body})
        return answer["dag_run_id"]

    def run(self, dag_id, run_id):
        return next(run for run in self.api.runs([dag_id]) if run["dag_run_id"] == run_id)

    def wait_for_runs(self, dag_id, days, seconds):
        """Wait until every day has a run and all runs of the DAG have ended well."""
        days = {str(day) for day in days}

        def ended():
            runs = [run for run in self.api.runs([dag_id]) if run["partition_key"] in days]
            failed = [run["dag_run_id"] for run in runs if run["state"] == "failed"]
            assert not failed, self.failures(dag_id, failed[0])
            return runs if {run["partition_key"] for run in runs if run["state"] == "success"} == days else None

        return until(
            lambda: f"{dag_id}: {[(r['partition_key'], r['state']) for r in self.api.runs([dag_id])]}", ended, seconds
        )

    def failures(self, dag_id, run_id):
        failed = [task for task in self.api.tasks(dag_id, run_id) if task["state"] == "failed"]
        return "\n".join(self.stack.task_failure(task) for task in failed)

    def requests_log(self, vendor="rcs"):
        return requests.get(f"{self.control}/log", params={"vendor": vendor}, timeout=30).json()

    def sandbox(self, method, path, **kwargs):
        answer = requests.request(method, f"{self.control}{path}", timeout=30, **kwargs)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def sql(self, query):
        return [json.loads(line) for line in self.command("sql", query, "--format", "json").splitlines()]

    def assert_equals_truth(self, table, account, customer, first, last):
        """Warehouse and lake hold what `sandbox truth` says, by count and digest; both ends included."""
        vendor, dataset = table.split(".")
        end = last + dt.timedelta(days=1)
        state = str(self.stack.home / "sandbox")
        window = ["--from", f"{first}", "--to", f"{end}"]
        truth = json.loads(
            self.command(
                "sandbox", "truth", vendor, dataset, *window, "--customer", customer, "--state", state, "--format", "digest"
            )
        )
        found = json.loads(self.command("digest", table, *window, "--account", account, "--truth", "--json"))
        assert found["equal"], found
        assert found["warehouse"] == truth, table
        return found["warehouse"]["rows"]
