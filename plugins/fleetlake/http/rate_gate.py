"""A vendor's request quota as shared state: whoever wants to send asks the gate of the account first.

The gate is the generic cell rate algorithm: one number per key, the theoretical arrival time (``tat``) of the next call.
Taking a slot moves it one step on; the caller sleeps until its own slot.

Lanes are nested, so that a higher lane always finds room: a backfill call passes the keys ``backfill``, ``scheduled`` and
account, a scheduled call ``scheduled`` and account, a live call only the account. Each inner key has a smaller rate, and
a caller waits at an inner key before it takes a slot at the next: backfills never queue up in front of live calls.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from fleetlake.errors import ConfigError, RateLimited, StoreUnavailable
from fleetlake.reading import Lane

if TYPE_CHECKING:
    from sqlalchemy import Engine

SHARES: Mapping[Lane, float] = {Lane.LIVE: 1.0, Lane.SCHEDULED: 0.9, Lane.BACKFILL: 0.7}
"""Share of the account's rate that each lane (with the lanes below it) may use."""


class RateGate(Protocol):
    """Asked before every request to a vendor."""

    def acquire(self, lane: Lane) -> None:
        """Wait until a request may be sent.

        Raises:
            RateLimited: the wait would be above the gate's bound; nothing was reserved.
            StoreUnavailable: the shared state cannot be reached.
        """
        ...

    def penalise(self, seconds: float) -> None:
        """The vendor said "too many requests": nobody sends before ``seconds`` have passed."""
        ...

    def rate(self, lane: Lane) -> float:
        """Requests per second that pass in a lane when no other asks."""
        ...

    @property
    def burst(self) -> float:
        """Requests that pass at once after a pause."""
        ...


class _Gate(ABC):
    """What both gates share: lanes, waiting, the bound.

    Args:
        rate: requests per second of the account.
        burst: requests that may go at once after a pause; 1 spaces all requests evenly.
        shares: share of ``rate`` per lane.
        max_wait_s: a longer wait raises ``RateLimited`` instead of holding a worker.
        sleep: how to wait.
    """

    def __init__(
        self,
        rate: float,
        *,
        burst: float = 1,
        shares: Mapping[Lane, float] = SHARES,
        max_wait_s: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if rate <= 0 or burst < 1:
            raise ConfigError(f"a rate gate needs rate > 0 and burst >= 1, not {rate} and {burst}")
        if not 0 < shares[Lane.BACKFILL] <= shares[Lane.SCHEDULED] <= shares[Lane.LIVE] <= 1:
            raise ConfigError("shares of a rate gate go down from live to scheduled to backfill, between 1 and 0")
        self._rates = {lane: rate * shares[lane] for lane in (Lane.LIVE, Lane.SCHEDULED, Lane.BACKFILL)}
        self._burst = burst
        self._max_wait = max_wait_s
        self._sleep = sleep
        inner = [("", shares[Lane.LIVE]), ("#scheduled", shares[Lane.SCHEDULED]), ("#backfill", shares[Lane.BACKFILL])]
        steps = [(suffix, 1 / (rate * share)) for suffix, share in inner]
        self._outer_step = steps[0][1]
        self._paths = {lane: steps[depth::-1] for depth, lane in enumerate((Lane.LIVE, Lane.SCHEDULED, Lane.BACKFILL))}

    def acquire(self, lane: Lane) -> None:
        """See ``RateGate.acquire``."""
        for suffix, step in self._paths[lane]:
            wait = self._reserve(suffix, step, (self._burst - 1) * step)
            if wait > self._max_wait:
                raise RateLimited(
                    f"the account's quota is used up for the next {wait:.0f} s",
                    where=f"lane {lane.value}",
                    remedy="the run is tried again later; lower the number of parallel tasks if this lasts",
                    retry_after=wait,
                )
            if wait > 0:
                self._sleep(wait)

    def penalise(self, seconds: float) -> None:
        """See ``RateGate.penalise``."""
        if seconds > 0:
            # The tolerance for bursts is added: it must not shorten the pause.
            self._push(seconds + (self._burst - 1) * self._outer_step)

    def rate(self, lane: Lane) -> float:
        """See ``RateGate.rate``."""
        return self._rates[lane]

    @property
    def burst(self) -> float:
        """See ``RateGate.burst``."""
        return self._burst

    @abstractmethod
    def _reserve(self, suffix: str, step: float, tolerance: float) -> float:
        """Take the next slot and return the wait in seconds; above ``max_wait`` return the wait and take nothing."""

    @abstractmethod
    def _push(self, seconds: float) -> None:
        """Move the account's ``tat`` to at least ``seconds`` from now."""


class LocalGate(_Gate):
    """A gate for one process (command line, tests). Safe for threads."""

    def __init__(
        self,
        rate: float,
        *,
        burst: float = 1,
        shares: Mapping[Lane, float] = SHARES,
        max_wait_s: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(rate, burst=burst, shares=shares, max_wait_s=max_wait_s, sleep=sleep)
        self._lock = threading.Lock()
        self._tat: dict[str, float] = {}

    def _reserve(self, suffix: str, step: float, tolerance: float) -> float:
        with self._lock:
            now = time.monotonic()
            start = max(self._tat.get(suffix, now), now)
            wait = start - tolerance - now
            if wait <= self._max_wait:
                self._tat[suffix] = start + step
            return wait

    def _push(self, seconds: float) -> None:
        with self._lock:
            until = time.monotonic() + seconds
            self._tat[""] = max(self._tat.get("", until), until)


class PostgresGate(_Gate):
    """A gate for every process that reaches the same PostgreSQL: one row of ``ops.rate_gate`` per key.

    One autocommitted statement per key and call; the database's clock rules. Safe for threads. Connections are taken for
    one statement and checked before use, so a restart of the database costs at most one ``StoreUnavailable``.

    Args:
        store: SQLAlchemy URL (``postgresql+psycopg://``) or an engine, which stays the caller's.
        key: name of the account at the vendor; two connections with one login share it.
        rate, burst, shares, max_wait_s, sleep: see ``_Gate``.
    """

    def __init__(
        self,
        store: str | Engine,
        key: str,
        rate: float,
        *,
        burst: float = 1,
        shares: Mapping[Lane, float] = SHARES,
        max_wait_s: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(rate, burst=burst, shares=shares, max_wait_s=max_wait_s, sleep=sleep)
        self._store = store
        self._key = key
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give back the connections."""
        with self._lock:
            if self._engine is not None and isinstance(self._store, str):
                self._engine.dispose()
            self._engine = None

    def _reserve(self, suffix: str, step: float, tolerance: float) -> float:
        values = {"key": self._key + suffix, "step": step, "tolerance": tolerance, "bound": self._max_wait}
        wait = self._run(_RESERVE, values)
        # No row: the wait is above the bound and nothing was taken; say how long it would be.
        return float(self._run(_LOOK, values) or 0.0) if wait is None else float(wait)

    def _push(self, seconds: float) -> None:
        self._run(_PUSH, {"key": self._key, "seconds": seconds})

    def _run(self, statement: str, values: Mapping[str, object]) -> float | None:
        from sqlalchemy import text
        from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError, SQLAlchemyError

        problem: Exception | None = None
        for attempt in (1, 2):
            try:
                with self._connectable().connect() as connection:
                    result = connection.execute(text(statement), values)
                    row = result.first() if result.returns_rows else None
                    return None if row is None else row[0]
            except ProgrammingError as error:
                if attempt == 1 and getattr(error.orig, "sqlstate", "") in ("42P01", "3F000"):
                    self._create_table()
                    continue
                problem = ConfigError(
                    f"the rate gate's table cannot be used: {type(error.orig).__name__}",
                    where="ops.rate_gate",
                    remedy="let the warehouse user create and write tables in the schema ops",
                )
            except (OperationalError, InterfaceError, OSError) as error:
                problem = self._unreachable(error)
            except SQLAlchemyError as error:
                problem = self._unreachable(error)
            break
        assert problem is not None  # noqa: S101 - both ways out of the loop set it
        raise problem

    def _connectable(self) -> Engine:
        from sqlalchemy import create_engine

        with self._lock:
            if self._engine is None:
                if isinstance(self._store, str):
                    self._engine = create_engine(
                        self._store,
                        isolation_level="AUTOCOMMIT",
                        pool_size=1,
                        max_overflow=4,
                        pool_pre_ping=True,
                        pool_recycle=300,
                        connect_args={"connect_timeout": 10},
                    )
                else:
                    self._engine = self._store.execution_options(isolation_level="AUTOCOMMIT")
            return self._engine

    def _create_table(self) -> None:
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        problem: StoreUnavailable | None = None
        try:
            with self._connectable().connect() as connection:
                # IF NOT EXISTS still collides when two processes create at once: one statement, behind one lock.
                connection.execute(text(_CREATE))
        except SQLAlchemyError as error:
            problem = self._unreachable(error)
        if problem is not None:
            raise problem

    def _unreachable(self, error: Exception) -> StoreUnavailable:
        cause = str(getattr(error, "orig", error)).strip().splitlines()
        return StoreUnavailable(
            f"the rate gate cannot reach PostgreSQL: {cause[0] if cause else type(error).__name__}",
            where="ops.rate_gate",
            remedy="start the warehouse database or mend its URL",
            retry_after=5.0,
        )


_RESERVE = """
INSERT INTO ops.rate_gate AS g (key, tat) VALUES (:key, clock_timestamp() + make_interval(secs => :step))
ON CONFLICT (key) DO UPDATE SET tat = greatest(g.tat, clock_timestamp()) + make_interval(secs => :step)
WHERE extract(epoch FROM g.tat - clock_timestamp()) - :tolerance <= :bound
RETURNING extract(epoch FROM tat - clock_timestamp())::double precision - :step - :tolerance
"""
_LOOK = """
SELECT extract(epoch FROM tat - clock_timestamp())::double precision - :tolerance FROM ops.rate_gate WHERE key = :key
"""
_PUSH = """
INSERT INTO ops.rate_gate AS g (key, tat) VALUES (:key, clock_timestamp() + make_interval(secs => :seconds))
ON CONFLICT (key) DO UPDATE SET tat = greatest(g.tat, clock_timestamp() + make_interval(secs => :seconds))
"""
_CREATE = """
DO $$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('fleetlake.ops.rate_gate'));
    CREATE SCHEMA IF NOT EXISTS ops;
    CREATE TABLE IF NOT EXISTS ops.rate_gate (key text PRIMARY KEY, tat timestamptz NOT NULL);
END $$
"""
