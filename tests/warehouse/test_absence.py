"""What answers lack of what is known: one question about many vehicles."""

from __future__ import annotations

import uuid

import pytest
from fleetlake.coverage import Interval, State
from fleetlake.reading import FLEET
from fleetlake.warehouse import absence
from fleetlake.warehouse.absence import Answered, Lack
from fleetlake.window import Window

from .samples import contract, hours, ride, table

DAY, NEXT = Window(hours(0), hours(24)), Window(hours(24), hours(48))


@pytest.fixture
def of(warehouse):
    made = contract(f"ride_{uuid.uuid4().hex[:8]}")
    warehouse.migrate([made])
    return made


@pytest.fixture
def known(warehouse, of):
    """Four rows of vehicle 1, two of vehicle 2, one of them deleted, one of another account."""
    rows = [ride(name, hour=hour) for name, hour in (("a", 1), ("b", 2), ("c", 3), ("d", 30))]
    rows += [ride("e", vehicle=2, hour=1), ride("f", vehicle=2, hour=2), ride("a", hour=1, account="south")]
    with warehouse.publishing(of) as tx:
        tx.stage(table(of, rows))
        tx.upsert("L1")
    with warehouse.session() as connection:
        connection.execute(f"UPDATE sample.{of.name} SET deleted_at = now() WHERE ride_id = 'f'")
        connection.commit()


def answered(scope, window=DAY, at=2000):
    return Answered(scope=scope, window=window, at=hours(at))


def lacks(warehouse, of, answers, rows, again=None):
    with warehouse.session() as connection:
        second = None if again is None else table(of, again)
        return absence.lacking(connection, of, "north", answers, table(of, rows), second)


def test_known_rows_are_counted_by_vehicle_and_window(warehouse, of, known):
    answers = {"today": answered("1"), "tomorrow": answered("1", NEXT), "other": answered("2"), "none": answered("3")}
    with warehouse.session() as connection:
        assert absence.known(connection, of, "north", answers) == {"today": 3, "tomorrow": 1, "other": 1}


def test_only_rows_of_what_was_asked_are_missing(warehouse, of, known):
    answers = {"today": answered("1"), "tomorrow": answered("1", NEXT), "other": answered("2")}
    came = [ride("a", hour=1), ride("d", hour=30), ride("new", hour=5)]
    assert lacks(warehouse, of, answers, came) == {"today": Lack(2, 0), "other": Lack(1, 0)}
    assert lacks(warehouse, of, {"tomorrow": answered("1", NEXT)}, came) == {}


def test_rows_that_a_second_reading_has_are_told(warehouse, of, known):
    lack = lacks(warehouse, of, {"today": answered("1")}, [ride("a", hour=1)], again=[ride("b", hour=2), ride("a", hour=1)])
    assert lack == {"today": Lack(2, 1)}


def test_rows_read_after_the_answer_cannot_be_missing_from_it(warehouse, of, known):
    assert lacks(warehouse, of, {"today": answered("1", at=900)}, []) == {}


def test_a_list_of_the_fleet_is_compared_as_a_whole(warehouse, of, known):
    answers = {"list": Answered(scope=FLEET, window=None, at=hours(2000))}
    assert lacks(warehouse, of, answers, [ride("a", hour=1), ride("d", hour=30)]) == {"list": Lack(3, 0)}
    with warehouse.session() as connection:
        assert absence.known(connection, of, "north", answers) == {"list": 5}


def test_ten_thousand_vehicles_are_one_question(warehouse, of, known):
    answers = {str(number): answered(str(number)) for number in range(10_000)}
    rows = [ride(f"n{number}", vehicle=number % 10_000, hour=2) for number in range(20_000)]
    assert lacks(warehouse, of, answers, rows) == {"1": Lack(3, 0), "2": Lack(1, 0)}


def interval(of, state, proof, run, window=DAY, rows=None, scope="1"):
    return Interval(
        account="north",
        dataset=of.table,
        scope=scope,
        window=window,
        state=state,
        proof=proof,
        rows=rows,
        fetched_at=hours(50),
        run_id=run,
    )


def test_the_ledger_tells_rows_that_came_once_and_doubts_of_other_runs(warehouse, of):
    answers = {"mine": answered("1"), "other": answered("2"), "inner": answered("3", Window(hours(6), hours(12)))}
    warehouse.record_coverage(
        [
            interval(of, State.FAILED, "held: a check failed", "first", rows=40),
            interval(of, State.PARTIAL, "implausible 0 of 9: half", "first", scope="2"),
            interval(of, State.COMPLETE, "terminal page: p", "first", rows=7, scope="3"),
        ]
    )

    def told(run):
        with warehouse.session() as connection:
            return absence.history(connection, of.table, "north", answers, run)

    assert told("second") == ({"mine": 40}, {("other", "implausible 0 of 9")}), "rows of a longer time say nothing here"
    assert told("first") == ({"mine": 40}, set()), "a run does not confirm itself"
