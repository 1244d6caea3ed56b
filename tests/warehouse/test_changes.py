"""Word of what a batch changed: the vehicle-days that whoever builds on a table has to look at again."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from fleetlake.changes import Deletion
from fleetlake.contracts import Contract
from fleetlake.coverage import Interval, State
from fleetlake.warehouse import LoadRecord, Warehouse
from fleetlake.window import Window

from .samples import column, contract, hours, ride, table

DAY0, DAY1 = hours(0).date(), hours(24).date()

Publish = Callable[..., set[tuple[str, dt.date | None]]]


@pytest.fixture
def of(warehouse: Warehouse) -> Contract:
    return declared(warehouse)


def declared(warehouse: Warehouse, **changes: Any) -> Contract:
    made = contract(f"ride_{uuid.uuid4().hex[:8]}", **changes)
    warehouse.migrate([made])
    return made


def changes_of(
    warehouse: Warehouse, of: Contract, rows: list[dict[str, Any]], *deletions: Deletion, proven: Window | None = None
) -> set[tuple[str, dt.date | None]]:
    """Publish a batch; the vehicle-days it left word of."""
    load_id = uuid.uuid4().hex
    record = LoadRecord(
        load_id=load_id, account="north", dataset=of.table, contract_version=of.version, feed=of.feed, kind=of.kind,
        lane="scheduled", dag_id="d", run_id="r",
    )  # fmt: skip
    with warehouse.publishing(of) as tx:
        tx.stage(table(of, rows))
        tx.upsert(load_id)
        for deletion in deletions:
            tx.mark_deleted(deletion, load_id)
        if proven:
            tx.record_coverage(
                [
                    Interval(
                        account="north", dataset=of.table, scope="1", window=proven, state=State.COMPLETE, proof="p",
                        fetched_at=hours(2000), load_id=load_id,
                    )
                ]
            )  # fmt: skip
        tx.record_changes(record)
    found = warehouse.query(f"SELECT scope, day FROM ops.change WHERE load_id = '{load_id}'")[1]
    words = [tuple(row) for row in found]
    assert len(words) == len(set(words)), "each vehicle-day once"
    return set(words)


def test_new_and_changed_rows_name_their_vehicle_days_and_unchanged_ones_do_not(warehouse: Warehouse, of: Contract) -> None:
    first = [ride("a", 1, 3), ride("b", 1, 4), ride("c", 2, 30)]
    assert changes_of(warehouse, of, first) == {("1", DAY0), ("2", DAY1)}
    assert changes_of(warehouse, of, first) == set()
    assert changes_of(warehouse, of, [ride("a", 1, 3, fetched=1, note="x"), ride("c", 2, 30, fetched=1)]) == {("1", DAY0)}


def test_a_row_that_moves_to_another_day_names_both(warehouse: Warehouse, of: Contract) -> None:
    changes_of(warehouse, of, [ride("a", 1, 3)])
    assert changes_of(warehouse, of, [ride("a", 1, 25, fetched=1)]) == {("1", DAY0), ("1", DAY1)}


def test_a_row_that_moves_to_another_vehicle_names_both(warehouse: Warehouse, of: Contract) -> None:
    changes_of(warehouse, of, [ride("a", 1, 3)])
    assert changes_of(warehouse, of, [ride("a", 2, 3, fetched=1)]) == {("1", DAY0), ("2", DAY0)}


def test_rows_marked_deleted_name_their_vehicle_days(warehouse: Warehouse, of: Contract) -> None:
    changes_of(warehouse, of, [ride("a", 1, 3), ride("b", 2, 3)])
    gone = Deletion(account="north", scopes=["1"], window=Window(hours(0), hours(24)), at=hours(1002))
    assert changes_of(warehouse, of, [], gone) == {("1", DAY0)}


def test_newly_proven_days_are_named_once_and_only_the_new_ones(warehouse: Warehouse, of: Contract) -> None:
    assert changes_of(warehouse, of, [], proven=Window(hours(0), hours(24))) == {("1", DAY0)}
    assert changes_of(warehouse, of, [], proven=Window(hours(0), hours(48))) == {("1", DAY1)}
    assert changes_of(warehouse, of, [], proven=Window(hours(0), hours(48))) == set()


def test_tables_without_time_or_vehicle_say_so(warehouse: Warehouse) -> None:
    snapshot = declared(warehouse, scope_column=None, time_column=None)
    assert changes_of(warehouse, snapshot, [ride("a", 1, 3)]) == {("_fleet", None)}


def test_a_fleet_wide_answer_names_the_vehicle_its_rows_refer_to(warehouse: Warehouse) -> None:
    columns = tuple(
        column("vehicle_id", "bigint", references="sample.vehicle.vehicle_id") if item.name == "vehicle_id" else item
        for item in contract().columns
    )
    report = declared(warehouse, scope_column=None, columns=columns)
    assert changes_of(warehouse, report, [ride("a", 7, 3)]) == {("7", DAY0)}


def test_a_run_that_was_judged_is_remembered_with_its_last_judgement(warehouse: Warehouse) -> None:
    warehouse.record_run_end("d", "judged", is_complete=False)
    warehouse.record_run_end("d", "judged", is_complete=True)
    assert list(warehouse.query("SELECT state FROM ops.run_end WHERE run_id = 'judged'")[1]) == [("complete",)]
