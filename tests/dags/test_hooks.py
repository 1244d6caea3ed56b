"""Connections become sources: fields, certificates, warehouse, clear errors."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest
from fleetlake.accounts import Account
from fleetlake.errors import ConfigError
from fleetlake.hooks import hook_for, settings_with_warehouse
from fleetlake.hooks.base import warehouse_url, with_base_url
from fleetlake.hooks.powunity import PowUnityHook
from fleetlake.hooks.rcs import RcsHook, _certificate_files
from fleetlake.http.rate_gate import PostgresGate
from fleetlake.reading import Lane
from fleetlake.sandbox.pki import Pki
from fleetlake.settings import Settings

WAREHOUSE = "postgresql+psycopg://nobody@127.0.0.1:9/nowhere"


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    made = Pki(tmp_path_factory.mktemp("pki"))
    made.ensure("client")
    return made


@pytest.fixture
def connection(monkeypatch):
    """Define a connection the way `AIRFLOW_CONN_…` does."""

    def define(conn_id: str, **fields) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return define


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "https://rcs.example/api"}, "https://rcs.example/api"),
        ({"host": "rcs.example"}, "https://rcs.example"),
        ({"host": "rcs.example/api", "port": 8443}, "https://rcs.example:8443/api"),
        ({"host": "127.0.0.1", "schema": "http", "port": 80}, "http://127.0.0.1:80"),
        ({"host": "https://rcs.example:1/api", "port": 2}, "https://rcs.example:1/api"),
        ({"host": "https://[::1]/api", "port": 2}, "https://[::1]:2/api"),
        ({"host": "https://[::1]:1", "port": 2}, "https://[::1]:1"),
    ],
)
def test_host_schema_and_port_are_one_address(fields, url):
    assert with_base_url({**fields, "api_version": "1.3"}) == {"base_url": url, "api_version": "1.3"}


def test_without_host_the_vendors_own_address_is_used(connection):
    connection("powunity_default", conn_type="powunity", extra={"token": "canary-token"})
    source = PowUnityHook().get_source(Lane.LIVE)
    assert source.client.config.base_url == "https://iot.powunity.com/api"


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        (
            {"host": "db.example", "port": 5433, "login": "fleet", "password": "p@ss/word", "schema": "warehouse"},
            "postgresql+psycopg://fleet:p%40ss%2Fword@db.example:5433/warehouse",
        ),
        ({"host": "/run/pg data", "login": "me", "schema": "w"}, "postgresql+psycopg://me@/w?host=%2Frun%2Fpg%20data"),
        ({"host": "/run/pg", "port": 5433, "schema": "w"}, "postgresql+psycopg:///w?host=%2Frun%2Fpg&port=5433"),
    ],
)
def test_the_warehouse_connection_becomes_an_address_that_sqlalchemy_reads_back(fields, url):
    from sqlalchemy import make_url

    assert warehouse_url(fields) == url
    read = make_url(url)
    assert (read.host or read.query["host"], read.password) == (fields["host"], fields.get("password"))


def test_the_environments_warehouse_comes_before_the_connection(connection, monkeypatch):
    connection("fleetlake_warehouse", conn_type="postgres", host="db.example", schema="warehouse")
    assert settings_with_warehouse(Settings.from_env()).warehouse_url == "postgresql+psycopg://db.example/warehouse"
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", WAREHOUSE)
    assert settings_with_warehouse(Settings.from_env()).warehouse_url == WAREHOUSE


def test_without_a_warehouse_the_settings_stay_as_they_are():
    settings = Settings.from_env()
    assert settings_with_warehouse(settings) == settings


def gate_of(source):
    return source.client._session._gate


def test_sources_of_one_login_share_one_gate_in_the_warehouse(connection, monkeypatch):
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", WAREHOUSE)
    for name, login in (("one", "fleet@example.com"), ("again", "fleet@example.com"), ("other", "else@example.com")):
        connection(name, conn_type="powunity", login=login, password="canary")
    one, again, other = (gate_of(PowUnityHook(name).get_source(Lane.LIVE)) for name in ("one", "again", "other"))
    assert isinstance(one, PostgresGate)
    assert one is again
    assert other._key != one._key


def test_two_certificates_have_two_quotas_and_one_certificate_has_one(connection, monkeypatch, pki, tmp_path):
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", WAREHOUSE)
    client, stranger = pki.pair("client"), pki.pair("stranger")
    copy = tmp_path / "copy.pem"
    copy.write_bytes(Path(client.cert).read_bytes())
    connection("file", conn_type="rcs", host="https://h", extra={"cert": str(client.cert), "key": str(client.key)})
    connection("copied", conn_type="rcs", host="https://h", extra={"cert": str(copy), "key": str(client.key)})
    connection("other", conn_type="rcs", host="https://h", extra={"cert": str(stranger.cert), "key": str(stranger.key)})
    first, copied, other = (gate_of(RcsHook(name).get_source(Lane.LIVE)) for name in ("file", "copied", "other"))
    assert first is copied
    assert other is not first


def test_a_certificate_given_as_text_lives_in_a_private_file_only_while_it_is_read(connection, monkeypatch, pki, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pair = pki.pair("client")
    texts = {"certificate_pem": Path(pair.cert).read_text(), "private_key_pem": Path(pair.key).read_text()}
    with _certificate_files(texts, "here") as values:
        files = [Path(values["cert"]), Path(values["key"])]
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
        assert {stat.S_IMODE(file.parent.stat().st_mode) for file in files} == {0o700}
        assert set(values) == {"cert", "key"}
    connection("rcs_default", conn_type="rcs", host="https://rcs.example", extra=texts)
    RcsHook().get_source(Lane.LIVE).close()
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_line_breaks_of_a_certificate_may_be_escaped(connection, pki):
    pair = pki.pair("client")
    texts = {
        "certificate_pem": Path(pair.cert).read_text().replace("\n", "\\n"),
        "private_key_pem": Path(pair.key).read_text().replace("\n", "\\n"),
    }
    connection("rcs_default", conn_type="rcs", host="https://rcs.example", extra=texts)
    RcsHook().get_source(Lane.LIVE).close()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"certificate_pem": "canary-pem", "cert": "/x.pem"}, "cert is given as a file and as text"),
        ({"cert": "/nowhere/client.pem"}, "/nowhere/client.pem cannot be read"),
        ({"certifcate": "x"}, "unknown setting 'certifcate'"),
        ({"api_version": "one"}, "api_version is 'one'"),
        ({"rate_per_s": "fast"}, "'rate_per_s' cannot be read"),
        ({"certificate_pem": "canary-pem"}, "client certificate and key cannot be used"),
    ],
)
def test_a_wrong_field_is_named_with_the_connection_and_the_remedy(connection, extra, said):
    connection("rcs_default", conn_type="rcs", host="https://rcs.example", extra=extra)
    ok, message = RcsHook().test_connection()
    assert not ok
    assert said in message
    assert " → " in message
    assert "canary" not in message


@pytest.mark.parametrize("hook", [RcsHook(), PowUnityHook()], ids=lambda hook: hook.conn_type)
def test_a_missing_connection_says_how_to_add_it(hook):
    with pytest.raises(ConfigError, match=f"no Airflow connection '{hook.default_conn_name}'.*{hook.conn_type}"):
        hook.get_source(Lane.LIVE)
    ok, message = hook.test_connection()
    assert not ok
    assert f"AIRFLOW_CONN_{hook.default_conn_name.upper()}" in message


def test_a_trigger_reads_its_connection_without_blocking_its_loop(connection, monkeypatch):
    connection("powunity_default", conn_type="powunity", login="fleet@example.com", password="canary")
    connection("fleetlake_warehouse", conn_type="postgres", host="db.example", schema="warehouse")
    hook = asyncio.run(PowUnityHook.aload("powunity_default"))
    monkeypatch.setattr(PowUnityHook, "get_connection", None)  # a second, blocking read would fail
    source = hook.get_source(Lane.SCHEDULED)
    assert source.client.config.email == "fleet@example.com"
    assert gate_of(source)._store == "postgresql+psycopg://db.example/warehouse"
    with pytest.raises(ConfigError, match="no Airflow connection 'absent'"):
        asyncio.run(PowUnityHook.aload("absent"))


def test_a_vendor_without_hook_is_named():
    with pytest.raises(ConfigError, match=r"no hook for vendor 'nowhere' .*accounts\.yaml: fleet"):
        hook_for(Account(name="fleet", vendor="nowhere", conn_id="nowhere_default"))
