"""Reads of a hundred pages, the processes that carry them out, and what must be true of them afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
from fleetlake.pipeline.reads import key_of
from fleetlake.raw import RawStore
from fleetlake.sandbox.rooms import room
from fleetlake.vendors.rcs.source import FEEDS
from fleetlake.vendors.suivideflotte.source import FEEDS as CAR_FEEDS
from fleetlake.window import Window

PAGES = 100


class Reader:
    """The fork server of ``reader.py``."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("reader.py")), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, **order):
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)


@dataclass
class Tally:
    """What killing cost."""

    kills: int = 0
    requests: int = 0
    pages: int = 0
    reads: int = 0
    worst: int = 0
    seconds: float = 0

    def add(self, requests: int, pages: int, *, killed: bool) -> None:
        self.requests += requests
        self.pages += pages
        self.kills += killed
        self.worst = max(self.worst, requests - pages)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills in {self.reads} reads: {self.pages} pages, {self.requests} requests,"
            f" {self.requests - self.pages} beyond one per page, at most {self.worst} per kill, {self.seconds:.0f} s"
        )


class Chain:
    """Reads of one vehicle's day, page by page.

    Args:
        place: sandbox and stores.
        reader: the fork server.
        vehicle, day: what is read; ``take`` rows at a time make it a hundred pages.
        run_id: names the read.
    """

    def __init__(self, place, reader, vehicle, day, run_id):
        self.place, self.reader = place, reader
        self.run = place.run("rcs", day, run_id=run_id)
        rows = sum(row["vehicle_id"] == vehicle for row in truth(place, day))
        # Each page begins with the last row of the one before; the last page holds that row alone.
        self.take = max(take for take in range(2, 100) if pages_of(rows, take) >= PAGES)
        self.expected = pages_of(rows, self.take)
        self.key = key_of(self.run.account, FEEDS["telemetry"], vehicle, self.run.window, self.run.read_name(1))
        self.raw = RawStore(place.settings.raw_url)
        pair = place.sandbox.pki.pair("client")
        rcs = {
            "base_url": place.sandbox.urls["rcs"], "cert": str(pair.cert), "key": str(pair.key), "ca": str(place.sandbox.pki.ca)
        }  # fmt: skip
        self.source = {"rcs": rcs, "take": self.take}
        self.committed = 0

    def attempt(self, tally, *, workers=1, die=None):
        """One try; ``True`` when it was killed."""
        window = [self.key.window.start.isoformat(), self.key.window.end.isoformat()]
        key = {name: getattr(self.key, name) for name in ("account", "vendor", "feed", "scope", "read")}
        before = requests(self.place, self.key.vendor)
        told = self.reader(
            url=self.place.settings.raw_url, **self.source, key={**key, "window": window}, die=die, workers=workers
        )
        killed = told["ended"] == ["killed"]
        assert killed or set(told["ended"]) == {"0"}, told
        count = self.raw.resume_point(self.key)[0]
        tally.add(requests(self.place, self.key.vendor) - before, count - self.committed, killed=killed)
        self.committed = count
        return killed, told["seconds"]

    @property
    def is_complete(self):
        last = self.raw.resume_point(self.key)[1]
        return last is not None and last.is_last

    def assert_whole(self):
        """Every row of the day is in the pages once, but for the row that each page repeats from the one before."""
        pages = self.raw.pages(self.key)
        assert [page.seq for page in pages] == list(range(len(pages)))
        assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
        assert [page.cursor_in for page in pages[1:]] == [page.cursor_out for page in pages[:-1]]
        found = []
        for page in pages:
            rows = [row["revision"] for row in msgspec.json.decode(self.raw.body(page))]
            assert page.cursor_in is None or rows[0].lower() == page.cursor_in
            found += rows if page.cursor_in is None else rows[1:]
        wanted = [row["revision"] for row in truth(self.place, self.run.partition) if row["vehicle_id"] == self.key.scope]
        assert len(found) == len(set(found)), "a row came twice"
        assert sorted(found) == sorted(wanted), "a row is lost"


class CarChain(Chain):
    """Reads of the trips of one SuiviDeFlotte vehicle: two a page, and after each page the one before it again.

    Args:
        place, reader, vehicle, run_id: as above.
        window: at most what one request may be about.
    """

    def __init__(self, place, reader, vehicle, window, run_id):
        self.place, self.reader = place, reader
        self.run = place.run("suivideflotte", str(window.start.date()), run_id=run_id, window=window, partition=None)
        self.key = key_of(self.run.account, CAR_FEEDS["trips"], vehicle, window, self.run.read_name(1))
        self.raw = RawStore(place.settings.raw_url)
        token = place.sandbox.customers["suivideflotte"]["france"]["token"]
        fields = {"base_url": place.sandbox.urls["suivideflotte"], "token": token, "history_days": 0, "per_page": 2}
        self.source = {"suivideflotte": fields}
        self.committed = 0

    def assert_whole(self):
        """Every page is there once, and once more to be compared, in the order in which the vendor is to be asked."""
        pages = self.raw.pages(self.key)
        assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
        assert [page.cursor_in for page in pages[1:]] == [page.cursor_out for page in pages[:-1]]
        asked = [int(parse_qs(urlsplit(page.request).query)["page"][0]) for page in pages]
        assert asked == [1, *(number for page in range(2, len(pages) // 2 + 2) for number in (page, page - 1))]
        found = {number: [] for number in asked}
        for number, page in zip(asked, pages, strict=True):
            found[number].append([row["id"] for row in msgspec.json.decode(self.raw.body(page))["data"]])
        assert all(again == [first] * len(again) for first, *again in found.values())
        trips = [trip for first, *_ in found.values() for trip in first]
        assert len(trips) == len(set(trips)), "a row came twice"
        assert set(trips) >= {row["trip_id"] for row in car_trips(self.place, self.key.window, self.key.scope)}, (
            "a row is lost"
        )


def car_trips(place, window, vehicle=None):
    """Trips that began in a window."""
    rows = room("suivideflotte").truth(place.sandbox.context, "trip", window, None)
    return [row for row in rows if vehicle in (None, str(row["vehicle_id"]))]


def pages_of(rows, take):
    """Pages of a read, its last one included."""
    return -(-(rows - 1) // (take - 1)) + 1


def truth(place, day):
    return list(room("rcs").truth(place.sandbox.context, "telemetry", Window.day(day), None))


def requests(place, vendor="rcs") -> int:
    """Requests for telemetry, or for trips, when none is under way any more."""
    path = {"rcs": "/telemetry/history/", "suivideflotte": "/trips"}[vendor]
    deadline = time.monotonic() + 20
    while any(who["in_flight"] for who in place.sandbox.stats().get(vendor, {}).values()):
        assert time.monotonic() < deadline, "a request does not end"
        time.sleep(0.001)
    return sum(path in entry["path"] for entry in place.sandbox.log(vendor))


def publish(place, chains):
    """Publish what was read, run by run, without a request for a page of it."""
    for run in dict.fromkeys(chain.run for chain in chains):
        read = tuple(chain.key.scope for chain in chains if chain.run == run)
        before = requests(place)
        place.load("rcs", replace(run, vehicles=read), ["telemetry"], "vehicles")
        assert requests(place) == before, "pages were fetched that are committed"


def vehicles(place, day):
    return sorted({row["vehicle_id"] for row in truth(place, day)})


def assert_published_once(place, chains):
    """Both stores hold exactly the rows of the vehicles and days that were read."""
    contract = place.contracts["rcs.telemetry"]
    wanted = sorted(
        (row["vehicle_id"], row["revision"])
        for day, vehicle in {(chain.run.partition, chain.key.scope) for chain in chains}
        for row in truth(place, day)
        if row["vehicle_id"] == vehicle
    )
    for store in (place.warehouse, place.lake):
        rows = [row for row in store.rows(contract) if row["deleted_at"] is None]
        assert sorted((row["vehicle_id"], row["revision"]) for row in rows) == wanted
    warehouse, lake = place.all_rows("rcs.telemetry")
    assert warehouse == lake
    days = {chain.run.partition for chain in chains}
    for day in days:
        whole = {chain.key.scope for chain in chains if chain.run.partition == day}
        if whole == set(vehicles(place, day)):
            place.assert_true("rcs.telemetry", Window.day(day))
    return len(wanted)
