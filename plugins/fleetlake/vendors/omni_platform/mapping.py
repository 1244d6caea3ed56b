"""OMNI Platform columns that no single vendor field holds.

``data`` of an event is documented in part only (OPL-01): it is read defensively, in the shapes of the agent and of the
live channels; what is not understood is null, and ``data`` itself is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fleetlake.reading import Derivation

IDENTITIES: Sequence[str] = ("camera_id", "title")
"""Columns of ``omni_platform.camera`` by which people may name a camera."""


def _event(needs: Mapping[str, list[Any]], _columns: Mapping[str, Any]) -> Mapping[str, Any]:
    data = [item if isinstance(item, dict) else {} for item in needs["data"]]
    candidates = [_candidates(item) for item in data]
    return {
        "image_id": [_image(item, "image") for item in data],
        "original_image_id": [_image(item, "original_image") for item in data],
        "candidates": [None if found is None else _text(found) for found in candidates],
        "candidates_count": [None if found is None else len(found) for found in candidates],
    }


def _profile(needs: Mapping[str, list[Any]], _columns: Mapping[str, Any]) -> Mapping[str, Any]:
    groups = needs["profileGroups"]
    return {"group_ids": [_text(_ids(found)) if isinstance(found, list) else None for found in groups]}


def _image(data: Mapping[str, Any], name: str) -> str | None:
    """Id of a binary object: ``{"$image": {"id": …}}``, or ``"image": "…"``."""
    found = _first(data, f"${name}", name)
    return _id(found)


def _candidates(data: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    found = _first(data, "identification_data", "candidates")
    if not isinstance(found, list):
        return None
    return [_candidate(item) for item in found if isinstance(item, dict)]


def _candidate(item: Mapping[str, Any]) -> dict[str, Any]:
    inner = item.get("profile")
    person: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    confidence = _first(item, "confidence", "score")
    is_number = isinstance(confidence, int | float) and not isinstance(confidence, bool)
    groups = _first(item, "profile_groups", "groups", "group_ids")
    return {
        "profile_id": _id(_first(item, "profile_id", "profile")),
        "confidence": float(confidence) if is_number else None,
        "group_ids": _ids(groups) if isinstance(groups, list) else [],
        "age": _first(item, "age") if "age" in item else person.get("age"),
        "gender": _first(item, "gender") if "gender" in item else person.get("gender"),
    }


def _first(values: Mapping[str, Any], *names: str) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _ids(items: Sequence[Any]) -> list[str]:
    return [found for found in map(_id, items) if found is not None]


def _id(value: Any) -> str | None:
    """An id given as text or as an object with an id."""
    if isinstance(value, dict):
        value = value.get("id")
    return value.lower() if isinstance(value, str) and value else None


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


DERIVATIONS: Mapping[str, Derivation] = {
    "omni_platform.event": Derivation({"data": "jsonb"}, _event),
    "omni_platform.profile": Derivation({"profileGroups": "jsonb"}, _profile),
}
