"""OMNI Platform from the simulated vendor to lake and warehouse: equal to what is true, whatever happens on the way."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from fleetlake.accounts import Account
from fleetlake.errors import FleetlakeError, IncompleteAnswer, Retriable
from fleetlake.pipeline import Pipeline
from fleetlake.sandbox.rooms import room
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.vendors.omni_platform.client import OmniClient
from fleetlake.vendors.omni_platform.config import OmniConfig
from fleetlake.vendors.omni_platform.source import OmniSource
from fleetlake.window import DAY, Window, utc

EVENT = "omni_platform.event"
LISTS = ["agents", "profile_groups", "profiles"]


class Depot:
    """The account ``depot``: the shared place, with its own source and a clock that the tests move."""

    def __init__(self, place):
        self.place = place
        self.account = Account(name="depot", vendor="omni_platform", conn_id="omni_platform_default")
        place.accounts["omni_platform"] = self.account
        self.config = {"page_size": 20, "rate_per_s": 1000, "burst": 1000, "timeout_s": 5}

    def source(self):
        sandbox = self.place.sandbox
        config = OmniConfig(
            base_url=sandbox.urls["omni_platform"],
            token=sandbox.customers["omni_platform"]["depot"]["token"],
            **self.config,
        )
        return OmniSource(OmniClient(config), now=sandbox.context.clock.now)

    def at(self, moment):
        self.place.sandbox.context.clock.set(utc(moment))

    def pipeline(self):
        return Pipeline(self.place.settings, self.account, self.source)

    def run(self, day, **changes):
        return self.place.run("omni_platform", day, **changes)

    def load(self, run, feeds=("events",)):
        with self.pipeline() as pipeline:
            pipeline.plan(run, entity_feed="cameras", feeds=[])
            return pipeline.load(run, feeds=list(feeds), scopes=["_fleet"])

    def certify(self, run):
        with self.pipeline() as pipeline:
            return pipeline.certify(run, datasets=[EVENT])

    def rows(self):
        return self.place.sql(f"SELECT event_id FROM {EVENT} WHERE deleted_at IS NULL")


@pytest.fixture
def assumptions():
    return {}


@pytest.fixture
def sandbox(tmp_path, assumptions):
    settings = SandboxSettings(
        state_dir=tmp_path / "sandbox",
        as_of=dt.datetime(2026, 11, 21, 0, 5, tzinfo=dt.UTC),
        cameras=3,
        rooms=("omni_platform",),
        assumptions={f"omni_platform.{name}": value for name, value in assumptions.items()},
    )
    with running(settings) as started:
        yield started


@pytest.fixture
def depot(place):
    return Depot(place)


def test_every_dataset_equals_truth(depot):
    for day in ("2026-11-19", "2026-11-20"):
        depot.load(depot.run(day), [*LISTS, "events"])
        assert depot.certify(depot.run(day)) == {EVENT: {"complete": 1, "of": 1}}
    assert depot.place.assert_true(EVENT, Window.parse("2026-11-19", "2026-11-21")) > 300
    sizes = {"camera": 3, "agent": 2, "profile_group": 3, "profile": 27}
    for name, count in sizes.items():
        assert depot.place.assert_true(f"omni_platform.{name}", None) == count
    assert depot.place.sql("SELECT * FROM ops.quarantine") == []
    assert depot.place.sql("SELECT dataset, check_name FROM ops.quality_result WHERE NOT success") == []


def test_late_events_come_with_the_next_scheduled_run(depot):
    start, missing = _day_with_late_events(depot.place.sandbox.context)
    first, second = Window.day(start), Window.day(start + DAY)
    depot.at(second.start + dt.timedelta(minutes=5))
    depot.load(depot.run(f"{first.start:%Y-%m-%d}"))
    seen = depot.place.assert_true(EVENT, first)
    depot.at(second.end + dt.timedelta(minutes=5))
    truth, warehouse, _ = depot.place.digests(EVENT, first)
    assert (truth.rows, warehouse.rows) == (seen + missing, seen)
    depot.load(depot.run(f"{second.start:%Y-%m-%d}", mode="stream"))
    assert depot.place.assert_true(EVENT, first) == seen + missing
    assert depot.place.assert_true(EVENT, second) > 0


def _day_with_late_events(context):
    """A day some of whose events arrive after it is over, and how many."""
    for back in range(3, 20):
        day = Window.day(utc("2026-11-21") - back * DAY)
        rows = room("omni_platform").truth(context, "event", day, "depot")
        late = sum(row["created_time"] > day.end + dt.timedelta(minutes=5) for row in rows)
        if late:
            return day.start, late
    raise AssertionError("no agent is late")


def test_a_second_load_changes_no_row(depot):
    depot.load(depot.run("2026-11-20"))
    before = depot.place.all_rows(EVENT)
    depot.load(depot.run("2026-11-20", run_id="again", force=True))
    assert depot.place.all_rows(EVENT) == before


@pytest.mark.parametrize("assumptions", [{"insertions": 2, "ghosts": 2}, {"ghosts": 1}])
def test_rows_of_abandoned_passes_are_not_true(depot):
    depot.config["page_size"] = 4
    depot.load(depot.run("2026-11-20"))
    depot.certify(depot.run("2026-11-20"))
    depot.place.assert_true(EVENT, Window.day("2026-11-20"))


@pytest.mark.parametrize("assumptions", [{"insertions": 6}])
def test_an_hour_that_never_stands_still_is_not_proven(depot):
    depot.config.update(page_size=4, max_restarts=1)
    with pytest.raises(Retriable, match="totalCount went from"):
        depot.load(depot.run("2026-11-20"))
    with pytest.raises(IncompleteAnswer):
        depot.certify(depot.run("2026-11-20"))


def test_a_broken_read_goes_on_in_the_hour_it_broke_in(depot):
    run = depot.run("2026-11-20")
    depot.config["max_attempts"] = 1
    with depot.place.sandbox.faults("drop:path=/event-service/*,skip=12"), pytest.raises(FleetlakeError):
        depot.load(run)
    depot.place.sandbox.clear_log()
    assert depot.load(run)[EVENT]["read"] > 100
    depot.certify(run)
    depot.place.assert_true(EVENT, Window.day("2026-11-20"))
    paths = [entry["path"] for entry in depot.place.sandbox.log("omni_platform")]
    pages = depot.place.sql("SELECT pages FROM ops.read WHERE feed = 'events'")[0][0]
    assert paths.count("/event-service/graphql") <= 1 + pages - 8, "hours that are home are not asked for again"


def test_the_last_two_minutes_wait_and_delete_nothing(depot):
    """A run at midnight sharp: the day is read but for its last two minutes, and finished by the retry."""
    run = depot.run("2026-11-20")
    depot.at("2026-11-21T00:00:10Z")
    with pytest.raises(Retriable, match="may still be joined") as raised:
        depot.load(run)
    assert 100 < raised.value.retry_after < 120
    with pytest.raises(IncompleteAnswer):
        depot.certify(run)
    depot.at("2026-11-21T00:02:20Z")
    depot.load(run)
    depot.certify(run)
    depot.place.assert_true(EVENT, Window.day("2026-11-20"))


def test_today_is_loaded_as_far_as_it_goes_and_not_called_complete(depot):
    depot.at("2026-11-20T12:00Z")
    run = depot.run("2026-11-20", run_id="by hand")
    with pytest.raises(IncompleteAnswer, match="into the future"):
        depot.load(run)
    assert len(depot.rows()) > 50
    with pytest.raises(IncompleteAnswer):
        depot.certify(run)


@pytest.mark.parametrize("assumptions", [{"activity_ttl": 90 * 86_400}])
def test_a_day_the_vendor_no_longer_keeps_is_not_deleted(depot):
    """Expiry by TTL: a forced re-read of an old day must not take its rows along."""
    depot.load(depot.run("2026-11-18"))
    depot.at("2026-11-21T00:05Z")
    before = depot.place.all_rows(EVENT)
    assert before[0]
    depot.at("2027-02-17T00:00Z")  # the 90 days of the first hours are over
    depot.load(depot.run("2026-11-18", run_id="again", force=True))
    assert depot.place.all_rows(EVENT) == before
    depot.at("2027-03-17T00:00Z")
    depot.load(depot.run("2026-11-18", run_id="and again", force=True))
    assert depot.place.all_rows(EVENT) == before
    attempts = depot.place.sql("SELECT DISTINCT state FROM ops.coverage")
    assert attempts == [("complete",)], "the proof stays"


@pytest.mark.parametrize("assumptions", [{"denied": "workspaceInfo", "activity_ttl": 3 * 86_400}])
def test_an_old_day_is_not_deleted_where_the_retention_is_unknown(depot):
    depot.at("2026-11-21T00:10Z")
    depot.load(depot.run("2026-11-20"))
    assert depot.certify(depot.run("2026-11-20")) == {EVENT: {"complete": 1, "of": 1}}
    before = depot.place.all_rows(EVENT)
    assert before[0]
    depot.at("2026-11-30T00:10Z")  # the vendor has dropped the day, and does not say so
    depot.load(depot.run("2026-11-20", run_id="again", force=True))
    assert depot.place.all_rows(EVENT) == before


@pytest.mark.parametrize("assumptions", [{"denied": "workspaceInfo"}])
def test_an_old_day_is_loaded_but_not_called_complete_where_the_retention_is_unknown(depot):
    run = depot.run("2026-11-10")
    depot.load(run)
    assert depot.place.assert_true(EVENT, Window.day("2026-11-10")) > 100
    with pytest.raises(IncompleteAnswer):
        depot.certify(run)


def test_tables_hold_no_personal_data_unless_it_is_kept(depot):
    depot.load(depot.run("2026-11-20"), ["profiles", "events"])
    texts = [row[0] for row in depot.place.sql(f"SELECT row_to_json(e)::text FROM {EVENT} e")]
    texts += [row[0] for row in depot.place.sql("SELECT row_to_json(p)::text FROM omni_platform.profile p")]
    assert not [text for text in texts if "FEMALE" in text or '"male"' in text or "Berger" in text]
    found = depot.place.sql(f"SELECT candidates FROM {EVENT} WHERE candidates_count > 0")
    assert all({item["age"], item["gender"]} == {None} for row in found for item in _list(row[0]))
    assert all(item["profile_id"] and item["confidence"] > 0.5 for row in found for item in _list(row[0]))


@pytest.mark.parametrize("assumptions", [{"truth_personal_data": "keep"}])
def test_personal_data_is_kept_where_the_account_says_so(depot):
    depot.config["personal_data"] = "keep"
    depot.load(depot.run("2026-11-20"), ["profiles", "events"])
    assert depot.place.assert_true(EVENT, Window.day("2026-11-20")) > 100
    assert depot.place.assert_true("omni_platform.profile", None) == 27


def _list(value):
    return json.loads(value) if isinstance(value, str) else value
