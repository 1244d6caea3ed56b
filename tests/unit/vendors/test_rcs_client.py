from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fleetlake.errors import (
    AccessDenied,
    ConfigError,
    CredentialsRejected,
    FleetlakeError,
    MalformedAnswer,
    RateLimited,
    ScopeUnavailable,
    UnsupportedVersion,
    VendorUnavailable,
)
from fleetlake.http.rate_gate import LocalGate
from fleetlake.reading import JobState, JobStatus
from fleetlake.sandbox.rooms import room
from fleetlake.sandbox.testing import Running
from fleetlake.vendors.rcs.client import RcsClient, supports
from fleetlake.vendors.rcs.config import RcsConfig
from fleetlake.window import utc

from tests.unit.http.conftest import Server, listening, reply

Open = Callable[..., RcsClient]
Logged = Callable[..., list[dict[str, Any]]]
START, LAST = utc("2026-11-01"), utc("2026-11-07T23:59:59Z")


@pytest.fixture
def car(rcs: Open) -> str:
    return str(json.loads(rcs().vehicles().body)[0]["id"])


def _wait(client: RcsClient, token: str) -> JobStatus:
    deadline = time.monotonic() + 10
    while not (status := client.poll_overview(token)).state.is_terminal and time.monotonic() < deadline:
        time.sleep(0.05)
    return status


def test_root_and_parameters(rcs: Open, sandbox: Running, logged: Logged) -> None:
    client = rcs()
    assert client.root().versions == ["1.3"]
    assert client.parameters()["realtime_max_queues"] == 5
    assert logged(sandbox, 1, path="/")
    assert logged(sandbox, 1, path="/parameters")


def test_root_is_anonymous_everything_else_is_not(rcs: Open) -> None:
    client = rcs(cert=None, key=None)
    assert client.root().name == "RCS"
    with pytest.raises(CredentialsRejected, match=r"HTTP 401.*set cert and key"):
        client.vehicles()


def test_a_certificate_of_nobody_is_told(rcs: Open, sandbox: Running) -> None:
    pair = sandbox.pki.pair("unregistered")
    with pytest.raises(CredentialsRejected, match=r"HTTP 401.*cert and key"):
        rcs(cert=str(pair.cert), key=str(pair.key)).parameters()


def test_a_certificate_of_a_strange_authority_is_told(rcs: Open, sandbox: Running) -> None:
    # The server hangs up, with or without a TLS alert: without one only the remedy can name the certificate.
    pair = sandbox.pki.pair("stranger")
    with pytest.raises((CredentialsRejected, VendorUnavailable), match="cert and key"):
        rcs(cert=str(pair.cert), key=str(pair.key), max_attempts=2).check()


def test_an_untrusted_server_is_told(rcs: Open) -> None:
    with pytest.raises(ConfigError, match=r"certificate is not trusted.*set ca"):
        rcs(ca=None).root()


@pytest.mark.parametrize(
    ("listed", "wanted", "expected"),
    [
        (["1.3"], "1.3", True),
        (["1.3"], "1.0", True),
        (["1.3"], "1.4", False),
        (["1.3"], "2.0", False),
        (["3.1"], "2.0", False),
        (["0.5", "1.3"], "0.5", True),
        (["0.5"], "0.4", False),
        (["2.0", "1.10"], "1.9", True),
        ([], "1.0", False),
        (["rubbish"], "1.0", False),
    ],
)
def test_the_version_matrix(listed: list[str], wanted: str, expected: bool) -> None:
    assert supports(listed, wanted) is expected


@pytest.mark.parametrize("version", ["2.0", "1.4", "0.9"])
def test_an_unsupported_version_is_refused_by_the_server_and_told_by_the_check(version: str, rcs: Open) -> None:
    client = rcs(api_version=version)
    with pytest.raises(UnsupportedVersion, match=r"UNSUPPORTED_VERSION.*X-API-Version.*set api_version"):
        client.vehicles()
    with pytest.raises(UnsupportedVersion, match=rf"supports 1\.3, not {version}"):
        client.check()


def test_an_older_minor_is_fine_and_newer_fields_are_ignored(rcs: Open) -> None:
    assert json.loads(rcs(api_version="1.0").vehicles().body)


def test_a_missing_version_header_is_told(rcs: Open) -> None:
    client = rcs()
    client._session._http.headers.pop("X-API-Version")
    with pytest.raises(UnsupportedVersion, match="VALUE_REQUIRED"):
        client.vehicles()


def test_one_unbound_vehicle_is_skippable(rcs: Open) -> None:
    with pytest.raises(ScopeUnavailable, match=r"vehicle 0+-0000-4000-8000-0+9 is not bound.*HTTP 404"):
        rcs().telemetry("00000000-0000-4000-8000-000000000009")
    with pytest.raises(ScopeUnavailable, match="HTTP 404"):
        rcs().health_reports("00000000-0000-4000-8000-000000000009", START, LAST)
    with pytest.raises(ScopeUnavailable, match="HTTP 404"):
        rcs().vehicle("00000000-0000-4000-8000-000000000009")


@pytest.mark.parametrize("masked", ["false", "true"])
def test_one_vehicle_without_rights_is_skippable(masked: str, rcs: Open, start_sandbox: Callable[..., Running]) -> None:
    place = start_sandbox({"rcs.rightless_listed": "true", "rcs.mask_forbidden": masked})
    client = rcs(place)
    listed = [vehicle["id"] for vehicle in json.loads(client.vehicles().body)]
    outcomes: list[int] = []
    for vehicle in listed:
        try:
            outcomes.append(client.vehicle(vehicle).status)
        except ScopeUnavailable as error:
            outcomes.append(403 if "HTTP 403" in str(error) else 404)
    assert sorted(outcomes) == [200] * 5 + [404 if masked == "true" else 403]


def test_ids_are_one_path_segment_whatever_they_hold(rcs: Open, sandbox: Running, logged: Logged) -> None:
    with pytest.raises(FleetlakeError) as caught:
        rcs().vehicle("../parameters?x=1#y")
    assert caught.value.where == "GET /vehicles/..%2Fparameters%3Fx%3D1%23y"
    assert logged(sandbox, 1, path="/vehicles/*")


@pytest.mark.parametrize("status", [404, 410, 403])
def test_retired_operations_are_told_as_such(status: int, rcs: Open, start_sandbox: Callable[..., Running]) -> None:
    place = start_sandbox({"rcs.retired_since_2021_07_01": "true", "rcs.retired_status": str(status)})
    client = rcs(place)
    expected = ConfigError if status == 404 else AccessDenied
    with pytest.raises(expected, match=f"HTTP {status}"):
        client.vehicles()
    assert "accepted" in client.check()


def test_a_wrong_base_path_is_told(rcs: Open, sandbox: Running) -> None:
    client = rcs(base_url=sandbox.urls["rcs"] + "/v9")
    with pytest.raises(ConfigError, match="check the path of base_url"):
        client.vehicles()


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"take": -5}, "INVALID_FORMAT"),
        ({"take": 5000}, "OUT_OF_RANGE"),
        ({"start": utc("2026-11-05"), "end": utc("2026-11-01")}, r"OUT_OF_RANGE.*\(to\)"),
    ],
)
def test_a_refused_parameter_is_named(query: dict[str, Any], text: str, rcs: Open, car: str) -> None:
    with pytest.raises(ConfigError, match=text):
        rcs().telemetry(car, **query)


def test_a_malformed_id_is_the_callers_mistake(rcs: Open) -> None:
    with pytest.raises(ConfigError, match=r"INVALID_FORMAT.*vehicleId"):
        rcs().vehicle("no-guid")


def test_an_overview_runs_from_submit_to_report(rcs: Open, sandbox: Running, logged: Logged) -> None:
    client = rcs()
    token = client.submit_overview(START, LAST)
    first = client.poll_overview(token)
    assert first.state is JobState.RUNNING
    done = _wait(client, token)
    assert done.state is JobState.SUCCEEDED
    assert done.page is not None
    vehicles = json.loads(done.page.body)["report"]["vehicles"]
    assert done.page.rows == len(vehicles) > 0
    assert done.page.is_last
    assert done.page.request == f"GET /vehicle-health/reports/{token}"
    posts = logged(sandbox, 1, method="POST")
    assert [entry["query"] for entry in posts] == ["from=2026-11-01T00%3A00%3A00&to=2026-11-07T23%3A59%3A59"]


def test_the_token_survives_a_path_prefix(rcs: Open, start_sandbox: Callable[..., Running]) -> None:
    place = start_sandbox({"rcs.base_path": "/third-party/v1"})
    url = place.urls["rcs"]
    url = url if url.endswith("/third-party/v1") else url + "/third-party/v1"
    client = rcs(place, base_url=url)
    assert client.root().versions == ["1.3"]
    assert _wait(client, client.submit_overview(START, LAST)).state is JobState.SUCCEEDED


def test_an_unknown_or_expired_token_is_lost(rcs: Open, sandbox: Running) -> None:
    client = rcs()
    assert client.poll_overview("nonsense").state is JobState.LOST
    token = client.submit_overview(START, LAST)
    with sandbox.faults("expired:vendor=rcs"):
        status = client.poll_overview(token)
    assert status.state is JobState.LOST
    assert "does not know" in status.message


def test_a_failed_task_tells_the_vendors_words(rcs: Open, sandbox: Running) -> None:
    client = rcs()
    with sandbox.faults("task_failed:vendor=rcs"):
        status = _wait(client, client.submit_overview(START, LAST))
    assert status == JobStatus(JobState.FAILED, "INTERNAL the report could not be built")


@pytest.fixture
def vendor(sandbox: Running) -> Iterator[Server]:
    """A server with the sandbox's certificate that answers what it is told to."""
    with listening(room("rcs").tls(sandbox.pki)) as server:
        yield server


def test_a_task_in_a_state_nobody_knows_is_still_running(rcs: Open, vendor: Server) -> None:
    task = {"token": "t-1", "created_at": "2026-03-01T08:00:00", "error": None}
    states = ["QUEUED", "on hold", "", "succeeded"]
    vendor.will(
        *(
            reply(body=json.dumps({"task": {**task, "status": state}, "report": {"vehicles": []}}).encode())
            for state in states
        )
    )
    client = rcs(base_url=vendor.url)
    assert [client.poll_overview("t-1").state for _ in states] == [*[JobState.RUNNING] * 3, JobState.SUCCEEDED]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, CredentialsRejected),
        (403, ScopeUnavailable),
        (404, ScopeUnavailable),
        (405, ConfigError),
        (406, ConfigError),
        (413, ConfigError),
        (415, ConfigError),
    ],
)
def test_a_refusal_without_a_body_is_understood_and_not_repeated(
    status: int, error: type[FleetlakeError], rcs: Open, vendor: Server
) -> None:
    vendor.will(reply(status, b""))
    with pytest.raises(error, match=f"HTTP {status}"):
        rcs(base_url=vendor.url).telemetry("00000000-0000-4000-8000-000000000009")
    assert len(vendor.asked) == 1


def test_a_vehicle_refused_by_a_code_is_skippable_like_one_that_is_not_found(rcs: Open, vendor: Server) -> None:
    error = {"code": "ILLEGAL_VEHICLE_ID", "message": "not yours", "source": "device_ids"}
    vendor.will(reply(400, json.dumps({"error": error}).encode()))
    with pytest.raises(ScopeUnavailable, match=r"ILLEGAL_VEHICLE_ID not yours \(device_ids\).*bind the vehicle"):
        rcs(base_url=vendor.url).vehicles()


@pytest.mark.parametrize("fault", ["500", "drop", "drop_answer", "slow:seconds=1", "html_page", "429"])
def test_one_post_is_sent_whatever_its_outcome(fault: str, rcs: Open, sandbox: Running, logged: Logged) -> None:
    client = rcs(timeout_s=0.5)
    with sandbox.faults(fault), pytest.raises((VendorUnavailable, RateLimited)):
        client.submit_overview(START, LAST)
    posts = logged(sandbox, 1, method="POST")
    assert len(posts) == 1


def test_a_window_of_eight_days_is_refused_by_the_server(rcs: Open, car: str) -> None:
    with pytest.raises(ConfigError, match=r"OUT_OF_RANGE.*\(to\)"):
        rcs().health_reports(car, START, LAST + dt.timedelta(days=1))
    assert json.loads(rcs().health_reports(car, START, LAST).body) is not None


def test_the_severity_filter_is_a_setting(rcs: Open, sandbox: Running, car: str, logged: Logged) -> None:
    rcs(severity="DTC_IS_PRESENT").health_reports(car, START, LAST)
    assert logged(sandbox, 1, query="*severity=DTC_IS_PRESENT")
    with pytest.raises(ConfigError, match=r"INVALID_FORMAT.*severity"):
        rcs(severity="LOUD").health_reports(car, START, LAST)


@pytest.mark.parametrize(
    "fault",
    [
        "429:count=1,retry_after=0",
        "500:count=1",
        "503:count=1",
        "drop:count=1",
        "drop_answer:count=1",
        "drop_body:count=1",
        "html_page:count=1",
        "html_page:count=1,status=200",
    ],
)
def test_a_passing_fault_is_survived(fault: str, rcs: Open, sandbox: Running) -> None:
    client = rcs()
    whole = client.vehicles().body
    with sandbox.faults(fault):
        assert client.vehicles().body == whole


@pytest.mark.parametrize("fault", ["429", "500", "drop", "drop_body", "html_page:status=403", "slow:seconds=1"])
def test_a_lasting_fault_is_retriable(fault: str, rcs: Open, sandbox: Running) -> None:
    with sandbox.faults(fault), pytest.raises((VendorUnavailable, RateLimited)):
        rcs(max_attempts=2, timeout_s=0.3).vehicles()


def test_the_vendors_limit_is_kept_by_our_gate(rcs: Open, start_sandbox: Callable[..., Running], logged: Logged) -> None:
    place = start_sandbox({"rcs.requests_per_second": "5"})
    client = rcs(place, gate=LocalGate(4))
    for _ in range(9):
        client.parameters()
    assert [entry["status"] for entry in logged(place, 9)] == [200] * 9


def test_without_a_gate_429_slows_us_down_but_loses_nothing(
    rcs: Open, start_sandbox: Callable[..., Running], logged: Logged
) -> None:
    place = start_sandbox({"rcs.requests_per_second": "5", "rcs.rate_limit_by": "ip"})
    client = rcs(place)
    for _ in range(8):
        client.parameters()
    statuses = [entry["status"] for entry in logged(place, 8, path="/parameters")]
    assert 429 in statuses


def test_check_says_what_works(rcs: Open) -> None:
    assert rcs().check() == "RCS answers in version 1.3; the client certificate is accepted"


def test_check_says_what_is_wrong(rcs: Open, sandbox: Running, powunity: Any) -> None:
    with pytest.raises(CredentialsRejected, match="no client certificate is set"):
        rcs(cert=None, key=None).check()
    with pytest.raises(VendorUnavailable, match="connection refused"):
        rcs(base_url="https://127.0.0.1:9", max_attempts=1).check()
    with pytest.raises(VendorUnavailable, match="cannot be resolved"):
        rcs(base_url="https://rcs.invalid", max_attempts=1).check()
    with pytest.raises(ConfigError, match="does not speak TLS"):
        rcs(base_url=sandbox.urls["powunity"].replace("http:", "https:"), max_attempts=1).check()
    with pytest.raises(MalformedAnswer, match=r"not RCS|names no API version"), sandbox.faults("error_body:vendor=rcs"):
        rcs().check()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"base_url": "http://h"}, "over TLS only"),
        ({"base_url": "https://h", "api_version": "1"}, "write it as 1.3"),
        ({"base_url": "https://h", "take": 0}, "between 1 and max_take"),
        ({"base_url": "https://h", "take": "2000"}, "between 1 and max_take"),
        ({"base_url": "https://h", "report_days": 8}, "between 1 and 7"),
        ({"base_url": "https://h", "time_zone": "Europe/Moscow"}, "leave it at UTC"),
        ({"base_url": "https://h", "api_versoin": "1.3"}, "did you mean 'api_version'"),
        ({}, "'base_url' is missing"),
        ({"base_url": "https://h", "cert": "/nowhere/client.pem"}, "client.pem is missing"),
    ],
)
def test_a_wrong_setting_is_named(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        RcsClient(RcsConfig.from_mapping(fields))


def test_the_quota_belongs_to_the_certificate_wherever_its_file_is(tmp_path: Any) -> None:
    keys = []
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
        keys.append(RcsConfig(base_url="https://h", cert=str(tmp_path / name)).account_key)
    assert keys[0] == keys[1] != keys[2]
    with pytest.raises(ConfigError, match="cannot be read"):
        _ = RcsConfig(base_url="https://h", cert=str(tmp_path / "none")).account_key
