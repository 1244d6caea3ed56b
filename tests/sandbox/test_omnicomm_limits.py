"""Tokens that end, the three limits, and what can be broken on demand (sections 1.2, 1.3 and 5 of the vendor page)."""

from __future__ import annotations

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
from fleetlake.sandbox.testing import Running, running

AS_OF = dt.datetime(2026, 11, 20, 12, 0, 0, tzinfo=dt.UTC)
START = int(dt.datetime(2026, 11, 17, tzinfo=dt.UTC).timestamp())
DAY = {"timeBegin": START, "timeEnd": START + 86_400}
V1 = "/ls/api/v1"
TREE = "/ls/api/v2/tree/vehicle"
FIRST = 202_000_001

Start = Callable[..., "Place"]


class Place:
    """A sandbox with few trucks, and a session without connection reuse surprises."""

    def __init__(self, sandbox: Running) -> None:
        self.sandbox = sandbox
        self.url = sandbox.urls["omnicomm"]

    def login(self, customer: str = "trucks", **changes: str) -> requests.Response:
        body = {**self.sandbox.customers["omnicomm"][customer], **changes}
        return requests.post(f"{self.url}/auth/login?jwt=1", json=body, timeout=10)

    def tokens(self, customer: str = "trucks") -> dict[str, str]:
        response = self.login(customer)
        assert response.status_code == 200, response.text
        return response.json()

    def get(self, path: str, token: str | None = None, **query: Any) -> requests.Response:
        headers = {"Authorization": f"JWT {token}"} if token else {}
        return requests.get(self.url + path, params=query, headers=headers, timeout=10)

    def refresh(self, token: str) -> requests.Response:
        return requests.post(f"{self.url}/auth/refresh", headers={"Authorization": f"JWT {token}"}, timeout=10)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(**assumptions: Any) -> Place:
            named = {f"omnicomm.{key}": value for key, value in assumptions.items()}
            settings = SandboxSettings(state_dir=tmp_path, trucks=3, as_of=AS_OF, rooms=("omnicomm",), assumptions=named)
            return Place(stack.enter_context(running(settings)))

        yield begin


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happens"
        time.sleep(0.05)


# --- tokens -------------------------------------------------------------------------------------------------------------


def test_access_token_ends_in_real_time_although_the_clock_stands_still(start: Start) -> None:
    place = start(token_life_s=2)
    tokens = place.tokens()
    assert place.get(TREE, tokens["jwt"]).status_code == 200
    wait_for(lambda: place.get(TREE, tokens["jwt"]).status_code == 401)
    again = place.refresh(tokens["refresh"]).json()
    assert place.get(TREE, again["jwt"]).status_code == 200


def test_token_ends_when_the_clock_is_moved_past_its_end(start: Start) -> None:
    place = start()
    tokens = place.tokens()
    place.sandbox.context.clock.set(AS_OF + dt.timedelta(minutes=59))
    assert place.get(TREE, tokens["jwt"]).status_code == 200
    place.sandbox.context.clock.set(AS_OF + dt.timedelta(minutes=61))
    assert place.get(TREE, tokens["jwt"]).status_code == 401
    assert place.refresh(tokens["refresh"]).status_code == 200
    place.sandbox.context.clock.set(AS_OF + dt.timedelta(days=31))
    assert place.refresh(tokens["refresh"]).status_code == 401


def test_fault_expired_ends_a_token_in_mid_run_and_refresh_gives_a_good_one(start: Start) -> None:
    place = start()
    tokens = place.tokens()
    with place.sandbox.faults("expired:vendor=omnicomm,path=*/track/*,count=1"):
        assert place.get(f"{V1}/reports/track/{FIRST}", tokens["jwt"], **DAY).status_code == 401
        assert place.get(TREE, tokens["jwt"]).status_code == 401, "it is gone for good"
        again = place.refresh(tokens["refresh"]).json()
        assert place.get(f"{V1}/reports/track/{FIRST}", again["jwt"], **DAY).status_code == 200


def test_fault_expired_on_refresh_leaves_only_the_login(start: Start) -> None:
    place = start()
    tokens = place.tokens()
    with place.sandbox.faults("expired:path=/auth/refresh"):
        assert place.refresh(tokens["refresh"]).status_code == 401
    assert place.refresh(tokens["refresh"]).status_code == 401
    assert place.login().status_code == 200


# --- limits -------------------------------------------------------------------------------------------------------------


def test_calls_beyond_the_limit_block_the_user_in_all_its_sessions_and_nobody_else(start: Start) -> None:
    place = start(calls_per_minute=5, block_s=1.0)
    tokens, colleague, other = place.tokens(), place.tokens(), place.tokens("other")
    statuses = [place.get(TREE, (tokens if number % 2 else colleague)["jwt"]).status_code for number in range(6)]
    assert statuses == [200] * 5 + [429]
    blocked = place.get(TREE, colleague["jwt"])
    assert (blocked.status_code, blocked.content) == (429, b"")
    assert "retry-after" not in blocked.headers
    assert place.get(TREE, other["jwt"]).status_code == 200


def test_a_block_ends(start: Start) -> None:
    place = start(failed_logins_per_minute=1, block_s=0.5)
    place.login(password="wrong")
    assert place.login(password="wrong").status_code == 429
    assert place.login().status_code == 429
    wait_for(lambda: place.login().status_code == 200)


def test_failed_logins_beyond_the_limit_block_the_address_for_everybody(start: Start) -> None:
    place = start()
    other = place.tokens("other")
    assert [place.login(password="wrong").status_code for _ in range(11)] == [401] * 10 + [429]
    assert place.login().status_code == 429, "even the right password"
    assert place.get(TREE, other["jwt"]).status_code == 429, "all requests of the address"


def test_unauthorised_calls_beyond_the_limit_block_the_address(start: Start) -> None:
    place = start(unauthorised_per_minute=4)
    assert [place.get(TREE).status_code for _ in range(5)] == [401] * 4 + [429]


def test_status_of_a_block_is_an_assumption(start: Start) -> None:
    place = start(calls_per_minute=1, block_status=403)
    token = place.tokens()["jwt"]
    assert [place.get(TREE, token).status_code for _ in range(2)] == [200, 403]


# --- faults -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1, 3, 4, 10, 11])
def test_http_200_with_any_body_code_can_be_played(start: Start, code: int) -> None:
    place = start(failure_code=code)
    token = place.tokens()["jwt"]
    with place.sandbox.faults("task_failed:path=*/reports/*"):
        track = place.get(f"{V1}/reports/track/{FIRST}", token, **DAY)
        events = place.get(f"{V1}/reports/events/{FIRST}", token, **DAY)
    assert (track.status_code, track.json()["code"]) == (200, code)
    assert (events.status_code, events.json()["status"]["code"]) == (200, code)
    assert "track" in place.get(f"{V1}/reports/track/{FIRST}", token, **DAY).json()


def test_generic_faults_fit_the_room(start: Start) -> None:
    place = start()
    token = place.tokens()["jwt"]
    with place.sandbox.faults(f"status:path={V1}/vehicles/{FIRST}/state,status=403"):
        assert place.get(f"{V1}/vehicles/{FIRST}/state", token).status_code == 403
        assert place.get(f"{V1}/vehicles/{FIRST + 1}/state", token).status_code == 200
    with place.sandbox.faults("error_body:path=*/tree/*"):
        assert place.get(TREE, token).json()["code"] == 1
    with place.sandbox.faults("slow:path=*/tree/*,seconds=0.3"):
        before = time.monotonic()
        assert place.get(TREE, token).status_code == 200
        assert time.monotonic() - before >= 0.3
    with place.sandbox.faults("drop:path=*/tree/*"), pytest.raises(requests.ConnectionError):
        place.get(TREE, token)
    with place.sandbox.faults("429:customer=trucks,count=1"):
        assert place.get(TREE, token).status_code == 429


def test_truncated_inner_json_can_be_played(start: Start) -> None:
    place = start(truncate_json=True)
    headers = {"Authorization": f"JWT {place.tokens()['jwt']}"}
    body = {"vehicleId": FIRST, "dateFrom": START * 1000, "dateTo": (START + 86_400) * 1000}
    rows = requests.post(f"{place.url}{V1}/click/log/additional", json=body, headers=headers, timeout=10).json()["exCanData"]
    cut = 0
    for row in rows:
        try:
            json.loads(row["jsonData"])
        except ValueError:
            cut += 1
    assert 0 < cut < len(rows)


def test_unverified_endpoints_are_served_only_when_asked_for(start: Start) -> None:
    place = start(unverified=True)
    token = place.tokens()["jwt"]
    assert len(place.get(f"{V1}/drivers", token).json()) == 3
    assert place.get(f"{V1}/users", token).json()[0]["login"] == "trucks.reader"
    assert place.get("/service/ovms/api/profiles", token).json()[0]["terminalId"] == FIRST


def test_no_credential_reaches_the_request_log(start: Start) -> None:
    place = start()
    tokens = place.tokens()
    place.get(TREE, tokens["jwt"])
    place.refresh(tokens["refresh"])
    text = json.dumps(place.sandbox.log("omnicomm"))
    for secret in (*tokens.values(), place.sandbox.customers["omnicomm"]["trucks"]["password"]):
        assert secret not in text
    customers = [entry["customer"] for entry in place.sandbox.log("omnicomm")]
    assert customers == [None, "trucks", "trucks"]
