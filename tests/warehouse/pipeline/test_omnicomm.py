"""Omnicomm from sandbox to lake and warehouse: every table is true, and one vehicle out of reach takes no other along."""

from __future__ import annotations

import collections
import datetime as dt
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError, IncompleteAnswer
from fleetlake.http.rate_gate import LocalGate
from fleetlake.http.tokens import PostgresTokens, Token
from fleetlake.pipeline import Pipeline
from fleetlake.reading import FLEET
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.settings import Settings
from fleetlake.vendors.omnicomm.client import OmnicommClient
from fleetlake.window import Window

from tests.warehouse.pipeline.conftest import AS_OF, INCLUDE, TRUCK_FEEDS, Place

WORKER = Path(__file__).parents[1] / "omnicomm_worker.py"
TWO_DAYS = Window.parse("2026-11-20", "2026-11-22")
REPORTS = ("consolidated_report", "statistics", "track_point", "event", "fuel_level", "geofence_visit")
NOW = ("vehicle", "vehicle_group", "vehicle_profile", "vehicle_state", "geofence")


def paths(place):
    return [entry["path"] for entry in place.sandbox.log("omnicomm")]


def test_every_omnicomm_dataset_equals_truth(place):
    for day in ("2026-11-20", "2026-11-21"):
        proven = place.load_trucks(day)
        assert {(item["complete"], item["of"]) for item in proven.values()} == {(5, 5)}
        assert set(proven) == {f"omnicomm.{name}" for name in REPORTS}
    for name in REPORTS:
        assert place.assert_true(f"omnicomm.{name}", TWO_DAYS) > 0
    for name in NOW:
        assert place.assert_true(f"omnicomm.{name}", None) > 0
    assert place.assert_true("omnicomm.vehicle", None) == 5


def test_the_journal_equals_truth(place):
    day = "2026-11-20"
    place.load("omnicomm", place.run("omnicomm", day), ["journal", "journal_additional"], "vehicle_tree")
    for name in ("journal", "journal_parameter"):
        assert place.assert_true(f"omnicomm.{name}", Window.day(day)) > 0


def test_nothing_of_a_day_is_set_aside_and_the_vendors_identities_hold(place):
    place.load_trucks("2026-11-20")
    assert place.sql("SELECT dataset, check_name, reason FROM ops.quarantine") == []
    failed = place.sql("SELECT dataset, check_name, column_name FROM ops.quality_result WHERE NOT success")
    # A tank that swells in the sun is told; nothing else is wrong with this day.
    assert {(row[0], row[1]) for row in failed} <= {
        (f"omnicomm.{table}", "range") for table in ("consolidated_report", "statistics", "track_point", "geofence_visit")
    }
    held = place.sql(
        "SELECT DISTINCT check_name FROM ops.quality_result WHERE dataset = 'omnicomm.statistics' AND check_name LIKE 'identity:%%'"
    )
    assert len(held) == 5


def test_loading_a_day_again_changes_nothing(place):
    place.load_trucks("2026-11-20")
    before = {name: place.all_rows(f"omnicomm.{name}") for name in REPORTS}
    place.load_trucks("2026-11-20", run_id="again", force=True)
    assert {name: place.all_rows(f"omnicomm.{name}") for name in REPORTS} == before


def test_one_login_for_a_whole_day_and_batches_where_the_vendor_takes_them(place):
    place.sandbox.clear_log()
    place.load_trucks("2026-11-20")
    asked = paths(place)
    # One per opened source: geofences, and plan with its loads.
    assert asked.count("/auth/login") == 2
    for report in ("consolidatedReport", "statistics", "geozones"):
        assert asked.count(f"/ls/api/v1/reports/{report}") == 1, "five vehicles in one request"
    assert sum("/reports/track/" in path for path in asked) == 5


def test_processes_share_one_token_through_the_warehouse(place):
    config = place.omnicomm_source().client.config
    tokens = PostgresTokens(place.settings.require_warehouse(), "omnicomm:trucks", "secret")
    place.sandbox.clear_log()
    for _ in range(3):
        client = OmnicommClient(config, gate=LocalGate(1e6, burst=1e6), tokens=tokens)
        assert "5 vehicles" in client.check()
        client.close()
    assert paths(place).count("/auth/login") == 1


def test_eight_processes_at_the_end_of_a_token_refresh_it_once_for_all(place):
    config = place.omnicomm_source().client.config
    tokens = PostgresTokens(place.settings.require_warehouse(), config.account_key, config.password)
    client = OmnicommClient(config, gate=LocalGate(1e6, burst=1e6), tokens=tokens)
    client.tree()
    client.close()
    known = tokens.current()
    tokens.renew(known, lambda _: Token(known.access, known.refresh, dt.datetime.now(dt.UTC)))
    before = tokens.current()
    place.sandbox.clear_log()
    fields = {"base_url": config.base_url, "login": config.login, "password": config.password}
    asked = json.dumps({"warehouse": place.settings.require_warehouse(), "fields": fields})
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([sys.executable, str(WORKER)], stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(8)
    ]
    for process in processes:
        process.stdin.write(asked)
        process.stdin.close()
    told = [(process.stdout.read().strip(), process.stderr.read(), process.wait(60)) for process in processes]
    for process in processes:
        process.stdout.close()
        process.stderr.close()
    assert told == [("5", "", 0)] * 8
    assert collections.Counter(paths(place)) == {"/auth/refresh": 1, config.tree_path: 8}
    assert tokens.current().access != before.access


def test_a_token_that_ends_in_mid_run_loses_nothing(place):
    with place.sandbox.faults("expired:vendor=omnicomm,path=/ls/api/v1/reports/track/*,skip=2,count=1"):
        place.load_trucks("2026-11-20")
    assert place.assert_true("omnicomm.track_point", Window.day("2026-11-20")) > 0


@pytest.fixture
def make_place(tmp_path, tmp_path_factory, make_database):
    """A place at a sandbox of its own, for what must be answered differently there."""
    opened = []

    def make(sandbox):
        settings = Settings(
            home=tmp_path,
            include=INCLUDE,
            warehouse_url=make_database(migrated=True),
            lake_url=str(tmp_path / "lake"),
            raw_url=str(tmp_path / "raw"),
        )
        opened.append(Place(sandbox, settings))
        return opened[-1]

    yield make
    for place in opened:
        place.warehouse.close()


def a_sandbox(tmp_path_factory, **assumptions):
    trucks = assumptions.pop("trucks", 3)
    settings = SandboxSettings(
        state_dir=tmp_path_factory.mktemp("sandbox"),
        as_of=AS_OF,
        vehicles=1,
        bikes=1,
        trucks=trucks,
        assumptions={"omnicomm.calls_per_minute": 0, **{f"omnicomm.{name}": value for name, value in assumptions.items()}},
    )
    return running(settings)


def test_one_poisoned_vehicle_among_200_is_reported_and_the_others_are_loaded(make_place, tmp_path_factory):
    with a_sandbox(tmp_path_factory, trucks=200, poisoned="202000117") as sandbox:
        place = make_place(sandbox)
        account = replace(place.accounts["omnicomm"], chunk_size=200)
        run = place.run("omnicomm", "2026-11-20", account=account)
        with Pipeline(place.settings, account, place.omnicomm_source) as pipeline:
            (chunk,) = pipeline.plan(run, entity_feed="vehicle_tree", feeds=["consolidated"])
            assert len(chunk) == 200
            sandbox.clear_log()
            pipeline.load(run, feeds=["consolidated"], scopes=chunk)
            requests = [path for path in paths(place) if path.endswith("/consolidatedReport")]
            with pytest.raises(IncompleteAnswer, match=r"1 of 200 not complete \(202000117\)"):
                pipeline.certify(run, datasets=["omnicomm.consolidated_report"])
        batches = math.ceil(200 / 50)
        assert len(requests) - batches <= 2 * math.log2(200) + 2
        states = place.sql(
            "SELECT state, count(*), min(scope), min(proof) FROM ops.coverage WHERE dataset = 'omnicomm.consolidated_report'"
            " GROUP BY state = 'failed', state ORDER BY count(*)"
        )
        by_state = {state: (count, scope, proof) for state, count, scope, proof in states}
        assert by_state["failed"][:2] == (1, "202000117")
        assert "access denied" in by_state["failed"][2]
        assert sum(count for count, _, _ in by_state.values()) == 200
        loaded = place.sql(
            "SELECT count(DISTINCT terminal_id), bool_or(terminal_id = 202000117) FROM omnicomm.consolidated_report"
        )
        assert loaded[0][0] > 150, "mothballed trucks have no report"
        assert loaded[0][1] is False


def test_a_vehicle_out_of_reach_is_reported_by_every_feed_and_stops_none(make_place, tmp_path_factory):
    with a_sandbox(tmp_path_factory, poisoned="202000002") as sandbox:
        place = make_place(sandbox)
        with pytest.raises(IncompleteAnswer) as caught:
            place.load_trucks("2026-11-20")
        for name in REPORTS:
            assert f"omnicomm.{name}: 1 of 3 not complete (202000002)" in str(caught.value)
            rows = place.sql(f"SELECT DISTINCT terminal_id FROM omnicomm.{name} ORDER BY 1")
            assert rows == [(202000001,), (202000003,)], name


def test_a_report_reckoned_again_replaces_the_old_one(make_place, tmp_path_factory, tmp_path):
    window = Window.day("2026-11-20")
    with a_sandbox(tmp_path_factory) as sandbox:
        place = make_place(sandbox)
        place.load_trucks("2026-11-20")
        place.assert_true("omnicomm.consolidated_report", window)
        before = place.sql("SELECT sum(distance_m) FROM omnicomm.consolidated_report")[0][0]
    with a_sandbox(tmp_path_factory, recalculated_until="2026-11-21") as sandbox:
        place.sandbox = sandbox
        place.load_trucks("2026-11-20", run_id="again", force=True)
        place.assert_true("omnicomm.consolidated_report", window)
        assert place.sql("SELECT sum(distance_m) FROM omnicomm.consolidated_report")[0][0] > before


def test_truncated_parameters_of_the_journal_are_saved_as_far_as_they_go(make_place, tmp_path_factory):
    with a_sandbox(tmp_path_factory, truncate_json="true") as sandbox:
        place = make_place(sandbox)
        place.load("omnicomm", place.run("omnicomm", "2026-11-20"), ["journal_additional"], "vehicle_tree")
        assert place.assert_true("omnicomm.journal_parameter", Window.day("2026-11-20")) > 0
        assert place.sql("SELECT count(*) FROM omnicomm.journal_parameter WHERE is_truncated")[0][0] > 0


def test_fuel_of_a_server_in_gallons_is_not_imported(make_place, tmp_path_factory):
    with a_sandbox(tmp_path_factory, volume_units="gal") as sandbox:
        place = make_place(sandbox)
        with pytest.raises(ConfigError, match="OMN-11"):
            place.load_trucks("2026-11-20")
        tables = place.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'omnicomm'")
        assert ("consolidated_report",) in tables
        assert place.sql("SELECT * FROM omnicomm.consolidated_report") == []


def test_unverified_lists_are_loaded_when_somebody_wants_them(make_place, tmp_path_factory):
    with a_sandbox(tmp_path_factory, unverified="true") as sandbox:
        place = make_place(sandbox)
        feeds = ["users", "drivers", "video_profiles", "video_tasks"]
        run = place.run("omnicomm", "2026-11-20")
        source = lambda: place.omnicomm_source(unverified_endpoints=True)  # noqa: E731
        with Pipeline(place.settings, place.accounts["omnicomm"], source) as pipeline:
            pipeline.load(run, feeds=feeds, scopes=[FLEET])
        for name in ("account_user", "driver", "video_profile", "video_task"):
            place.assert_true(f"omnicomm.{name}", None)


def test_every_feed_of_the_dag_is_loaded_here():
    tables = {name for name, contract in load_contracts(INCLUDE, "omnicomm").items() if contract.feed in TRUCK_FEEDS}
    assert tables | {"omnicomm.vehicle", "omnicomm.vehicle_group", "omnicomm.geofence"} == {
        f"omnicomm.{name}" for name in (*REPORTS, *NOW)
    }
