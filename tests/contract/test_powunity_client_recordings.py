"""The PowUnity client against recorded answers of a real Traccar 5.12, served again by a real HTTP server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from fleetlake.errors import (
    ConfigError,
    CredentialsRejected,
    FleetlakeError,
    ScopeUnavailable,
)
from fleetlake.http.answers import Answer
from fleetlake.http.rate_gate import LocalGate
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import PowUnityConfig
from fleetlake.vendors.powunity.decode import split
from fleetlake.window import Window

FILE = Path(__file__).parent / "recordings" / "powunity-5.12" / "http_exchanges_v5.12.json"
EXCHANGES: dict[str, dict[str, Any]] = {exchange["name"]: exchange for exchange in json.loads(FILE.read_text())}
RELIABLE = sorted(name for name, exchange in EXCHANGES.items() if not exchange["unreliable"])

# The server's range includes its end, so the client sends the end minus one millisecond: this sends 00:00:00 exactly.
DAY = Window.parse("2026-11-20T00:00:00Z", "2026-11-21T00:00:00.001Z")
RANGE = {"deviceId": 1, "from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z"}
THREE_DAYS = {"from": "2026-11-19T00:00:00Z", "to": "2026-11-22T00:00:00Z"}
ANY = {"Accept": "*/*"}


class Clients:
    """Clients of one replay server, by way to log in."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.open: list[PowUnityClient] = []

    def make(self, **credentials: str) -> PowUnityClient:
        config = PowUnityConfig(base_url=self._url, max_attempts=1, **credentials)
        self.open.append(PowUnityClient(config, gate=LocalGate(1e6, burst=1e6)))
        return self.open[-1]

    @property
    def basic(self) -> PowUnityClient:
        return self.make(auth="basic", email="admin@example.org", password="right")

    @property
    def token(self) -> PowUnityClient:
        return self.make(token="LOCAL_TOKEN")

    @property
    def password(self) -> PowUnityClient:
        return self.make(email="admin@example.org", password="wrong")


def _login(client: PowUnityClient) -> Answer:
    client.login()
    return client.get("/session", {"token": "LOCAL_TOKEN"}, login=False)


CALLS: dict[str, Callable[[Clients], Any]] = {
    "positions_latest": lambda c: c.basic.latest_positions(),
    "positions_device_only": lambda c: c.basic.latest_positions("1"),
    "positions_range": lambda c: c.basic.positions("1", DAY),
    "positions_id_missing": lambda c: c.basic.positions_by_id(["99999"]),
    "positions_csv": lambda c: c.basic.get("/positions", RANGE, headers={"Accept": "text/csv"}),
    "positions_csv_path": lambda c: c.basic.positions_file("1", DAY, "csv"),
    "positions_gpx_path": lambda c: c.basic.positions_file("1", DAY, "gpx"),
    "positions_kml_path": lambda c: c.basic.positions_file("1", DAY, "kml"),
    "rep_trips": lambda c: c.basic.trips("1", DAY),
    "rep_trips_empty": lambda c: c.basic.trips("1", Window.parse("2025-01-01", "2025-01-02T00:00:00.001Z")),
    "rep_trips_nodev": lambda c: c.basic.get("/reports/trips", {**RANGE, "deviceId": None}),
    "rep_trips_nofrom": lambda c: c.basic.get("/reports/trips", {"deviceId": 1}),
    "rep_trips_baddate": lambda c: c.basic.get("/reports/trips", {**RANGE, "from": "yesterday"}),
    "rep_trips_30d": lambda c: c.basic.get(
        "/reports/trips", {"deviceId": 1, "from": "2026-01-01T00:00:00Z", "to": "2026-11-30T00:00:00Z"}
    ),
    "rep_trips_2d": lambda c: c.basic.get("/reports/trips", {"deviceId": 1, **THREE_DAYS}),
    "rep_trips_mail": lambda c: c.basic.get("/reports/trips/mail", RANGE, headers=ANY),
    "rep_stops": lambda c: c.basic.stops("1", DAY),
    "rep_summary": lambda c: c.basic.summary("1", DAY),
    "rep_summary_daily": lambda c: c.basic.get("/reports/summary", {"deviceId": 1, "daily": "true", **THREE_DAYS}),
    "rep_route": lambda c: c.basic.route("1", DAY),
    "rep_events": lambda c: c.basic.events("1", Window.parse("2026-11-20", "2026-11-30T00:00:00.001Z")),
    "rep_events_any": lambda c: c.basic.get("/reports/events", RANGE, headers=ANY),
    "rep_combined": lambda c: c.basic.combined("1", DAY),
    "user_devices": lambda c: c.basic.devices(),
    "user_other_device": lambda c: c.basic.device("2"),
    "session_none": lambda c: c.basic.get("/session", login=False),
    "session_post_bad": lambda c: c.password.login(),
    "session_token": lambda c: _login(c.token),
    "devices_noauth": lambda c: c.basic.get("/devices", login=False),
    "bearer": lambda c: c.basic.get("/devices", login=False, headers={"Authorization": "Bearer LOCAL_TOKEN"}),
    "unknown_path": lambda c: c.basic.get("/nothing"),
    "geofences": lambda c: c.basic.geofences(),
    "groups": lambda c: c.basic.groups(),
    "drivers": lambda c: c.basic.drivers(),
    "statistics": lambda c: c.basic.statistics(Window.parse("2026-11-20", "2026-11-30T00:00:00.001Z")),
    "server": lambda c: c.basic.server(),
    "notif_types": lambda c: c.basic.notification_types(),
    "events_1": lambda c: c.basic.event("1"),
    "method": lambda c: c.basic.request("POST", "/reports/trips", json={}),
    "options": lambda c: c.basic.request("OPTIONS", "/devices", login=False),
    "put_device": lambda c: c.basic.request("PUT", "/devices/2", json={"id": 2, "name": "Cargo bike 2 (renamed)"}),
    "unknown_field": lambda c: c.basic.request("POST", "/devices", json={"name": "x", "uniqueId": "y", "foo": 1}),
}

ERRORS: dict[str, tuple[type[FleetlakeError], str]] = {
    "positions_id_missing": (ConfigError, "HTTP 400.*NullPointerException"),
    "positions_csv": (ConfigError, "cannot answer in the format asked for.*HTTP 406"),
    "rep_trips_nofrom": (ConfigError, "HTTP 400.*date must not be null"),
    "rep_trips_baddate": (ConfigError, "cannot read a time.*HTTP 404.*'yesterday'"),
    "rep_trips_30d": (ConfigError, "HTTP 400.*Time period exceeds the limit.*cut the window"),
    "user_other_device": (ScopeUnavailable, "HTTP 400.*Device access denied"),
    "session_none": (CredentialsRejected, "nobody is logged in.*HTTP 404"),
    "session_post_bad": (
        CredentialsRejected,
        r"does not accept the login \(HTTP 400\) .*check token, or e-mail and password",
    ),
    "devices_noauth": (CredentialsRejected, "nobody is logged in.*HTTP 401"),
    "unknown_path": (ConfigError, "does not know this address.*HTTP 404.*ends in /api"),
    "method": (ConfigError, "does not allow this method.*HTTP 405"),
    "unknown_field": (ConfigError, 'HTTP 400.*Unrecognized field "foo"'),
}

FEEDS = {
    "user_devices": ("devices", "powunity.device", 1),
    "positions_range": ("positions", "powunity.position", 96),
    "rep_events": ("events", "powunity.event", 13),
    "rep_trips": ("trips", "powunity.trip", 2),
    "rep_trips_empty": ("trips", "powunity.trip", 0),
    "rep_stops": ("stops", "powunity.stop", 3),
    "rep_summary": ("summary", "powunity.summary", 1),
}


def _key(method: str, target: str, accept: str, auth: str | None) -> tuple[Any, ...]:
    parts = urlsplit(target)
    return method, parts.path, tuple(sorted(parse_qsl(parts.query))), accept, auth


def _recorded_key(exchange: dict[str, Any]) -> tuple[Any, ...]:
    headers = exchange["request_headers"]
    auth = "bearer" if "Authorization" in headers else exchange["auth"]
    return _key(exchange["method"], exchange["path"], headers["Accept"], auth)


@pytest.fixture(scope="module")
def replay() -> Iterator[tuple[str, list[str]]]:
    """Address of a server that knows the recorded exchanges only, and the names of those it has answered."""
    answers = {_recorded_key(EXCHANGES[name]): EXCHANGES[name] for name in RELIABLE}
    assert len(answers) == len(RELIABLE), "two exchanges ask the same"
    answered: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            auth = (self.headers.get("Authorization") or "").split(" ")[0].lower() or None
            exchange = answers.get(_key(self.command, self.path, self.headers["Accept"], auth))
            if exchange is None:
                self.send_error(501, f"not recorded: {self.command} {self.path} {self.headers['Accept']} {auth}")
                return
            answered.append(exchange["name"])
            body = (exchange["body"] or "").encode()
            self.send_response(exchange["status"])
            if exchange["content_type"]:
                self.send_header("Content-Type", exchange["content_type"])
            for name, value in exchange["headers"].items():
                self.send_header(name, value)
            if exchange["headers"].get("Transfer-Encoding") == "chunked":
                self.end_headers()
                for start in range(0, len(body), 8000):
                    piece = body[start : start + 8000]
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
                return
            if exchange["status"] != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_OPTIONS = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api", answered
        server.shutdown()
        thread.join(5)


@pytest.fixture
def clients(replay: tuple[str, list[str]]) -> Iterator[Clients]:
    made = Clients(replay[0])
    yield made
    for client in made.open:
        client.close()


def test_no_reliable_exchange_is_left_out() -> None:
    assert sorted(CALLS) == RELIABLE
    assert len(RELIABLE) == 42
    assert set(ERRORS) == {name for name in RELIABLE if EXCHANGES[name]["status"] >= 400}


@pytest.mark.parametrize("name", RELIABLE)
def test_recorded_exchange(name: str, clients: Clients, replay: tuple[str, list[str]]) -> None:
    exchange = EXCHANGES[name]
    replay[1].clear()
    if name in ERRORS:
        error, message = ERRORS[name]
        with pytest.raises(FleetlakeError, match=message) as caught:
            CALLS[name](clients)
        assert type(caught.value) is error
        assert caught.value.where is not None
    else:
        result = CALLS[name](clients)
        if isinstance(result, Answer):
            assert result.body.decode() == (exchange["body"] or "")
            assert result.status == exchange["status"]
            assert result.content_type == (exchange["content_type"] or "")
        else:
            assert result == json.loads(exchange["body"])
        if name in FEEDS:
            feed, dataset, count = FEEDS[name]
            rows = split(feed, dataset, result.body)
            assert [json.loads(bytes(row)) for row in rows] == json.loads(exchange["body"])
            assert len(rows) == count
    # The exchange was really asked for, as recorded.
    assert replay[1][-1] == name


@pytest.mark.parametrize("report", ["trips", "stops", "summary", "combined"])
def test_a_report_of_more_than_a_day_is_refused_unsent(report: str, clients: Clients, replay: tuple[str, list[str]]) -> None:
    replay[1].clear()
    with pytest.raises(ConfigError, match="longer than 86400 s"):
        getattr(clients.basic, report)("1", Window.parse("2026-11-19", "2026-11-22"))
    assert replay[1] == []
