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
from fleetlake.vendors.rcs.mapping import DERIVATIONS

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


@pytest.mark.parametrize("rows", [1, 3])
def test_page_of_bad_rows_only_is_set_aside_whole(rows):
    decoded = decode_rows(POSITION, raws(*[position(fixTime="yesterday")] * rows))
    assert (decoded.table.num_rows, decoded.indices) == (0, [])
    assert decoded.table.schema == decode_rows(POSITION, raws(position())).table.schema
    assert [reject.index for reject in decoded.rejects] == list(range(rows))


TELEMETRY = CONTRACTS["rcs.telemetry"]
NUL = rb'"a\u0000b"'
ODD = [
    (NUL, f"{NUL.decode()}: a text with a NUL character"),
    (rb'{"a\u0000": 1}', "a text with a NUL character"),
    (b"1e999", "1e999: Number out of range"),
    (b"[" * 5000 + b"]" * 5000, "maximum recursion depth exceeded"),
    (rb'"\ud800 and more"', "malformed"),
    (b'"\xff"', "can't decode byte 0xff"),
]


def telemetry(vendor_id, field="shape", value=b"1"):
    known = {"vehicle_id": f"v{vendor_id}"}
    return msgspec.Raw(json.dumps(known).encode()[:-1] + b', "%s": %s}' % (field.encode(), value))


@pytest.mark.parametrize(("value", "reason"), ODD)
def test_odd_value_in_an_unnamed_field_sets_only_its_row_aside(value, reason):
    rows = [telemetry(0), telemetry(1, value=value), telemetry(2)]
    first = decode_rows(TELEMETRY, rows, DERIVATIONS["rcs.telemetry"])
    assert first.indices == [0, 2]
    assert first.table["extra"].to_pylist() == ['{"shape":1}'] * 2
    (reject,) = first.rejects
    assert (reject.index, reject.column) in ((1, "extra"), (1, None))
    assert reason in reject.reason
    assert len(reject.reason) < 250
    assert decode_rows(TELEMETRY, rows, DERIVATIONS["rcs.telemetry"]).rejects == first.rejects, "the same on each run"


@pytest.mark.parametrize("value", [b"123456789012345678901234567890", rb'"\\u0000"', b"[[[[1]]]]", b"18446744073709551615"])
def test_unusual_but_harmless_value_is_kept_as_it_is(value):
    decoded = decode_rows(TELEMETRY, [telemetry(0, value=value)], DERIVATIONS["rcs.telemetry"])
    assert decoded.table["extra"].to_pylist() == [f'{{"shape":{value.decode()}}}']


@pytest.mark.parametrize(
    ("value", "shown"), [(b'{"a": 1e999}', '{"a": 1e999}'), (NUL, NUL.decode()), (b"[" * 500 + b"1e999", "[[[")]
)
def test_reason_shows_the_json_that_no_column_can_hold(value, shown):
    row = (
        json.dumps(position(network=None))
        .encode()
        .replace(b'"network": null', b'"network": ' + value + b"]" * value.count(b"["))
    )
    decoded = decode_rows(POSITION, [*raws(position()), msgspec.Raw(row)])
    (reject,) = decoded.rejects
    assert (reject.index, reject.column) == (1, "network")
    assert reject.reason.startswith(shown)
    assert "is no jsonb (network)" in reject.reason
    assert decoded.indices == [0]


def test_row_whose_derivation_cannot_read_its_field_is_set_aside():
    derivation = Derivation({"day": "jsonb"}, lambda fields, columns: {
        "summary_day": [day and dt.date(2026, 1, day) for day in fields["day"]]
    })  # fmt: skip
    rows = [msgspec.Raw(b'{"deviceId": 1, "day": 1e999}'), msgspec.Raw(b'{"deviceId": 1, "day": 2}')]
    decoded = decode_rows(CONTRACTS["powunity.summary"], rows, derivation)
    assert decoded.table["summary_day"].to_pylist() == [dt.date(2026, 1, 2)]
    assert [reject.reason for reject in decoded.rejects] == ["1e999 cannot be read: Number out of range (day)"]


def test_nul_in_a_derived_text_sets_its_row_aside():
    rows = raws(*({"id": name, "vehicle_id": "v", "created_at": "2026-11-20T07:10:00"} for name in ("a\x00", "b")))
    decoded = decode_rows(CONTRACTS["rcs.health_report"], rows, DERIVATIONS["rcs.health_report"])
    assert decoded.indices == [1]
    assert [(reject.index, reject.reason) for reject in decoded.rejects] == [(0, "a text with a NUL character")]


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
