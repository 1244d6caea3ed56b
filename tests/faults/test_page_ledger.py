"""Reads of a hundred pages, killed (SIGKILL) at every commit boundary and at random instants, on a disk and in S3.

Told for each store: kills, requests, pages, requests beyond one per page, the most of them after one kill.
"""

from __future__ import annotations

import random
import time

import pytest
from fleetlake.canonical import Digest
from fleetlake.window import Window

from tests.faults.chains import PAGES, CarChain, Chain, Tally, assert_published_once, car_trips, publish, requests, vehicles

pytestmark = pytest.mark.timeout(1800)

RANDOM_KILLS = 200
KILLS_PER_READ = 20


def test_a_hundred_pages_killed_at_every_commit_boundary(ledger, reader, request):
    day = "2026-11-09"
    chains = [Chain(ledger, reader, vehicle, day, "every boundary") for vehicle in vehicles(ledger, day)]
    chain = min(chains, key=lambda chain: chain.expected)  # as near to a hundred as the day has it
    tally = Tally(reads=1)
    began = time.monotonic()
    number = 0
    while not chain.is_complete:
        for at in ("before", "after"):
            killed, _ = chain.attempt(tally, die={"at": at, "page": number})
            assert killed
            assert chain.committed == number + (at == "after")
        number += 1
    tally.seconds = time.monotonic() - began
    killed, _ = chain.attempt(tally)
    assert not killed
    assert number == chain.expected >= PAGES
    assert tally.kills == 2 * number
    assert tally.pages == number
    assert tally.worst <= 1
    assert tally.requests == 2 * number, "a page that was not committed is fetched again, and no other"
    chain.assert_whole()
    publish(ledger, [chain])
    rows = assert_published_once(ledger, [chain])
    print(f"\n{request.node.callspec.id}: {tally}; 0 of {rows} rows lost, 0 doubled")


def test_a_list_that_is_compared_page_by_page_killed_at_every_commit_boundary(ledger, reader, request):
    """SuiviDeFlotte, whose calls are scarcest: each page is asked for again after the next, and each of both is kept."""
    window = Window.parse("2026-11-09", "2026-11-16")
    vehicle = str(car_trips(ledger, window)[0]["vehicle_id"])
    free = CarChain(ledger, reader, vehicle, window, "free")
    whole = Tally()
    free.attempt(whole)
    chain = CarChain(ledger, reader, vehicle, window, "every boundary")
    tally = Tally(reads=1)
    began = time.monotonic()
    number = 0
    while not chain.is_complete:
        for at in ("before", "after"):
            killed, _ = chain.attempt(tally, die={"at": at, "page": number})
            assert killed
            assert chain.committed == number + (at == "after")
            assert chain.committed <= whole.pages, "no progress"
        number += 1
    tally.seconds = time.monotonic() - began
    assert number == whole.pages == whole.requests > 15
    assert tally.worst <= 1
    assert tally.requests == 2 * number, "a page that was not committed is fetched again, and no other"
    chain.assert_whole()
    before = requests(ledger, "suivideflotte")
    with ledger.pipeline("suivideflotte") as pipeline:
        pipeline.plan(chain.run, entity_feed="vehicles", feeds=[])
        pipeline.load(chain.run, feeds=["trips"], scopes=[vehicle])
    assert requests(ledger, "suivideflotte") == before, "pages were fetched that are committed"
    truth = Digest.of(car_trips(ledger, window, vehicle))
    contract = ledger.contracts["suivideflotte.trip"]
    for store in (ledger.warehouse, ledger.lake):
        rows = [row for row in store.rows(contract) if row["deleted_at"] is None]
        assert Digest.of([{column.name: row[column.name] for column in contract.columns} for row in rows]) == truth
    print(f"\n{request.node.callspec.id}: {tally}; 0 of {truth.rows} rows lost, 0 doubled")


def test_a_hundred_pages_killed_at_two_hundred_random_instants(ledger, reader, request):
    chance = random.Random(20261122)
    tally, chains = Tally(), []
    days = ("2026-11-09", "2026-11-10", "2026-11-11", "2026-11-12")
    pairs = [(vehicle, day) for day in days for vehicle in vehicles(ledger, day)]
    free = Chain(ledger, reader, *pairs[-1], "free")
    _, whole_s = free.attempt(Tally())
    pages_per_s = free.committed / whole_s
    startup = Chain(ledger, reader, *pairs[-1], "free")  # again: it looks and finds nothing left to ask
    _, startup_s = startup.attempt(Tally())
    reach_s = 2 * max(whole_s - startup_s, whole_s / 2) / KILLS_PER_READ
    began = time.monotonic()
    while tally.kills < RANDOM_KILLS:
        again, number = divmod(len(chains), len(pairs))
        chain = Chain(ledger, reader, *pairs[number], f"random {again}")
        chains.append(chain)
        while not chain.is_complete:
            if tally.kills == RANDOM_KILLS:
                die = None
            elif chance.random() < 0.2:  # before the first request, or about then
                die = {"after_s": chance.uniform(0, startup_s)}
            else:
                die = {"after_s": chance.uniform(0, reach_s), "from": "request"}
            before = chain.committed
            chain.attempt(tally, die=die)
            if die and "from" in die:
                # The machine may be faster or slower than it was when the length of a read was measured.
                gained = chain.committed - before
                reach_s *= 0.8 if gained > 2 * PAGES / KILLS_PER_READ else 1.05 if gained == 0 else 1
    tally.seconds, tally.reads = time.monotonic() - began, len(chains)
    assert tally.kills == RANDOM_KILLS
    assert tally.worst <= 1
    assert tally.requests - tally.pages <= tally.kills
    for chain in chains:
        assert chain.committed >= PAGES
        chain.assert_whole()
    publish(ledger, chains)
    rows = assert_published_once(ledger, chains)
    print(f"\n{request.node.callspec.id}: {tally}; 0 of {rows} rows lost, 0 doubled")
    print(f"a read that nobody kills: {pages_per_s:.0f} pages/s ({whole_s:.2f} s, {startup_s:.2f} s of it to begin)")
