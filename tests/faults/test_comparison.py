"""The page that compares us with a peer says what was measured, and our side still does what the page says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from compare.__main__ import FIGURES, PAGE
from compare.field import open_field
from compare.page import render
from compare.scenarios import SCENARIOS, job_killed, killed_at_page_60, late_rows, lies, odd_rows

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    with open_field(Path(tmp_path_factory.mktemp("compare")), None) as opened:
        yield opened


@pytest.fixture(scope="module")
def measured():
    return json.loads(FIGURES.read_text())


def ours(measured, scenario):
    """What the page says of us, without how many requests it took."""
    items = [item for item in measured["figures"][scenario] if item["side"] == "fleetlake"]
    assert items
    return {item["scenario"]: outcome(item) for item in items}


def outcome(item):
    return {name: item[name] for name in ("exits", "lost", "wrong", "stale", "duplicated")}


def test_the_page_is_made_of_what_was_measured(measured):
    assert list(measured["figures"]) == list(SCENARIOS), "every scenario was played"
    items = [item for name in measured["figures"] for item in measured["figures"][name]]
    assert {item["side"] for item in items} == {"fleetlake", "dlt"}
    assert PAGE.read_text() == render(measured["about"], items)


def test_killed_in_the_middle_of_a_read_nothing_is_read_twice(field, measured):
    [found] = killed_at_page_60(field, pages=12, kill_at=7)
    print(found)
    assert [outcome(found.as_dict())] == list(ours(measured, "killed").values())
    pages, needed = (int(text.split()[0]) for text in found.note.split(", "))
    assert pages <= needed + 1
    [on_page] = [item for item in measured["figures"]["killed"] if item["side"] == "fleetlake"]
    pages, needed = (int(text.split()[0]) for text in on_page["note"].split(", "))
    assert pages <= needed + 1


def test_a_lie_deletes_nothing_that_is_true_and_a_right_answer_deletes_what_is_gone(field, measured):
    expected = ours(measured, "lies")
    for found in lies(field, kinds=["short_page", "empty_page"]):
        print(found)
        assert outcome(found.as_dict()) == expected[found.scenario]
        assert found.note.startswith("0 wrongly deleted")
    assert found.note == "0 wrongly deleted; 3 of 3 true deletions seen"
    for item in measured["figures"]["lies"]:
        assert item["side"] != "fleetlake" or item["note"].startswith("0 wrongly deleted")


def test_what_comes_late_is_found(field, measured):
    for found in late_rows(field, nights=4):
        print(found)
        expected = ours(measured, "late")[found.scenario.replace("4 nights", "5 nights")]
        assert {**outcome(found.as_dict()), "exits": None} == {**expected, "exits": None}
        assert set(found.exits) == {"0"}


def test_odd_rows_are_kept_aside_and_a_job_is_asked_for_once(field, measured):
    for name, scenario in (("odd", odd_rows), ("job", job_killed)):
        found = list(scenario(field))
        for item in found:
            print(item)
        assert {item.scenario: outcome(item.as_dict()) for item in found} == ours(measured, name)
        notes = [item["note"] for item in measured["figures"][name] if item["side"] == "fleetlake"]
        assert [item.note for item in found] == notes
