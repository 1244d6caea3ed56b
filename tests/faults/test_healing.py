"""Self-healing without Airflow: killed, doubled, refused, given up and taken up again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from fleetlake.coverage import Interval, State
from fleetlake.errors import IncompleteAnswer
from fleetlake.pipeline.heal import ATTEMPTS
from fleetlake.pipeline.heal_plan import Request, within
from fleetlake.reading import Lane
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import PowUnityConfig
from fleetlake.vendors.powunity.source import PowUnitySource
from fleetlake.window import DAY, Window

MOMENTS = [
    "planned, nothing asked",
    "pages are home, nothing is published",
    "published, not noted",
    "noted, not closed",
]
FIRST = Window.day("2026-11-01").start


def source(place, password=None):
    """The account's source; it gives up at once."""
    customer = place.sandbox.customers["powunity"]["north"]
    config = PowUnityConfig(
        base_url=place.sandbox.urls["powunity"],
        email=customer["email"],
        password=password or customer["password"],
        rate_per_s=100,
        burst=20,
        max_attempts=1,
    )
    return PowUnitySource(PowUnityClient(config))


class Bikes:
    """The bikes of one account: ten proven days of trips, with holes."""

    def __init__(self, place):
        self.place = place
        place.powunity_source = lambda: source(place)
        with place.pipeline("powunity") as pipeline:
            pipeline.plan(place.run("powunity", "2026-11-01"), entity_feed="devices", feeds=[])
        self.bikes = [str(row[0]) for row in place.sql("SELECT device_id FROM powunity.device ORDER BY 1")]
        self.record(*(self.interval(bike, 0, 10) for bike in self.bikes))
        self.told: list[tuple[str, str]] = []

    def interval(self, bike, start, end, state=State.COMPLETE, proof="terminal page: planted"):
        window = Window(FIRST + start * DAY, FIRST + end * DAY)
        return Interval(account="north", dataset="powunity.trip", scope=bike, window=window, state=state, proof=proof)

    def record(self, *intervals, supersede=True):
        self.place.warehouse.record_coverage(intervals, supersede=supersede)

    def breaks(self, bike, day):
        self.record(self.interval(bike, day, day + 1, State.FAILED, "error: planted"))

    def run(self, name):
        run = self.place.run("powunity", "2026-11-01", dag_id="heal", run_id=name)
        return replace(run, lane=Lane.BACKFILL, partition=None)

    def heal(self, name, **plan):
        """One run: plan, heal, close."""
        run = self.run(name)
        with self.place.pipeline("powunity") as pipeline:
            tasks = pipeline.healing.plan(run, **plan)
            for task in tasks:
                pipeline.healing.heal(run, task)
            pipeline.healing.close(run, lambda *words: self.told.append(words))
        return tasks

    def passed(self, days):
        """Days have passed since people were told."""
        with self.place.warehouse.session() as connection:
            connection.execute("UPDATE ops.told SET told_at = told_at - %s * interval '1 day'", [days])
            connection.commit()

    def later(self):
        """The pause is over."""
        with self.place.warehouse.session() as connection:
            connection.execute("UPDATE ops.heal SET next_at = now() WHERE next_at IS NOT NULL")
            connection.commit()

    def holes(self):
        return self.place.sql(
            "SELECT scope, ((window_start - '2026-11-01'::timestamptz) / 86400)::text, next_by, attempts FROM ops.hole"
            " WHERE account = 'north' ORDER BY scope, window_start"
        )

    def asked(self):
        """How often each day of a bike was asked for."""
        return Counter(
            (item["query"].split("&")[0], item["query"].split("from=")[1][:10])
            for item in self.place.sandbox.log("powunity")
            if item["path"].endswith("/reports/trips")
        )


@pytest.fixture
def bikes(place):
    made = Bikes(place)
    place.sandbox.clear_log()
    return made


def in_a_process(bikes, run_id, moment=""):
    settings = vars(bikes.place.settings) | {
        "home": str(bikes.place.settings.home),
        "include": str(bikes.place.settings.include),
    }
    customer = bikes.place.sandbox.customers["powunity"]["north"]
    fields = {
        "base_url": bikes.place.sandbox.urls["powunity"],
        "email": customer["email"],
        "password": customer["password"],
        "rate_per_s": 100,
    }
    asked = {"place": settings, "fields": fields, "run_id": run_id, "moment": moment}
    return subprocess.run(
        [sys.executable, Path(__file__).with_name("run_healing.py")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_the_same_run_goes_on_and_asks_for_nothing_twice(bikes, moment):
    for bike, day in ((0, 2), (1, 2), (2, 5)):
        bikes.breaks(bikes.bikes[bike], day)
    killed = in_a_process(bikes, "run", moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-4000:]
    assert bikes.heal("another run") == [], "what one run has taken on is no other's"
    bikes.heal("run")
    assert bikes.holes() == []
    assert bikes.place.sql("SELECT count(*) FROM ops.heal") == [(0,)]
    asked = bikes.asked()
    assert len(asked) == 3
    assert max(asked.values()) == 1, "pages that are home are not asked for again"


def test_what_a_dead_run_has_taken_on_is_taken_up_when_its_time_is_over(bikes):
    bikes.breaks(bikes.bikes[0], 2)
    killed = in_a_process(bikes, "dead", MOMENTS[0])
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-4000:]
    bikes.later()
    assert len(bikes.heal("alive")) == 1
    assert bikes.holes() == []


def test_two_runs_at_once_ask_once(bikes):
    for number, bike in enumerate(bikes.bikes):
        bikes.breaks(bike, number)
    gate = threading.Barrier(2)

    def one(name):
        gate.wait()
        bikes.heal(name)

    threads = [threading.Thread(target=one, args=[name]) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert bikes.holes() == []
    assert sorted(bikes.asked().values()) == [1] * len(bikes.bikes)


def test_a_hole_that_cannot_be_mended_is_given_up_after_some_attempts_and_told_once(bikes):
    broken, *others = bikes.bikes
    for bike in bikes.bikes:
        bikes.breaks(bike, 3)
    fault = f"500:vendor=powunity,path=*/reports/trips*,query=*deviceId={broken}*,count=100000"
    with bikes.place.sandbox.faults(fault):
        for number in range(1, ATTEMPTS + 1):
            tasks = bikes.heal(f"run {number}")
            assert {scope for task in tasks for item in task for scope in item.scopes} == (
                set(bikes.bikes) if number == 1 else {broken}
            )
            [(scope, _, next_by, attempts)] = bikes.holes()
            assert (scope, attempts) == (broken, number)
            assert next_by == ("person" if number == ATTEMPTS else "self-heal")
            assert bikes.heal(f"too soon {number}") == [], "there is a pause"
            bikes.later()
        [(subject, message)] = bikes.told
        assert "1.0 vehicle-days" in subject
        assert "powunity.trip: 1 vehicles" in message
        for number in range(3):
            assert bikes.heal(f"night {number}") == []
        assert len(bikes.told) == 1, "told once, not every night"
    [(reason, reopens)] = bikes.place.sql("SELECT reason, reopens FROM ops.heal")
    assert reason
    assert reopens, "nothing of this bike could be read meanwhile"
    # The bike can be read again: what was given up is worth another try.
    bikes.record(bikes.interval(broken, 10, 11), *(bikes.interval(bike, 10, 11) for bike in others))
    assert len(bikes.heal("after a success")) == 1
    assert bikes.holes() == []


def test_a_day_that_fails_while_the_vehicle_works_stays_given_up_until_somebody_asks(bikes, monkeypatch, capsys):
    bike = bikes.bikes[0]
    bikes.breaks(bike, 3)
    with bikes.place.sandbox.faults("500:vendor=powunity,path=*/reports/trips*,count=100000"):
        for number in range(ATTEMPTS):
            bikes.heal(f"run {number}")
            bikes.later()
            bikes.record(*(bikes.interval(item, 10 + number, 11 + number) for item in bikes.bikes), supersede=False)
    assert [hole[2] for hole in bikes.holes()] == ["person"]
    bikes.record(*(bikes.interval(item, 20, 21) for item in bikes.bikes), supersede=False)
    bikes.record(*(bikes.interval(item, 15, 20) for item in bikes.bikes), supersede=False)
    assert bikes.heal("the vehicle works as ever") == []

    from fleetlake.cli import main

    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", bikes.place.settings.warehouse_url)
    with pytest.raises(SystemExit):
        main(["coverage", "--retry", "--account", "north", "--json"])
    [hole] = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if line["kind"] == "hole"]
    assert (hole["scope"], hole["state"], hole["next_by"]) == (bike, "failed", "self-heal")
    assert len(bikes.heal("somebody asked")) == 1
    assert bikes.holes() == []


def test_a_day_that_never_works_costs_a_few_requests_and_one_alert_however_many_nights_pass(bikes):
    bike = bikes.bikes[0]
    bikes.breaks(bike, 3)
    with bikes.place.sandbox.faults(f"500:vendor=powunity,path=*/reports/trips*,query=*deviceId={bike}*,count=100000"):
        for night in range(6):
            for hour in range(ATTEMPTS):
                bikes.heal(f"run {night} {hour}")
                bikes.later()
            # The vehicle itself works every night, the given-up day does not.
            bikes.record(*(bikes.interval(item, 10 + night, 11 + night) for item in bikes.bikes))
            bikes.passed(3)
    assert bikes.asked().total() == 2 * ATTEMPTS, "once more when the vehicle worked again, then no more"
    assert len(bikes.told) == 1
    assert bikes.place.sql("SELECT count(*), count(sent_at) FROM ops.alert") == [(1, 1)]
    assert bikes.place.sql("SELECT attempts, reopened, reopens, alerted_at IS NOT NULL FROM ops.heal") == [
        (2 * ATTEMPTS, 1, False, True)
    ]
    assert [hole[2] for hole in bikes.holes()] == ["person"]


def test_a_notifier_that_fails_is_tried_again_with_the_same_alert(bikes):
    bikes.breaks(bikes.bikes[0], 3)
    run, sent = bikes.run("run"), []
    bikes.place.powunity_source = lambda: source(bikes.place, "wrong")

    def broken(subject, message):
        raise OSError("the mail server is away")

    with bikes.place.pipeline("powunity") as pipeline:
        for task in pipeline.healing.plan(run):
            pipeline.healing.heal(run, task)
        for _ in range(3):
            with pytest.raises(OSError, match="the mail server is away"):
                pipeline.healing.close(run, broken)
        assert bikes.place.sql("SELECT count(*), count(sent_at) FROM ops.alert") == [(1, 0)]
        for name in ("run", "next hour"):
            pipeline.healing.close(bikes.run(name), lambda *words: sent.append(words))
    assert len(sent) == 1
    assert bikes.place.sql("SELECT subject, message FROM ops.alert WHERE sent_at IS NOT NULL") == sent


def broken(*bikes):
    """Faults by which no trip of some bikes can be read."""
    return [f"500:vendor=powunity,path=*/reports/trips*,query=*deviceId={bike}*,count=100000" for bike in bikes]


def test_bikes_that_cannot_be_read_take_no_other_along(bikes):
    *odd, healthy = bikes.bikes
    for bike in bikes.bikes:
        bikes.breaks(bike, 3)
    with bikes.place.sandbox.faults(*broken(*odd)):
        bikes.heal("run 0")
        assert {hole[0]: hole[3] for hole in bikes.holes()} == {**dict.fromkeys(odd, 1), healthy: 0}, (
            "after three failures the vendor may be away: the fourth was not asked, and has lost no attempt"
        )
        bikes.later()
        bikes.heal("run 1")
        assert [hole[0] for hole in bikes.holes()] == odd
        for number in range(2, ATTEMPTS):
            bikes.later()
            bikes.heal(f"run {number}")
    assert {hole[0]: (hole[2], hole[3]) for hole in bikes.holes()} == dict.fromkeys(odd, ("person", ATTEMPTS))
    [(_, message)] = bikes.told
    assert f"{len(odd)} vehicles, {len(odd)}.0 days: error" in message
    reasons = bikes.place.sql("SELECT scope, reason FROM ops.heal")
    assert all(f"deviceId={scope}" in reason for scope, reason in reasons), "each has its own reason"


def test_bad_days_of_one_bike_block_no_other_bike(bikes):
    odd, healthy = bikes.bikes[:2]
    for day in (1, 3, 5, 7):
        bikes.breaks(odd, day)
    bikes.breaks(healthy, 8)
    with bikes.place.sandbox.faults(*broken(odd)):
        bikes.heal("run")
    assert [hole[0] for hole in bikes.holes()] == [odd] * 4
    assert bikes.asked().total() == 4, "one bad day, the other bike, two bad days more: then the vendor may be away"


def test_bad_days_of_several_bikes_block_no_other_bike_for_more_than_a_run(bikes):
    *odd, healthy = bikes.bikes
    for number, bike in enumerate(odd):
        for day in (0, 3, 6):
            bikes.breaks(bike, day + number)
    bikes.breaks(healthy, 9)
    with bikes.place.sandbox.faults(*broken(*odd)):
        for number in range(2):
            bikes.heal(f"run {number}")
            bikes.later()
    assert healthy not in {hole[0] for hole in bikes.holes()}


def test_a_vendor_that_is_away_is_asked_a_few_times_and_costs_no_attempt_of_what_was_not_asked(bikes):
    days = range(0, 10, 2)
    for bike in bikes.bikes:
        for day in days:
            bikes.breaks(bike, day)
    with bikes.place.sandbox.faults("500:vendor=powunity,path=*/reports/trips*,count=100000"):
        tasks = len(bikes.heal("run"))
    assert bikes.asked().total() <= tasks * 2 * 3
    assert sum(hole[3] for hole in bikes.holes()) == bikes.asked().total()
    bikes.later()
    bikes.heal("it is back")
    assert bikes.holes() == []


def test_what_is_blocked_does_not_crowd_out_what_is_due(bikes, monkeypatch):
    monkeypatch.setattr("fleetlake.pipeline.heal_plan._MOST_HOLES", 1)
    old, young = bikes.bikes[:2]
    bikes.breaks(old, 1)
    bikes.breaks(young, 2)
    with bikes.place.sandbox.faults(f"500:vendor=powunity,path=*/reports/trips*,query=*deviceId={old}*,count=100000"):
        bikes.heal("the older one fails")
        bikes.heal("it waits, the younger one's turn has come")
    assert [hole[0] for hole in bikes.holes()] == [old]


def test_a_wrong_password_is_given_up_at_once(bikes):
    bikes.breaks(bikes.bikes[0], 3)
    good = bikes.place.powunity_source
    bikes.place.powunity_source = lambda: source(bikes.place, "wrong")
    bikes.heal("run")
    assert [(hole[2], hole[3]) for hole in bikes.holes()] == [("person", 1)]
    assert len(bikes.told) == 1
    assert "wrong" not in "".join(bikes.told[0])
    bikes.place.powunity_source = good
    bikes.record(*(bikes.interval(item, 10, 11) for item in bikes.bikes))
    bikes.heal("mended")
    assert bikes.holes() == []


def test_the_quota_lets_the_oldest_go_first(bikes):
    for number, bike in enumerate(bikes.bikes):
        bikes.breaks(bike, 8 - number)
    for left in range(len(bikes.bikes) - 1, -1, -1):
        bikes.heal(f"run {left}", budget=1)
        assert len(bikes.holes()) == left
        assert all(hole[3] == 0 for hole in bikes.holes()), "what waits was not tried"
    days = [key[1] for key in bikes.asked()]
    assert days == sorted(days)


def test_of_equally_old_requests_those_that_mend_most_go_first():
    day = Window.day("2026-11-01")
    few, many = (Request(feed="f", window=day, scopes=tuple(names)) for names in ("ab", "abcdef"))
    old = Request(feed="f", window=Window.day("2026-10-01"), scopes=("z",))
    assert within(2, [few, many, old]) == ([old, many], [few])


def test_a_vehicle_that_was_never_read_is_a_hole_once_its_dataset_was_to_be_certified(bikes):
    run = bikes.place.run("powunity", "2026-11-03")
    count = len(bikes.bikes)
    with (
        bikes.place.pipeline("powunity") as pipeline,
        pytest.raises(IncompleteAnswer, match=f"powunity.stop: {count} of {count}"),
    ):
        pipeline.certify(run, datasets=["powunity.trip", "powunity.stop"])
    found = bikes.place.sql("SELECT scope, dataset, proof, next_by FROM ops.hole ORDER BY 1")
    words = "unread: the run that was to read it never asked"
    assert found == [(bike, "powunity.stop", words, "self-heal") for bike in bikes.bikes]
    bikes.heal("run")
    assert bikes.place.sql("SELECT count(*) FROM ops.hole") == [(0,)]


def test_nothing_more_is_expected_of_a_vehicle_that_is_marked_deleted(bikes):
    gone, *others = bikes.bikes
    bikes.record(*(bikes.interval(bike, 10, 11) for bike in others))
    assert [hole[0] for hole in bikes.holes()] == [gone], "it is behind"
    with bikes.place.warehouse.session() as connection:
        connection.execute("UPDATE powunity.device SET deleted_at = now() WHERE device_id = %s", [int(gone)])
        connection.commit()
    with bikes.place.pipeline("powunity") as pipeline:
        pipeline.certify(bikes.place.run("powunity", "2026-11-03"), datasets=["powunity.trip"])
    assert bikes.holes() == []


def test_a_refused_vehicle_is_given_up_at_once_and_taken_up_when_it_can_be_read(place):
    def known(start, end, state=State.COMPLETE, proof="terminal page: planted"):
        window = Window(FIRST + start * DAY, FIRST + end * DAY)
        stranger = "00000000-0000-4000-8000-000000000007"
        return Interval(account="main", dataset="rcs.trouble", scope=stranger, window=window, state=state, proof=proof)

    def heal(name):
        run = place.run("rcs", "2026-11-01", dag_id="heal", run_id=name, lane=Lane.BACKFILL, partition=None)
        with place.pipeline("rcs") as pipeline:
            tasks = pipeline.healing.plan(run)
            for task in tasks:
                pipeline.healing.heal(run, task)
            pipeline.healing.close(run, lambda *words: told.append(words))
        return len(tasks)

    told: list[tuple[str, str]] = []
    place.warehouse.record_coverage([known(0, 10)])
    place.warehouse.record_coverage([known(3, 4, State.FAILED, "error: planted")], supersede=True)
    assert heal("run") == 1
    [(next_by, attempts, reason)] = place.sql("SELECT next_by, attempts, reason FROM ops.hole")
    assert (next_by, attempts) == ("person", 1)
    assert reason.startswith("refused: ")
    assert heal("night") == 0
    assert len(told) == 1
    for day in range(10, 13):  # each night the schedule is refused again
        place.warehouse.record_coverage([known(day, day + 1, State.FAILED, "refused: 403")])
        assert heal(f"night of {day}") == 1, "the new day is tried, the old ones are not"
    assert len(told) == 1, "people know that this vehicle is refused"
    place.warehouse.record_coverage([known(13, 14)])  # it can be read again
    assert heal("after a success") == 1
    assert heal("the night after") == 0, "one success is one more chance"
