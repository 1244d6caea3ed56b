"""What is peculiar to PowUnity's data, from sandbox to lake and warehouse: reports that change, trackers with new ids."""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import replace

import pytest
from fleetlake.sandbox.rooms import room
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.window import Window, utc

from tests.warehouse.pipeline.conftest import AS_OF

TABLES = ("position", "event", "trip", "stop", "summary")


@pytest.fixture
def another(tmp_path_factory):
    """A sandbox of one's own, whose clock may be moved: ``another(as_of=…, bikes=12, period_limit_s=86400)``."""
    with contextlib.ExitStack() as stack:

        def start(as_of=AS_OF, bikes=3, **assumptions):
            settings = SandboxSettings(
                state_dir=tmp_path_factory.mktemp("sandbox"),
                as_of=as_of,
                vehicles=1,
                bikes=bikes,
                rooms=("powunity",),
                assumptions={f"powunity.{name}": value for name, value in assumptions.items()},
            )
            return stack.enter_context(running(settings))

        yield start


def assert_day_true(place, window):
    for name in TABLES:
        assert place.assert_true(f"powunity.{name}", window) > 0


def trips_of(place, window):
    return list(room("powunity").truth(place.sandbox.context, "trip", window, "north"))


def test_a_trip_that_is_still_ridden_grows_and_stays_one_row(place, another):
    day = Window.day("2026-11-20")
    place.sandbox = another()
    clock = place.sandbox.context.clock
    for ride in trips_of(place, day):
        clock.set(ride["start_time"] + (ride["end_time"] - ride["start_time"]) / 2)
        if (ride["device_id"], ride["start_time"]) in {
            (trip["device_id"], trip["start_time"]) for trip in trips_of(place, day)
        }:
            break
    else:
        raise AssertionError("no trip is open in its middle: the seed shows too little")
    place.load_bikes("2026-11-20")
    asked = (
        f"SELECT end_time FROM powunity.trip WHERE device_id = {ride['device_id']} AND start_time = '{ride['start_time']}'"
    )
    ((open_end,),) = place.sql(asked)
    assert open_end < ride["end_time"]
    clock.set(AS_OF)
    place.load_bikes("2026-11-20", run_id="later", force=True)
    assert place.sql(asked) == [(ride["end_time"],)]
    assert_day_true(place, day)


def test_trips_that_late_uploads_change_are_replaced_when_the_day_is_read_again(place, another):
    """A bike without reception tells its rides days later: trips appear, and others get another start or end."""
    place.accounts["powunity"] = replace(place.accounts["powunity"], look_back_days=2)
    place.sandbox = another(bikes=6)
    window = Window.day("2026-11-17")
    seen = []
    for day in ("2026-11-17", "2026-11-18", "2026-11-19"):
        place.sandbox.context.clock.set(utc(day) + dt.timedelta(days=1))
        place.load("powunity", place.run("powunity", day, mode="stream"), ["trips", "stops", "summary"], "devices")
        for name in ("trip", "stop", "summary"):
            place.assert_true(f"powunity.{name}", window)
        seen.append({(trip["device_id"], trip["start_time"], trip["end_time"]) for trip in trips_of(place, window)})
    assert seen[0] != seen[-1], "no late upload changed a trip: the seed shows too little"


def test_a_ride_over_midnight_is_a_trip_of_each_day_however_the_days_are_loaded(place, another):
    place.sandbox = another(bikes=12)
    window = Window.parse("2026-11-20", "2026-11-22")

    def load(**run):
        place.load("powunity", place.run("powunity", "2026-11-20", force=True, **run), ["trips"], "devices")
        assert place.assert_true("powunity.trip", window if "window" in run else Window.day("2026-11-20")) > 0

    load(window=window, partition=None)
    cut = place.sql(
        "SELECT count(*) FROM powunity.trip a JOIN powunity.trip b USING (device_id)"
        " WHERE a.end_time < '2026-11-21' AND b.start_time >= '2026-11-21' AND b.start_time - a.end_time < interval '2 minutes'"
    )
    assert cut[0][0] > 0, "nobody rides at midnight: the seed shows too little"
    together = place.all_rows("powunity.trip")
    load(run_id="first day alone")
    load(run_id="second day alone", window=Window.day("2026-11-21"), partition="2026-11-21")
    assert place.all_rows("powunity.trip") == together


def test_a_tracker_added_again_is_loaded_by_its_new_id_and_keeps_what_the_old_one_told(place, another):
    place.sandbox = another(as_of=utc("2026-11-21"), readded_bike=1, readded_at="2026-11-21T06:00:00Z")
    place.load_bikes("2026-11-20")
    known = dict(place.sql("SELECT unique_id, device_id FROM powunity.device"))
    told = place.sql("SELECT device_id, count(*) FROM powunity.position GROUP BY 1 ORDER BY 1")
    place.sandbox.context.clock.set(AS_OF)
    proven = place.load_bikes("2026-11-21")
    assert {(item["complete"], item["of"]) for item in proven.values()} == {(3, 3)}
    now = dict(place.sql("SELECT unique_id, device_id FROM powunity.device WHERE deleted_at IS NULL"))
    assert now.keys() == known.keys()
    ((number, old),) = known.items() - now.items()
    assert place.sql(f"SELECT deleted_at IS NOT NULL FROM powunity.device WHERE device_id = {old}") == [(True,)]
    before = "SELECT device_id, count(*) FROM powunity.position WHERE event_time < '2026-11-21' AND deleted_at IS NULL"
    assert place.sql(f"{before} GROUP BY 1 ORDER BY 1") == told
    assert place.sql(f"SELECT count(*) > 0 FROM powunity.position WHERE device_id = {now[number]}") == [(True,)]
    assert_day_true(place, Window.day("2026-11-21"))


def test_a_server_that_limits_the_period_of_reports_is_read_day_by_day(place, another):
    place.sandbox = another(period_limit_s=86400)
    window = Window.parse("2026-11-18", "2026-11-22")
    place.load_bikes("2026-11-18", window=window, partition=None)
    assert_day_true(place, window)
