"""An Omnicomm connection becomes a source whose quota and token all processes share."""

from __future__ import annotations

import json

import pytest
from fleetlake.errors import ConfigError
from fleetlake.hooks.omnicomm import OmnicommHook
from fleetlake.http.rate_gate import LocalGate, PostgresGate
from fleetlake.http.tokens import LocalTokens, PostgresTokens
from fleetlake.reading import Lane

WAREHOUSE = "postgresql+psycopg://nobody@127.0.0.1:9/nowhere"
CONNECTION = {"conn_type": "omnicomm", "host": "https://fleet.example", "login": "ann", "password": "canary-password"}


@pytest.fixture
def source(monkeypatch):
    """The source of a connection with these fields of ``extra``."""

    def make(**extra):
        monkeypatch.setenv("AIRFLOW_CONN_OMNICOMM_DEFAULT", json.dumps({**CONNECTION, "extra": extra}))
        return OmnicommHook().get_source(Lane.SCHEDULED)

    return make


def test_fields_of_the_connection_are_settings(source):
    config = source(service="omnicomm", min_visit=0, unverified_endpoints=True).client.config
    assert (config.base_url, config.login, config.password) == ("https://fleet.example", "ann", "canary-password")
    assert (config.service, config.min_visit, config.unverified_endpoints) == ("omnicomm", 0, True)


def test_gate_and_token_are_shared_through_the_warehouse_by_everyone_with_this_login(source, monkeypatch):
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", WAREHOUSE)
    client = source().client
    assert isinstance(client._session._gate, PostgresGate)
    assert isinstance(client._login._tokens, PostgresTokens)
    assert client.config.account_key == "omnicomm:https://fleet.example:ann"


def test_without_a_warehouse_they_are_this_process_own(source, monkeypatch):
    monkeypatch.delenv("FLEETLAKE_WAREHOUSE_URL", raising=False)
    client = source().client
    assert isinstance(client._session._gate, LocalGate)
    assert isinstance(client._login._tokens, LocalTokens)


def test_a_wrong_setting_names_the_connection_and_shows_no_secret(source):
    with pytest.raises(ConfigError, match=r"pasword.*connection omnicomm_default.*did you mean 'password'") as caught:
        source(pasword="canary-other")
    assert "canary" not in str(caught.value)
