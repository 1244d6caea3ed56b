"""The process: command line, control listener, certificates, start and end."""

from __future__ import annotations

import datetime as dt
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from fleetlake.canonical import Digest
from fleetlake.errors import ConfigError
from fleetlake.sandbox.cli import app
from fleetlake.sandbox.pki import Pki
from fleetlake.sandbox.rooms import ROOMS, Context, room
from fleetlake.sandbox.server import Sandbox
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.window import Window
from typer.testing import CliRunner

SERVE = [sys.executable, "-c", "from fleetlake.sandbox.cli import app; app()", "serve"]


def http(method: str, url: str, **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=5, **options)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any], str]]:
    state = tmp_path_factory.mktemp("served")
    (state / "sandbox.json").write_text("of an earlier sandbox")
    command = [*SERVE, "--state", str(state), "--vehicles", "3", "--as-of", "2026-11-20T06:00Z"]
    command += ["--set", "rcs.take_max=500", "--fault", "429:vendor=rcs,path=/parameters,count=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield process, json.loads((state / "sandbox.json").read_text()), line
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert process.stdout.read() == ""


def test_one_line_says_that_it_is_ready_and_where(served: Any) -> None:
    process, description, line = served
    assert line.startswith("sandbox ready ")
    assert all(url in line for url in description["urls"].values())
    assert set(description["urls"]) == {*ROOMS, "control"}
    assert description["pid"] == process.pid
    assert description["as_of"] == "2026-11-20T06:00:00+00:00"
    assert Path(description["ca"]).is_absolute()
    for customer in description["customers"]["rcs"].values():
        assert Path(customer["cert"]).is_file()
        assert Path(customer["key"]).stat().st_mode & 0o077 == 0


def test_control_shows_and_changes_faults_log_and_clock(served: Any) -> None:
    _, description, _ = served
    control = description["urls"]["control"]
    assert http("GET", f"{control}/health").json()["status"] == "ok"
    (fault,) = http("GET", f"{control}/faults").json()
    assert (fault["kind"], fault["status"], fault["played"]) == ("status", 429, 0)

    client = description["customers"]["rcs"]["main"]
    options = {"cert": (client["cert"], client["key"]), "verify": client["ca"], "headers": {"X-API-Version": "1.0"}}
    statuses = [http("GET", f"{description['urls']['rcs']}/parameters", **options).status_code for _ in range(2)]
    assert statuses == [429, 200]
    assert [entry["status"] for entry in http("GET", f"{control}/log?vendor=rcs&customer=main").json()] == statuses
    assert http("GET", f"{control}/stats").json()["rcs"]["main"]["statuses"] == {"200": 1, "429": 1}
    lines = (Path(description["ca"]).parents[1] / "requests.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == statuses

    assert http("DELETE", f"{control}/faults").status_code == 204
    assert http("PUT", f"{control}/faults", json=[{"kind": "drop", "count": 1}]).json()[0]["kind"] == "drop"
    wrong = http("PUT", f"{control}/faults", json=[{"kind": "dorp"}])
    assert (wrong.status_code, "did you mean" in wrong.json()["error"]) == (400, True)
    assert http("DELETE", f"{control}/faults").status_code == 204
    assert http("GET", f"{control}/faults").json() == []

    moved = http("PUT", f"{control}/clock", json={"as_of": "2026-11-20T07:00:00Z"})
    assert moved.json() == {"now": "2026-11-20T07:00:00+00:00"}
    state = Path(description["ca"]).parents[1]
    assert json.loads((state / "sandbox.json").read_text())["as_of"] == "2026-11-20T07:00:00+00:00"
    assert http("DELETE", f"{control}/log").status_code == 204
    assert http("GET", f"{control}/log").json() == []


def test_truth_command_reads_the_settings_of_the_running_sandbox(served: Any) -> None:
    state = str(Path(served[1]["ca"]).parents[1])
    arguments = ["truth", "rcs", "telemetry", "--from", "2026-11-18", "--to", "2026-11-19", "--state", state]
    runner = CliRunner()
    context = Context.of(
        SandboxSettings(state_dir=Path(state), vehicles=3, as_of=dt.datetime(2026, 11, 20, 7, tzinfo=dt.UTC))
    )
    rows = list(room("rcs").truth(context, "telemetry", Window.day("2026-11-18"), None))
    digest = Digest.of(rows)
    printed = runner.invoke(app, [*arguments, "--format", "digest"])
    assert json.loads(printed.stdout) == {"rows": digest.rows, "digest": digest.digest}
    assert int(runner.invoke(app, [*arguments, "--format", "count"]).stdout) == len(rows)
    lines = runner.invoke(app, arguments).stdout.splitlines()
    assert Digest.of(map(json.loads, lines)) == digest


def test_truth_without_a_sandbox_wants_a_seed(tmp_path: Path) -> None:
    runner = CliRunner()
    wrong = runner.invoke(app, ["truth", "rcs", "vehicle", "--state", str(tmp_path)])
    assert isinstance(wrong.exception, ConfigError)
    assert "--seed" in str(wrong.exception)
    right = runner.invoke(app, ["truth", "rcs", "vehicle", "--state", str(tmp_path), "--seed", "3", "--vehicles", "2"])
    assert len(right.stdout.splitlines()) == 2


def test_it_starts_quickly(tmp_path: Path) -> None:
    begun = time.monotonic()
    with subprocess.Popen([*SERVE, "--state", str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("sandbox ready")
        seconds = time.monotonic() - begun
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert seconds < 5, "about one second on an idle machine"


def test_a_wrong_setting_is_refused_before_anything_serves(tmp_path: Path) -> None:
    for assumptions, message in (
        ({"rcs.takemax": 5}, "did you mean rcs.take_max"),
        ({"rsc.take_max": 5}, "did you mean 'rcs'"),
        ({"rcs.take_max": "many"}, "like the default, 1000"),
        ({"rcs.cursor_inclusive": "perhaps"}, "like the default, True"),
    ):
        with pytest.raises(ConfigError, match=message):
            Sandbox(SandboxSettings(state_dir=tmp_path, rooms=("rcs",), assumptions=assumptions))


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"{port}.*--port rcs="):
            Sandbox(SandboxSettings(state_dir=tmp_path, rooms=("rcs",), ports={"rcs": port}))


def test_certificates_stay_when_a_sandbox_restarts(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    pki.ensure("client")
    before = {path.name: path.read_bytes() for path in pki.folder.iterdir()}
    Pki(tmp_path / "pki").ensure("client", "one_more")
    after = {path.name: path.read_bytes() for path in pki.folder.iterdir()}
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"one_more.pem", "one_more.key"}
    assert {"ca.pem", "server.pem", "server.key", "client.pem", "client.key", "stranger.pem", "stranger.key"} <= set(before)
