"""The DAG of self-healing: its shape, what its tasks hand over, and who is told."""

from __future__ import annotations

import importlib
import json
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import CronTriggerTimetable
from fleetlake.accounts import load_accounts
from fleetlake.errors import ConfigError, Retriable
from fleetlake.operators import heal as operators
from fleetlake.operators.alerts import NOTIFIER, configured, tell
from fleetlake.operators.heal import SWITCH, HealCloseOperator, HealingOperator, HealOperator, heal_dag
from fleetlake.pipeline.heal import Healed, Request
from fleetlake.window import Window

ROOT = Path(__file__).resolve().parents[2]
CONTEXT: dict[str, Any] = {"ti": SimpleNamespace(dag_id="fleet_self_heal", run_id="a_run", try_number=1), "params": {}}


@pytest.fixture(scope="module")
def dag(airflow_db):
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=ROOT / "dags").dags["fleet_self_heal"]


# --- the DAG ----------------------------------------------------------------------------------------------------------------


def test_every_account_is_healed_in_its_own_pool(dag):
    accounts = load_accounts(ROOT / "include")
    assert {task.task_id for task in dag.tasks} == {
        f"{account.name}.{task}"
        for account in accounts
        for task in ("take_up_aside", "plan_holes", "heal_holes", "close_holes")
    }
    for account in accounts:
        plan, heal, close = (dag.get_task(f"{account.name}.{task}") for task in ("plan_holes", "heal_holes", "close_holes"))
        aside = dag.get_task(f"{account.name}.take_up_aside")
        assert {aside.pool, plan.pool, heal.pool, close.pool} == {account.pool}
        assert plan.upstream_task_ids == {aside.task_id}
        assert plan.trigger_rule == "all_done", "what cannot be judged again keeps no hole from being planned"
        assert aside.retries == 0, "nor from being planned soon"
        assert heal.upstream_task_ids == {plan.task_id}
        assert close.upstream_task_ids == {plan.task_id, heal.task_id}
        assert close.trigger_rule == "all_done", "what was taken on is settled whatever happened"


def test_it_runs_by_the_hour_one_run_at_a_time_and_is_on(dag):
    assert isinstance(dag.timetable, CronTriggerTimetable)
    assert dag.timetable.expression == "40 * * * *"
    assert (dag.max_active_runs, dag.catchup, dag.is_paused_upon_creation) == (1, False, False)
    assert "extra" in dag.tags, "the demo leaves it alone"


@pytest.mark.parametrize(("value", "paused"), [("on", False), ("off", True)])
def test_a_stack_may_create_it_paused(monkeypatch, value, paused):
    monkeypatch.setenv(SWITCH, value)
    assert heal_dag("x", doc="### X")["is_paused_upon_creation"] is paused


def test_another_word_than_on_or_off_is_refused(monkeypatch):
    monkeypatch.setenv(SWITCH, "yes")
    with pytest.raises(ConfigError, match="write on or off"):
        heal_dag("x", doc=None)


# --- the operators ----------------------------------------------------------------------------------------------------------


def test_requests_survive_their_way_through_xcom():
    request = Request(feed="trips", window=Window.parse("2026-11-01", "2026-11-08T06:00"), scopes=("7", "9"), pages=2.5)
    assert Request.from_dict(json.loads(json.dumps(request.as_dict()))) == request


def test_a_task_carries_out_its_requests_and_is_named_after_them(monkeypatch):
    seen = []

    class Healing:
        def heal(self, run, requests):
            seen.append((run, list(requests)))
            return Healed(mended=2)

    @contextmanager
    def opened(self, context):
        yield SimpleNamespace(healing=Healing()), "the run"

    monkeypatch.setattr(HealingOperator, "pipeline", opened)
    request = Request(feed="trips", window=Window.day("2026-11-01"), scopes=("7",))
    operator = HealOperator(task_id="heal", account="north", requests=[request.as_dict()])
    assert operator.chunk == "trips (1)"
    assert operator.execute(CONTEXT)["mended"] == 2
    assert seen == [("the run", [request])]
    assert operator.execution_timeout <= timedelta(hours=2)


def test_a_run_about_one_account_leaves_the_others_alone(monkeypatch):
    def opened(self, context):
        raise AssertionError("nothing is opened")

    monkeypatch.setattr(HealingOperator, "pipeline", opened)
    operator = operators.HealPlanOperator(task_id="plan", account="north")
    assert operator.execute({**CONTEXT, "params": {"account": "south"}}) == []
    aside = operators.HealRedriveOperator(task_id="aside", account="north")
    assert aside.execute({**CONTEXT, "params": {"account": "south"}}) == {}


# --- telling people ---------------------------------------------------------------------------------------------------------


NOTIFIERS = """
from airflow.sdk import BaseNotifier

sent = []


class Kept(BaseNotifier):
    template_fields = ("text",)

    def __init__(self, text="none", token=""):
        super().__init__()
        if token == "wrong":
            raise ValueError(f"cannot log in with {token}-secret")
        self.text = text

    def notify(self, context):
        sent.append(self.text)


class Broken(Kept):
    def notify(self, context):
        raise OSError("no way to https://hooks.example.org/secret")


class Other:
    pass
"""


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Name of a module with a notifier that keeps what it would send."""
    (tmp_path / "somebodys_notifiers.py").write_text(NOTIFIERS)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("somebodys_notifiers").sent.clear()
    return "somebodys_notifiers"


def test_people_are_told_by_log_and_the_notifier_that_is_configured(here, monkeypatch, caplog):
    monkeypatch.setenv(NOTIFIER, here + '.Kept {"text": "{{ account }}: {{ subject }} | {{ message }}"}')
    words = "{{ nothing }} is rendered"
    tell(dict(CONTEXT), account="north", subject="3 days", message=words)
    assert importlib.import_module(here).sent == [f"north: 3 days | {words}"]
    assert words in caplog.text


def test_a_notifier_that_cannot_send_fails_the_task_without_its_words(here, monkeypatch):
    monkeypatch.setenv(NOTIFIER, here + ".Broken")
    with pytest.raises(Retriable, match=r"OSError.*ops\.alert") as caught:
        tell(dict(CONTEXT), account="north", subject="3 days", message="words")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_without_a_notifier_the_log_is_all(monkeypatch):
    monkeypatch.delenv(NOTIFIER, raising=False)
    assert configured() is None


@pytest.mark.parametrize(
    "value", ['.Kept {"text": 1', '.Kept {"nothing": 1}', ".Missing", ".Other", '.Kept {"token": "wrong"}']
)
def test_a_notifier_that_cannot_be_made_is_named_without_its_arguments(here, monkeypatch, value):
    monkeypatch.setenv(NOTIFIER, here + value)
    with pytest.raises(ConfigError) as caught:
        configured()
    assert NOTIFIER in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_closing_tells_what_was_given_up(monkeypatch):
    told = []

    class Healing:
        def close(self, run, announce):
            announce("subject", "message")
            return Healed(given_up=1)

    @contextmanager
    def opened(self, context):
        yield SimpleNamespace(healing=Healing()), "the run"

    monkeypatch.setattr(HealingOperator, "pipeline", opened)
    monkeypatch.setattr(operators, "tell", lambda context, **words: told.append(tuple(words.values())))
    assert HealCloseOperator(task_id="close", account="north").execute(dict(CONTEXT))["given_up"] == 1
    assert told == [("north", "subject", "message")]
