"""The vendor's minute: 60 calls in a fixed window, announced in headers (section 1.4)."""

from __future__ import annotations

import datetime as dt
import email.utils
import math
import random
import re
import time
from collections.abc import Callable

from fleetlake.http.answers import Answer, retry_after

WINDOW_S = 60.0
"""Length of the vendor's window; without a better word the longest wait for the next."""

_FURTHEST_S = 300.0
"""A reset further away is a mistake: of a clock, or of the unit."""

_MILLISECONDS = 1e11
"""Seconds since 1970 stay below this for three thousand years."""


def pause_of(answer: Answer) -> float:
    """Seconds until calls are allowed again, by a 429: from ``X-RateLimit-Reset``, else ``Retry-After``, else a whole window.

    A reset that is unreadable, past or too far away is not believed. Up to a second of jitter keeps processes apart.
    """
    seconds = _until_reset(answer)
    if seconds is None:
        seconds = retry_after(answer)
    if seconds is None or seconds > _FURTHEST_S:
        seconds = WINDOW_S
    return seconds + random.random()  # noqa: S311 - no secret


class Minute:
    """Watches what is left of the vendor's window, so that nobody runs into its end.

    The vendor says how many calls remain, not when the window ends. It began at the latest when the count was seen to rise,
    so it ends at most ``WINDOW_S`` after that.

    Args:
        reserve: remaining calls at which to stop.
        clock: seconds that only go up.
    """

    def __init__(self, reserve: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._reserve = reserve
        self._clock = clock
        self._remaining = -1
        self._began = -math.inf

    def watch(self, answer: Answer) -> float:
        """Seconds that everybody should wait after this answer; 0 = go on."""
        text = answer.headers.get("x-ratelimit-remaining", "").strip()
        if not re.fullmatch(r"\d{1,9}", text):
            return 0.0
        remaining, before = int(text), self._remaining
        self._remaining = remaining
        now = self._clock()
        if remaining > before or now - self._began >= WINDOW_S:
            self._began = now
        if remaining > self._reserve:
            return 0.0
        told = _until_reset(answer)
        return told if told is not None else self._began + WINDOW_S - now


def _until_reset(answer: Answer) -> float | None:
    """Seconds until ``X-RateLimit-Reset``, by the vendor's clock where it shows one; ``None`` = not to be believed."""
    text = answer.headers.get("x-ratelimit-reset", "").strip()
    if not re.fullmatch(r"\d{1,16}(\.\d+)?", text):
        return None
    reset = float(text)
    if reset > _MILLISECONDS:
        reset /= 1000
    seconds = reset - _vendor_now(answer).timestamp()
    return math.ceil(seconds) if 0 < seconds <= _FURTHEST_S else None


def _vendor_now(answer: Answer) -> dt.datetime:
    try:
        moment = email.utils.parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, TypeError):
        return answer.fetched_at
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
