"""Coverage, loads, reads, cursors, quality and quarantine in the database."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from fleetlake.contracts import Contract
from fleetlake.coverage import Interval, State, merge, overlay
from fleetlake.warehouse import Change, CheckRecord, LoadRecord, QuarantineRecord, ReadRecord, Warehouse, ledger
from fleetlake.window import Window
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .samples import contract, hours, publish, ride, table

INCLUDE = Path(__file__).resolve().parents[2] / "include"
DAY = Window(hours(0), hours(24))


@pytest.fixture
def dataset() -> str:
    return f"sample.{uuid.uuid4().hex[:8]}"


@pytest.fixture
def of(warehouse: Warehouse) -> Contract:
    made = contract(f"ride_{uuid.uuid4().hex[:8]}")
    warehouse.migrate([made], INCLUDE)
    return made


def interval(dataset: str, scope: str, start: float, end: float, state: State = State.COMPLETE, **changes: Any) -> Interval:
    fields: dict[str, Any] = {"proof": "terminal page: p", "rows": 1, "fetched_at": hours(99), "load_id": "L", **changes}
    return Interval(
        account="north", dataset=dataset, scope=scope, window=Window(hours(start), hours(end)), state=state, **fields
    )


def load(of: Contract, load_id: str, **changes: Any) -> LoadRecord:
    fields: dict[str, Any] = {
        "load_id": load_id, "account": "north", "dataset": of.table, "contract_version": "1.0.0", "feed": "rides",
        "kind": "window", "lane": "scheduled", "dag_id": "dag", "run_id": "run-1", "partition": "2026-01-05", "window": DAY,
        **changes,
    }  # fmt: skip
    return LoadRecord(**fields)


def answer(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    return list(warehouse.query(query)[1])


# --- coverage -----------------------------------------------------------------------------------------------------------

entries = st.tuples(
    st.sampled_from(["1", "2"]), st.integers(0, 11), st.integers(1, 12), st.sampled_from(State), st.sampled_from("ab")
)


@given(st.lists(st.lists(entries, max_size=4), max_size=5), st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_ledger_is_what_the_interval_logic_says(
    warehouse: Warehouse, calls: list[list[tuple[str, int, int, State, str]]], supersede: bool
) -> None:
    dataset = f"sample.{uuid.uuid4().hex[:8]}"
    model: dict[str, list[Interval]] = {"1": [], "2": []}
    for call in calls:
        news = [
            interval(dataset, scope, start, min(start + length, 12), state, proof=f"{kind}: x")
            for scope, start, length, state, kind in call
        ]
        warehouse.record_coverage(news, supersede=supersede)
        for new in news:
            model[new.scope] = overlay(model[new.scope], new, supersede=supersede)
    found = warehouse.covered("north", dataset, ["1", "2"], Window(hours(0), hours(12)))
    assert found == {scope: merge(items) for scope, items in model.items()}


def test_ten_thousand_vehicles_stay_ten_thousand_rows(warehouse: Warehouse, dataset: str) -> None:
    scopes = [str(number) for number in range(10_000)]
    started = time.monotonic()
    for day in range(3):
        warehouse.record_coverage(interval(dataset, scope, 24 * day, 24 * (day + 1)) for scope in scopes)
    assert answer(warehouse, f"SELECT count(*) FROM ops.coverage WHERE dataset = '{dataset}'") == [(10_000,)]
    assert warehouse.missing("north", dataset, scopes, Window(hours(0), hours(72))) == {}
    assert time.monotonic() - started < 60


def test_missing_names_scopes_that_were_never_asked_for(warehouse: Warehouse, dataset: str) -> None:
    warehouse.record_coverage([interval(dataset, "1", 0, 24), interval(dataset, "2", 6, 12, State.FAILED)])
    assert warehouse.missing("north", dataset, ["1", "2", "3"], DAY) == {"2": [DAY], "3": [DAY]}
    assert warehouse.missing("south", dataset, ["1"], DAY) == {"1": [DAY]}
    assert warehouse.missing("north", dataset, [], DAY) == {}


def test_a_failure_after_a_proof_is_kept_as_an_attempt_until_the_next_proof(warehouse: Warehouse, dataset: str) -> None:
    attempts = f"SELECT scope, state, proof FROM ops.coverage_attempt WHERE dataset = '{dataset}'"
    warehouse.record_coverage([interval(dataset, "1", 0, 24)])
    warehouse.record_coverage([interval(dataset, "1", 0, 24, State.FAILED, proof="error: 500")])
    assert warehouse.missing("north", dataset, ["1"], DAY) == {}
    assert answer(warehouse, attempts) == [("1", "failed", "error: 500")]
    warehouse.record_coverage([interval(dataset, "1", 0, 24)])
    assert answer(warehouse, attempts) == []


def test_holes_and_status_views(warehouse: Warehouse, of: Contract) -> None:
    with warehouse.publishing(of) as tx:
        tx.stage(table(of, [ride("a", 1, 5), ride("b", 2, 30)]))
        tx.record_load(load(of, f"{of.name}-1", fetched_to=hours(50)).with_change(tx.upsert(f"{of.name}-1")))
        tx.record_coverage(
            [
                interval(of.table, "1", 0, 48),
                interval(of.table, "2", 0, 24, State.EMPTY_CONFIRMED),
                interval(of.table, "2", 24, 30),
                interval(of.table, "2", 36, 48),
                interval(of.table, "2", 30, 33, State.PREPARING, proof="job: t"),
            ]
        )
    assert holes(warehouse, of.table) == [
        ("2", hours(30), hours(33), "preparing", "schedule"),
        ("2", hours(33), hours(36), "unread", "self-heal"),
    ]
    status = answer(
        warehouse,
        "SELECT rows, newest_event_time, complete_until, scopes, holes, loads, held_loads, quarantined, last_fetched_at,"
        f" days_proven, days_open FROM ops.dataset_status WHERE dataset = '{of.table}'",
    )
    assert status == [(2, hours(30), hours(30), 2, 2, 1, 0, 0, hours(50), 3.75, 0.13)]


# --- holes ----------------------------------------------------------------------------------------------------------------


def holes(warehouse: Warehouse, dataset: str) -> list[tuple[Any, ...]]:
    return answer(
        warehouse,
        "SELECT scope, window_start, window_end, state, next_by FROM ops.hole"
        f" WHERE dataset = '{dataset}' ORDER BY scope, window_start",
    )


@given(st.lists(st.lists(entries, max_size=4), max_size=5), st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_holes_are_exactly_what_is_not_proven_up_to_where_the_dataset_has_come(
    warehouse: Warehouse, calls: list[list[tuple[str, int, int, State, str]]], supersede: bool
) -> None:
    dataset = f"sample.{uuid.uuid4().hex[:8]}"
    known: dict[str, list[Interval]] = {"1": [], "2": []}
    for call in calls:
        news = [
            interval(dataset, scope, start, min(start + length, 12), state, proof=f"{kind}: x", load_id=None)
            for scope, start, length, state, kind in call
        ]
        warehouse.record_coverage(news, supersede=supersede)
        for new in news:
            known[new.scope] = overlay(known[new.scope], new, supersede=supersede)
    reached = max((item.window.end for items in known.values() for item in items if item.state.is_proven), default=hours(0))
    expected = {
        (scope, hour)
        for scope, items in known.items()
        if items
        for hour in range(12)
        if hours(hour) >= items[0].window.start
        and hours(hour) < max(reached, items[-1].window.end)
        and not any(hours(hour) in item.window and item.state.is_proven for item in items)
    }
    found = [
        (scope, hour)
        for scope, start, end, _, _ in holes(warehouse, dataset)
        for hour in range(12)
        if start <= hours(hour) < end
    ]
    assert sorted(found) == sorted(expected)


def test_a_vehicle_that_is_gone_ends_where_it_ended(warehouse: Warehouse, dataset: str) -> None:
    warehouse.record_coverage([interval(dataset, "1", 0, 48), interval(dataset, "gone", 0, 24)])
    assert [hole[0] for hole in holes(warehouse, dataset)] == ["gone"]

    def retire(gone: list[str], living: list[str]) -> None:
        with warehouse.session() as connection:
            ledger.retire(connection, "north", gone, living)
            connection.commit()

    retire(["gone"], ["1"])
    assert holes(warehouse, dataset) == []
    retire([], ["1", "gone"])
    assert [hole[0] for hole in holes(warehouse, dataset)] == ["gone"], "it came back"


def test_long_times_that_nobody_asked_for_are_a_persons_decision(warehouse: Warehouse, dataset: str) -> None:
    long = 31 * 24
    warehouse.record_coverage(
        [interval(dataset, scope, 0, 24) for scope in ("1", "2")]
        + [interval(dataset, "1", 24 + long, 48 + long), interval(dataset, "2", 25 + long, 48 + long)]
    )
    [short, wide] = answer(
        warehouse, f"SELECT scope, next_by, reason FROM ops.hole WHERE dataset = '{dataset}' ORDER BY scope"
    )
    assert short == ("1", "self-heal", None)
    assert wide[:2] == ("2", "person")
    assert (
        f"fleetlake plan --dataset {dataset} --account north --from {hours(24):%Y-%m-%d} --to {hours(25 + long):%Y-%m-%d}"
        in wide[2]
    )


def test_the_command_for_a_hole_of_a_vehicle_that_is_gone_names_it(warehouse: Warehouse, dataset: str) -> None:
    later = 40 * 24
    warehouse.record_coverage([interval(dataset, scope, at, at + 24) for scope in ("1", "sold") for at in (0, later)])
    with warehouse.session() as connection:
        ledger.retire(connection, "north", ["sold"], [])
        connection.commit()
    found = answer(warehouse, f"SELECT scope, reason FROM ops.hole WHERE dataset = '{dataset}' ORDER BY scope")
    assert [(scope, "--vehicles" in reason) for scope, reason in found] == [("1", False), ("sold", True)]
    assert f"--to {hours(later - 24):%Y-%m-%d} --vehicles sold says what it costs" in found[1][1]


def test_who_loads_a_later_time_of_one_vehicle_leaves_nobody_behind(warehouse: Warehouse, dataset: str) -> None:
    warehouse.record_coverage(interval(dataset, str(number), 0, 24) for number in range(4))
    warehouse.record_coverage([interval(dataset, "0", 24, 96)])
    assert holes(warehouse, dataset) == []
    warehouse.record_coverage([interval(dataset, "1", 24, 48)])
    assert [(hole[0], hole[2]) for hole in holes(warehouse, dataset)] == [("2", hours(48)), ("3", hours(48))]


def test_a_run_that_is_still_at_work_has_passed_nobody_over(warehouse: Warehouse, of: Contract) -> None:
    with warehouse.publishing(of) as tx:
        tx.record_load(load(of, f"{of.name}-1", dag_id=of.name))
        tx.record_coverage(
            [
                interval(of.table, "1", 0, 24, load_id=None),
                interval(of.table, "2", 0, 24, load_id=None),
                interval(of.table, "1", 24, 48, load_id=f"{of.name}-1"),
                interval(of.table, "3", 24, 48, State.FAILED, load_id=f"{of.name}-1", proof="error: 500"),
            ]
        )
    assert holes(warehouse, of.table) == [("3", hours(24), hours(48), "failed", "schedule")]
    warehouse.record_run_end(of.name, "run-1", is_complete=False)
    assert holes(warehouse, of.table) == [
        ("2", hours(24), hours(48), "unread", "self-heal"),
        ("3", hours(24), hours(48), "failed", "self-heal"),
    ]


def test_what_cannot_be_there_yet_or_any_more_is_nobodys_to_mend(warehouse: Warehouse, dataset: str) -> None:
    now = dt.datetime.now(dt.UTC)
    later = now + dt.timedelta(hours=3)
    warehouse.record_coverage(
        [
            interval(dataset, "1", 0, 24, State.OUT_OF_RETENTION, proof="retention: 90 days"),
            interval(dataset, "1", 24, 48, State.NOT_YET, proof="read before its end: p"),
            Interval(
                account="north", dataset=dataset, scope="2", window=Window(now, later), state=State.NOT_YET, proof="early: p"
            ),
        ]
    )
    found = answer(
        warehouse, f"SELECT scope, state, next_by, next_at FROM ops.hole WHERE dataset = '{dataset}' ORDER BY 1, 2"
    )
    assert found == [
        ("1", "not_yet", "self-heal", None),
        ("1", "out_of_retention", "nobody", None),
        ("2", "not_yet", "schedule", later),
    ]


# --- loads, reads, cursors ------------------------------------------------------------------------------------------------


def test_a_held_load_becomes_published_and_then_stays_as_it_is(warehouse: Warehouse, of: Contract) -> None:
    load_id = f"{of.name}-held"
    for record in (
        load(of, load_id, state="held", reason="too few rows"),
        load(of, load_id).with_change(Change(inserted=5)),
        load(of, load_id).with_change(Change(unchanged=5)),
    ):
        with warehouse.publishing(of) as tx:
            tx.record_load(record)
    (found,) = warehouse.loads(dataset=of.table)
    assert (found["state"], found["reason"], found["rows_inserted"]) == ("published", None, 5)
    assert warehouse.loads(dataset=of.table, state="held") == []


def test_a_partition_loaded_by_another_run_is_known(warehouse: Warehouse, of: Contract) -> None:
    dag = f"dag_{of.name}"
    with warehouse.publishing(of) as tx:
        tx.record_load(load(of, f"{of.name}-1", dag_id=dag))
    assert not warehouse.was_loaded_by_other(dag, "2026-01-05", "run-1")
    assert warehouse.was_loaded_by_other(dag, "2026-01-05", "run-2")
    assert not warehouse.was_loaded_by_other(dag, "2026-01-06", "run-2")
    assert not warehouse.was_loaded_by_other(dag, None, "run-2")


def test_a_read_counts_as_published_when_all_its_datasets_have_it_whole(warehouse: Warehouse, of: Contract) -> None:
    def read(folder: str, dataset: str, *, is_complete: bool = True, clears: int = 0) -> ReadRecord:
        return ReadRecord(
            read=f"{of.name}/{folder}", dataset=dataset, account="north", feed="rides", scope="1", dag_id="d", run_id="r",
            pages=2, bytes=10, is_complete=is_complete, load_id="L", clears=clears,
        )  # fmt: skip

    with warehouse.publishing(of) as tx:
        tx.record_reads(
            [read("both", "a.a"), read("both", "a.b", clears=1), read("one", "a.a"), read("part", "a.a", is_complete=False)]
        )
        # A complete read stays complete, and was so when it was.
        tx.record_reads([read("both", "a.a", is_complete=False), read("both", "a.a", clears=2)])
    folders = [f"{of.name}/{name}" for name in ("both", "one", "part", "never")]
    assert warehouse.published_reads(folders, ["a.a", "a.b"]) == {folders[0]: 1}
    assert warehouse.published_reads(folders, ["a.a"]) == dict.fromkeys(folders[:2], 0)


def test_a_read_is_over_when_it_is_published_refused_or_held_for_every_table(warehouse: Warehouse, of: Contract) -> None:
    def read(folder: str, dataset: str, *, is_skipped: bool = False, clears: int = 0) -> ReadRecord:
        return ReadRecord(
            read=f"{of.name}/{folder}", dataset=dataset, account="north", feed="rides", scope="1", dag_id="d", run_id="r",
            pages=2, bytes=10, is_complete=not is_skipped, is_skipped=is_skipped, load_id="L", clears=clears,
        )  # fmt: skip

    with warehouse.publishing(of) as tx:
        tx.record_reads([read("held", "a.a"), read("held", "a.b", clears=1).but_held(), read("one", "a.a").but_held()])
        tx.record_reads([read("refused", "a.a", is_skipped=True), read("refused", "a.b", is_skipped=True)])
    folders = [f"{of.name}/{name}" for name in ("held", "one", "refused", "never")]
    assert warehouse.read_ends(folders, ["a.a", "a.b"]) == {
        folders[0]: (1, True, True),
        folders[1]: (0, True, False),
        folders[2]: (0, False, True),
    }
    assert warehouse.published_reads(folders, ["a.a", "a.b"]) == {}
    with warehouse.publishing(of) as tx:
        tx.record_reads([read("held", "a.b")])
    assert warehouse.published_reads(folders, ["a.a", "a.b"]) == {folders[0]: 0}


def test_a_cursor_never_moves_back(warehouse: Warehouse, of: Contract) -> None:
    for revision in ("0a", "0b", "09", "0Z"):  # compared byte by byte: upper case comes before lower case
        with warehouse.publishing(of) as tx:
            tx.advance_cursor("north", of.table, "1", revision, hours(0))
    assert warehouse.cursors("north", of.table, ["1", "2"]) == {"1": ("0b", hours(0))}


# --- quality and quarantine -------------------------------------------------------------------------------------------------


def finding(of: Contract, ident: str, index: int = 0, raw: str | None = '{"a": 1}') -> QuarantineRecord:
    return QuarantineRecord(
        id=f"{of.name}-{ident}", account="north", dataset=of.table, scope="1", stage="quality", check="range",
        column="speed_kmh", reason="speed_kmh is 900 km/h", severity="error", raw=raw, page="page-0", index=index,
        key="a", load_id="L", contract_version="1.0.0",
    )  # fmt: skip


def test_any_raw_row_can_be_set_aside(warehouse: Warehouse, of: Contract) -> None:
    raws = ['{"a": 1}', "<html>", '{"a": NaN}', '"nul \\u0000"', "nul \x00", '"\\ud800"', "", None, '{"a": 1e999}']
    with warehouse.publishing(of) as tx:
        tx.record_quarantine([finding(of, str(number), number, raw) for number, raw in enumerate(raws)])
    found = answer(warehouse, f"SELECT raw_row FROM ops.quarantine WHERE dataset = '{of.table}' ORDER BY raw_index")
    assert [value for (value,) in found][:5] == [{"a": 1}, "<html>", '{"a": NaN}', '"nul \\u0000"', "nul \ufffd"]
    assert len(found) == len(raws)


def test_a_row_that_is_taken_later_is_resolved_and_one_that_fails_again_is_open(warehouse: Warehouse, of: Contract) -> None:
    def is_open() -> list[tuple[Any, ...]]:
        return answer(
            warehouse,
            f"SELECT raw_index FROM ops.quarantine WHERE dataset = '{of.table}' AND resolved_at IS NULL ORDER BY 1",
        )

    with warehouse.publishing(of) as tx:
        tx.record_quarantine([finding(of, "0", 0), finding(of, "1", 1)])
    publish(warehouse, of, [ride("a", raw_row=0)], "L2")
    assert is_open() == [(1,)]
    with warehouse.publishing(of) as tx:
        tx.record_quarantine([finding(of, "0", 0)])
    assert is_open() == [(0,), (1,)]


def test_results_of_a_batch_checked_again_are_replaced(warehouse: Warehouse, of: Contract) -> None:
    for success in (False, True):
        with warehouse.publishing(of) as tx:
            check = CheckRecord(check="range", column="speed_kmh", severity="error", success=success, rows_failed=1)
            tx.record_quality(
                f"{of.name}-1", "north", of.table, [check, CheckRecord(check="fresh", severity="warning", success=True)]
            )
    found = answer(
        warehouse, f"SELECT check_name, column_name, success FROM ops.quality_result WHERE dataset = '{of.table}' ORDER BY 1"
    )
    assert found == [("fresh", "", True), ("range", "speed_kmh", True)]


def test_an_error_within_a_publication_leaves_nothing(warehouse: Warehouse, of: Contract) -> None:
    with pytest.raises(RuntimeError, match="stop"), warehouse.publishing(of) as tx:
        tx.stage(table(of, [ride("a")]))
        tx.record_load(load(of, f"{of.name}-1").with_change(tx.upsert(f"{of.name}-1")))
        tx.record_coverage([interval(of.table, "1", 0, 24)])
        raise RuntimeError("stop")
    assert list(warehouse.rows(of)) == []
    assert warehouse.loads(dataset=of.table) == []
    assert warehouse.missing("north", of.table, ["1"], DAY) == {"1": [DAY]}


def test_known_values_are_those_of_the_account(warehouse: Warehouse, of: Contract) -> None:
    publish(warehouse, of, [ride("a", 1), ride("b", 2), ride("c", 3, account="south")], "L1")
    reference = f"{of.table}.vehicle_id"
    assert warehouse.known_values(reference, [1, 2, 3, 4], "north") == {1, 2}
    assert warehouse.known_values(reference, [], "north") == set()


def test_loaded_at_is_when_the_row_took_its_present_form(warehouse: Warehouse, of: Contract) -> None:
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)
    publish(warehouse, of, [ride("a"), ride("b")], "L1")
    publish(warehouse, of, [ride("a", note="x", fetched=1), ride("b", fetched=1)], "L2")
    rows = {row["ride_id"]: row["loaded_at"] for row in warehouse.rows(of, columns=["ride_id", "loaded_at"])}
    assert before < rows["b"] < rows["a"]
