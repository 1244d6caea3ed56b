"""Publications out of order: a worker is killed or a batch waits, and newer answers about the same are published first."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fleetlake.pipeline.rebuild import rebuild
from fleetlake.pipeline.redrive import redrive
from fleetlake.reading import FLEET
from fleetlake.vendors.omnicomm.client import OmnicommClient
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.suivideflotte.source import SuiviDeFlotteSource
from fleetlake.warehouse import Publication, Warehouse
from fleetlake.window import Window

from .test_quarantine import strict  # noqa: F401
from .test_second_readings import DAY, busy, deleted, load_trips  # noqa: F401

TRIP = "powunity.trip"


class Killed(BaseException):
    """The process dies here."""


def kill(*_arguments, **_named):
    raise Killed


def die(monkeypatch, room, name, load):
    """Load, and die on the way."""
    with monkeypatch.context() as patch:
        patch.setattr(room, name, kill)
        with pytest.raises(Killed):
            load()


class Answers:
    """``GET /reports/trips`` of one bike (``None`` = of all), changed by ``change`` where there is one."""

    def __init__(self, monkeypatch, device):
        self.change = None
        original = PowUnityClient.trips

        def trips(client, device_id, window):
            answer = original(client, device_id, window)
            if device not in (device_id, None) or self.change is None:
                return answer
            return replace(answer, body=json.dumps(self.change(json.loads(answer.body))).encode())

        monkeypatch.setattr(PowUnityClient, "trips", trips)


@pytest.fixture
def answers(monkeypatch, busy):  # noqa: F811
    return Answers(monkeypatch, busy)


def assert_alike(place, table):
    warehouse, lake = place.all_rows(table)
    assert warehouse == lake
    return warehouse


# --- killed before anything is published ----------------------------------------------------------------------------------


def test_an_older_answer_changes_no_value_back_and_brings_no_row_back(place, busy, answers, monkeypatch):  # noqa: F811
    known = assert_alike(place, TRIP)
    answers.change = lambda rows: [
        {**row, "averageSpeed": 5.0} for row in [*rows, {**rows[0], "startTime": "2026-11-20T00:00:01.000+00:00"}]
    ]
    die(monkeypatch, Warehouse, "publishing", lambda: load_trips(place, busy, "older"))
    answers.change = None
    load_trips(place, busy, "newer")
    load_trips(place, busy, "older")
    assert assert_alike(place, TRIP) == known, "what the newer answer has confirmed stays, provenance included"
    assert place.sql(f"SELECT DISTINCT state FROM ops.coverage WHERE scope = '{busy}'") == [("complete",)]
    load_trips(place, busy, "older")
    assert assert_alike(place, TRIP) == known


def test_an_older_answer_settles_nothing_that_a_newer_one_has_set_aside(strict, place, busy, answers, monkeypatch):  # noqa: F811
    mended = place.settings
    strict(TRIP, lambda columns, _: columns["distance_m"]["logicalTypeOptions"].update(maximum=500_000))
    die(monkeypatch, Warehouse, "publishing", lambda: load_trips(place, busy, "older"))
    odd = {"startTime": "2026-11-20T00:00:01.000+00:00", "endTime": "2026-11-20T00:00:09.000+00:00", "distance": 600_000.0}
    answers.change = lambda rows: [*rows[:-1], {**rows[-1], **odd, "startPositionId": 987654321}, rows[-1]]
    load_trips(place, busy, "newer")
    load_trips(place, busy, "older")
    assert place.sql("SELECT resolution FROM ops.quarantine") == [(None,)]
    place.settings = mended
    redrive(place.settings, place.accounts["powunity"])
    assert place.sql(f"SELECT count(*) FROM {TRIP} WHERE distance_m > 500000") == [(1,)]


def test_a_batch_of_other_vehicles_around_the_same_one_is_an_answer_about_it_too(place, monkeypatch):
    run = place.run("omnicomm", DAY, mode="window")
    visits = "omnicomm.geofence_visit"
    with place.pipeline("omnicomm") as pipeline:
        scopes = [scope for chunk in pipeline.plan(run, entity_feed="vehicle_tree", feeds=[]) for scope in chunk]
        pipeline.load(run, feeds=["geofences"], scopes=[FLEET])
        pipeline.load(run, feeds=["geofence_visits"], scopes=scopes)
    car = str(place.sql(f"SELECT terminal_id, count(*) FROM {visits} GROUP BY 1 ORDER BY 2 DESC LIMIT 1")[0][0])
    original, is_lost = OmnicommClient.geofence_visits, True

    def without_first(data, done):
        if isinstance(data, dict):
            return {name: without_first(value, done) for name, value in data.items()}
        if not isinstance(data, list):
            return data
        kept = []
        for item in data:
            is_visit = isinstance(item, dict) and str(item.get("vehicleId", item.get("terminalId"))) == car
            if is_visit and not done and not any(isinstance(value, list) for value in item.values()):
                done.append(item)
            else:
                kept.append(without_first(item, done))
        return kept

    def answer(client, terminals, window):
        found = original(client, terminals, window)
        return replace(found, body=json.dumps(without_first(json.loads(found.body), [])).encode()) if is_lost else found

    monkeypatch.setattr(OmnicommClient, "geofence_visits", answer)

    def load(name, vehicles):
        with place.pipeline("omnicomm") as pipeline:
            again = place.run("omnicomm", DAY, run_id=name, force=True)
            pipeline.load(again, feeds=["geofence_visits"], scopes=vehicles)

    die(monkeypatch, Warehouse, "publishing", lambda: load("older", scopes))
    is_lost = False
    load("newer", [scope for scope in scopes if scope != next(other for other in scopes if other != car)])
    load("older", scopes)
    assert place.sql(f"SELECT count(*) FROM {visits} WHERE deleted_at IS NOT NULL") == [(0,)]
    assert_alike(place, visits)


def test_what_a_newer_answer_does_not_tell_of_is_marked_as_ever(place, monkeypatch):
    """Windows overlap by a day; the trip that is gone lies before it."""

    def load(name, start, end, scopes=None):
        run = place.run("suivideflotte", start, run_id=name, window=Window.parse(start, end), partition=None, force=True)
        with place.pipeline("suivideflotte") as pipeline:
            (chunk, *_) = pipeline.plan(run, entity_feed="vehicles", feeds=[])
            pipeline.load(run, feeds=["trips"], scopes=scopes or chunk)

    load("first", "2026-11-16", "2026-11-21")
    ((car, gone),) = place.sql(
        "SELECT vehicle_id, trip_id FROM suivideflotte.trip WHERE start_time < '2026-11-18' ORDER BY start_time LIMIT 1"
    )
    lose(monkeypatch, {str(gone)})
    die(monkeypatch, Warehouse, "publishing", lambda: load("older", "2026-11-16", "2026-11-21", [str(car)]))
    load("newer", "2026-11-20", "2026-11-22", [str(car)])
    load("older", "2026-11-16", "2026-11-21", [str(car)])
    assert place.sql("SELECT trip_id FROM suivideflotte.trip WHERE deleted_at IS NOT NULL") == [(gone,)]
    assert_alike(place, "suivideflotte.trip")


def lose(monkeypatch, ids):
    """SuiviDeFlotte really has some trips no more."""

    def kept(data):
        if isinstance(data, list):
            return [kept(item) for item in data if not (isinstance(item, dict) and str(item.get("id")) in ids)]
        return {name: kept(value) for name, value in data.items()} if isinstance(data, dict) else data

    def losing(original):
        def pages(source, *arguments, **named):
            for page in original(source, *arguments, **named):
                yield replace(page, body=json.dumps(kept(json.loads(page.body))).encode(), total=None)

        return pages

    for name in ("pages", "pages_again"):
        monkeypatch.setattr(SuiviDeFlotteSource, name, losing(getattr(SuiviDeFlotteSource, name)))


# --- killed between lake and warehouse ------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["back", "still gone"])
def test_an_interrupted_publication_is_finished_before_the_next_one(place, busy, answers, monkeypatch, then):  # noqa: F811
    """The lake has the older answer, the warehouse has not; whoever comes first finishes that."""
    answers.change = lambda rows: [{**row, "averageSpeed": 5.0} for row in rows[1:]]
    die(monkeypatch, Publication, "upsert", lambda: load_trips(place, busy, "older"))
    warehouse, lake = place.all_rows(TRIP)
    assert warehouse != lake
    if then == "back":
        answers.change = lambda rows: [{**row, "averageSpeed": 5.0} for row in rows]
    requests = place.requests("powunity")
    load_trips(place, busy, "newer")
    assert assert_alike(place, TRIP)
    assert deleted(place) == (then == "still gone")
    asked = place.requests("powunity")
    assert asked > requests
    load_trips(place, busy, "older")
    assert place.requests("powunity") == asked, "its pages are published"
    known = assert_alike(place, TRIP)
    journal = list((place.settings.home / "raw" / "_journal").rglob("*-trip-*.json"))
    assert len({path.name.split("-", 1)[1] for path in journal}) == len(journal), "nothing is noted twice"
    rebuild(place.settings, [TRIP])
    assert assert_alike(place, TRIP) == known, "made anew it is the same"


def test_a_publication_that_died_before_its_journal_entry_keeps_nobody_waiting(place, busy, answers, monkeypatch):  # noqa: F811
    from fleetlake.raw import Journal

    answers.change = lambda rows: rows[1:]
    die(monkeypatch, Journal, "write", lambda: load_trips(place, busy, "older"))
    assert place.sql(
        "SELECT count(*) FROM ops.publishing p WHERE NOT EXISTS (SELECT FROM ops.load l WHERE l.load_id = p.load_id)"
    ) == [(1,)]
    answers.change = None
    load_trips(place, busy, "newer")
    assert deleted(place) == 0
    load_trips(place, busy, "older")
    assert deleted(place) == 0
    assert_alike(place, TRIP)


# --- set aside ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", ["empty", "short"])
def test_an_answer_that_is_not_believed_settles_nothing_that_was_set_aside(strict, place, monkeypatch, lie):  # noqa: F811
    mended = place.settings
    strict(TRIP, lambda columns, _: columns["distance_m"]["logicalTypeOptions"].update(maximum=8000))
    place.load("powunity", place.run("powunity", DAY), ["trips"], "devices")
    still_open = "SELECT DISTINCT row_key FROM ops.quarantine WHERE resolved_at IS NULL ORDER BY 1"
    aside = place.sql(still_open)
    assert aside
    answers = Answers(monkeypatch, None)
    answers.change = (lambda rows: []) if lie == "empty" else (lambda rows: rows[: len(rows) // 2])
    scopes = [row[0] for row in place.sql("SELECT device_id::text FROM powunity.device ORDER BY 1")]
    with place.pipeline("powunity") as pipeline:
        pipeline.load(place.run("powunity", DAY, run_id="lied to", force=True), feeds=["trips"], scopes=scopes)
    assert place.sql(still_open) == aside
    place.settings = mended
    redrive(place.settings, place.accounts["powunity"])
    assert place.sql(still_open) == []
    place.assert_true(TRIP, Window.day(DAY))


def test_rows_taken_up_later_do_not_bring_back_what_a_newer_answer_lacks(strict, place, monkeypatch):  # noqa: F811
    mended = place.settings

    def load(name, start, end):
        run = place.run("suivideflotte", start, run_id=name, window=Window.parse(start, end), partition=None, force=True)
        with place.pipeline("suivideflotte") as pipeline:
            (chunk, *_) = pipeline.plan(run, entity_feed="vehicles", feeds=[])
            pipeline.load(run, feeds=["trips"], scopes=chunk)

    strict(
        "suivideflotte.trip",
        lambda columns, _: columns["distance_m"].setdefault("logicalTypeOptions", {}).update(maximum=30_000),
    )
    load("first", "2026-11-16", "2026-11-21")
    aside = place.sql("SELECT row_key FROM ops.quarantine WHERE resolved_at IS NULL ORDER BY 1")
    gone = {key.split()[-1] for (key,) in aside[::2]}
    still = {key.split()[-1] for (key,) in aside} - gone
    assert gone and still
    lose(monkeypatch, gone)
    load("second", "2026-11-16", "2026-11-22")
    place.settings = mended
    redrive(place.settings, place.accounts["suivideflotte"])
    live = {str(row[0]) for row in place.sql("SELECT trip_id FROM suivideflotte.trip WHERE deleted_at IS NULL")}
    assert not live & gone, "the vendor has these no more"
    assert still <= live, "what it still has is taken"
    assert place.sql("SELECT count(*) FROM ops.quarantine WHERE resolved_at IS NULL") == [(0,)]
    assert_alike(place, "suivideflotte.trip")


def test_a_publication_that_cannot_be_finished_stops_nobody_else(place, busy, answers, monkeypatch):  # noqa: F811
    answers.change = lambda rows: rows[1:]
    die(monkeypatch, Publication, "upsert", lambda: load_trips(place, busy, "older"))
    ((page,),) = place.sql("SELECT journal FROM ops.publishing WHERE dataset = 'powunity.trip'")
    entry = place.settings.home / "raw" / page
    entry.write_text("{")
    answers.change = None
    load_trips(place, busy, "newer")
    assert place.sql(f"SELECT count(*) FROM {TRIP} WHERE deleted_at IS NOT NULL") == [(0,)]
