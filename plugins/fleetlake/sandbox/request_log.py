"""Every request the sandbox saw: one JSON line each, and counters. Never a credential."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

_SECRET = frozenset({"token", "password", "email", "code"})
_KEPT = 100_000
"""Entries kept in memory for ``GET /log``; the file has all."""


@dataclass
class Entry:
    """One request while it runs, one line when it is done."""

    vendor: str
    customer: str | None
    method: str
    path: str
    query: str
    time: dt.datetime
    status: int = 0
    bytes: int = 0
    seconds: float = 0.0
    in_flight: int = 0
    faults: list[str] = field(default_factory=list)

    def line(self) -> dict[str, Any]:
        """JSON form."""
        return {**self.__dict__, "time": self.time.isoformat(timespec="microseconds")}


def without_secrets(query: str) -> str:
    """A query string whose secret values are replaced."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(key.lower() in _SECRET for key, _ in pairs):
        return query
    return urlencode([(key, "***" if key.lower() in _SECRET else value) for key, value in pairs])


class RequestLog:
    """Log and counters of one sandbox; safe from any thread.

    Args:
        path: file to append to; ``None`` = memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._file = path.open("a", buffering=1) if path else None
        self._entries: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._running: Counter[tuple[str, str]] = Counter()
        self._most: Counter[tuple[str, str]] = Counter()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._statuses: Counter[tuple[str, str, int]] = Counter()

    @contextmanager
    def request(self, vendor: str, customer: str | None, method: str, path: str, query: str) -> Iterator[Entry]:
        """Count a request while it runs and write its line when it is done; ``status`` 0 = no answer was sent."""
        entry = Entry(vendor, customer, method, path, without_secrets(query), dt.datetime.now(dt.UTC))
        who = (vendor, customer or "")
        with self._lock:
            self._running[who] += 1
            entry.in_flight = self._running[who]
            self._most[who] = max(self._most[who], entry.in_flight)
        try:
            yield entry
        finally:
            entry.seconds = round((dt.datetime.now(dt.UTC) - entry.time).total_seconds(), 6)
            with self._lock:
                self._running[who] -= 1
                self._requests[who] += 1
                self._statuses[*who, entry.status] += 1
                self._entries.append(entry.line())
                if self._file:
                    self._file.write(json.dumps(entry.line()) + "\n")

    def entries(self, vendor: str | None = None, customer: str | None = None) -> list[dict[str, Any]]:
        """Finished requests, oldest first."""
        with self._lock:
            found = list(self._entries)
        return [
            entry
            for entry in found
            if vendor in (None, entry["vendor"]) and (customer is None or customer == (entry["customer"] or ""))
        ]

    def stats(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By vendor and customer (``""`` = nobody known): requests, in_flight, max_in_flight, statuses."""
        with self._lock:
            result: dict[str, dict[str, dict[str, Any]]] = {}
            for vendor, customer in self._most:
                who = (vendor, customer)
                result.setdefault(vendor, {})[customer] = {
                    "requests": self._requests[who],
                    "in_flight": self._running[who],
                    "max_in_flight": self._most[who],
                    "statuses": {str(key[2]): n for key, n in sorted(self._statuses.items()) if key[:2] == who},
                }
            return result

    def clear(self) -> None:
        """Forget entries and counters (the file stays)."""
        with self._lock:
            self._entries.clear()
            for counter in (self._most, self._requests, self._statuses):
                counter.clear()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None
