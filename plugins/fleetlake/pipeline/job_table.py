"""``ops.job``: what vendors were asked to prepare, written down before it is asked for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import psycopg

from fleetlake.errors import StoreConflict
from fleetlake.window import Window

if TYPE_CHECKING:
    from fleetlake.pipeline.run import Run
    from fleetlake.warehouse import Warehouse

log = logging.getLogger(__name__)

_COLUMNS = (
    "job_id, account, feed, window_start, window_end, dag_id, run_id, clears, lane, state, posts, token, words"  # as in Job
)
_LOCK_TIMEOUT = "10min"
"""Longer than any request may take, session and answer time-outs together."""


class Stage(StrEnum):
    """Where a job is."""

    INTENDED = "intended"  # nothing was sent
    SENDING = "sending"  # the request is sent, or was just about to be
    ASKED = "asked"  # the token is stored
    RUNNING = "running"  # a poll has seen the vendor prepare it
    SUCCEEDED = "succeeded"  # it is ready, and perhaps home, but not published
    COLLECTED = "collected"  # published
    FAILED = "failed"  # the vendor failed, or refused
    LOST = "lost"  # the vendor does not know the token any more
    ABANDONED = "abandoned"  # nobody will ever ask for it again: the window is read another way

    @property
    def is_open(self) -> bool:
        """Somebody still has to bring it to its end."""
        return self in OPEN


OPEN = frozenset({Stage.INTENDED, Stage.SENDING, Stage.ASKED, Stage.RUNNING, Stage.SUCCEEDED})
_BY_POLL = frozenset({Stage.RUNNING, Stage.SUCCEEDED, Stage.FAILED, Stage.LOST})


@dataclass(frozen=True)
class JobKey:
    """Who wants what: at most one job of a key is open at a time."""

    account: str
    feed: str
    window: Window
    dag_id: str
    run_id: str

    @classmethod
    def of(cls, run: Run, feed: str) -> JobKey:
        """The report a run wants from a feed."""
        return cls(run.account.name, feed, run.window, run.dag_id, run.run_id)

    def __str__(self) -> str:
        return f"{self.account} {self.feed} {self.window} {self.dag_id}/{self.run_id}"


@dataclass(frozen=True)
class Job:
    """One row of ``ops.job``; its columns say what the fields mean."""

    job_id: int
    key: JobKey
    clears: int
    lane: str
    stage: Stage
    posts: int
    token: str | None
    words: str


class Desk:
    """Sole charge of one key: whoever asks for its report does so here. See ``JobTable.alone``.

    Every step is committed when its method returns, on the connection that holds the lock: who has lost the lock cannot
    take the next step.
    """

    def __init__(self, table: JobTable, key: JobKey, connection: psycopg.Connection[Any]) -> None:
        self._table = table
        self._key = key
        self._connection = connection

    def latest(self) -> Job | None:
        """The key's newest job."""
        return _latest(self._connection, self._key)

    def intend(self, run: Run) -> Job:
        """Write down that the report is going to be asked for; nothing may have been sent for it."""
        key = self._key
        row = self._connection.execute(
            "INSERT INTO ops.job (account, feed, window_start, window_end, dag_id, run_id, clears, lane, state)"
            f" VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'intended') RETURNING {_COLUMNS}",
            [key.account, key.feed, key.window.start, key.window.end, key.dag_id, key.run_id, run.clears, run.lane.value],
        ).fetchone()
        assert row is not None  # noqa: S101 - an INSERT … RETURNING gives its row
        return _job(row)

    def sending(self, job: Job) -> None:
        """The request is sent next: from here on its outcome may be unknown.

        Raises:
            StoreConflict: somebody else has the job; nothing may be sent.
        """
        done = self._connection.execute(
            "UPDATE ops.job SET state = 'sending', posts = posts + 1, sending_at = clock_timestamp()"
            " WHERE job_id = %s AND state = 'intended'",
            [job.job_id],
        )
        if done.rowcount != 1:
            raise StoreConflict("another process has this job", where=str(job.key), remedy="the next try attaches to it")

    def not_sent(self, job: Job) -> None:
        """The request provably never left: it may be sent again."""
        self._connection.execute(
            "UPDATE ops.job SET state = 'intended', posts = posts - 1, sending_at = NULL WHERE job_id = %s AND state = 'sending'",
            [job.job_id],
        )

    def asked(self, job: Job, token: str) -> None:
        """Keep the token. It is all there is, so a lost connection is not accepted as a reason to lose it."""
        statement = "UPDATE ops.job SET state = 'asked', token = %s, asked_at = clock_timestamp() WHERE job_id = %s AND state = 'sending'"
        values = [token, job.job_id]
        try:
            self._connection.execute(statement, values)
        except psycopg.OperationalError:
            log.warning("%s: the connection to the warehouse is lost; the token is stored over another one", job.key)
            with self._table.session() as connection:
                connection.execute(statement, values)


class JobTable:
    """The registry of jobs.

    Args:
        warehouse: migrated.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    @contextlib.contextmanager
    def alone(self, key: JobKey) -> Iterator[Desk]:
        """Wait until nobody else asks for this report. The lock ends with the connection, so the dead hold none.

        Raises:
            StoreConflict: somebody held it too long.
        """
        with self.session() as connection:
            connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
            connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"fleetlake:job:{key}"])
            yield Desk(self, key, connection)

    def latest(self, key: JobKey) -> Job | None:
        """The key's newest job."""
        with self.session() as connection:
            return _latest(connection, key)

    def get(self, job_id: int) -> Job:
        """A job as it is now."""
        with self.session() as connection:
            [row] = connection.execute(f"SELECT {_COLUMNS} FROM ops.job WHERE job_id = %s", [job_id]).fetchall()
        return _job(row)

    def move(self, job: Job, stage: Stage, words: str = "") -> None:
        """Note a job's progress or end. What is over stays over, except that what is published is collected."""
        statement = (
            "UPDATE ops.job SET state = %(stage)s, words = %(words)s,"
            " polled_at = CASE WHEN %(is_poll)s THEN clock_timestamp() ELSE polled_at END,"
            " ended_at = CASE WHEN NOT %(is_open)s THEN clock_timestamp() END"
            " WHERE job_id = %(job_id)s AND (state = ANY(%(open)s) OR %(stage)s = 'collected')"
        )
        values = {
            "stage": stage.value,
            "words": words,
            "is_poll": stage in _BY_POLL,
            "is_open": stage.is_open,
            "job_id": job.job_id,
            "open": [item.value for item in OPEN],
        }
        with self.session() as connection:
            connection.execute(statement, values)

    def overdue(self, account: str, life_s: dict[str, float]) -> list[Job]:
        """Open jobs of an account that are older than their feed allows, oldest first.

        Args:
            account: account.
            life_s: seconds after which the vendor forgets a report, by feed; other feeds are left alone.
        """
        query = (
            f"SELECT {_COLUMNS} FROM ops.job JOIN unnest(%s::text[], %s::float8[]) AS life (of, seconds) ON of = feed"
            " WHERE account = %s AND state = ANY(%s)"
            " AND greatest(intended_at, sending_at, asked_at) + make_interval(secs => seconds) < clock_timestamp() ORDER BY job_id"
        )
        values = [list(life_s), list(life_s.values()), account, [stage.value for stage in OPEN]]
        with self.session() as connection:
            return [_job(row) for row in connection.execute(query, values)]

    @contextlib.contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of its own, on which every statement is committed at once."""
        with self._warehouse.session() as connection:
            connection.autocommit = True
            yield connection


def _latest(connection: psycopg.Connection[Any], key: JobKey) -> Job | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM ops.job WHERE (account, feed, window_start, window_end, dag_id, run_id)"
        " = (%s, %s, %s, %s, %s, %s) ORDER BY job_id DESC LIMIT 1",
        [key.account, key.feed, key.window.start, key.window.end, key.dag_id, key.run_id],
    ).fetchone()
    return row and _job(row)


def _job(row: tuple[Any, ...]) -> Job:
    job_id, account, feed, start, end, dag_id, run_id, clears, lane, state, posts, token, words = row
    key = JobKey(account, feed, Window(start, end), dag_id, run_id)
    return Job(job_id, key, clears, lane, Stage(state), posts, token, words)
