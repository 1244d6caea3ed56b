from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from fleetlake.stack.demo import Days

TODAY = dt.date(2026, 3, 2)


def test_first_demo_is_about_the_three_days_before_today(tmp_path: Path) -> None:
    days = Days.of(tmp_path / "demo.json", TODAY)
    assert days.keys == ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert not days.is_complete


def test_later_demo_keeps_the_days_of_the_one_that_succeeded(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    first = Days.of(path, TODAY)
    first.keep(path)
    again = Days.of(path, TODAY + dt.timedelta(days=9))
    assert again.keys == first.keys
    assert again.is_complete


@pytest.mark.parametrize("content", ["", "{}", '{"first": "x", "last": "y"}'])
def test_damaged_memory_of_a_demo_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "demo.json"
    path.write_text(content)
    assert Days.of(path, TODAY).keys[-1] == "2026-03-01"
