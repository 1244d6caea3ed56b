"""Traps 1-8, 12 and 13 of the vendor page, against a running server over real TLS."""

from __future__ import annotations

import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from fleetlake.sandbox.rcs.park import Park
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running

WEEK = {"from": "2026-11-13T00:00:00", "to": "2026-11-19T23:59:59"}


def error(response: requests.Response) -> tuple[str, str | None]:
    assert response.status_code == 400, (response.status_code, response.text)
    found = response.json()["error"]
    assert found["message"]
    return found["code"], found.get("source")


def first_vehicle(rcs: Any) -> str:
    return str(rcs.rows("/vehicles")[0]["id"])


def test_only_tls_1_3_is_spoken(rcs_sandbox: Any) -> None:
    host, port = rcs_sandbox.urls["rcs"].removeprefix("https://").split(":")
    for version, works in ((ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)):
        tls = ssl.create_default_context(cafile=str(rcs_sandbox.pki.ca))
        tls.minimum_version = tls.maximum_version = version
        with socket.create_connection((host, int(port)), timeout=5) as plain:
            if works:
                with tls.wrap_socket(plain, server_hostname="localhost") as wrapped:
                    assert wrapped.version() == "TLSv1.3"
            else:
                with pytest.raises(ssl.SSLError):
                    tls.wrap_socket(plain, server_hostname="localhost")


def test_without_certificate_only_the_root_answers(rcs_sandbox: Any, rcs_client: Any) -> None:
    anonymous = rcs_client(rcs_sandbox, None)
    assert anonymous.get("/").json() == {"name": "RCS", "versions": ["1.3"]}
    response = anonymous.get("/vehicles")
    assert (response.status_code, response.content) == (401, b"")
    assert anonymous.get("/nowhere").status_code == 401


def test_a_certificate_that_belongs_to_no_client_is_refused_even_at_the_root(rcs_sandbox: Any, rcs_client: Any) -> None:
    assert rcs_client(rcs_sandbox, "unregistered").get("/").status_code == 401


def test_a_certificate_of_a_strange_authority_breaks_the_handshake(rcs_sandbox: Any, rcs_client: Any) -> None:
    with pytest.raises(requests.exceptions.ConnectionError):
        rcs_client(rcs_sandbox, "stranger").get("/")


def test_parameters_need_a_certificate_and_a_version(rcs: Any) -> None:
    assert rcs.get("/parameters").json() == {"realtime_ttl": "00:05:00", "realtime_max_queues": 5}
    del rcs.session.headers["X-API-Version"]
    assert error(rcs.get("/parameters")) == ("VALUE_REQUIRED", "X-API-Version")
    assert rcs.get("/").status_code == 200


@pytest.mark.parametrize(
    ("version", "code"),
    [
        ("1.0", None),
        ("1.3", None),
        ("1.4", "UNSUPPORTED_VERSION"),
        ("2.0", "UNSUPPORTED_VERSION"),
        ("0.9", None),
        ("0.8", "UNSUPPORTED_VERSION"),
        ("1", "INVALID_FORMAT"),
        ("one.two", "INVALID_FORMAT"),
        ("", "VALUE_REQUIRED"),
    ],
)
def test_version_matrix(version: str, code: str | None, versioned: Any) -> None:
    for path in ("/parameters", "/"):
        response = versioned("GET", path, headers={"X-API-Version": version})
        if code is None:
            assert response.status_code == 200
        else:
            assert error(response) == (code, "X-API-Version")


@pytest.fixture(scope="module")
def versioned(tmp_path_factory: pytest.TempPathFactory, rcs_client: Any) -> Iterator[Any]:
    settings = SandboxSettings(
        state_dir=tmp_path_factory.mktemp("versions"),
        rooms=("rcs",),
        assumptions={"rcs.versions": "0.9, 1.3", "rcs.requests_per_second": 0},
    )
    with running(settings) as sandbox:
        yield rcs_client(sandbox)


def test_answers_may_hold_fields_of_a_newer_minor_version(rcs: Any) -> None:
    fields = {key for row in rcs.rows(f"/telemetry/history/{first_vehicle(rcs)}", take=1000) for key in row}
    assert {"lights_are_on", "eco"} <= fields


def test_only_json_is_accepted_and_given(rcs: Any) -> None:
    for accept, status in (
        ("text/html", 406),
        ("application/json;q=0", 406),
        ("text/html, application/json;q=0.5", 200),
        ("application/*", 200),
    ):
        response = rcs("GET", "/parameters", headers={"Accept": accept})
        assert (accept, response.status_code) == (accept, status)
        assert status == 200 or response.content == b""
    path = "/vehicle-health/reports"
    xml = rcs("POST", path, params=WEEK, data="<a/>", headers={"Content-Type": "application/xml"})
    assert (xml.status_code, xml.content) == (415, b"")
    for headers in ({"Content-Type": "application/json; charset=utf-8"}, {"Content-Type": None}):
        assert rcs("POST", path, params=WEEK, data="{}", headers=headers).status_code == 202


def test_errors_other_than_400_have_no_body(rcs: Any) -> None:
    large = rcs("POST", "/vehicle-health/reports", params=WEEK, data=b" " * 70_000)
    answers = {
        404: rcs.get("/nowhere"),
        405: rcs("POST", "/vehicles"),
        406: rcs("GET", "/vehicles", headers={"Accept": "text/csv"}),
        413: large,
    }
    for status, answer in answers.items():
        assert (answer.status_code, answer.content) == (status, b"")
    assert rcs.get("/vehicles/").status_code == 404, "no redirect to the path without slash"


def test_wrong_values_are_named_with_code_and_field(rcs: Any) -> None:
    path = f"/telemetry/history/{first_vehicle(rcs)}"
    for query, expected in (
        ({"take": "0"}, ("INVALID_FORMAT", "take")),
        ({"take": "-5"}, ("INVALID_FORMAT", "take")),
        ({"take": "ten"}, ("INVALID_FORMAT", "take")),
        ({"take": "1001"}, ("OUT_OF_RANGE", "take")),
        ({"take": ""}, ("VALUE_REQUIRED", "take")),
        ({"from": "2026-11-13"}, ("INVALID_FORMAT", "from")),
        ({"from": "2026-11-13T00:00:00Z"}, ("INVALID_FORMAT", "from")),
        ({"from": "2026-11-13T00:00:00+00:00"}, ("INVALID_FORMAT", "from")),
        ({"to": "2026-13-01T00:00:00"}, ("INVALID_FORMAT", "to")),
        ({"to": ""}, ("VALUE_REQUIRED", "to")),
        ({"from": "2026-11-14T00:00:00", "to": "2026-11-13T00:00:00"}, ("OUT_OF_RANGE", "to")),
        ({"min_revision": ""}, ("INVALID_LENGTH", "min_revision")),
    ):
        assert error(rcs("GET", path, params=query)) == expected, query


def test_vehicles_of_others_do_not_exist_and_those_without_rights_are_forbidden(rcs: Any, rcs_client: Any) -> None:
    park = Park(rcs.sandbox.context)
    mine = {car.id for car in park.readable("main")}
    listed = {row["id"] for row in rcs.rows("/vehicles")}
    assert listed == mine
    assert len(mine) == 6
    foreign = next(park.readable("other")).id
    closed = next(car.id for car in park.bound("main") if not car.readable)
    for path in ("/vehicles/{}", "/telemetry/history/{}"):
        for vehicle, status in ((foreign, 404), (str(uuid.uuid4()), 404), (closed, 403)):
            answer = rcs.get(path.format(vehicle))
            assert (answer.status_code, answer.content) == (status, b"")
        assert error(rcs.get(path.format("17"))) == ("INVALID_FORMAT", "vehicleId")
    other = rcs_client(rcs.sandbox, "client_other")
    assert foreign in {row["id"] for row in other.rows("/vehicles")}
    assert other.get(f"/vehicles/{next(iter(mine))}").status_code == 404


def test_a_forbidden_vehicle_may_be_masked_or_listed(start: Callable[..., Any], rcs_client: Any) -> None:
    rcs = rcs_client(start(**{"rcs.mask_forbidden": True, "rcs.rightless_listed": True}))
    closed = next(car.id for car in Park(rcs.sandbox.context).bound("main") if not car.readable)
    assert rcs.get(f"/vehicles/{closed}").status_code == 404
    assert closed in {row["id"] for row in rcs.rows("/vehicles")}


def test_ids_are_understood_in_any_case(rcs: Any) -> None:
    vehicle = first_vehicle(rcs)
    assert rcs.get(f"/vehicles/{vehicle.upper()}").json() == rcs.get(f"/vehicles/{vehicle}").json()


def test_retired_operations_answer_404_or_what_is_configured(start: Callable[..., Any], rcs_client: Any) -> None:
    rcs = rcs_client(start(**{"rcs.retired_since_2021_07_01": True, "rcs.retired_status": 410}))
    for method, path in (
        ("GET", "/vehicles"),
        ("GET", f"/telemetry/history/{uuid.uuid4()}"),
        ("POST", "/vehicle-health/reports"),
    ):
        answer = rcs(method, path)
        assert (answer.status_code, answer.content) == (410, b"")
    assert rcs.get("/parameters").status_code == 200
    assert rcs.get("/").status_code == 200


def test_five_requests_a_second_for_each_certificate(start: Callable[..., Any], rcs_client: Any) -> None:
    sandbox = start(**{"rcs.requests_per_second": 5})
    rcs = rcs_client(sandbox)
    answers = [rcs.get("/parameters") for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert answers[-1].content == b""
    assert "Retry-After" not in answers[-1].headers
    assert rcs_client(sandbox, "client_other").get("/parameters").status_code == 200
    deadline = time.monotonic() + 5
    while rcs.get("/parameters").status_code == 429:
        assert time.monotonic() < deadline


def test_a_base_path_precedes_every_path_but_not_the_location(start: Callable[..., Any], rcs_client: Any) -> None:
    rcs = rcs_client(start(**{"rcs.base_path": "/third-party/v1"}))
    assert rcs.get("/vehicles").status_code == 404
    assert rcs.get("/third-party/v1/").status_code == 200
    answer = rcs("POST", "/third-party/v1/vehicle-health/reports", params=WEEK)
    assert answer.headers["Location"].startswith("/vehicle-health/reports/")
    assert rcs.get("/third-party/v1" + answer.headers["Location"]).status_code == 200


def test_the_last_state_is_the_record_received_last(rcs: Any) -> None:
    for vehicle in rcs.rows("/vehicles")[:4]:
        records = rcs.rows(f"/telemetry/history/{vehicle['id']}", from_="2026-11-19T00:00:00", take=1000)
        assert vehicle["last_state"] == max(records, key=lambda row: row["revision"])
        assert rcs.get(f"/vehicles/{vehicle['id']}").json() == vehicle
