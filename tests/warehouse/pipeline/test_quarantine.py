"""Bad rows are set aside with reason and raw row, good ones published; severity decides whether a batch is held."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import yaml
from fleetlake.canonical import Digest
from fleetlake.errors import BatchHeld, FleetlakeError, IncompleteAnswer
from fleetlake.pipeline.redrive import redrive
from fleetlake.raw import RawStore
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.window import Window

DAY = "2026-11-20"


@pytest.fixture
def strict(place, tmp_path):
    """The same place with a contract that is changed: what was good before may be bad now."""

    def change(table, edit):
        include = tmp_path / "include"
        shutil.copytree(place.settings.include, include, dirs_exist_ok=True)
        path = include / "contracts" / f"{table.replace('.', '/')}.yaml"
        data = yaml.safe_load(path.read_text())
        edit({item["name"]: item for item in data["schema"][0]["properties"]}, data["schema"][0])
        path.write_text(yaml.safe_dump(data))
        place.settings = replace(place.settings, include=include)
        return place

    return change


def load_trips(place):
    return place.load("powunity", place.run("powunity", DAY), ["trips"], "devices")


def test_failing_rows_are_set_aside_and_the_rest_is_published(strict):
    place = strict("powunity.trip", lambda columns, _: columns["distance_m"]["logicalTypeOptions"].update(maximum=8000))
    load_trips(place)
    truth = place.digests("powunity.trip", Window.day(DAY))[0]
    (published,) = place.sql("SELECT count(*), max(distance_m) FROM powunity.trip")
    rows = place.sql("SELECT check_name, column_name, reason, raw_row, raw_page, raw_index, row_key FROM ops.quarantine")
    assert 0 < len(rows) < truth.rows
    assert (published[0], published[1] <= 8000) == (truth.rows - len(rows), True)
    check, column, reason, raw_row, page, index, key = rows[0]
    raw_row = raw_row if isinstance(raw_row, dict) else json.loads(raw_row)
    assert (check, column) == ("range", "distance_m")
    assert "8000" in reason
    assert raw_row["distance"] > 8000
    body = json.loads(RawStore(place.settings.raw_url).body(page))
    assert body[index] == raw_row
    assert str(raw_row["deviceId"]) in key


def test_row_that_passes_again_is_taken_and_its_entry_resolved(strict, place):
    include = place.settings.include
    strict("powunity.trip", lambda columns, _: columns["distance_m"]["logicalTypeOptions"].update(maximum=8000))
    load_trips(place)
    place.settings = replace(place.settings, include=include)
    place.load("powunity", place.run("powunity", DAY, force=True), ["trips"], "devices")
    assert place.sql("SELECT count(*) FROM ops.quarantine WHERE resolved_at IS NULL") == [(0,)]
    place.assert_true("powunity.trip", Window.day(DAY))


def test_row_in_quarantine_does_not_mark_its_published_form_deleted(strict, place):
    load_trips(place)
    strict("powunity.trip", lambda columns, _: columns["distance_m"]["logicalTypeOptions"].update(maximum=8000))
    place.load("powunity", place.run("powunity", DAY, force=True), ["trips"], "devices")
    assert place.sql("SELECT count(*) FROM powunity.trip WHERE deleted_at IS NOT NULL") == [(0,)]


def test_critical_check_holds_the_batch_and_the_run_is_not_certified(strict):
    def edit(columns, _):
        columns["distance_m"]["logicalTypeOptions"].update(maximum=8000)
        columns["distance_m"]["quality"] = [
            {"type": "custom", "engine": "greatExpectations", "name": "x", "severity": "critical"}
        ]

    place = strict("powunity.trip", edit)
    with pytest.raises(BatchHeld, match=r"powunity.trip.*ops.quality_result"):
        load_trips(place)
    assert place.sql("SELECT count(*) FROM powunity.trip") == [(0,)]
    assert place.sql("SELECT DISTINCT state FROM ops.load WHERE dataset = 'powunity.trip'") == [("held",)]
    assert place.sql("SELECT DISTINCT state FROM ops.coverage WHERE dataset = 'powunity.trip'") == [("failed",)]
    with place.pipeline("powunity") as pipeline, pytest.raises(IncompleteAnswer, match="4 of 4 not complete"):
        pipeline.certify(place.run("powunity", DAY), datasets=["powunity.trip"])


def hold_trips(columns, _schema):
    """A distance above 900 km holds the batch."""
    columns["distance_m"]["logicalTypeOptions"].update(maximum=900_000)
    columns["distance_m"]["quality"] = [
        {"type": "custom", "engine": "greatExpectations", "name": "distance", "severity": "critical"}
    ]


class Nonsense:
    """Trips of 10 000 km, until the vendor has mended its answer."""

    def __init__(self, monkeypatch):
        self.is_mended = False
        self.asked = 0
        original = PowUnityClient.trips

        def trips(client, device, window):
            self.asked += 1
            answer = original(client, device, window)
            if self.is_mended:
                return answer
            rows = [{**row, "distance": 1e7} for row in json.loads(answer.body)]
            return replace(answer, body=json.dumps(rows).encode())

        monkeypatch.setattr(PowUnityClient, "trips", trips)


@pytest.mark.parametrize("look_back_days", [0, None], ids=["fixed", "learned"])
def test_a_held_batch_is_asked_for_anew_when_the_run_is_cleared_and_stops_no_other_feed(
    strict, place, monkeypatch, look_back_days
):
    strict("powunity.trip", hold_trips)
    place.accounts["powunity"] = replace(place.accounts["powunity"], look_back_days=look_back_days)
    vendor = Nonsense(monkeypatch)
    run = place.run("powunity", DAY, mode="stream")
    with place.pipeline("powunity") as pipeline:
        (chunk,) = pipeline.plan(run, entity_feed="devices", feeds=["trips"])

    def load(**changes):
        vendor.asked = 0
        with place.pipeline("powunity") as pipeline:
            pipeline.load(replace(run, **changes), feeds=["trips", "stops", "summary"], scopes=chunk)

    with pytest.raises(BatchHeld, match=r"powunity\.trip"):
        load()
    assert vendor.asked == len(chunk)
    for table in ("powunity.stop", "powunity.summary"):
        place.assert_true(table, Window.day(DAY))
    assert place.sql("SELECT DISTINCT dataset FROM ops.hole") == [("powunity.trip",)]
    with pytest.raises(BatchHeld):
        load()
    assert vendor.asked == 0, "a retry judges what there is"
    vendor.is_mended = True
    load(clears=1)
    assert vendor.asked == len(chunk)
    place.assert_true("powunity.trip", Window.day(DAY))
    assert place.sql("SELECT * FROM ops.hole") == []
    load(clears=1)
    assert vendor.asked == 0


def test_a_held_batch_is_taken_from_raw_when_the_contract_is_mended(strict, place, monkeypatch):
    before = place.settings
    strict("powunity.trip", hold_trips)
    vendor = Nonsense(monkeypatch)
    run = place.run("powunity", DAY)
    with place.pipeline("powunity") as pipeline:
        (chunk,) = pipeline.plan(run, entity_feed="devices", feeds=["trips"])
        with pytest.raises(BatchHeld):
            pipeline.load(run, feeds=["trips"], scopes=chunk)
    vendor.asked = 0
    place.settings = before
    strict("powunity.trip", lambda columns, _: columns["distance_m"]["logicalTypeOptions"].update(maximum=20_000_000))
    assert redrive(place.settings, place.accounts["powunity"]).released == 1
    assert vendor.asked == 0
    assert place.sql("SELECT count(*) > 0, min(distance_m) FROM powunity.trip") == [(True, 1e7)]
    assert place.sql("SELECT * FROM ops.hole") == []
    with place.pipeline("powunity") as pipeline:
        pipeline.load(run, feeds=["trips"], scopes=chunk)
    assert vendor.asked == 0


def test_an_error_that_a_retry_may_mend_is_raised_before_a_held_batch(strict, place, monkeypatch):
    strict("powunity.trip", hold_trips)
    Nonsense(monkeypatch)
    run = place.run("powunity", DAY)
    with place.pipeline("powunity") as pipeline:
        (chunk,) = pipeline.plan(run, entity_feed="devices", feeds=["trips"])

    def load():
        with place.pipeline("powunity") as pipeline:
            pipeline.load(run, feeds=["trips", "stops"], scopes=chunk)

    with (
        place.sandbox.faults("truncated_body:vendor=powunity,path=*/reports/stops"),
        pytest.raises(FleetlakeError) as failed,
    ):
        load()
    assert not isinstance(failed.value, BatchHeld)
    with pytest.raises(BatchHeld):
        load()
    place.assert_true("powunity.stop", Window.day(DAY))


def test_warning_changes_nothing_but_is_told(strict):
    def edit(columns, _):
        columns["distance_m"]["logicalTypeOptions"].update(maximum=8000)
        columns["distance_m"]["quality"] = [
            {"type": "custom", "engine": "greatExpectations", "name": "x", "severity": "warning"}
        ]

    place = strict("powunity.trip", edit)
    load_trips(place)
    place.assert_true("powunity.trip", Window.day(DAY))
    assert place.sql("SELECT check_name, column_name FROM ops.quality_result WHERE NOT success") == [("range", "distance_m")]


def test_untypable_field_sets_the_rows_aside(strict):
    def edit(columns, _):
        source = next(item for item in columns["distance_m"]["customProperties"] if item["property"] == "source")
        source["value"] = "deviceName"  # text where a number is promised

    place = strict("powunity.trip", lambda columns, schema: (edit(columns, schema), schema["quality"].clear()))
    load_trips(place)
    truth = place.digests("powunity.trip", Window.day(DAY))[0]
    rows = place.sql("SELECT stage, reason FROM ops.quarantine")
    assert len(rows) == truth.rows
    assert {stage for stage, _ in rows} == {"type"}
    assert "deviceName" in rows[0][1]
    assert Digest.of([]).rows == place.sql("SELECT count(*) FROM powunity.trip")[0][0]


def test_rows_about_an_unknown_vehicle_follow_when_the_vehicle_is_known(place):
    """Nothing of the reading has changed: what the rows refer to has come."""
    run = place.run("omnicomm", DAY)
    with place.pipeline("omnicomm") as pipeline:
        (scopes,) = pipeline.plan(run, entity_feed="vehicle_tree", feeds=[])
    with place.warehouse.session() as connection:
        connection.execute("DELETE FROM omnicomm.vehicle WHERE terminal_id = %s", [scopes[0]])
        connection.commit()
    with place.pipeline("omnicomm") as pipeline:
        pipeline.load(run, feeds=["fuel_level"], scopes=scopes)
    ((aside, checks),) = place.sql("SELECT count(*), array_agg(DISTINCT check_name) FROM ops.quarantine")
    assert (aside > 0, checks) == (True, ["references"])
    assert redrive(place.settings, place.accounts["omnicomm"]).loads == 0
    with place.pipeline("omnicomm") as pipeline:
        pipeline.plan(replace(run, run_id="next"), entity_feed="vehicle_tree", feeds=[])
    report = redrive(place.settings, place.accounts["omnicomm"])
    assert (report.loads, report.taken, report.still) == (1, aside, 0)
    place.assert_true("omnicomm.fuel_level", Window.day(DAY))


def test_a_batch_held_for_unknown_vehicles_is_released_when_they_are_known(place):
    run = place.run("omnicomm", DAY)
    with place.pipeline("omnicomm") as pipeline:
        (scopes,) = pipeline.plan(run, entity_feed="vehicle_tree", feeds=[])
    with place.warehouse.session() as connection:
        connection.execute("DELETE FROM omnicomm.vehicle")
        connection.commit()
    with place.pipeline("omnicomm") as pipeline, pytest.raises(BatchHeld):
        pipeline.load(run, feeds=["fuel_level"], scopes=scopes)
    assert redrive(place.settings, place.accounts["omnicomm"]).loads == 0
    with place.pipeline("omnicomm") as pipeline:
        pipeline.plan(replace(run, run_id="next"), entity_feed="vehicle_tree", feeds=[])
    report = redrive(place.settings, place.accounts["omnicomm"])
    assert (report.loads, report.released) == (1, 1)
    place.assert_true("omnicomm.fuel_level", Window.day(DAY))
    assert redrive(place.settings, place.accounts["omnicomm"]).loads == 0


def test_one_load_that_cannot_be_judged_stops_no_other_and_one_older_than_the_journal_rests(strict):
    place = strict("powunity.trip", lambda columns, _: columns["distance_m"]["logicalTypeOptions"].update(maximum=8000))
    load_trips(place)
    for day in ("2026-11-19", "2026-11-18", "2026-11-17"):
        place.load("powunity", place.run("powunity", day), ["trips"], "devices")
    [(first, journal), *others] = place.sql(
        "SELECT load_id, journal FROM ops.load WHERE load_id IN (SELECT load_id FROM ops.quarantine) ORDER BY 1"
    )
    assert others
    account = place.accounts["powunity"]

    def change(reading, place_of_first):
        with place.warehouse.session() as connection:
            connection.execute("UPDATE ops.quarantine SET reading = %s", [reading])
            connection.execute("UPDATE ops.load SET journal = %s WHERE load_id = %s", [place_of_first, first])
            connection.commit()

    change("another", journal.replace("/20", "/19"))
    damaged = redrive(place.settings, account)
    assert (damaged.loads, len(damaged.errors)) == (len(others), 1)
    assert "no such journal entry" in damaged.errors[0]
    change("one more", None)
    old = redrive(place.settings, account)
    assert (old.loads, old.errors) == (len(others), [f"{first}: it was published before there was a journal"])
    assert redrive(place.settings, account).errors == [], "it is not told again every hour"
