"""Complete is proven, never assumed: late starts, cleared runs, odd windows, short lists, hidden vehicles."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
from fleetlake.errors import FleetlakeError, IncompleteAnswer
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.vendors.rcs.client import RcsClient
from fleetlake.window import Window

DAY = "2026-11-20"
NEXT = "2026-11-21"


@pytest.fixture
def at(place, tmp_path_factory):
    """The same vendor at another moment, or with another assumption."""

    @contextmanager
    def move(as_of, **assumptions):
        settings = SandboxSettings(
            state_dir=tmp_path_factory.mktemp("sandbox"),
            as_of=dt.datetime.fromisoformat(as_of).replace(tzinfo=dt.UTC),
            vehicles=5,
            bikes=4,
            assumptions={"rcs.requests_per_second": 0, "rcs.task_seconds": 0.2, **assumptions},
        )
        before = place.sandbox
        with running(settings) as place.sandbox:
            yield
        place.sandbox = before

    return move


def coverage(place, table):
    return place.sql(
        "SELECT state, window_start::date::text, window_end::date::text, sum(rows)::int FROM ops.coverage"
        f" WHERE dataset = '{table}' GROUP BY 1, 2, 3 ORDER BY 2"
    )


# --- streams ----------------------------------------------------------------------------------------------------------


def test_cleared_run_of_a_day_before_the_stream_began_reads_that_day(place):
    with place.sandbox.faults("drop:vendor=rcs,path=*/telemetry/*,count=500"), pytest.raises(FleetlakeError):
        place.load_telemetry(DAY, mode="stream")
    place.load_telemetry(NEXT, mode="stream")
    place.load_telemetry(DAY, mode="stream")  # cleared: the same run again
    assert place.assert_true("rcs.telemetry", Window.parse(DAY, "2026-11-22")) > 0


def test_forced_stream_run_reads_its_window_again(place):
    place.load_telemetry(NEXT, mode="stream")
    place.load_telemetry("2026-11-19", mode="stream", force=True)
    place.assert_true("rcs.telemetry", Window.day("2026-11-19"))


def test_data_received_between_a_backfill_and_the_start_of_the_stream_comes_along(place, at):
    with at("2026-11-20"):
        place.load_telemetry("2026-11-19", mode="window", run_id="backfill")
    with at("2026-11-22"):
        place.load_telemetry(NEXT, mode="stream")
        place.assert_true("rcs.telemetry", Window.day("2026-11-19"))


@pytest.mark.parametrize("inclusive", [True, False])
def test_stream_that_brings_nothing_new_leaves_its_days_complete(place, at, inclusive):
    with at("2026-11-22", **{"rcs.cursor_inclusive": inclusive}):
        place.load_telemetry(DAY, mode="stream")
        place.load_telemetry(NEXT, mode="stream")
    assert coverage(place, "rcs.telemetry") == [("complete", DAY, "2026-11-22", None)]


# --- windows ----------------------------------------------------------------------------------------------------------


def test_window_inside_a_day_leaves_the_day_s_trips_and_summary_whole(place):
    place.load_bikes(DAY)
    window = Window.parse(f"{DAY}T11:15", f"{DAY}T18:00")
    run = place.run("powunity", DAY, window=window, partition=None, run_id="manual", force=True)
    place.load("powunity", run, ["trips", "stops", "summary"], "devices")
    for name in ("trip", "stop", "summary"):
        place.assert_true(f"powunity.{name}", Window.day(DAY))


def test_ledger_counts_the_rows_of_each_read(place):
    place.accounts["powunity"] = replace(place.accounts["powunity"], look_back_days=1)
    place.load_bikes(NEXT, mode="stream")
    rows = place.sql("SELECT count(*)::int FROM powunity.trip")[0][0]
    assert sum(item[3] for item in coverage(place, "powunity.trip")) == rows > 0
    place.assert_true("powunity.trip", Window.parse(DAY, "2026-11-22"))


def test_time_after_the_answer_is_not_proven(place):
    with pytest.raises(IncompleteAnswer, match="not complete"):
        place.load_health("2030-01-01")
    states = {state for state, *_ in coverage(place, "rcs.trouble")}
    assert states == {"not_yet"}


# --- lists of vehicles ------------------------------------------------------------------------------------------------


def deleted(place):
    return place.sql("SELECT count(*), count(deleted_at) FROM rcs.vehicle")[0]


def test_short_list_of_vehicles_deletes_none_and_all_are_loaded(place):
    place.load_telemetry(DAY, mode="stream")
    with place.sandbox.faults("short_page:vendor=rcs,path=*/vehicles,count=9"):
        place.load_telemetry(NEXT, mode="stream")
    assert deleted(place) == (5, 0)
    place.assert_true("rcs.telemetry", Window.day(NEXT))


def without_first(count):
    """Spoils the first answers of ``GET /vehicles``: one vehicle is missing."""
    original = RcsClient.vehicles
    left = [count]

    def vehicles(self):
        answer = original(self)
        if left[0] == 0:
            return answer
        left[0] -= 1
        return replace(answer, body=json.dumps(json.loads(answer.body)[1:]).encode())

    return vehicles


def test_vehicle_missing_once_stays_and_missing_twice_is_marked(place, monkeypatch):
    place.load_telemetry(DAY, mode="stream")
    with monkeypatch.context() as patch:
        patch.setattr(RcsClient, "vehicles", without_first(1))
        place.load_telemetry(NEXT, mode="stream")
    assert deleted(place) == (5, 0)
    monkeypatch.setattr(RcsClient, "vehicles", without_first(2))
    place.load_telemetry(NEXT, mode="stream", run_id="later")
    assert deleted(place) == (5, 1)


def test_account_without_vehicles_is_not_certified(place):
    with (
        place.sandbox.faults("empty_page:vendor=powunity,path=*/devices,count=9"),
        pytest.raises(IncompleteAnswer, match="has no vehicles"),
    ):
        place.load_bikes(DAY)


# --- reports ----------------------------------------------------------------------------------------------------------


def test_vehicle_of_a_row_that_cannot_be_typed_is_read_all_the_same(place, monkeypatch):
    original = RcsClient.poll_overview
    spoiled = []

    def poll(self, token):
        status = original(self, token)
        if status.page is not None:
            document = json.loads(status.page.body)
            for row in document["report"]["vehicles"]:
                spoiled.append(row["report_id"])
                row["created_at"] = "not a date"
            return replace(status, page=replace(status.page, body=json.dumps(document).encode()))
        return status

    monkeypatch.setattr(RcsClient, "poll_overview", poll)
    for day in ("2026-11-19", DAY, NEXT):
        place.load_health(day)
    assert spoiled
    assert place.sql("SELECT count(*) > 0 FROM ops.quarantine WHERE dataset = 'rcs.health_report'") == [(True,)]
    place.assert_true("rcs.trouble", Window.parse("2026-11-19", "2026-11-22"))


def trips(place):
    return place.sql("SELECT count(*), count(deleted_at) FROM powunity.trip")[0]


@pytest.mark.parametrize("fault", ["empty_page", "short_page"])
def test_answer_that_lost_half_deletes_nothing_until_a_person_believes_what_two_runs_got(place, fault):
    place.load_bikes("2026-11-20")
    whole = place.all_rows("powunity.trip")
    rows, none = trips(place)
    assert rows > 9 and none == 0
    with place.sandbox.faults(f"{fault}:vendor=powunity,path=*/reports/trips*"):
        place.load_bikes("2026-11-20", run_id="again", force=True)
        assert trips(place) == (rows, 0)
        doubted = place.sql("SELECT DISTINCT dataset, state FROM ops.coverage_attempt")
        assert doubted == [("powunity.trip", "partial")]
        assert place.sql("SELECT count(*) FROM ops.coverage_attempt WHERE proof NOT LIKE 'implausible %'") == [(0,)]
        place.load_bikes("2026-11-20", run_id="third", force=True)
        assert trips(place) == (rows, 0), "a vendor may tell the same lie for days"
        place.load_bikes("2026-11-20", run_id="fourth", force=True, believe=True)
        assert trips(place)[1] > 0, "two runs agree, and a person says that the vendor means it"
    place.load_bikes("2026-11-20", run_id="fifth", force=True)
    assert trips(place) == (rows, 0), "rows that come back are not marked any more"
    assert len(place.all_rows("powunity.trip")[0]) == len(whole[0])


def test_a_run_that_works_again_is_not_over(place):
    place.load_bikes("2026-11-20")
    assert place.sql("SELECT state FROM ops.run_end") == [("complete",)]
    with place.pipeline("powunity") as pipeline:
        run = place.run("powunity", "2026-11-20")
        pipeline.plan(run, entity_feed="devices", feeds=["trips"])
        assert place.sql("SELECT state FROM ops.run_end") == []
