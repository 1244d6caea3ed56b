"""Raw rows to typed columns: good rows typed, bad rows named, neighbours untouched."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import msgspec
import pytest
from fleetlake.contracts import load_contracts
from fleetlake.errors import ContractError
from fleetlake.pipeline.decode import decode_rows
from fleetlake.reading import Derivation

CONTRACTS = load_contracts(Path(__file__).parents[3] / "include")
POSITION = CONTRACTS["powunity.position"]
RECORDINGS = Path(__file__).parents[2] / "contract/recordings/powunity-5.12/http_exchanges_v5.12.json"


def raws(*rows):
    return [msgspec.Raw(json.dumps(row).encode()) for row in rows]


def position(**changes):
    row = {
        "id": 7, "attributes": {"batteryLevel": 90, "hours": 60000.0, "z": 1, "a": {"y": 1, "x": 2}}, "deviceId": 1,
        "protocol": "h02", "serverTime": "2026-11-20T07:10:05.000+00:00", "deviceTime": "2026-11-20T07:10:00.000+00:00",
        "fixTime": "2026-11-20T08:10:00.500+01:00", "outdated": False, "valid": True, "latitude": 45, "longitude": 4.85,
        "altitude": 0.0, "speed": 9.719, "course": 0.0, "address": None, "accuracy": 0.0, "network": None, "geofenceIds": [1],
    }  # fmt: skip
    return {**row, **changes}


def test_row_becomes_typed_columns_in_canonical_units():
    row = decode_rows(POSITION, raws(position())).table.to_pylist()[0]
    assert row["position_id"] == 7
    assert row["speed_kn"] == 9.719
    assert row["speed_kmh"] == 17.999588
    assert row["event_time"] == dt.datetime(2026, 11, 20, 7, 10, 0, 500000, tzinfo=dt.UTC)
    assert row["latitude_deg"] == 45.0
    assert row["battery_level_pct"] == 90.0
    assert (row["engine_run_time_ms"], row["engine_run_time_s"]) == (60000, 60.0)
    assert row["geofence_ids"] == "[1]"
    assert row["network"] is None
    assert json.loads(row["attributes"]) == position()["attributes"]
    assert row["attributes"].index('"a"') < row["attributes"].index('"z"'), "canonical: sorted keys"


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"speed": "fast"}, None, "Expected `float | null`, got `str` - at `$.speed`"),
        ({"id": 7.5}, "position_id", "7.5 is no bigint"),
        ({"id": 2**70}, "position_id", "is no bigint"),
        ({"fixTime": "yesterday"}, "event_time", "'yesterday' is no timestamptz"),
        ({"fixTime": "2026-11-20T07:10:00"}, "event_time", "is no timestamptz"),
        ({"address": "a\x00b"}, "address", "is no text"),
        ({"network": {"radioType": "\x00"}}, "network", "is no jsonb"),
        ({"attributes": {"motion": "yes"}}, None, "Expected `bool | null`"),
        ({"attributes": 3}, None, "Expected `object | null`"),
    ],
)
def test_bad_row_is_set_aside_with_its_reason_and_its_neighbours_stay(changes, column, reason):
    decoded = decode_rows(POSITION, raws(position(id=1), position(**changes), position(id=3)))
    assert decoded.table["position_id"].to_pylist() == [1, 3]
    assert decoded.indices == [0, 2]
    (reject,) = decoded.rejects
    assert (reject.index, reject.column) == (1, column)
    assert reason in reject.reason


def test_truncated_row_is_a_reject_not_a_crash():
    decoded = decode_rows(POSITION, [msgspec.Raw(b'{"id": 1, '), *raws(position())])
    assert [reject.index for reject in decoded.rejects] == [0]
    assert decoded.indices == [1]


def test_missing_fields_are_null_because_absent_means_unknown():
    row = decode_rows(POSITION, raws({"id": 1})).table.to_pylist()[0]
    assert row["position_id"] == 1
    assert {value for name, value in row.items() if name != "position_id"} == {None}


def test_unknown_field_of_the_vendor_is_reported():
    assert decode_rows(POSITION, raws(position(newField=1))).unknown_fields == {"newField"}
    assert decode_rows(POSITION, raws(position())).unknown_fields == frozenset()


def test_column_without_source_or_derivation_is_a_contract_error():
    with pytest.raises(ContractError, match="summary_day"):
        decode_rows(CONTRACTS["powunity.summary"], raws({"deviceId": 1}))


def test_derivation_gets_its_fields_and_makes_its_column():
    derivation = Derivation(
        {"extraField": "jsonb"}, lambda fields, columns: {"summary_day": [dt.date(2026, 1, n) for n in fields["extraField"]]}
    )
    decoded = decode_rows(CONTRACTS["powunity.summary"], raws({"deviceId": 1, "extraField": 5}), derivation)
    assert decoded.table["summary_day"].to_pylist() == [dt.date(2026, 1, 5)]


def test_no_rows_give_an_empty_table_of_the_right_shape():
    decoded = decode_rows(POSITION, [])
    assert decoded.table.num_rows == 0
    assert decoded.table.column_names == [column.name for column in POSITION.columns]


@pytest.mark.parametrize(
    ("name", "table", "rows"),
    [
        ("positions_range", "powunity.position", 96),
        ("rep_trips", "powunity.trip", 2),
        ("rep_stops", "powunity.stop", 3),
        ("rep_events", "powunity.event", 13),
    ],
)
def test_recorded_answers_of_a_real_server_are_typed_without_a_reject(name, table, rows):
    exchange = next(item for item in json.loads(RECORDINGS.read_text()) if item["name"] == name)
    decoded = decode_rows(CONTRACTS[table], msgspec.json.decode(exchange["body"], type=list[msgspec.Raw]))
    assert (decoded.table.num_rows, decoded.rejects, decoded.unknown_fields) == (rows, [], frozenset())
