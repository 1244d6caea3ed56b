"""Reports that the vendor prepares: what is known of a request whose outcome is unclear, refused, lost or late."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from fleetlake.coverage import Interval, State
from fleetlake.errors import ConfigError, IncompleteAnswer, JobFailed, RateLimited, VendorUnavailable
from fleetlake.pipeline import Pipeline
from fleetlake.pipeline.job_table import Stage
from fleetlake.vendors.rcs.client import RcsClient
from fleetlake.vendors.rcs.source import RcsSource
from fleetlake.window import Window

DAY = "2026-11-19"
FEED = "health_overview"
TABLES = ["rcs.health_report", "rcs.trouble"]


@pytest.fixture
def run(place):
    run = place.run("rcs", DAY, dag_id="health")
    with place.pipeline("rcs") as pipeline:
        pipeline.plan(run, entity_feed="vehicles", feeds=[])
    place.sandbox.clear_log()
    return run


def posts(place):
    return len([entry for entry in place.sandbox.log("rcs") if entry["method"] == "POST"])


def jobs(place):
    return place.sql("SELECT state, posts, token IS NOT NULL FROM ops.job ORDER BY job_id")


def coverage(place):
    return place.sql("SELECT state, split_part(proof, ':', 1) FROM ops.coverage WHERE dataset = 'rcs.health_report'")


def finish(place, run):
    """From the answer on: wait, collect, read the details, certify."""
    with place.pipeline("rcs") as pipeline:
        job = pipeline.ask(run, feed=FEED)
        deadline = time.monotonic() + 30
        while job.stage.is_open and not pipeline.poll(run, feed=FEED).state.is_terminal:
            assert time.monotonic() < deadline, "the report never finishes"
        chunks = pipeline.collect(run, feed=FEED)
        for chunk in chunks:
            pipeline.load(run, feeds=["health_reports"], scopes=chunk)
        return chunks, pipeline.certify(run, datasets=TABLES)


def test_while_the_vendor_prepares_the_ledger_says_so_and_then_the_proof(place, run):
    with place.pipeline("rcs") as pipeline:
        job = pipeline.ask(run, feed=FEED)
    assert job.stage is Stage.ASKED
    assert coverage(place) == [("preparing", f"job {job.job_id}")]
    finish(place, run)
    assert coverage(place) == [("complete", "terminal page")]
    assert posts(place) == 1


@pytest.mark.parametrize("fault", ["drop_answer:method=POST", "503:method=POST", "drop:method=POST"])
def test_a_request_whose_outcome_is_unclear_is_never_repeated_and_every_vehicle_is_read_instead(place, run, fault):
    with place.sandbox.faults(f"{fault},vendor=rcs"):
        chunks, proven = finish(place, run)
        assert finish(place, run)[0] == chunks, "a retry reads the same"
    assert posts(place) == 1
    assert jobs(place) == [("abandoned", 1, False)]
    assert sum(map(len, chunks)) == proven["rcs.trouble"]["of"] == proven["rcs.trouble"]["complete"]
    assert proven["rcs.health_report"] == {"complete": 1, "of": 1}
    assert coverage(place) == [("complete", "details")]
    place.assert_true("rcs.trouble", Window.day(DAY))
    [(reports, told)] = place.sql("SELECT count(*), count(vin) FROM rcs.health_report")
    assert reports > told == 0, "the VIN is told by the overview only"


def test_without_all_vehicles_nothing_takes_the_reports_place(place, run):
    with place.sandbox.faults("drop_answer:method=POST,vendor=rcs"), place.pipeline("rcs") as pipeline:
        pipeline.ask(run, feed=FEED)
        (vehicle, *_), *_ = pipeline.collect(run, feed=FEED)
        pipeline.load(run, feeds=["health_reports"], scopes=[vehicle])
        assert pipeline.prove(run) == []
        with pytest.raises(IncompleteAnswer, match=r"rcs\.health_report: 1 of 1 not complete"):
            pipeline.certify(run, datasets=TABLES)


def test_details_that_the_vendor_does_not_keep_any_more_take_no_reports_place(place, run):
    with place.sandbox.faults("drop_answer:method=POST,vendor=rcs"), place.pipeline("rcs") as pipeline:
        pipeline.ask(run, feed=FEED)
        gone, *others = [vehicle for chunk in pipeline.collect(run, feed=FEED) for vehicle in chunk]
        pipeline.load(run, feeds=["health_reports"], scopes=others)
        lost = Interval(
            account="main",
            dataset="rcs.trouble",
            scope=gone,
            window=run.window,
            state=State.OUT_OF_RETENTION,
            proof="lost: so",
        )
        place.warehouse.record_coverage([lost])
        assert pipeline.prove(run) == []


def test_filtered_details_take_no_reports_place(place, run):
    source = place.rcs_source
    config = replace(source().client.config, severity="DTC_IS_PRESENT")
    with (
        place.sandbox.faults("drop_answer:method=POST,vendor=rcs"),
        Pipeline(place.settings, place.accounts["rcs"], lambda: RcsSource(RcsClient(config))) as pipeline,
    ):
        pipeline.ask(run, feed=FEED)
        with pytest.raises(ConfigError, match="nothing else tells the same"):
            pipeline.collect(run, feed=FEED)
        everyone = [row[0] for row in place.sql("SELECT vehicle_id::text FROM rcs.vehicle")]
        pipeline.load(run, feeds=["health_reports"], scopes=everyone)
        assert pipeline.prove(run) == []


def test_a_refused_request_is_over_and_a_retry_asks_anew(place, run):
    with (
        place.sandbox.faults("429:method=POST,vendor=rcs,retry_after=0"),
        place.pipeline("rcs") as pipeline,
        pytest.raises(RateLimited),
    ):
        pipeline.ask(run, feed=FEED)
    assert [(state, sent) for state, sent, _ in jobs(place)] == [("failed", 1)]
    finish(place, run)
    assert jobs(place) == [("failed", 1, False), ("collected", 1, True)]
    place.assert_true("rcs.health_report", Window.day(DAY))


def test_where_no_connection_came_about_nothing_was_sent(place, run):
    config = replace(place.rcs_source().client.config, base_url="https://127.0.0.1:9")
    with (
        Pipeline(place.settings, place.accounts["rcs"], lambda: RcsSource(RcsClient(config))) as pipeline,
        pytest.raises(VendorUnavailable, match="refused"),
    ):
        pipeline.ask(run, feed=FEED)
    assert jobs(place) == [("intended", 0, False)]
    finish(place, run)
    assert jobs(place) == [("collected", 1, True)]
    assert posts(place) == 1


@pytest.mark.parametrize(("fault", "state"), [("expired", "lost"), ("task_failed", "failed")])
def test_a_report_that_is_dead_at_the_vendor_leaves_a_hole_and_a_retry_asks_anew(place, run, fault, state):
    with place.pipeline("rcs") as pipeline:
        pipeline.ask(run, feed=FEED)
        with place.sandbox.faults(f"{fault}:vendor=rcs"), pytest.raises(JobFailed):
            pipeline.collect(run, feed=FEED)
    assert jobs(place) == [(state, 1, True)]
    assert coverage(place)[0][0] == "failed"
    assert place.sql("SELECT DISTINCT state FROM ops.coverage WHERE dataset = 'rcs.trouble'") == [("failed",)]
    finish(place, run)
    assert jobs(place) == [(state, 1, True), ("collected", 1, True)]
    place.assert_true("rcs.health_report", Window.day(DAY))
    place.assert_true("rcs.trouble", Window.day(DAY))


def test_the_token_is_kept_although_the_connection_to_the_warehouse_is_lost_while_the_vendor_answers(place, run):
    def cut():
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if place.sql("SELECT 1 FROM ops.job WHERE state = 'sending'"):
                with place.warehouse.session() as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database"
                        " WHERE locktype = 'advisory' AND datname = current_database()"
                    )
                return
            time.sleep(0.02)

    cutter = threading.Thread(target=cut)
    with place.sandbox.faults("slow:method=POST,vendor=rcs,seconds=3"), place.pipeline("rcs") as pipeline:
        cutter.start()
        job = pipeline.ask(run, feed=FEED)
        cutter.join()
    assert job.stage is Stage.ASKED
    finish(place, run)
    assert jobs(place) == [("collected", 1, True)]
    assert posts(place) == 1


def test_a_run_that_is_cleared_attaches_to_an_open_report_and_asks_anew_after_it(place, run):
    with place.pipeline("rcs") as pipeline:
        first = pipeline.ask(run, feed=FEED)
        assert pipeline.ask(replace(run, clears=1), feed=FEED).job_id == first.job_id
    finish(place, run)
    finish(place, run)
    assert posts(place) == 1
    finish(place, replace(run, clears=1))
    assert posts(place) == 2


def test_runs_ask_for_themselves_and_a_vendor_without_reports_says_so(place, run):
    finish(place, run)
    finish(place, replace(run, run_id="another"))
    assert posts(place) == 2
    with place.pipeline("powunity") as pipeline, pytest.raises(ConfigError, match="no asynchronous reports"):
        pipeline.ask(place.run("powunity", DAY), feed="trips")
