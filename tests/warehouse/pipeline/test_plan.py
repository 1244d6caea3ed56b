"""Plans of backfills: what is skipped, what is read, what a load then really reads; asked of the terminal too."""

from __future__ import annotations

import json

import pytest
from fleetlake import cli
from fleetlake.accounts import load_accounts
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError, UnknownVehicle
from fleetlake.pipeline.estimate import Wish
from fleetlake.pipeline.follow import Work
from fleetlake.pipeline.plan import make_plans, standings
from fleetlake.pipeline.price import price
from fleetlake.pipeline.rooms import vendor_room
from fleetlake.reading import Lane
from fleetlake.window import Window

FIRST, SECOND, THIRD = "2026-11-18", "2026-11-19", "2026-11-20"
FEEDS = ["trips", "summary"]
TABLES = ("powunity.trip", "powunity.summary")
RANGE = Window.parse(FIRST, "2026-11-21")


def wish(**changes):
    return Wish(**{"datasets": TABLES, "window": RANGE, "account": "north", **changes})


def load(place, day, feeds=FEEDS, **changes):
    """A run, each task with a source of its own: it logs in."""
    run = place.run("powunity", day, **changes)
    with place.pipeline("powunity") as pipeline:
        chunks = pipeline.plan(run, entity_feed="devices", feeds=feeds)
    for chunk in chunks:
        with place.pipeline("powunity") as pipeline:
            pipeline.load(run, feeds=feeds, scopes=chunk)


def plan(place, **changes):
    (made,) = make_plans(place.settings, place.warehouse, wish(**changes))
    return made


def by_feed(made):
    return {part.feed: part for part in made.feeds}


def test_only_what_is_missing_is_planned_and_then_read(place):
    load(place, FIRST)
    load(place, SECOND, ["trips"])
    before = place.requests("powunity")
    made = plan(place)
    assert place.requests("powunity") == before, "a plan asks nobody"
    assert [(one.table, one.proven, one.of) for one in made.standings] == [
        ("powunity.trip", 8, 12),
        ("powunity.summary", 4, 12),
    ]
    assert made.runs == 2
    assert [str(day) for day in made.days] == [SECOND, THIRD]
    parts = by_feed(made)
    assert (parts["trips"].reads, parts["summary"].reads, parts["devices"].reads) == (4, 8, 2)
    work, runs = Work.of(made), []
    assert work.done(place.warehouse, runs) == 0
    for day in (SECOND, THIRD):
        load(place, day, lane=Lane.BACKFILL, run_id=f"backfill {day}", datasets=TABLES, dag_id=made.dag_id)
        runs.append(f"backfill {day}")
    assert place.requests("powunity") - before == pytest.approx(made.price.requests, abs=0.5)
    assert work.done(place.warehouse, runs) == pytest.approx(work.whole)
    assert [one.holes for one in standings(place.settings, place.warehouse, made.own_wish)] == [(), ()]
    assert plan(place).days is None


def test_refetch_reads_everything_again_and_tells_what_changed(place):
    for day in (FIRST, SECOND, THIRD):
        load(place, day)
    assert plan(place).days is None
    made = plan(place, refetch=True)
    assert (made.runs, made.conf["force"]) == (3, True)
    assert by_feed(made)["trips"].reads == 12
    with place.warehouse.session() as connection:
        connection.execute("UPDATE powunity.trip SET distance_m = 0 WHERE start_time < %s", [SECOND])
        connection.commit()
    load(place, FIRST, lane=Lane.BACKFILL, run_id="again", force=True, dag_id=made.dag_id)
    changes = Work.of(made).changes(place.warehouse, ["again"])
    assert [(one.table, str(one.day), one.new, one.deleted) for one in changes] == [("powunity.trip", FIRST, 0, 0)]
    assert changes[0].changed > 0


def test_a_report_and_the_feed_that_completes_it_are_priced_for_the_vehicles_it_names(place):
    place.load_health(FIRST)
    before = place.requests("rcs")
    (made,) = make_plans(place.settings, place.warehouse, Wish(datasets=("rcs.health_report", "rcs.trouble"), window=RANGE))
    units = {one.table: (one.unit, one.proven) for one in made.standings}
    assert units == {"rcs.health_report": ("days", 1), "rcs.trouble": ("vehicle-days", 5)}
    parts = by_feed(made)
    named = place.sql("SELECT sum(scopes)::int FROM ops.usage WHERE feed = 'health_reports'")[0][0]
    assert (parts["health_overview"].reads, parts["health_reports"].reads) == (2, pytest.approx(2 * named))
    assert place.requests("rcs") == before


def test_some_vehicles_only(place):
    load(place, FIRST)
    names = [row[0] for row in place.sql("SELECT device_id FROM powunity.device ORDER BY 1")]
    made = plan(place, vehicles=(str(names[0]),))
    assert [(one.proven, one.of) for one in made.standings] == [(1, 3), (1, 3)]
    assert made.conf["vehicles"] == [str(names[0])]
    with pytest.raises(UnknownVehicle):
        plan(place, vehicles=("nobody's",))


def test_without_history_the_price_is_called_a_guess(place):
    load(place, FIRST, ["summary"])
    made = plan(place, datasets=("powunity.position",))
    assert made.is_guess
    assert by_feed(made)["positions"].reads == 12
    assert made.spread("bytes") > 1
    assert "no history" in by_feed(made)["positions"].basis


def test_tables_that_cannot_be_planned_say_why(place):
    for table, words in (("powunity.trips", "no table"), ("powunity.device", "list of what there is now")):
        with pytest.raises(ConfigError, match=words):
            make_plans(place.settings, place.warehouse, wish(datasets=(table,)))


def test_a_price_for_chosen_windows(place):
    load(place, FIRST)
    feed = vendor_room("powunity").feeds["trips"]
    scopes = [str(row[0]) for row in place.sql("SELECT device_id FROM powunity.device")]
    found = price(place.warehouse, place.accounts["powunity"], feed, scopes, [Window.day(SECOND), Window.day(THIRD)])
    one_day = price(place.warehouse, place.accounts["powunity"], feed, scopes, [Window.day(FIRST)])
    login = 1
    assert one_day.requests == pytest.approx(4 + login)
    assert found.requests == pytest.approx(8 + login)
    assert found.bytes == pytest.approx(2 * one_day.bytes)
    assert found.seconds > one_day.seconds > 0


def test_work_is_kept_for_whoever_follows(place):
    load(place, FIRST)
    work = Work.of(plan(place))
    work.keep(place.warehouse, "http://airflow", 12)
    assert Work.kept(place.warehouse, "http://airflow", 12) == work
    assert Work.kept(place.warehouse, "http://airflow", 13) is None


@pytest.fixture
def ask(place, monkeypatch, capsys):
    """Run a command against the place; gives exit status, standard output, standard error."""
    for name, value in {
        "FLEETLAKE_WAREHOUSE_URL": place.settings.warehouse_url,
        "FLEETLAKE_LAKE_URL": place.settings.lake_url,
        "FLEETLAKE_RAW_URL": place.settings.raw_url,
        "FLEETLAKE_HOME": str(place.settings.home),
    }.items():
        monkeypatch.setenv(name, value)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def test_the_terminal_prints_price_command_and_call(place, ask):
    load(place, FIRST)
    options = ["--dataset", "powunity.trip", "--from", FIRST, "--to", THIRD, "--account", "north"]
    status, out, _ = ask("plan", *options, "--json")
    record = json.loads(out)
    assert status == 0
    assert record["vehicle_days"] == {"powunity.trip": {"complete": 4, "of": 12}}
    assert (record["from"], record["to"], record["runs"], record["requests"]) == (SECOND, THIRD, 2, 14)
    assert record["command"].startswith(f"airflow backfill create --dag-id powunity_trips --from-date {SECOND}")
    assert record["api"]["body"]["dag_run_conf"] == {"datasets": ["powunity.trip"]}
    status, out, _ = ask("plan", *options)
    assert status == 0
    assert "4 of 12 vehicle-days proven complete, skipped" in out
    assert "4 vehicle-days of 1 dates" in out
    assert "requests/s (as the last run had it)" in out


def test_the_terminal_names_wrong_options(place, ask):
    load(place, FIRST, ["summary"])
    for options, words in (
        ([], "--dataset, --from, --to missing"),
        (["--dataset", "powunity.trip", "--from", THIRD, "--to", FIRST], "is after"),
        (["--dataset", "powunity.trip", "--from", "2026-11-18T05:00Z", "--to", THIRD], "is no day"),
        (["--dataset", "powunity.trip", "--from", FIRST, "--to", THIRD, "--account", "nobody"], "no account nobody"),
    ):
        status, _, err = ask("plan", *options)
        assert status == 2
        assert words in err


def test_reprocess_publishes_again_from_raw_and_asks_nobody(place, ask):
    load(place, FIRST)
    before = place.requests("powunity")
    options = ["--dataset", "powunity.trip", "--from", FIRST, "--to", FIRST, "--account", "north", "--reprocess"]
    status, out, _ = ask("plan", *options, "--json")
    assert (status, json.loads(out)) == (0, {"vendor": "powunity", "batches": 1, "requests": 0})
    (rows,) = place.sql("SELECT count(*)::int FROM powunity.trip WHERE deleted_at IS NULL")[0]
    status, out, _ = ask("backfill", *options, "--yes")
    assert status == 0
    assert f"powunity.trip: 0 rows new, 0 changed, 0 deleted, {rows} as before" in out
    assert place.requests("powunity") == before


def test_every_dag_named_by_a_contract_is_one_of_the_accounts(place):
    contracts = load_contracts(place.settings.include)
    tables = tuple(name for name, item in contracts.items() if item.loaded_by and item.kind.value != "snapshot")
    plans = make_plans(place.settings, place.warehouse, Wish(datasets=tables, window=RANGE))
    accounts = {account.name for account in load_accounts(place.settings.include)}
    assert {item.account.name for item in plans} == accounts
    assert {(item.vehicles, item.runs, item.is_guess) for item in plans} == {(0, 3, True)}, "an empty warehouse"
    assert all(item.command.startswith("airflow backfill create") for item in plans)
