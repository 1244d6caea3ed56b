from __future__ import annotations

from dataclasses import dataclass

import pytest
from fleetlake.errors import ConfigError
from fleetlake.http.fields import read_fields


@dataclass(frozen=True)
class Wanted:
    base_url: str
    rate_per_s: float = 4.0
    take: int = 1000
    strict: bool = True
    ca: str | None = None


def test_text_of_a_form_becomes_numbers_and_booleans() -> None:
    values = {"base_url": "https://h", "rate_per_s": "2.5", "take": "500", "strict": "No", "ca": ""}
    assert read_fields(Wanted, values, "x") == Wanted("https://h", 2.5, 500, False, None)


def test_an_unknown_name_gets_a_near_match() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'tke' \[connection rcs_default\] → did you mean 'take'"):
        read_fields(Wanted, {"base_url": "h", "tke": 1}, "connection rcs_default")


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="'base_url' is missing"):
        read_fields(Wanted, {"base_url": ""}, "x")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("take", "many", "a whole number"),
        ("take", 1.5, "a whole number"),
        ("take", True, "a whole number"),
        ("rate_per_s", "fast", "a number"),
        ("strict", "maybe", "true or false"),
    ],
)
def test_an_unreadable_value_is_refused_without_showing_it(name: str, value: object, wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted) as caught:
        read_fields(Wanted, {"base_url": "h", name: value}, "x")
    assert not isinstance(value, str) or value not in str(caught.value)
