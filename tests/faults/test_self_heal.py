"""Fifty holes over 1,000 vehicles and 90 days: found, told from what is none, closed by one run of the DAG, with few requests."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from fleetlake.coverage import Interval, State
from fleetlake.pipeline.rooms import vendor_room
from fleetlake.reading import FLEET, Feed, Kind
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.window import DAY

from tests.faults.healing import DAYS, FIRST, NO_LIMITS, TODAY, House, hole, interval

pytestmark = pytest.mark.timeout(900)

TAKE = 1000
"""Telemetry rows in one page."""

PER_PAGE = 100
"""Alerts in one page."""


@pytest.fixture(scope="module")
def house(tmp_path_factory, make_database):
    folder = tmp_path_factory.mktemp("airflow")
    settings = SandboxSettings(
        state_dir=tmp_path_factory.mktemp("sandbox"),
        as_of=TODAY,
        vehicles=400,
        bikes=50,
        trucks=300,
        cars=200,
        assumptions=NO_LIMITS,
    )
    with running(settings) as sandbox:
        made = House(folder, sandbox, make_database(migrated=True))
        yield made
        made.close()


def fifty(vehicles: dict[str, list[str]]) -> list[Interval]:
    """Failed, half read and never asked for; over five vendors' feeds; some next to each other, some at the very end."""
    main, north, south, trucks, france = (vehicles[name] for name in ("main", "north", "south", "trucks", "france"))
    return [
        # a stream by revision: chains of pages
        hole("main", "rcs.telemetry", main[0], 3, 4),
        hole("main", "rcs.telemetry", main[1], 5, 6, "gap"),
        hole("main", "rcs.telemetry", main[2], DAYS - 2, DAYS, "gap"),
        hole("main", "rcs.telemetry", main[3], 10, 11),
        hole("main", "rcs.telemetry", main[3], 11, 12, "partial"),
        hole("main", "rcs.telemetry", main[3], 12, 13, "gap"),
        hole("main", "rcs.telemetry", main[4], 20, 21),
        hole("main", "rcs.telemetry", main[4], 60, 61),
        # seven days in one request
        hole("main", "rcs.trouble", main[5], 30, 31),
        hole("main", "rcs.trouble", main[5], 34, 35, "gap"),
        hole("main", "rcs.trouble", main[6], 40, 41),
        hole("main", "rcs.trouble", main[7], 40, 42, "gap"),
        hole("main", "rcs.trouble", main[8], 0.5, 1),
        hole("main", "rcs.trouble", main[8], 1, 2, "partial"),
        # a report about the fleet: proven by the details of every vehicle
        hole("main", "rcs.health_report", FLEET, 40, 41, "partial"),
        # one day of one bike in a request
        hole("north", "powunity.trip", north[0], 15, 16),
        hole("north", "powunity.trip", north[1], 20, 22, "gap"),
        hole("north", "powunity.trip", north[2], 50, 51, "partial"),
        hole("north", "powunity.position", north[0], 15, 16),
        hole("north", "powunity.position", north[3], DAYS - 1, DAYS, "gap"),
        hole("south", "powunity.trip", south[0], 70, 71),
        hole("south", "powunity.stop", south[1], 33, 34, "gap"),
        hole("south", "powunity.stop", south[2], DAYS - 3, DAYS, "gap"),
        # fifty trucks and 31 days in one request
        *(hole("trucks", "omnicomm.consolidated_report", truck, 45, 46) for truck in trucks[:12]),
        hole("trucks", "omnicomm.consolidated_report", trucks[12], 50, 51, "gap"),
        hole("trucks", "omnicomm.consolidated_report", trucks[13], 74, 75),
        hole("trucks", "omnicomm.consolidated_report", trucks[14], 80, 81),
        # fifty trucks and one day
        *(hole("trucks", "omnicomm.statistics", truck, 12, 13) for truck in trucks[:3]),
        hole("trucks", "omnicomm.statistics", trucks[3], 13, 14, "gap"),
        # one truck and one day
        hole("trucks", "omnicomm.track_point", trucks[0], 12, 13),
        hole("trucks", "omnicomm.track_point", trucks[5], 66, 68, "gap"),
        # pages of lists
        hole("france", "suivideflotte.trip", france[0], 10, 20, "gap"),
        hole("france", "suivideflotte.trip", france[1], 30, 31),
        hole("france", "suivideflotte.trip", france[1], 33, 34, "partial"),
        hole("france", "suivideflotte.trip", france[2], DAYS - 5, DAYS, "gap"),
        hole("france", "suivideflotte.alert", FLEET, 60, 61),
        hole("france", "suivideflotte.alert", FLEET, 62, 63, "gap"),
    ]


def none_of_ours(vehicles: dict[str, list[str]]) -> list[Interval]:
    """Today, which has not come, and what the vendor has forgotten."""
    today: dict[str, Any] = {"state": State.NOT_YET, "proof": "early: read before its end"}
    gone: dict[str, Any] = {"state": State.OUT_OF_RETENTION, "proof": "out of retention: 30 days"}
    return [
        interval("main", "rcs.telemetry", vehicles["main"][20], DAYS, DAYS + 1, **today),
        interval("north", "powunity.trip", vehicles["north"][20], DAYS, DAYS + 1, **today),
        interval("trucks", "omnicomm.track_point", vehicles["trucks"][20], DAYS, DAYS + 1, **today),
        interval("france", "suivideflotte.trip", vehicles["france"][20], 0, 1, **gone),
    ]


class Minimum:
    """The fewest requests that read some holes, by trying; knows nothing of the planner."""

    def __init__(self, house: House, holes: list[Interval]) -> None:
        self.house = house
        self.days: dict[tuple[str, str], dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        for item in holes:
            start, end = (item.window.start - FIRST) / DAY, (item.window.end - FIRST) / DAY
            self.days[item.account, item.dataset][item.scope] |= set(range(math.floor(start), math.ceil(end)))

    @staticmethod
    def fewest(days: set[int], longest: int, cost: Callable[[int, int], int] = lambda first, last: 1) -> int:
        """The least that windows of at most ``longest`` days cost: the best of all ways to share the days out."""
        found = sorted(days)
        best = [0]
        for end in range(1, len(found) + 1):
            last = found[end - 1]
            best.append(min(best[at] + cost(found[at], last) for at in range(end) if last - found[at] < longest))
        return best[-1]

    def of(self, account: str, dataset: str) -> int:
        contract = self.house.contracts[dataset]
        feed: Feed = vendor_room(contract.vendor).feeds[contract.feed]
        missing = self.days[account, dataset]
        if feed.kind is Kind.REPORT:
            return 0  # its vehicles are read for the details' own table
        longest = feed.max_days or 7
        if feed.batch > 1:
            assert len(missing) <= feed.batch, "one request may ask about all of them"
            return self.fewest(set().union(*missing.values()), longest)
        if dataset == "rcs.telemetry":
            # Only days that are neighbours: what lies between would be pages read for nothing.
            return sum(self.stream(scope, run) for scope, days in missing.items() for run in neighbours(days))
        cost = self.list_of_alerts if dataset == "suivideflotte.alert" else lambda first, last: 1
        return sum(self.fewest(days, longest, cost) for days in missing.values())

    def rows(self, dataset: str, first: int, last: int, condition: str = "true") -> int:
        start, end = FIRST + first * DAY, FIRST + (last + 1) * DAY
        time = self.house.contracts[dataset].time_column
        [(count,)] = self.house.sql(
            f"SELECT count(*) FROM {dataset} WHERE {time} >= '{start}' AND {time} < '{end}' AND {condition}"
        )
        return int(count)

    def stream(self, vehicle: str, days: list[int]) -> int:
        """Full pages, and the one that says that there is no more."""
        rows = self.rows("rcs.telemetry", days[0], days[-1], f"vehicle_id = '{vehicle}'")
        return max(1, math.ceil(rows / TAKE)) + 1

    def list_of_alerts(self, first: int, last: int) -> int:
        """Pages; all but the last are read once more, because the list may move while it is read."""
        return 2 * math.ceil(self.rows("suivideflotte.alert", first, last) / PER_PAGE) - 1


def neighbours(days: set[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def key(item: Interval) -> tuple[Any, ...]:
    return item.account, item.dataset, item.scope, item.window.start, item.window.end


def test_fifty_holes_of_a_thousand_vehicles_are_found_and_closed_by_one_run_with_hardly_more_than_the_fewest_requests(house):
    assert sum(len(found) for found in house.vehicles.values()) == 1000
    planted, others = fifty(house.vehicles), none_of_ours(house.vehicles)
    assert len(planted) == 50
    house.plant([*planted, *others])
    found = set(house.holes("next_by = 'self-heal'"))
    wanted = {key(item) for item in planted}
    assert set(house.holes("next_by <> 'self-heal'")) == {key(item) for item in others}

    house.sandbox.clear_log()
    started = time.monotonic()
    done = house.script("dag")
    seconds = time.monotonic() - started
    said = done.stdout + done.stderr

    left = set(house.holes("next_by = 'self-heal'"))
    minimum = Minimum(house, planted)
    fewest = {dataset: minimum.of(*dataset) for dataset in minimum.days}
    asked = house.requests()
    print(
        f"\n50 planted holes, 1,000 vehicles, {DAYS} days: {len(found & wanted)} found, {len(found - wanted)} false,"
        f" {len(wanted - left)} closed; {len(asked)} requests, {sum(fewest.values())} at least"
        f" ({100 * len(asked) / sum(fewest.values()) - 100:+.1f} %); {seconds:.1f} s for the DAG run"
    )
    assert found == wanted
    assert left == set(), said[-8000:]
    assert set(house.holes("next_by <> 'self-heal'")) == {key(item) for item in others}, "nobody touched these"
    assert sum(fewest.values()) <= len(asked) <= 1.1 * sum(fewest.values()), (
        Counter(item["vendor"] for item in asked),
        fewest,
    )
    assert house.sql("SELECT count(*) FROM ops.heal") == [(0,)]
    assert house.sql("SELECT count(*) FROM ops.alert") == [(0,)]
    assert house.sql("SELECT state FROM ops.run_end WHERE dag_id = 'fleet_self_heal'") == [("complete",)]
