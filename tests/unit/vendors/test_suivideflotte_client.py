"""The SuiviDeFlotte client and source against a server that plays one odd answer after the other."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from fleetlake.errors import (
    AccessDenied,
    ConfigError,
    CredentialsRejected,
    CursorStuck,
    FleetlakeError,
    IncompleteAnswer,
    MalformedAnswer,
    OutOfRetention,
    RateLimited,
    ScopeUnavailable,
    SessionExpired,
    UnsupportedVersion,
    VendorUnavailable,
)
from fleetlake.http.rate_gate import LocalGate
from fleetlake.http.tokens import LocalTokens, Token
from fleetlake.reading import FLEET, Lane, Page
from fleetlake.vendors.suivideflotte.client import SuiviDeFlotteClient, filters
from fleetlake.vendors.suivideflotte.config import SuiviDeFlotteConfig
from fleetlake.vendors.suivideflotte.decode import listing
from fleetlake.vendors.suivideflotte.fieldmap import load_fieldmap
from fleetlake.vendors.suivideflotte.source import SuiviDeFlotteSource
from fleetlake.window import Window

from tests.unit.http.conftest import Asked, Server, listening, reply

GRANT = {"client_id": "21", "client_secret": "canary-secret", "username": "u", "password": "canary-password"}
DAY = Window.day("2026-11-20")
Open = Callable[..., SuiviDeFlotteSource]


class RecordingGate:
    """A gate that lets everybody through and remembers who was told to wait."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def acquire(self, lane: Lane) -> None:
        """At once."""

    def penalise(self, seconds: float) -> None:
        """Remember."""
        self.pauses.append(seconds)


@pytest.fixture
def server() -> Iterator[Server]:
    with listening() as found:
        yield found


@pytest.fixture
def source(server: Server) -> Iterator[Open]:
    """Open a source with a persistent token unless credentials are given."""
    opened = []

    def make(*, gate: Any = None, tokens: Any = None, **fields: Any) -> SuiviDeFlotteSource:
        key = {} if "client_id" in fields else {"token": "canary-token"}
        config = SuiviDeFlotteConfig.from_mapping(
            {"base_url": server.url, "max_attempts": 2, "history_days": 0, **key, **fields}
        )
        client = SuiviDeFlotteClient(config, gate=gate or LocalGate(1e6, burst=1e6), tokens=tokens)
        opened.append(SuiviDeFlotteSource(client, load_fieldmap("nobody")))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def array(*ids: int) -> bytes:
    return reply(body=json.dumps([{"id": number} for number in ids]).encode())


def paginator(page: int, last: int, *ids: int, **more: Any) -> bytes:
    body = {"current_page": page, "data": [{"id": number} for number in ids], "last_page": last, **more}
    return reply(body=json.dumps(body).encode())


def refusal(status: int, message: Any, **headers: str) -> bytes:
    return reply(status, json.dumps({"code": status, "message": message}).encode(), **headers)


def oauth(status: int = 400, **body: str) -> bytes:
    return reply(status, json.dumps({"error": "invalid_request", **body}).encode())


def granted(access: str, refresh: str = "r1", **more: Any) -> bytes:
    return reply(body=json.dumps({"access_token": access, "refresh_token": refresh, "expires_in": 36000, **more}).encode())


def read(source: SuiviDeFlotteSource, feed: str = "vehicles", cursor: str | None = None) -> list[Page]:
    scope, window = ("17", DAY) if feed == "trips" else (FLEET, DAY if feed == "alerts" else None)
    return list(source.pages(feed, scope=scope, window=window, cursor=cursor))


def ids(pages: list[Page]) -> list[int]:
    return [json.loads(bytes(row))["id"] for page in pages if page.status == 200 for row in listing(page.body).data]


def asked_pages(server: Server) -> list[tuple[str, str]]:
    queries = [dict(parse_qsl(urlsplit(asked.path).query)) for asked in server.asked]
    return [(query["page"], query["perpage"]) for query in queries]


# --- headers, keys ------------------------------------------------------------------------------------------------------


def test_every_call_carries_token_version_and_accept(source: Open, server: Server) -> None:
    server.will(paginator(1, 1, 1))
    read(source())
    headers = server.asked[0].headers
    assert (headers["authorization"], headers["x-version"], headers["accept"]) == (
        "Bearer canary-token",
        "1",
        "application/json",
    )


def test_a_persistent_token_that_is_refused_stops_everything_at_once(
    source: Open, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.will(refusal(401, "Unauthenticated."))
    with pytest.raises(CredentialsRejected, match=r"revoked, or its five years are over.*Super Administrateur") as caught:
        read(source())
    assert len(server.asked) == 1
    assert "canary" not in str(caught.value) + caplog.text + repr(source().client.config)


def test_a_login_sends_the_four_parts_and_no_grant_type(source: Open, server: Server) -> None:
    server.will(granted("a1"), paginator(1, 1))
    read(source(**GRANT))
    login, call = server.asked
    assert (login.method, login.path, login.headers["content-type"]) == ("POST", "/oauth2", "application/json")
    assert json.loads(login.body) == GRANT
    assert "authorization" not in login.headers
    assert call.headers["authorization"] == "Bearer a1"


@pytest.mark.parametrize("name", ["expires_in", "expire_in"])
def test_the_life_of_a_token_is_what_the_answer_says_not_the_tokens_own_claim(
    name: str, source: Open, server: Server
) -> None:
    # The sample's JWT claims 216 000 s beside expires_in 36 000 s; here it even claims to have ended long ago.
    claims = "eyJhbGciOiJub25lIn0.eyJleHAiOjEwMDB9."
    tokens = LocalTokens()
    body = {"access_token": claims, "refresh_token": "r", name: 36000}
    server.will(reply(body=json.dumps(body).encode()), paginator(1, 1))
    read(source(**GRANT, tokens=tokens))
    token = tokens.current()
    assert token is not None and token.expires_at is not None
    assert abs(token.expires_at - dt.datetime.now(dt.UTC) - dt.timedelta(hours=10)) < dt.timedelta(minutes=1)


def test_a_token_without_a_life_is_used_until_it_is_refused(source: Open, server: Server) -> None:
    body = json.dumps({"access_token": "a1", "refresh_token": "r1"}).encode()
    server.will(reply(body=body), paginator(1, 1), refusal(401, "Unauthenticated."), granted("a2"), paginator(1, 1, 5))
    one = source(**GRANT)
    read(one)
    assert ids(read(one)) == [5]
    assert [asked.path.partition("?")[0] for asked in server.asked] == [
        "/oauth2",
        "/vehicles",
        "/vehicles",
        "/oauth2/refresh",
        "/vehicles",
    ]
    assert json.loads(server.asked[3].body) == {"client_id": "21", "client_secret": "canary-secret", "refresh_token": "r1"}


@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize("hint", ["Token has been revoked", "Cannot decrypt the refresh token"])
def test_a_refused_refresh_becomes_a_full_login(status: int, hint: str, source: Open, server: Server) -> None:
    tokens = LocalTokens()
    tokens.renew(None, lambda _: Token("old", "spent", dt.datetime.now(dt.UTC)))
    server.will(oauth(status, message="The refresh token is invalid.", hint=hint), granted("a2", "r2"), paginator(1, 1, 5))
    assert ids(read(source(**GRANT, tokens=tokens))) == [5]
    assert [asked.path.partition("?")[0] for asked in server.asked] == ["/oauth2/refresh", "/oauth2", "/vehicles"]
    assert tokens.current() is not None and tokens.current().refresh == "r2"  # type: ignore[union-attr]


def test_a_refresh_whose_answer_was_lost_ends_in_a_login(source: Open, server: Server) -> None:
    """The vendor has carried it out and spent the refresh token; the repetition is refused."""
    tokens = LocalTokens()
    tokens.renew(None, lambda _: Token("old", "r1", dt.datetime.now(dt.UTC)))
    server.will(lambda *_: None, oauth(hint="Token has been revoked"), granted("a2"), paginator(1, 1, 5))
    assert ids(read(source(**GRANT, tokens=tokens))) == [5]


def test_a_renewed_token_that_is_refused_too_is_an_error_and_no_loop(source: Open, server: Server) -> None:
    server.will(granted("a1"), refusal(401, "x"), granted("a2"), refusal(401, "x"))
    with pytest.raises(SessionExpired):
        read(source(**GRANT))
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    "answer",
    [
        oauth(401, error="invalid_credentials", message="The user credentials were incorrect."),
        oauth(401, error="invalid_client", message="Client authentication failed"),
        oauth(400, message="The request is missing a required parameter", hint="Check the `username` parameter"),
    ],
)
def test_a_refused_login_says_the_vendors_words_and_is_asked_once(
    answer: bytes, source: Open, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.will(answer)
    with pytest.raises(CredentialsRejected, match=r"incorrect|authentication failed|`username` parameter") as caught:
        read(source(**GRANT))
    assert len(server.asked) == 1
    assert "canary" not in str(caught.value) + caplog.text


def test_an_answer_without_token_is_malformed(source: Open, server: Server) -> None:
    server.will(reply(body=b"{}"))
    with pytest.raises(MalformedAnswer, match="gave no token"):
        read(source(**GRANT))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "no token is set"),
        ({**GRANT, "password": ""}, "not whole: password missing"),
        ({"token": "x", "per_page": 0}, "per_page is 0"),
        ({"token": "x", "reserve": 60}, "reserve is 60"),
        ({"token": "x", "history_days": -1}, "history_days is -1"),
        ({"token": "x", "perpage": 5}, "did you mean 'per_page'"),
    ],
)
def test_wrong_settings_are_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SuiviDeFlotteConfig.from_mapping(fields)


def test_logins_of_one_user_share_a_quota_and_keys_tell_no_secret() -> None:
    one = SuiviDeFlotteConfig.from_mapping(GRANT)
    assert one.account_key == SuiviDeFlotteConfig.from_mapping({**GRANT, "client_id": "22"}).account_key
    assert one.token_key != SuiviDeFlotteConfig.from_mapping({**GRANT, "client_id": "22"}).token_key
    token = SuiviDeFlotteConfig.from_mapping({"token": "canary-token"})
    assert "canary" not in token.account_key + one.token_key + repr(token) + repr(one)


# --- the vendor's minute ------------------------------------------------------------------------------------------------


def test_the_pace_stays_below_fifty_calls_in_any_minute() -> None:
    config = SuiviDeFlotteConfig(token="x")
    assert config.burst + 60 * config.rate_per_s <= 50


def test_everybody_waits_before_the_last_call_of_the_minute_is_used(source: Open, server: Server) -> None:
    gate = RecordingGate()
    one = source(gate=gate)
    for remaining in (59, 3, 2, 0):
        server.will(refusal(403, "x", X_RateLimit_Remaining=str(remaining)))
        with pytest.raises(AccessDenied):
            read(one)
    assert len(gate.pauses) == 2, "an answer is counted whatever it says"
    assert all(50 < pause <= 60 for pause in gate.pauses)


@pytest.mark.parametrize(
    "answer",
    [
        reply(429, b"Too Many Attempts.", Content_Type="text/html", Retry_After="0.2"),
        refusal(429, "Too Many Attempts", Retry_After="0.2"),
    ],
)
def test_after_a_429_nobody_sends_and_the_call_is_repeated(answer: bytes, source: Open, server: Server) -> None:
    gate = RecordingGate()
    server.will(answer, paginator(1, 1, 7))
    assert ids(read(source(gate=gate))) == [7]
    assert len(gate.pauses) == 1
    assert 0.2 <= gate.pauses[0] < 1.2


def test_a_429_that_lasts_is_told_with_its_pause(source: Open, server: Server) -> None:
    server.will(reply(429, b"Too Many Attempts.", Retry_After="250"))
    with pytest.raises(RateLimited) as caught:
        read(source())
    assert caught.value.retry_after is not None and 250 <= caught.value.retry_after < 251
    assert len(server.asked) == 1, "no worker is held that long"


# --- filters ------------------------------------------------------------------------------------------------------------


def test_filters_are_written_as_the_vendor_reads_them() -> None:
    assert filters(fields=["a", "b"], equals={"x": "1", "y": "2"}, like={"x": "z"}, sort=["a", "-b"]) == {
        "fields": "a,b",
        "equals": "x:1,y:2",
        "like": "x:z",
        "sort": "a,-b",
    }
    assert filters() == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"equals": {"name": "a,b"}},
        {"equals": {"name": "a:b"}},
        {"like": {"na:me": "a"}},
        {"fields": ["a,b"]},
        {"fields": [""]},
        {"sort": ["a", "-a"]},
        {"fields": ["a", "a"]},
    ],
)
def test_values_without_escape_and_fields_named_twice_are_refused_unsent(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"no escape for comma and colon|twice"):
        filters(**wrong)


# --- pages --------------------------------------------------------------------------------------------------------------


def test_a_list_is_read_by_id_with_the_largest_page(source: Open, server: Server) -> None:
    server.will(paginator(1, 1, 1, 2))
    page = read(source())[0]
    assert server.asked[0].path == "/vehicles?sort=id&page=1&perpage=100"
    assert (page.rows, page.is_last, page.status, page.request) == (2, True, 200, "GET /vehicles?sort=id&page=1&perpage=100")


def test_a_window_is_asked_for_on_the_accounts_wall_clock_with_room_on_both_sides(source: Open, server: Server) -> None:
    server.will(paginator(1, 1))
    read(source(), "trips")
    read(source(), "alerts")
    trips, alerts = (dict(parse_qsl(urlsplit(asked.path).query)) for asked in server.asked)
    assert urlsplit(server.asked[0].path).path == "/vehicles/17/trips"
    assert (trips["from"], trips["to"]) == ("2026-11-19 13:00:00", "2026-11-21 13:00:00")
    assert (alerts["from"], alerts["to"]) == ("2026-11-19 23:00:00", "2026-11-21 03:00:00")


def test_a_page_size_that_is_refused_is_given_up_for_good(source: Open, server: Server) -> None:
    too_big = refusal(422, {"perpage": ["The perpage may not be greater than 50."]})
    server.will(too_big, paginator(1, 1, 1), paginator(1, 1, 1))
    one = source()
    read(one)
    read(one)
    assert asked_pages(server) == [("1", "100"), ("1", "15"), ("1", "15")]


def test_a_422_about_something_else_is_told_at_once(source: Open, server: Server) -> None:
    server.will(refusal(422, {"sort": ["The field id does not exist."]}))
    with pytest.raises(ConfigError, match=r"sort: The field id does not exist.*include/suivideflotte") as caught:
        read(source())
    assert len(server.asked) == 1
    assert "default.yaml: resources.vehicles" in str(caught.value.where)


def test_a_row_that_slips_to_the_page_before_is_found(source: Open, server: Server) -> None:
    """Between pages 1 and 2 row 2 is deleted: rows 101.. move up, and 101 is on page 1 now."""
    first, later = [*range(1, 101)], [1, *range(3, 102)]
    server.will(paginator(1, 2, *first), paginator(2, 2, *range(102, 121)), paginator(1, 2, *later))
    pages = read(source())
    assert set(ids(pages)) == {*range(1, 121)}
    assert [page.is_last for page in pages] == [False, False, True]
    assert [page for page, _ in asked_pages(server)] == ["1", "2", "1"]


def test_a_list_that_shrinks_to_one_page_while_it_is_read_loses_nothing(source: Open, server: Server) -> None:
    server.will(paginator(1, 2, *range(1, 101)), paginator(2, 1), paginator(1, 1, *range(2, 102)))
    assert set(ids(read(source()))) == {*range(1, 102)}


@pytest.mark.parametrize(
    "end",
    [
        array(),
        refusal(422, {"page": ["The page may not be greater than 2."]}),
        refusal(422, "Page out of range"),
    ],
)
def test_arrays_end_with_an_empty_page_or_the_refusal_of_a_page(end: bytes, source: Open, server: Server) -> None:
    first, second = array(*range(1, 101)), array(*range(101, 201))
    server.will(first, second, first, end, second)
    pages = read(source())
    assert set(ids(pages)) == {*range(1, 201)}
    assert [page.is_last for page in pages].index(True) == len(pages) - 1


def test_a_422_to_a_later_page_about_something_else_is_no_end(source: Open, server: Server) -> None:
    server.will(array(*range(1, 101)), refusal(422, {"perpage": ["The perpage may not be greater than 50."]}))
    with pytest.raises(ConfigError, match="perpage: "):
        read(source())


def test_a_limit_that_cuts_pages_silently_is_not_taken_for_the_end(source: Open, server: Server) -> None:
    """100 are asked for, 15 come: the list goes on."""
    first, second = array(*range(1, 16)), array(*range(16, 20))
    server.will(first, second, first)
    assert set(ids(read(source()))) == {*range(1, 20)}


def test_an_array_that_does_not_page_ends_when_it_comes_again(source: Open, server: Server) -> None:
    server.will(array(*range(1, 31)))
    assert set(ids(read(source()))) == {*range(1, 31)}
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("second", "error", "said"),
    [
        (paginator(1, 2, 1, 2), MalformedAnswer, "page 2 was asked for, page 1 came"),
        (paginator(2, 2, 1, 2), CursorStuck, "page 2 has the rows of the page before"),
        (paginator(2, 2, 3, to=4, **{"from": 3}), IncompleteAnswer, "says it has 2 rows and has 1"),
        (paginator(2, 2, to=4, **{"from": 3}), IncompleteAnswer, "says it has 2 rows and has 0"),
    ],
)
def test_a_page_that_is_not_what_it_says_is_distrusted(
    second: bytes, error: type[FleetlakeError], said: str, source: Open, server: Server
) -> None:
    server.will(paginator(1, 2, 1, 2), second, paginator(1, 2, 1, 2))
    with pytest.raises(error, match=said):
        read(source())


def test_a_list_without_end_is_given_up(source: Open, server: Server) -> None:
    def next_page(asked: Asked, _: Any) -> bytes:
        page = int(dict(parse_qsl(urlsplit(asked.path).query))["page"])
        return array(*range(100 * page, 100 * page + 100))

    server.will(next_page)
    with pytest.raises(CursorStuck, match="not ended after 4 pages"):
        read(source(max_pages=4))


def test_a_stopped_read_goes_on_with_its_page_and_size(source: Open, server: Server) -> None:
    server.will(
        refusal(422, {"perpage": ["too many"]}),
        paginator(1, 2, *range(1, 16)),
        paginator(2, 2, 16),
        paginator(1, 2, *range(1, 16)),
    )
    first = next(source().pages("vehicles", scope=FLEET, window=None, cursor=None))
    assert first.cursor == "2/15"
    rest = read(source(), cursor=first.cursor)
    assert set(ids([first, *rest])) == {*range(1, 17)}
    assert asked_pages(server)[2:] == [("2", "15"), ("1", "15")]


@pytest.mark.parametrize("before_commit", [True, False])
@pytest.mark.parametrize("again", [True, False])
def test_a_read_killed_at_every_page_asks_at_most_one_again_each_time(
    again: bool, before_commit: bool, source: Open, server: Server
) -> None:
    def page_of_four(asked: Asked, _: Any) -> bytes:
        page = int(dict(parse_qsl(urlsplit(asked.path).query))["page"])
        return paginator(page, 4, 2 * page - 1, 2 * page, total=8)

    server.will(page_of_four)
    committed: list[Page] = []
    while not committed or not committed[-1].is_last:
        one = source(per_page=2)
        cursor = committed[-1].cursor if committed else None
        pages = (one.pages_again if again else one.pages)("vehicles", scope=FLEET, window=None, cursor=cursor)
        page = next(pages)
        if before_commit:  # what came is lost with the process, and comes again
            assert next(source(per_page=2).pages("vehicles", scope=FLEET, window=None, cursor=cursor)).cursor == page.cursor
        committed.append(page)
        assert len(committed) <= 7, "no progress"
    asked = ["1", "2", "1", "3", "2", "4", "3"]
    assert [page for page, _ in asked_pages(server)] == ([page for page in asked for _ in "12"] if before_commit else asked)
    assert ids(committed) == [1, 2, 3, 4, 1, 2, 5, 6, 3, 4, 7, 8, 5, 6]
    assert [page.total for page in committed] == [None] * 6 + [8]


@pytest.mark.parametrize(
    ("second", "first_again", "ends"),
    [
        (array(*range(101, 201)), array(*range(1, 101)), False),
        (array(), array(*range(1, 101)), True),
        (refusal(422, "Page out of range"), array(*range(1, 101)), True),
        (array(*range(1, 31)), array(*range(1, 31)), True),  # it does not page
        (paginator(2, 2, 101), paginator(1, 2, *range(1, 101)), True),
        (paginator(2, 3, 101), paginator(1, 3, *range(1, 101)), False),
    ],
)
def test_the_end_is_known_also_to_a_process_that_did_not_see_the_page_before_the_kill(
    second: bytes, first_again: bytes, ends: bool, source: Open, server: Server
) -> None:
    server.will(second, first_again)
    come = next(source().pages("vehicles", scope=FLEET, window=None, cursor="2/100"))
    check = next(source().pages("vehicles", scope=FLEET, window=None, cursor=come.cursor))
    assert (come.is_last, check.is_last) == (False, ends)
    assert check.cursor == "3/100"
    assert asked_pages(server) == [("2", "100"), ("1", "100")]


def test_a_page_that_repeats_the_one_before_is_asked_for_again_by_the_next_run(source: Open, server: Server) -> None:
    first = paginator(1, 2, *range(1, 101))
    server.will(first, paginator(2, 2, *range(1, 101)), first, paginator(2, 2, 101), first)
    kept: list[Page] = []
    with pytest.raises(CursorStuck):
        kept.extend(source().pages("vehicles", scope=FLEET, window=None, cursor=None))
    assert [page.is_last for page in kept] == [False, False, False]
    rest = read(source(), cursor=kept[-1].cursor)
    assert [page for page, _ in asked_pages(server)] == ["1", "2", "1", "2", "1"]
    assert set(ids([*kept, *rest])) == {*range(1, 102)}
    assert rest[-1].is_last


def test_a_cursor_that_is_none_is_named(source: Open) -> None:
    for cursor in ("two", "2", '2/5 {"rows":', '2/5 {"rows":1}'):
        with pytest.raises(ConfigError, match="is no cursor of a list"):
            read(source(), cursor=cursor)


# --- what answers mean --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (refusal(403, "Invalid scope(s) provided."), AccessDenied, "no right.*Invalid scope"),
        (refusal(404, "Not Found"), ConfigError, r"does not know this list.*resources\.vehicles.*check the path"),
        (refusal(405, "Method Not Allowed"), ConfigError, "405"),
        (refusal(400, "Unknown API version."), UnsupportedVersion, "check api_version"),
        (refusal(400, "Bad syntax."), ConfigError, "Bad syntax"),
        (refusal(500, "Internal error"), VendorUnavailable, r"HTTP 500\): Internal error"),
        (reply(502, b"<html>Bad Gateway</html>", Content_Type="text/html"), VendorUnavailable, "502"),
        (reply(404, b"<html>nginx</html>", Content_Type="text/html"), VendorUnavailable, "proxy"),
        (reply(200, b'{"code":500,"message":"Internal error"}'), MalformedAnswer, "an error of the vendor"),
    ],
)
def test_an_error_says_what_where_and_how_to_mend_it(
    answer: bytes, error: type[FleetlakeError], said: str, source: Open, server: Server
) -> None:
    server.will(answer)
    with pytest.raises(error, match=said):
        read(source())


def test_a_missing_right_is_no_reason_to_log_in_again(source: Open, server: Server) -> None:
    server.will(granted("a1"), refusal(403, "Invalid scope(s) provided."))
    with pytest.raises(AccessDenied):
        read(source(**GRANT))
    assert len(server.asked) == 2


def test_tokens_of_a_login_that_the_vendor_echoes_are_masked(source: Open, server: Server) -> None:
    server.will(granted("canary-access-1", "canary/refresh+1"), refusal(403, "canary-access-1 of canary/refresh+1 lacks it"))
    with pytest.raises(AccessDenied, match="lacks it") as caught:
        read(source(**GRANT))
    assert "canary" not in str(caught.value) + repr(caught.value.__dict__)
    # A shared token, and its refresh, which fails with an echo.
    tokens = LocalTokens()
    tokens.renew(None, lambda _: Token("canary-access-2", "canary/refresh+2", dt.datetime.now(dt.UTC)))
    server.will(refusal(404, "no such canary/refresh+2 nor canary-access-2"))
    with pytest.raises(ConfigError, match="no such") as failed:
        read(source(tokens=tokens, **GRANT))
    assert "canary" not in str(failed.value) + repr(failed.value.__dict__)


def test_an_error_inside_a_200_is_masked_too(source: Open, server: Server) -> None:
    server.will(granted("canary-access"), reply(200, b'{"code":500,"message":"odd canary-access"}'))
    with pytest.raises(MalformedAnswer, match=r"an error of the vendor: odd \*\*\*"):
        read(source(**GRANT))


@pytest.mark.parametrize("key", [{}, GRANT])
def test_a_header_that_the_vendor_echoes_is_masked(key: dict[str, str], source: Open, server: Server) -> None:
    echo = refusal(403, 'got {"Authorization": "Bearer canary-token"}, Authorization: Bearer canary-token')
    server.will(*([granted("canary-token")] if key else []), echo)
    with pytest.raises(AccessDenied) as caught:
        read(source(**key))
    assert "canary" not in str(caught.value) + repr(caught.value.__dict__)


def test_a_vehicle_that_is_gone_is_skipped(source: Open, server: Server) -> None:
    server.will(refusal(404, "No query results"), refusal(404, "No query results"))
    with pytest.raises(ScopeUnavailable, match="no vehicle 17"):
        read(source(), "trips")
    assert server.asked[1].path == "/vehicles/17"


def test_a_list_that_is_unknown_although_its_vehicle_is_known_is_a_wrong_path(source: Open, server: Server) -> None:
    server.will(refusal(404, "Not Found"), reply(body=b'{"id":17}'))
    with pytest.raises(ConfigError, match=r"resources\.trips"):
        read(source(), "trips")


def test_a_vehicle_id_stays_inside_its_path_segment(source: Open, server: Server) -> None:
    server.will(paginator(1, 1))
    list(source().pages("trips", scope="1/../2?x", window=DAY, cursor=None))
    assert urlsplit(server.asked[0].path).path == "/vehicles/1%2F..%2F2%3Fx/trips"


def test_feeds_are_told_apart(source: Open) -> None:
    one = source()
    for feed, window, stream in (
        ("trip", DAY, False),
        ("trips", None, False),
        ("vehicles", DAY, False),
        ("trips", DAY, True),
    ):
        with pytest.raises(ConfigError):
            list(one.pages(feed, scope="17", window=window, cursor=None, stream=stream))


def test_days_the_vendor_has_dropped_are_not_taken_for_deleted(source: Open, server: Server) -> None:
    server.will(paginator(1, 1))
    now = dt.datetime.now(dt.UTC)
    young, old = (Window(now - dt.timedelta(days=days), now - dt.timedelta(days=days - 1)) for days in (364, 366))
    one = source(history_days=365)
    assert len(list(one.pages("trips", scope="17", window=young, cursor=None))) == 1
    for feed in ("trips", "alerts"):
        with pytest.raises(OutOfRetention, match=r"keeps 365 days.*raise history_days") as gone:
            list(one.pages(feed, scope="17", window=old, cursor=None))
        assert gone.value.since == old.end
    assert len(server.asked) == 1
    assert len(list(source().pages("trips", scope="17", window=old, cursor=None))) == 1


def test_what_is_still_kept_of_a_window_comes_before_it_is_said_that_the_rest_is_gone(source: Open, server: Server) -> None:
    server.will(paginator(1, 1, 5, 6, total=2))
    now = dt.datetime.now(dt.UTC)
    window = Window(now - dt.timedelta(days=366), now - dt.timedelta(days=363))
    pages: list[Page] = []
    with pytest.raises(OutOfRetention) as gone:
        pages.extend(source(history_days=365).pages("trips", scope="17", window=window, cursor=None))
    assert [(page.rows, page.is_last, page.total) for page in pages] == [(2, False, 2)]
    assert gone.value.since is not None
    assert window.start < gone.value.since < window.end


def test_the_last_page_carries_the_vendor_s_count(source: Open, server: Server) -> None:
    first, second = paginator(1, 2, *range(1, 101), total=104), paginator(2, 2, *range(101, 105), total=104)
    server.will(first, second, first)
    assert [page.total for page in read(source())] == [None, None, 104]


def test_the_count_is_known_even_if_the_list_ends_with_a_refused_page(source: Open, server: Server) -> None:
    first = paginator(1, 2, *range(1, 101), total=100)
    server.will(first, refusal(422, "Page out of range"), first)
    assert read(source())[-1].total == 100


def test_a_second_reading_goes_the_other_way_through_the_list(source: Open, server: Server) -> None:
    server.will(array(*range(30, 0, -1)))
    pages = list(source().pages_again("trips", scope="17", window=DAY, cursor=None))
    assert len(pages) == 3
    assert {dict(parse_qsl(urlsplit(asked.path).query))["sort"] for asked in server.asked} == {"-id"}


def test_a_full_page_that_comes_twice_is_no_end(source: Open, server: Server) -> None:
    """An array that does not page, or a vendor that repeats a page: with exactly as many rows as asked for nobody knows."""
    server.will(array(*range(1, 101)))
    with pytest.raises(CursorStuck, match="full page of 100 rows"):
        read(source())


def test_the_connection_test_says_what_works(source: Open, server: Server) -> None:
    server.will(paginator(1, 3, *range(1, 16)))
    assert source().check() == "SuiviDeFlotte accepts the persistent token; at least 15 vehicles are visible"


def test_the_alternative_list_of_trips_is_asked_with_a_filter(source: Open, server: Server, tmp_path: Path) -> None:
    include = Path(__file__).parents[3] / "include"
    (tmp_path / "contracts").symlink_to(include / "contracts")
    (tmp_path / "suivideflotte").mkdir()
    text = (include / "suivideflotte" / "default.yaml").read_text()
    text = text.replace("/vehicles/{scope}/trips ", '/trips\n    equals: {vehicle_id: "{scope}"}\n    only_fields: true')
    (tmp_path / "suivideflotte" / "france.yaml").write_text(text)
    server.will(paginator(1, 1))
    one = SuiviDeFlotteSource(source().client, load_fieldmap("france", tmp_path))
    read(one, "trips")
    parts = urlsplit(server.asked[0].path)
    query = dict(parse_qsl(parts.query))
    assert (parts.path, query["equals"], query["fields"][:13]) == ("/trips", "vehicle_id:17", "id,vehicle_id")
    with pytest.raises(ConfigError, match="no escape"):
        list(one.pages("trips", scope="1,2", window=DAY, cursor=None))
