"""One canonical text per row, and digests over many rows that do not depend on their order.

Two stores hold the same rows exactly when count and digest agree. The text of a row is compact JSON with sorted keys:
times as ISO 8601 UTC with microseconds, dates as ISO, floats rounded to ``FLOAT_DIGITS`` decimals (every quantity we
publish has fewer significant decimals; rounding only removes the noise of unit conversion), -0.0 as 0.0, JSON columns as
their value.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

FLOAT_DIGITS = 6

_MODULUS = 1 << 128


def canonical_value(value: Any) -> Any:
    """A JSON-ready value that is equal for equal facts, whatever store it came from."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        number = round(float(value), FLOAT_DIGITS)
        return int(number) if number.is_integer() else number
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=dt.UTC)
        return value.astimezone(dt.UTC).isoformat(timespec="microseconds")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): canonical_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical_value(item) for item in value]
    raise TypeError(f"no canonical form for {type(value).__name__}")


def canonical_row(row: Mapping[str, Any]) -> str:
    """The canonical text of a row."""
    return json.dumps(
        {key: canonical_value(value) for key, value in row.items()},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )


@dataclass(frozen=True)
class Digest:
    """Count and order-independent digest of rows.

    The digest is the sum of the rows' SHA-256 values modulo 2**128, so a duplicated row changes it (with exclusive-or it
    would vanish).
    """

    rows: int
    digest: str

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Digest:
        """Digest of rows, streamed: memory does not grow with their number."""
        count, total = 0, 0
        for row in rows:
            count += 1
            total += int.from_bytes(hashlib.sha256(canonical_row(row).encode()).digest()[:16], "big")
        return cls(count, f"{total % _MODULUS:032x}")

    def __str__(self) -> str:
        return f"{self.rows} rows, digest {self.digest}"
