"""Truth equals what a plain reader gets, and has the columns of the contracts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleetlake.canonical import Digest, canonical_row
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError
from fleetlake.sandbox.rooms import Context, room
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.window import Window

INCLUDE = Path(__file__).parents[2] / "include"
WINDOW = Window.parse("2026-11-13", "2026-11-20")
FROM, TO = "2026-11-13T00:00:00", "2026-11-19T23:59:59"
SHORT = Window.parse("2026-11-14", "2026-11-16")
RCS = room("rcs")


def truth(context: Context, dataset: str, window: Window | None = WINDOW, customer: str | None = None) -> list[Any]:
    return list(RCS.truth(context, dataset, window, customer))


def time_of(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text + "+00:00")


@pytest.mark.parametrize("dataset", RCS.datasets)
def test_truth_has_exactly_the_columns_and_types_of_the_contract(rcs_sandbox: Any, dataset: str) -> None:
    contract = load_contracts(INCLUDE, "rcs")[f"rcs.{dataset}"]
    window = SHORT if dataset == "telemetry" else WINDOW
    rows = truth(rcs_sandbox.context, dataset, window)
    assert len(rows) > 5
    kinds = {
        "text": str,
        "bigint": int,
        "integer": int,
        "double precision": (int, float),
        "boolean": bool,
        "timestamptz": dt.datetime,
        "jsonb": (dict, list),
    }
    seen = set()
    for row in rows:
        assert list(row.keys() - {column.name for column in contract.columns}) == []
        for column in contract.columns:
            value = row[column.name]
            if value is None:
                assert not column.required, column.name
                continue
            seen.add(column.name)
            assert isinstance(value, kinds[column.type]), (column.name, value)
            if column.type == "double precision":
                assert round(value, 6) == pytest.approx(value, rel=1e-12)
            if column.enum:
                assert value in column.enum
            if column.minimum is not None:
                assert column.minimum <= value <= (column.maximum if column.maximum is not None else value)
    assert seen == {column.name for column in contract.columns}, "every column has a value somewhere"
    keys = [tuple(row[column.name] for column in contract.columns if column.is_key) for row in rows]
    assert len(set(keys)) == len(keys)
    if contract.time_column:
        assert all(row[contract.time_column] in window for row in rows)


def test_telemetry_truth_is_what_a_paging_loop_reads(rcs: Any) -> None:
    expected: dict[str, dict[str, Any]] = {}
    for vehicle in rcs.rows("/vehicles"):
        cursor: dict[str, str] = {}
        while True:
            page = rcs.rows(
                f"/telemetry/history/{vehicle['id']}",
                from_="2026-11-14T00:00:00",
                to="2026-11-15T23:59:59",
                take=1000,
                **cursor,
            )
            new = {row["revision"]: row for row in page if row["revision"] not in expected}
            if not new:
                break
            expected |= new
            cursor = {"min_revision": max(new)}
    rows = {row["revision"]: row for row in truth(rcs.sandbox.context, "telemetry", SHORT)}
    assert rows.keys() == expected.keys()
    assert len(rows) > 6 * 2 * 200
    for revision, record in expected.items():
        row = rows[revision]
        event = record.get("device_time") or record["server_time"]
        assert row["event_time"] == time_of(event)
        assert row["received_time"] == time_of(record["server_time"])
        assert row["device_time"] == time_of(record.get("device_time"))
        assert row["vehicle_id"] == record["vehicle_id"].lower()
        assert row["latitude_deg"] == record.get("latitude")
        assert row["speed_kmh"] == record.get("speed")
        mileage = record.get("mileage")
        assert row["mileage_km"] == mileage
        assert row["odometer_m"] == (None if mileage is None else pytest.approx(mileage * 1000, abs=1e-6))
        assert row["decelerations_count"] == record.get("deccelerations_count")
        unknown = {key: record[key] for key in ("lights_are_on", "eco") if key in record}
        assert row["extra"] == (unknown or None)


def test_report_and_trouble_truth_is_what_fetch_mode_reads(rcs: Any) -> None:
    found = [
        report
        for vehicle in rcs.rows("/vehicles")
        for report in rcs.rows(f"/vehicles/{vehicle['id']}/health-reports", from_=FROM, to=TO)
    ]
    reports = {row["report_id"]: row for row in truth(rcs.sandbox.context, "health_report")}
    troubles = {(row["report_id"], row["dtc"]): row for row in truth(rcs.sandbox.context, "trouble")}
    assert reports.keys() == {report["id"] for report in found}
    assert troubles.keys() == {(report["id"], item["dtc"]) for report in found for item in report["troubles"]}
    for report in found:
        row = reports[report["id"]]
        assert row["created_time"] == time_of(report["created_at"])
        assert row["completed_time"] == time_of(report["completed_at"])
        assert row["fuel_level_l"] == report.get("indicators", {}).get("fuel_liters")
        assert row["troubles_count"] == len(report["troubles"])
        for item in report["troubles"]:
            row = troubles[report["id"], item["dtc"]]
            assert row["status_byte"] == item["status"]
            assert row["is_confirmed"] == (None if item["status"] is None else bool(item["status"] & 8))
            assert (row["dtc_code"], row["failure_type"]) == (item["dtc"][:5], item["dtc"][6:] or None)


def test_codes_are_decoded_as_sae_j2012_says(rcs_sandbox: Any) -> None:
    window = Window.parse("2026-08-01", "2026-11-20")
    seen = {
        row["dtc"]: (row["dtc_system"], row["dtc_origin"], row["ecu_key"])
        for row in truth(rcs_sandbox.context, "trouble", window)
    }
    expected = {
        "P0301": ("powertrain", "standard", "16"),
        "P1523": ("powertrain", "manufacturer", "16"),
        "P3401": ("powertrain", "standard", "16"),
        "C1234-11": ("chassis", "manufacturer", "40"),
        "B1000-96": ("body", "manufacturer", "BCM"),
        "U0100": ("network", "standard", "17"),
        "U0121-87": ("network", "standard", "-"),
        "U1123": ("network", "manufacturer", "0"),
    }
    assert len(expected.keys() & seen.keys()) >= 4
    assert {code: seen[code] for code in expected if code in seen} == {
        code: expected[code] for code in expected if code in seen
    }


def test_windows_add_up(rcs_sandbox: Any) -> None:
    for dataset in ("telemetry", "health_report", "trouble", "app_user", "client_notification"):
        whole = Digest.of(truth(rcs_sandbox.context, dataset, SHORT))
        days = [row for day in SHORT.days() for row in truth(rcs_sandbox.context, dataset, day)]
        assert Digest.of(days) == whole


def test_truth_respects_the_clock(tmp_path: Path) -> None:
    day = Window.day("2026-11-16")
    counts = []
    for as_of in ("2026-11-16T00:00", "2026-11-16T12:00", "2026-11-17T00:00", "2026-11-20T00:01"):
        context = Context.of(SandboxSettings(state_dir=tmp_path, as_of=time_of(as_of + ":00")))
        counts.append(sum(1 for _ in RCS.truth(context, "telemetry", day, None)))
    assert counts[0] == 0
    assert counts == sorted(set(counts))


def test_truth_of_the_second_customer_is_another(rcs_sandbox: Any) -> None:
    mine, other = (
        {row["vehicle_id"] for row in truth(rcs_sandbox.context, "vehicle", None, customer)}
        for customer in ("main", "other")
    )
    assert (len(mine), len(other)) == (6, 2)
    assert not mine & other


def test_unknown_names_are_refused(rcs_sandbox: Any) -> None:
    with pytest.raises(ConfigError, match="telemetry"):
        truth(rcs_sandbox.context, "telemetri")
    with pytest.raises(ConfigError, match="main"):
        truth(rcs_sandbox.context, "telemetry", WINDOW, "nobody")


def test_vehicle_truth_follows_the_list(rcs: Any) -> None:
    rows = {row["vehicle_id"]: row for row in truth(rcs.sandbox.context, "vehicle", None)}
    for vehicle in rcs.rows("/vehicles"):
        row, last = rows[vehicle["id"]], vehicle["last_state"]
        assert row["last_revision"] == last["revision"]
        assert row["last_event_time"] == time_of(last.get("device_time"))
        assert row["last_received_time"] == time_of(last["server_time"])
        assert row["device_number"] == vehicle["device"]["number"].lower()
        assert row["source_id"] == vehicle.get("source_id")


def test_rows_have_a_canonical_form(rcs_sandbox: Any, start: Callable[..., Any]) -> None:
    again = start()
    for dataset in RCS.datasets:
        texts = [canonical_row(row) for row in truth(rcs_sandbox.context, dataset, SHORT)]
        assert [canonical_row(row) for row in truth(again.context, dataset, SHORT)] == texts
