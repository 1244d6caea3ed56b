"""Lake and warehouse compared row by row: what is alike though written otherwise, and each way in which they can differ."""

from __future__ import annotations

import math
import uuid
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from fleetlake.lake import Lake
from fleetlake.pipeline.verify import verify
from fleetlake.window import Window

from .samples import column, contract, hours, publish, publish_both, ride, table

INCLUDE = Path(__file__).resolve().parents[2] / "include"


@pytest.fixture
def stores(warehouse, tmp_path):
    """A table of its own with three days of rides in both stores."""
    of = contract(f"ride_{uuid.uuid4().hex[:8]}")
    warehouse.migrate([of], INCLUDE)
    lake = Lake(str(tmp_path / "lake"))
    rows = [
        ride(f"r{number}", 1 + number % 3, number, note=f"n{number}", speed_kmh=number * 1.1, seats=number,
             is_loaded=bool(number % 2), extra='{"b":1.50,"aa":[1e22,-0.0,"é"]}')
        for number in range(72)
    ]  # fmt: skip
    publish_both(warehouse, lake, of, rows, "L1")
    return warehouse, lake, of


def change(warehouse, of, assignment, where="ride_id = 'r30'"):
    with warehouse.session() as connection:
        connection.execute(f"UPDATE {of.table} SET {assignment} WHERE {where}")
        connection.commit()


def only(report):
    (difference,) = report.differences
    return difference


def test_equal_stores_are_equal_however_they_write_json_and_zero(stores):
    warehouse, lake, of = stores
    change(
        warehouse,
        of,
        """extra = '{"aa": [10000000000000000000000, 0, "é"], "b": 1.5}', speed_kmh = '-0'""",
        "ride_id = 'r0'",
    )
    report = verify(warehouse, lake, of)
    assert report.is_equal
    assert (report.warehouse_rows, report.differences, report.days) == (72, [], [])


def test_values_that_are_no_number_are_alike(stores):
    warehouse, lake, of = stores
    publish_both(warehouse, lake, of, [ride("nan", speed_kmh=math.nan), ride("inf", speed_kmh=math.inf, note="")], "L2")
    assert verify(warehouse, lake, of).is_equal


@pytest.mark.parametrize(
    ("name", "assignment"),
    [
        ("note", "note = note || ' '"),
        ("note", "note = ''"),
        ("note", "note = NULL"),
        ("speed_kmh", "speed_kmh = speed_kmh + 1e-9"),
        ("seats", "seats = NULL"),
        ("is_loaded", "is_loaded = NOT is_loaded"),
        ("service_day", "service_day = '2026-01-05'"),
        ("extra", """extra = '{"b": 1.5, "aa": [1e22, 0, "e"]}'"""),
        ("raw_row", "raw_row = raw_row + 1"),
        ("deleted_at", "deleted_at = fetched_at"),
        ("event_time", "event_time = event_time + interval '1 microsecond'"),
        ("event_time", "event_time = event_time + interval '2 days'"),
    ],
)
def test_the_one_cell_that_differs_is_named_with_both_values(stores, name, assignment):
    warehouse, lake, of = stores
    change(warehouse, of, assignment)
    report = verify(warehouse, lake, of)
    assert not report.is_equal
    assert (report.differing, report.only_in_warehouse, report.only_in_lake) == (1, 0, 0)
    found = only(report)
    assert (found.kind, found.key) == ("differs", {"account": "north", "ride_id": "r30"})
    assert list(found.cells) == [name]
    mine, theirs = found.cells[name]
    assert mine != theirs


def test_two_values_that_change_places_are_a_difference(stores):
    warehouse, lake, of = stores
    change(warehouse, of, "note = 'n31'")
    change(warehouse, of, "note = 'n30'", "ride_id = 'r31'")
    assert {item.key["ride_id"] for item in verify(warehouse, lake, of).differences} == {"r30", "r31"}


def test_rows_that_one_store_lacks_are_named(stores):
    warehouse, lake, of = stores
    with warehouse.session() as connection:
        connection.execute(f"DELETE FROM {of.table} WHERE ride_id = 'r30'")
        connection.commit()
    publish(warehouse, of, [ride("new", 2, 30)], "L2")
    report = verify(warehouse, lake, of)
    assert (report.warehouse_rows, report.lake_rows) == (72, 72)
    assert (report.differing, report.only_in_warehouse, report.only_in_lake) == (0, 1, 1)
    assert {(item.kind, item.key["ride_id"]) for item in report.differences} == {
        ("only in lake", "r30"),
        ("only in warehouse", "new"),
    }
    assert [str(day) for day in report.days] == ["2026-01-06"]


def test_a_row_twice_in_the_lake_is_named(stores):
    warehouse, lake, of = stores
    rows = table(of, [ride("r30", 1, 30, load_id="L1")])
    write_deltalake(DeltaTable(lake.uri(of)), rows.append_column("day", rows["event_time"].cast(pa.date32())), mode="append")
    report = verify(warehouse, lake, of)
    assert (report.lake_rows, report.twice_in_lake, report.differing) == (73, 1, 0)
    assert (only(report).kind, only(report).key["ride_id"]) == ("twice in lake", "r30")


def test_a_cell_that_another_writer_changed_in_the_lake_is_named(stores):
    """Other writers leave files with other string types."""
    warehouse, lake, of = stores
    DeltaTable(lake.uri(of)).update(updates={"note": "'other'"}, predicate="ride_id = 'r30'")
    report = verify(warehouse, lake, of)
    assert (report.differing, only(report).key["ride_id"]) == (1, "r30")
    assert only(report).cells == {"note": ("n30", "other")}
    assert not verify(warehouse, lake, of, window=Window(hours(30), hours(31)), account="north").is_equal


def test_an_empty_lake_and_an_empty_window_are_told_apart(stores, tmp_path):
    warehouse, lake, of = stores
    report = verify(warehouse, Lake(str(tmp_path / "other")), of, shown=3)
    assert (report.lake_rows, report.only_in_warehouse, len(report.differences)) == (0, 72, 3)
    nothing = verify(warehouse, lake, of, window=Window(hours(1000), hours(1001)))
    assert (nothing.is_equal, nothing.warehouse_rows) == (True, 0)


def test_window_and_account_limit_what_is_compared(stores):
    warehouse, lake, of = stores
    change(warehouse, of, "note = 'wrong'")
    assert verify(warehouse, lake, of, window=Window(hours(0), hours(30))).is_equal
    assert not verify(warehouse, lake, of, window=Window(hours(30), hours(31))).is_equal
    assert verify(warehouse, lake, of, account="south").is_equal


def test_too_many_differences_are_counted_not_collected(stores, monkeypatch):
    warehouse, _, of = stores
    monkeypatch.setattr("fleetlake.pipeline.verify.LOOKED_INTO", 20)
    report = verify(warehouse, Lake("/nowhere/at/all"), of, shown=2)
    assert 0 < report.only_in_warehouse <= 20
    assert report.unlooked_buckets > 0
    assert len(report.differences) == 2


def test_personal_data_is_not_shown(warehouse, tmp_path):
    columns = (*contract().columns[:3], column("driver_name", "text", is_personal=True), column("age", "integer"))
    of = contract(f"ride_{uuid.uuid4().hex[:8]}", columns=columns)
    warehouse.migrate([of], INCLUDE)
    lake = Lake(str(tmp_path / "lake"))
    publish_both(warehouse, lake, of, [ride("r30", driver_name="Anna", age=30)], "L1")
    change(warehouse, of, "driver_name = 'Anne', age = 31")
    found = only(verify(warehouse, lake, of))
    assert found.cells == {"driver_name": ("***", "***"), "age": (31, 30)}


def test_a_table_without_time_is_compared_too(warehouse, tmp_path):
    of = contract(f"ride_{uuid.uuid4().hex[:8]}", time_column=None)
    warehouse.migrate([of], INCLUDE)
    lake = Lake(str(tmp_path / "lake"))
    publish_both(warehouse, lake, of, [ride(f"r{number}", seats=number) for number in range(50)], "L1")
    assert verify(warehouse, lake, of).is_equal
    change(warehouse, of, "seats = 0")
    found = only(verify(warehouse, lake, of))
    assert (found.key["ride_id"], found.cells, verify(warehouse, lake, of).days) == ("r30", {"seats": (0, 30)}, [])


def test_loads_that_go_on_meanwhile_are_no_difference(stores):
    """Batches are published without a pause while the stores are compared again and again."""
    import threading

    warehouse, lake, of = stores
    stop = threading.Event()

    def work():
        number = 0
        while not stop.is_set():
            number += 1
            rows = [ride(f"w{number % 5}", 1, 80, fetched=number, note=f"{number}")]
            with warehouse.publishing(of) as tx:
                lake.publish(of, table(of, rows), f"W{number}")
                tx.stage(table(of, rows))
                tx.upsert(f"W{number}")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        reports = [verify(warehouse, lake, of) for _ in range(15)]
    finally:
        stop.set()
        worker.join()
    assert [report.differences for report in reports] == [[]] * 15
    assert all(report.is_equal for report in reports)
    assert len({report.warehouse_digest for report in reports}) > 1
