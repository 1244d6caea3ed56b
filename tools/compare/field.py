"""Where both sides play: one simulated vendor, one PostgreSQL server, processes that are watched, killed and counted."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from fleetlake import embedded
from fleetlake.contracts import load_contracts
from fleetlake.sandbox.rooms import room
from fleetlake.sandbox.settings import HeldBack, SandboxSettings
from fleetlake.sandbox.testing import Running, running
from fleetlake.sandbox.world import BIKE, World, day_number, moment
from fleetlake.warehouse import Warehouse
from fleetlake.window import DAY, Window, utc

HERE = Path(__file__).resolve().parent
INCLUDE = HERE.parents[1] / "include"
SEED, BIKES = 1, 8
FIRST = dt.date(2026, 10, 7)
"""First day of all scenarios with bikes."""
SILENT = {0: 2, 3: 1, 4: 1}
"""Bikes whose reception fails on that day, and before which of their rides: 30 positions of each arrive three days later, and
then three trips turn out to be others."""


@dataclass
class Figures:
    """What one side did in one scenario.

    Attributes:
        scenario, side, way: what was played, by whom, configured how.
        exits: exit status of its processes in order; 0, 1, or ``killed``.
        requests: requests at the vendor, logins and lists included.
        lost: rows of the truth that are not in the table.
        wrong: rows there that the vendor never had, or does not have any more.
        stale: rows there with values of an earlier day.
        duplicated: rows that are there more than once.
        note: what else the scenario counts.
    """

    scenario: str
    side: str
    way: str
    exits: list[str]
    requests: int
    lost: int = 0
    wrong: int = 0
    stale: int = 0
    duplicated: int = 0
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


Table = Counter[tuple[Any, tuple[Any, ...]]]
"""Rows of a table: key and values, with how often they are there."""


class Field:
    """The running vendor, and what is needed to look at both sides' results.

    Attributes:
        sandbox: the vendor.
        folder: for everything that is written.
    """

    def __init__(self, sandbox: Running, folder: Path, peer: str | None) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.peer = peer
        self.contracts = load_contracts(INCLUDE)
        self._server = folder / "pg"
        self._numbers = itertools.count(1)
        embedded.start(self._server, server_settings={"fsync": "off", "synchronous_commit": "off"})

    def close(self) -> None:
        """Stop the database server."""
        embedded.destroy(self._server)

    def at(self, day: dt.date) -> None:
        """Move the vendor's clock to the start of a day."""
        self.sandbox.context.clock.set(utc(day))

    def name(self, prefix: str) -> str:
        """A name not used before."""
        return f"{prefix}_{next(self._numbers)}"

    def database(self, name: str) -> str:
        """A new database, as SQLAlchemy URL."""
        return embedded.ensure_database(self._server, name)

    def connect(self, name: str) -> psycopg.Connection[Any]:
        """A connection to a database."""
        return psycopg.connect(embedded.url(self._server, name, driver="postgresql"))

    def peer_credentials(self, name: str) -> str:
        """A database for a peer's driver, as libpq URL."""
        with self.connect(name) as connection:
            info = connection.info
            return f"postgresql://{info.user}:none@localhost:{info.port}/{name}?host={info.host}"

    def copy(self, name: str, new: str) -> None:
        """A new database with the content of another."""
        with psycopg.connect(embedded.url(self._server, "postgres", driver="postgresql"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{new}" TEMPLATE "{name}"')

    def truth(self, table: str, window: Window, columns: tuple[str, ...], key: int, **only: Any) -> Table:
        """What the vendor has at its present moment.

        Args:
            table: ``powunity.trip`` …
            window: of event time.
            columns: key first, then values.
            key: so many of the columns are the key.
            only: values other columns must have.
        """
        vendor, dataset = table.split(".")
        customer = {"powunity": "north", "rcs": "main"}[vendor]
        rows = room(vendor).truth(self.sandbox.context, dataset, window, customer)
        return Counter(
            split(tuple(row[name] for name in columns), key)
            for row in rows
            if all(str(row[name]) == str(value) for name, value in only.items())
        )

    def query(self, database: str, statement: str, key: int) -> Table:
        """Rows of one side's table in the same shape; none if there is no table yet."""
        with self.connect(database) as connection:
            try:
                rows = connection.execute(statement).fetchall()
            except psycopg.errors.UndefinedTable:
                return Counter()
        return Counter(split(row, key) for row in rows)

    def requests(self, vendor: str) -> int:
        """Requests since the log was cleared."""
        return len(self.sandbox.log(vendor))

    # --- processes ------------------------------------------------------------------------------------------------------

    def start(self, side: str, asked: dict[str, Any]) -> subprocess.Popen[str]:
        """Start one run of a side."""
        python = sys.executable if side == "fleetlake" else str(self.peer)
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "FLEETLAKE", "PYTHON"))
        }
        if side == "fleetlake" and "PYTHONPATH" in os.environ:
            clean["PYTHONPATH"] = os.environ["PYTHONPATH"]
        script = "fleetlake_side.py" if side == "fleetlake" else "dlt_side.py"
        log = (self.folder / f"{side}-{next(self._numbers)}.log").open("w")
        return subprocess.Popen(
            [python, str(HERE / script), json.dumps(asked)], env=clean, stdout=log, stderr=log, text=True, cwd=self.folder
        )

    def run(self, side: str, asked: dict[str, Any]) -> str:
        """One run to its end; its exit status."""
        return ended(self.start(side, asked))

    def run_until(self, side: str, asked: dict[str, Any], reached: Callable[[], bool], seconds: float = 120) -> str:
        """One run, killed (SIGKILL) as soon as something is reached."""
        process = self.start(side, asked)
        deadline = time.monotonic() + seconds
        while not reached():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"{side} ended with {process.wait()} before it could be killed; see {self.folder}")
            time.sleep(0.01)
        process.kill()
        return ended(process)


def ended(process: subprocess.Popen[str]) -> str:
    """Exit status in one word."""
    code = process.wait(timeout=600)
    return "killed" if code == -9 else str(min(code, 1))


def split(row: tuple[Any, ...], key: int) -> tuple[Any, tuple[Any, ...]]:
    """Key and values of a row, comparable across drivers: times as UTC texts, numbers as short texts."""
    values = tuple(_plain(value) for value in row)
    return values[:key], values[key:]


def _plain(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat()
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value).lower()


def compare(truth: Table, found: Table) -> dict[str, int]:
    """The four ways to be wrong, counted in rows."""
    values = dict(list(truth))
    keys = Counter(key for key, _ in found.elements())
    return {
        "lost": len(values.keys() - keys.keys()),
        "wrong": len(keys.keys() - values.keys()),
        "stale": sum(values[key] != value for key, value in found if key in values),
        "duplicated": sum(count - 1 for count in keys.values()),
    }


def silent_bikes() -> tuple[HeldBack, ...]:
    """What arrives three days late, see ``SILENT``."""
    bikes = World(SEED, late={}).fleet("powunity.north", BIKES, BIKE)
    found = []
    for index, ride in SILENT.items():
        bike = bikes[index]
        until = bike.rides(day_number(FIRST))[ride].start + 120
        times = [sample.time for sample in bike.samples(day_number(FIRST)) if sample.time <= until][-30:]
        start = moment(times[0])
        found.append(
            HeldBack(fleet=bike.fleet, vehicle=index, start=start, end=moment(times[-1] + 1), received=start + 3 * DAY)
        )
    return tuple(found)


@contextlib.contextmanager
def open_field(folder: Path, peer: str | None) -> Iterator[Field]:
    """Start the vendor and the server, and stop them at the end.

    Args:
        folder: empty folder.
        peer: Python of the peer's virtual environment; ``None`` = only our own side is played.
    """
    settings = SandboxSettings(
        state_dir=folder / "sandbox",
        seed=SEED,
        as_of=utc(FIRST + 4 * DAY),
        vehicles=2,
        bikes=BIKES,
        rooms=("powunity", "rcs"),
        held_back=silent_bikes(),
        assumptions={"rcs.requests_per_second": 0, "rcs.task_seconds": 1.0},
    )
    with running(settings) as sandbox:
        field = Field(sandbox, folder, peer)
        try:
            yield field
        finally:
            field.close()


def warehouse(url: str) -> Warehouse:
    """Ours, with all tables."""
    made = Warehouse(url)
    made.migrate(load_contracts(INCLUDE), INCLUDE)
    return made
