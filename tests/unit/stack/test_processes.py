from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from fleetlake.stack import processes as module
from fleetlake.stack.processes import MARK, Processes

PYTHON = sys.executable
ENV = dict(os.environ)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    for process in processes.marked():
        process.kill()


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def script(stack: Processes, name: str, text: str) -> psutil.Process:
    return stack.start(name, [PYTHON, "-c", f"{text}\nprint('ready', flush=True)\nimport time\ntime.sleep(600)"], ENV)


def ready(stack: Processes, name: str) -> None:
    until(lambda: "ready" in stack.tail(name))


def test_started_process_is_found_and_its_output_logged(stack: Processes) -> None:
    process = script(stack, "one", "print('hello')")
    ready(stack, "one")
    assert stack.find("one") == process
    assert stack.names() == ["one"]
    assert stack.tail("one", 2).splitlines() == ["hello", "ready"]


def test_stop_leaves_nothing_and_a_second_stop_finds_nothing(stack: Processes) -> None:
    for name in ("one", "two"):
        script(stack, name, "")
    assert stack.stop() == 2
    assert stack.marked() == []
    assert stack.names() == []
    assert stack.stop() == 0


def test_process_that_ignores_the_request_is_killed(stack: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.5)
    stubborn = script(stack, "stubborn", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    ready(stack, "stubborn")
    assert stack.stop() == 1
    assert not stubborn.is_running()


def test_child_that_left_group_and_session_is_stopped_too(stack: Processes) -> None:
    text = f"import subprocess; subprocess.Popen([{PYTHON!r}, '-c', 'import time; time.sleep(600)'], start_new_session=True)"
    script(stack, "parent", text)
    until(lambda: len(stack.marked()) == 2)
    assert stack.stop() == 2
    assert stack.marked() == []


def test_process_without_pid_file_is_stopped_too(stack: Processes) -> None:
    """The starting command may be killed before it wrote the file."""
    script(stack, "lost", "")
    (stack.home / "run" / "lost.pid").unlink()
    assert stack.stop() == 1
    assert stack.marked() == []


def test_process_that_renames_itself_is_stopped_too(stack: Processes) -> None:
    script(stack, "renamed", "import setproctitle; setproctitle.setproctitle('airflow ' + 'x' * 4000)")
    ready(stack, "renamed")
    (stack.home / "run" / "renamed.pid").unlink()
    assert stack.stop() == 1


def test_number_reused_by_another_process_is_not_ours(stack: Processes) -> None:
    other = subprocess.Popen([PYTHON, "-c", "import time; time.sleep(600)"])
    try:
        run = stack.home / "run"
        run.mkdir()
        started = psutil.Process(other.pid).create_time() - 1000
        (run / "old.pid").write_text(json.dumps({"pid": other.pid, "started": started}))
        assert stack.find("old") is None
        assert stack.stop() == 0
        assert other.poll() is None
        assert stack.names() == []
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("content", ["", "{", '{"pid": "x", "started": 1}', "[]"])
def test_damaged_pid_file_is_no_process(stack: Processes, content: str) -> None:
    run = stack.home / "run"
    run.mkdir()
    (run / "bad.pid").write_text(content)
    assert stack.find("bad") is None


def test_another_stack_is_left_alone(stack: Processes, tmp_path: Path) -> None:
    neighbour = Processes(tmp_path / "neighbour")
    script(neighbour, "one", "")
    try:
        script(stack, "one", "")
        stack.stop()
        assert neighbour.find("one") is not None
    finally:
        neighbour.stop()


def test_mark_is_the_home(stack: Processes) -> None:
    process = script(stack, "one", "")
    assert process.environ()[MARK] == str(stack.home)
