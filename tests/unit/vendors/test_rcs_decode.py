from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError, MalformedAnswer
from fleetlake.vendors.rcs import decode, mapping
from fleetlake.vendors.rcs.source import FEEDS

INCLUDE = Path(__file__).parents[3] / "include"


def rows(feed: str, dataset: str, body: bytes) -> list[Any]:
    return [json.loads(bytes(row)) for row in decode.split(feed, dataset, body)]


@pytest.mark.parametrize(
    "body", [b'[{"id":"a"},{"id":"b"}]', b'{"items":[{"id":"a"},{"id":"b"}]}', b' [ {"id":"a"}, {"id":"b"} ] ']
)
def test_both_envelopes_are_read(body: bytes) -> None:
    assert rows("vehicles", "rcs.vehicle", body) == [{"id": "a"}, {"id": "b"}]


def test_rows_keep_the_vendors_bytes() -> None:
    body = b'[{"revision":"000A","speed":5.50,"new_field":{"a":1}}]'
    assert bytes(decode.split("telemetry", "rcs.telemetry", body)[0]) == body[1:-1]


def test_camel_case_is_read_as_snake_case() -> None:
    body = b'[{"revision":"1","vehicleId":"V","deviceTime":null,"engineRpm":900,"lastState":{"serverTime":"x"}}]'
    assert rows("telemetry", "rcs.telemetry", body) == [
        {"revision": "1", "vehicle_id": "V", "device_time": None, "engine_rpm": 900, "last_state": {"server_time": "x"}}
    ]


@pytest.mark.parametrize("spelling", ["source_id", "sourceId", "source_Id"])
def test_every_spelling_of_the_guide_is_one_field(spelling: str) -> None:
    body = f'[{{"id":"V","{spelling}":"S-1"}}]'.encode()
    assert rows("vehicles", "rcs.vehicle", body) == [{"id": "V", "source_id": "S-1"}]


@pytest.mark.parametrize("feed", ["vehicles", "telemetry", "health_overview", "health_reports"])
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "empty"),
        (b"<html>Bad Gateway</html>", "web page"),
        (b'{"error":{"type":"InternalError","message":"unexpected"}}', "an error of the vendor: InternalError unexpected"),
        (b'{"error":{"code":"OUT_OF_RANGE","message":"take"}}', "OUT_OF_RANGE"),
        (b'[{"id":"a"},{"id', "truncated|got `array`"),
        (b'{"items":[{"id":1}', "truncated|got `array`"),
        (b"null", "null"),
        (b'"text"', "str"),
        (b"[1,2]] ", "trailing|got `array`"),
        (b"\xff\xfe", "promises"),
    ],
)
def test_anything_else_is_malformed(feed: str, body: bytes, text: str) -> None:
    for dataset in FEEDS[feed].datasets:
        with pytest.raises(MalformedAnswer, match=text):
            decode.split(feed, dataset, body)


def test_a_feed_is_not_read_as_another_dataset() -> None:
    with pytest.raises(ConfigError):
        decode.split("telemetry", "rcs.vehicle", b"[]")


@pytest.mark.parametrize(
    "body", [b'[{"revision":""}]', b'[{"vehicle_id":"x"}]', b'[{"revision":7}]', b'[{"revision":null}]']
)
def test_a_record_without_revision_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        decode.revisions(body)


def test_revisions_keep_order_and_spelling() -> None:
    assert decode.revisions(b'{"items":[{"revision":"0B"},{"revision":"0a","x":1}]}') == ["0B", "0a"]


def test_an_unfinished_overview_has_no_rows() -> None:
    assert rows("health_overview", "rcs.health_report", b'{"task":{"status":"EXECUTING"},"report":null}') == []


def test_entries_of_an_overview_are_rows() -> None:
    body = b'{"task":{"status":"SUCCEEDED"},"report":{"from":"x","vehicles":[{"report_id":"r-1"}]}}'
    assert rows("health_overview", "rcs.health_report", body) == [{"report_id": "r-1"}]
    with pytest.raises(MalformedAnswer, match="no `vehicles`"):
        rows("health_overview", "rcs.health_report", b'{"task":{"status":"SUCCEEDED"},"report":{}}')


REPORTS = json.dumps(
    [
        {
            "id": "r-1",
            "vehicle_id": "V-1",
            "created_at": "2026-01-05T10:00:00",
            "troubles": [
                {"dtc": "p0301", "status": "0x2F", "ecu_id": 7, "ecu": "ECM"},
                {"dtc": 0xC100, "status": 8, "ecu": "GW"},
                {"dtc": "rubbish", "status": None},
                "no object",
            ],
        },
        {"id": "r-2", "vehicle_id": "V-1", "created_at": "2026-01-05T11:00:00", "troubles": []},
        {"id": "r-3", "vehicle_id": "V-1", "created_at": "2026-01-05T12:00:00"},
    ]
).encode()


def test_troubles_become_rows_with_their_reports_identity() -> None:
    found = rows("health_reports", "rcs.trouble", REPORTS)
    head = {"report_id": "r-1", "vehicle_id": "V-1", "created_at": "2026-01-05T10:00:00"}
    assert found == [
        {"dtc": "P0301", "status": "0x2F", "ecu_id": 7, "ecu": "ECM", **head},
        {"dtc": "U0100", "status": 8, "ecu": "GW", **head},
        {"dtc": "rubbish", "status": None, **head},
        "no object",
    ]


def test_times_are_asked_for_in_utc_without_zone() -> None:
    moment = dt.datetime(2026, 1, 5, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=3)))
    assert decode.to_vendor_time(moment) == "2026-01-05T00:04:05"


def test_every_column_without_source_is_derived() -> None:
    for table, contract in load_contracts(INCLUDE, "rcs").items():
        odd = {column.name for column in contract.columns if column.source is None} - {"extra"}
        derivation = mapping.DERIVATIONS.get(table)
        size = 2
        needs = {path: [None] * size for path in derivation.needs} if derivation else {}
        columns = {column.name: pa.nulls(size, column.arrow_type) for column in contract.columns if column.source}
        made = derivation.make(needs, columns) if derivation else {}
        assert set(made) == odd
        assert all(len(values) == size for values in made.values())


def test_trouble_columns_are_derived_row_by_row() -> None:
    needs = {"status": ["0x2F", 8, None, {}]}
    columns = {
        "dtc": pa.array(["P0301-1C", "B1234", "rubbish", None]),
        "ecu_id": pa.array([7, None, None, 0], pa.int64()),
        "ecu": pa.array(["ECM", "GW", None, "X"]),
    }
    made = mapping.DERIVATIONS["rcs.trouble"].make(needs, columns)
    assert made["ecu_key"] == ["7", "GW", "-", "0"]
    assert made["dtc_code"] == ["P0301", "B1234", None, None]
    assert made["dtc_system"] == ["powertrain", "body", None, None]
    assert made["dtc_origin"] == ["standard", "manufacturer", None, None]
    assert made["failure_type"] == ["1C", None, None, None]
    assert made["status_byte"] == [0x2F, 8, None, None]
    assert made["is_confirmed"] == [True, True, None, None]
    assert made["is_test_failed"] == [True, False, None, None]
    assert made["derived_maturity"] == ["ACTIVE", "STORED", "UNKNOWN", "UNKNOWN"]
    assert made["is_maturity_trusted"] == [True, False, None, None]


def test_reports_are_named_alike_in_overview_and_fetch() -> None:
    needs = {"id": ["r-1", None], "report_id": [None, "r-2"], "troubles": [[{}, {}], None]}
    made = mapping.DERIVATIONS["rcs.health_report"].make(needs, {})
    assert made == {"report_id": ["r-1", "r-2"], "troubles_count": [2, None]}


def test_the_event_time_falls_back_to_the_time_of_receipt() -> None:
    moment = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
    kind = pa.timestamp("us", tz="UTC")
    columns = {"device_time": pa.array([moment, None], kind), "received_time": pa.array([None, moment], kind)}
    assert mapping.DERIVATIONS["rcs.telemetry"].make({}, columns)["event_time"].to_pylist() == [moment, moment]
