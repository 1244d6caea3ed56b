"""Health reports: traps 7, 8 and 11 of the vendor page."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fleetlake.sandbox.rcs.diagnostics import maturity_of, obeys_d2
from fleetlake.sandbox.rcs.park import Park

FROM, TO = "2026-11-13T00:00:00", "2026-11-19T23:59:59"
WEEK = {"from_": FROM, "to": TO}
POST = ("POST", "/vehicle-health/reports")


def fetch(rcs: Any, **query: Any) -> list[dict[str, Any]]:
    cars = Park(rcs.sandbox.context).readable("main")
    return [row for car in cars for row in rcs.rows(f"/vehicles/{car.id}/health-reports", **{**WEEK, **query})]


def overview(rcs: Any, **query: str) -> dict[str, Any]:
    """Ask, poll until it is done, and give the last answer."""
    answer = rcs(*POST, params={"from": FROM, "to": TO, **query})
    assert (answer.status_code, answer.content) == (202, b"")
    deadline = time.monotonic() + 10
    while True:
        state: dict[str, Any] = rcs.get(answer.headers["Location"]).json()
        if state["task"]["status"] in ("SUCCEEDED", "FAILED"):
            return state
        assert state["report"] is None
        assert time.monotonic() < deadline


@pytest.fixture(scope="module")
def fleet(pki_home: Any, rcs_sandbox: Any, rcs_client: Any) -> list[dict[str, Any]]:
    return fetch(rcs_client(rcs_sandbox))


def test_overview_lists_every_report_that_fetch_gives(rcs: Any, fleet: list[dict[str, Any]]) -> None:
    state = overview(rcs)
    assert state["task"]["error"] is None
    assert (state["report"]["from"], state["report"]["to"]) == (FROM, TO)
    listed = {
        (row["report_id"], row["vehicle_id"], row["created_at"], row["severity"], row["initiator"])
        for row in state["report"]["vehicles"]
    }
    assert listed == {(row["id"], row["vehicle_id"], row["created_at"], row["severity"], row["initiator"]) for row in fleet}
    assert len(state["report"]["vehicles"]) == len(fleet)


def test_a_vehicle_makes_a_report_on_two_days_of_three(fleet: list[dict[str, Any]]) -> None:
    assert 0.5 < len(fleet) / (6 * 7) < 0.9
    assert {row["severity"] for row in fleet} == {"OK", "TROUBLE_IS_PRESENT", "DTC_IS_PRESENT"}
    assert {row["initiator"] for row in fleet} == {"DEVICE", "SERVER"}


def test_ids_come_in_either_case(fleet: list[dict[str, Any]]) -> None:
    cases = Counter("upper" if row["vehicle_id"].isupper() else "lower" for row in fleet)
    assert set(cases) == {"upper", "lower"}


def test_codes_have_the_form_of_sae_j2012_and_are_unique_in_a_report(fleet: list[dict[str, Any]]) -> None:
    troubles = [trouble for row in fleet for trouble in row["troubles"]]
    assert all(re.fullmatch(r"[PCBU][0-3][0-9A-F]{3}(-[0-9A-F]{2})?", trouble["dtc"]) for trouble in troubles)
    assert len({trouble["dtc"][0] for trouble in troubles}) >= 3
    for row in fleet:
        assert len({trouble["dtc"] for trouble in row["troubles"]}) == len(row["troubles"])
    assert any("ecu_id" not in trouble for trouble in troubles)
    assert any(trouble["status"] is None for trouble in troubles)


def test_status_bytes_obey_d2_except_those_of_old_control_units(rcs: Any) -> None:
    cars = {car.id: car for car in Park(rcs.sandbox.context).readable("main")}
    broken, kept = 0, 0
    for month in ("2026-10-0{}", "2026-10-1{}", "2026-10-2{}"):
        for row in fetch(rcs, from_=month.format(1) + "T00:00:00", to=month.format(7) + "T23:59:59"):
            for trouble in row["troubles"]:
                if trouble["status"] is None:
                    continue
                obeyed = obeys_d2(trouble["status"])
                assert obeyed or not cars[row["vehicle_id"].lower()].uds
                assert trouble["maturity"] == maturity_of(trouble["status"])
                broken, kept = broken + (not obeyed), kept + obeyed
    assert broken
    assert kept > broken


def test_d2_rules_and_maturity_as_the_page_lists_them() -> None:
    life = {0x50: "UNKNOWN", 0x00: "UNKNOWN", 0x27: "PENDING", 0x2F: "ACTIVE", 0xAF: "ACTIVE", 0x2E: "STORED"}
    life |= {0x6C: "STORED", 0x2C: "STORED", 0x28: "STORED", 0x68: "STORED", 0x20: "UNKNOWN", 0x60: "UNKNOWN"}
    assert {byte: maturity_of(byte) for byte in life} == life
    assert all(obeys_d2(byte) for byte in life)
    assert not any(obeys_d2(byte) for byte in (0x10, 0x51, 0x02, 0x01, 0x21, 0x04, 0x08, 0x80, 0xA0))
    assert obeys_d2(0x61), "bit 0 may outlive a power cycle"
    assert maturity_of(None) == "UNKNOWN"
    assert (maturity_of(0x27, "test_failed"), maturity_of(0x2E, "test_failed")) == ("ACTIVE", "STORED")


def test_the_severity_filter_leaves_out_self_diagnostics_except_of_special_firmware(rcs: Any) -> None:
    cars = {car.id: car for car in Park(rcs.sandbox.context).readable("main")}
    found = fetch(rcs, severity="DTC_IS_PRESENT")
    assert found
    assert all(row["troubles"] for row in found)
    own = [row for row in found if row["initiator"] == "DEVICE"]
    assert all(cars[row["vehicle_id"].lower()].reads_codes for row in own)
    listed = overview(rcs, severity="DTC_IS_PRESENT")["report"]["vehicles"]
    assert {row["report_id"] for row in listed} == {row["id"] for row in found}


def test_at_most_seven_calendar_days(rcs: Any) -> None:
    car = next(Park(rcs.sandbox.context).readable("main"))
    for start, end, code in (
        ("2026-11-13T00:00:00", "2026-11-19T23:59:59", None),
        ("2026-11-13T00:00:00", "2026-11-20T00:00:00", "OUT_OF_RANGE"),
        ("2026-11-12T12:00:00", "2026-11-19T11:00:00", "OUT_OF_RANGE"),
        ("2026-11-13T00:00:00", "2026-11-12T00:00:00", "OUT_OF_RANGE"),
        ("2026-11-13T00:00:00", None, "VALUE_REQUIRED"),
        ("2026-11-13T00:00:00", "", "VALUE_REQUIRED"),
    ):
        query = {"from": start} | ({} if end is None else {"to": end})
        answers = (rcs("GET", f"/vehicles/{car.id}/health-reports", params=query), rcs(*POST, params=query))
        for answer in answers:
            if code is None:
                assert answer.status_code in (200, 202)
            else:
                assert answer.json()["error"]["code"] == code
                assert answer.json()["error"]["source"] == "to"
    unknown = rcs("GET", f"/vehicles/{car.id}/health-reports", params={"from": FROM, "to": TO, "severity": "BAD"})
    assert unknown.json()["error"] == {
        "code": "INVALID_FORMAT",
        "message": "one of OK, TROUBLE_IS_PRESENT, DTC_IS_PRESENT",
        "source": "severity",
    }


def test_a_task_takes_time_and_its_location_is_relative(start: Callable[..., Any], rcs_client: Any) -> None:
    rcs = rcs_client(start(**{"rcs.task_seconds": 0.3}))
    answer = rcs(*POST, params={"from": FROM, "to": TO})
    location = answer.headers["Location"]
    assert re.fullmatch(r"/vehicle-health/reports/t-[a-z2-7]+", location)
    states = []
    deadline = time.monotonic() + 10
    while not states or states[-1] != "SUCCEEDED":
        states.append(rcs.get(location).json()["task"]["status"])
        assert time.monotonic() < deadline
    assert list(dict.fromkeys(states)) == ["PENDING", "EXECUTING", "SUCCEEDED"]


def test_every_request_starts_another_task_and_each_can_be_read_again(rcs: Any) -> None:
    places = [rcs(*POST, params={"from": FROM, "to": TO}).headers["Location"] for _ in range(2)]
    assert places[0] != places[1]
    reports = [rcs.get(place).json()["report"] for place in (*places, *places)]
    assert all(report == reports[0] for report in reports)


def test_a_token_is_unknown_to_others_when_expired_and_when_changed(
    start: Callable[..., Any], rcs_client: Any, rcs: Any
) -> None:
    location = rcs(*POST, params={"from": FROM, "to": TO}).headers["Location"]
    assert rcs_client(rcs.sandbox, "client_other").get(location).status_code == 404
    for wrong in (location[:-3] + "aaa", "/vehicle-health/reports/t-1", "/vehicle-health/reports/%C3%A4"):
        answer = rcs.get(wrong)
        assert (answer.status_code, answer.content) == (404, b"")
    short = rcs_client(start(**{"rcs.task_lifetime_s": 0.05}))
    location = short(*POST, params={"from": FROM, "to": TO}).headers["Location"]
    deadline = time.monotonic() + 5
    while short.get(location).status_code != 404:
        assert time.monotonic() < deadline


def test_a_token_survives_a_restart(start: Callable[..., Any], rcs_client: Any, rcs: Any) -> None:
    location = rcs(*POST, params={"from": FROM, "to": TO}).headers["Location"]
    again = rcs_client(start())
    assert again.get(location).json() == rcs.get(location).json()


def test_a_task_may_fail(rcs: Any) -> None:
    with rcs.sandbox.faults("task_failed:method=POST,count=1"):
        state = overview(rcs)
    assert state["task"]["status"] == "FAILED"
    assert set(state["task"]["error"]) == {"code", "message"}
    assert state["report"] is None
    with rcs.sandbox.faults("expired:path=/vehicle-health/reports/*,count=1"):
        location = rcs(*POST, params={"from": FROM, "to": TO}).headers["Location"]
        assert rcs.get(location).status_code == 404
        assert rcs.get(location).status_code == 200


def test_a_running_report_has_no_result_yet(rcs: Any, start: Callable[..., Any], rcs_client: Any) -> None:
    finished = fetch(rcs)[5]
    moment = dt.datetime.fromisoformat(finished["created_at"]).replace(tzinfo=dt.UTC) + dt.timedelta(seconds=5)
    early = rcs_client(start(as_of=moment))
    row = next(row for row in fetch(early) if row["id"] == finished["id"])
    assert (row["result"], row["completed_at"], row["troubles"]) == ("NONE", None, [])
    assert all(row["created_at"] <= f"{moment:%Y-%m-%dT%H:%M:%S}" for row in fetch(early))


def test_status_may_be_hexadecimal_text(start: Callable[..., Any], rcs_client: Any, fleet: list[dict[str, Any]]) -> None:
    numbers = [trouble["status"] for row in fleet for trouble in row["troubles"]]
    texts = [
        trouble["status"] for row in fetch(rcs_client(start(**{"rcs.status_as_hex": True}))) for trouble in row["troubles"]
    ]
    assert texts == [None if number is None else f"0x{number:02X}" for number in numbers]
