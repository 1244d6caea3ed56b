"""The sandbox's report logic, fed with the recorded positions, gives the recorded reports byte for byte."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fleetlake.sandbox.powunity import exports, live, reports
from fleetlake.sandbox.powunity.model import Event, Position, to_ms

RECORDING = Path(__file__).parent / "recordings" / "powunity-5.12" / "http_exchanges_v5.12.json"
STOCK = reports.Thresholds()
NAME = "Cargo bike 1"
DAY = to_ms(dt.datetime(2026, 11, 20, tzinfo=dt.UTC)), to_ms(dt.datetime(2026, 11, 21, tzinfo=dt.UTC))


@pytest.fixture(scope="module")
def recorded() -> dict[str, str]:
    return {exchange["name"]: exchange["body"] for exchange in json.loads(RECORDING.read_text())}


def _ms(text: str) -> int:
    return to_ms(dt.datetime.fromisoformat(text))


def _position(row: dict[str, Any]) -> Position:
    return Position(
        id=row["id"],
        attributes=row["attributes"],
        device_id=row["deviceId"],
        protocol=row["protocol"],
        server_ms=_ms(row["serverTime"]),
        device_ms=_ms(row["deviceTime"]),
        fix_ms=_ms(row["fixTime"]),
        latitude=row["latitude"],
        longitude=row["longitude"],
        altitude=row["altitude"],
        speed=row["speed"],
        course=row["course"],
        accuracy=row["accuracy"],
        geofence_ids=row["geofenceIds"],
    )


@pytest.fixture(scope="module")
def positions(recorded: dict[str, str]) -> list[Position]:
    return [_position(row) for row in json.loads(recorded["positions_range"])]


@pytest.fixture(scope="module")
def events(positions: list[Position]) -> list[Event]:
    return [
        Event(
            id=number,
            device_id=1,
            type=notice.type,
            time_ms=notice.position.fix_ms,
            known_ms=notice.position.server_ms,
            position_id=notice.position.id,
            geofence_id=notice.geofence_id,
            attributes=notice.attributes,
        )
        for number, notice in enumerate(live.notices(positions, STOCK), start=2)
    ]


def _driver(unique_id: str) -> str | None:
    return {"DRV-7": "Rider"}.get(unique_id)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def test_positions_are_written_in_the_recorded_form(recorded: dict[str, str], positions: list[Position]) -> None:
    assert len(positions) == 96
    assert _text([position.as_json() for position in positions]) == recorded["positions_range"] == recorded["rep_route"]


def test_day_trips_equal_the_recording(recorded: dict[str, str], positions: list[Position]) -> None:
    spans = reports.slow_spans(positions, trips=True, limits=STOCK)
    assert _text([reports.trip_item(span, NAME, _driver) for span in spans]) == recorded["rep_trips"]


def test_day_stops_equal_the_recording(recorded: dict[str, str], positions: list[Position]) -> None:
    spans = reports.slow_spans(positions, trips=False, limits=STOCK)
    assert _text([reports.stop_item(span, NAME) for span in spans]) == recorded["rep_stops"]


def test_trips_of_more_than_a_day_come_from_events_and_equal_the_recording(
    recorded: dict[str, str], positions: list[Position], events: list[Event]
) -> None:
    by_id = {position.id: position for position in positions}
    spans = reports.fast_spans(events, by_id.get, trips=True)
    assert _text([reports.trip_item(span, NAME, _driver) for span in spans]) == recorded["rep_trips_2d"]


def test_summary_equals_the_recording(recorded: dict[str, str], positions: list[Position]) -> None:
    assert _text([reports.summary_item(positions, NAME, fast=False)]) == recorded["rep_summary"]


def test_daily_summary_over_three_days_equals_the_recording(recorded: dict[str, str], positions: list[Position]) -> None:
    start, end = _ms("2026-11-19T00:00:00Z"), _ms("2026-11-22T00:00:00Z")
    items = [
        reports.summary_item([p for p in positions if low <= p.fix_ms <= high], NAME, fast=True)
        for low, high in reports.day_pieces(start, end)
    ]
    assert _text([item for item in items if item]) == recorded["rep_summary_daily"]


def test_events_equal_the_recording(recorded: dict[str, str], events: list[Event]) -> None:
    rows = json.loads(recorded["rep_events"])
    assert rows[-1]["type"] == "deviceOnline"  # a status event: it comes from the connection, not from a position
    assert _text([event.as_json() for event in events]) == _text(rows[:-1])


def test_combined_equals_the_recording(recorded: dict[str, str], positions: list[Position], events: list[Event]) -> None:
    assert _text([reports.combined_item(1, positions, events)]) == recorded["rep_combined"]


def test_gpx_and_kml_equal_the_recording(recorded: dict[str, str], positions: list[Position]) -> None:
    assert exports.gpx(NAME, positions) == recorded["positions_gpx_path"]
    assert exports.kml(NAME, positions, *DAY) == recorded["positions_kml_path"]


def test_csv_equals_the_recording_up_to_the_order_of_attribute_columns(
    recorded: dict[str, str], positions: list[Position]
) -> None:
    def rows(text: str) -> list[dict[str, str]]:
        header, *lines = text.splitlines()
        return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]

    assert rows(exports.csv(positions)) == rows(recorded["positions_csv_path"])
