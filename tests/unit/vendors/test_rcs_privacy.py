"""Personal data of RCS app users: masked by default, kept where the account's file says so, never half of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError
from fleetlake.pipeline.decode import decode_rows
from fleetlake.reading import FLEET, Asked
from fleetlake.vendors.rcs import decode, privacy
from fleetlake.window import Window

INCLUDE = Path(__file__).parents[3] / "include"
USER = {
    "id": "0A000000-0000-4000-8000-000000000001",
    "registered_at": "2026-11-20T10:00:00",
    "phone": "+33612345678",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "middle_name": None,
    "email": "ada@example.org",
    "city": "Lyon",
    "vehicle_ids": ["v1"],
}


@pytest.fixture
def include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(INCLUDE / "contracts" / "rcs", tmp_path / "contracts" / "rcs")
    (tmp_path / "rcs").mkdir()
    monkeypatch.setenv("FLEETLAKE_INCLUDE", str(tmp_path))
    return tmp_path


def rows(feed: str, dataset: str, values: list[Any], account: str = "main") -> list[Any]:
    asked = Asked(account, FLEET, Window.day("2026-11-20"))
    return [json.loads(bytes(row)) for row in decode.split(feed, dataset, json.dumps(values).encode(), asked)]


def test_names_phones_and_mail_are_masked_by_default() -> None:
    masked = {"phone": "***78", "first_name": "A***", "last_name": "L***", "email": "***@example.org"}
    assert rows("users", "rcs.app_user", [USER]) == [{**USER, **masked}]


def test_phones_of_a_notification_are_masked_one_by_one() -> None:
    sent = {"id": "n", "user_phones": ["+33612345678", None, "123"], "vehicle_ids": ["a"], "title": "Winter tyres"}
    assert rows("client_notifications", "rcs.client_notification", [sent]) == [
        {**sent, "user_phones": ["***78", None, "***"]}
    ]


def test_fields_nobody_knows_show_their_name_alone_and_are_reported() -> None:
    contract = load_contracts(INCLUDE)["rcs.app_user"]
    body = json.dumps([{**USER, "passport": "AB123"}]).encode()
    split = decode.split("users", "rcs.app_user", body, Asked("main", FLEET, None))
    assert b"AB123" not in bytes(split[0])
    assert decode_rows(contract, split).unknown_fields == {"passport"}


def test_a_row_that_is_no_object_shows_nothing() -> None:
    assert rows("users", "rcs.app_user", ["Ada Lovelace", 4]) == ["***", "***"]


def test_camel_case_names_are_masked_too() -> None:
    assert rows("users", "rcs.app_user", [{"firstName": "Ada", "lastName": "Lovelace"}]) == [
        {"first_name": "A***", "last_name": "L***"}
    ]


def test_an_account_may_keep_personal_data_and_others_do_not(include: Path) -> None:
    (include / "rcs" / "main.yaml").write_text("personal_data: keep\n")
    assert rows("users", "rcs.app_user", [USER]) == [USER]
    assert rows("users", "rcs.app_user", [USER], "other")[0]["phone"] == "***78"
    (include / "rcs" / "default.yaml").write_text("personal_data: keep\n")
    assert rows("users", "rcs.app_user", [USER], "other") == [USER]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("personal_dat: keep", "unknown key 'personal_dat'.*did you mean 'personal_data'"),
        ("personal_data: no", "personal_data is False.*one of mask, keep"),
        ("- keep", "mapping is expected"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_policy_stops_the_load_and_shows_nothing(text: str, said: str, include: Path) -> None:
    (include / "rcs" / "main.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"(?s){said}") as caught:
        rows("users", "rcs.app_user", [USER])
    assert caught.value.where == str(include / "rcs" / "main.yaml")


@pytest.mark.parametrize(("text", "masked"), [("", ""), ("x", "x***"), ("Zoë", "Z***")])
def test_masked_names(text: str, masked: str) -> None:
    assert privacy.mask_name(text) == masked


@pytest.mark.parametrize(("text", "masked"), [("ada", "***"), ("a@b@c.fr", "***@c.fr")])
def test_masked_mail(text: str, masked: str) -> None:
    assert privacy.mask_email(text) == masked
