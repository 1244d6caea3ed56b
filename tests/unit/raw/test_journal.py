"""The journal: entries in the order of publication, created once, readable by name alone."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from pathlib import Path

import pytest
from fleetlake.errors import DataError
from fleetlake.raw import EntryName, Journal
from hypothesis import given
from hypothesis import strategies as st

FIRST = dt.datetime(2026, 1, 6, 23, 59, 59, 999_999, tzinfo=dt.UTC)


@pytest.fixture(params=["folder", "object store"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    return Journal(str(tmp_path) if request.param == "folder" else f"memory://raw-{uuid.uuid4().hex}")


def test_an_entry_comes_back_with_its_clock(journal: Journal) -> None:
    name = journal.write("powunity.trip", FIRST, "abc", {"kind": "batch", "words": ["é"]}, clock={"begun": "then"})
    assert name.path.startswith("_journal/powunity/2026-01-06/235959.999999-trip-abc-")
    entry = journal.read(name)
    assert entry == journal.read(name.path)
    assert (entry["dataset"], entry["load_id"], entry["words"]) == ("powunity.trip", "abc", ["é"])
    assert entry["clock"] == {"moment": FIRST.isoformat(), "begun": "then"}


def test_entries_come_in_the_order_of_publication_across_midnight(journal: Journal) -> None:
    moments = [FIRST + dt.timedelta(microseconds=number) for number in (5, 0, 1, 3_000_000, 86_400_000_000)]
    for moment in moments:
        journal.write("powunity.trip", moment, "x", {})
    journal.write("powunity.stop", FIRST, "y", {})
    journal.write("rcs.telemetry", FIRST, "z", {})
    assert [item.moment for item in journal.names("powunity", {"powunity.trip"})] == sorted(moments)
    assert [item.load for item in journal.names("powunity", since=FIRST)][:2] == ["y", "x"]
    assert [item.moment for item in journal.names("powunity", since=FIRST + dt.timedelta(seconds=1))] == sorted(moments)[3:]
    assert journal.vendors() == ["powunity", "rcs"]
    assert list(journal.names("omnicomm")) == []


def test_a_repeated_publication_has_another_time_and_the_same_digest(journal: Journal) -> None:
    content = {"kind": "batch", "pages": [1, 2]}
    first = journal.write("powunity.trip", FIRST, "abc", content, clock={"begun": "1"})
    again = journal.write("powunity.trip", FIRST + dt.timedelta(hours=1), "abc", dict(reversed(content.items())))
    other = journal.write("powunity.trip", FIRST, "abc", {**content, "pages": []})
    assert (first.digest, first.load) == (again.digest, again.load)
    assert other.digest != first.digest
    assert len(list(journal.names("powunity"))) == 3


def test_an_entry_is_never_rewritten(journal: Journal) -> None:
    name = journal.write("powunity.trip", FIRST, "abc", {}, clock={"begun": "first"})
    journal.write("powunity.trip", FIRST, "abc", {}, clock={"begun": "second"})
    assert journal.read(name)["clock"]["begun"] == "first"


words = st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True)


@given(
    words,
    words,
    st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    st.datetimes(dt.datetime(1990, 1, 1), timezones=st.just(dt.UTC)),
)
def test_a_name_is_read_back_from_its_place(vendor: str, table: str, load: str, moment: dt.datetime) -> None:
    name = EntryName(moment, vendor, table, load, "0123456789abcdef")
    assert EntryName.parse(name.path) == name


@pytest.mark.parametrize("damage", ["", "[]", '{"version":', '{"version": 99}'])
def test_a_damaged_or_foreign_entry_is_distrusted(tmp_path: Path, damage: str) -> None:
    journal = Journal(str(tmp_path))
    name = journal.write("powunity.trip", FIRST, "abc", {})
    (tmp_path / name.path).write_text(damage)
    with pytest.raises(DataError, match="journal"):
        journal.read(name)


def test_a_missing_entry_is_named(journal: Journal) -> None:
    with pytest.raises(DataError, match=r"no such journal entry.*_journal/x"):
        journal.read("_journal/x")


def test_a_foreign_file_among_the_entries_is_named(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.write("powunity.trip", FIRST, "abc", {})
    (tmp_path / "_journal" / "powunity" / "2026-01-06" / "notes.txt").write_text("?")
    with pytest.raises(DataError, match=r"no place of a journal entry.*notes\.txt"):
        list(journal.names("powunity"))


def test_an_entry_is_one_line_of_plain_json(tmp_path: Path) -> None:
    name = Journal(str(tmp_path)).write("powunity.trip", FIRST, "abc", {"pages": [["r", 0, 2]]})
    assert json.loads((tmp_path / name.path).read_text())["pages"] == [["r", 0, 2]]
