from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from fleetlake import embedded
from fleetlake.errors import ConfigError, RateLimited, StoreUnavailable
from fleetlake.http.rate_gate import LocalGate, PostgresGate
from fleetlake.reading import Lane

Gate = LocalGate | PostgresGate
Make = Callable[..., Gate]


class Sleeper:
    """Notes what it was asked to sleep, and sleeps nothing."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("postgres") / "data"
    embedded.start(folder)
    yield folder
    embedded.destroy(folder)


@pytest.fixture
def url(data_dir: Path, request: pytest.FixtureRequest) -> str:
    embedded.start(data_dir)
    name = f"gate_{abs(hash(request.node.name))}"
    return embedded.ensure_database(data_dir, name)


@pytest.fixture(params=["local", "postgres"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    gates: list[PostgresGate] = []

    def made(rate: float, **options: object) -> Gate:
        if request.param == "local":
            return LocalGate(rate, **options)  # type: ignore[arg-type]
        gate = PostgresGate(request.getfixturevalue("url"), "rcs:main", rate, **options)  # type: ignore[arg-type]
        gates.append(gate)
        return gate

    yield made
    for gate in gates:
        gate.close()


def test_requests_are_spaced_by_the_rate(make: Make) -> None:
    sleep = Sleeper()
    gate = make(0.5, sleep=sleep)
    for _ in range(4):
        gate.acquire(Lane.LIVE)
    assert sleep.slept == [pytest.approx(wait, abs=1) for wait in (2, 4, 6)]


def test_a_burst_goes_at_once_after_a_pause(make: Make) -> None:
    sleep = Sleeper()
    gate = make(0.5, burst=3, sleep=sleep)
    for _ in range(4):
        gate.acquire(Lane.LIVE)
    assert sleep.slept == [pytest.approx(2, abs=1)]


def test_higher_lanes_find_room_while_lower_ones_queue(make: Make) -> None:
    slept: list[float] = []
    gate = make(0.5, sleep=slept.append)
    for _ in range(3):
        gate.acquire(Lane.BACKFILL)
    # The backfill queues at its own key; had it slept there, the scheduled lane would see one call every 2.9 s.
    backfill_waits = [wait for wait in slept if wait > 0]
    assert max(backfill_waits) == pytest.approx(2 / 0.5 / 0.7, abs=1.5)


def test_live_is_not_held_up_by_a_crowd_of_backfills(make: Make) -> None:
    gate = make(20, max_wait_s=30)
    gate.acquire(Lane.LIVE)
    stop = threading.Event()

    def crowd() -> None:
        while not stop.is_set():
            gate.acquire(Lane.BACKFILL)

    threads = [threading.Thread(target=crowd, daemon=True) for _ in range(12)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)  # let the queue build up
    waits = []
    for _ in range(5):
        began = time.monotonic()
        gate.acquire(Lane.LIVE)
        waits.append(time.monotonic() - began)
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join(10)
    # Twelve backfills at 14 per second stand 0.8 s deep in their own queue; live waits a few slots of 0.05 s.
    assert sorted(waits)[2] < 0.35


def test_a_429_makes_everybody_wait(make: Make) -> None:
    sleep = Sleeper()
    gate = make(100, burst=50, sleep=sleep)
    gate.acquire(Lane.LIVE)
    gate.penalise(7)
    gate.acquire(Lane.LIVE)
    gate.acquire(Lane.BACKFILL)
    gate.penalise(0)
    assert len(sleep.slept) == 2
    assert all(wait == pytest.approx(7, abs=2) for wait in sleep.slept)


def test_a_penalty_never_shortens_a_longer_one(make: Make) -> None:
    sleep = Sleeper()
    gate = make(100, sleep=sleep)
    gate.penalise(20)
    gate.penalise(1)
    gate.acquire(Lane.LIVE)
    assert sleep.slept == [pytest.approx(20, abs=5)]


def test_a_wait_above_the_bound_is_raised_and_reserves_nothing(make: Make) -> None:
    sleep = Sleeper()
    gate = make(1, max_wait_s=10, sleep=sleep)
    gate.penalise(50)
    for _ in range(3):
        with pytest.raises(RateLimited) as caught:
            gate.acquire(Lane.LIVE)
        assert caught.value.retry_after == pytest.approx(50, abs=5)
    assert sleep.slept == []


@pytest.mark.parametrize("options", [{"rate": 0}, {"rate": 1, "burst": 0.5}, {"rate": -1}])
def test_a_gate_without_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        LocalGate(**options)


_WORKER = """
import sys, time
from fleetlake.http.rate_gate import PostgresGate
from fleetlake.reading import Lane
gate = PostgresGate(sys.argv[1], "rcs:shared", 25)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(15):
    gate.acquire(Lane.SCHEDULED)
    print(time.time(), flush=True)
"""


def test_processes_share_one_rate_and_make_the_table_together(url: str) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", _WORKER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    outputs = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        output, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        outputs.append([float(line) for line in output.split()])
    sent = sorted(moment for output in outputs for moment in output)
    assert len(sent) == 60
    rate = (len(sent) - 1) / (sent[-1] - sent[0])
    assert rate < 24  # nine tenths of 25, however busy the machine is
    busiest = max(sum(1 for other in sent if moment <= other < moment + 1) for moment in sent)
    assert busiest <= 27


def test_the_table_is_the_one_of_the_warehouse(url: str) -> None:
    gate = PostgresGate(url, "rcs:main", 100)
    gate.acquire(Lane.BACKFILL)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        keys = connection.execute(sa.text("SELECT key FROM ops.rate_gate ORDER BY key")).scalars().all()
    assert keys == ["rcs:main", "rcs:main#backfill", "rcs:main#scheduled"]
    shared = PostgresGate(engine, "rcs:other", 100)
    shared.acquire(Lane.LIVE)
    shared.close()
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM ops.rate_gate")).scalar() == 4
    engine.dispose()
    gate.close()


def test_a_stopped_database_is_told_and_its_restart_survived(url: str, data_dir: Path) -> None:
    gate = PostgresGate(url, "rcs:main", 100)
    gate.acquire(Lane.LIVE)
    embedded.stop(data_dir)
    with pytest.raises(StoreUnavailable, match="rate gate cannot reach PostgreSQL"):
        gate.acquire(Lane.LIVE)
    with pytest.raises(StoreUnavailable):
        gate.penalise(1)
    embedded.start(data_dir)
    gate.acquire(Lane.LIVE)
    gate.close()


def test_no_password_is_shown_when_the_database_is_away() -> None:
    gate = PostgresGate("postgresql+psycopg://fleet:hunter22@127.0.0.1:9/none", "k", 1)
    with pytest.raises(StoreUnavailable) as caught:
        gate.acquire(Lane.LIVE)
    assert "hunter22" not in str(caught.value) + repr(caught.value.__context__)
