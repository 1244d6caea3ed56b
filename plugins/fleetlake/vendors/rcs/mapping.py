"""RCS columns that no single vendor field holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fleetlake.reading import Derivation
from fleetlake.vendors.rcs import dtc

IDENTITIES: Sequence[str] = ("vehicle_id", "vin", "source_id", "registration_plate")
"""Columns of ``rcs.vehicle`` by which people may name a vehicle."""

_POLICY = dtc.MaturityPolicy.CONFIRMED
"""How ``derived_maturity`` follows from the status byte (RCS-10)."""

Needs = Mapping[str, list[Any]]
Columns = Mapping[str, Any]


def _telemetry(_needs: Needs, columns: Columns) -> Mapping[str, Any]:
    import pyarrow.compute as pc

    return {"event_time": pc.coalesce(columns["device_time"], columns["received_time"])}


def _health_report(needs: Needs, _columns: Columns) -> Mapping[str, Any]:
    return {
        # The overview calls it `report_id`, the report itself `id`.
        "report_id": [own or other for own, other in zip(needs["id"], needs["report_id"], strict=True)],
        "troubles_count": [len(troubles) if isinstance(troubles, list) else None for troubles in needs["troubles"]],
    }


def _trouble(needs: Needs, columns: Columns) -> Mapping[str, Any]:
    codes = [dtc.parse_code(text) for text in columns["dtc"].to_pylist()]
    states = [dtc.parse_status(value) for value in needs["status"]]
    units = zip(columns["ecu_id"].to_pylist(), columns["ecu"].to_pylist(), strict=True)
    return {
        "ecu_key": [
            "-" if number is None and not name else str(number if number is not None else name) for number, name in units
        ],
        "dtc_code": [code and code.code for code in codes],
        "dtc_system": [code and code.system for code in codes],
        "dtc_origin": [code and code.origin for code in codes],
        "failure_type": [code and code.failure_type for code in codes],
        "status_byte": states,
        **{
            name: [None if status is None else bool(status >> bit & 1) for status in states]
            for bit, name in enumerate(dtc.STATUS_BITS)
        },
        "derived_maturity": [dtc.maturity(status, _POLICY) for status in states],
        "is_maturity_trusted": [None if status is None else dtc.is_consistent(status) for status in states],
    }


DERIVATIONS: Mapping[str, Derivation] = {
    "rcs.telemetry": Derivation({}, _telemetry),
    "rcs.health_report": Derivation({"id": "text", "report_id": "text", "troubles": "jsonb"}, _health_report),
    "rcs.trouble": Derivation({"status": "jsonb"}, _trouble),
}
