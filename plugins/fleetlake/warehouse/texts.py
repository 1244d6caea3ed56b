"""Values of free queries that Python has no type for: they stay PostgreSQL's text instead of ending the answer."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.types import datetime as times
from psycopg.types.string import TextLoader

_RANGES = ("int4", "int8", "num", "date", "ts", "tstz")


def register_text(connection: psycopg.Connection[Any]) -> None:
    """Let a connection answer with text where Python's types fall short."""
    for name, loader in _MOMENTS.items():
        connection.adapters.register_loader(name, loader)
    # A month has no length in Python; a range's text is shorter than its parts.
    for name in ("interval", *(f"{kind}{suffix}" for kind in _RANGES for suffix in ("range", "multirange"))):
        connection.adapters.register_loader(name, TextLoader)


def _lenient(base: Any) -> Any:
    class Loader(base):  # type: ignore[misc]
        def load(self, data: Buffer) -> Any:
            try:
                return super().load(data)
            except psycopg.DataError:  # infinity, before year 1, after year 9999, 24:00
                return bytes(data).decode()

    return Loader


_MOMENTS = {
    "date": _lenient(times.DateLoader),
    "time": _lenient(times.TimeLoader),
    "timetz": _lenient(times.TimetzLoader),
    "timestamp": _lenient(times.TimestampLoader),
    "timestamptz": _lenient(times.TimestamptzLoader),
}
