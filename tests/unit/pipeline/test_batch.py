from __future__ import annotations

import dataclasses
import datetime as dt

import msgspec
import pytest
from fleetlake.errors import VendorUnavailable
from fleetlake.pipeline.batch import Batcher
from fleetlake.pipeline.extract import Read, extract

from tests.unit.pipeline.scripted import CONTRACTS, EVENTS, ScriptedSource, event, key, page

EVENT = CONTRACTS["powunity.event"]


def split(_feed, _dataset, body, _asked):
    return msgspec.json.decode(body, type=list[msgspec.Raw])


@pytest.fixture
def batches(raw):
    def make(script, *, contract=EVENT, max_rows=1000, stream=False):
        reads = [Read(feed=EVENTS, key=key(scope), stream=stream) for scope in script]
        extracted = list(extract(raw, ScriptedSource(script), reads))
        return list(Batcher(raw, contract, split, None, max_rows).batches(extracted))

    return make


def ids(batch):
    return batch.table["event_id"].to_pylist()


def test_rows_carry_account_and_the_place_they_came_from(batches, raw):
    (batch,) = batches({"1": [page(0, [event(1), event(2)], last=True)]})
    row = batch.table.to_pylist()[1]
    assert (row["account"], row["raw_row"], row["load_id"], row["deleted_at"]) == ("north", 1, batch.load_id, None)
    assert raw.body(row["raw_page"]).startswith(b'[{"id": 1')
    assert batch.table.column_names == [column.name for column in EVENT.all_columns]


def test_same_pages_give_the_same_load_and_other_pages_or_contract_versions_another(batches):
    script = {"1": [page(0, [event(1)], last=True)]}
    (first,) = batches(script)
    (again,) = batches(script)
    (newer,) = batches(script, contract=dataclasses.replace(EVENT, version="1.1.0"))
    assert first.load_id == again.load_id != newer.load_id


def test_row_repeated_on_a_later_page_is_published_once_in_its_last_form(batches):
    (batch,) = batches({"1": [page(0, [event(1), event(2)]), page(1, [event(2, type="alarm"), event(3)], last=True)]})
    assert ids(batch) == [1, 2, 3]
    assert batch.table["event_type"].to_pylist()[1] == "alarm"
    assert batch.rows_read == 4


def test_rows_outside_the_window_are_left_to_their_own_window(batches):
    rows = [event(1), event(2, "2026-11-21T00:00:00.000+00:00"), event(3, "2026-11-19T23:59:59.999+00:00")]
    (batch,) = batches({"1": [page(0, rows, last=True)]})
    assert (ids(batch), batch.outside) == ([1], 2)


def test_stream_keeps_late_rows_of_any_day(batches):
    (batch,) = batches({"1": [page(0, [event(1, "2026-11-01T00:00:00.000+00:00")], last=True)]}, stream=True)
    assert (ids(batch), batch.outside) == ([1], 0)


def test_row_without_its_time_is_left_to_the_audit(batches):
    (batch,) = batches({"1": [page(0, [event(1, None)], last=True)]})
    assert ids(batch) == [1]


def test_untyped_row_is_kept_with_its_bytes(batches):
    (batch,) = batches({"1": [page(0, [event(1), event("x")], last=True)]})
    (reject,) = batch.rejects
    assert reject.reject.index == 1
    assert '"id": "x"' in reject.raw
    assert ids(batch) == [1]


def test_batches_are_bounded_and_only_whole_reads_may_delete(batches):
    script = {
        str(scope): [page(n, [event(scope * 100 + n, device=scope)], last=n == 2) for n in range(3)] for scope in (1, 2)
    }
    found = batches(script, max_rows=4)
    assert [len(ids(batch)) for batch in found] == [4, 2]
    assert [[item.read.scope for item in batch.reads] for batch in found] == [["1"], ["2"]]
    assert [[item.read.scope for item in batch.whole] for batch in found] == [["1"], []]


def test_broken_read_is_passed_on_but_may_not_delete(batches):
    (batch,) = batches({"1": [page(0, [event(1)]), VendorUnavailable("lost")], "2": [page(0, [event(2)], last=True)]})
    assert [item.read.scope for item in batch.reads] == ["1", "2"]
    assert [item.read.scope for item in batch.whole] == ["2"]


def test_read_without_pages_still_makes_a_batch_that_records_its_failure(batches):
    (batch,) = batches({"1": [VendorUnavailable("lost")]})
    assert batch.table.num_rows == 0
    assert isinstance(batch.reads[0].error, VendorUnavailable)


def test_fetched_at_is_the_page_s_and_times_are_utc(batches):
    (batch,) = batches({"1": [page(0, [event(1, "2026-11-20T08:00:00.000+01:00")], last=True)]})
    assert batch.table["event_time"].to_pylist() == [dt.datetime(2026, 11, 20, 7, tzinfo=dt.UTC)]
    assert batch.table["fetched_at"].to_pylist() == [dt.datetime(2026, 11, 22, tzinfo=dt.UTC)]


def test_rows_about_another_vehicle_than_asked_are_set_aside_and_the_read_is_known_as_foreign(batches):
    (batch,) = batches({"1": [page(0, [event(1), event(2, device=9)], last=True)]})
    assert ids(batch) == [1]
    assert [(item.reject.index, item.reject.column) for item in batch.rejects] == [(1, "device_id")]
    assert batch.rejects[0].reject.reason == "it is about 9, which was not asked for"
    assert batch.foreign == {key("1").folder}
