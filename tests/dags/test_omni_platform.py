"""OMNI Platform in Airflow: its connection, and its DAG."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fleetlake.accounts import load_accounts
from fleetlake.errors import ConfigError
from fleetlake.hooks.omni_platform import OmniPlatformHook
from fleetlake.reading import Lane
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "00000000-0000-4000-8000-0000000000aa"


@pytest.fixture(scope="module")
def bag(airflow_db):
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=ROOT / "dags")


@pytest.fixture
def connection(monkeypatch):
    def define(**fields):
        monkeypatch.setenv("AIRFLOW_CONN_OMNI_PLATFORM_DEFAULT", json.dumps({"conn_type": "omni_platform", **fields}))

    return define


def test_the_password_is_the_token_and_extra_holds_the_settings(connection):
    connection(host="omni.example", schema="http", password=TOKEN, extra={"page_size": "50", "personal_data": "keep"})
    source = OmniPlatformHook().get_source(Lane.BACKFILL)
    config = source.client.config
    assert (config.base_url, config.token, config.page_size) == ("http://omni.example", TOKEN, 50)
    assert config.keeps_personal_data
    source.close()


def test_without_a_token_the_setting_is_named(connection):
    connection(host="http://omni.example")
    with pytest.raises(ConfigError, match="'token' is missing"):
        OmniPlatformHook().get_source(Lane.LIVE)


def test_the_test_button_says_what_works_and_what_does_not(connection, tmp_path):
    with running(SandboxSettings(state_dir=tmp_path, rooms=("omni_platform",), cameras=1)) as sandbox:
        connection(host=sandbox.urls["omni_platform"], extra=sandbox.customers["omni_platform"]["depot"])
        assert OmniPlatformHook().test_connection()[0] is True
        connection(host=sandbox.urls["omni_platform"], password=TOKEN)
        works, words = OmniPlatformHook().test_connection()
    assert works is False
    assert "does not accept the token" in words
    assert TOKEN not in words


def test_events_are_loaded_by_day_and_late_ones_by_a_learned_look_back(bag):
    events = bag.dags["omni_platform_events"]
    assert events.get_task("certify_events").upstream_task_ids == {"load_lists", "load_events"}
    account = next(account for account in load_accounts(ROOT / "include") if account.vendor == "omni_platform")
    assert account.look_back_days is None
