"""Processes that outlive the command which started them: start, find again, stop all of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

MARK = "FLEETLAKE_STACK"
"""Environment variable that every process of a stack inherits: the stack's home. Airflow's tasks leave their parent's
process group, and a crash may lose a pid file; the mark finds them all the same."""

STOP_S = 5.0
"""Seconds between asking a process to end and ending it."""


@dataclass(frozen=True)
class Processes:
    """The processes of one stack.

    Attributes:
        home: the stack's folder; pid files lie in ``home/run``, logs in ``home/logs``.
    """

    home: Path

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> psutil.Process:
        """Start a command in a session of its own, its output going to its log.

        Args:
            name: names pid file and log.
            command: program and arguments.
            env: its whole environment; the stack's mark is added.
        """
        pid_file = self._pid_file(name)
        pid_file.parent.mkdir(parents=True, exist_ok=True)
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                # SPT_NOENV: Airflow renames its processes, and would overwrite the mark with the new name.
                env={**env, MARK: str(self.home), "SPT_NOENV": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.home,
            )
        process = psutil.Process(child.pid)
        draft = pid_file.with_suffix(".new")
        draft.write_text(json.dumps({"pid": child.pid, "started": process.create_time()}))
        draft.replace(pid_file)
        return process

    def find(self, name: str) -> psutil.Process | None:
        """The running process of that name; a process that only got the same number later is not it."""
        try:
            known = json.loads(self._pid_file(name).read_text())
            process = psutil.Process(known["pid"])
            same = abs(process.create_time() - known["started"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, TypeError, psutil.Error):
            return None
        return process if same else None

    def names(self) -> list[str]:
        """Names with a pid file."""
        return sorted(path.stem for path in (self.home / "run").glob("*.pid"))

    def marked(self) -> list[psutil.Process]:
        """Every process of this stack, found by its mark."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):  # ended meanwhile, or not ours to look into
                if process.pid != os.getpid() and process.environ().get(MARK) == str(self.home):
                    found.append(process)
        return found

    def stop(self) -> int:
        """End every process of the stack, politely first. Returns how many there were."""
        # Heads first: they end their children in order. Asked twice, Airflow's triggerer stops waiting for its triggers.
        heads = [process for name in self.names() if (process := self.find(name))]
        # One that has only just begun shows no mark for a moment: its pid file knows it.
        seen = {process.pid for process in (*heads, *self.marked())}
        for patience in (STOP_S * 0.4, STOP_S * 0.6):
            _signal(heads, "terminate")
            _, heads = psutil.wait_procs(heads, timeout=patience)
        deadline = time.monotonic() + STOP_S
        while (rest := self.marked()) and time.monotonic() < deadline:  # again: a child may be born while others die
            seen |= {process.pid for process in rest}
            _signal(rest, "kill")
            psutil.wait_procs(rest, timeout=1.0)
        for name in self.names():
            self._pid_file(name).unlink(missing_ok=True)
        return len(seen)

    def log(self, name: str) -> Path:
        """Log file of a process."""
        return self.home / "logs" / f"{name}.log"

    def tail(self, name: str, lines: int = 15) -> str:
        """The last lines of a log."""
        try:
            text = self.log(name).read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def _pid_file(self, name: str) -> Path:
        return self.home / "run" / f"{name}.pid"


def _signal(processes: Iterable[psutil.Process], how: Literal["terminate", "kill"]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            getattr(process, how)()


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP end this process like Ctrl-C does: by an exception, so that it can clean up."""

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
