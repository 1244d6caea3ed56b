"""The moment a sandbox believes it is."""

from __future__ import annotations

import datetime as dt


class Clock:
    """A fixed or the real clock; what is received after ``now`` is not visible to anyone.

    Args:
        as_of: fixed moment, aware UTC; ``None`` = the real clock.
    """

    def __init__(self, as_of: dt.datetime | None = None) -> None:
        self.as_of = as_of

    def set(self, as_of: dt.datetime | None) -> None:
        """Move the clock; ``None`` returns to the real one."""
        self.as_of = as_of

    def now(self) -> dt.datetime:
        """The current moment, UTC."""
        return self.as_of or dt.datetime.now(dt.UTC)

    def now_ms(self) -> int:
        """The current moment, milliseconds since 1970."""
        return int(self.now().timestamp() * 1000)
