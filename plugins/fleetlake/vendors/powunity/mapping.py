"""PowUnity columns that no single vendor field holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fleetlake.reading import Derivation

IDENTITIES: Sequence[str] = ("device_id", "unique_id", "name")
"""Columns of ``powunity.device`` by which people may name a device."""


def _summary(_needs: Mapping[str, list[Any]], columns: Mapping[str, Any]) -> Mapping[str, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    # One request covers one UTC day, so the first position tells which.
    naive = pc.local_timestamp(columns["start_time"]) if len(columns["start_time"]) else columns["start_time"]
    return {"summary_day": naive.cast(pa.date32())}


DERIVATIONS: Mapping[str, Derivation] = {"powunity.summary": Derivation({}, _summary)}
