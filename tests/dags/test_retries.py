"""The retry policy does to each error what its group in ``errors.py`` says."""

from __future__ import annotations

import inspect
import logging
from types import SimpleNamespace

import pytest
from airflow.sdk import RetryAction
from fleetlake import errors
from fleetlake.operators.retries import FleetRetryPolicy, log_failure

ALL = [
    item
    for item in vars(errors).values()
    if inspect.isclass(item) and issubclass(item, errors.FleetlakeError) and item is not errors.FleetlakeError
]


def decide(error: BaseException):
    return FleetRetryPolicy().evaluate(error, try_number=1, max_tries=4)


@pytest.mark.parametrize("kind", [kind for kind in ALL if issubclass(kind, errors.Fatal)])
def test_what_a_person_must_mend_is_never_tried_again(kind):
    decision = decide(kind("the password is wrong", where="rcs_default", remedy="type it again"))
    assert decision.action is RetryAction.FAIL
    assert "the password is wrong [rcs_default] → type it again" in decision.reason


def test_a_held_batch_is_not_tried_again():
    assert decide(errors.BatchHeld("12 rows have no vehicle")).action is RetryAction.FAIL


@pytest.mark.parametrize("kind", [kind for kind in ALL if issubclass(kind, errors.Retriable)])
def test_the_vendors_own_waiting_time_is_kept(kind):
    decision = decide(kind("too many requests", retry_after=7.5))
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay.total_seconds() == 7.5


def test_a_waiting_time_of_nothing_still_pauses():
    assert decide(errors.RateLimited("slow down", retry_after=0)).retry_delay.total_seconds() == 1


@pytest.mark.parametrize(
    "kind",
    [kind for kind in ALL if not issubclass(kind, errors.Fatal | errors.BatchHeld)],
)
def test_other_errors_use_the_tasks_own_retries_and_say_why(kind):
    decision = decide(kind("half an answer", remedy="run it again"))
    assert decision.action is RetryAction.DEFAULT
    assert decision.reason == f"{kind.__name__}: half an answer → run it again"


def test_an_error_that_is_not_ours_is_left_to_airflow():
    decision = decide(ZeroDivisionError("a bug"))
    assert (decision.action, decision.reason) == (RetryAction.DEFAULT, None)


def test_the_last_failure_tells_the_log_what_to_do(caplog):
    context = {
        "ti": SimpleNamespace(dag_id="rcs_telemetry", task_id="load_telemetry", run_id="scheduled__1"),
        "partition_key": "2026-11-01",
        "exception": errors.AccessDenied("no right to read telemetry", remedy="ask the vendor to grant it"),
    }
    with caplog.at_level(logging.ERROR):
        log_failure(context)
    for part in ("rcs_telemetry.load_telemetry", "2026-11-01", "no right to read telemetry", "ask the vendor to grant it"):
        assert part in caplog.text
