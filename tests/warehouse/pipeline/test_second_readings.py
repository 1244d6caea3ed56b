"""Rows are marked deleted when two readings lack them; what the second has is kept; what is out of retention is settled."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import pytest
from fleetlake.errors import VendorUnavailable
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import PowUnityConfig
from fleetlake.vendors.powunity.source import PowUnitySource
from fleetlake.warehouse import Warehouse
from fleetlake.window import Window

DAY = "2026-11-20"


class Spoiled:
    """``GET /reports/trips`` without some of its rows: one entry of the script per request, then honest again."""

    def __init__(self, monkeypatch, *script):
        self.asked = 0
        self.script = list(script)
        original = PowUnityClient.trips

        def trips(client, device_id, window):
            answer = original(client, device_id, window)
            if device_id != self.device:
                return answer
            self.asked += 1
            step = self.script.pop(0) if self.script else None
            if isinstance(step, Exception):
                raise step
            rows = json.loads(answer.body)
            self.rows = len(rows)
            kept = rows if step is None else [row for index, row in enumerate(rows) if index not in step]
            return replace(answer, body=json.dumps(kept).encode())

        self.device = ""
        monkeypatch.setattr(PowUnityClient, "trips", trips)


@pytest.fixture
def busy(place):
    """The day is loaded; the bike with the most trips."""
    place.load("powunity", place.run("powunity", DAY), ["trips"], "devices")
    ((device, trips),) = place.sql("SELECT device_id, count(*) FROM powunity.trip GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1")
    assert trips >= 4, "the seed shows too little"
    return str(device)


def load(place, run_id="again"):
    place.load("powunity", place.run("powunity", DAY, run_id=run_id, force=True), ["trips"], "devices")


def load_trips(place, device, run_id):
    with place.pipeline("powunity") as pipeline:
        pipeline.load(place.run("powunity", DAY, run_id=run_id, force=True), feeds=["trips"], scopes=[device])


def deleted(place):
    return place.sql("SELECT count(*) FROM powunity.trip WHERE deleted_at IS NOT NULL")[0][0]


def doubts(place):
    return place.sql("SELECT state, proof FROM ops.coverage_attempt ORDER BY 2")


def test_a_trip_that_two_readings_lack_is_marked_at_once_for_one_request_more(place, busy, monkeypatch):
    spoiled = Spoiled(monkeypatch, {1}, {1})
    spoiled.device = busy
    load(place)
    assert spoiled.asked == 2
    assert deleted(place) == 1
    assert doubts(place) == []
    load(place, "honest")
    assert spoiled.asked == 3, "nothing is missing: nothing is asked twice"
    assert deleted(place) == 0, "a row that comes back is not marked any more"


def test_a_trip_that_only_the_first_reading_lacks_stays(place, busy, monkeypatch):
    spoiled = Spoiled(monkeypatch, {1})
    spoiled.device = busy
    load(place)
    assert deleted(place) == 0
    assert doubts(place) == [("partial", "unsteady: 1 of 1 missing known rows came with a second reading")]
    place.assert_true("powunity.trip", Window.day(DAY))
    load(place, "honest")
    assert doubts(place) == [], "a proof closes it"


def test_readings_that_lack_different_trips_delete_neither(place, busy, monkeypatch):
    spoiled = Spoiled(monkeypatch, {0}, {1})
    spoiled.device = busy
    load(place)
    assert deleted(place) == 0
    assert [state for state, _ in doubts(place)] == ["partial"]


def test_new_rows_that_only_the_second_reading_has_are_not_lost(place, monkeypatch):
    """The first reading of the first run lacks a trip; the one that notices another missing brings it along."""
    spoiled = Spoiled(monkeypatch)
    run = place.run("powunity", DAY)
    with place.pipeline("powunity") as pipeline:
        pipeline.plan(run, entity_feed="devices", feeds=[])
    for (device,) in place.sql("SELECT device_id::text FROM powunity.device ORDER BY 1"):
        spoiled.device = device
        with place.pipeline("powunity") as pipeline:
            spoiled.script = [{0}]
            pipeline.load(replace(run, run_id=f"first {device}"), feeds=["trips"], scopes=[device])
        if spoiled.rows >= 5:
            break
    else:
        raise AssertionError("the seed shows too little")
    spoiled.script = [{0, 1}]  # the first trip is new, the second one is known
    with place.pipeline("powunity") as pipeline:
        pipeline.load(replace(run, run_id="second", force=True), feeds=["trips"], scopes=[device])
    assert place.sql(f"SELECT count(*), count(deleted_at) FROM powunity.trip WHERE device_id = {device}") == [
        (spoiled.rows, 0)
    ]


def test_without_a_second_reading_nothing_is_marked(place, busy, monkeypatch):
    spoiled = Spoiled(monkeypatch, {1}, VendorUnavailable("connection lost"))
    spoiled.device = busy
    load(place)
    assert deleted(place) == 0
    ((state, proof),) = doubts(place)
    assert state == "partial"
    assert proof.startswith("unconfirmed: 1 known rows are missing, and no second reading says so: connection lost")


def test_a_second_reading_is_kept_in_raw_and_asked_once_however_often_the_task_is_tried(place, busy, monkeypatch):
    from fleetlake.lake import Lake

    spoiled = Spoiled(monkeypatch, {1}, {1}, {1}, {1})
    spoiled.device = busy
    original = Lake.publish
    with monkeypatch.context() as patch:

        def crash(lake, contract, *args):
            if contract.table == "powunity.trip":
                raise VendorUnavailable("as if killed before the lake commit")
            return original(lake, contract, *args)

        patch.setattr(Lake, "publish", crash)
        with pytest.raises(VendorUnavailable):
            load(place)
    assert spoiled.asked == 2
    load(place)
    assert (spoiled.asked, deleted(place)) == (2, 1)


def test_an_older_answer_that_is_published_after_a_newer_one_takes_nothing_away(place, busy, monkeypatch):
    """The vendor loses a trip and finds it again, between two workers on the same day; the first one publishes last."""

    class Killed(BaseException):
        pass

    def kill(*_arguments, **_named):
        raise Killed

    spoiled = Spoiled(monkeypatch, {0}, {0})
    spoiled.device = busy
    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "publishing", kill)
        with pytest.raises(Killed):
            load_trips(place, busy, "older")
    assert spoiled.asked == 2, "it was asked twice, and lacked the trip twice"
    load_trips(place, busy, "newer")
    assert spoiled.asked == 3
    load_trips(place, busy, "older")
    assert spoiled.asked == 3, "raw has it all"
    assert deleted(place) == 0
    warehouse, lake = place.all_rows("powunity.trip")
    assert warehouse == lake
    spoiled.script = [{0}, {0}]
    load_trips(place, busy, "newest")
    assert deleted(place) == 1, "it is gone again, and nobody has seen it since"


def test_days_the_vendor_no_longer_keeps_are_told_and_fail_no_run(place):
    """Real time goes on while the simulated fleet's stands still: the retention is counted from now."""
    place.load("powunity", place.run("powunity", DAY), ["trips"], "devices")
    trips = place.all_rows("powunity.trip")
    kept = max(1, (dt.datetime.now(dt.UTC) - dt.datetime(2026, 11, 21, tzinfo=dt.UTC)).days)
    customer = place.sandbox.customers["powunity"]["north"]

    def forgetful():
        config = PowUnityConfig(
            base_url=place.sandbox.urls["powunity"],
            email=customer["email"],
            password=customer["password"],
            rate_per_s=100,
            history_days=kept,
        )
        return PowUnitySource(PowUnityClient(config))

    place.powunity_source = forgetful
    proven = place.load("powunity", place.run("powunity", "2026-11-10"), ["trips", "events"], "devices")
    assert proven["powunity.trip"] == {"complete": 0, "of": 4, "out_of_retention": 4}
    states = "SELECT DISTINCT state, proof FROM ops.coverage WHERE window_start < '2026-11-11'"
    assert place.sql(states) == [
        ("out_of_retention", f"out of retention: the server keeps {kept} days: what happened before is gone there")
    ]
    asked = place.requests("powunity")
    place.load("powunity", place.run("powunity", "2026-11-10", run_id="next"), ["trips"], "devices")
    reports = [entry for entry in place.sandbox.log("powunity")[asked:] if "/reports/" in entry["path"]]
    assert reports == [], "nobody asks for them again"
    assert place.all_rows("powunity.trip") == trips
