"""The SuiviDeFlotte room over HTTP: each behaviour of the vendor that surprises a client."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.suivideflotte import ROOM
from fleetlake.sandbox.testing import Running, running
from fleetlake.window import Window

AS_OF = dt.datetime(2026, 11, 20, 12, 0, 0, tzinfo=dt.UTC)
DAY = {"from": "2026-11-18 00:00:00", "to": "2026-11-18 23:59:59"}
Start = Callable[..., Running]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Without rate limit, for tests that change nothing in it."""
    settings = SandboxSettings(
        state_dir=tmp_path_factory.mktemp("sandbox"),
        as_of=AS_OF,
        cars=17,
        rooms=("suivideflotte",),
        assumptions={"suivideflotte.requests_per_minute": 0},
    )
    with running(settings) as serving:
        yield serving


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a sandbox of one's own: ``start(cars=3, envelope="array")``."""
    with ExitStack() as stack:

        def begin(**wishes: Any) -> Running:
            sizes = {name: wishes.pop(name) for name in ("cars", "as_of", "state_dir") if name in wishes}
            assumptions = {f"suivideflotte.{name}": value for name, value in {"requests_per_minute": 0, **wishes}.items()}
            values = {"state_dir": tmp_path, "as_of": AS_OF, "cars": 4, "rooms": ("suivideflotte",), **sizes}
            return stack.enter_context(running(SandboxSettings(**values, assumptions=assumptions)))

        yield begin


class Caller:
    """A plain HTTP client of one customer, with his persistent token unless told otherwise."""

    def __init__(self, sandbox: Running, customer: str = "france", *, token: str | None = None) -> None:
        self.base = sandbox.urls["suivideflotte"]
        self.keys = sandbox.customers["suivideflotte"][customer]
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {token or self.keys['token']}"

    def __call__(self, path: str, method: str = "GET", **options: Any) -> requests.Response:
        headers = {"Accept": "application/json", "X-Version": "1", **options.pop("headers", {})}
        return self.session.request(method, self.base + path, headers=headers, timeout=20, **options)

    def json(self, path: str, **params: Any) -> Any:
        answer = self(path, params={name.rstrip("_"): value for name, value in params.items()})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
        return answer.json()

    def rows(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """All pages of a list."""
        found: list[dict[str, Any]] = []
        for page in range(1, 100):
            body = self.json(path, **{"perpage": 100, **params, "page": page})
            rows = body if isinstance(body, list) else body["data"]
            found += rows
            if not rows or (isinstance(body, dict) and page >= body["last_page"]):
                return found
        raise AssertionError("no end of pages")

    def login(self, **changes: Any) -> requests.Response:
        keys = {name: self.keys[name] for name in ("client_id", "client_secret", "username", "password")}
        return self("/oauth2", "POST", json={**keys, **changes}, headers={"Authorization": None})

    def refresh(self, token: str, **changes: Any) -> requests.Response:
        keys = {name: self.keys[name] for name in ("client_id", "client_secret")}
        body = json.dumps({**keys, "refresh_token": token, **changes})
        # Without a content type, as the vendor's sample.
        return self("/oauth2/refresh", "POST", data=body, headers={"Authorization": None})

    def status_with(self, access_token: str) -> int:
        return self("/vehicles", headers={"Authorization": f"Bearer {access_token}"}).status_code


@pytest.fixture
def france(sandbox: Running) -> Caller:
    return Caller(sandbox)


def _refused(answer: requests.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body.keys() == {"code", "message"}
    assert body["code"] == status
    return body["message"]


def _oauth_refused(answer: requests.Response, status: int, error: str) -> str | None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["error"] == error
    assert body["message"]
    assert "code" not in body
    return body.get("hint")


# Keys


def test_login_gives_tokens_of_36000_s_and_needs_no_grant_type(france: Caller) -> None:
    answer = france.login()
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"access_token", "expires_in", "refresh_token"}
    assert body["expires_in"] == 36_000
    assert len(body["refresh_token"]) == 684
    assert len(base64.b64decode(body["refresh_token"])) == 512
    assert "\\/" in answer.text
    assert france.status_with(body["access_token"]) == 200


def test_the_access_token_claims_another_life_than_expires_in(france: Caller) -> None:
    payload = france.login().json()["access_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims["exp"] - claims["iat"] == 216_000
    assert claims["scopes"] == ["*"]
    assert isinstance(claims["sub"], str)


def test_wrong_user_and_wrong_client_are_told_in_the_oauth_shape(france: Caller) -> None:
    _oauth_refused(france.login(password="no"), 401, "invalid_credentials")
    answer = france.login(client_secret="no")
    _oauth_refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"]
    _oauth_refused(france.login(client_id="999"), 401, "invalid_client")
    assert _oauth_refused(france.login(username=""), 400, "invalid_request") == "Check the `username` parameter"
    assert _oauth_refused(france("/oauth2", "POST", data="no json"), 400, "invalid_request")


def test_a_refresh_token_works_once_and_ends_its_access_token(france: Caller) -> None:
    first = france.login().json()
    second = france.refresh(first["refresh_token"]).json()
    assert second.keys() == first.keys()
    assert france.status_with(second["access_token"]) == 200
    assert france.status_with(first["access_token"]) == 401
    assert _oauth_refused(france.refresh(first["refresh_token"]), 400, "invalid_request") == "Token has been revoked"
    assert france.refresh(second["refresh_token"]).status_code == 200


def test_a_refresh_token_may_be_used_again_where_nothing_rotates(start: Start) -> None:
    caller = Caller(start(rotation=False, refresh_ends_access=False))
    first = caller.login().json()
    assert [caller.refresh(first["refresh_token"]).status_code for _ in range(2)] == [200, 200]
    assert caller.status_with(first["access_token"]) == 200


@pytest.mark.parametrize("token", ["no base64!", "AAAA", base64.b64encode(bytes(512)).decode()])
def test_a_refresh_token_that_cannot_be_read_has_its_own_hint(france: Caller, token: str) -> None:
    answer = france.refresh(token)
    assert _oauth_refused(answer, 400, "invalid_request") == "Cannot decrypt the refresh token"
    assert answer.json()["message"] == "The refresh token is invalid."


def test_a_refresh_token_belongs_to_its_client(sandbox: Running, france: Caller) -> None:
    token = france.login().json()["refresh_token"]
    _oauth_refused(france.refresh(token, client_secret="no"), 401, "invalid_client")
    assert _oauth_refused(Caller(sandbox, "other").refresh(token), 400, "invalid_request")
    assert france.refresh(token).status_code == 200, "a refusal does not use it up"


def test_a_browser_refreshes_with_its_cookie(france: Caller) -> None:
    login = france.login()
    assert "HttpOnly" in login.headers["set-cookie"]
    assert france.refresh("").status_code == 200


def test_tokens_end_by_the_sandbox_clock_and_the_persistent_one_after_five_years(start: Start) -> None:
    sandbox = start()
    caller, clock = Caller(sandbox), sandbox.context.clock
    tokens = caller.login().json()
    clock.set(AS_OF + dt.timedelta(hours=9, minutes=59))
    assert caller.status_with(tokens["access_token"]) == 200
    clock.set(AS_OF + dt.timedelta(hours=10))
    assert caller.status_with(tokens["access_token"]) == 401
    tokens = caller.refresh(tokens["refresh_token"]).json()
    clock.set(AS_OF + dt.timedelta(days=11))
    assert _oauth_refused(caller.refresh(tokens["refresh_token"]), 400, "invalid_request") == "Token has expired"
    clock.set(dt.datetime(2029, 12, 31, tzinfo=dt.UTC))
    assert caller("/poi").status_code == 200
    clock.set(dt.datetime(2030, 1, 2, tzinfo=dt.UTC))
    assert _refused(caller("/poi"), 401)


def test_tokens_also_end_in_real_time_while_the_clock_stands_still(start: Start) -> None:
    caller = Caller(start(token_life_s=1.0))
    token, deadline = caller.login().json()["access_token"], time.monotonic() + 10
    while caller.status_with(token) == 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert caller.login().json()["expires_in"] == 1


def test_without_a_key_or_with_a_wrong_one_nothing_is_told(sandbox: Running, france: Caller) -> None:
    for token in ("", "x", "a.b.c", france.keys["token"][:-2] + "xx"):
        assert _refused(Caller(sandbox, token=token or " ")("/vehicles"), 401) == "Unauthenticated."
    basic = france("/vehicles", headers={"Authorization": "Basic eDp5"})
    assert _refused(basic, 401) == "Unauthenticated."
    assert sandbox.log("suivideflotte")[-1]["customer"] is None


def test_an_expired_token_can_be_played(sandbox: Running, france: Caller) -> None:
    refresh_token = france.login().json()["refresh_token"]
    with sandbox.faults("expired:vendor=suivideflotte,path=/vehicles,count=1"):
        assert [france("/vehicles").status_code for _ in range(2)] == [401, 200]
    with sandbox.faults("expired:vendor=suivideflotte,path=/oauth2/refresh"):
        assert _oauth_refused(france.refresh(refresh_token), 400, "invalid_request") == "Token has been revoked"
    assert france.refresh(refresh_token).status_code == 200


def test_a_missing_scope_is_403_and_another_login_does_not_help(start: Start) -> None:
    caller = Caller(start(scopes="vehicles:read"))
    assert caller("/vehicles").status_code == 200
    _refused(caller("/trips"), 403)
    _refused(caller("/poi"), 403)
    everything = caller.login().json()["access_token"]
    assert caller("/poi", headers={"Authorization": f"Bearer {everything}"}).status_code == 200


def test_log_and_statistics_know_the_customer_and_hold_no_key(sandbox: Running, france: Caller) -> None:
    france("/vehicles")
    Caller(sandbox, "other")("/vehicles")
    assert {entry["customer"] for entry in sandbox.log("suivideflotte")[-2:]} == {"france", "other"}
    text = json.dumps(sandbox.log())
    for secret in ("token", "client_secret", "password"):
        assert france.keys[secret] not in text


# Versions, addresses, methods


def test_an_unknown_version_is_refused_and_none_is_the_current_one(start: Start, france: Caller) -> None:
    assert "version" in _refused(france("/vehicles", headers={"X-Version": "2"}), 400)
    assert france("/oauth2", "POST", headers={"X-Version": "2"}).status_code == 400
    assert france("/vehicles", headers={"X-Version": None}).status_code == 200
    lenient = Caller(start(version_checked=False))
    assert lenient("/vehicles", headers={"X-Version": "2"}).status_code == 200


def test_unknown_addresses_and_objects_are_404_and_wrong_methods_405(sandbox: Running, france: Caller) -> None:
    for path in ("/", "/nowhere", "/vehicles/", "/vehicles/1", "/vehicles/x/trips", "/vehicles/99999999999999999999"):
        assert _refused(france(path), 404)
    strange = Caller(sandbox, "other").rows("/vehicles")[0]["id"]
    _refused(france(f"/vehicles/{strange}"), 404)
    for path, method in (("/vehicles", "POST"), ("/poi", "DELETE"), ("/oauth2", "GET")):
        answer = france(path, method)
        _refused(answer, 405)
        assert answer.headers["allow"]


# Rate limit


def test_the_limiter_counts_down_per_user_and_says_when_it_opens(start: Start) -> None:
    sandbox = start(requests_per_minute=5, limit_window_s=60)
    caller = Caller(sandbox)
    token = caller.login().json()["access_token"]  # nobody yet: another count
    left = []
    for index in range(5):
        answer = caller("/poi", headers={"Authorization": f"Bearer {token}"} if index % 2 else {})
        assert answer.headers["x-ratelimit-limit"] == "5"
        assert not {"x-ratelimit-reset", "retry-after"} & {name.lower() for name in answer.headers}
        left.append(answer.headers["x-ratelimit-remaining"])
    assert left == ["4", "3", "2", "1", "0"]
    refused = caller("/nowhere")
    assert (refused.status_code, refused.text) == (429, "Too Many Attempts.")
    assert refused.headers["content-type"].startswith("text/html")
    assert refused.headers["x-ratelimit-remaining"] == "0"
    wait = int(refused.headers["x-ratelimit-reset"]) - time.time()
    assert 50 < wait <= 61
    assert abs(int(refused.headers["retry-after"]) - wait) <= 2
    assert Caller(sandbox, "other")("/poi").status_code == 200, "another user"


def test_every_answer_carries_the_count_also_refusals(start: Start) -> None:
    sandbox = start(requests_per_minute=20)
    caller, nobody = Caller(sandbox), Caller(sandbox, token="x")
    for answer in (
        caller("/nowhere"),
        caller("/poi", "POST"),
        caller("/poi?page=0"),
        caller("/poi", headers={"X-Version": "9"}),
        nobody("/poi"),
        nobody.login(password="no"),
    ):
        assert answer.status_code >= 400
        assert int(answer.headers["x-ratelimit-remaining"]) < 20


def test_the_window_is_fixed_and_refused_calls_do_not_lengthen_it(start: Start) -> None:
    caller = Caller(start(requests_per_minute=2, limit_window_s=1.0, limit_json=True))
    assert [caller("/poi").status_code for _ in range(3)] == [200, 200, 429]
    refused = caller("/poi")
    assert refused.json() == {"code": 429, "message": "Too Many Attempts"}
    opens = int(refused.headers["x-ratelimit-reset"])
    deadline = time.monotonic() + 10
    while (answer := caller("/poi")).status_code == 429:
        assert int(answer.headers["x-ratelimit-reset"]) == opens
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert answer.headers["x-ratelimit-remaining"] == "1"
    assert time.time() <= opens + 1


def test_the_limit_may_count_keys_instead_of_users(start: Start) -> None:
    caller = Caller(start(requests_per_minute=1, limit_by="key"))
    token = caller.login().json()["access_token"]
    assert caller("/poi").status_code == 200
    assert caller("/poi").status_code == 429
    assert caller.status_with(token) == 200


# Filters and pages


def test_only_the_wanted_fields_are_told(france: Caller) -> None:
    assert set(france.json("/vehicles", fields="id,name")["data"][0]) == {"id", "name"}
    vehicle = france.rows("/vehicles")[0]
    assert france.json(f"/vehicles/{vehicle['id']}", fields="vin") == {"vin": vehicle["vin"]}


def test_objects_have_fields_that_nobody_described(start: Start, france: Caller) -> None:
    assert len(france.rows("/vehicles")[0]) == 14
    assert france.rows("/vehicles", equals="color:blanc", fields="color")[0] == {"color": "blanc"}
    plain = Caller(start(more_fields=False))
    assert len(plain.rows("/vehicles")[0]) == 13
    assert "category" not in plain.rows("/trips", from_=DAY["from"], to=DAY["to"])[0]


def test_equals_and_like_are_joined_by_and(france: Caller) -> None:
    rows = france.rows("/vehicles")
    assert france.rows("/vehicles", equals=f"id:{rows[3]['id']}") == [rows[3]]
    peugeots = france.rows("/vehicles", like="brand:EUGEO")
    assert 0 < len(peugeots) < len(rows)
    assert {row["brand"] for row in peugeots} == {"Peugeot"}
    partners = france.rows("/vehicles", like="brand:eugeo", equals="model:Partner,active:1")
    assert [row for row in peugeots if row["model"] == "Partner" and row["active"]] == partners
    assert france.rows("/vehicles", equals="brand:eugeo") == []


def test_lists_are_sorted_as_asked_with_nulls_first(france: Caller) -> None:
    rows = france.rows("/vehicles")
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    sorted_rows = france.rows("/vehicles", sort="group_id,-id")
    keys = [(row["group_id"] is not None, row["group_id"] or 0, -row["id"]) for row in sorted_rows]
    assert keys == sorted(keys)
    assert not keys[0][0]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("fields=id,colour", "fields"),
        ("fields=id,id", "fields"),
        ("equals=colour:red", "equals"),
        ("equals=name:a,name:b", "equals"),
        ("like=name:a,name:b", "like"),
        ("equals=name", "equals"),
        ("equals=name:10:30", "equals"),
        ("sort=-colour", "sort"),
        ("page=0", "page"),
        ("page=one", "page"),
        ("page=-1", "page"),
        ("perpage=0", "perpage"),
        ("perpage=101", "perpage"),
    ],
)
def test_unusable_parameters_are_named_in_a_422_map(france: Caller, query: str, field: str) -> None:
    message = _refused(france(f"/vehicles?{query}"), 422)
    assert list(message) == [field]
    assert all(isinstance(text, str) and text for text in message[field])


def test_one_422_names_everything_that_is_wrong(france: Caller) -> None:
    assert _refused(france("/vehicles?fields=x,y&page=0&sort=z"), 422).keys() == {"fields", "page", "sort"}
    assert len(_refused(france("/vehicles?fields=x,y"), 422)["fields"]) == 2


def test_a_page_has_15_rows_unless_told_otherwise(france: Caller) -> None:
    first = france.json("/vehicles")
    assert first.keys() == {
        *("current_page", "data", "from", "last_page", "next_page_url", "path", "per_page", "prev_page_url", "to", "total")
    }
    assert [first[name] for name in ("current_page", "from", "to", "last_page", "per_page", "total")] == [
        1,
        1,
        15,
        2,
        15,
        17,
    ]
    second = france.json("/vehicles", page=2)
    assert (len(second["data"]), second["from"], second["to"], second["next_page_url"]) == (2, 16, 17, None)
    assert len(france.json("/vehicles", perpage=100)["data"]) == 17


def test_the_links_of_a_page_lose_the_filters(france: Caller) -> None:
    assert france.json("/vehicles", perpage=5, fields="id")["next_page_url"] == "/vehicles?page=2"


def test_a_page_past_the_end_is_empty_or_refused(start: Start, france: Caller) -> None:
    past = france.json("/vehicles", page=9)
    assert (past["data"], past["from"], past["to"], past["last_page"]) == ([], None, None, 2)
    strict = Caller(start(page_past_end="422", cars=1))
    assert "page" in _refused(strict("/vehicles?page=2"), 422)
    assert strict.json("/vehicles", equals="id:1")["data"] == [], "the first page of nothing is no error"


def test_lists_may_be_bare_arrays_or_newer_paginators(start: Start, tmp_path: Path) -> None:
    bare = Caller(start(envelope="array"))
    rows = bare.json("/vehicles", perpage=3)
    assert [len(rows), len(bare.json("/vehicles", perpage=3, page=2)), bare.json("/vehicles", page=3)] == [3, 1, []]
    newer = Caller(start(envelope="paginator55", state_dir=tmp_path / "newer"))
    assert newer.json("/vehicles", perpage=3)["last_page_url"] == "/vehicles?page=2"
    assert newer.json("/vehicles", equals="id:1")["last_page"] == 1


def test_faults_on_pages_are_played_in_the_paginator(sandbox: Running, france: Caller) -> None:
    whole = france.json("/vehicles")
    with sandbox.faults("short_page:vendor=suivideflotte,count=1"):
        assert france.json("/vehicles")["data"] == whole["data"][:7]
    with sandbox.faults("empty_page:vendor=suivideflotte,count=1"):
        assert france.json("/vehicles") == {**whole, "data": []}
    with sandbox.faults("error_body:vendor=suivideflotte,count=1"):
        assert france.json("/vehicles") == {"code": 500, "message": "Internal error"}


def test_a_lie_may_be_about_one_page_and_the_counts_may_agree_with_it(sandbox: Running, france: Caller) -> None:
    second = france.json("/vehicles", perpage=5, page=2)
    with sandbox.faults("short_page:vendor=suivideflotte,query=*page=2*,consistent=true"):
        assert france.json("/vehicles", perpage=5, page=1)["total"] == 17
        lie = france.json("/vehicles", perpage=5, page=2)
    assert lie["data"] == second["data"][:2]
    assert (lie["from"], lie["to"], lie["total"], lie["last_page"]) == (6, 7, 7, 2)
    with sandbox.faults("empty_page:vendor=suivideflotte,consistent=yes"):
        nothing = france.json("/vehicles", perpage=5, page=2)
    assert (nothing["from"], nothing["to"], nothing["total"], nothing["last_page"]) == (None, None, 5, 2)


def test_answers_are_written_as_php_does(france: Caller) -> None:
    text = france("/vehicles?fields=name,odometer").text
    assert "V\\u00e9hicule" in text
    assert ".0," not in text
    assert ".0}" not in text


# Trips, alerts, times


def _truth(sandbox: Running, dataset: str, start: str, end: str) -> list[Any]:
    return list(ROOM.truth(sandbox.context, dataset, Window.parse(start, end), "france"))


def _paris(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def test_trips_of_a_vehicle_are_what_is_true(sandbox: Running, france: Caller) -> None:
    # The day in Paris, an hour before the day in UTC.
    expected = {row["trip_id"]: row for row in _truth(sandbox, "trip", "2026-11-17T23:00:00", "2026-11-18T23:00:00")}
    found = {
        trip["id"]: trip
        for vehicle in france.rows("/vehicles")
        for trip in france.rows(f"/vehicles/{vehicle['id']}/trips", from_=DAY["from"], to=DAY["to"])
    }
    assert found.keys() == expected.keys()
    assert len(found) > 20
    for identity, trip in found.items():
        row = expected[identity]
        assert trip["start_dt"] == (row["start_time"] + dt.timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")
        assert trip["distance"] * 1000 == pytest.approx(row["distance_m"], abs=1e-6)
        assert trip["duration"] == (row["end_time"] - row["start_time"]).total_seconds()
        assert (trip["max_speed"], trip["avg_speed"]) == (row["max_speed_kmh"], row["average_speed_kmh"])
        assert (trip["start_lat"], trip["end_address"]) == (row["start_latitude_deg"], row["end_address"])
        assert (trip["vehicle_id"], trip["driver_id"]) == (row["vehicle_id"], row["driver_id"])
        assert trip["private"] is row["is_private"]


def test_trips_can_also_be_asked_of_the_fleet(france: Caller) -> None:
    vehicle = france.rows("/vehicles")[1]["id"]
    query = {"from_": DAY["from"], "to": DAY["to"]}
    alone = france.rows(f"/vehicles/{vehicle}/trips", **query)
    assert alone
    assert france.rows("/trips", equals=f"vehicle_id:{vehicle}", **query) == alone
    assert len(france.rows("/trips", **query)) > len(alone)
    assert len(france.rows("/trips", equals=f"vehicle_id:{vehicle}")) > 300, "without bounds the whole history"


def test_from_and_to_belong_to_the_window_or_not(start: Start, france: Caller) -> None:
    trip = france.rows("/trips", from_=DAY["from"], to=DAY["to"])[5]
    window = {"from_": trip["start_dt"], "to": trip["start_dt"]}
    assert trip in france.rows("/trips", **window)
    assert Caller(start(to_inclusive=False, cars=17)).rows("/trips", **window) == []


def test_bounds_may_be_dates_local_times_or_times_with_offset(france: Caller) -> None:
    day = france.rows("/trips", from_="2026-11-18", to="2026-11-19")
    assert day == france.rows("/trips", from_="2026-11-18T00:00:00+01:00", to="2026-11-18T23:00:00Z")
    assert day == france.rows("/trips", from_="2026-11-18 00:00", to="2026-11-19 00:00:00")
    for name, text in (("from", "yesterday"), ("to", "2026-13-01"), ("from", "18/11/2026")):
        assert list(_refused(france("/trips", params={name: text}), 422)) == [name]
    assert "to" in _refused(france("/trips", params={"from": "2026-11-19", "to": "2026-11-18"}), 422)


def test_times_are_local_without_zone_and_iso_on_demand(start: Start, france: Caller) -> None:
    local = france.json("/trips", from_="2026-07-01", to="2026-07-02")["data"][0]
    iso = Caller(start(date_format="iso", cars=17)).json("/trips", from_="2026-07-01", to="2026-07-02")["data"][0]
    assert iso["start_dt"].endswith("+02:00")
    assert _paris(local["start_dt"]) == _paris(iso["start_dt"]).replace(tzinfo=None)
    assert local["duration"] == iso["duration"]


def test_the_night_on_which_clocks_go_back(start: Start) -> None:
    sandbox = start(cars=6)
    caller = Caller(sandbox)
    rows = _truth(sandbox, "trip", "2026-10-24T20:00:00", "2026-10-25T12:00:00")
    inside = dt.datetime(2026, 10, 25, tzinfo=dt.UTC), dt.datetime(2026, 10, 25, 2, tzinfo=dt.UTC)
    crossing = [row for row in rows if inside[0] < row["end_time"] < inside[1]]
    assert crossing, "a trip of this world ends in the hour that exists twice"
    told = {trip["id"]: trip for trip in caller.rows("/trips", from_="2026-10-24 22:00:00", to="2026-10-25 13:00:00")}
    assert told.keys() == {row["trip_id"] for row in rows}
    for row in crossing:
        trip = told[row["trip_id"]]
        assert trip["end_dt"].startswith("2026-10-25 02:")
        # The wall clock alone may be an hour wrong; start and duration are not.
        assert trip["duration"] == (row["end_time"] - row["start_time"]).total_seconds()
    morning = [row for row in rows if row["start_time"] > inside[1]]
    assert morning
    for row in morning:
        assert told[row["trip_id"]]["start_dt"] == (row["start_time"] + dt.timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")


def test_the_hour_that_exists_twice_is_told_twice(start: Start) -> None:
    # Positions are taken all the time: the same local time stands for two moments an hour apart.
    sandbox = start(as_of=dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC), private_share=0.0)
    caller = Caller(sandbox)
    first = {row["id"]: row["last_position"]["dt"] for row in caller.rows("/vehicles")}
    sandbox.context.clock.set(dt.datetime(2026, 10, 25, 1, 30, tzinfo=dt.UTC))
    second = {row["id"]: row["last_position"]["dt"] for row in caller.rows("/vehicles")}
    assert all(text.startswith("2026-10-25 02:") for text in [*first.values(), *second.values()])
    assert set(first.values()) & set(second.values())


def test_distances_are_km_or_metres(start: Start, france: Caller) -> None:
    query = {"from_": DAY["from"], "to": DAY["to"], "fields": "id,distance"}
    km = {row["id"]: row["distance"] for row in france.rows("/trips", **query)}
    metres = {row["id"]: row["distance"] for row in Caller(start(distance_unit="m", cars=17)).rows("/trips", **query)}
    assert km.keys() == metres.keys()
    assert all(isinstance(value, int) and value == pytest.approx(km[key] * 1000) for key, value in metres.items())


def test_private_trips_keep_times_and_lose_places(france: Caller) -> None:
    trips = france.rows("/trips", from_="2026-11-10", to="2026-11-19")
    private = [trip for trip in trips if trip["private"]]
    assert private
    for trip in private:
        assert trip["start_dt"] < trip["end_dt"]
        assert trip["distance"] > 0
        places = ("start_lat", "start_lon", "end_lat", "end_lon", "start_address", "end_address")
        assert [trip[name] for name in places] == [None] * 6
    assert all(trip["start_lat"] for trip in trips if not trip["private"])


def test_a_trip_that_is_told_late_appears_in_a_day_already_read(start: Start) -> None:
    sandbox = start(as_of=dt.datetime(2026, 11, 18, 23, 30, tzinfo=dt.UTC), cars=10, late_share=0.3)
    caller = Caller(sandbox)
    query = {"from_": DAY["from"], "to": DAY["to"]}
    early = caller.rows("/trips", **query)
    sandbox.context.clock.set(AS_OF)
    late = caller.rows("/trips", **query)
    assert len(late) > len(early) > 0
    assert late[: len(early)] == early, "new rows come at the end of the list, by id"


def test_alerts_of_the_fleet_are_what_is_true(sandbox: Running, france: Caller) -> None:
    expected = {row["alert_id"]: row for row in _truth(sandbox, "alert", "2026-11-15T23:00:00", "2026-11-19T23:00:00")}
    found = {row["id"]: row for row in france.rows("/alerts", from_="2026-11-16", to="2026-11-19 23:59:59")}
    assert found.keys() == expected.keys()
    for identity, alert in found.items():
        row = expected[identity]
        assert (alert["vehicle_id"], alert["type"], alert["message"]) == (
            *(row["vehicle_id"], row["alert_type"], row["message"]),
        )
        assert alert["dt"] == (row["event_time"] + dt.timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")
        assert (alert["lat"], alert["lon"]) == (row["latitude_deg"], row["longitude_deg"])


def test_places_and_drivers_are_what_is_true(sandbox: Running, france: Caller) -> None:
    pois = {row["poi_id"]: row for row in ROOM.truth(sandbox.context, "poi", None, "france")}
    for poi in france.rows("/poi"):
        row = pois.pop(poi["id"])
        assert (poi["name"], poi["radius"], poi["external_ref"]) == (row["name"], row["radius_m"], row["external_ref"])
        assert len(poi["name"]) <= 100
    assert not pois
    drivers = {row["driver_id"]: row for row in ROOM.truth(sandbox.context, "driver", None, "france")}
    for driver in france.rows("/drivers"):
        row = drivers.pop(driver["id"])
        assert (driver["name"], driver["badge"]) == (row["name"], row["badge_number"])
    assert not drivers


def test_vehicles_are_what_is_true(sandbox: Running, france: Caller) -> None:
    truth = {row["vehicle_id"]: row for row in ROOM.truth(sandbox.context, "vehicle", None, "france")}
    for vehicle in france.rows("/vehicles"):
        row = truth.pop(vehicle["id"])
        last = vehicle["last_position"]
        assert vehicle["odometer"] * 1000 == pytest.approx(row["odometer_m"], abs=1e-6)
        assert (vehicle["reg_plate"], vehicle["vin"], vehicle["id_sdf"]) == (
            *(row["registration_plate"], row["vin"], row["old_service_id"]),
        )
        assert (last["lat"], last["speed"], last["angle"]) == (
            *(row["last_latitude_deg"], row["last_speed_kmh"], row["last_heading_deg"]),
        )
        assert vehicle == france.json(f"/vehicles/{vehicle['id']}")
    assert not truth
