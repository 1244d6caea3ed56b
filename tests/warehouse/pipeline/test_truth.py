"""Every dataset equals what is true, by count and digest, in warehouse and lake."""

from __future__ import annotations

import pytest
from fleetlake.window import Window

TWO_DAYS = Window.parse("2026-11-20", "2026-11-22")


def test_every_powunity_dataset_equals_truth(place):
    for day in ("2026-11-20", "2026-11-21"):
        proven = place.load_bikes(day)
        assert {(item["complete"], item["of"]) for item in proven.values()} == {(4, 4)}
    for name in ("position", "event", "trip", "stop", "summary"):
        assert place.assert_true(f"powunity.{name}", TWO_DAYS) > 0
    assert place.assert_true("powunity.device", None) == 4


def test_telemetry_by_window_equals_truth(place):
    for day in ("2026-11-20", "2026-11-21"):
        place.load_telemetry(day, mode="window")
    assert place.assert_true("rcs.telemetry", TWO_DAYS) > 1000
    assert place.assert_true("rcs.vehicle", None) == 5


def test_telemetry_by_revision_gives_the_same_rows_as_by_window(place):
    """The stream starts at its first day; the second run goes on by revision and brings late data along."""
    place.load_telemetry("2026-11-20", mode="stream")
    place.load_telemetry("2026-11-21", mode="stream")
    assert place.assert_true("rcs.telemetry", TWO_DAYS) > 1000


def test_stream_asks_only_for_what_is_new(place):
    place.load_telemetry("2026-11-20", mode="stream")
    place.sandbox.clear_log()
    place.load_telemetry("2026-11-21", mode="stream")
    history = [entry for entry in place.sandbox.log("rcs") if "/telemetry/history/" in entry["path"]]
    assert len(history) == 5, "one request per vehicle: nothing greater than its revision"
    assert all("min_revision=" in entry["query"] for entry in history)


def test_stream_that_missed_days_proves_them_too(place):
    place.load_telemetry("2026-11-18", mode="stream")
    place.load_telemetry("2026-11-21", mode="stream")
    window = Window.parse("2026-11-18", "2026-11-22")
    scopes = [row[0] for row in place.sql("SELECT vehicle_id FROM rcs.vehicle")]
    assert place.warehouse.missing("main", "rcs.telemetry", scopes, window) == {}
    place.assert_true("rcs.telemetry", window)


def test_window_after_stream_and_stream_after_window_change_no_row(place):
    place.load_telemetry("2026-11-21", mode="stream")
    before = place.all_rows("rcs.telemetry")
    assert before[0] == before[1]
    place.load_telemetry("2026-11-21", mode="window", run_id="backfill", force=True)
    assert place.all_rows("rcs.telemetry") == before
    place.assert_true("rcs.telemetry", Window.day("2026-11-21"))


def test_health_reports_and_troubles_equal_truth(place):
    for day in ("2026-11-19", "2026-11-20", "2026-11-21"):
        place.load_health(day)
    window = Window.parse("2026-11-19", "2026-11-22")
    assert place.assert_true("rcs.health_report", window) > 0
    assert place.assert_true("rcs.trouble", window) > 0
    bits = place.sql("SELECT DISTINCT dtc_system, dtc_origin FROM rcs.trouble")
    assert all(system and origin for system, origin in bits)


@pytest.mark.parametrize("vendor", ["rcs", "powunity"])
def test_nothing_of_these_loads_was_set_aside_and_no_check_failed(place, vendor):
    if vendor == "rcs":
        place.load_telemetry("2026-11-20")
        place.load_health("2026-11-20")
    else:
        place.load_bikes("2026-11-20")
    assert place.sql("SELECT * FROM ops.quarantine") == []
    assert place.sql("SELECT dataset, check_name, column_name FROM ops.quality_result WHERE NOT success") == []
    assert place.sql("SELECT count(*) FROM ops.quality_result")[0][0] > 20


def test_comments_with_units_are_in_the_database(place):
    query = "SELECT col_description('rcs.telemetry'::regclass, attnum) FROM pg_attribute WHERE attrelid = 'rcs.telemetry'::regclass AND attname = 'odometer_m'"
    assert "[m]" in place.sql(query)[0][0]
