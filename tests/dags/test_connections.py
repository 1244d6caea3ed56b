"""Airflow's "Test" button against the simulated vendors: what works, what is wrong, how to mend it."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import Connection
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import Running, running


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory) -> Running:
    with running(SandboxSettings(state_dir=tmp_path_factory.mktemp("sandbox"))) as started:
        yield started


@pytest.fixture
def rcs(sandbox):
    """Fields of a good RCS connection."""
    return {"conn_type": "rcs", "host": sandbox.urls["rcs"], "extra": dict(sandbox.customers["rcs"]["main"])}


@pytest.fixture
def powunity(sandbox):
    """Fields of a good PowUnity connection."""
    customer = sandbox.customers["powunity"]["north"]
    fields = {"conn_type": "powunity", "host": sandbox.urls["powunity"], "extra": {}}
    return {**fields, "login": customer["email"], "password": customer["password"]}


@pytest.fixture
def tested(monkeypatch):
    """What the button says to these fields: the way Airflow goes, from connection type to hook."""

    def test(fields) -> tuple[bool, str]:
        monkeypatch.setenv("AIRFLOW_CONN_TRIED", json.dumps(fields))
        return Connection.from_json(json.dumps(fields), conn_id="tried").test_connection()

    return test


def test_good_connections_say_what_answers(tested, rcs, powunity):
    assert tested(rcs) == (True, tested(rcs)[1])
    assert "the client certificate is accepted" in tested(rcs)[1]
    ok, message = tested(powunity)
    assert ok, message
    assert "accepts the login by password; 10 devices" in message


def test_a_token_alone_is_enough(tested, powunity, sandbox):
    token = sandbox.customers["powunity"]["north"]["token"]
    fields = {**powunity, "login": None, "password": None, "extra": {"token": token}}
    ok, message = tested(fields)
    assert ok, message
    assert "login by token" in message


def test_empty_fields_of_the_form_mean_nothing(tested, rcs):
    rcs["extra"] |= {"certificate_pem": "", "private_key_pem": None, "time_zone": ""}
    ok, message = tested({**rcs, "login": "", "password": "", "schema": ""})
    assert ok, message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cert": None, "key": None}, ["no client certificate is set", "set cert and key"]),
        ({"cert": "{pki}/unregistered.pem", "key": "{pki}/unregistered.key"}, ["certificate", "cert and key"]),
        ({"cert": "{pki}/stranger.pem", "key": "{pki}/stranger.key"}, ["hang up on a certificate", "check cert and key"]),
        ({"key": "{pki}/stranger.key"}, ["certificate and key cannot be used", "belong together"]),
        ({"ca": None}, ["the server's certificate is not trusted", "set ca"]),
        ({"api_version": "9.0"}, ["not 9.0", "set api_version"]),
    ],
    ids=["missing", "unregistered", "stranger", "mismatched", "untrusted", "version"],
)
def test_what_is_wrong_with_an_rcs_connection(tested, rcs, sandbox, change, said):
    rcs["extra"]["max_attempts"] = 1
    for name, value in change.items():
        rcs["extra"][name] = value and value.format(pki=sandbox.pki.folder)
    ok, message = tested(rcs)
    assert not ok
    assert all(part in message for part in [*said, " → "]), message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "canary-wrong"}, ["password"]),
        ({"login": None}, ["no credentials are set", "set token, or email and password"]),
        ({"extra": {"token": "canary-wrong"}}, ["token"]),
        ({"extra": {"auth": "bearer"}}, ["token is missing"]),
        ({"host": "http://127.0.0.1:9/api"}, ["nobody listens", "check host and port"]),
        ({"extra": {"pasword": "canary"}}, ["unknown setting 'pasword'", "did you mean 'password'?"]),
    ],
    ids=["password", "login", "token", "bearer", "port", "setting"],
)
def test_what_is_wrong_with_a_powunity_connection(tested, powunity, change, said):
    ok, message = tested({**powunity, **change, "extra": {"max_attempts": 1, **change.get("extra", {})}})
    assert not ok
    assert all(part in message for part in [*said, " → "]), message
    assert "canary" not in message
