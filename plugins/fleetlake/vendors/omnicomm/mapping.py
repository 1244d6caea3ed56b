"""Omnicomm columns that no single vendor field holds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from fleetlake.reading import Derivation

IDENTITIES: Sequence[str] = ("terminal_id", "vehicle_uuid", "name")
"""Columns of ``omnicomm.vehicle`` by which people may name a vehicle."""

MIN_SATELLITES = 4
MAX_SPEED_KMH = 250.0
"""A point is taken for a fix from so many satellites, up to this speed: spikes of 655 km/h were seen."""

EVENT_TYPES: Mapping[int, str] = {
    14: "speeding",
    43: "stop_over_threshold",
    94: "speeding_in_geofence",
    98: "parking_over_threshold",
}
"""Meaning of event types (OMN-07); the vendor's list is not available."""

_PARAMETERS: Mapping[int, Mapping[str, int]] = {
    14: {"allowed_speed_kmh": 0, "average_speed_kmh": 1, "duration_s": 2},
    43: {"threshold_s": 0, "duration_s": 1},
    94: {"allowed_speed_kmh": 0, "average_speed_kmh": 2, "duration_s": 3},
    98: {"threshold_s": 0, "duration_s": 1},
}
"""Which parameter is what; they are positional (OMN-07)."""

_EVENT_COLUMNS = ("threshold_s", "duration_s", "allowed_speed_kmh", "average_speed_kmh")

Needs = Mapping[str, list[Any]]
Columns = Mapping[str, Any]


def _vehicle(needs: Needs, _columns: Columns) -> Mapping[str, Any]:
    return {"is_receiving_data": [_flag(value) for value in needs["receive_data"]]}


def _track_point(_needs: Needs, columns: Columns) -> Mapping[str, Any]:
    import pyarrow.compute as pc

    has_fix = pc.greater_equal(columns["satellites"], MIN_SATELLITES)
    is_plausible = pc.less_equal(columns["speed_kmh"], MAX_SPEED_KMH)
    return {"is_valid": pc.fill_null(pc.and_(has_fix, is_plausible), False)}


def _event(needs: Needs, columns: Columns) -> Mapping[str, Any]:
    kinds = columns["type_code"].to_pylist()
    derived: dict[str, list[Any]] = {name: [] for name in _EVENT_COLUMNS}
    for kind, parameters in zip(kinds, needs["parameters"], strict=True):
        places = _PARAMETERS.get(kind, {})
        for name in _EVENT_COLUMNS:
            derived[name].append(_parameter(parameters, places.get(name)))
    return {
        "occurrence": _occurrences(columns, "terminal_id", "event_time", "type_code"),
        "event_type": [EVENT_TYPES.get(kind, f"type_{kind}") for kind in kinds],
        **derived,
    }


def _geofence_visit(_needs: Needs, columns: Columns) -> Mapping[str, Any]:
    return {"geofence_key": ["-" if number is None else str(number) for number in columns["geofence_id"].to_pylist()]}


def _geofence(needs: Needs, _columns: Columns) -> Mapping[str, Any]:
    return {"points_count": [len(points) if isinstance(points, list) else None for points in needs["points"]]}


def _journal(needs: Needs, columns: Columns) -> Mapping[str, Any]:
    present = {name: needs[f"{name}_PRESENT"] for name in ("U_BOARD", "SATELLITES_NMB", "LLS_CODE")}

    def told(name: str) -> Iterable[Any]:
        """Values, null where the companion field says that there is none."""
        return (None if flag == 0 else value for value, flag in zip(needs[name], present[name], strict=True))

    codes = zip(needs["LLS_CODE"], present["LLS_CODE"], strict=True)
    return {
        "occurrence": _occurrences(columns, "terminal_id", "event_time"),
        "satellites": [_whole(value) for value in told("SATELLITES_NMB")],
        "battery_v": [round(value / 10, 6) if _is_number(value) else None for value in told("U_BOARD")],
        "is_ignition_on": [_flag(value) for value in needs["IS_IGNITION_ON"]],
        "is_external_supply_broken": [_flag(value) for value in needs["IS_EXTERNAL_SUPPLY_BROKEN"]],
        "is_gps_jamming": [_flag(value) for value in needs["IS_GPS_JAMMING"]],
        "is_gsm_jamming": [_flag(value) for value in needs["IS_GSM_JAMMING"]],
        "level_sensor_codes": [_slots(values, flags) for values, flags in codes],
    }


def _journal_parameter(needs: Needs, columns: Columns) -> Mapping[str, Any]:
    found = [salvage(text) for text in needs["jsonData"]]
    return {
        "occurrence": _occurrences(columns, "terminal_id", "source", "event_time"),
        "parameters": [None if pairs is None else _json(pairs) for pairs, _ in found],
        "is_truncated": [is_cut for _, is_cut in found],
    }


def salvage(text: Any) -> tuple[dict[str, Any] | None, bool | None]:
    """The pairs of a JSON object in a text, and whether the text was cut off: then those before the cut are left."""
    if not isinstance(text, str):
        return None, None
    end, tail = len(text), ""
    while end > 0:
        try:
            pairs = msgspec.json.decode(text[:end] + tail)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            # The last pair may be cut: try again with one pair less.
            end, tail = text.rfind(",", 0, end), "}"
            continue
        return (pairs, bool(tail)) if isinstance(pairs, dict) else (None, None)
    return {}, True


def _occurrences(columns: Columns, *names: str) -> list[int]:
    """Numbers from 0 for rows that the vendor gives no id, and that have these values in common."""
    seen: Counter[tuple[Any, ...]] = Counter()
    numbers = []
    for key in zip(*(columns[name].to_pylist() for name in names), strict=True):
        numbers.append(seen[key])
        seen[key] += 1
    return numbers


def _parameter(parameters: Any, place: int | None) -> float | None:
    """Parameters are texts; one that is no number is unknown."""
    if place is None or not isinstance(parameters, list) or place >= len(parameters):
        return None
    try:
        number = float(parameters[place])
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _flag(value: Any) -> bool | None:
    """0 and 1, or a boolean: the vendor switches between them."""
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> int | None:
    return int(value) if _is_number(value) and float(value).is_integer() and abs(value) < 2**31 else None


def _slots(values: Any, flags: Any) -> str | None:
    if not isinstance(values, list):
        return None
    known = flags if isinstance(flags, list) else []
    return _json([None if known[slot : slot + 1] == [0] else value for slot, value in enumerate(values)])


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


_JOURNAL_FIELDS = (
    "U_BOARD", "U_BOARD_PRESENT", "SATELLITES_NMB", "SATELLITES_NMB_PRESENT", "LLS_CODE", "LLS_CODE_PRESENT",
    "IS_IGNITION_ON", "IS_EXTERNAL_SUPPLY_BROKEN", "IS_GPS_JAMMING", "IS_GSM_JAMMING",
)  # fmt: skip

DERIVATIONS: Mapping[str, Derivation] = {
    "omnicomm.vehicle": Derivation({"receive_data": "jsonb"}, _vehicle),
    "omnicomm.track_point": Derivation({}, _track_point),
    "omnicomm.event": Derivation({"parameters": "jsonb"}, _event),
    "omnicomm.geofence_visit": Derivation({}, _geofence_visit),
    "omnicomm.geofence": Derivation({"points": "jsonb"}, _geofence),
    "omnicomm.journal": Derivation(dict.fromkeys(_JOURNAL_FIELDS, "jsonb"), _journal),
    "omnicomm.journal_parameter": Derivation({"jsonData": "jsonb"}, _journal_parameter),
}
