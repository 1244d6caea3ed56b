"""Plans of backfills: what is skipped, what is read, what a load then really reads; asked of the terminal too."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import pytest
from fleetlake import cli
from fleetlake.accounts import load_accounts
from fleetlake.commands.backfill import create_all
from fleetlake.contracts import load_contracts
from fleetlake.coverage import Interval, State
from fleetlake.errors import ConfigError, IncompleteAnswer, ScopeUnavailable, StoreUnavailable, UnknownVehicle
from fleetlake.pipeline.estimate import Wish
from fleetlake.pipeline.follow import Work
from fleetlake.pipeline.plan import make_plans, standings, vehicles_of
from fleetlake.pipeline.price import price
from fleetlake.pipeline.rooms import vendor_room
from fleetlake.reading import Lane
from fleetlake.vendors.powunity.client import PowUnityClient
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


def load_both_customers(place):
    """A day of both accounts of the vendor; gives a device of each that the other has not."""
    load(place, FIRST, ["trips"])
    place.accounts["powunity"] = replace(place.accounts["powunity"], name="south", conn_id="powunity_south")
    place.sandbox.customers["powunity"], before = (
        {**place.sandbox.customers["powunity"], "north": place.sandbox.customers["powunity"]["south"]},
        place.sandbox.customers["powunity"],
    )
    try:
        load(place, FIRST, ["trips"], run_id="south")
    finally:
        place.sandbox.customers["powunity"] = before
    ids = {
        name: {row[0] for row in place.sql(f"SELECT device_id::text FROM powunity.device WHERE account = '{name}'")}
        for name in ("north", "south")
    }
    return min(ids["north"] - ids["south"]), min(ids["south"] - ids["north"])


def test_vehicles_named_without_an_account_are_looked_for_in_each(place, ask):
    north, south = load_both_customers(place)

    def planned(*vehicles, account=None):
        made = make_plans(place.settings, place.warehouse, wish(datasets=TABLES[:1], vehicles=vehicles, account=account))
        return {item.account.name: item.conf["vehicles"] for item in made}

    assert planned(north) == {"north": [north]}
    assert planned(south, north) == {"north": [north], "south": [south]}
    with pytest.raises(UnknownVehicle, match="none of the accounts north, south has a vehicle 'nobody'"):
        planned(north, "nobody")
    with pytest.raises(UnknownVehicle, match="account 'north' has no vehicle"):
        planned(south, account="north")
    options = ["--dataset", "powunity.trip", "--from", FIRST, "--to", FIRST, "--reprocess", "--json"]
    for vehicles, batches in (([north], 1), ([north, south], 2)):
        status, out, _ = ask("plan", *options, "--vehicles", ",".join(vehicles))
        assert (status, json.loads(out)["batches"]) == (0, batches)


def test_what_a_report_cost_long_ago_is_forgotten(place):
    place.load_health(FIRST)
    made = Wish(datasets=("rcs.health_report", "rcs.trouble"), window=RANGE)
    (before,) = make_plans(place.settings, place.warehouse, made)
    with place.warehouse.session() as connection:
        connection.execute(
            "INSERT INTO ops.usage (account, dag_id, run_id, feed, lane, is_first, scopes, scope_days, reads, reads_done, pages,"
            " requests, bytes, answer_s, waited_s, total_s, started_at, ended_at)"
            " SELECT account, dag_id, 'long ago', feed, lane, is_first, 0, 0, 0, 0, 0, 500, 0, 0, 0, 0,"
            " started_at - interval '15 days', ended_at - interval '15 days'"
            " FROM ops.usage WHERE feed IN ('health_overview', 'health_reports')"
        )
        connection.commit()
    (after,) = make_plans(place.settings, place.warehouse, made)
    assert by_feed(before)["health_overview"].price.requests < 500
    for feed in ("health_overview", "health_reports"):
        assert by_feed(after)[feed].reads == by_feed(before)[feed].reads
    assert by_feed(after)["health_overview"].price.requests == by_feed(before)["health_overview"].price.requests


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


def mark_gone(place):
    """Marks a device deleted; gives its id and its name."""
    with place.warehouse.session() as connection:
        rows = connection.execute(
            "UPDATE powunity.device SET deleted_at = now() WHERE device_id = (SELECT min(device_id) FROM powunity.device)"
            " RETURNING device_id::text, name"
        ).fetchall()
        connection.commit()
    return rows[0]


def test_a_deleted_vehicle_that_is_named_is_planned_read_and_judged_again(place, ask):
    load(place, FIRST, ["trips"])
    gone, name = mark_gone(place)
    run = place.run("powunity", SECOND, vehicles=(gone,))
    with place.pipeline("powunity") as pipeline:
        pipeline.certify(place.run("powunity", FIRST), datasets=["powunity.trip"])
    options = ["--dataset", "powunity.trip", "--from", FIRST, "--to", SECOND, "--account", "north", "--json"]

    def standing(record):
        days = record["vehicle_days"]["powunity.trip"]
        return days["complete"], days["of"]

    assert standing(json.loads(ask("plan", *options)[1])) == (3, 6)
    for named in (gone, name):
        status, out, _ = ask("plan", *options, "--vehicles", named)
        record = json.loads(out)
        assert (status, standing(record), record["runs"]) == (0, (1, 2), 1)
        assert record["api"]["body"]["dag_run_conf"]["vehicles"] == [named]
    status, out, _ = ask("plan", *options, "--reprocess", "--vehicles", gone)
    assert (status, json.loads(out)["batches"]) == (0, 1)
    with place.pipeline("powunity") as pipeline:
        pipeline.load(run, feeds=["trips"], scopes=[gone])
        assert pipeline.certify(run, datasets=["powunity.trip"]) == {"powunity.trip": {"complete": 1, "of": 1}}
    assert json.loads(ask("plan", *options, "--vehicles", gone)[1])["runs"] == 0


def test_a_deleted_vehicle_that_its_vendor_refuses_is_told_as_any_other(place, monkeypatch):
    load(place, FIRST, ["trips"])
    gone, _ = mark_gone(place)

    def trips(client, device, window):
        raise ScopeUnavailable("no such device")

    monkeypatch.setattr(PowUnityClient, "trips", trips)
    run = place.run("powunity", SECOND, vehicles=(gone,))
    with place.pipeline("powunity") as pipeline:
        pipeline.load(run, feeds=["trips"], scopes=[gone])
        with pytest.raises(IncompleteAnswer, match=gone):
            pipeline.certify(run, datasets=["powunity.trip"])
    [(state, proof)] = place.sql(f"SELECT state, proof FROM ops.coverage WHERE scope = '{gone}' AND state = 'failed'")
    assert (state, proof) == ("failed", "refused: no such device")


def test_a_name_that_went_over_to_another_vehicle_is_that_one_s(place):
    load(place, FIRST, ["trips"])
    gone, name = mark_gone(place)
    with place.warehouse.session() as connection:
        connection.execute(
            "UPDATE powunity.device SET name = %s WHERE device_id = (SELECT max(device_id) FROM powunity.device)", [name]
        )
        connection.commit()
    [(heir,)] = place.sql("SELECT max(device_id)::text FROM powunity.device")
    account = load_accounts(place.settings.include)
    north = next(one for one in account if one.name == "north")
    assert vehicles_of(place.settings, place.warehouse, north, wish(vehicles=(name,))) == [heir] != [gone]


def test_the_terminal_prints_price_command_and_call(place, ask):
    load(place, FIRST)
    options = ["--dataset", "powunity.trip", "--from", FIRST, "--to", THIRD, "--account", "north"]
    status, out, _ = ask("plan", *options, "--json")
    record = json.loads(out)
    assert status == 0
    assert record["vehicle_days"] == {"powunity.trip": {"complete": 4, "out_of_retention": 0, "of": 12}}
    assert (record["from"], record["to"], record["runs"], record["requests"]) == (SECOND, THIRD, 2, 14)
    assert record["command"].startswith(f"airflow backfill create --dag-id powunity_trips --from-date {SECOND}")
    assert record["api"]["body"]["dag_run_conf"] == {"datasets": ["powunity.trip"]}
    status, out, _ = ask("plan", *options)
    assert status == 0
    assert "4 of 12 vehicle-days proven complete, skipped" in out
    assert "4 vehicle-days of 1 dates" in out
    assert "requests/s (as the last run had it)" in out


def test_what_the_vendor_does_not_keep_any_more_is_neither_read_nor_called_complete(place, ask):
    load(place, FIRST, ["trips"])
    bikes = [str(row[0]) for row in place.sql("SELECT device_id FROM powunity.device ORDER BY 1")]
    for day, states in ((SECOND, [State.OUT_OF_RETENTION] * 4), (THIRD, [State.OUT_OF_RETENTION] * 3 + [State.FAILED])):
        place.warehouse.record_coverage(
            Interval(
                account="north",
                dataset="powunity.trip",
                scope=bike,
                window=Window.day(day),
                state=state,
                proof="planted: so",
            )
            for bike, state in zip(bikes, states, strict=True)
        )
    options = ["--dataset", "powunity.trip", "--to", THIRD, "--account", "north", "--from"]
    (gone,) = standings(place.settings, place.warehouse, wish(datasets=TABLES[:1], window=Window.day(SECOND)))
    assert (gone.proven, gone.out_of_retention, gone.of, gone.holes) == (0, 4, 4, ())
    assert plan(place, datasets=TABLES[:1], window=Window.day(SECOND)).days is None
    status, out, _ = ask("plan", *options, FIRST)
    words = "4 of 12 vehicle-days proven complete, skipped; 7 out of retention: the vendor does not keep them any more"
    assert (status, words in out) == (0, True)
    record = json.loads(ask("plan", *options, FIRST, "--json")[1])
    assert record["vehicle_days"] == {"powunity.trip": {"complete": 4, "out_of_retention": 7, "of": 12}}
    assert (record["from"], record["to"]) == (THIRD, THIRD)
    status, out, _ = ask("backfill", "--dataset", "powunity.trip", "--from", SECOND, "--to", SECOND, "--account", "north")
    assert (status, "0 of 4 vehicle-days proven complete; 4 out of retention" in out) == (0, True)


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


def test_days_to_come_are_left_out_and_said_so(place, ask):
    load(place, FIRST, ["summary"])
    today = dt.datetime.now(dt.UTC).date()
    yesterday, far = today - dt.timedelta(days=1), today + dt.timedelta(days=30)
    options = ["--dataset", "powunity.trip", "--account", "north", "--from"]
    status, out, err = ask("plan", *options, str(yesterday), "--to", str(far), "--json")
    assert (status, json.loads(out)["to"], json.loads(out)["runs"]) == (0, str(yesterday), 1)
    assert f"days that are not over yet are left out, the last one is {yesterday}" in err
    status, _, err = ask("plan", *options, str(today), "--to", str(far))
    assert (status, f"{today} is not over yet" in err) == (2, True)


def test_dags_of_one_account_tell_what_they_take_together(place, ask):
    place.load_telemetry(FIRST)
    options = ["--from", FIRST, "--to", THIRD, "--dataset", "rcs.telemetry"]
    status, out, _ = ask("plan", *options)
    assert (status, "share one quota" in out) == (0, False)
    status, out, _ = ask("plan", *options, "--dataset", "rcs.health_report")
    assert (status, "account main: 2 DAGs share one quota" in out) == (0, True)


@pytest.mark.parametrize("command", ["plan", "backfill"])
def test_reprocess_checks_what_it_is_given(place, ask, command):
    good = {"--dataset": "powunity.trip", "--from": FIRST, "--to": FIRST}
    for more, words in (
        ({"--dataset": "powunity.trips"}, "there is no table 'powunity.trips'"),
        ({"--dataset": "powunity.device"}, "list of what there is now"),
        ({"--account": "nobody"}, "no account nobody"),
        ({"--account": "main"}, "no account main"),
        ({"--vehicles": "nobody"}, "vehicle 'nobody'"),
        ({"--refetch": None}, "they exclude each other"),
    ):
        options = [word for pair in (good | more).items() for word in pair if word]
        status, out, err = ask(command, *options, "--reprocess")
        assert (status, out) == (2, "")
        assert words in err


class Airflow:
    """What creating backfills asks of Airflow; it breaks down when it is asked for the second."""

    base_url = "http://airflow"

    def __init__(self):
        self.done = []
        self.running = {}

    def running_backfill(self, dag_id):
        return self.running.get(dag_id)

    def create_backfill(self, body):
        if any(what == "create" for what, _ in self.done):
            raise StoreUnavailable("Airflow is away")
        self.done.append(("create", body["dag_id"]))
        return {"id": 7, "is_paused": False}

    def set_paused(self, dag_id, paused):
        self.done.append(("unpause", dag_id))


def test_of_several_backfills_none_is_created_when_one_cannot_be_and_one_that_is_can_be_followed(place, capsys):
    load(place, FIRST, ["trips"])
    plans = make_plans(place.settings, place.warehouse, wish(datasets=("powunity.trip",), account=None))
    first, second = [item.dag_id for item in plans]
    airflow = Airflow()
    airflow.running = {second: {"id": 3}}
    with pytest.raises(StoreUnavailable, match=f"backfill 3 of {second} is running"):
        create_all(place.warehouse, airflow, plans, [first, second])
    assert airflow.done == []
    airflow.running = {}
    with pytest.raises(StoreUnavailable, match="Airflow is away"):
        create_all(place.warehouse, airflow, plans, [first, second])
    assert airflow.done == [("create", first), ("unpause", first)]
    assert (
        f"{first}: backfill 7 is created all the same. Follow it: fleetlake backfill --follow 7" in capsys.readouterr().err
    )
    assert Work.kept(place.warehouse, airflow.base_url, 7) == Work.of(plans[0])


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
