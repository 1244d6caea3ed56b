"""Omnicomm's client against a small real server that says what a test tells it to: tokens, codes, blocks, batches."""

from __future__ import annotations

import base64
import datetime as dt
import http.server
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fleetlake.errors import (
    AccessDenied,
    ConfigError,
    CredentialsRejected,
    FleetlakeError,
    IncompleteAnswer,
    MalformedAnswer,
    RateLimited,
    Retriable,
    ScopeUnavailable,
    SessionExpired,
    VendorUnavailable,
)
from fleetlake.http.rate_gate import LocalGate
from fleetlake.http.tokens import LocalTokens, Token
from fleetlake.reading import FLEET
from fleetlake.vendors.omnicomm.client import OmnicommClient
from fleetlake.vendors.omnicomm.config import OmnicommConfig
from fleetlake.vendors.omnicomm.login import claims_of
from fleetlake.vendors.omnicomm.source import OmnicommSource
from fleetlake.window import Window

DAY = Window.day("2026-11-20")
PASSWORD = "canary-password"
TRACK = b'{"track":[]}'


@dataclass
class Asked:
    """A request as the vendor saw it."""

    method: str
    path: str
    query: dict[str, list[str]]
    scheme: str
    token: str
    body: Any


Answer = tuple[int, bytes]
Handler = Callable[[Asked], Answer]


def jwt(number: int, life_s: float = 3600, *, issued: float | None = None, **claims: Any) -> str:
    now = time.time() if issued is None else issued
    payload = {"iat": int(now), "exp": int(now + life_s), "server": {"volume_units": "L"}, "number": number, **claims}
    parts = ({"alg": "HS256", "typ": "JWT"}, payload)
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts), "signed"]
    )


@dataclass
class Vendor:
    """Answers logins with token 1, 2, …; the rest as ``answer`` says."""

    url: str = ""
    answer: Handler = lambda asked: (200, TRACK)
    accepts: Callable[[str], bool] = lambda token: True
    life_s: float = 3600
    claims: dict[str, Any] = field(default_factory=dict)
    issued: float | None = None
    keeps_refresh: bool = False
    refuses_refresh: bool = False
    refuses_login: Answer | None = None
    asked: list[Asked] = field(default_factory=list)
    tokens: int = 0

    def handle(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.path == "/auth/login":
            return self.refuses_login or (200, self._pair())
        if asked.path == "/auth/refresh":
            return (401, b"") if self.refuses_refresh else (200, self._pair())
        if asked.scheme != "JWT" or not self.accepts(asked.token):
            return 401, b""
        return self.answer(asked)

    def _pair(self) -> bytes:
        self.tokens += 1
        found = {"jwt": jwt(self.tokens, self.life_s, issued=self.issued, **self.claims)}
        if not (self.keeps_refresh and self.tokens > 1):
            found["refresh"] = f"refresh-{self.tokens}"
        return json.dumps(found).encode()

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


@contextmanager
def serving(vendor: Vendor) -> Iterator[Vendor]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            scheme, _, token = self.headers.get("Authorization", "").partition(" ")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, parts.path, parse_qs(parts.query), scheme, token, json.loads(body) if body else None)
            status, content = vendor.handle(asked)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - named by http.server

        def log_message(self, *args: object) -> None:
            """Silence."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    vendor.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield vendor
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with serving(Vendor()) as found:
        yield found


@pytest.fixture
def opened(vendor: Vendor) -> Iterator[Callable[..., OmnicommClient]]:
    """Open a client; fields of ``OmnicommConfig`` by name."""
    clients = []

    def make(*, tokens: Any = None, gate: Any = None, **fields: Any) -> OmnicommClient:
        values = {"base_url": vendor.url, "login": "ann", "password": PASSWORD, "timeout_s": 5, "max_attempts": 2, **fields}
        config = OmnicommConfig.from_mapping(values)
        clients.append(OmnicommClient(config, gate=gate or LocalGate(1e6, burst=1e6), tokens=tokens))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(opened: Callable[..., OmnicommClient]) -> OmnicommClient:
    return opened()


# --- tokens -------------------------------------------------------------------------------------------------------------


def test_one_login_serves_any_number_of_calls_in_the_vendors_scheme(vendor: Vendor, client: OmnicommClient) -> None:
    for _ in range(3):
        client.track("202000001", DAY)
    login, *calls = vendor.asked
    assert (login.method, login.path, login.query) == ("POST", "/auth/login", {"jwt": ["1"]})
    assert login.body == {"login": "ann", "password": PASSWORD}
    assert login.scheme == ""
    assert [call.scheme for call in calls] == ["JWT"] * 3
    assert {claims_of(call.token)["number"] for call in calls} == {1}


def test_service_is_sent_where_the_account_needs_it(vendor: Vendor, opened: Any) -> None:
    opened(service="omnicomm").track("1", DAY)
    assert vendor.asked[0].body["service"] == "omnicomm"


def test_clients_that_share_a_token_store_log_in_once(vendor: Vendor, opened: Any) -> None:
    tokens = LocalTokens()
    for _ in range(3):
        opened(tokens=tokens).track("1", DAY)
    assert vendor.paths().count("/auth/login") == 1


def test_a_token_is_renewed_early_by_its_refresh_token(vendor: Vendor, opened: Any) -> None:
    tokens = LocalTokens()
    old = Token(jwt(0), "refresh-0", dt.datetime.now(dt.UTC) + dt.timedelta(seconds=200))
    tokens.renew(None, lambda known: old)
    opened(tokens=tokens).track("1", DAY)  # 200 s left of an hour, and the margin is 300
    refresh, call = vendor.asked
    assert (refresh.method, refresh.path, refresh.body) == ("POST", "/auth/refresh", None)
    assert (refresh.scheme, refresh.token) == ("JWT", "refresh-0")
    assert claims_of(call.token)["number"] == 1
    assert tokens.current().refresh == "refresh-1", "the new refresh token is kept"


def test_without_a_new_refresh_token_the_old_one_goes_on(vendor: Vendor, opened: Any) -> None:
    vendor.keeps_refresh = True
    tokens = LocalTokens()
    client = opened(tokens=tokens)
    client.track("1", DAY)
    vendor.accepts = lambda token: claims_of(token)["number"] > 1
    client.track("1", DAY)
    assert tokens.current().refresh == "refresh-1"
    assert vendor.paths().count("/auth/login") == 1


def test_a_401_in_mid_run_renews_once_and_repeats_the_call_once(vendor: Vendor, client: OmnicommClient) -> None:
    client.track("1", DAY)
    vendor.asked.clear()
    vendor.accepts = lambda token: claims_of(token)["number"] > 1
    assert client.track("1", DAY).body == TRACK
    track = "/ls/api/v1/reports/track/1"
    assert vendor.paths() == [track, "/auth/refresh", track]


def test_code_2_inside_a_200_renews_like_a_401(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.answer = lambda asked: (200, b'{"code":2,"message":"x"}' if claims_of(asked.token)["number"] == 1 else TRACK)
    assert client.track("1", DAY).body == TRACK


def test_a_refused_refresh_is_followed_by_one_full_login(vendor: Vendor, client: OmnicommClient) -> None:
    client.track("1", DAY)
    vendor.asked.clear()
    vendor.refuses_refresh = True
    vendor.accepts = lambda token: claims_of(token)["number"] > 1
    client.track("1", DAY)
    assert vendor.paths()[1:3] == ["/auth/refresh", "/auth/login"]
    assert len(vendor.asked) == 4


def test_a_new_token_that_does_not_help_ends_it_without_a_loop(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.accepts = lambda token: False
    for _ in range(5):
        with pytest.raises(SessionExpired, match="new token either"):
            client.track("1", DAY)
    assert vendor.paths().count("/auth/login") + vendor.paths().count("/auth/refresh") == 2
    assert len(vendor.asked) == 4


@pytest.mark.parametrize("refusal", [(401, b""), (401, b'{"code":1,"message":"bad"}'), (403, b""), (200, b'{"code":1}')])
def test_bad_credentials_are_sent_once_and_never_again(
    vendor: Vendor, client: OmnicommClient, refusal: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    vendor.refuses_login = refusal
    for _ in range(4):
        with pytest.raises(CredentialsRejected, match="check login and password") as caught:
            client.track("1", DAY)
        assert PASSWORD not in str(caught.value)
    assert vendor.paths() == ["/auth/login"]
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("skew_s", [-86_400, 86_400])
def test_a_clock_that_goes_wrong_does_not_log_in_again_and_again(
    vendor: Vendor, client: OmnicommClient, skew_s: int
) -> None:
    vendor.issued = time.time() + skew_s
    for _ in range(4):
        client.track("1", DAY)
    assert len(vendor.asked) == 5


def test_a_token_shorter_than_the_margin_is_used_all_the_same(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.life_s = 120
    for _ in range(4):
        client.track("1", DAY)
    assert len(vendor.asked) == 5


def test_an_access_token_that_cannot_be_read_is_used_until_it_is_refused(vendor: Vendor, client: OmnicommClient) -> None:
    assert claims_of("a.b.c") == claims_of("opaque") == claims_of("a.!!.c") == {}
    tokens = iter(["opaque-1", "opaque-2"])
    vendor._pair = lambda: json.dumps({"jwt": next(tokens)}).encode()  # type: ignore[method-assign]
    client.track("1", DAY)
    vendor.accepts = lambda token: token == "opaque-2"
    client.track("1", DAY)
    assert [asked.token for asked in vendor.asked if "track" in asked.path] == ["opaque-1", "opaque-1", "opaque-2"]


def test_a_login_without_a_token_is_malformed(vendor: Vendor, client: OmnicommClient) -> None:
    vendor._pair = lambda: b'{"token":"x"}'  # type: ignore[method-assign]
    with pytest.raises(MalformedAnswer, match="no access token"):
        client.track("1", DAY)


def test_tokens_that_the_vendor_echoes_are_masked(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.answer = lambda asked: (200, json.dumps({"code": 13, "message": f"bad {asked.token} {PASSWORD}"}).encode())
    with pytest.raises(ConfigError) as caught:
        client.track("1", DAY)
    assert vendor.asked[-1].token not in str(caught.value) + repr(caught.value.__dict__)
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in repr(client.config)


@pytest.mark.parametrize("status", [200, 403, 404, 500])
def test_a_header_or_text_that_the_vendor_echoes_is_masked(status: int, vendor: Vendor, client: OmnicommClient) -> None:
    vendor.answer = lambda asked: (status, f"odd {asked.token}, Authorization: JWT {asked.token}".encode())
    with pytest.raises(FleetlakeError) as caught:
        list(OmnicommSource(client).pages("track", scope="1", window=DAY, cursor=None))
    assert vendor.asked[-1].token
    assert vendor.asked[-1].token not in str(caught.value) + repr(caught.value.__dict__)


# --- what answers mean --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"code":1,"message":"words"}', ScopeUnavailable),
        (b'{"code":5,"message":"words"}', ScopeUnavailable),
        (b'{"code":7,"message":"words"}', ScopeUnavailable),
        (b'{"code":9,"message":"words"}', ScopeUnavailable),
        (b'{"code":"9","message":"words"}', ScopeUnavailable),
        (b'{"code":3,"message":"timeBegin is required words"}', ConfigError),
        (b'{"code":3,"message":"words"}', MalformedAnswer),
        (b'{"code":4,"message":"words"}', ConfigError),
        (b'{"code":13,"message":"words"}', ConfigError),
        (b'{"code":11,"message":"words"}', Retriable),
        (b'{"code":14,"message":"words"}', VendorUnavailable),
        (b'{"code":99,"message":"words"}', MalformedAnswer),
        (b'{"status":{"code":4,"message":"words"},"events":[]}', ConfigError),
    ],
)
def test_errors_inside_a_200_keep_the_vendors_words(
    vendor: Vendor, client: OmnicommClient, body: bytes, kind: type[FleetlakeError]
) -> None:
    vendor.answer = lambda asked: (200, body)
    with pytest.raises(kind, match="words"):
        client.events("1", DAY)
    assert vendor.paths().count("/auth/login") + vendor.paths().count("/auth/refresh") == 1, "no code but 2 renews"


def test_refusals_about_the_account_are_about_rights(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.answer = lambda asked: (200, b'{"code":9,"message":"no rights"}')
    with pytest.raises(AccessDenied, match="no rights"):
        client.tree()


def test_a_locked_interval_is_asked_for_again_much_later(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.answer = lambda asked: (200, b'{"code":11,"message":"blocked interval"}')
    with pytest.raises(Retriable) as caught:
        client.track("1", DAY)
    assert caught.value.retry_after == 900
    assert len(vendor.asked) == 2, "not repeated here: it would hold a worker"


def test_a_boolean_status_is_no_envelope_and_no_data_is_no_error(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.answer = lambda asked: (200, b'{"status":false,"currentFuel":1}')
    assert client.state("1").status == 200
    vendor.answer = lambda asked: (200, b'{"code":10,"message":"no data"}')
    (page,) = OmnicommSource(client).pages("track", scope="1", window=DAY, cursor=None)
    assert (page.rows, page.is_last) == (0, True)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, b"", ScopeUnavailable),
        (404, b"no such vehicle", ScopeUnavailable),
        (404, b"PATH Not found", ConfigError),
        (400, b"bad", ConfigError),
        (500, b"", VendorUnavailable),
    ],
)
def test_http_statuses_about_one_vehicle(
    vendor: Vendor, client: OmnicommClient, status: int, body: bytes, kind: type[FleetlakeError]
) -> None:
    vendor.answer = lambda asked: (status, body)
    with pytest.raises(kind):
        client.state("1")


def test_a_403_about_the_account_is_about_rights(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.answer = lambda asked: (403, b"")
    with pytest.raises(AccessDenied):
        client.geofences(1)


def test_a_block_makes_everybody_wait_as_long_as_the_page_assumes(vendor: Vendor, opened: Any) -> None:
    class Gate(LocalGate):
        penalty = 0.0

        def penalise(self, seconds: float) -> None:
            self.penalty = seconds

    gate = Gate(1e6, burst=1e6)
    client = opened(gate=gate, block_statuses="429,403", block_s=61)
    vendor.answer = lambda asked: (403, b"")
    with pytest.raises(RateLimited) as caught:
        client.track("1", DAY)
    assert (caught.value.retry_after, gate.penalty) == (61, 61)
    assert len(vendor.asked) == 2, "longer than a worker may wait: the task's retry waits"


def test_a_post_that_only_reads_is_repeated_after_a_failure(vendor: Vendor, client: OmnicommClient) -> None:
    answers = iter([(503, b""), (200, b'{"code":0,"items":[]}')])
    vendor.answer = lambda asked: next(answers)
    assert client.consolidated(["1"], DAY).status == 200
    assert vendor.paths().count("/ls/api/v1/reports/consolidatedReport") == 2


def test_default_rate_stays_below_the_vendors_limit_in_any_minute() -> None:
    config = OmnicommConfig(login="a", password="b")
    assert config.rate_per_s * 60 == pytest.approx(170)
    assert config.rate_per_min + config.burst <= 180
    with pytest.raises(ConfigError, match="more than the vendor allows"):
        OmnicommConfig(login="a", password="b", rate_per_min=180)


# --- requests -----------------------------------------------------------------------------------------------------------


def test_times_are_seconds_but_milliseconds_in_one_place(vendor: Vendor, client: OmnicommClient) -> None:
    start, end = 1795132800, 1795219200
    vendor.answer = lambda asked: (200, b'{"columns":[],"exCanData":[],"tankData":[],"code":0,"track":[],"events":[]}')
    client.track("1", DAY)
    client.events("1", DAY)
    client.fuel_level("1", DAY)
    for asked in vendor.asked[1:]:
        assert (asked.query["timeBegin"], asked.query["timeEnd"]) == ([str(start)], [str(end)])
    assert vendor.asked[-1].query["vehicleID"] == ["1"]
    client.journal("1", DAY)
    assert vendor.asked[-1].body == {"terminalId": 1, "dateFrom": start, "dateTo": end}
    client.journal_additional("1", DAY)
    assert vendor.asked[-1].body == {"vehicleId": 1, "dateFrom": start * 1000, "dateTo": end * 1000}


def test_batches_name_their_vehicles_each_report_in_its_way(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.answer = lambda asked: (200, b"[]")
    client.statistics(["1", "2"], DAY)
    assert vendor.asked[-1].query["vehicles"] == ["[1,2]"]
    assert vendor.asked[-1].query["dataGroups"] == ["[mw,fuel]"]
    client.consolidated(["1", "2"], DAY)
    assert vendor.asked[-1].body["vehicleIds"] == [1, 2]
    client.geofence_visits(["1", "2"], DAY)
    body = vendor.asked[-1].body
    assert (body["vehicleIds"], body["geozonesIds"], body["minDurationTime"], body["outsideGeozones"]) == (
        [1, 2],
        [],
        300,
        True,
    )


def test_the_caps_are_never_exceeded(vendor: Vendor, client: OmnicommClient) -> None:
    many = [str(number) for number in range(51)]
    month = Window.parse("2026-10-01", "2026-11-02")
    for call in (client.statistics, client.consolidated, client.geofence_visits):
        for vehicles, window in ((many, DAY), (["1"], month), ([], DAY)):
            with pytest.raises(ConfigError, match="at most 50 vehicles and 31 days"):
                call(vehicles, window)
    with pytest.raises(ConfigError, match="longer than 1 days"):
        list(OmnicommSource(client).batch_pages("statistics", scopes=["1"], window=month, cursor=None))
    assert set(vendor.paths()) <= {"/auth/login"}


def test_fuel_is_refused_where_the_server_does_not_count_in_litres(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.claims = {"server": {"volume_units": "gal"}}
    source = OmnicommSource(client)
    for feed in ("consolidated", "statistics", "geofence_visits"):
        with pytest.raises(ConfigError, match=r"'gal'.*OMN-11"):
            list(source.batch_pages(feed, scopes=["1"], window=DAY, cursor=None))
    with pytest.raises(ConfigError, match="OMN-11"):
        client.fuel_level("1", DAY)
    with pytest.raises(ConfigError, match="OMN-11"):
        client.state("1")
    client.track("1", DAY)
    assert vendor.paths() == ["/auth/login", "/ls/api/v1/reports/track/1"]


def test_statistics_without_fuel_need_no_litres(vendor: Vendor, opened: Any) -> None:
    vendor.claims = {"server": {"volume_units": "gal"}}
    vendor.answer = lambda asked: (200, b'{"code":0,"data":{"vehicleDataList":[]}}')
    assert opened(data_groups="mw").statistics(["1"], DAY).status == 200


def test_unverified_endpoints_are_off_unless_wanted(vendor: Vendor, client: OmnicommClient, opened: Any) -> None:
    for feed in ("users", "drivers", "video_profiles", "video_tasks"):
        with pytest.raises(ConfigError, match="set unverified_endpoints"):
            list(OmnicommSource(client).pages(feed, scope=FLEET, window=None, cursor=None))
    assert vendor.asked == []
    vendor.answer = lambda asked: (200, b'[{"uuid":"u"}]')
    source = OmnicommSource(opened(unverified_endpoints=True, video_tasks_path="/guess"))
    for feed in ("users", "drivers", "video_profiles", "video_tasks"):
        (page,) = source.pages(feed, scope=FLEET, window=None, cursor=None)
        assert page.rows == 1
    assert vendor.paths()[1:] == ["/ls/api/v1/users", "/ls/api/v1/drivers", "/service/ovms/api/profiles", "/guess"]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"page_size": 5000}, "between 1 and 1000"),
        ({"journal_hours": 0}, "between 1 and 24"),
        ({"block_statuses": "often"}, "numbers"),
        ({"data_groups": " , "}, "data_groups is empty"),
        ({"pasword": "x"}, "did you mean 'password'"),
    ],
)
def test_wrong_settings_are_refused_with_a_remedy(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        OmnicommConfig.from_mapping({"login": "a", "password": "b", **values})


# --- pages --------------------------------------------------------------------------------------------------------------


def geofences(vendor: Vendor, ids: list[int], *, size: int, overlap: int = 0, total: int | None = None) -> None:
    """Serve these geofences, pages beginning with the last rows of the page before."""

    def answer(asked: Asked) -> Answer:
        assert asked.query["pageSize"] == [str(size)]
        first = (int(asked.query["page"][0]) - 1) * (size - overlap)
        rows = [{"id": number} for number in ids[first : first + size]] if first >= 0 else []
        return 200, json.dumps({"total": len(ids) if total is None else total, "rows": rows}).encode()

    vendor.answer = answer


@pytest.mark.parametrize(("count", "overlap", "pages"), [(5, 0, 3), (6, 0, 3), (5, 1, 4), (0, 0, 1)])
def test_geofences_are_read_to_the_last_page_however_pages_overlap(
    vendor: Vendor, opened: Any, count: int, overlap: int, pages: int
) -> None:
    geofences(vendor, list(range(70, 70 + count)), size=2, overlap=overlap)
    found = list(OmnicommSource(opened(page_size=2)).pages("geofences", scope=FLEET, window=None, cursor=None))
    assert vendor.asked[1].query["page"] == ["1"]
    assert len(found) == pages
    assert [page.is_last for page in found] == [False] * (pages - 1) + [True]
    assert {item["id"] for page in found for item in json.loads(page.body)["rows"]} == set(range(70, 70 + count))


def test_a_geofence_list_that_shows_less_than_its_total_is_not_taken_for_whole(vendor: Vendor, opened: Any) -> None:
    geofences(vendor, [1, 2, 3], size=2, total=4)
    source = OmnicommSource(opened(page_size=2))
    with pytest.raises(IncompleteAnswer, match="counts 4 geofences and shows 3"):
        list(source.pages("geofences", scope=FLEET, window=None, cursor=None))


def test_a_geofence_list_without_total_ends_with_a_short_page(vendor: Vendor, opened: Any) -> None:
    vendor.answer = lambda asked: (200, b'{"rows":[{"id":1},{"id":2}]}' if asked.query["page"] == ["1"] else b'{"rows":[]}')
    found = list(OmnicommSource(opened(page_size=2)).pages("geofences", scope=FLEET, window=None, cursor=None))
    assert [page.rows for page in found] == [2, 0]


def test_daily_feeds_go_on_after_the_last_day_read(vendor: Vendor, client: OmnicommClient) -> None:
    window = Window.parse("2026-11-18", "2026-11-21")
    source = OmnicommSource(client)
    first, *_ = source.pages("track", scope="1", window=window, cursor=None)
    rest = list(source.pages("track", scope="1", window=window, cursor=first.cursor))
    assert [page.cursor for page in rest] == ["2026-11-20T00:00:00+00:00", "2026-11-21T00:00:00+00:00"]
    assert [page.is_last for page in rest] == [False, True]


def test_the_journal_is_read_in_pieces_of_a_few_hours(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.answer = lambda asked: (200, b'{"columns":[]}')
    pages = list(OmnicommSource(client).pages("journal", scope="1", window=DAY, cursor=None))
    assert [page.is_last for page in pages] == [False, False, False, True]
    spans = [(asked.body["dateTo"] - asked.body["dateFrom"]) / 3600 for asked in vendor.asked[1:]]
    assert spans == [6, 6, 6, 6]


def test_one_vehicle_out_of_reach_is_found_by_halving_and_the_others_are_loaded(
    vendor: Vendor, client: OmnicommClient
) -> None:
    def answer(asked: Asked) -> Answer:
        ids = json.loads(asked.query["vehicles"][0])
        if 17 in ids:
            return 200, b'{"code":1,"message":"no accessible vehicle"}'
        return 200, json.dumps({"code": 0, "data": {"vehicleDataList": [{"vehicleID": item} for item in ids]}}).encode()

    vendor.answer = answer
    scopes = [str(number) for number in range(50)]
    pages = list(OmnicommSource(client).batch_pages("statistics", scopes=scopes, window=DAY, cursor=None))
    refused = [page for page in pages if page.refusal]
    assert [(page.scopes, page.refusal, page.rows) for page in refused] == [(("17",), "code 1: no accessible vehicle", 0)]
    assert sum(page.rows for page in pages) == 49
    assert len(vendor.asked) - 1 <= 1 + 2 * 6
    assert [page.is_last for page in pages].index(True) == len(pages) - 1


def test_feeds_are_asked_for_the_way_they_are_made(client: OmnicommClient) -> None:
    source = OmnicommSource(client)
    for call, problem in (
        (lambda: source.pages("trips", scope="1", window=DAY, cursor=None), "has no feed"),
        (lambda: source.pages("consolidated", scope="1", window=DAY, cursor=None), "several vehicles at once"),
        (lambda: source.batch_pages("track", scopes=["1"], window=DAY, cursor=None), "one vehicle at a time"),
        (lambda: source.pages("track", scope="1", window=None, cursor=None), "needs a window"),
        (lambda: source.pages("track", scope="1", window=DAY, cursor=None, stream=True), "reads windows only"),
        (lambda: source.pages("track", scope="../x", window=DAY, cursor=None), "no terminal number"),
    ):
        with pytest.raises(ConfigError, match=problem):
            list(call())


def test_check_says_how_many_vehicles_are_visible(vendor: Vendor, client: OmnicommClient) -> None:
    vendor.answer = lambda asked: (200, b'{"id":1,"objects":[{"terminal_id":1},{"terminal_id":1},{"terminal_id":2}]}')
    assert "2 vehicles" in OmnicommSource(client).check()
