"""Publishers that are killed, and publishers that meet. Each is a real process; kill means SIGKILL."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleetlake.changes import Change
from fleetlake.contracts import Contract
from fleetlake.lake import Lake
from fleetlake.warehouse import Warehouse
from fleetlake.window import Window

from . import samples
from .samples import canonical, contract, hours, ride

INCLUDE = Path(__file__).resolve().parents[2] / "include"
WORKER = Path(__file__).with_name("worker.py")


class Worker:
    """A publisher that waits at the steps it was given."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, step: str) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line == step, f"{line!r} {self.errors() if not line else ''}"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def finish(self) -> None:
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors

    def errors(self) -> str:
        return self.process.communicate(timeout=60)[1]


@pytest.fixture
def table(warehouse: Warehouse) -> Contract:
    of = contract(f"ride_{uuid.uuid4().hex[:8]}")
    warehouse.migrate([of], INCLUDE)
    return of


@pytest.fixture
def start(database_url: str, tmp_path: Path, table: Contract) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def begin(load_id: str, first: int, count: int, *stops: str, url: str = database_url) -> Worker:
        workers.append(Worker(url, tmp_path / "lake", table.name, f"{table.name}-{load_id}", first, count, *stops))
        return workers[-1]

    yield begin
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


def state(warehouse: Warehouse, of: Contract) -> tuple[int, int, bool]:
    """Rows, loads, and whether the day is proven complete."""
    missing = warehouse.missing("north", of.table, ["1"], Window(hours(0), hours(24)))
    return len(list(warehouse.rows(of))), len(warehouse.loads(dataset=of.table)), not missing


@pytest.mark.parametrize("step", ["locked", "lake", "rows", "ledger"])
def test_killed_before_its_commit_leaves_nothing_and_the_next_publication_heals(
    warehouse: Warehouse, table: Contract, start: Callable[..., Worker], tmp_path: Path, step: str
) -> None:
    worker = start("L1", 0, 500, step)
    worker.wait_for(step)
    worker.kill()
    assert state(warehouse, table) == (0, 0, False)
    start("L1", 0, 500).finish()  # waits for the lock that the dead one held, which PostgreSQL frees
    assert state(warehouse, table) == (500, 1, True)
    lake = Lake(str(tmp_path / "lake"))
    assert canonical(lake.rows(table)) == canonical(warehouse.rows(table))
    assert lake.last_load_id(table) == f"{table.name}-L1"


def test_killed_after_its_commit_has_published_once(
    warehouse: Warehouse, table: Contract, start: Callable[..., Worker], tmp_path: Path
) -> None:
    worker = start("L1", 0, 500, "committed")
    worker.wait_for("committed")
    worker.kill()
    before = canonical(warehouse.rows(table, columns=["ride_id", "load_id", "loaded_at"]))
    start("L1", 0, 500).finish()
    assert canonical(warehouse.rows(table, columns=["ride_id", "load_id", "loaded_at"])) == before
    (load,) = warehouse.loads(dataset=table.table)
    assert (load["rows_inserted"], load["rows_unchanged"]) == (500, 0), "the ledger tells what the first one did"


def test_two_processes_with_the_same_batch_publish_it_once(
    warehouse: Warehouse, table: Contract, start: Callable[..., Worker], tmp_path: Path
) -> None:
    workers = [start("L1", 0, 2000, "ready") for _ in range(2)]
    for worker in workers:
        worker.wait_for("ready")
    for worker in workers:
        worker.go()
    for worker in workers:
        worker.finish()
    assert state(warehouse, table) == (2000, 1, True)
    assert canonical(Lake(str(tmp_path / "lake")).rows(table)) == canonical(warehouse.rows(table))


def test_two_processes_with_different_batches_both_publish(
    warehouse: Warehouse, table: Contract, start: Callable[..., Worker], tmp_path: Path
) -> None:
    workers = [start("L1", 0, 1000, "ready"), start("L2", 500, 1000, "ready")]
    for worker in workers:
        worker.wait_for("ready")
    for worker in workers:
        worker.go()
    for worker in workers:
        worker.finish()
    assert state(warehouse, table) == (1500, 2, True)
    assert canonical(Lake(str(tmp_path / "lake")).rows(table)) == canonical(warehouse.rows(table))


def test_writers_of_the_lake_that_no_lock_keeps_apart_lose_and_double_nothing(
    table: Contract, start: Callable[..., Worker], tmp_path: Path
) -> None:
    workers = [start(f"L{number}", 300 * number, 600, "ready", url="-") for number in range(4)]
    workers.append(start("L0", 0, 600, "ready", url="-"))
    for worker in workers:
        worker.wait_for("ready")
    for worker in workers:
        worker.go()
    for worker in workers:
        worker.finish()
    found = sorted(row["ride_id"] for row in Lake(str(tmp_path / "lake")).rows(table))
    assert found == [f"r{number:06d}" for number in range(1500)]


def test_killed_at_any_moment_the_lake_holds_whole_batches(
    table: Contract, start: Callable[..., Worker], tmp_path: Path
) -> None:
    chance = random.Random(7)
    lake = Lake(str(tmp_path / "lake"))
    size = 3000
    for number in range(4):
        worker = start(f"L{number}", size * number, size, "ready", url="-")
        worker.wait_for("ready")
        worker.go()
        time.sleep(chance.uniform(0, 0.15))  # somewhere within the publication
        worker.kill()
        per_batch = [0] * 4
        for row in lake.rows(table):
            per_batch[int(row["ride_id"][1:]) // size] += 1
        assert set(per_batch) <= {0, size}
    rows = [ride(f"r{number:06d}", 1, number % 24) for number in range(size * 4)]
    for number in range(4):  # publishing all of them again completes what is missing
        change = lake.publish(
            table, samples.table(table, rows[size * number : size * (number + 1)]), f"{table.name}-L{number}"
        )
        assert change in (Change(inserted=size), Change(unchanged=size))
    assert len(list(lake.rows(table))) == size * 4
