"""Each fault, as a client sees it, and the request log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from fleetlake.errors import ConfigError
from fleetlake.sandbox.faults import KINDS, Fault, FaultBoard
from fleetlake.sandbox.request_log import without_secrets

QUERY = {"from_": "2026-11-16T00:00:00", "to": "2026-11-16T23:59:59", "take": 50}


@pytest.fixture
def path(rcs: Any) -> str:
    return f"/telemetry/history/{rcs.rows('/vehicles')[0]['id']}"


def test_drop_closes_the_connection_without_executing(rcs: Any) -> None:
    rcs.sandbox.clear_log()
    with rcs.sandbox.faults("drop:path=/parameters,count=1"):
        with pytest.raises(requests.exceptions.ConnectionError):
            rcs.get("/parameters")
        assert rcs.get("/parameters").status_code == 200
    assert [entry["status"] for entry in rcs.sandbox.log()] == [0, 200]
    assert rcs.sandbox.log()[0]["faults"] == ["drop"]


def test_drop_answer_closes_the_connection_after_executing(rcs: Any) -> None:
    with rcs.sandbox.faults("drop_answer:count=1"), pytest.raises(requests.exceptions.ConnectionError):
        rcs("POST", "/vehicle-health/reports", params={"from": "2026-11-16T00:00:00", "to": "2026-11-16T23:59:59"})


def test_drop_body_breaks_off_in_the_middle(rcs: Any, path: str) -> None:
    whole = rcs.get(path, **QUERY)
    with rcs.sandbox.faults("drop_body"):
        with pytest.raises(requests.exceptions.RequestException):
            rcs.get(path, **QUERY)
        response = rcs("GET", path, params={"from": QUERY["from_"], "to": QUERY["to"], "take": 50}, stream=True)
        assert int(response.headers["Content-Length"]) == len(whole.content)
        got = response.raw.read(len(whole.content) // 2)
        assert whole.content.startswith(got)
        response.close()


def test_statuses_come_with_or_without_retry_after(rcs: Any) -> None:
    with rcs.sandbox.faults("429:count=1", "429:skip=1,count=1,retry_after=7", "503:skip=2,count=1"):
        first, second, third = (rcs.get("/parameters") for _ in range(3))
    assert (first.status_code, first.content, "Retry-After" in first.headers) == (429, b"", False)
    assert (second.status_code, second.headers["Retry-After"]) == (429, "7")
    assert third.status_code == 503


def test_slow_waits(rcs: Any) -> None:
    begun = time.monotonic()
    with rcs.sandbox.faults("slow:seconds=0.3"):
        assert rcs.get("/parameters").status_code == 200
    assert time.monotonic() - begun >= 0.3


def test_pages_are_short_empty_reordered_or_repeated(rcs: Any, path: str) -> None:
    whole = rcs.rows(path, **QUERY)
    for kind, expected in (
        ("short_page", whole[:25]),
        ("empty_page", []),
        ("reordered_page", whole[::-1]),
    ):
        with rcs.sandbox.faults(kind):
            assert rcs.rows(path, **QUERY) == expected
    with rcs.sandbox.faults("repeated_page:skip=1,count=1"):
        assert rcs.rows(path, **QUERY) == whole
        after = {**QUERY, "min_revision": whole[-1]["revision"]}
        assert rcs.rows(path, **after) == whole
        assert rcs.rows(path, **after)[1:] != whole[1:]


def test_one_row_in_a_hundred_is_odd_and_always_the_same(rcs: Any, path: str) -> None:
    query = {**QUERY, "take": 1000}
    whole = rcs.rows(path, **query)
    with rcs.sandbox.faults("odd_rows"):
        odd, again = (rcs.rows(path, **query) for _ in range(2))
    changed = [new for old, new in zip(whole, odd, strict=True) if old != new]
    assert len(whole) / 300 < len(changed) < len(whole) / 30
    assert all("unknown" in row.values() for row in changed)
    assert odd == again


def test_page_faults_keep_the_envelope(start: Callable[..., Any], rcs_client: Any) -> None:
    rcs = rcs_client(start(**{"rcs.envelope": "items"}))
    vehicle = rcs.rows("/vehicles")[0]["id"]
    with rcs.sandbox.faults("empty_page"):
        assert rcs.get(f"/telemetry/history/{vehicle}").json() == {"items": []}


def test_a_truncated_body_is_a_whole_answer_that_is_no_json(rcs: Any, path: str) -> None:
    with rcs.sandbox.faults("truncated_body"):
        response = rcs.get(path, **QUERY)
    assert response.status_code == 200
    assert int(response.headers["Content-Length"]) == len(response.content)
    with pytest.raises(ValueError, match=r"\w"):
        json.loads(response.content)


def test_error_body_and_proxy_page(rcs: Any) -> None:
    with rcs.sandbox.faults("error_body:count=1", "html_page:skip=1,count=1", "html_page:skip=2,status=200"):
        error, bad_gateway, fine = (rcs.get("/vehicles") for _ in range(3))
    assert (error.status_code, list(error.json())) == (200, ["error"])
    assert (bad_gateway.status_code, bad_gateway.headers["Content-Type"]) == (502, "text/html")
    assert (fine.status_code, b"<html>" in fine.content) == (200, True)


def test_faults_pick_vendor_path_method_and_customer(rcs: Any, rcs_client: Any) -> None:
    other = rcs_client(rcs.sandbox, "client_other")
    with rcs.sandbox.faults("500:vendor=rcs,method=GET,path=/vehicles*,customer=other"):
        assert other.get("/vehicles").status_code == 500
        assert other.get("/parameters").status_code == 200
        assert rcs.get("/vehicles").status_code == 200
    with rcs.sandbox.faults("500:vendor=powunity"):
        assert rcs.get("/vehicles").status_code == 200


def test_probability_is_drawn_from_the_seed() -> None:
    def played() -> list[bool]:
        board = FaultBoard(7, [Fault.parse("drop:probability=0.3")])
        return [bool(board.draw("rcs", "GET", "/", "main")) for _ in range(200)]

    assert played() == played()
    assert 30 < sum(played()) < 90


def test_wrong_faults_say_what_is_wrong() -> None:
    for text, message in (
        ("dorp", "did you mean 'drop'"),
        ("drop:cont=1", "did you mean 'count'"),
        ("drop:count=many", "give a number"),
        ("", "unknown fault"),
    ):
        with pytest.raises(ConfigError, match=message):
            Fault.parse(text)
    assert {Fault.parse(kind).kind for kind in KINDS} == set(KINDS)
    assert Fault.parse("429").status == 429


def test_the_log_names_who_asked_what_and_how_it_ended(rcs: Any, rcs_client: Any) -> None:
    rcs.sandbox.clear_log()
    rcs.get("/parameters")
    rcs_client(rcs.sandbox, None).get("/parameters")
    first, second = rcs.sandbox.log("rcs")
    assert (first["customer"], first["method"], first["path"], first["status"]) == ("main", "GET", "/parameters", 200)
    assert (second["customer"], second["status"]) == (None, 401)
    assert rcs.sandbox.log("rcs", "main") == [first]
    assert rcs.sandbox.stats()["rcs"]["main"]["requests"] == 1


def test_max_in_flight_counts_requests_at_the_same_time(rcs: Any, rcs_client: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    rcs.sandbox.clear_log()
    clients = [rcs_client(rcs.sandbox) for _ in range(4)]
    with rcs.sandbox.faults("slow:seconds=0.4"), ThreadPoolExecutor(4) as pool:
        assert [answer.status_code for answer in pool.map(lambda client: client.get("/parameters"), clients)] == [200] * 4
    stats = rcs.sandbox.stats()["rcs"]["main"]
    assert (stats["max_in_flight"], stats["in_flight"]) == (4, 0)


def test_secrets_in_queries_are_not_logged() -> None:
    assert without_secrets("token=abc&from=2026") == "token=%2A%2A%2A&from=2026"
    assert without_secrets("from=2026-11-16T00:00:00") == "from=2026-11-16T00:00:00"
