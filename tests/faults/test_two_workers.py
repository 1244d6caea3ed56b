"""Two workers, and eight, on the same work at the same time: one result, nothing doubled, nothing lost.

Also a worker that sleeps (SIGSTOP) through all that another does, and then goes on.
"""

from __future__ import annotations

import random

import pytest

from tests.faults.chains import PAGES, Chain, Tally, assert_published_once, publish, requests, vehicles

pytestmark = pytest.mark.timeout(1800)

DAY = "2026-11-09"
TRIES = 12


@pytest.fixture
def task(ledger):
    """The task of a whole day, as ``reader.py`` wants it, and its chains."""
    read = vehicles(ledger, DAY)[:2]
    settings = {name: str(value) for name, value in vars(ledger.settings).items() if name != "model_patience_h"}
    ledger.load("rcs", ledger.run("rcs", DAY, run_id="vehicles"), [], "vehicles")  # rows of unknown vehicles are set aside
    chains = [Chain(ledger, None, vehicle, DAY, "task") for vehicle in read]
    order = {
        "url": ledger.settings.raw_url,
        **chains[0].source,
        "load": {"settings": settings, "day": DAY, "run_id": "task", "vehicles": read},
    }
    return order, chains


def assert_one_result(ledger, chains):
    for chain in chains:
        chain.assert_whole()
    rows = assert_published_once(ledger, chains)
    loads = ledger.warehouse.loads(dataset="rcs.telemetry")
    assert len({load["load_id"] for load in loads}) == len(loads)
    assert sum(load["rows_inserted"] for load in loads) == rows, "what one has inserted the others find unchanged"
    assert sum(load["rows_updated"] + load["rows_deleted"] for load in loads) == 0
    return rows


@pytest.mark.parametrize("workers", [2, 8])
def test_workers_on_the_same_read_commit_each_page_once(ledger, reader, workers, request):
    chain = Chain(ledger, reader, vehicles(ledger, DAY)[0], DAY, "together")
    tally = Tally(reads=1)
    _, seconds = chain.attempt(tally, workers=workers)
    chain.assert_whole()
    assert chain.committed >= PAGES
    assert tally.requests <= workers * tally.pages
    publish(ledger, [chain])
    rows = assert_published_once(ledger, [chain])
    print(
        f"\n{request.node.callspec.id}: {workers} workers, {tally.pages} pages, {tally.requests} requests"
        f" ({tally.requests / tally.pages:.2f} per page), {rows} rows once, {seconds:.1f} s"
    )


@pytest.mark.parametrize("workers", [2, 8])
def test_workers_on_the_same_task_publish_it_once(ledger, loader, task, workers, request):
    order, chains = task
    before = requests(ledger)
    told = loader(**order, workers=workers)
    assert told["ended"] == ["0"] * workers
    pages = sum(chain.raw.resume_point(chain.key)[0] for chain in chains)
    asked = requests(ledger) - before
    assert asked <= workers * pages
    rows = assert_one_result(ledger, chains)
    print(
        f"\n{request.node.callspec.id}: {workers} tasks, {pages} pages, {asked} requests ({asked / pages:.2f} per page),"
        f" {rows} rows published once, {told['seconds']:.1f} s"
    )


@pytest.mark.parametrize("where", [{"at": "before", "page": 10}, {"at": "after", "page": 10}, {"at": "publishing"}])
def test_a_worker_that_slept_through_the_work_of_another_wakes_and_changes_nothing(ledger, loader, task, where):
    order, chains = task
    asleep = loader(**order, sleep=where)["asleep"]
    before = requests(ledger)
    assert loader(**order)["ended"] == ["0"], "the sleeper keeps nobody waiting"
    assert (requests(ledger) == before) == (where["at"] == "publishing"), "only what was not committed is fetched"
    assert_one_result(ledger, chains)
    stores, done = ledger.all_rows("rcs.telemetry"), requests(ledger)
    pages = [chain.raw.pages(chain.key) for chain in chains]
    assert loader(wake=asleep)["ended"] == ["0"]
    assert requests(ledger) - done <= sum(map(len, pages))
    assert [chain.raw.pages(chain.key) for chain in chains] == pages
    assert ledger.all_rows("rcs.telemetry") == stores, "not even provenance has changed"
    assert_one_result(ledger, chains)


def test_killed_while_publishing_at_random_instants_both_stores_come_to_the_same(ledger, loader, task, request):
    order, chains = task
    elsewhere = {**order, "load": {**order["load"], "run_id": "measured", "day": "2026-11-10"}}
    publish_s = loader(**elsewhere, die={"after_s": 1000, "from": "publishing"})["told_s"]
    assert loader(**order, die={"at": "publishing"})["ended"] == ["killed"], "all is fetched, nothing is published"
    chance, kills = random.Random(4), 0
    before = requests(ledger)
    for _ in range(TRIES):
        die = {"after_s": chance.uniform(0, publish_s), "from": "publishing"}
        kills += loader(**order, die=die)["ended"] == ["killed"]
    assert loader(**order)["ended"] == ["0"]
    assert requests(ledger) == before, "nothing is fetched again"
    for chain in chains:
        chain.assert_whole()
    others = [Chain(ledger, None, chain.key.scope, "2026-11-10", "measured") for chain in chains]
    rows = assert_published_once(ledger, [*chains, *others])
    assert kills
    print(
        f"\n{request.node.callspec.id}: {kills} kills in the {publish_s:.2f} s of publishing, {rows} rows once in both stores"
    )
