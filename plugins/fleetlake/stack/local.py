"""The living stack of this machine: start it whole, look at it, stop it without a trace."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import importlib.metadata
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetlake import embedded
from fleetlake.accounts import load_accounts
from fleetlake.errors import ConfigError, FleetlakeError, StoreUnavailable
from fleetlake.settings import Settings
from fleetlake.stack import parts
from fleetlake.stack.airflow_api import AirflowApi
from fleetlake.stack.airflow_env import HOST, airflow_env, inherited
from fleetlake.stack.connections import sandbox_connections
from fleetlake.stack.database import connect
from fleetlake.stack.keys import Keys, write_private
from fleetlake.stack.prepare import migrate_warehouse
from fleetlake.stack.processes import Processes, stoppable
from fleetlake.stack.progress import Progress

DEFAULT_PORT = 8080
_HEALTHY_S = 120.0
_SANDBOX_S = 30.0
_PRELOAD = {"PYTHONPATH": str(Path(__file__).parent / "preload")}


@dataclass
class LocalStack:
    """The stack below one home folder.

    Attributes:
        settings: where the stores are.
        progress: who hears about it.
    """

    settings: Settings
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.home = self.settings.home
        self.processes = Processes(self.home)
        self._postgres = self.home / "postgres"
        self._state = self.home / "run" / "stack.json"

    # Starting

    def up(self, *, port: int = DEFAULT_PORT, sandbox: bool = True, as_of: dt.datetime | None = None) -> None:
        """Start everything and wait until it is healthy; a healthy stack is left as it is.

        Args:
            port: of Airflow's web interface; 0 = a free one.
            sandbox: start the vendor sandbox and point the connections to it.
            as_of: the moment the sandbox believes it is; ``None`` = the real clock.

        Raises:
            ConfigError: the port is taken.
            StoreUnavailable: a part ended or did not become healthy; says where to look. Everything is stopped again.
        """
        with self._alone():
            if not self._problems(deep=False) and self.names_running():
                self.progress.say(f"the stack is already running: {self.url}")
                return
            self._stop()  # what a crash left behind
            port = _usable(port)
            try:
                with stoppable(), self.progress.waiting("starting the stack"):
                    self._start(port, sandbox=sandbox, as_of=as_of)
            except BaseException:
                self._stop()
                raise

    def _start(self, port: int, *, sandbox: bool, as_of: dt.datetime | None) -> None:
        keys = Keys.of(self.home)
        with self.progress.step("PostgreSQL"):
            database_url, warehouse_url = self.start_postgres()
        env = airflow_env(self.settings, keys, database_url=database_url, warehouse_url=warehouse_url, port=port)
        names = [*parts.AIRFLOW, *([parts.SANDBOX] if sandbox else [])]
        self._write_state({"port": port, "parts": names, "as_of": as_of and as_of.isoformat(), "started": time.time()})
        jobs: list[Callable[[], None]] = [
            lambda: self._migrate_airflow(database_url, env),
            lambda: migrate_warehouse(self.settings, warehouse_url),
        ]
        if sandbox:
            jobs.append(lambda: self._start_sandbox(as_of))
        with ThreadPoolExecutor(len(jobs)) as pool:
            for future in [pool.submit(job) for job in jobs]:
                future.result()
        with self.progress.step(f"Airflow: {', '.join(parts.AIRFLOW)}"):
            for name, command in parts.airflow_commands(port).items():
                self.processes.start(name, command, env | (_PRELOAD if name == "scheduler" else {}))
            self._wait(_HEALTHY_S, lambda: not self._problems(deep=True), "healthy", list(parts.AIRFLOW))
        with self.progress.step("pools and connections"):
            api = self.api()
            accounts = load_accounts(self.settings.include)
            api.put_pools(accounts)
            if sandbox:
                api.put_connections(sandbox_connections(accounts, self.sandbox_state()))

    def start_postgres(self) -> tuple[str, str]:
        """Start the embedded server. Returns the URLs of Airflow's database and of the warehouse."""
        embedded.start(self._postgres)
        embedded.ensure_database(self._postgres, "airflow")
        # Airflow's own provider and migrations are at home with psycopg2.
        metadata = embedded.url(self._postgres, "airflow", driver="postgresql+psycopg2")
        return metadata, self.settings.warehouse_url or embedded.ensure_database(self._postgres, "warehouse")

    def _migrate_airflow(self, database_url: str, env: Mapping[str, str]) -> None:
        version = importlib.metadata.version("apache-airflow-core")
        done = self.home / "airflow" / "migrated"
        if done.exists() and done.read_text() == version and _has_table(database_url, "alembic_version"):
            return
        with self.progress.step(f"Airflow's database ({version})"):
            self._run("airflow-migrate", parts.AIRFLOW_MIGRATE, env)
            done.write_text(version)

    def _run(self, name: str, command: tuple[str, ...], env: Mapping[str, str]) -> None:
        log = self.processes.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            status = subprocess.run(
                command, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
            ).returncode
        if status:
            raise self._failure(name, f"`{' '.join(command)}` ended with status {status}")

    def _start_sandbox(self, as_of: dt.datetime | None) -> None:
        with self.progress.step("vendor sandbox"):
            (self._sandbox_dir / "sandbox.json").unlink(missing_ok=True)
            command = parts.sandbox_command(self._sandbox_dir, as_of)
            self.processes.start(parts.SANDBOX, command, inherited())
            self._wait(_SANDBOX_S, (self._sandbox_dir / "sandbox.json").exists, "ready", [parts.SANDBOX])

    def _wait(self, seconds: float, ready: Callable[[], bool], what: str, names: list[str]) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            for name in names:
                if self.processes.find(name) is None:
                    raise self._failure(name, f"{name} ended while it was starting")
            if time.monotonic() > deadline:
                late = next((n for n in names if n in " ".join(self._problems(deep=True))), names[0])
                raise self._failure(late, f"{late} was not {what} after {seconds:.0f} s")
            time.sleep(0.2)

    def _failure(self, name: str, message: str) -> FleetlakeError:
        return StoreUnavailable(
            f"{message}; its last lines:\n{self.processes.tail(name)}\n",
            where=str(self.processes.log(name)),
            remedy="mend what it says and run the command again; `fleetlake down` removes what is left",
        )

    # Looking

    @property
    def port(self) -> int:
        """Port of the running (or last) stack's web interface."""
        return int(self._read_state().get("port", DEFAULT_PORT))

    @property
    def url(self) -> str:
        """Address of Airflow's web interface."""
        return f"http://{HOST}:{self.port}"

    @property
    def password(self) -> str:
        """Password of the user ``admin``."""
        return Keys.of(self.home).password

    @property
    def _sandbox_dir(self) -> Path:
        return self.home / "sandbox"

    def api(self) -> AirflowApi:
        """A client of this stack's Airflow."""
        return AirflowApi(self.url, "admin", self.password)

    def sandbox_state(self) -> dict[str, Any]:
        """What the running sandbox wrote about itself."""
        state: dict[str, Any] = json.loads((self._sandbox_dir / "sandbox.json").read_text())
        return state

    def names_running(self) -> list[str]:
        """Parts whose process is there."""
        return [name for name in self.processes.names() if self.processes.find(name)]

    def status(self) -> list[dict[str, Any]]:
        """One entry per part: ``name``, ``pid`` (``None`` = not running), ``health``, ``log``."""
        state = self._read_state()
        health = self._health()
        server = embedded.status(self._postgres)
        rows: list[dict[str, Any]] = [
            {
                "name": "postgres",
                "pid": server.pid,
                "health": "healthy" if server.running else "stopped",
                "log": str(server.data_dir / "log"),
            }
        ]
        for name in state.get("parts", [*parts.AIRFLOW, parts.SANDBOX]):
            process = self.processes.find(name)
            rows.append(
                {
                    "name": name,
                    "pid": process.pid if process else None,
                    "health": health.get(name, "running") if process else "stopped",
                    "log": str(self.processes.log(name)),
                }
            )
        return rows

    def _problems(self, *, deep: bool) -> list[str]:
        """Names of parts that are not there or, looking deep, not healthy."""
        names = self._read_state().get("parts", parts.AIRFLOW)
        missing = [name for name in names if self.processes.find(name) is None and not (deep and name == parts.SANDBOX)]
        if not deep:
            return missing
        health = self._health()
        return missing + [name for name in parts.AIRFLOW if health.get(name) != "healthy"]

    def _health(self) -> dict[str, str]:
        """Health by part, as Airflow tells it; nothing while it does not answer."""
        try:
            return AirflowApi(self.url, "", "").parts(since=self._read_state().get("started", 0.0))
        except FleetlakeError:
            return {}

    @property
    def warehouse_url(self) -> str:
        """SQLAlchemy URL of the warehouse."""
        return self.settings.warehouse_url or embedded.url(self._postgres, "warehouse")

    def environment(self) -> dict[str, str]:
        """Environment for an ``airflow`` command against this stack."""
        database_url, warehouse_url = self.start_postgres()
        return airflow_env(
            self.settings, Keys.of(self.home), database_url=database_url, warehouse_url=warehouse_url, port=self.port
        )

    def require_running(self) -> None:
        """Check that no part has died.

        Raises:
            StoreUnavailable: one has; with the end of its log.
        """
        if missing := self._problems(deep=False):
            raise self._failure(missing[0], f"{missing[0]} has ended")

    def task_failure(self, task: Mapping[str, Any]) -> str:
        """The error in the newest log of a task instance (as the API describes it), and which file that is."""
        folder = (
            self.home
            / "logs"
            / "tasks"
            / f"dag_id={task['dag_id']}"
            / f"run_id={task['dag_run_id']}"
            / f"task_id={task['task_id']}"
        )
        if task["map_index"] >= 0:
            folder /= f"map_index={task['map_index']}"
        logs = sorted(folder.glob("attempt=*.log"), key=lambda path: path.stat().st_mtime)
        return f"{logs[-1]}\n{_error_in(logs[-1])}" if logs else "(no log)"

    # Stopping

    def down(self) -> int:
        """Stop everything, also what a crash left; returns how many processes there were."""
        with self._alone():
            return self._stop()

    def _stop(self) -> int:
        stopped = self.processes.stop()
        if embedded.status(self._postgres).running:
            embedded.stop(self._postgres)
            stopped += 1
        return stopped

    def remove(self) -> None:
        """Delete everything below the stack's home, and the database wherever it lies. Stores elsewhere stay."""
        embedded.destroy(self._postgres)
        shutil.rmtree(self.home)

    # State

    def _read_state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(self._state.read_text())
        except (OSError, ValueError):
            return {}
        return state

    def _write_state(self, state: Mapping[str, Any]) -> None:
        write_private(self._state, json.dumps(state))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Only one command starts or stops this stack at a time."""
        lock = self.home / "run" / "lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreUnavailable(
                    "another command is starting or stopping this stack", where=str(lock), remedy="wait for it to end"
                ) from None
            yield


def _usable(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} cannot be used for Airflow's web interface: {error.strerror}",
                where=f"{HOST}:{port}",
                remedy="stop what listens there, or choose another port: fleetlake up --port 8081 (0 = any free one)",
            ) from None
        return int(probe.getsockname()[1])


def free_port() -> int:
    """A port of this machine that nobody uses."""
    return _usable(0)


def _has_table(url: str, table: str) -> bool:
    with connect(url) as connection:
        row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
    return bool(row and row[0])


def _error_in(log: Path) -> str:
    """The last exception of a task's log, else its last lines."""
    lines = log.read_text(errors="replace").splitlines()
    for line in reversed(lines):
        with contextlib.suppress(ValueError, AttributeError):
            if details := json.loads(line).get("error_detail"):
                return f"{details[0]['exc_type']}: {details[0]['exc_value']}"
    return "\n".join(lines[-5:])
