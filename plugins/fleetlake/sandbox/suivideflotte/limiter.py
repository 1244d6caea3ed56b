"""The rate limit of section 1.4: a fixed window that starts with the first call in it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What the limiter says to one call.

    Attributes:
        passed: the call may be executed.
        headers: headers of the answer, whatever it is.
    """

    passed: bool
    headers: dict[str, str]


class FixedWindow:
    """Counts calls by key, in real time: a client waits in real time too, whatever the sandbox's clock says.

    Args:
        calls: allowed in a window; 0 = no limit and no headers.
        seconds: length of a window.
    """

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls = calls
        self._seconds = seconds
        self._windows: dict[str, tuple[float, int]] = {}

    def count(self, key: str) -> Verdict:
        """Count a call of ``key``; one that is refused does not count."""
        if not self._calls:
            return Verdict(True, {})
        now = time.time()
        end, used = self._windows.get(key, (0.0, 0))
        if now >= end:
            end, used = now + self._seconds, 0
        passed = used < self._calls
        self._windows[key] = (end, used + passed)
        headers = {
            "X-RateLimit-Limit": str(self._calls),
            "X-RateLimit-Remaining": str(self._calls - used - passed),
        }
        if not passed:
            headers |= {"X-RateLimit-Reset": str(math.ceil(end)), "Retry-After": str(math.ceil(end - now))}
        return Verdict(passed, headers)
