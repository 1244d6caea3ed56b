"""``fleetlake coverage`` of a window: what nobody has read is open, what is not over is not, and neither is called complete."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from fleetlake import cli
from fleetlake.coverage import Interval, State
from fleetlake.warehouse import Warehouse, ledger
from fleetlake.window import DAY, Window

TODAY = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
Ask = Callable[..., str]


def day(number: float) -> dt.datetime:
    """A moment, in days from the midnight of today."""
    return TODAY + number * DAY


def of(bike: str, start: float, end: float, state: State = State.COMPLETE) -> Interval:
    return Interval(
        account="north",
        dataset="powunity.trip",
        scope=bike,
        window=Window(day(start), day(end)),
        state=state,
        proof="planted",
    )


@pytest.fixture
def house(make_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Warehouse:
    url = make_database(migrated=True)
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", url)
    monkeypatch.setenv("FLEETLAKE_HOME", str(tmp_path))
    return Warehouse(url)


@pytest.fixture
def ask(house: Warehouse, capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(start: float | None, end: float | None, *options: str) -> str:
        window = [] if start is None or end is None else ["--from", day(start).isoformat(), "--to", day(end).isoformat()]
        with pytest.raises(SystemExit) as ended:
            cli.main(["coverage", *window, *options])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return run


def add_row(house: Warehouse, table: str, values: dict[str, object]) -> None:
    """A row with some values; what else is required gets any."""
    any_of = {"text": "x", "timestamp with time zone": day(-10), "integer": 0, "bigint": 0, "boolean": False, "jsonb": "{}"}
    with house.session() as connection:
        required = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'powunity' AND table_name = %s"
            " AND is_nullable = 'NO' AND column_default IS NULL",
            [table],
        ).fetchall()
        row = {name: any_of.get(kind, 0) for name, kind in required} | {"account": "north"} | values
        connection.execute(
            f"INSERT INTO powunity.{table} ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",  # type: ignore[arg-type]
            list(row.values()),
        )
        connection.commit()


def told(out: str) -> tuple[list[tuple[str, float, float, str]], dict[str, object]]:
    """Holes (vehicle, from, to in days from today, next) and the table's line."""
    lines = [json.loads(line) for line in out.splitlines()]
    holes = [
        (
            item["scope"],
            (dt.datetime.fromisoformat(item["window_start"]) - TODAY) / DAY,
            (dt.datetime.fromisoformat(item["window_end"]) - TODAY) / DAY,
            item["next_by"],
        )
        for item in lines
        if item["kind"] == "hole"
    ]
    (table,) = (item for item in lines if item["kind"] == "dataset")
    return holes, table


def test_time_before_the_ledger_is_unread(house: Warehouse, ask: Ask) -> None:
    house.record_coverage([of("1", -20, -5)])
    holes, table = told(ask(-30, -10, "--json"))
    assert holes == [("1", -30, -20, "backfill")]
    assert (table["days_proven"], table["days_open"], table["holes"]) == (10, 10, 1)
    assert dt.datetime.fromisoformat(str(table["complete_until"])) == day(-30)
    out = ask(-30, -10)
    assert "Nothing is missing" not in out
    assert "unread: before its first reading" in out
    assert "50.00 %" in out
    assert "the end exclusive" in out


def test_a_window_that_is_proven_is_complete_until_the_end_of_proof(house: Warehouse, ask: Ask) -> None:
    house.record_coverage([of("1", -20, -5), of("2", -20, -4)])
    out = ask(-20, -10)
    assert "Nothing is missing." in out
    assert "100.00 %" in out
    _, table = told(ask(-20, -10, "--json"))
    assert dt.datetime.fromisoformat(str(table["complete_until"])) == day(-5)
    assert table["not_yet_from"] is None


def test_a_vehicle_that_was_never_read_in_the_window_is_open_in_all_of_it(house: Warehouse, ask: Ask) -> None:
    house.record_coverage([of("1", -30, -2), of("2", -6, -2), of("3", -30, -25)])
    holes, table = told(ask(-20, -10, "--json"))
    assert [item for item in holes if item[0] == "2"] == [("2", -20, -10, "backfill")]
    assert {item[0] for item in holes} == {"2", "3"}
    assert (table["scopes"], table["days_proven"], table["days_open"]) == (3, 10, 20)
    assert "33.33 %" in ask(-20, -10)


def test_what_is_not_over_is_not_yet_and_neither_open_nor_complete(house: Warehouse, ask: Ask) -> None:
    house.record_coverage([of("1", -10, 0)])
    holes, table = told(ask(-10, 30, "--json"))
    assert holes == []
    assert table["days_proven"] == 10
    assert 0 <= float(str(table["days_open"])) < 2  # what is over of today
    assert dt.datetime.fromisoformat(str(table["complete_until"])) == day(0)
    assert table["not_yet_from"] is not None
    out = ask(-10, 30)
    assert "Nothing is missing" not in out
    assert "1 wait for the schedule; --all shows them." in out
    assert "Not yet, and not counted: from" in out
    [hole] = told(ask(-10, 30, "--json", "--all"))[0]
    assert (hole[0], hole[1], hole[3]) == ("1", 0, "schedule")
    assert hole[2] < 2
    later = ask(5, 30)
    assert "Nothing is missing" not in later
    assert "Not yet, and not counted" in later


def test_a_table_that_nobody_reads_any_more_is_open_up_to_now(house: Warehouse, ask: Ask) -> None:
    house.record_coverage([of("1", -30, -20)])
    holes, table = told(ask(-30, -10, "--json"))
    assert holes == [("1", -20, -10, "backfill")]
    assert dt.datetime.fromisoformat(str(table["complete_until"])) == day(-20)


def test_nothing_is_expected_of_a_vehicle_after_it_was_marked_deleted(house: Warehouse, ask: Ask) -> None:
    house.record_coverage([of("1", -30, -10), of("2", -30, -15)])
    with house.session() as connection:
        ledger.retire(connection, "north", ["2"], ["1"])
        connection.commit()
    holes, table = told(ask(-30, -10, "--json"))
    assert holes == []
    assert (table["days_proven"], table["days_open"]) == (35, 0)


def test_holes_are_cut_to_the_window(house: Warehouse, ask: Ask) -> None:
    house.record_coverage([of(bike, *days) for bike in "12" for days in ((-30, -28), (-8, -2))])
    holes, table = told(ask(-20, -19, "--json"))
    assert holes == [("1", -20, -19, "self-heal"), ("2", -20, -19, "self-heal")]
    assert (table["days_proven"], table["days_open"], table["holes"]) == (0, 2, 2)
    assert "2 holes, 2.0 vehicle-days:" in ask(-20, -19)


def test_a_vehicle_marked_deleted_holds_no_table_back(house: Warehouse, ask: Ask) -> None:
    house.record_coverage([*(of(bike, -300, 0) for bike in "123"), of("4", -300, -260)])
    with house.session() as connection:
        ledger.retire(connection, "north", ["4"], ["1", "2", "3"])
        connection.commit()
    for window in ((None, None), (-300, 0)):
        holes, table = told(ask(*window, "--json"))
        assert holes == []
        assert dt.datetime.fromisoformat(str(table["complete_until"])) == day(0)
        assert table["days_proven"] == 940
    assert told(ask(None, None, "--json"))[1]["scopes"] == 3
    assert told(ask(-200, 0, "--json"))[1]["scopes"] == 3
    with house.session() as connection:
        ledger.retire(connection, "north", ["1", "2", "3"], [])
        connection.commit()
    _, table = told(ask(None, None, "--json"))
    assert (table["scopes"], dt.datetime.fromisoformat(str(table["complete_until"]))) == (0, day(0))


def test_while_nothing_is_read_nobody_is_told_that_nothing_is_missing(house: Warehouse, ask: Ask) -> None:
    house.record_coverage([of("1", -30, 0), of("2", -30, -1)])
    out = ask(None, None, "--all")
    assert "Nothing has been read since" not in out, "yesterday is read today"
    house.record_coverage(
        [replace(of(bike, -30, -12), dataset=table) for bike in "12" for table in ("powunity.stop", "powunity.summary")]
    )
    since = f"{day(-12):%Y-%m-%d}"
    out = ask(None, None, "--dataset", "powunity.stop")
    assert f"Nothing is missing before {since}.\nNothing has been read since {since}: north powunity.stop.\n" in out
    assert "Nothing is missing." not in out
    assert dt.datetime.fromisoformat(
        str(told(ask(None, None, "--dataset", "powunity.stop", "--json"))[1]["read_until"])
    ) == day(-12)
    assert f"Nothing has been read since {since}: north powunity.stop, north powunity.summary." in ask(None, None)
    add_row(house, "device", {"device_id": 2, "name": "Berta"})
    assert f"Nothing has been read since {since}: north powunity.stop, north powunity.summary." in ask(
        None, None, "--vehicle", "berta"
    )


def test_of_what_was_never_read_nothing_is_said(house: Warehouse, ask: Ask) -> None:
    out = ask(-3, -2, "--dataset", "powunity.trip")
    assert "Nothing is missing" not in out
    assert "The ledger holds no times of it" in out


def test_a_vehicle_shows_its_intervals_with_their_rows_counted_where_one_was_cut(house: Warehouse, ask: Ask) -> None:
    house.record_coverage([of("17", -20, -5)])
    add_row(house, "device", {"device_id": 17, "name": "Anna"})
    for number in (-19, -11, -3):
        add_row(house, "trip", {"device_id": 17, "start_time": day(number)})
    out = ask(-30, -10, "--vehicle", "anna", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [item["rows"] for item in lines if item["kind"] == "interval"] == [2]
    assert [item["proof"] for item in lines if item["kind"] == "hole"] == ["unread: before its first reading"]


@pytest.mark.parametrize("command", ["coverage", "lateness"])
@pytest.mark.parametrize(
    ("option", "name", "near"), [("--dataset", "powunity.trips", "powunity.trip"), ("--account", "nort", "north")]
)
def test_a_name_that_nobody_has_is_refused_and_the_nearest_is_told(
    command: str, option: str, name: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, option, name])
    assert ended.value.code == 2
    assert f"did you mean {near}" in capsys.readouterr().err
