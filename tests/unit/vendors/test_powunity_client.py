from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fleetlake.errors import (
    ConfigError,
    CredentialsRejected,
    FleetlakeError,
    MalformedAnswer,
    RateLimited,
    ScopeUnavailable,
    SessionExpired,
    VendorUnavailable,
)
from fleetlake.sandbox.testing import Running
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import Auth, PowUnityConfig
from fleetlake.window import Window

Open = Callable[..., PowUnityClient]
Logged = Callable[..., list[dict[str, Any]]]
DAY = Window.day("2026-11-11")


def ids(client: PowUnityClient) -> list[str]:
    return [str(device["id"]) for device in json.loads(client.devices().body)]


@pytest.mark.parametrize("way", ["token", "password", "basic"])
def test_each_way_to_log_in_sees_the_same_devices(way: str, powunity: Open, sandbox: Running, logged: Logged) -> None:
    client = powunity(way=way)
    assert len(ids(client)) == 3
    client.groups()
    assert logged(sandbox, 1, vendor="powunity", path="/api/groups")
    logins = logged(sandbox, 0, vendor="powunity", path="/api/session")
    # One login for any number of calls; Basic opens no session at all.
    assert [entry["method"] for entry in logins] == {"token": ["GET"], "password": ["POST"], "basic": []}[way]


def test_bearer_is_a_switch_and_refused_by_default(powunity: Open, start_sandbox: Callable[..., Running]) -> None:
    with pytest.raises(CredentialsRejected):
        powunity(way="bearer").devices()
    assert len(ids(powunity(start_sandbox({"powunity.bearer": "true"}), way="bearer"))) == 3


@pytest.mark.parametrize(
    ("way", "wrong"),
    [
        ("token", {"token": "not-the-token"}),
        ("password", {"password": "not-the-password"}),
        ("password", {"email": "nobody@example.org"}),
        ("basic", {"password": "not-the-password"}),
    ],
)
def test_a_400_to_a_login_means_wrong_credentials_and_is_asked_once(
    way: str, wrong: dict[str, str], powunity: Open, sandbox: Running, logged: Logged, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = powunity(way=way, **wrong)
    with pytest.raises(CredentialsRejected, match=r"HTTP 400.*check token, or e-mail and password") as caught:
        client.devices()
    assert "NullPointer" not in str(caught.value)
    assert len(logged(sandbox, 1, vendor="powunity")) == 1
    assert "not-the-" not in str(caught.value) + caplog.text


def test_an_expired_token_tells_the_vendors_words(powunity: Open, start_sandbox: Callable[..., Running]) -> None:
    with pytest.raises(CredentialsRejected, match="Token has expired"):
        powunity(start_sandbox({"powunity.token_expires": "2026-11-14T00:00:00Z"})).devices()


@pytest.mark.parametrize("way", ["token", "password"])
def test_a_session_that_ends_in_mid_run_is_renewed_once(way: str, powunity: Open, sandbox: Running, logged: Logged) -> None:
    client = powunity(way=way)
    devices = ids(client)
    with sandbox.faults("expired:vendor=powunity,path=/api/positions,count=1"):
        assert client.positions(devices[0], DAY).status == 200
    assert len(logged(sandbox, 2, vendor="powunity", path="/api/session")) == 2
    positions = logged(sandbox, 2, vendor="powunity", path="/api/positions")
    assert sorted(entry["status"] for entry in positions) == [200, 401]


def test_a_session_that_never_holds_is_an_error_and_no_loop(powunity: Open, sandbox: Running, logged: Logged) -> None:
    client = powunity()
    device = ids(client)[0]
    with sandbox.faults("expired:vendor=powunity,path=/api/positions"), pytest.raises(SessionExpired):
        client.positions(device, DAY)
    assert len(logged(sandbox, 2, vendor="powunity", path="/api/positions")) == 2
    assert len(logged(sandbox, 2, vendor="powunity", path="/api/session")) == 2


def test_log_out_ends_the_session(powunity: Open) -> None:
    client = powunity()
    assert client.session() is not None if client.devices() else False
    client.logout()
    with pytest.raises(CredentialsRejected, match="nobody is logged in"):
        client.get("/session", login=False)
    assert len(ids(client)) == 3


def test_a_forbidden_device_is_skippable_on_positions_and_empty_on_reports(powunity: Open, sandbox: Running) -> None:
    other = sandbox.customers["powunity"]["south"]
    stranger = ids(powunity(token=other["token"]))[0]
    client = powunity()
    with pytest.raises(ScopeUnavailable, match="Device access denied"):
        client.positions(stranger, DAY)
    with pytest.raises(ScopeUnavailable):
        client.device(stranger)
    assert client.trips(stranger, DAY).body == b"[]"


def test_ranges_are_half_open_although_the_servers_are_not(powunity: Open, sandbox: Running, logged: Logged) -> None:
    client = powunity()
    device = next(device for device in ids(client) if json.loads(client.positions(device, DAY).body))
    times = [row["fixTime"] for row in json.loads(client.positions(device, DAY).body)]
    assert times == sorted(times)
    assert all(time.startswith("2026-11-11T") for time in times)
    query = logged(sandbox, 1, vendor="powunity", path="/api/positions")[0]["query"].replace("%3A", ":")
    assert query.endswith("&from=2026-11-11T00:00:00Z&to=2026-11-11T23:59:59.999Z")
    # A cut at a point's own time gives it to the second half only.
    middle = times[len(times) // 2].replace("+00:00", "Z")
    first, second = (
        [row["fixTime"] for row in json.loads(client.positions(device, half).body)]
        for half in (Window.parse("2026-11-11", middle), Window.parse(middle, "2026-11-12"))
    )
    assert first + second == times


def test_json_is_always_asked_for(powunity: Open) -> None:
    client = powunity()
    answer = client.trips(ids(client)[0], DAY)
    assert answer.content_type.startswith("application/json")
    # What happens otherwise: a spreadsheet, which is not JSON.
    other = client.get(
        "/reports/trips",
        {"deviceId": ids(client)[0], "from": "2026-11-11T00:00:00Z", "to": "2026-11-11T23:59:59Z"},
        headers={"Accept": "*/*"},
    )
    assert "spreadsheet" in other.content_type


@pytest.mark.parametrize("report", ["trips", "stops", "summary", "combined"])
def test_a_report_of_more_than_24_h_is_refused_unsent(report: str, powunity: Open, sandbox: Running, logged: Logged) -> None:
    client = powunity()
    device = ids(client)[0]
    with pytest.raises(ConfigError, match=r"longer than 86400 s.*cut the window at UTC days"):
        getattr(client, report)(device, Window.parse("2026-11-10", "2026-11-11T00:00:01Z"))
    getattr(client, report)(device, DAY)
    assert len(logged(sandbox, 1, vendor="powunity", path="/api/reports/*")) == 1


def test_every_list_and_object_is_read(powunity: Open) -> None:
    client = powunity()
    assert client.server()["version"] == "5.12"
    device = client.device(ids(client)[0])
    assert json.loads(client.devices(unique_ids=[device["uniqueId"]]).body)[0]["id"] == device["id"]
    assert json.loads(client.devices(device_ids=[str(device["id"])]).body)[0]["id"] == device["id"]
    for answer in (client.geofences(), client.groups(), client.drivers(), client.notification_types()):
        assert isinstance(json.loads(answer.body), list)
    latest = json.loads(client.latest_positions().body)
    assert len(latest) == 3
    one = json.loads(client.latest_positions(str(latest[0]["deviceId"])).body)
    assert one[0]["id"] == json.loads(client.positions_by_id([str(one[0]["id"])]).body)[0]["id"]
    events = json.loads(client.events(str(device["id"]), Window.parse("2026-11-01", "2026-11-15")).body)
    assert events
    assert client.event(str(events[0]["id"]))["type"] == events[0]["type"]
    kinds = {events[0]["type"]}
    only = json.loads(client.events(str(device["id"]), Window.parse("2026-11-01", "2026-11-15"), types=sorted(kinds)).body)
    assert {event["type"] for event in only} == kinds
    assert client.route(str(device["id"]), DAY).status == 200
    for kind, start in (("csv", b"id,deviceId"), ("gpx", b"<?xml"), ("kml", b"<?xml")):
        assert client.positions_file(str(device["id"]), DAY, kind).body.startswith(start)
    with pytest.raises(ConfigError, match="one of csv, gpx, kml"):
        client.positions_file("1", DAY, "xlsx")


def test_a_missing_event_or_device_is_skippable(powunity: Open) -> None:
    client = powunity()
    with pytest.raises(ScopeUnavailable):
        client.event("1")
    with pytest.raises(FleetlakeError) as caught:
        client.device("99999999")
    assert isinstance(caught.value, ScopeUnavailable)


@pytest.mark.parametrize(
    "fault",
    [
        "429:retry_after=0,count=2",
        "500:count=1",
        "drop:count=1",
        "drop_answer:count=1",
        "drop_body:count=1",
        "html_page:count=1",
        "html_page:status=200,count=1",
        "html_page:status=400,count=1",
    ],
)
def test_a_passing_fault_is_survived(fault: str, powunity: Open, sandbox: Running) -> None:
    client = powunity()
    device = ids(client)[0]
    whole = client.positions(device, DAY).body
    with sandbox.faults(f"{fault},path=/api/positions"):
        assert client.positions(device, DAY).body == whole


@pytest.mark.parametrize("fault", ["429", "502", "drop", "html_page:status=403", "slow:seconds=1"])
def test_a_lasting_fault_is_retriable(fault: str, powunity: Open, sandbox: Running) -> None:
    client = powunity(max_attempts=2, timeout_s=0.3)
    client.login()
    with sandbox.faults(fault), pytest.raises((VendorUnavailable, RateLimited)):
        client.devices()


@pytest.mark.parametrize("fault", ["500:count=1", "drop:count=1", "html_page:count=1"])
def test_a_login_survives_a_passing_fault(fault: str, powunity: Open, sandbox: Running) -> None:
    with sandbox.faults(f"{fault},path=/api/session"):
        assert len(ids(powunity(way="password"))) == 3


def test_check_says_what_works(powunity: Open) -> None:
    assert powunity().check() == "Traccar 5.12 accepts the login by token; 3 devices are visible"


def test_check_says_what_is_wrong(powunity: Open, sandbox: Running) -> None:
    with pytest.raises(CredentialsRejected, match="does not accept the login"):
        powunity(way="password", password="wrong").check()
    with pytest.raises(ConfigError, match="it ends in /api"):
        powunity(base_url=sandbox.urls["powunity"].removesuffix("/api")).check()
    with pytest.raises(VendorUnavailable, match="connection refused"):
        powunity(base_url="http://127.0.0.1:9/api", max_attempts=1).check()
    with pytest.raises(FleetlakeError, match="does not speak TLS"):
        powunity(base_url=sandbox.urls["powunity"].replace("http:", "https:"), max_attempts=1).check()
    with sandbox.faults("error_body:vendor=powunity"), pytest.raises(MalformedAnswer):
        powunity().check()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "no credentials are set.*set token, or email and password"),
        ({"email": "a@b"}, "no credentials are set"),
        ({"auth": "bearer"}, "token is missing"),
        ({"auth": "magic", "token": "x"}, "one of token, password, basic, bearer"),
        ({"tokn": "x"}, "did you mean 'token'"),
        ({"token": "x", "rate_per_s": "fast"}, "a number"),
    ],
)
def test_a_wrong_setting_is_named(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        PowUnityConfig.from_mapping(fields)


def test_the_way_to_log_in_follows_from_what_is_given() -> None:
    assert PowUnityConfig(token="x").way is Auth.TOKEN
    assert PowUnityConfig(email="a", password="b").way is Auth.PASSWORD
    assert PowUnityConfig(email="a", password="b", token="x").way is Auth.TOKEN
    assert PowUnityConfig(email="a", password="b", auth="basic").way is Auth.BASIC


def test_no_secret_is_shown_by_the_settings() -> None:
    config = PowUnityConfig(token="c4nary-token", email="a@b", password="c4nary-password")
    assert "c4nary" not in repr(config) + config.account_key
    accounts = {PowUnityConfig(token=token).account_key for token in ("one", "two")}
    assert len(accounts) == 2


@pytest.mark.parametrize("way", ["token", "password", "basic"])
def test_no_secret_reaches_logs_pages_or_errors(
    way: str, powunity: Open, sandbox: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = powunity(way=way, max_attempts=2)
    login = sandbox.customers["powunity"]["north"]
    shown = [client.devices().request]
    with sandbox.faults("500:vendor=powunity"), contextlib.suppress(FleetlakeError):
        client.login()
    with sandbox.faults("drop:vendor=powunity"):
        with pytest.raises(FleetlakeError) as caught:
            client.login()
        shown.append(str(caught.value))
    text = caplog.text + "".join(shown)
    assert login["token"] not in text
    assert login["password"] not in text
    assert "JSESSIONID=node" not in text
