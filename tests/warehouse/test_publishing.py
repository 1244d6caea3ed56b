"""What publishing does to rows, in both stores alike: every case goes through lake and warehouse and compares them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fleetlake.changes import Change, Deletion
from fleetlake.contracts import Contract
from fleetlake.errors import ContractError, DataError
from fleetlake.lake import Lake
from fleetlake.warehouse import Warehouse
from fleetlake.window import Window

from .samples import column, contract, current, hours, publish, publish_both, ride, table

INCLUDE = Path(__file__).resolve().parents[2] / "include"
DAY = Window(hours(0), hours(24))


class Stores:
    """A lake, a warehouse and a table of their own."""

    def __init__(self, warehouse: Warehouse, lake: Lake, of: Contract) -> None:
        self.warehouse, self.lake, self.of = warehouse, lake, of
        warehouse.migrate([of], INCLUDE)

    def publish(self, rows: list[dict[str, Any]], load_id: str, *deletions: Deletion) -> Change:
        return publish_both(self.warehouse, self.lake, self.of, rows, load_id, *deletions)

    def current(self, *names: str) -> list[tuple[Any, ...]]:
        return list(current(self.warehouse.rows(self.of), *names))


@pytest.fixture
def make_stores(warehouse: Warehouse, tmp_path: Path) -> Callable[..., Stores]:
    def make(**changes: Any) -> Stores:
        of = contract(f"ride_{uuid.uuid4().hex[:8]}", **changes)
        return Stores(warehouse, Lake(str(tmp_path / "lake")), of)

    return make


@pytest.fixture
def stores(make_stores: Callable[..., Stores]) -> Stores:
    return make_stores()


def test_every_value_survives_both_stores_exactly(stores: Stores) -> None:
    odd = [
        ride("empty", note="", extra="{}", seats=0, speed_kmh=-0.0, is_loaded=False),
        ride("null"),
        ride("text", note='a "quoted", \\N \\. \n line\r\n\ttab é 漢 🚗', extra='{"a":[1,2.5,null,"é"],"b":{"c":true}}'),
        ride("number", speed_kmh=0.1 + 0.2, seats=-2147483648, vehicle=2**62),
        ride("tiny", speed_kmh=5e-324),
        ride("huge", speed_kmh=1.7976931348623157e308),
        ride("micro", event_time=hours(1).replace(microsecond=1), service_day=hours(0).date()),
    ]
    stores.publish(odd, "L1")
    by_id = {row["ride_id"]: row for row in stores.warehouse.rows(stores.of)}
    assert by_id["empty"]["note"] == ""
    assert by_id["null"]["note"] is None
    assert by_id["text"]["note"] == odd[2]["note"]
    assert by_id["text"]["extra"] == {"a": [1, 2.5, None, "é"], "b": {"c": True}}
    assert by_id["number"]["speed_kmh"] == 0.1 + 0.2
    assert by_id["tiny"]["speed_kmh"] == 5e-324
    assert by_id["micro"]["event_time"].microsecond == 1


def test_the_same_batch_again_changes_nothing_and_commits_nothing(stores: Stores) -> None:
    rows = [ride("a", note="x"), ride("b", hour=30)]
    assert stores.publish(rows, "L1") == Change(inserted=2)
    version = stores.lake._open(stores.of).version()
    assert stores.publish(rows, "L1") == Change(unchanged=2)
    assert stores.lake._open(stores.of).version() == version


def test_an_unchanged_row_keeps_its_provenance(stores: Stores) -> None:
    stores.publish([ride("a", note="x")], "L1")
    before = next(stores.warehouse.rows(stores.of, columns=["load_id", "loaded_at", "raw_page"]))
    assert stores.publish([ride("a", note="x", fetched=5)], "L2") == Change(unchanged=1)
    assert next(stores.warehouse.rows(stores.of, columns=["load_id", "loaded_at", "raw_page"])) == before


def test_a_changed_row_is_replaced_nulls_included(stores: Stores) -> None:
    stores.publish([ride("a", note="x", seats=4)], "L1")
    assert stores.publish([ride("a", note="y", fetched=5)], "L2") == Change(updated=1)
    assert stores.current("note", "seats", "load_id", "raw_page") == [("y", None, "L2", "page-5")]


def test_a_not_a_number_is_equal_to_itself(stores: Stores) -> None:
    nan = float("nan")
    for store_change in (
        publish(stores.warehouse, stores.of, [ride("a", speed_kmh=nan)], "L1"),
        stores.lake.publish(stores.of, table(stores.of, [ride("a", speed_kmh=nan)]), "L1"),
    ):
        assert store_change == Change(inserted=1)
    for store_change in (
        publish(stores.warehouse, stores.of, [ride("a", speed_kmh=nan, fetched=1)], "L2"),
        stores.lake.publish(stores.of, table(stores.of, [ride("a", speed_kmh=nan, fetched=1)]), "L2"),
    ):
        assert store_change == Change(unchanged=1)


def test_an_older_batch_published_late_does_not_turn_back_time(stores: Stores) -> None:
    stores.publish([ride("a", note="new", fetched=5)], "L2")
    assert stores.publish([ride("a", note="old", fetched=1)], "L1") == Change(unchanged=1)
    assert stores.current("note") == [("new",)]


def test_a_new_reading_of_the_same_pages_replaces(stores: Stores) -> None:
    stores.publish([ride("a", note="mapped badly")], "L1")
    assert stores.publish([ride("a", note="mapped well")], "L2") == Change(updated=1)


def test_of_rows_with_one_key_the_one_fetched_last_stays(stores: Stores) -> None:
    repeated = [ride("a", note="late", fetched=2), ride("a", note="early", fetched=1), ride("b")]
    assert stores.publish(repeated, "L1") == Change(inserted=2)
    assert stores.current("ride_id", "note")[0] == ("a", "late")


def test_a_batch_may_be_staged_in_parts(warehouse: Warehouse, stores: Stores) -> None:
    with warehouse.publishing(stores.of) as tx:
        tx.stage(table(stores.of, [ride("a")]))
        tx.stage(table(stores.of, [ride("b"), ride("a", note="again", fetched=1)]))
        assert tx.upsert("L1") == Change(inserted=2)
    assert stores.current("ride_id", "note") == [("a", "again"), ("b", None)]


def test_a_row_that_moves_to_another_day_is_not_doubled(stores: Stores) -> None:
    stores.publish([ride("a", hour=1), ride("b", hour=2), ride("c", hour=26)], "L1")
    assert stores.publish([ride("a", hour=25, fetched=1)], "L2") == Change(updated=1)
    assert stores.current("ride_id", "event_time") == [("a", hours(25)), ("b", hours(2)), ("c", hours(26))]


def test_inserts_and_updates_of_several_days_in_one_batch(stores: Stores) -> None:
    stores.publish([ride(f"r{hour}", hour=hour) for hour in range(0, 96, 6)], "L1")
    news = [ride("r6", hour=6, note="x", fetched=1), ride("new", hour=50, fetched=1), ride("later", hour=200, fetched=1)]
    assert stores.publish(news, "L2") == Change(inserted=2, updated=1)


# --- deletions ------------------------------------------------------------------------------------------------------


def whole(at: float, **changes: Any) -> Deletion:
    fields: dict[str, Any] = {"account": "north", "scopes": ["1"], "window": DAY, "at": hours(1000 + at), **changes}
    return Deletion(**fields)


def test_only_absent_rows_of_the_scopes_and_the_window_are_marked(stores: Stores) -> None:
    stores.publish(
        [
            ride("kept", 1, 1),
            ride("gone", 1, 23.9),
            ride("other-vehicle", 2, 1),
            ride("day-after", 1, 24),
            ride("other-account", 1, 1, account="south"),
        ],
        "L1",
    )
    assert stores.publish([ride("kept", 1, 1, fetched=2)], "L2", whole(2)) == Change(unchanged=1, deleted=1)
    (gone,) = [row for row in stores.warehouse.rows(stores.of) if row["deleted_at"]]
    assert (gone["ride_id"], gone["deleted_at"], gone["load_id"]) == ("gone", hours(1002), "L2")
    assert stores.publish([ride("kept", 1, 1, fetched=2)], "L2", whole(2)) == Change(unchanged=1), "once is enough"


def test_an_empty_whole_answer_marks_all_rows_of_its_window(stores: Stores) -> None:
    stores.publish([ride("a", 1, 1), ride("b", 1, 30)], "L1")
    assert stores.publish([], "L2", whole(1)) == Change(deleted=1)
    assert stores.current("ride_id") == [("b",)]


def test_a_whole_answer_about_the_fleet_marks_all_scopes(stores: Stores) -> None:
    stores.publish([ride("a", 1, 1), ride("b", 2, 30), ride("c", 3, 1, account="south")], "L1")
    assert stores.publish([], "L2", whole(1, scopes=None, window=None)) == Change(deleted=2)
    assert stores.current("ride_id") == [("c",)]


def test_several_deletions_in_one_publication(stores: Stores) -> None:
    stores.publish([ride("a", 1, 1), ride("b", 2, 30), ride("c", 3, 1)], "L1")
    second = whole(1, scopes=["2", "1"], window=Window(hours(24), hours(48)))
    assert stores.publish([], "L2", whole(1), second, whole(1)) == Change(deleted=2)


def test_a_row_read_after_the_answer_is_not_marked(stores: Stores) -> None:
    stores.publish([ride("late", 1, 1, fetched=5)], "L2")
    assert stores.publish([], "L1", whole(2)) == Change()


def test_rows_in_quarantine_are_not_taken_for_gone(stores: Stores) -> None:
    stores.publish([ride("a", 1, 1), ride("b", 1, 2)], "L1")
    keys = pa.table({"account": ["north"], "ride_id": ["a"]})
    assert stores.publish([], "L2", whole(1, present=keys)) == Change(deleted=1)
    assert stores.current("ride_id") == [("a",)]


def test_a_row_that_comes_back_is_current_again(stores: Stores) -> None:
    stores.publish([ride("a", 1, 1)], "L1")
    stores.publish([], "L2", whole(1))
    assert stores.publish([ride("a", 1, 1, fetched=3)], "L3") == Change(updated=1)
    assert stores.current("ride_id", "load_id") == [("a", "L3")]


def test_publishing_the_batch_before_a_deletion_again_does_not_revive_the_row(stores: Stores) -> None:
    rows = [ride("a", 1, 1)]
    stores.publish(rows, "L1")
    stores.publish([], "L2", whole(1))
    assert stores.publish(rows, "L1") == Change(unchanged=1)
    assert stores.current("ride_id") == []


def test_a_deletion_needs_the_columns_it_names(make_stores: Callable[..., Stores]) -> None:
    fleet_wide = make_stores(scope_column=None)
    for attempt in (
        lambda: (
            fleet_wide.lake.publish(fleet_wide.of, table(fleet_wide.of, [ride("a")]), "L1")
            and fleet_wide.lake.publish(fleet_wide.of, table(fleet_wide.of, []), "L2", [whole(1)])
        ),
        lambda: publish(fleet_wide.warehouse, fleet_wide.of, [], "L2", whole(1)),
    ):
        with pytest.raises(ContractError, match="no scopeColumn"):
            attempt()


# --- coalesce -------------------------------------------------------------------------------------------------------


def test_coalesce_never_overwrites_a_value_with_null(make_stores: Callable[..., Stores]) -> None:
    stores = make_stores(merge="coalesce")
    stores.publish([ride("a", note="x", seats=4, fetched=1)], "L1")
    assert stores.publish([ride("a", note="y", speed_kmh=7.0, fetched=2)], "L2") == Change(updated=1)
    assert stores.current("note", "seats", "speed_kmh", "load_id") == [("y", 4, 7.0, "L2")]
    assert stores.publish([ride("a", fetched=3)], "L3") == Change(unchanged=1)


def test_coalesce_lets_an_older_answer_fill_only_what_is_unknown(make_stores: Callable[..., Stores]) -> None:
    stores = make_stores(merge="coalesce")
    stores.publish([ride("a", note="new", fetched=5)], "L2")
    assert stores.publish([ride("a", note="old", seats=4, fetched=1)], "L1") == Change(updated=1)
    assert stores.current("note", "seats", "raw_page", "load_id") == [("new", 4, "page-5", "L1")]


# --- shapes ---------------------------------------------------------------------------------------------------------


def test_a_table_without_time_is_published_alike(make_stores: Callable[..., Stores]) -> None:
    stores = make_stores(time_column=None)
    stores.publish([ride("a"), ride("b", note="x")], "L1")
    assert stores.publish([ride("b", note="y", fetched=1)], "L2", whole(1, scopes=None, window=None)) == Change(
        updated=1, deleted=1
    )
    assert stores.current("ride_id", "note") == [("b", "y")]


def test_a_new_column_reaches_both_stores(stores: Stores) -> None:
    stores.publish([ride("a")], "L1")
    of = contract(stores.of.name, columns=(*stores.of.columns, column("smell", "text", required=True)))
    newer = Stores(stores.warehouse, stores.lake, of)
    assert newer.publish([ride("b", smell="new", fetched=1)], "L2") == Change(inserted=1)
    assert newer.publish([ride("a", smell="old", fetched=2)], "L3") == Change(updated=1)
    assert newer.current("ride_id", "smell") == [("a", "old"), ("b", "new")]


def test_a_missing_required_value_is_refused_by_name(stores: Stores) -> None:
    bad = table(stores.of, [ride("a", vehicle_id=None)])
    with pytest.raises(DataError, match="'vehicle_id', which is required"):
        stores.lake.publish(stores.of, bad, "L1")
    with pytest.raises(DataError, match="'vehicle_id', which is required"), stores.warehouse.publishing(stores.of) as tx:
        tx.stage(bad)
        tx.upsert("L1")
    with pytest.raises(DataError, match="no column 'note'"):
        stores.lake.publish(stores.of, table(stores.of, []).drop_columns(["note"]), "L1")


@pytest.mark.parametrize(
    ("name", "value"), [("note", "nul \x00 inside"), ("extra", '{"a":"\\u0000"}'), ("extra", '"\\\\\\u0000"')]
)
def test_a_value_that_postgresql_cannot_hold_reaches_neither_store(stores: Stores, name: str, value: str) -> None:
    bad = ride("a", **{name: value})
    with pytest.raises(DataError, match=f"{name!r} holds the character NUL"):
        stores.lake.publish(stores.of, table(stores.of, [bad]), "L1")
    with pytest.raises(DataError, match=f"{name!r} holds the character NUL"):
        publish(stores.warehouse, stores.of, [bad], "L1")
    assert list(stores.warehouse.rows(stores.of)) == []


def test_an_escaped_backslash_is_no_nul(stores: Stores) -> None:
    stores.publish([ride("a", extra='"\\\\u0000"')], "L1")
    assert next(stores.warehouse.rows(stores.of))["extra"] == "\\u0000"


def test_reading_narrows_by_window_and_account_in_both_stores(stores: Stores) -> None:
    rows = [ride(f"r{hour}", hour=hour) for hour in range(0, 72, 12)] + [ride("south", hour=30, account="south")]
    stores.publish(rows, "L1")
    for window, account, expected in (
        (DAY, None, {"r0", "r12"}),
        (Window(hours(12), hours(36.5)), None, {"r12", "r24", "r36", "south"}),
        (None, "south", {"south"}),
        (Window(hours(24), hours(48)), "north", {"r24", "r36"}),
    ):
        for store in (stores.lake, stores.warehouse):
            assert {row["ride_id"] for row in store.rows(stores.of, window, account)} == expected


def test_all_contracts_of_the_checkout_can_be_published(
    warehouse: Warehouse, tmp_path: Path, contracts: Mapping[str, Contract]
) -> None:
    values: dict[str, Any] = {
        "text": "x", "bigint": 7, "integer": 7, "double precision": 7.5, "boolean": True, "jsonb": "[1]",
        "timestamptz": hours(1), "date": hours(1).date(),
    }  # fmt: skip
    lake = Lake(str(tmp_path))
    for of in contracts.values():
        row = {column.name: values[column.type] for column in of.columns}
        row |= {"account": "north", "fetched_at": hours(9), "raw_page": "p", "raw_row": 0, "deleted_at": None}
        assert publish_both(warehouse, lake, of, [row], "L1") == Change(inserted=1)
