"""Faults on demand: what to break, for whom, how often."""

from __future__ import annotations

import difflib
import itertools
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from fleetlake.errors import ConfigError
from fleetlake.sandbox.dice import dice

KINDS: Mapping[str, str] = {
    "drop": "close the connection without executing the request",
    "drop_answer": "execute the request, then close the connection without an answer",
    "drop_body": "close the connection in the middle of the body",
    "status": "answer `status` (with `retry_after`) without executing the request",
    "slow": "wait `seconds` before the answer",
    "short_page": "leave out the second half of the rows",
    "repeated_page": "answer with the rows of the page before",
    "empty_page": "answer without any row",
    "reordered_page": "answer with the rows in reverse order",
    "odd_rows": "one row in a hundred, always the same ones, says a word where its last number stands",
    "truncated_body": "a whole answer whose body is cut in the middle",
    "error_body": "status 200 with the vendor's error body",
    "html_page": "a proxy's HTML page with `status`",
    "expired": "session or token is gone (played by the room)",
    "task_failed": "the asynchronous task ends in failure (played by the room)",
}
ROOM_KINDS = frozenset({"expired", "task_failed"})
_ALIASES = {"429": ("status", 429), "500": ("status", 500), "502": ("status", 502), "503": ("status", 503)}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        kind: one of ``KINDS``.
        vendor, method, path, query, customer: patterns with ``*``; the path is the request's, without query.
        consistent: of a fault on rows: a paginator's counts agree with it, so that the list seems to end there.
        skip: let this many matching requests pass first.
        count: then break this many; ``None`` = all.
        probability: of each; drawn from the sandbox's seed, so a run can be repeated.
        status: for ``status`` and ``html_page``.
        retry_after: seconds for a ``Retry-After`` header with ``status``; ``None`` = no header.
        seconds: for ``slow``.
    """

    kind: str
    vendor: str = "*"
    method: str = "*"
    path: str = "*"
    query: str = "*"
    customer: str = "*"
    consistent: bool = False
    skip: int = 0
    count: int | None = None
    probability: float = 1.0
    status: int = 0
    retry_after: float | None = None
    seconds: float = 1.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Fault:
        """A fault from JSON. ``kind`` may be a status such as ``"429"``.

        Raises:
            ConfigError: unknown kind or key, or a value of a wrong type.
        """
        if not isinstance(values, Mapping):
            raise ConfigError("a fault is an object", remedy='{"kind": "drop", "vendor": "rcs", "count": 1}')
        data = dict(values)
        kind = str(data.pop("kind", ""))
        if kind in _ALIASES:
            kind, data["status"] = _ALIASES[kind]
        if kind not in KINDS:
            raise ConfigError(f"unknown fault {kind!r}", remedy=_near(kind, [*KINDS, *_ALIASES]))
        types = {item.name: str(item.type) for item in fields(cls)}
        for key, value in data.items():
            if key not in types:
                raise ConfigError(f"unknown key {key!r} of a fault", remedy=_near(key, list(types)))
            number = "int" in types[key] or "float" in types[key]
            if value is None and "None" in types[key]:
                continue
            try:
                if types[key] == "bool":
                    data[key] = str(value).lower() in ("true", "1", "yes")
                    continue
                data[key] = (int(value) if "int" in types[key] else float(value)) if number else str(value)
            except (TypeError, ValueError):
                raise ConfigError(f"{key} of a fault is {value!r}", remedy="give a number") from None
        if kind in ("status", "html_page"):
            data["status"] = data.get("status") or (502 if kind == "html_page" else 500)
        return cls(kind=kind, **data)

    @classmethod
    def parse(cls, text: str) -> Fault:
        """A fault from a command line: ``429:vendor=rcs,path=/telemetry/*,count=2``."""
        kind, _, rest = text.partition(":")
        pairs = [pair.partition("=") for pair in rest.split(",") if pair]
        return cls.of({"kind": kind, **{key.strip(): value.strip() for key, _, value in pairs}})

    def fits(self, vendor: str, method: str, path: str, customer: str | None, query: str = "") -> bool:
        """The request is one that this fault may break."""
        asked = (
            (vendor, self.vendor),
            (method, self.method),
            (path, self.path),
            (query, self.query),
            (customer or "", self.customer),
        )
        return all(fnmatchcase(value, pattern) for value, pattern in asked)


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(known)}"


class FaultBoard:
    """The faults that are switched on. Safe to change from any thread while the sandbox serves."""

    def __init__(self, seed: int = 0, faults: Iterable[Fault] = ()) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._active: dict[int, _Switched] = {}
        self.add(*faults)

    def add(self, *faults: Fault) -> list[int]:
        """Switch faults on; returns their numbers."""
        with self._lock:
            numbers = [next(self._numbers) for _ in faults]
            self._active.update({number: _Switched(fault) for number, fault in zip(numbers, faults, strict=True)})
            return numbers

    def remove(self, *numbers: int) -> None:
        """Switch these faults off."""
        with self._lock:
            for number in numbers:
                self._active.pop(number, None)

    def clear(self) -> None:
        """Switch everything off."""
        with self._lock:
            self._active.clear()

    def listing(self) -> list[dict[str, Any]]:
        """What is on, with the number of matching and of broken requests so far."""
        with self._lock:
            return [
                {"number": number, **asdict(item.fault), "matched": item.matched, "played": item.played}
                for number, item in self._active.items()
            ]

    def draw(self, vendor: str, method: str, path: str, customer: str | None, query: str = "") -> list[Fault]:
        """The faults to play on this request; counts it."""
        played = []
        with self._lock:
            for number, item in self._active.items():
                fault = item.fault
                if not fault.fits(vendor, method, path, customer, query):
                    continue
                item.matched += 1
                if item.matched <= fault.skip or (fault.count is not None and item.played >= fault.count):
                    continue
                if fault.probability < 1 and dice(self._seed, number, item.matched).random() >= fault.probability:
                    continue
                item.played += 1
                played.append(fault)
        return played


@dataclass
class _Switched:
    fault: Fault
    matched: int = 0
    played: int = 0
