"""SuiviDeFlotte answers become rows: names, times and units by the account's mapping file, odd values told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError, MalformedAnswer
from fleetlake.pipeline.decode import decode_rows
from fleetlake.reading import FLEET, Asked
from fleetlake.vendors.suivideflotte.decode import error_words, is_end, listing, split
from fleetlake.window import Window

INCLUDE = Path(__file__).parents[3] / "include"
DEFAULT = (INCLUDE / "suivideflotte" / "default.yaml").read_text()
DAY = Window.day("2026-11-20")
TRIP: dict[str, Any] = {
    "id": 9,
    "vehicle_id": 17,
    "driver_id": None,
    "start_dt": "2026-11-20 08:00:00",
    "end_dt": "2026-11-20 08:30:00",
    "start_lat": 48.1,
    "start_lon": 2.1,
    "end_lat": 48.2,
    "end_lon": 2.2,
    "start_address": "a",
    "end_address": None,
    "distance": 12.345,
    "duration": 1800,
    "max_speed": 80,
    "avg_speed": 24.7,
    "private": False,
}
VEHICLE: dict[str, Any] = {
    "id": 17,
    "id_sdf": "SDF17",
    "name": "Kangoo",
    "reg_plate": "AA-123-BB",
    "brand": None,
    "model": None,
    "vin": None,
    "odometer": 1234.5,
    "group_id": 3,
    "driver_id": None,
    "active": True,
    "last_position": {"lat": 48.1, "lon": 2.1, "dt": "2026-07-01 12:00:00", "speed": 0, "angle": 90},
    "updated_at": "2026-07-01 12:00:00",
}


@pytest.fixture
def france(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File of the account `france`, to be written."""
    (tmp_path / "contracts").symlink_to(INCLUDE / "contracts")
    (tmp_path / "suivideflotte").mkdir()
    monkeypatch.setenv("FLEETLAKE_INCLUDE", str(tmp_path))
    path = tmp_path / "suivideflotte" / "france.yaml"
    path.write_text(DEFAULT)
    return path


def rows(feed: str, values: Any, *, scope: str = FLEET) -> list[dict[str, Any]]:
    dataset = {"vehicles": "vehicle", "trips": "trip"}[feed]
    body = values if isinstance(values, bytes) else json.dumps(values).encode()
    asked = Asked("france", scope, DAY)
    return [json.loads(bytes(row)) for row in split(feed, f"suivideflotte.{dataset}", body, asked)]


def trip(**changes: Any) -> dict[str, Any]:
    return rows("trips", [{**TRIP, **changes}], scope="17")[0]


def test_names_units_and_times_become_those_of_the_contract() -> None:
    assert trip() == {
        "trip_id": 9,
        "vehicle_id": 17,
        "driver_id": None,
        "start_time": "2026-11-20T07:00:00Z",
        "end_time": "2026-11-20T07:30:00Z",
        "start_latitude_deg": 48.1,
        "start_longitude_deg": 2.1,
        "end_latitude_deg": 48.2,
        "end_longitude_deg": 2.2,
        "start_address": "a",
        "end_address": None,
        "distance_m": 12345.0,
        "duration_s": 1800,
        "max_speed_kmh": 80,
        "average_speed_kmh": 24.7,
        "is_private": False,
    }


def test_the_last_position_is_spread_over_columns_and_may_be_nothing() -> None:
    known, unknown = rows("vehicles", [VEHICLE, {**VEHICLE, "last_position": None}])
    assert (known["last_event_time"], known["last_latitude_deg"], known["odometer_m"]) == (
        "2026-07-01T10:00:00Z",
        48.1,
        1234500.0,
    )
    assert (unknown["last_event_time"], unknown["last_latitude_deg"], unknown["last_heading_deg"]) == (None, None, None)


def test_a_private_trip_keeps_its_times() -> None:
    hidden = {name: None for name in TRIP if name.endswith(("_lat", "_lon", "_address"))}
    found = trip(**hidden, private=1)
    assert (found["is_private"], found["start_latitude_deg"], found["start_time"]) == (True, None, "2026-11-20T07:00:00Z")


@pytest.mark.parametrize("envelope", ["array", "paginator"])
def test_both_envelopes_are_read(envelope: str) -> None:
    found = rows("vehicles", [VEHICLE] if envelope == "array" else {"current_page": 1, "data": [VEHICLE], "last_page": 1})
    assert [row["vehicle_id"] for row in found] == [17]


# --- times --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-07-01 12:00:00", "2026-07-01T10:00:00Z"),
        ("2026-01-01 12:00:00", "2026-01-01T11:00:00Z"),
        ("2026-07-01T12:00:00+02:00", "2026-07-01T10:00:00Z"),
        ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"),
        ("2026-07-01T12:00:00.250", "2026-07-01T10:00:00.250000Z"),
        ("0000-00-00 00:00:00", None),
        ("", None),
        (None, None),
    ],
)
def test_local_and_iso_times_become_utc(text: str | None, moment: str | None) -> None:
    assert rows("vehicles", [{**VEHICLE, "updated_at": text}])[0]["updated_time"] == moment


@pytest.mark.parametrize(
    ("start", "end", "seconds", "utc_start", "utc_end"),
    [
        # Across the change: one hour longer than the wall clock says.
        ("01:50:00", "03:10:00", 8400, "2026-10-24T23:50:00Z", "2026-10-25T02:10:00Z"),
        ("01:50:00", "02:10:00", 1200, "2026-10-24T23:50:00Z", "2026-10-25T00:10:00Z"),
        ("01:50:00", "02:10:00", 4800, "2026-10-24T23:50:00Z", "2026-10-25T01:10:00Z"),
        ("02:50:00", "02:10:00", 1200, "2026-10-25T00:50:00Z", "2026-10-25T01:10:00Z"),
        ("02:50:00", "02:10:00", None, "2026-10-25T00:50:00Z", "2026-10-25T01:10:00Z"),
        ("02:40:00", "03:10:00", 1800, "2026-10-25T01:40:00Z", "2026-10-25T02:10:00Z"),
        # Wholly inside the repeated hour: nobody can tell, the first occurrence is taken.
        ("02:10:00", "02:40:00", 1800, "2026-10-25T00:10:00Z", "2026-10-25T00:40:00Z"),
        ("02:10:00", "02:40:00", None, "2026-10-25T00:10:00Z", "2026-10-25T00:40:00Z"),
    ],
)
def test_the_hour_that_autumn_repeats_is_settled_by_the_length_of_the_trip(
    start: str, end: str, seconds: int | None, utc_start: str, utc_end: str
) -> None:
    found = trip(start_dt=f"2026-10-25 {start}", end_dt=f"2026-10-25 {end}", duration=seconds)
    assert (found["start_time"], found["end_time"]) == (utc_start, utc_end)


def test_a_time_with_its_offset_is_not_guessed() -> None:
    found = trip(start_dt="2026-10-25T02:10:00+01:00", end_dt="2026-10-25T02:40:00+01:00", duration=1800)
    assert (found["start_time"], found["end_time"]) == ("2026-10-25T01:10:00Z", "2026-10-25T01:40:00Z")


def test_the_hour_that_spring_leaves_out_is_read_with_the_offset_before() -> None:
    found = trip(start_dt="2026-03-29 01:50:00", end_dt="2026-03-29 03:10:00", duration=1200)
    assert (found["start_time"], found["end_time"]) == ("2026-03-29T00:50:00Z", "2026-03-29T01:10:00Z")
    assert trip(start_dt="2026-03-29 02:30:00", end_dt="2026-03-29 03:40:00", duration=600)["start_time"] == (
        "2026-03-29T01:30:00Z"
    )


def test_zone_format_and_units_are_settings_of_the_account(france: Path) -> None:
    text = DEFAULT.replace("Europe/Paris", "Indian/Reunion").replace("%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M")
    text = text.replace("distance_unit: km", "distance_unit: m").replace("duration_unit: s ", "duration_unit: min ")
    france.write_text(text.replace("odometer_unit: km", "odometer_unit: m"))
    found = trip(start_dt="20/11/2026 08:00", end_dt="2026-11-20T08:30:00", distance=12345, duration=30)
    assert (found["start_time"], found["end_time"]) == ("2026-11-20T04:00:00Z", "2026-11-20T04:30:00Z")
    assert (found["distance_m"], found["duration_s"]) == (12345, 1800)
    assert rows("vehicles", [{**VEHICLE, "odometer": 5000}])[0]["odometer_m"] == 5000


# --- fields -------------------------------------------------------------------------------------------------------------


def test_a_mapped_field_that_is_missing_stops_the_load_and_is_named(france: Path) -> None:
    renamed = {("dist" if name == "distance" else name): value for name, value in TRIP.items()}
    with pytest.raises(ConfigError, match=r"no field 'distance', which column 'distance_m'.*'dist'") as caught:
        rows("trips", [renamed], scope="17")
    assert caught.value.where == f"{france}: resources.trips.fields.distance_m"
    with pytest.raises(ConfigError, match=r"'last_position\.angle'"):
        rows("vehicles", [{**VEHICLE, "last_position": {"lat": 1, "lon": 2, "dt": None, "speed": 3}}])
    france.write_text(DEFAULT.replace("distance_m: distance", "distance_m: distance?"))
    assert rows("trips", [renamed], scope="17")[0]["distance_m"] is None


def test_a_vehicle_that_a_trip_does_not_name_is_the_one_asked_for(france: Path) -> None:
    france.write_text(
        DEFAULT.replace("      vehicle_id: vehicle_id\n      driver_id: driver_id\n      start_time", "      start_time")
    )
    assert trip()["vehicle_id"] == 17
    assert "vendor_vehicle_id" in trip(), "the vendor's own field is kept"


def test_fields_the_file_does_not_name_are_kept_and_hide_no_column(france: Path) -> None:
    france.write_text(DEFAULT.replace("      vin: vin\n", "").replace("      last_heading_deg: last_position.angle\n", ""))
    row = rows("vehicles", [{**VEHICLE, "vin": "x", "fuel_type": "diesel"}])[0]
    assert "vin" not in row
    assert (row["vendor_vin"], row["fuel_type"], row["last_position"]) == ("x", "diesel", {"angle": 90})
    contract = load_contracts(INCLUDE)["suivideflotte.vehicle"]
    body = json.dumps([{**VEHICLE, "vin": "x", "fuel_type": "diesel"}]).encode()
    typed = decode_rows(contract, split("vehicles", contract.table, body, Asked("france", FLEET, None))).table.to_pylist()[0]
    assert (typed["vin"], json.loads(typed["extra"])) == (
        None,
        {"fuel_type": "diesel", "last_position": {"angle": 90}, "vendor_vin": "x"},
    )


@pytest.mark.parametrize(
    ("field", "value", "column", "expected"),
    [
        ("id", "17", "vehicle_id", 17),
        ("odometer", "1234.5", "odometer_m", 1234500.0),
        ("active", 1, "is_active", True),
        ("active", "0", "is_active", False),
        ("reg_plate", 4711, "registration_plate", "4711"),
        ("reg_plate", "", "registration_plate", ""),
        ("group_id", "", "group_id", None),
        ("group_id", "north", "group_id", "north"),  # judged, and set aside, by the pipeline
        ("odometer", True, "odometer_m", True),
    ],
)
def test_values_that_dress_up_as_another_type_are_read(field: str, value: Any, column: str, expected: Any) -> None:
    found = rows("vehicles", [{**VEHICLE, field: value}])[0][column]
    assert (found, type(found)) == (expected, type(expected))


def test_what_cannot_be_read_is_set_aside_alone() -> None:
    contract = load_contracts(INCLUDE)["suivideflotte.trip"]
    body = json.dumps([{**TRIP, "start_dt": "yesterday"}, "oops", {**TRIP, "id": 10}]).encode()
    decoded = decode_rows(contract, split("trips", contract.table, body, Asked("france", "17", DAY)))
    assert decoded.table["trip_id"].to_pylist() == [10]
    assert [reject.index for reject in decoded.rejects] == [0, 1]


# --- bodies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b"<html>Bad Gateway</html>", "web page"),
        (b'{"code":500,"message":"Internal error"}', "an error of the vendor: Internal error"),
        (b'{"error":"invalid_request","message":"No.","hint":"why"}', r"invalid_request: No\. \(why\)"),
        (b'{"code":422,"message":{"sort":["The field x does not exist."]}}', "sort: The field x does not exist"),
        (b'[{"id":1},{"id', "truncated"),
        (b'{"data":[{"id":1}', "truncated"),
        (b'{"data":{"id":1}}', "array"),
        (b"null", "null"),
        (b'{"data":null}', "null"),
        (b'{"current_page":1,"last_page":1}', "data"),
    ],
)
def test_anything_but_a_whole_list_is_malformed(body: bytes, said: str) -> None:
    with pytest.raises(MalformedAnswer, match=said):
        listing(body)
    with pytest.raises(MalformedAnswer, match=said):
        rows("vehicles", body)


@pytest.mark.parametrize(
    ("body", "end"),
    [
        (b'{"code":422,"message":{"page":["The page may not be greater than 3."]}}', True),
        (b'{"code":422,"message":"Page out of range"}', True),
        (b'{"code":422,"message":{"page":["x"],"perpage":["y"]}}', False),
        (b'{"code":422,"message":{"sort":["x"]}}', False),
        (b'{"code":404,"message":"x"}', False),
        (b"[]", False),
    ],
)
def test_the_refusal_of_a_page_past_the_end_is_an_end_without_rows(body: bytes, end: bool) -> None:
    assert is_end(body) is end
    if end:
        assert rows("vehicles", body) == []


def test_a_422_map_becomes_a_sentence() -> None:
    body = b'{"code":422,"message":{"name":["The name field is required."],"email":["Not valid.","Too long."]}}'
    assert error_words(body) == "name: The name field is required.; email: Not valid. Too long."


def test_a_feed_fills_its_own_table_only() -> None:
    with pytest.raises(ConfigError, match="holds no rows"):
        split("trips", "suivideflotte.vehicle", b"[]", Asked("france", "17", DAY))
