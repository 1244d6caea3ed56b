"""A vendor's rate limit: at most so many requests in any stretch of time, counted per key."""

from __future__ import annotations

import time
from collections import defaultdict, deque


class RateLimit:
    """Sliding window.

    Args:
        requests: allowed in any ``seconds``; 0 = no limit.
        seconds: length of the window.
    """

    def __init__(self, requests: int, seconds: float = 1.0) -> None:
        self._requests = requests
        self._seconds = seconds
        self._passed: dict[str, deque[float]] = defaultdict(deque)

    def passes(self, key: str) -> bool:
        """Count a request of ``key``; false when it is one too many (such a request is not counted)."""
        if not self._requests:
            return True
        now, passed = time.monotonic(), self._passed[key]
        while passed and passed[0] <= now - self._seconds:
            passed.popleft()
        if len(passed) >= self._requests:
            return False
        passed.append(now)
        return True
