"""The warehouse is gone, the vendors are gone: lake, warehouse, ledger and model are made anew from raw, cell by cell."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
import yaml
from fleetlake import fleet
from fleetlake.contracts import load_contracts
from fleetlake.errors import BatchHeld, ConfigError, DataError, FleetlakeError
from fleetlake.fleet_tables import load_fleet_tables
from fleetlake.lake import Lake
from fleetlake.pipeline.rebuild import rebuild
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.settings import Settings
from fleetlake.warehouse import Warehouse
from fleetlake.window import Window

from tests.faults.rebuild_process import MOMENTS
from tests.warehouse.loaded import ASSUMPTIONS, FleetPlace
from tests.warehouse.pipeline.conftest import AS_OF, INCLUDE

pytestmark = pytest.mark.timeout(900)

FIRST, SECOND = "2026-11-19", "2026-11-20"
LEDGER = ("load", "read", "coverage", "coverage_attempt", "cursor", "quality_result", "quarantine", "publication")
LONGEST_TRIP_M = 9000


class House:
    """A loaded house whose vendors are gone.

    Attributes:
        settings: its stores.
        known: digest of every table: all columns of all rows, clocks included; of schema fleet without the time of building.
        pages, rows: what its raw store holds, and what its tables hold.
    """

    def __init__(self, settings):
        self.settings = settings
        self.known = digests(settings)
        self.pages = sum(1 for _ in Path(settings.raw_url).rglob("*.page"))
        with Warehouse(settings.warehouse_url) as warehouse:
            self.rows = sum(
                next(warehouse.query(f"SELECT count(*) FROM {table}")[1])[0] for table in load_contracts(settings.include)
            )

    def bare(self, url, **changes):
        """The same raw store with an empty database."""
        return replace(self.settings, warehouse_url=url, **changes)


def digests(settings):
    """Rows and digest of every table of lake, warehouse, ledger and model."""
    found = {}
    with Warehouse(settings.warehouse_url) as warehouse:
        lake = Lake(settings.lake_url)
        for table, contract in load_contracts(settings.include).items():
            found[f"lake {table}"] = digest(sorted(row.items()) for row in lake.rows(contract))
            found[table] = query_digest(warehouse, table)
        for name in LEDGER:
            found[f"ops.{name}"] = query_digest(warehouse, f"ops.{name}")
        for table in load_fleet_tables(settings.include).values():
            if table.grain != "view":
                found[table.table] = digest(sorted(row.items()) for row in fleet.rows(warehouse, table))
    return found


def query_digest(warehouse, table):
    names, rows = warehouse.query(f"SELECT * FROM {table}")
    return digest(sorted(zip(names, row, strict=True)) for row in rows)


def digest(rows):
    texts = sorted(repr(row) for row in rows)
    return len(texts), hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def different(found, known):
    return {name: (found.get(name), known[name]) for name in known if found.get(name) != known[name]}


def start(settings, *arguments):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "FLEETLAKE"))}
    env = clean | {
        "FLEETLAKE_HOME": str(settings.home),
        "FLEETLAKE_INCLUDE": str(settings.include),
        "FLEETLAKE_WAREHOUSE_URL": settings.warehouse_url,
        "FLEETLAKE_LAKE_URL": settings.lake_url,
        "FLEETLAKE_RAW_URL": settings.raw_url,
        "REBUILD_TABLES": str(arguments.count("--dataset") or len(load_contracts(settings.include))),
    }
    process = str(Path(__file__).with_name("rebuild_process.py"))
    return subprocess.Popen(
        [sys.executable, process, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def rebuilt(settings, moment="never", *arguments):
    """The report of a rebuild that succeeds."""
    process = start(settings, moment, *arguments)
    out, err = process.communicate(timeout=800)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out)


def sql(settings, *statements):
    with Warehouse(settings.warehouse_url) as warehouse, warehouse.session() as connection:
        for statement in statements:
            found = connection.execute(statement)
            rows = found.fetchall() if found.description else []
        connection.commit()
        return rows


@pytest.fixture(scope="module")
def house(tmp_path_factory, make_database):
    """All vendors, two days, loaded the way the DAGs do; then the sandbox is stopped.

    Among it: days read again, an answer that was not believed, a row marked deleted, a stream that went on, a report job, rows
    in quarantine, a batch that is held, reads that failed.
    """
    home = tmp_path_factory.mktemp("house")
    settings = Settings(
        home=home,
        include=INCLUDE,
        warehouse_url=make_database(migrated=True),
        lake_url=str(home / "lake"),
        raw_url=str(home / "raw"),
    )
    small = SandboxSettings(
        state_dir=home / "sandbox", as_of=AS_OF, vehicles=4, bikes=4, trucks=2, cars=3, cameras=2, assumptions=ASSUMPTIONS
    )
    with running(small) as sandbox:
        place = FleetPlace(sandbox, settings)
        tighten(place.settings.include)
        place.contracts = load_contracts(place.settings.include)
        for day in (FIRST, SECOND):
            if day == FIRST:
                place.load_days(Window.day(day), run_id=f"day {day}")
            else:
                place.load_telemetry(day, mode="stream")
                place.load_health(day)
                place.load_bikes(day)
        with sandbox.faults("short_page:vendor=powunity,path=*/trips*"):
            place.load_bikes(FIRST, run_id="half", force=True)
        with sandbox.faults("500:vendor=powunity,path=*/stops*,count=6"), pytest.raises(FleetlakeError):
            place.load_bikes(SECOND, run_id="fails", force=True)
        with pytest.raises(BatchHeld):
            place.load("omnicomm", place.run("omnicomm", SECOND, run_id="held"), ["statistics"], "vehicle_tree")
    # Somebody deletes a trip, of the car that has most of them.
    [(trip, _)] = place.sql(
        "SELECT min(trip_id), count(*) FROM suivideflotte.trip GROUP BY vehicle_id ORDER BY 2 DESC, 1 LIMIT 1"
    )
    assumptions = {**ASSUMPTIONS, "suivideflotte.deleted_trips": str(trip)}
    later = replace(small, state_dir=home / "later", rooms=("suivideflotte",), assumptions=assumptions)
    with running(later) as place.sandbox:
        run = place.run("suivideflotte", FIRST, run_id="deleted", force=True)
        place.load("suivideflotte", run, ["trips"], "vehicles")
        place.build()
        place.warehouse.close()
    loaded = House(place.settings)
    [(deleted, aside, held, failed, cursors)] = sql(
        loaded.settings,
        "SELECT (SELECT count(*) FROM suivideflotte.trip WHERE deleted_at IS NOT NULL), (SELECT count(*) FROM ops.quarantine),"
        " (SELECT count(*) FROM ops.load WHERE state = 'held'), (SELECT count(*) FROM ops.coverage_attempt),"
        " (SELECT count(*) FROM ops.cursor)",
    )
    assert min(deleted, aside, held, failed, cursors) > 0, (deleted, aside, held, failed, cursors)
    return loaded


def tighten(include):
    """Contracts by which some rows go to quarantine, and each batch of a table is held."""
    with edited(include, "powunity", "trip") as (columns, _):
        columns["distance_m"]["logicalTypeOptions"]["maximum"] = LONGEST_TRIP_M
    with edited(include, "omnicomm", "statistics") as (columns, _):
        columns["distance_m"]["logicalTypeOptions"]["maximum"] = 0.001
        columns["distance_m"]["quality"] = [
            {"type": "custom", "engine": "greatExpectations", "name": "x", "severity": "critical"}
        ]


@contextmanager
def edited(include, vendor, name):
    """Columns of a contract by name, and the contract, to be changed."""
    path = include / "contracts" / vendor / f"{name}.yaml"
    data = yaml.safe_load(path.read_text())
    yield {item["name"]: item for item in data["schema"][0]["properties"]}, data
    path.write_text(yaml.safe_dump(data))


# --- everything is lost -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lake", ["kept", "lost too"])
def test_warehouse_dropped_and_vendors_gone_every_table_is_equal_again(house, make_database, tmp_path, lake):
    settings = house.bare(make_database(), **({} if lake == "kept" else {"lake_url": str(tmp_path / "lake")}))
    report = rebuilt(settings)
    assert different(digests(settings), house.known) == {}
    assert all(item["parts"] == 0 for item in report["lake"].values()) == (lake == "kept")
    assert not (Path(settings.lake_url) / "_rebuild").exists()
    print(
        f"\nrebuild (lake {lake}): {len(house.known)} tables equal, {report['entries']} journal entries, {house.pages} pages,"
        f" {report['rows']} rows read, {house.rows} rows in tables, {report['seconds']:.1f} s,"
        f" {report['rows'] / report['seconds']:,.0f} rows/s"
    )


def test_killed_at_any_moment_and_run_again_every_table_is_equal(house, make_database, tmp_path):
    """One vendor's tables, so that it does not take all day."""
    settings = house.bare(make_database(), lake_url=str(tmp_path / "lake"))
    tables = [table for table in load_contracts(settings.include) if table.startswith("powunity.")]
    only = [word for table in tables for word in ("--dataset", table)]
    for moment in ("after 3 entries", MOMENTS[0], "after 9 entries"):
        assert killed(settings, moment, only), moment
    dice = random.Random(7)
    kills = sum(killed(settings, "never", only, after_s=dice.uniform(1, 6)) for _ in range(4))
    for moment in MOMENTS[1:]:
        assert killed(settings, moment, only), moment
    report = rebuilt(settings, "never", *only)
    assert report["is_resumed"]
    found = digests(settings)
    names = [name for name in found if name.removeprefix("lake ") in tables]
    assert {name: found[name] for name in names} == {name: house.known[name] for name in names}
    with Warehouse(settings.warehouse_url) as rebuilt_one, Warehouse(house.settings.warehouse_url) as known:
        for name in LEDGER:
            query = f"(SELECT * FROM ops.{name} WHERE dataset LIKE 'powunity.%') t"
            assert query_digest(rebuilt_one, query) == query_digest(known, query), name
    print(f"\nrebuild killed {6 + kills} times, {kills} of them at random: {len(names)} tables and their ledger equal")


def killed(settings, moment, only, after_s=None):
    """Run the command until it dies, by its own hand or by ours; whether it was killed."""
    process = start(settings, moment, *only)
    try:
        process.communicate(timeout=after_s or 600)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode == -signal.SIGKILL


# --- something is wrong -------------------------------------------------------------------------------------------------


@pytest.fixture
def other(house, tmp_path):
    """A copy of the house, of the same raw store, to be damaged."""
    url = sa.make_url(house.settings.warehouse_url)
    name, lake = f"copy_{uuid.uuid4().hex[:12]}", tmp_path / "lake"
    shutil.copytree(house.settings.lake_url, lake)
    server = url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {url.database}")
    yield house.bare(url.set(database=name).render_as_string(hide_password=False), lake_url=str(lake))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.execute(f"DROP DATABASE IF EXISTS {name}_rebuild WITH (FORCE)")


def test_one_table_is_mended_in_both_stores_and_the_rest_is_left_alone(house, other):
    sql(
        other,
        "CREATE VIEW public.long_trips AS SELECT * FROM powunity.trip WHERE distance_m > 5000",
        "GRANT SELECT ON powunity.trip TO PUBLIC",
        "COMMENT ON TABLE powunity.stop IS 'ours'",
        "UPDATE powunity.trip SET distance_m = distance_m + 1 WHERE device_id = (SELECT min(device_id) FROM powunity.trip)",
        "DELETE FROM powunity.trip WHERE device_id = (SELECT max(device_id) FROM powunity.trip)",
        "DELETE FROM ops.coverage WHERE dataset = 'powunity.trip'",
        "DELETE FROM powunity.stop",
    )
    shutil.rmtree(Path(other.lake_url) / "powunity" / "trip")
    with Watched(other, "SELECT count(*), count(*) FILTER (WHERE distance_m > 0) FROM powunity.trip") as seen:
        report = rebuild(other, ["powunity.trip"])
    [table] = report.tables
    assert (table.new > 0, table.changed > 0, table.gone) == (True, True, 0)
    assert len(seen) <= 2, "readers saw it before and after, nothing between"
    fleet.build(other)
    wrong = set(different(digests(other), house.known))
    assert "powunity.stop" in wrong
    assert {name for name in wrong if "trip" in name} == set()
    assert [row[0] for row in sql(other, "SELECT count(*) > 0 FROM public.long_trips")] == [True]
    assert sql(other, "SELECT has_table_privilege('public', 'powunity.trip', 'SELECT')") == [(True,)]


class Watched:
    """What a reader sees who asks again and again."""

    def __init__(self, settings, query):
        self._settings, self._query = settings, query
        self._over = threading.Event()
        self._seen = set()
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        with Warehouse(self._settings.warehouse_url) as warehouse:
            while not self._over.wait(0.05):
                self._seen |= set(warehouse.query(self._query, timeout_s=2)[1])

    def __enter__(self):
        self._thread.start()
        return self._seen

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def test_rebuilding_what_is_right_writes_nothing(house, other):
    versions = {table: Lake(other.lake_url).version(contract) for table, contract in load_contracts(other.include).items()}
    written = sql(
        other, "SELECT sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_del) FROM pg_stat_user_tables WHERE schemaname <> 'ops'"
    )
    report = rebuild(other)
    assert [item for item in (*report.tables, *report.ledger) if not item.is_equal] == []
    assert report.vehicle_days == 0
    lake = Lake(other.lake_url)
    assert {table: lake.version(contract) for table, contract in load_contracts(other.include).items()} == versions
    assert sql(other, "SELECT count(*) FROM ops.change") == [(0,)]
    assert written
    assert different(digests(other), house.known) == {}


def test_into_a_schema_leaves_the_result_beside_the_tables_in_use(house, other):
    sql(other, "DELETE FROM powunity.trip")
    before = digests(other)
    report = rebuild(other, ["powunity.trip", "powunity.stop"], into="look")
    assert different(digests(other), before) == {}
    with Warehouse(other.warehouse_url) as warehouse:
        assert query_digest(warehouse, 'look."powunity_trip"') == house.known["powunity.trip"]
        assert query_digest(warehouse, 'look."powunity_stop"') == house.known["powunity.stop"]
    assert report.aside == {
        "powunity.stop": house.known["powunity.stop"][0],
        "powunity.trip": house.known["powunity.trip"][0],
    }
    assert sql(other, "SELECT obj_description('look.powunity_trip'::regclass) IS NOT NULL") == [(True,)]
    for name in ("powunity", "ops", "fleet", "pg_x"):
        with pytest.raises(ConfigError, match="has a purpose already"):
            rebuild(other, into=name)


def test_a_new_column_of_a_contract_is_filled_from_raw(house, other, tmp_path):
    include = tmp_path / "include"
    shutil.copytree(other.include, include)
    with edited(include, "powunity", "trip") as (columns, data):
        data["schema"][0]["properties"].append({**columns["distance_m"], "name": "distance_again_m", "required": False})
        data["version"] = "99.0.0"
    [table] = rebuild(replace(other, include=include), ["powunity.trip"]).tables
    assert (table.new, table.gone, table.equal) == (0, 0, 0)
    assert sql(other, "SELECT count(*), count(distance_again_m) FROM powunity.trip WHERE distance_again_m = distance_m") == [
        (house.known["powunity.trip"][0],) * 2
    ]


def test_a_raw_store_that_does_not_know_what_is_loaded_deletes_nothing(house, other, tmp_path):
    before = digests(other)
    with pytest.raises(DataError, match=r"does not know \d+ loads.*FLEETLAKE_RAW_URL"):
        rebuild(replace(other, raw_url=str(tmp_path / "nothing")))
    assert different(digests(other), before) == {}


def test_a_missing_page_is_named_and_nothing_is_changed(house, other, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(other.raw_url, raw)
    page = next((raw / "powunity" / "north" / "trips").rglob("*.page"))
    page.unlink()
    before = digests(other)
    with pytest.raises(DataError, match=str(page.relative_to(raw).parent).replace(".", r"\.")):
        rebuild(replace(other, raw_url=str(raw)), ["powunity.trip"])
    assert different(digests(other), before) == {}


def test_a_user_who_may_not_create_databases_is_told_what_to_do(other):
    name = f"modest_{uuid.uuid4().hex[:8]}"
    # A member of the owner's group: it may do all with the tables, and no more.
    sql(other, f"CREATE ROLE {name} LOGIN", f"GRANT postgres TO {name}")
    modest = replace(other, warehouse_url=sa.make_url(other.warehouse_url).set(username=name).render_as_string(False))
    with pytest.raises(ConfigError, match=r"may not create the database.*--scratch"):
        rebuild(modest, ["powunity.trip"])
    sql(other, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_in_a_database_that_is_given_and_left_empty(house, other, make_database):
    scratch = make_database()
    sql(other, "DELETE FROM powunity.trip")
    [table] = rebuild(other, ["powunity.trip"], scratch=scratch).tables
    assert table.new == house.known["powunity.trip"][0]
    with pytest.raises(ConfigError, match="not empty"):
        rebuild(other, ["powunity.trip"], scratch=house.settings.warehouse_url)
    assert sql(
        replace(other, warehouse_url=scratch), "SELECT count(*) FROM pg_namespace WHERE nspname IN ('ops', 'rebuild')"
    ) == [(0,)]


# --- while loads go on --------------------------------------------------------------------------------------------------


def test_loads_beside_a_rebuild_lose_nothing_and_two_publishers_have_one_order(place, make_database, tmp_path):
    """Two processes' worth of publishers write into the same tables while they are rebuilt again and again."""
    place.load_bikes(FIRST)
    days = [f"2026-11-{day}" for day in range(12, 19)]
    errors = []

    def load(mine):
        try:
            for day in mine:
                place.load("powunity", place.run("powunity", day), ["trips", "stops"], "devices")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=load, args=(mine,)) for mine in (days[::2], days[1::2])]
    for thread in threads:
        thread.start()
    rebuilds = 0
    while any(thread.is_alive() for thread in threads):
        rebuild(place.settings, ["powunity.trip", "powunity.stop"])
        rebuilds += 1
    for thread in threads:
        thread.join()
    assert errors == []
    place.assert_true("powunity.trip", Window.parse(days[0], FIRST))
    place.assert_true("powunity.stop", Window.parse(days[0], FIRST))
    fleet.build(place.settings)
    known = digests(place.settings)
    bare = replace(place.settings, warehouse_url=make_database(), lake_url=str(tmp_path / "other lake"))
    rebuild(bare)
    fleet.build(bare)
    assert different(digests(bare), known) == {}
    print(f"\n{len(days)} days loaded by two publishers beside {rebuilds} rebuilds: nothing lost, digests equal")
