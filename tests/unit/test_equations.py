"""Equations of identity checks: what may be written, and which rows they are about."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from fleetlake.equations import read_equation

NUMBERS = ("total_s", "moving_s", "standing_s", "count")


def differences(text: str, **columns: list[float | int | None]) -> list[float | None]:
    return read_equation(text, NUMBERS).differences(pa.table(columns)).to_pylist()


def test_difference_is_left_less_right_by_row() -> None:
    found = differences(
        "total_s = moving_s + standing_s - 2 * count", total_s=[10, 12.5], moving_s=[4, 4], standing_s=[6, 6], count=[0, 1]
    )
    assert found == [0.0, 4.5]


def test_rows_with_a_null_or_no_number_are_not_judged() -> None:
    found = differences("total_s = moving_s", total_s=[None, 5.0, math.nan, 5.0], moving_s=[1.0, None, 1.0, math.inf])
    assert found == [None] * 4


def test_condition_chooses_the_rows() -> None:
    text = "total_s = moving_s + standing_s when moving_s + standing_s"
    assert differences(text, total_s=[7, 7, 7], moving_s=[0, 1, None], standing_s=[0, 1, 1]) == [None, 5.0, None]


def test_integers_with_nulls_are_numbers_too() -> None:
    assert differences("total_s = (moving_s + 1) * 2", total_s=[4, 9], moving_s=[1, 1]) == [0.0, 5.0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("total_s", "exactly one"),
        ("total_s == moving_s", "exactly one"),
        ("total_s = moving", "'moving' is no number column"),
        ("total_s = moving_s when sun", "'sun' is no number column"),
        ("total_s = moving_s +", "is no expression"),
        ("total_s = ", "is no expression"),
        ("total_s = abs(moving_s)", "only columns, numbers"),
        ("total_s = moving_s ** 2", "only columns, numbers"),
        ("total_s = 'a'", "only columns, numbers"),
        ("total_s = True", "only columns, numbers"),
        ("total_s = count.real", "only columns, numbers"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_equation(text, NUMBERS)
