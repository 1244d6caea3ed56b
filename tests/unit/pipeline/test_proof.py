"""What is believed of an answer, as far as no warehouse is needed to know it."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import pytest
from fleetlake.accounts import Account
from fleetlake.coverage import State
from fleetlake.errors import OutOfRetention
from fleetlake.pipeline import Run
from fleetlake.pipeline.batch import Batcher
from fleetlake.pipeline.extract import Extracted, Read, extract
from fleetlake.pipeline.proof import Decisions, allowed_deletions, coverage_of, not_whole
from fleetlake.reading import Lane
from fleetlake.window import Window

from tests.unit.pipeline.scripted import CONTRACTS, DAY, EVENTS, ScriptedSource, event, key, page

EVENT = CONTRACTS["powunity.event"]
RUN = Run(
    account=Account(name="north", vendor="powunity", conn_id="powunity_default"),
    dag_id="dag",
    run_id="run",
    window=DAY,
    lane=Lane.SCHEDULED,
)
NONE_REJECTED = SimpleNamespace(rejected=[])


def split(_feed, _dataset, body, _asked):
    return msgspec.json.decode(body, type=list[msgspec.Raw])


@pytest.fixture
def batcher(raw):
    return Batcher(raw, EVENT, split, None)


@pytest.fixture
def read(raw):
    """Carries out reads of scripted pages, by scope."""

    def make(script, *, feed=EVENTS, again=False) -> list[Extracted]:
        reads = [Read(feed=feed, key=key(scope)) for scope in script]
        return list(extract(raw, ScriptedSource(script), [one.again() if again else one for one in reads]))

    return make


def counted(number, rows, total):
    return replace(page(number, rows, last=True), total=total)


def reasons(batch):
    return {scope: reason for (_, scope), reason in not_whole(batch).items()}


# --- counts and caps ----------------------------------------------------------------------------------------------------


def test_fewer_rows_than_the_vendor_counts_prove_nothing(batcher, read):
    (batch,) = batcher.batches(read({"1": [page(0, [event(1)]), counted(1, [event(2)], 3)], "2": [counted(0, [], 0)]}))
    assert reasons(batch) == {"1": "counted: the vendor counts 3 rows, 2 came"}


def test_more_rows_than_the_vendor_counts_prove_nothing_either(batcher, read):
    (batch,) = batcher.batches(read({"1": [counted(0, [event(1), event(2)], 1)]}))
    assert reasons(batch) == {"1": "counted: the vendor counts 1 rows, 2 came"}


def test_rows_that_come_twice_are_too_late_or_cannot_be_read_are_counted_once_each(batcher, read):
    broken = event(4, positionId="no number")
    rows = [event(1), event(2), event(3, "2026-11-22T00:00:00.000+00:00"), broken]
    (batch,) = batcher.batches(read({"1": [page(0, rows), page(1, rows), counted(2, [event(5)], 5)]}))
    assert len(batch.rejects) == 2
    assert reasons(batch) == {}


def test_lists_one_after_the_other_are_counted_together(batcher, read):
    first = replace(page(0, [event(1), event(2)]), total=2)
    (batch,) = batcher.batches(read({"1": [first, counted(1, [event(3)], 1)]}))
    assert reasons(batch) == {}


def test_a_count_holds_for_a_read_that_is_cut_into_batches(raw, read):
    extracted = read({"1": [page(0, [event(1), event(2)]), page(1, [event(3)]), counted(2, [event(4)], 4)]})
    batches = list(Batcher(raw, EVENT, split, None, max_rows=2).batches(extracted))
    assert len(batches) > 1
    assert [reasons(batch) for batch in batches] == [{}] * len(batches)


def test_a_read_that_is_not_finished_is_not_counted(batcher, read):
    (batch,) = batcher.batches(read({"1": [replace(page(0, [event(1)]), total=5)]}))
    assert reasons(batch) == {}, "that it is open is said of it already"


@pytest.mark.parametrize(("rows", "is_doubted"), [(2, False), (3, True), (4, True)])
def test_an_answer_at_a_known_cap_proves_nothing(rows, is_doubted, batcher, read):
    feed = replace(EVENTS, cap=3)
    extracted = read({"1": [page(0, [event(number) for number in range(rows)], last=True)]}, feed=feed)
    (batch,) = batcher.batches(extracted)
    assert reasons(batch) == ({"1": "cap: an answer has 3 rows, the most this vendor gives"} if is_doubted else {})
    states = {item.state for item in coverage_of(RUN, batch, Decisions(not_whole(batch)))}
    assert states == {State.PARTIAL if is_doubted else State.COMPLETE}


# --- decisions ----------------------------------------------------------------------------------------------------------


def test_decisions_survive_the_journal():
    made = Decisions({("a/b", "2"): "counted: 1 of 2", ("a/a", "1"): "x"}, frozenset({("a/c", "3"), ("a/c", "1")}))
    text = json.dumps(made.to_json())
    assert Decisions.from_json(json.loads(text)) == made
    assert json.loads(text)["confirmed"] == [["a/c", "1"], ["a/c", "3"]], "the same decisions are the same text"


def test_nothing_is_deleted_without_being_confirmed(batcher, read):
    (batch,) = batcher.batches(read({"1": [page(0, [event(1)], last=True)], "2": [page(0, [], last=True)]}))
    assert allowed_deletions(RUN, batch, NONE_REJECTED, Decisions()) == []
    folder = batch.reads[1].read.key.folder
    (deletion,) = allowed_deletions(RUN, batch, NONE_REJECTED, Decisions(confirmed=frozenset({(folder, "2")})))
    assert (deletion.scopes, deletion.window) == (["2"], DAY)


def test_an_answer_with_a_row_that_cannot_be_read_deletes_nothing_even_if_it_was_confirmed_once(batcher, read):
    """A stricter contract of today cannot read a row of then: it is there all the same."""
    (batch,) = batcher.batches(read({"1": [page(0, [event(1, positionId="no number")], last=True)]}))
    folder = batch.reads[0].read.key.folder
    assert allowed_deletions(RUN, batch, NONE_REJECTED, Decisions(confirmed=frozenset({(folder, "1")}))) == []


# --- second readings ----------------------------------------------------------------------------------------------------


def test_a_second_reading_has_a_place_of_its_own_and_is_known_by_it():
    first = Read(feed=EVENTS, key=key("1"))
    assert (first.is_again, first.again().is_again) == (False, True)
    assert first.again().key.folder == f"{first.key.folder}-again"


def test_rows_of_a_second_reading_join_the_batch_and_leave_what_is_said_of_the_first(batcher, read):
    (first,) = batcher.batches(read({"1": [page(0, [event(1), event(2)], last=True)]}))
    seconds = read({"1": [page(0, [event(2, type="alarm"), event(3)], last=True)]}, again=True)
    joined, again = batcher.joined(first, seconds)
    kinds = dict(zip(joined.table["event_id"].to_pylist(), joined.table["event_type"].to_pylist(), strict=True))
    assert kinds == {1: "deviceOnline", 2: "alarm", 3: "deviceOnline"}
    assert again.table["event_id"].to_pylist() == [2, 3]
    assert set(joined.table["load_id"].to_pylist()) == {joined.load_id} != {first.load_id}
    folder = first.reads[0].read.key.folder
    assert joined.rows_of[folder, "1"] == 2
    assert [item.read.key.folder for item in joined.whole] == [folder]
    assert [item.rows for item in coverage_of(RUN, joined, Decisions())] == [2], "the second reading proves nothing itself"


def test_a_batch_with_second_readings_is_made_again_from_its_parts(raw, batcher, read):
    (first,) = batcher.batches(read({"1": [page(0, [event(1), event(2)], last=True)]}))
    joined, _ = batcher.joined(first, read({"1": [page(0, [event(2, type="alarm"), event(3)], last=True)]}, again=True))
    made = Batcher(raw, EVENT, split, None).again(joined.parts, joined.earlier_rows, joined.foreign)
    assert made.load_id == joined.load_id
    assert made.table.equals(joined.table)
    assert made.rows_of == joined.rows_of


# --- what the vendor no longer keeps ------------------------------------------------------------------------------------


def gone(since):
    return OutOfRetention("the vendor keeps 30 days", since=since)


def states(batch):
    return [(item.state, item.window, item.rows) for item in coverage_of(RUN, batch, Decisions(not_whole(batch)))]


def test_a_window_that_is_gone_is_settled(batcher, read):
    (batch,) = batcher.batches(read({"1": [gone(DAY.end)]}))
    assert states(batch) == [(State.OUT_OF_RETENTION, DAY, None)]
    assert batch.whole == []
    (interval,) = coverage_of(RUN, batch, Decisions())
    assert interval.proof == "out of retention: the vendor keeps 30 days"
    assert interval.state.is_settled
    assert not interval.state.is_proven


def test_of_a_window_that_is_gone_in_part_the_rest_is_proven_by_what_came(batcher, read):
    noon = DAY.start + dt.timedelta(hours=12)
    extracted = read({"1": [page(0, [event(1, "2026-11-20T13:00:00.000+00:00")]), gone(noon)]})
    (batch,) = batcher.batches(extracted)
    assert states(batch) == [
        (State.OUT_OF_RETENTION, Window(DAY.start, noon), None),
        (State.COMPLETE, Window(noon, DAY.end), 1),
    ]
    assert batch.whole == [], "nothing is deleted by it"


def test_the_rest_is_not_proven_where_fewer_rows_came_than_the_vendor_counts(batcher, read):
    noon = DAY.start + dt.timedelta(hours=12)
    (batch,) = batcher.batches(read({"1": [replace(page(0, [event(1)]), total=2), gone(noon)]}))
    assert [state for state, *_ in states(batch)] == [State.OUT_OF_RETENTION, State.PARTIAL]
