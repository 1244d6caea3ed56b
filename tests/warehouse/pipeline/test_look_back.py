"""Which days a scheduled run reads again, what a retry and a cleared run do, and what is told about it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fleetlake import cli
from fleetlake.errors import FleetlakeError
from fleetlake.window import Window

DAYS = ("2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21")
BIKES = 4


@pytest.fixture
def bikes(place):
    """Trips of bikes; the account's look-back is learned."""
    place.accounts["powunity"] = replace(place.accounts["powunity"], look_back_days=None)
    return Bikes(place)


class Bikes:
    def __init__(self, place):
        self.place = place

    def load(self, day, **changes):
        """The days that were asked for, each with the number of bikes."""
        self.place.sandbox.clear_log()
        run = self.place.run("powunity", day, **{"mode": "stream", **changes})
        self.place.load("powunity", run, ["trips"], "devices")
        return self.asked()

    def asked(self):
        found = {}
        for entry in self.place.sandbox.log("powunity"):
            if "/reports/trips" in entry["path"]:
                day = entry["query"].split("from=")[1][:10]
                found[day] = found.get(day, 0) + 1
        return found

    def why(self, run_id):
        return self.place.sql(
            f"SELECT day::text, why, vehicles FROM ops.look_back_day WHERE run_id = '{run_id}' ORDER BY 1, 2"
        )


def all_bikes(*days):
    return dict.fromkeys(days, BIKES)


def test_the_first_run_of_an_account_reads_its_own_day_only(bikes):
    assert bikes.load(DAYS[-1]) == all_bikes(DAYS[-1])


def test_days_that_are_proven_are_read_again_after_the_own_day_and_unproven_ones_are_not(bikes):
    bikes.load(DAYS[0], mode="window")
    bikes.load(DAYS[2], mode="window")
    assert list(bikes.load(DAYS[3]).items()) == [(DAYS[3], BIKES), (DAYS[2], BIKES), (DAYS[0], BIKES)]
    assert bikes.why(f"run {DAYS[3]}") == [(DAYS[0], "look-back", BIKES), (DAYS[2], "look-back", BIKES)]
    plan = bikes.place.sql("SELECT look_back_days, is_learned, reason, done_at IS NOT NULL FROM ops.look_back")
    assert plan == [(7, False, "too little evidence: 0 of 14 days observed to the end", True)]


def test_runs_for_a_window_and_backfills_read_no_other_day(bikes):
    bikes.load(DAYS[2])
    assert bikes.load(DAYS[3], mode="window") == all_bikes(DAYS[3])


def test_a_number_in_the_accounts_is_always_that_many_days(bikes):
    accounts = bikes.place.accounts
    accounts["powunity"] = replace(accounts["powunity"], look_back_days=1)
    assert bikes.load(DAYS[3]) == all_bikes(DAYS[3], DAYS[2])
    assert bikes.place.sql("SELECT * FROM ops.look_back") == []


def test_a_day_is_swept_once_when_it_comes_to_its_age_and_the_vehicle_is_settled(bikes):
    accounts = bikes.place.accounts
    accounts["powunity"] = replace(accounts["powunity"], look_back_max_days=2)
    bikes.load(DAYS[0])
    teach(bikes.place)
    assert bikes.load(DAYS[1]) == all_bikes(DAYS[1], DAYS[0])
    assert bikes.load(DAYS[2]) == all_bikes(DAYS[2], DAYS[1], DAYS[0])
    assert bikes.why(f"run {DAYS[2]}") == [(DAYS[0], "sweep", BIKES), (DAYS[1], "look-back", BIKES)]
    assert bikes.load(DAYS[3]) == all_bikes(DAYS[3], DAYS[2], DAYS[1])
    assert bikes.place.sql("SELECT DISTINCT until::date::text FROM ops.settled") == [(DAYS[2],)]


def test_after_a_pause_of_three_weeks_every_day_is_swept_the_oldest_first_and_the_ledger_says_how_far(bikes, caplog):
    place = bikes.place
    place.accounts["powunity"] = replace(place.accounts["powunity"], look_back_max_days=2)
    bikes.load("2026-10-30")
    (one,) = place.sql("SELECT min(device_id::text) FROM powunity.device")[0]
    with place.warehouse.session() as connection:  # the others are done: this is about one bike
        connection.execute("UPDATE ops.settled SET until = '2026-11-19' WHERE scope <> %s", [one])
        connection.commit()
    pause = Window.parse("2026-10-31", DAYS[2])
    bikes.load(DAYS[1], run_id="pause", mode="window", window=pause, partition=None, vehicles=(one,))
    teach(place)

    def settled():
        return place.sql(f"SELECT until::date::text FROM ops.settled WHERE scope = '{one}'")

    asked = bikes.load(DAYS[2], vehicles=(one,))
    oldest = ["2026-10-30", "2026-10-31", *(f"2026-11-{day:02}" for day in range(1, 12))]
    assert sorted(asked) == [*oldest, "2026-11-18", DAYS[1], DAYS[2]]
    assert settled() == [("2026-11-12",)], "not past a day that was not swept"
    assert "6 vehicle-days whose sweep was missed are left" in caplog.text
    asked = bikes.load(DAYS[3], vehicles=(one,))
    assert sorted(asked) == [*(f"2026-11-{day:02}" for day in range(12, 21)), DAYS[3]]
    assert settled() == [(DAYS[2],)]


def test_a_retry_goes_on_with_the_same_plan_and_asks_for_what_is_missing(bikes):
    for day in DAYS[:3]:
        bikes.load(day, mode="window")
    with (
        bikes.place.sandbox.faults("drop:vendor=powunity,path=*/reports/trips*,skip=6,count=500"),
        pytest.raises(FleetlakeError),
    ):
        bikes.load(DAYS[3])
    tried = bikes.asked()
    assert tried[DAYS[3]] == BIKES, "the own day comes first"
    teach(bikes.place)  # what is learned meanwhile counts for the next run
    asked = bikes.load(DAYS[3])
    assert sum(asked.values()) == 4 * BIKES - 6
    assert bikes.place.sql("SELECT look_back_days, generation, done_at IS NOT NULL FROM ops.look_back") == [(7, 1, True)]


def test_a_run_that_is_cleared_after_its_end_asks_for_all_of_it_again(bikes):
    bikes.load(DAYS[2])
    first = bikes.load(DAYS[3])
    assert bikes.load(DAYS[3]) == first == all_bikes(DAYS[3], DAYS[2])
    assert bikes.place.sql(f"SELECT generation FROM ops.look_back WHERE run_id = 'run {DAYS[3]}' ORDER BY 1") == [(1,), (2,)]


def test_a_retry_after_the_end_asks_for_nothing(bikes):
    bikes.load(DAYS[2])
    assert bikes.load(DAYS[3], clears=1) == all_bikes(DAYS[3], DAYS[2])
    assert bikes.load(DAYS[3], clears=1) == {}


def test_a_crash_before_the_plan_is_closed_costs_no_request(bikes, monkeypatch):
    from fleetlake.pipeline.lateness import LookBackBook

    class Crash(BaseException):
        pass

    def crash(*_, **_named):
        raise Crash

    bikes.load(DAYS[2])
    with monkeypatch.context() as patch:
        patch.setattr(LookBackBook, "close", crash)
        with pytest.raises(Crash):
            bikes.load(DAYS[3])
    assert bikes.load(DAYS[3]) == {}
    assert bikes.place.sql("SELECT count(*) FROM ops.look_back WHERE done_at IS NULL") == [(0,)]


def test_where_a_request_may_cover_days_the_look_back_costs_one_request_more_at_most(place):
    place.accounts["suivideflotte"] = replace(place.accounts["suivideflotte"], look_back_days=None)

    def load(day):
        place.sandbox.clear_log()
        place.load_cars(day, mode="stream")
        return len([entry for entry in place.sandbox.log("suivideflotte") if "/trips" in entry["path"]])

    place.load_cars("2026-11-13", mode="window", window=Window.parse("2026-11-13", "2026-11-21"), partition=None)
    own = load("2026-11-21")
    assert place.sql("SELECT count(DISTINCT (window_start, window_end)) FROM ops.read WHERE feed = 'trips'"
                     " AND run_id = 'run 2026-11-21'") == [(2,)]  # fmt: skip
    place.assert_true("suivideflotte.trip", Window.parse("2026-11-14", "2026-11-22"))
    assert own > 0


def test_the_command_tells_clocks_look_back_and_why_a_day_was_read_again(bikes, monkeypatch, capsys):
    bikes.load(DAYS[2])
    bikes.load(DAYS[3])
    place = bikes.place
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", place.settings.warehouse_url)
    monkeypatch.setenv("FLEETLAKE_HOME", str(place.settings.home))

    def ask(*words):
        with pytest.raises(SystemExit) as ended:
            cli.main(["lateness", *words])
        assert ended.value.code == 0
        return capsys.readouterr().out

    (table,) = [json.loads(line) for line in ask("--dataset", "powunity.trip", "--json").splitlines()]
    assert (table["look_back_days"], table["is_learned"], table["account"]) == (7, False, "north")
    assert table["clocks"]["event_fetched"]["rows"] == place.sql("SELECT count(*) FROM powunity.trip")[0][0]
    text = ask()
    assert "powunity.trip" in text and "too little evidence" in text
    (again,) = [json.loads(line) for line in ask("--day", DAYS[2], "--json").splitlines()]
    assert (again["why"], again["vehicles"], again["run_id"]) == ("look-back", BIKES, f"run {DAYS[3]}")


def teach(place):
    """Evidence of a quiet time: the look-back is one day."""
    with place.warehouse.session() as connection:
        connection.execute(
            "INSERT INTO ops.reread SELECT 'north', 'powunity.trip', '2026-11-19'::date - n, 7, 4, 0 FROM generate_series(1, 20) n"
        )
        connection.commit()
