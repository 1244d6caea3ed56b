"""When will it be done? An answer that does not jump, from what was planned and what was seen."""

from __future__ import annotations

_TRUST = 0.01
"""The plan counts like this share of the work done at the planned speed: it speaks first, and soon no more."""


class Eta:
    """Time left of work whose parts differ in size.

    The work is told in any unit that grows with time: planned seconds are best. What is done is known only when a part ends,
    so the speed is that from the first such end to the last: what it took until the first one ended (starting up, and what
    follows the work of each part) says nothing about the rest. The end stays where it is until another part ends or is late.

    Args:
        work: all of it.
        seconds: how long it should take by plan.
        done: what was done before the clock began; it says nothing about the speed.
    """

    def __init__(self, work: float, seconds: float, *, done: float = 0.0) -> None:
        self._work = max(work, 0.0)
        self._planned = max(seconds, 0.0)
        self._before = min(done, self._work)
        self._done = self._before
        self._at = 0.0
        self._first: tuple[float, float] | None = None

    @property
    def share(self) -> float:
        """Share of the work that is done, 0 to 1."""
        return self._done / self._work if self._work else 1.0

    def update(self, done: float, elapsed: float) -> None:
        """Tell what is done.

        Args:
            done: in all, in units of ``work``; less than before is not believed, more than ``work`` is all.
            elapsed: seconds since the clock began.
        """
        done = min(done, self._work)
        if done > self._done:
            self._done, self._at = done, elapsed
            self._first = self._first or (done, elapsed)

    def left(self, elapsed: float) -> float:
        """Seconds left."""
        todo = self._work - self._done
        if todo <= 0:
            return 0.0
        start, began = self._first if self._first and self._done > self._first[0] else (self._before, 0.0)
        trust = _TRUST * self._work
        seconds_per_unit = (self._at - began + _TRUST * self._planned) / (self._done - start + trust)
        late = elapsed - self._at
        # Nothing has ended for a while. The work under way is part of what is left, so up to its usual length that is
        # expected; beyond it, it takes as long again as it is late.
        expected = todo * seconds_per_unit - late
        return max(expected, min(late, todo * seconds_per_unit) * 0.1, 0.0)
