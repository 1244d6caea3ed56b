"""``fleetlake demo``: three days of the demo fleet through real scheduled Airflow runs, the fleet model, then a report."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from fleetlake.errors import FleetlakeError, StoreUnavailable
from fleetlake.stack.airflow_api import AirflowApi
from fleetlake.stack.airflow_env import DAGS
from fleetlake.stack.database import connect
from fleetlake.stack.keys import write_private
from fleetlake.stack.local import LocalStack
from fleetlake.stack.processes import stoppable
from fleetlake.stack.report import Report

DAYS = 3
_FOUND_S = 120.0
_LOADED_S = 1800.0
_MODELLED_S = 300.0
_EXTRA, _MODEL = "extra", "model"
"""Tags of DAGs that are not about days: those somebody has to want, and those that assets start."""

_ENDED = ("success", "failed")
_DONE = ("success", "skipped", "removed")


@dataclass(frozen=True)
class Days:
    """The days a demo loads.

    Attributes:
        first, last: both included.
        is_complete: a demo has loaded them before, and proved it.
    """

    first: dt.date
    last: dt.date
    is_complete: bool = False

    @classmethod
    def of(cls, path: Path, today: dt.date) -> Days:
        """Those of the last demo if it succeeded, so that running it again changes nothing; else the last three."""
        try:
            known = json.loads(path.read_text())
            return cls(dt.date.fromisoformat(known["first"]), dt.date.fromisoformat(known["last"]), is_complete=True)
        except (OSError, ValueError, KeyError):
            return cls(today - DAYS * dt.timedelta(days=1), today - dt.timedelta(days=1))

    def keep(self, path: Path) -> None:
        """Remember that these are loaded."""
        write_private(path, json.dumps({"first": self.first.isoformat(), "last": self.last.isoformat()}))

    @property
    def keys(self) -> list[str]:
        """Partition keys, in order."""
        return [(self.first + dt.timedelta(days=number)).isoformat() for number in range((self.last - self.first).days + 1)]


def run_demo(stack: LocalStack, *, port: int) -> Report:
    """Start the stack, load three days through every daily DAG, report, stop the stack; the data stays.

    Args:
        stack: not running.
        port: of the web interface while it runs; 0 = a free one.

    Raises:
        StoreUnavailable: the stack did not start, a run failed, or something is not complete; says what and where.
    """
    if stack.names_running():
        raise StoreUnavailable("the stack is running", where=stack.url, remedy="stop it first: make down")
    # The vendors stand at midnight: all that the demo asks about is over, and another run sees the same.
    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    kept = stack.home / "demo.json"
    days = Days.of(kept, today.date())
    with stoppable():
        try:
            stack.up(port=port, as_of=today)
            _Loading(stack, days).run()
            report = Report.of(stack, days.first, days.last)
            report.require_complete()
            days.keep(kept)
        finally:
            with stack.progress.step("stopped"):
                stack.down()
    return report


class _Loading:
    """Runs of every daily DAG for some days: asked for, watched until all have ended and the model has taken them up."""

    def __init__(self, stack: LocalStack, days: Days) -> None:
        self._stack = stack
        self._days = days
        self._api: AirflowApi = stack.api()

    def run(self) -> None:
        """Load what is not loaded yet.

        Raises:
            StoreUnavailable: a DAG file cannot be read, a run failed, or it takes too long.
        """
        dags, models = self._find_dags()
        wanted = [(dag, key) for dag in dags for key in self._days.keys]
        states = self._states(dags)
        todo = [run for run in wanted if states.get(run) != "success"]
        if not todo:
            self._stack.progress.say(f"all {len(wanted)} runs were loaded before: nothing to do")
            return
        if self._days.is_complete:
            raise StoreUnavailable(
                f"the last demo loaded {self._days.first} to {self._days.last}, but now {_names(todo)} is not successful",
                where=self._stack.url,
                remedy="look at the run (`make up`), or start anew: make clean demo",
            )
        last = self._days.last.isoformat()
        unpaused = sorted({dag for dag, _ in todo})
        try:
            for model in models:
                self._api.set_paused(model, False)
            for dag in unpaused:
                for key in (key for name, key in todo if name == dag and states.get((name, key)) == "failed"):
                    self._api.clear_failed(dag, self._run_id(dag, key))
                # The days before by a backfill; yesterday by the schedule itself, once it is switched on.
                if any(key != last and (dag, key) not in states for name, key in todo if name == dag):
                    self._api.backfill(dag, self._days.first, self._days.last - dt.timedelta(days=1))
                self._api.set_paused(dag, False)
            self._watch(dags, wanted)
            if models:
                with self._stack.progress.step("fleet model"):
                    self._await_models(models)
        finally:
            # Paused again: the data stays as it is until somebody wants more.
            with contextlib.suppress(FleetlakeError):  # the server may be gone, and then another error is on its way
                for dag in [*unpaused, *models]:
                    self._api.set_paused(dag, True)

    def _find_dags(self) -> tuple[list[str], list[str]]:
        """Ids of the daily DAGs and of the models, once every DAG file is read."""
        files = {path.name for path in DAGS.glob("*.py")}
        deadline = time.monotonic() + _FOUND_S
        with self._stack.progress.step("DAG files"):
            while True:
                if errors := self._api.import_errors():
                    error = errors[0]
                    raise StoreUnavailable(
                        f"a DAG file cannot be read:\n{error['stack_trace']}",
                        where=error["filename"],
                        remedy="mend the file",
                    )
                dags = self._api.dags()
                if missing := files - {dag["relative_fileloc"] for dag in dags}:
                    if time.monotonic() > deadline:
                        raise StoreUnavailable(
                            f"Airflow did not read {', '.join(sorted(missing))}",
                            where=str(self._stack.processes.log("dag-processor")),
                            remedy="see the log",
                        )
                    time.sleep(0.3)
                    continue
                tags = {dag["dag_id"]: {tag["name"] for tag in dag["tags"]} for dag in dags}
                daily = sorted(dag for dag, names in tags.items() if not names & {_EXTRA, _MODEL})
                return daily, sorted(dag for dag, names in tags.items() if _MODEL in names)

    def _states(self, dags: Sequence[str]) -> dict[tuple[str, str], str]:
        """State by DAG and partition; of several runs of a partition a successful one counts, else the newest."""
        states: dict[tuple[str, str], str] = {}
        for run in sorted(self._api.runs(dags), key=lambda run: run["queued_at"] or ""):
            key = (run["dag_id"], run["partition_key"])
            if states.get(key) != "success":
                states[key] = run["state"]
        return states

    def _run_id(self, dag: str, key: str) -> str:
        runs = [run for run in self._api.runs([dag]) if run["partition_key"] == key and run["state"] == "failed"]
        return str(runs[-1]["dag_run_id"])

    def _watch(self, dags: Sequence[str], wanted: Sequence[tuple[str, str]]) -> None:
        deadline = time.monotonic() + _LOADED_S
        with _Display(self._stack, dags, len(self._days.keys)) as display:
            while True:
                states = self._states(dags)
                ended = [run for run in wanted if states.get(run) in _ENDED]
                display.update(states, wanted, self._api.tasks("~", "~"), self._rows())
                if len(ended) == len(wanted):
                    break
                if time.monotonic() > deadline:
                    waiting = [run for run in wanted if run not in ended]
                    raise StoreUnavailable(
                        f"after {_LOADED_S / 60:.0f} minutes {_names(waiting)} has not ended",
                        where=self._stack.url,
                        remedy=f"see the logs in {self._stack.home / 'logs'}; `make demo` goes on where it stopped",
                    )
                self._stack.require_running()
                time.sleep(1.0)
        if failed := [run for run in wanted if states[run] == "failed"]:
            raise self._failure(failed)

    def _await_models(self, models: Sequence[str]) -> None:
        """Wait until the models have taken up every change; assets start their runs."""
        deadline = time.monotonic() + _MODELLED_S
        while True:
            runs = self._api.runs(models)
            if failed := [run for run in runs if run["state"] == "failed"]:
                raise self._failure([(run["dag_id"], run["partition_key"] or run["dag_run_id"]) for run in failed])
            with connect(self._stack.warehouse_url) as connection:
                row = connection.execute("SELECT count(*) FROM ops.change").fetchone()
            left = int(row[0]) if row else 0
            if not left and all(run["state"] in _ENDED for run in runs):
                return
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"after {_MODELLED_S / 60:.0f} minutes {left} changes are not taken up by {', '.join(models)}",
                    where="ops.change",
                    remedy=f"see the logs in {self._stack.home / 'logs'}; `make demo` goes on where it stopped",
                )
            self._stack.require_running()
            time.sleep(1.0)

    def _rows(self) -> int:
        with connect(self._stack.warehouse_url) as connection:
            row = connection.execute("SELECT coalesce(sum(rows_inserted), 0) FROM ops.load").fetchone()
        return int(row[0]) if row else 0

    def _failure(self, failed: Sequence[tuple[str, str]]) -> StoreUnavailable:
        tasks = [task for task in self._api.tasks("~", "~") if task["state"] == "failed"]
        lines = []
        for task in tasks:
            index = f" map_index={task['map_index']}" if task["map_index"] >= 0 else ""
            lines.append(f"{task['dag_id']}.{task['task_id']}{index} of {task['dag_run_id']}:")
            lines.append(self._stack.task_failure(task))
        return StoreUnavailable(
            f"{_names(failed)} failed.\n" + "\n".join(lines),
            where=str(self._stack.home / "logs" / "tasks"),
            remedy="mend what the log says and run the demo again: finished work is kept",
        )


def _names(runs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{dag} {key}" for dag, key in runs)


class _Display:
    """Bars on a terminal, a line per change elsewhere."""

    def __init__(self, stack: LocalStack, dags: Sequence[str], days: int) -> None:
        self._progress = stack.progress
        self._days = days
        self._said = ""
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} tasks"),
            TextColumn("{task.fields[runs]}"),
            TimeElapsedColumn(),
            console=stack.progress.console,
            disable=not stack.progress.console.is_terminal,
        )
        self._tasks = {dag: self._bars.add_task(dag, total=None, runs="") for dag in dags}

    def __enter__(self) -> _Display:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def update(
        self,
        states: dict[tuple[str, str], str],
        wanted: Sequence[tuple[str, str]],
        tasks: Sequence[dict[str, Any]],
        rows: int,
    ) -> None:
        """Show how far it is."""
        parts = []
        for dag, bar in self._tasks.items():
            own = [task for task in tasks if task["dag_id"] == dag]
            done = sum(task["state"] in _DONE for task in own)
            counts = Counter(states.get(run, "waiting") for run in wanted if run[0] == dag)
            runs = f"{counts['success']}/{self._days} days" + (f", {counts['failed']} failed" if counts["failed"] else "")
            self._bars.update(bar, completed=done, total=max(len(own), 1), runs=f"{runs}")
            parts.append(f"{dag} {runs}")
        line = f"  {' · '.join(parts)}"
        if line != self._said and not self._progress.console.is_terminal:
            self._said = line
            self._progress.say(f"{line} · {rows:,} rows")
