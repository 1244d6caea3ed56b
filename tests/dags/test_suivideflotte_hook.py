"""A SuiviDeFlotte connection becomes a source: key, shared quota, shared token, the account's mapping file."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from fleetlake.hooks.suivideflotte import SuiviDeFlotteHook
from fleetlake.http.rate_gate import PostgresGate
from fleetlake.http.tokens import LocalTokens, PostgresTokens
from fleetlake.reading import Lane
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running

WAREHOUSE = "postgresql+psycopg://nobody@127.0.0.1:9/nowhere"
INCLUDE = Path(__file__).parents[2] / "include"
APPLICATION = {"client_id": "21", "client_secret": "canary-secret"}


@pytest.fixture
def connection(monkeypatch):
    """Define a connection the way `AIRFLOW_CONN_…` does."""

    def define(conn_id: str, **fields) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "suivideflotte", **fields}))

    return define


def test_a_token_is_enough_and_the_vendors_address_is_known(connection):
    connection("suivideflotte_default", extra={"token": "canary-token"})
    source = SuiviDeFlotteHook().get_source(Lane.LIVE)
    assert source.client.config.base_url == "https://api.suivideflotte.net"
    assert isinstance(source.client._tokens, LocalTokens)
    assert "canary" not in repr(source.client.config)


def test_processes_of_one_user_share_quota_and_token_through_the_warehouse(connection, monkeypatch):
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", WAREHOUSE)
    for name, client in (("one", "21"), ("other", "22")):
        connection(name, login="u", password="p", extra={**APPLICATION, "client_id": client})
    one, again, other = (SuiviDeFlotteHook(name).get_source(Lane.LIVE).client for name in ("one", "one", "other"))
    assert isinstance(one._gate, PostgresGate)
    assert one._gate is again._gate is other._gate, "the vendor counts per user, whatever the key"
    assert one.config.username == "u"
    keys = [client._tokens._key for client in (one, again, other)]
    assert isinstance(one._tokens, PostgresTokens)
    assert keys[0] == keys[1] != keys[2]


def test_a_connection_is_read_with_the_mapping_file_of_the_account_that_uses_it(connection, monkeypatch, tmp_path):
    (tmp_path / "contracts").symlink_to(INCLUDE / "contracts")
    (tmp_path / "suivideflotte").mkdir()
    text = (INCLUDE / "suivideflotte" / "default.yaml").read_text()
    (tmp_path / "suivideflotte" / "default.yaml").write_text(text)
    (tmp_path / "suivideflotte" / "reunion.yaml").write_text(text.replace("Europe/Paris ", "Indian/Reunion "))
    (tmp_path / "accounts.yaml").write_text(
        "accounts:\n  - {name: france, vendor: suivideflotte}\n"
        "  - {name: reunion, vendor: suivideflotte, conn_id: island}\n  - {name: island, vendor: rcs, conn_id: island}\n"
    )
    monkeypatch.setenv("FLEETLAKE_INCLUDE", str(tmp_path))
    zones = {}
    for name in ("suivideflotte_default", "island", "stranger"):
        connection(name, extra={"token": "x"})
        zones[name] = str(SuiviDeFlotteHook(name).get_source(Lane.LIVE).fieldmap.zone)
    assert zones == {
        "suivideflotte_default": "Europe/Paris",
        "island": "Indian/Reunion",
        "stranger": "Europe/Paris",
    }


def test_the_connection_test_says_what_works_and_what_is_wrong(connection, tmp_path):
    settings = SandboxSettings(
        state_dir=tmp_path, as_of=dt.datetime(2026, 11, 22, tzinfo=dt.UTC), cars=3, rooms=("suivideflotte",)
    )
    with running(settings) as sandbox:
        url, keys = sandbox.urls["suivideflotte"], sandbox.customers["suivideflotte"]["france"]
        connection("suivideflotte_default", host=url, extra={"token": keys["token"]})
        assert SuiviDeFlotteHook().test_connection() == (
            True,
            "SuiviDeFlotte accepts the persistent token; 3 vehicles are visible",
        )
        application = {name: keys[name] for name in APPLICATION}
        connection("suivideflotte_default", host=url, login=keys["username"], password=keys["password"], extra=application)
        assert SuiviDeFlotteHook().test_connection() == (
            True,
            "SuiviDeFlotte accepts the application key; 3 vehicles are visible",
        )
        connection("suivideflotte_default", host=url, extra={"token": "canary-token"})
        works, words = SuiviDeFlotteHook().test_connection()
        assert not works
        assert "Super Administrateur generates a new one" in words
        assert "canary" not in words
    connection("suivideflotte_default", host=url, extra={"tokn": "x"})
    assert "did you mean 'token'" in SuiviDeFlotteHook().test_connection()[1]
