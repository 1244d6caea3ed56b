"""What a piece of work cost at the vendor: requests as they were sent, time in which the vendor answered, time at the gate.

Whoever wants to know opens ``metering()``; sessions tell the innermost open meter of their context. Nobody has to pass it on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Meter:
    """Counters of one piece of work.

    Attributes:
        requests: requests sent, repeated and refused ones and logins included.
        bytes: size of the answers' bodies, decompressed.
        answer_s: seconds from sending a request to the end of its answer.
        waited_s: seconds at the rate gate.
        backfill_rate_per_s: requests per second that the gate leaves to backfills; ``None`` = nothing was asked.
        burst: requests that the gate lets through at once after a pause.
    """

    requests: int = 0
    bytes: int = 0
    answer_s: float = 0.0
    waited_s: float = 0.0
    backfill_rate_per_s: float | None = None
    burst: float = 1.0


_open: ContextVar[Meter | None] = ContextVar("fleetlake_meter", default=None)


def current() -> Meter | None:
    """The innermost open meter."""
    return _open.get()


@contextlib.contextmanager
def metering() -> Iterator[Meter]:
    """Count what the block costs."""
    meter = Meter()
    token = _open.set(meter)
    try:
        yield meter
    finally:
        _open.reset(token)
