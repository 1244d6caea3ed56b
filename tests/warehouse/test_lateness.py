"""What publishing tells about lateness: ages of new rows, and proven vehicle-days that have changed after all."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from fleetlake.changes import Deletion
from fleetlake.contracts import Contract
from fleetlake.coverage import Interval, State
from fleetlake.reading import Kind
from fleetlake.warehouse import LoadRecord, ReadRecord, Warehouse
from fleetlake.window import DAY, Window

from .samples import column, contract, hours, ride, table

FIRST = Window(hours(0), hours(24))
SIZE = 24


class Table:
    """A table of its own, published as the pipeline does it: one read of one vehicle and window after the other."""

    def __init__(self, warehouse: Warehouse, **changes: Any) -> None:
        base = contract(f"ride_{uuid.uuid4().hex[:8]}")
        fields = {"columns": (*base.columns, column("received_time", "timestamptz")), "received_column": "received_time"}
        self.of: Contract = contract(base.name, **{**fields, **changes})
        self.warehouse = warehouse
        warehouse.migrate([self.of])

    def read(
        self,
        fetched: dt.datetime,
        *rows: dict[str, Any],
        window: Window = FIRST,
        folder: str | None = None,
        version: str = "1.0.0",
        scheduled: bool = True,
        proves: bool = True,
        vehicle: int = 1,
    ) -> str:
        load_id, folder = uuid.uuid4().hex, folder or uuid.uuid4().hex
        of, account = self.of, "north"
        record = LoadRecord(
            load_id=load_id, account=account, dataset=of.table, contract_version=version, feed=of.feed, kind=of.kind,
            lane="scheduled", dag_id="d", run_id=f"r {fetched}", fetched_to=fetched, is_scheduled=scheduled,
        )  # fmt: skip
        read = ReadRecord(
            read=folder, dataset=of.table, account=account, feed=of.feed, scope=str(vehicle), window_start=window.start,
            window_end=window.end, dag_id="d", run_id="r", pages=1, bytes=1, is_complete=True, load_id=load_id,
        )  # fmt: skip
        interval = Interval(
            account=account, dataset=of.table, scope=str(vehicle) if of.scope_column else "_fleet", window=window,
            state=State.COMPLETE if proves else State.PARTIAL, proof="p", fetched_at=fetched, load_id=load_id,
        )  # fmt: skip
        found = [{**row, "fetched_at": fetched, "vehicle_id": vehicle} for row in rows]
        with self.warehouse.publishing(of, fetched) as tx:
            tx.stage(table(of, found))
            change = tx.upsert(load_id)
            change += tx.mark_deleted(Deletion(account=account, scopes=[str(vehicle)], window=window, at=fetched), load_id)
            tx.record_load(record.with_change(change))
            tx.record_reads([read])
            tx.record_coverage([interval])
            tx.record_changes(record)
        return folder

    def sql(self, what: str, name: str) -> list[tuple[Any, ...]]:
        return sorted(self.warehouse.query(f"SELECT {what} FROM ops.{name} WHERE dataset = '{self.of.table}'")[1])

    @property
    def late(self) -> list[tuple[Any, ...]]:
        """Day's number and age of the late vehicle-days."""
        return self.sql(f"day - '{hours(0):%Y-%m-%d}'::date, age_days", "late_day")

    @property
    def again(self) -> list[tuple[Any, ...]]:
        return self.sql("age_days, vehicle_days, late_vehicle_days", "reread")


@pytest.fixture
def rides(warehouse: Warehouse) -> Table:
    return Table(warehouse)


def came(ride_id: str, hour: float, received: float) -> dict[str, Any]:
    return {**ride(ride_id, hour=hour), "received_time": hours(received)}


def test_new_rows_are_counted_by_their_age_on_each_clock(rides: Table) -> None:
    rides.read(hours(24), came("a", 1, 1 + 5 / 3600), came("b", 2, 2 + 5 / 3600), came("c", 3, 20))
    assert rides.sql("clock, below_s::int, rows::int, max_s::int", "lateness") == [
        ("event_fetched", 86400, 3, 23 * 3600),
        ("event_received", 10, 2, 5),
        ("event_received", 86400, 1, 17 * 3600),
        ("received_fetched", 21600, 1, 4 * 3600),
        ("received_fetched", 86400, 2, 22 * 3600 + 3600 - 5),
    ]
    status = rides.sql("clock, rows, p50_s::int, p99_s::int, max_s::int", "lateness_status")
    assert ("event_received", 3, 10, 17 * 3600, 17 * 3600) in status


def test_rows_that_were_there_already_count_once(rides: Table) -> None:
    rides.read(hours(24), came("a", 1, 1))
    rides.read(hours(48), came("a", 1, 1), came("b", 2, 30))
    assert rides.sql("sum(rows)::int", "lateness") == [(6,)], "three clocks of two rows"


def test_a_backfill_tells_when_the_vendor_had_a_row_and_nothing_of_our_own_lateness(rides: Table) -> None:
    rides.read(hours(9000), came("a", 1, 2), scheduled=False)
    assert rides.sql("clock, rows::int", "lateness") == [("event_received", 1)]
    assert (rides.late, rides.again) == ([], [])


def test_rows_without_a_time_of_receipt_have_one_clock(warehouse: Warehouse) -> None:
    rides = Table(warehouse, received_column=None)
    rides.read(hours(24), came("a", 1, 1))
    assert rides.sql("clock, rows::int", "lateness") == [("event_fetched", 1)]


@pytest.mark.parametrize(
    "later",
    [
        [came("a", 1, 1), came("b", 2, 50)],  # a new row
        [{**came("a", 1, 1), "note": "changed"}],
        [],  # it is gone
        [came("a", 25, 1)],  # it belongs to another day now
    ],
)
def test_a_proven_vehicle_day_that_changes_later_is_late(rides: Table, later: list[dict[str, Any]]) -> None:
    rides.read(hours(24), came("a", 1, 1))
    rides.read(hours(24 + 3 * SIZE), *later)
    assert rides.late == [(0, 3)]
    assert rides.again == [(3, 1, 1)]


def test_a_vehicle_day_that_stays_as_it_was_is_counted_and_not_late(rides: Table) -> None:
    rides.read(hours(24), came("a", 1, 1))
    for age in (1, 2, 7):
        rides.read(hours(24 + age * SIZE), came("a", 1, 1))
    assert rides.late == []
    assert rides.again == [(1, 1, 0), (2, 1, 0), (7, 1, 0)]


def test_of_a_longer_window_only_the_days_that_were_proven_and_changed_are_late(rides: Table) -> None:
    rides.read(hours(48), came("a", 1, 1), came("b", 30, 30), window=Window(hours(0), hours(48)))
    window = Window(hours(0), hours(72))
    rides.read(hours(96), came("a", 1, 1), came("b", 30, 30), came("c", 31, 90), came("d", 60, 60), window=window)
    assert rides.late == [(1, 2)]
    assert rides.again == [(2, 1, 1), (3, 1, 0)]


def test_what_was_never_proven_is_not_late(rides: Table) -> None:
    rides.read(hours(24), came("a", 1, 1), proves=False)
    rides.read(hours(24 + 5 * SIZE), came("a", 1, 1), came("b", 2, 2))
    assert (rides.late, rides.again) == ([], [])


def test_what_comes_on_the_same_day_is_not_late(rides: Table) -> None:
    rides.read(hours(24), came("a", 1, 1))
    rides.read(hours(47), came("a", 1, 1), came("b", 2, 30))
    assert (rides.late, rides.again) == ([], [])


def test_another_vehicle_s_change_is_not_mine(rides: Table) -> None:
    for vehicle in (1, 2):
        rides.read(hours(24), came(f"a{vehicle}", 1, 1), vehicle=vehicle)
    rides.read(hours(72), came("a1", 1, 1), vehicle=1)
    rides.read(hours(72), came("a2", 1, 1), came("b2", 2, 60), vehicle=2)
    assert rides.sql("scope", "late_day") == [("2",)]
    assert rides.again == [(2, 2, 1)]


def test_a_read_that_is_published_again_teaches_nothing(rides: Table) -> None:
    rides.read(hours(24), came("a", 1, 1))
    folder = rides.read(hours(72), came("a", 1, 1))
    rides.read(hours(72), {**came("a", 1, 1), "note": "read by another mapping"}, folder=folder)
    assert rides.late == []
    assert rides.again == [(2, 1, 0)]


def test_another_contract_s_values_are_not_late(rides: Table) -> None:
    rides.read(hours(24), came("a", 1, 1))
    rides.read(hours(48), {**came("a", 1, 1), "seats": 4}, version="1.1.0")
    rides.read(hours(72), {**came("a", 1, 1), "seats": 5}, version="1.1.0")
    assert rides.late == [], "the day was read under the older contract, too"
    second = Window(hours(48), hours(72))
    rides.read(hours(73), came("b", 50, 50), window=second, version="1.1.0")
    rides.read(hours(100), {**came("b", 50, 50), "seats": 4}, window=second, version="1.1.0")
    assert rides.late == [(2, 1)], "of later days all is seen again"


def test_what_somebody_reads_again_is_found_late_and_counts_for_no_schedule(rides: Table) -> None:
    rides.read(hours(24), came("a", 1, 1))
    rides.read(hours(24 + 40 * SIZE), came("a", 1, 1), came("b", 2, 800), scheduled=False)
    assert rides.late == [(0, 40)]
    assert rides.again == []


def test_a_fleet_wide_table_has_fleet_wide_days(warehouse: Warehouse) -> None:
    rides = Table(warehouse, scope_column=None)
    of, days = rides.of, [hours(24), hours(24) + 3 * DAY]
    for number, fetched in enumerate(days):
        load_id = uuid.uuid4().hex
        record = LoadRecord(
            load_id=load_id, account="north", dataset=of.table, contract_version="1", feed=of.feed, kind=Kind.WINDOW.value,
            lane="scheduled", dag_id="d", run_id="r", fetched_to=fetched, is_scheduled=True,
        )  # fmt: skip
        with warehouse.publishing(of, fetched) as tx:
            tx.stage(table(of, [{**came(f"a{number}", 1, 1), "fetched_at": fetched}]))
            tx.record_load(record.with_change(tx.upsert(load_id)))
            tx.record_coverage(
                [
                    Interval(
                        account="north", dataset=of.table, scope="_fleet", window=FIRST, state=State.COMPLETE, proof="p",
                        fetched_at=fetched,
                    )
                ]
            )  # fmt: skip
            tx.record_changes(record)
    assert rides.sql("scope, age_days", "late_day") == [("_fleet", 3)]
    assert rides.again == [(3, 1, 1)]


def test_findings_are_kept_for_a_hundred_days(rides: Table) -> None:
    rides.read(hours(24), came("a", 1, 1))
    rides.read(hours(72), came("a", 1, 1), came("b", 2, 60))
    rides.read(hours(72 + 101 * SIZE), came("a", 1, 1), came("b", 2, 60))
    assert rides.late == []
