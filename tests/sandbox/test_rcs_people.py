"""App users and client notifications of RCS, over real TLS and as truth."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from fleetlake.sandbox.rooms import room
from fleetlake.window import Window

WINDOW = Window.parse("2026-10-20", "2026-11-20")
FROM, TO = "2026-10-20T00:00:00", "2026-11-19T23:59:59"
PATHS = ("/users", "/client-notifications")
TIMES = {"/users": "registered_at", "/client-notifications": "planned_at"}


def truth(sandbox: Any, dataset: str, customer: str | None = None) -> list[Any]:
    return list(room("rcs").truth(sandbox.context, dataset, WINDOW, customer))


@pytest.mark.parametrize("path", PATHS)
def test_versions_rights_and_formats_are_checked_as_elsewhere(rcs: Any, rcs_client: Any, path: str) -> None:
    assert rcs("GET", path, headers={"X-API-Version": None}).json()["error"]["code"] == "VALUE_REQUIRED"
    assert rcs("GET", path, headers={"X-API-Version": "2.0"}).json()["error"]["code"] == "UNSUPPORTED_VERSION"
    assert rcs("GET", path, headers={"Accept": "text/html"}).status_code == 406
    assert (rcs("POST", path).status_code, rcs("POST", path).content) == (405, b"")
    assert rcs_client(rcs.sandbox, None).get(path).status_code == 401
    for name in ("from", "to"):
        refused = rcs("GET", path, params={name: "2026-11-19"})
        assert refused.status_code == 400
        assert (refused.json()["error"]["code"], refused.json()["error"]["source"]) == ("INVALID_FORMAT", name)
    assert rcs.get(path, from_=TO, to=FROM).json()["error"]["code"] == "OUT_OF_RANGE"


@pytest.mark.parametrize("path", PATHS)
def test_they_are_not_among_the_retired_operations(start: Callable[..., Any], rcs_client: Any, path: str) -> None:
    rcs = rcs_client(start(**{"rcs.retired_since_2021_07_01": True, "rcs.envelope": "items"}))
    assert rcs.get("/vehicles").status_code == 404
    body = rcs.get(path, from_=FROM, to=TO).json()
    assert len(body["items"]) > 10


@pytest.mark.parametrize("path", PATHS)
def test_an_interval_may_be_open_or_of_any_length_and_holds_its_last_second(rcs: Any, path: str) -> None:
    name = TIMES[path]
    rows = rcs.rows(path, from_=FROM, to=TO)
    assert all(FROM <= row[name] <= TO for row in rows)
    assert [row[name] for row in rows] == sorted(row[name] for row in rows)
    last = rows[-1][name]
    assert rcs.rows(path, from_=last, to=last) == rows[-1:]
    assert len(rcs.rows(path)) > len(rcs.rows(path, from_=FROM)) >= len(rows)


def test_an_exclusive_end_is_a_setting(start: Callable[..., Any], rcs_client: Any) -> None:
    rcs = rcs_client(start(**{"rcs.time_end_inclusive": False}))
    last = rcs.rows("/users", from_=FROM, to=TO)[-1]["registered_at"]
    assert rcs.rows("/users", from_=last, to=last) == []


def test_users_are_what_is_true_with_their_names_masked(rcs: Any) -> None:
    rows = {row["user_id"]: row for row in truth(rcs.sandbox, "app_user")}
    found = rcs.rows("/users", from_=FROM, to=TO)
    assert {user["id"].lower() for user in found} == rows.keys()
    assert any(user["id"] != user["id"].lower() for user in found)
    vehicles = {vehicle["id"] for vehicle in rcs.rows("/vehicles")}
    for user in found:
        row = rows[user["id"].lower()]
        assert row["phone"] == "***" + user["phone"][-2:]
        assert row["last_name"] == user["last_name"][0] + "***"
        assert row["middle_name"] == ("M***" if "middle_name" in user else None)
        assert row["email"] == ("***@main.example" if "email" in user else None)
        assert (row["city"], row["source_id"]) == (user["city"], user.get("source_id"))
        assert row["registered_time"].strftime("%Y-%m-%dT%H:%M:%S") == user["registered_at"]
        assert row["vehicle_ids"] == user.get("vehicle_ids")
        assert set(row["vehicle_ids"] or ()) <= vehicles
    assert len({user["phone"] for user in found}) == len(found), "the phone number is the user's key"


def test_truth_may_keep_personal_data(start: Callable[..., Any], rcs_client: Any) -> None:
    sandbox = start(**{"rcs.truth_personal_data": "keep"})
    users = rcs_client(sandbox).rows("/users", from_=FROM, to=TO)
    names = [(user["first_name"], user["last_name"], user["phone"], user.get("email")) for user in users]
    rows = truth(sandbox, "app_user")
    assert [(row["first_name"], row["last_name"], row["phone"], row["email"]) for row in rows] == names


def test_a_changed_profile_is_another_row_later(start: Callable[..., Any]) -> None:
    sandbox = start()
    sandbox.context.clock.set(dt.datetime(2026, 10, 21, tzinfo=dt.UTC))
    before = {row["user_id"]: row for row in truth(sandbox, "app_user")}
    sandbox.context.clock.set(dt.datetime(2026, 11, 20, tzinfo=dt.UTC))
    after = {row["user_id"]: row for row in truth(sandbox, "app_user")}
    assert before.keys() < after.keys()
    changed = [row for row in after.values() if row["updated_time"] > row["registered_time"]]
    assert changed
    assert all(row["updated_time"] <= sandbox.context.clock.now() for row in changed)


def test_notifications_are_what_is_true_and_were_sent(rcs: Any) -> None:
    rows = {row["notification_id"]: row for row in truth(rcs.sandbox, "client_notification")}
    found = rcs.rows("/client-notifications", from_=FROM, to=TO)
    assert {offer["id"] for offer in found} == rows.keys()
    for offer in found:
        row = rows[offer["id"]]
        assert offer["created_at"] < offer["planned_at"] < offer["sent_at"] <= "2026-11-20T12:00:00"
        assert row["planned_time"].strftime("%Y-%m-%dT%H:%M:%S") == offer["planned_at"]
        assert (row["message"], row["recipients_count"]) == (offer["text"], offer["recipients_count"])
        assert row["vehicle_ids"] == offer.get("vehicle_ids")
        assert all(re.fullmatch(r"\*\*\*\d\d", phone) for phone in row["user_phones"] or ())
        one_kind = ("vehicle_ids" in offer) + ("user_phones" in offer)
        assert one_kind == (1 if offer["type"] == "PERSONAL" else 0)
    assert {offer["type"] for offer in found} == {"SPECIAL", "PERSONAL"}


def test_a_notification_is_told_when_it_was_sent_not_when_it_was_planned(start: Callable[..., Any]) -> None:
    sandbox = start()
    late = [
        row
        for row in truth(sandbox, "client_notification")
        if row["sent_time"] - row["planned_time"] > dt.timedelta(hours=1)
    ]
    assert late
    for sent, is_told in ((late[0]["sent_time"] - dt.timedelta(seconds=1), False), (late[0]["sent_time"], True)):
        sandbox.context.clock.set(sent)
        assert (late[0] in truth(sandbox, "client_notification")) == is_told


def test_each_customer_has_users_of_its_own(rcs: Any, rcs_client: Any) -> None:
    other = rcs_client(rcs.sandbox, "client_other")
    for path, key in (("/users", "phone"), ("/client-notifications", "id")):
        mine = {row[key] for row in rcs.rows(path, from_=FROM, to=TO)}
        assert mine
        assert not mine & {row[key] for row in other.rows(path, from_=FROM, to=TO)}
