"""SuiviDeFlotte from sandbox to lake and warehouse: every table is true, late changes arrive, tokens are shared."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fleetlake.errors import AccessDenied, ConfigError, IncompleteAnswer
from fleetlake.http.rate_gate import LocalGate
from fleetlake.http.tokens import PostgresTokens, Token
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.vendors.suivideflotte.client import SuiviDeFlotteClient
from fleetlake.vendors.suivideflotte.config import SuiviDeFlotteConfig
from fleetlake.window import Window

from tests.warehouse.pipeline.conftest import AS_OF, INCLUDE

WORKER = Path(__file__).parents[1] / "suivideflotte_worker.py"
TABLES = ("vehicle", "trip", "alert", "poi", "driver")
GRANT = ("client_id", "client_secret", "username", "password")


def paths(place):
    return [entry["path"] for entry in place.sandbox.log("suivideflotte")]


@pytest.fixture
def another(tmp_path_factory):
    """A sandbox of one's own: ``another(as_of=…, settling_h=48.0)``."""
    with contextlib.ExitStack() as stack:

        def start(as_of=AS_OF, cars=4, **assumptions):
            settings = SandboxSettings(
                state_dir=tmp_path_factory.mktemp("sandbox"),
                as_of=as_of,
                cars=cars,
                rooms=("suivideflotte",),
                assumptions={
                    "suivideflotte.requests_per_minute": 0,
                    **{f"suivideflotte.{name}": value for name, value in assumptions.items()},
                },
            )
            return stack.enter_context(running(settings))

        yield start


def test_every_suivideflotte_dataset_equals_truth(place):
    for day in ("2026-11-20", "2026-11-21"):
        proven = place.load_cars(day)
        assert proven["suivideflotte.trip"] == {"complete": 6, "of": 6}
        assert proven["suivideflotte.alert"] == {"complete": 1, "of": 1}
    window = Window.parse("2026-11-20", "2026-11-22")
    for name in ("trip", "alert"):
        assert place.assert_true(f"suivideflotte.{name}", window) > 0
    for name in ("vehicle", "poi", "driver"):
        assert place.assert_true(f"suivideflotte.{name}", None) > 0
    assert place.sql("SELECT dataset, reason FROM ops.quarantine") == []
    assert place.sql("SELECT dataset, check_name, column_name FROM ops.quality_result WHERE NOT success") == []


def test_an_application_key_loads_the_same(place):
    keys = place.sandbox.customers["suivideflotte"]["france"]
    with_token = place.suivideflotte_source
    place.suivideflotte_source = lambda: with_token(token=None, **{name: keys[name] for name in GRANT})
    place.load_cars("2026-11-20")
    assert "/oauth2" in paths(place)
    assert place.assert_true("suivideflotte.trip", Window.day("2026-11-20")) > 0


def test_loading_a_day_again_changes_nothing(place):
    place.load_cars("2026-11-20")
    before = {name: place.all_rows(f"suivideflotte.{name}") for name in TABLES}
    place.load_cars("2026-11-20", run_id="again", force=True)
    assert {name: place.all_rows(f"suivideflotte.{name}") for name in TABLES} == before


def test_a_scheduled_day_reads_two_days_back_in_one_request_per_vehicle(place):
    place.sandbox.clear_log()
    place.load_cars("2026-11-21", mode="stream")
    assert len([path for path in paths(place) if path.endswith("/trips")]) == 6
    assert place.assert_true("suivideflotte.trip", Window.parse("2026-11-19", "2026-11-22")) > 0


def test_trips_that_change_or_arrive_late_are_corrected_by_the_days_after(place, another):
    """For 48 hours ends and distances are provisional (SDF-07); some trips are told hours after they ended."""
    window = Window.day("2026-11-19")
    days = ("2026-11-19", "2026-11-20", "2026-11-21")
    seen = []
    for day in days:
        as_of = dt.datetime.fromisoformat(f"{day}T00:00:00+00:00") + dt.timedelta(days=1)
        place.sandbox = another(as_of=as_of, settling_h=48.0, late_share=0.5)
        place.load_cars(day, mode="stream")
        place.assert_true("suivideflotte.trip", window)
        seen.append(
            place.sql("SELECT trip_id, distance_m FROM suivideflotte.trip WHERE start_time < '2026-11-20' ORDER BY 1")
        )
    assert len({trip for trip, _ in seen[-1]} - {trip for trip, _ in seen[0]}) > 0, "some came late"
    first, last = dict(seen[0]), dict(seen[-1])
    assert any(first[trip] != last[trip] for trip in first.keys() & last.keys()), "some changed"


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_the_days_of_clock_changes_are_true_with_times_that_name_their_offset(day, place, another):
    place.sandbox = another(date_format="iso", cars=8)
    place.load_cars(day)
    for name in ("trip", "alert"):
        assert place.assert_true(f"suivideflotte.{name}", Window.day(day)) > 0


def test_small_pages_lose_nothing(place, another):
    place.sandbox = another(perpage_max=20, pois=61, envelope="array", page_past_end="422")
    place.load_cars("2026-11-20")
    assert place.assert_true("suivideflotte.poi", None) == 61


def test_a_vehicle_list_that_lost_its_second_half_deletes_nothing(place):
    place.load_cars("2026-11-20")
    with place.sandbox.faults("short_page:vendor=suivideflotte,path=/vehicles"), pytest.raises(IncompleteAnswer):
        place.load_cars("2026-11-20", run_id="again", force=True)
    assert place.sql("SELECT count(*) FROM suivideflotte.vehicle WHERE deleted_at IS NULL") == [(6,)]


def test_a_wrong_field_name_stops_the_load_and_raw_serves_once_it_is_mended(place, tmp_path, monkeypatch):
    include = tmp_path / "include"
    (include / "suivideflotte").mkdir(parents=True)
    for name in ("contracts", "sql"):
        (include / name).symlink_to(INCLUDE / name)
    text = (INCLUDE / "suivideflotte" / "default.yaml").read_text()
    mine = include / "suivideflotte" / "france.yaml"
    mine.write_text(text.replace("distance_m: distance", "distance_m: trip_distance"))
    monkeypatch.setenv("FLEETLAKE_INCLUDE", str(include))
    place.settings = replace(place.settings, include=include)
    with pytest.raises(ConfigError, match=r"no field 'trip_distance'.*distance_m.*france\.yaml"):
        place.load_cars("2026-11-20")
    assert place.sql("SELECT count(*) FROM suivideflotte.trip") == [(0,)]
    mine.write_text(text)
    place.sandbox.clear_log()
    place.load_cars("2026-11-20")
    assert not [path for path in paths(place) if path.endswith("/trips")], "the answers were kept"
    assert place.assert_true("suivideflotte.trip", Window.day("2026-11-20")) > 0


def test_a_missing_scope_is_an_error_of_its_own(place, another):
    place.sandbox = another(scopes="vehicles:read")
    with pytest.raises(AccessDenied, match="grants its scope"):
        place.load_cars("2026-11-20")


# --- tokens of an application key, shared by processes ------------------------------------------------------------------


@pytest.fixture
def key(place):
    """Fields of a connection by application key, and the token store of its login with a token that has just ended."""
    keys = place.sandbox.customers["suivideflotte"]["france"]
    fields = {"base_url": place.sandbox.urls["suivideflotte"], **{name: keys[name] for name in GRANT}}
    config = SuiviDeFlotteConfig.from_mapping(fields)
    tokens = PostgresTokens(place.settings.require_warehouse(), config.token_key, config.client_secret)
    client = SuiviDeFlotteClient(config, gate=LocalGate(1e6, burst=1e6), tokens=tokens)
    client.get("/vehicles")
    client.close()
    known = tokens.current()
    tokens.renew(known, lambda _: Token(known.access, known.refresh, dt.datetime.now(dt.UTC)))
    place.sandbox.clear_log()
    return fields, tokens


def worker(place, fields):
    asked = json.dumps({"warehouse": place.settings.require_warehouse(), "fields": fields})
    process = subprocess.Popen(
        [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdin.write(asked)
    process.stdin.close()
    return process


def test_eight_processes_at_the_end_of_a_token_refresh_it_once_for_all(place, key):
    fields, tokens = key
    before = tokens.current()
    processes = [worker(place, fields) for _ in range(8)]
    told = [(process.stdout.read().strip(), process.stderr.read(), process.wait(60)) for process in processes]
    assert told == [("6", "", 0)] * 8
    assert collections.Counter(paths(place)) == {"/oauth2/refresh": 1, "/vehicles": 8}
    assert tokens.current().refresh != before.refresh


def test_a_process_killed_in_the_middle_of_a_refresh_locks_nobody_out(place, key):
    fields, _ = key
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    with place.sandbox.faults("slow:vendor=suivideflotte,path=/oauth2/refresh,seconds=30,count=1"):
        doomed = worker(place, fields)
        deadline = time.monotonic() + 30
        while place.sql(held) == [(0,)]:
            assert time.monotonic() < deadline, "nobody renews the token"
            time.sleep(0.02)
        doomed.kill()
        doomed.wait(10)
        for stream in (doomed.stdout, doomed.stderr):
            stream.close()
    # The fault is over: the first one may have died with the lock in its hand and before its request was sent.
    started = time.monotonic()
    heir = worker(place, fields)
    assert (heir.stdout.read().strip(), heir.stderr.read(), heir.wait(60)) == ("6", "", 0)
    assert time.monotonic() - started < 20
