"""The local stack: what it opens, what it says, what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from fleetlake import embedded
from fleetlake.accounts import load_accounts
from fleetlake.errors import ConfigError, StoreUnavailable
from fleetlake.settings import Settings
from fleetlake.stack import parts
from fleetlake.stack.airflow_api import AirflowApi
from fleetlake.stack.local import LocalStack
from fleetlake.stack.processes import Processes

from tests.e2e.living import BIN, Living, until


def listeners(processes: list[psutil.Process]) -> set[str]:
    """Addresses on which processes listen for TCP connections."""
    found = set()
    for process in processes:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found.add(connection.laddr.ip)
    return found


def test_everything_listens_on_loopback_only(living: Living) -> None:
    server = embedded.status(living.stack.home / "postgres")
    assert server.pid is not None
    assert listeners(living.stack.processes.marked()) == {"127.0.0.1"}
    assert listeners([psutil.Process(server.pid)]) == set()


def test_status_tells_every_part_healthy(living: Living) -> None:
    rows = [json.loads(line) for line in living.command("status", "--json").splitlines()]
    assert {row["name"] for row in rows} == {"postgres", "sandbox", *parts.AIRFLOW}
    assert all(row["health"] in ("healthy", "running") and row["pid"] for row in rows), rows


@pytest.mark.parametrize("part", parts.AIRFLOW)
def test_health_of_one_part(living: Living, part: str) -> None:
    assert living.command("health", "--part", part, "--url", living.stack.url).strip() == "healthy"


def test_starting_a_running_stack_changes_nothing(living: Living) -> None:
    before = {name: living.stack.processes.find(name) for name in living.stack.processes.names()}
    living.command("up", "--port", "0")
    assert {name: living.stack.processes.find(name) for name in living.stack.processes.names()} == before


def test_pools_and_connections_are_those_of_the_accounts(living: Living) -> None:
    accounts = load_accounts(living.stack.settings.include)
    pools = {pool["name"]: pool for pool in living.api._call("GET", "/api/v2/pools")["pools"]}
    for account in accounts:
        assert pools[account.pool]["slots"] == account.pool_slots
        assert pools[account.pool]["include_deferred"] is True
        connection = living.api._call("GET", f"/api/v2/connections/{account.conn_id}")
        assert connection["conn_type"] == account.vendor
        assert connection["host"].startswith(("http://127.0.0.1:", "https://127.0.0.1:"))


def test_no_password_is_shown_or_written_where_others_read(living: Living) -> None:
    accounts = load_accounts(living.stack.settings.include)
    answer = json.dumps([living.api._call("GET", f"/api/v2/connections/{account.conn_id}") for account in accounts])
    customers = [own for vendor in living.stack.sandbox_state()["customers"].values() for own in vendor.values()]
    secrets = {own[key] for own in customers for key in ("password", "token", "client_secret") if key in own}
    assert len(secrets) > 8
    for secret in secrets:
        assert secret not in answer
        for log in (living.stack.home / "logs").rglob("*.log"):
            assert secret not in log.read_text(errors="replace"), log


def test_the_api_wants_a_login(living: Living) -> None:
    assert requests.get(f"{living.stack.url}/api/v2/dags", timeout=30).status_code == 401
    with pytest.raises(ConfigError, match="401"):
        AirflowApi(living.stack.url, "admin", "wrong").dags()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Folder of a stack of its own; as root its database lies elsewhere, so removing the folder is not enough."""
    yield tmp_path / "home"
    embedded.destroy(tmp_path / "home" / "postgres")


def test_a_taken_port_is_said_and_nothing_is_started(home: Path) -> None:
    stack = LocalStack(Settings.from_env({"FLEETLAKE_HOME": str(home)}))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} cannot be used") as error:
            stack.up(port=port)
    assert "--port" in str(error.value)
    assert not embedded.status(home / "postgres")
    assert stack.processes.marked() == []


def test_a_part_that_cannot_start_is_named_with_its_reason_and_all_is_stopped(home: Path) -> None:
    env = {"FLEETLAKE_HOME": str(home), "FLEETLAKE_WAREHOUSE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none"}
    stack = LocalStack(Settings.from_env(env))
    with pytest.raises(StoreUnavailable):
        stack.up(port=0, sandbox=False)
    assert stack.processes.marked() == []
    assert not embedded.status(home / "postgres")


def test_after_a_crash_of_the_starting_command_down_leaves_nothing(home: Path) -> None:
    env = {**os.environ, "FLEETLAKE_HOME": str(home)}
    up = subprocess.Popen([BIN / "fleetlake", "up", "--port", "0"], env=env, stderr=subprocess.DEVNULL)
    processes = Processes(home)
    try:
        until("the scheduler was not started", lambda: processes.find("scheduler"), 180)
    finally:
        up.send_signal(signal.SIGKILL)
        up.wait()
    assert processes.marked(), "the parts outlive the command"
    done = subprocess.run([BIN / "fleetlake", "down"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing is left running" in done.stdout
    assert processes.marked() == []
    assert not embedded.status(home / "postgres")
    again = subprocess.run([BIN / "fleetlake", "down"], env=env, capture_output=True, text=True, check=False)
    assert again.stdout.strip() == "nothing was running"


def test_a_command_told_to_stop_while_it_starts_leaves_nothing(home: Path) -> None:
    env = {**os.environ, "FLEETLAKE_HOME": str(home)}
    up = subprocess.Popen([BIN / "fleetlake", "up", "--port", "0", "--no-sandbox"], env=env, stderr=subprocess.DEVNULL)
    processes = Processes(home)
    until("PostgreSQL was not started", lambda: embedded.status(home / "postgres"), 60)
    up.terminate()
    assert up.wait(timeout=60) != 0
    assert processes.marked() == []
    assert not embedded.status(home / "postgres")


def test_removed_data_is_gone_wherever_it_lay(home: Path) -> None:
    stack = LocalStack(Settings.from_env({"FLEETLAKE_HOME": str(home)}))
    stack.down()
    stack.start_postgres()
    place = embedded.status(home / "postgres").data_dir
    assert place.exists()
    done = subprocess.run(
        [BIN / "fleetlake", "down", "--remove-data"],
        env={**os.environ, "FLEETLAKE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not home.exists()
    assert not place.exists()
