"""Operators: what they ask of the pipeline, what they keep, what they raise."""

from __future__ import annotations

import datetime as dt
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from fleetlake.accounts import Account
from fleetlake.errors import (
    ConfigError,
    IncompleteAnswer,
    JobFailed,
    JobPending,
    NoWindow,
    StoreUnavailable,
    VendorUnavailable,
)
from fleetlake.operators import CertifyOperator, LoadOperator, PlanOperator, RcsHealthReportOperator
from fleetlake.operators.base import FleetOperator, find_account, run_of
from fleetlake.pipeline.job_table import Stage
from fleetlake.reading import Lane
from fleetlake.settings import Settings
from fleetlake.triggers.rcs import RcsReportTrigger
from fleetlake.window import Window

DAY = Window.day("2026-11-01")
ACCOUNT = Account(name="main", vendor="rcs", conn_id="rcs_default")


def context(run_type="scheduled", *, partition="2026-11-01", **params) -> dict[str, Any]:
    return {
        "dag_run": SimpleNamespace(run_type=run_type),
        "ti": SimpleNamespace(dag_id="a_dag", task_id="a_task", run_id="a_run", try_number=2),
        "params": {"vehicles": [], "force": False, "window_start": None, "window_end": None, **params},
        "partition_key": partition,
        "partition_date": dt.datetime.fromisoformat(partition).replace(tzinfo=dt.UTC) if partition else None,
        "outlet_events": Events(),
    }


class Events(dict):
    def __missing__(self, asset):
        self[asset] = SimpleNamespace(extra={}, partitions=[])
        self[asset].add_partitions = self[asset].partitions.extend
        return self[asset]


class FakePipeline:
    """Notes the calls; answers from ``answers``, raising what is an exception."""

    def __init__(self, **answers):
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.close_error: Exception | None = None

    def __getattr__(self, verb):
        def call(run, **arguments):
            self.calls.append((verb, arguments))
            answer = self.answers[verb]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def named(self, verb):
        return [arguments for name, arguments in self.calls if name == verb]


@pytest.fixture
def pipeline(monkeypatch):
    """The pipeline the operators get, to be filled with answers."""
    fake = FakePipeline()

    @contextmanager
    def opened(self, task_context):
        yield fake, run_of(task_context, ACCOUNT)
        if fake.close_error:
            raise fake.close_error

    monkeypatch.setattr(FleetOperator, "pipeline", opened)
    return fake


# --- the run --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run_type", "lane", "mode"),
    [
        ("scheduled", Lane.SCHEDULED, "stream"),
        ("backfill", Lane.BACKFILL, "window"),
        ("manual", Lane.SCHEDULED, "window"),
        ("asset_triggered", Lane.SCHEDULED, "window"),
    ],
)
def test_only_scheduled_runs_continue_streams_and_only_backfills_stand_back(run_type, lane, mode):
    run = run_of(context(run_type), ACCOUNT)
    assert (run.lane, run.mode, run.window, run.partition) == (lane, mode, DAY, "2026-11-01")
    assert (run.dag_id, run.run_id, run.try_number) == ("a_dag", "a_run", 2)


def test_params_narrow_and_force_a_run():
    run = run_of(context("manual", vehicles=["V1", "V2"], force=True), ACCOUNT)
    assert (run.vehicles, run.force) == (("V1", "V2"), True)


def test_a_manual_run_without_key_has_an_explicit_window():
    run = run_of(context("manual", partition=None, window_start="2026-11-01T06:00", window_end="2026-11-03"), ACCOUNT)
    assert str(run.window) == "2026-11-01T06:00:00Z/2026-11-03T00:00:00Z"
    assert run.partition is None


def test_a_run_without_any_window_is_refused():
    with pytest.raises(NoWindow, match="partition key"):
        run_of(context("manual", partition=None), ACCOUNT)


def test_a_backfill_with_an_explicit_window_would_load_one_window_many_times_and_is_refused():
    with pytest.raises(ConfigError, match="own day"):
        run_of(context("backfill", window_start="2026-11-01", window_end="2026-11-02"), ACCOUNT)


def test_an_unknown_account_names_the_near_match():
    assert find_account(Settings.from_env(), "south").conn_id == "powunity_south"
    with pytest.raises(ConfigError, match="did you mean 'south'"):
        find_account(Settings.from_env(), "souht")


# --- plan, load, certify --------------------------------------------------------------------------------------------------


def test_plan_returns_the_chunks(pipeline):
    pipeline.answers["plan"] = [["1", "3"], ["2"]]
    operator = PlanOperator(task_id="plan", account="main", entity_feed="vehicles", feeds=["telemetry"])
    assert operator.execute(context()) == [["1", "3"], ["2"]]
    assert pipeline.calls == [("plan", {"entity_feed": "vehicles", "feeds": ["telemetry"]})]


def test_load_returns_the_counters(pipeline):
    pipeline.answers["load"] = {"rcs.telemetry": {"rows": 3}}
    operator = LoadOperator(task_id="load", account="main", feeds=["telemetry"], scopes=("1", "2"))
    assert operator.execute(context()) == {"rcs.telemetry": {"rows": 3}}
    assert pipeline.calls == [("load", {"feeds": ["telemetry"], "scopes": ["1", "2"]})]


@pytest.mark.parametrize(
    ("scopes", "name"), [(["7"], "7"), (["7", "9"], "7 … 9 (2)"), (["1", "5", "9"], "1 … 9 (3)"), ([], "")]
)
def test_a_chunk_is_named_by_its_first_and_last_vehicle(scopes, name):
    assert LoadOperator(task_id="load", account="main", feeds=["telemetry"], scopes=scopes).chunk == name


def certify(outlets=()):
    return CertifyOperator(task_id="certify", account="main", datasets=["rcs.telemetry"], outlets=list(outlets))


def test_an_incomplete_day_fails_at_once_and_says_what_to_do(pipeline):
    pipeline.answers["certify"] = IncompleteAnswer("rcs.telemetry: 1 of 12 not complete", remedy="run the DAG again")
    with pytest.raises(AirflowFailException, match="1 of 12 not complete → run the DAG again"):
        certify().execute(context())


def test_a_run_with_a_key_leaves_the_partition_to_airflow(pipeline):
    pipeline.answers["certify"] = {}
    asset, task_context = Asset("rcs.telemetry@main"), context()
    certify([asset]).execute(task_context)
    assert task_context["outlet_events"][asset].extra == {"window": str(DAY)}
    assert task_context["outlet_events"][asset].partitions == []


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("2026-11-01", "2026-11-03", ["2026-11-01", "2026-11-02"]),
        ("2026-11-01T06:00", "2026-11-03T18:00", ["2026-11-02"]),
        ("2026-11-01T06:00", "2026-11-01T18:00", []),
    ],
)
def test_an_explicit_window_announces_the_days_it_covers_wholly(pipeline, start, end, days):
    pipeline.answers["certify"] = {}
    asset, task_context = Asset("rcs.telemetry@main"), context("manual", partition=None, window_start=start, window_end=end)
    certify([asset]).execute(task_context)
    assert task_context["outlet_events"][asset].partitions == days


def test_certifying_takes_no_slot_of_the_account_whatever_the_dag_says():
    with DAG("d", schedule=None, default_args={"pool": "rcs_default_api", "account": "main"}):
        assert certify().pool == "default_pool"
        assert PlanOperator(task_id="plan", entity_feed="vehicles", feeds=[]).pool == "rcs_default_api"


# --- health reports -------------------------------------------------------------------------------------------------------


def report(**arguments):
    return RcsHealthReportOperator(task_id="fetch_overview", account="main", **arguments)


def job(stage, token=None):
    return SimpleNamespace(stage=stage, token=token)


def deferred(operator, task_context):
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(task_context)
    return caught.value


def event(status, token="t-1", message=""):
    return {"status": status, "token": token, "message": message}


@pytest.mark.parametrize("stage", [Stage.ASKED, Stage.RUNNING, Stage.SUCCEEDED])
def test_a_report_that_is_asked_for_is_waited_for_without_a_worker(pipeline, stage):
    pipeline.answers["ask"] = job(stage, "t-1")
    before = time.time()
    waiting = deferred(report(timeout_s=600), context())
    assert pipeline.calls == [("ask", {"feed": "health_overview"})]
    assert waiting.method_name == "collect"
    assert waiting.timeout.total_seconds() > 600, "Airflow's own time-out is only a net below the trigger's"
    assert isinstance(waiting.trigger, RcsReportTrigger)
    _, arguments = waiting.trigger.serialize()
    assert before + 600 <= arguments.pop("deadline") <= time.time() + 600
    assert arguments == {
        "account": "main",
        "conn_id": "rcs_default",
        "feed": "health_overview",
        "token": "t-1",
        "lane": "scheduled",
        "first_poll_s": 3.0,
    }


@pytest.mark.parametrize("stage", [Stage.COLLECTED, Stage.ABANDONED])
def test_where_there_is_nothing_to_wait_for_the_vehicles_to_read_come_at_once(pipeline, stage):
    pipeline.answers |= {"ask": job(stage), "collect": [["5"], ["6"]]}
    assert report().execute(context()) == [["5"], ["6"]]
    assert [verb for verb, _ in pipeline.calls] == ["ask", "collect"]


def test_a_backfill_waits_in_its_own_lane(pipeline):
    pipeline.answers["ask"] = job(Stage.ASKED, "t-1")
    assert deferred(report(), context("backfill")).trigger.lane == "backfill"


def test_a_run_knows_how_often_it_was_cleared():
    task_context = context()
    assert run_of(task_context, ACCOUNT).clears == 0
    task_context["dag_run"].clear_number = 2
    assert run_of(task_context, ACCOUNT).clears == 2


def test_a_request_that_fails_fails_the_try(pipeline):
    pipeline.answers["ask"] = VendorUnavailable("502")
    with pytest.raises(VendorUnavailable):
        report().execute(context())


@pytest.mark.parametrize("status", ["success", "error", "unreadable"])
def test_whatever_the_trigger_saw_the_worker_asks_the_pipeline(pipeline, status):
    pipeline.answers["collect"] = [["5"], ["6"]]
    assert report().collect(context(), event(status, message="no data")) == [["5"], ["6"]]
    assert pipeline.calls == [("collect", {"feed": "health_overview"})]


@pytest.mark.parametrize("error", [JobFailed("the vendor lost it"), StoreUnavailable("the warehouse is down")])
def test_a_failure_while_collecting_fails_the_try(pipeline, error):
    pipeline.answers["collect"] = error
    with pytest.raises(type(error)):
        report().collect(context(), event("success"))


def test_a_report_that_is_late_is_waited_for_by_the_next_try(pipeline):
    with pytest.raises(JobPending, match="not finished"):
        report().collect(context(), event("timeout"))
    assert pipeline.calls == []


@pytest.mark.parametrize("strange", [None, {}, {"status": "success"}, {"status": "done", "token": "t-1"}])
def test_an_event_that_is_not_ours_is_refused(pipeline, strange):
    with pytest.raises(RuntimeError, match="none of ours"):
        report().collect(context(), strange)
    assert pipeline.calls == []


def test_a_killed_task_sends_nothing(pipeline):
    report().on_kill()
    assert pipeline.calls == []
