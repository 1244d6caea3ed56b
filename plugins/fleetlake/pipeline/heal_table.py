"""What self-healing knows: ``ops.heal``, and the holes it may take on."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from fleetlake.coverage.cover import common, without
from fleetlake.window import Window

_COLUMNS = (
    "account, dataset, scope, window_start, window_end, attempts, first_at, tried_at, next_at, run_id, reason, gave_up_at,"
    " reopens, contract_version"
)
_REASON = 500
"""Characters of a reason that are kept."""


@dataclass(frozen=True, kw_only=True)
class Hole:
    """A time that self-healing may mend: a row of ``ops.hole``."""

    dataset: str
    scope: str
    window: Window


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What was tried: a row of ``ops.heal``; its columns say what the attributes are."""

    dataset: str
    scope: str
    window: Window
    attempts: int
    first_at: dt.datetime
    tried_at: dt.datetime
    next_at: dt.datetime | None
    run_id: str | None
    reason: str | None
    gave_up_at: dt.datetime | None
    reopens: bool
    contract_version: str

    def blocks(self, run_id: str, now: dt.datetime) -> bool:
        """A run must leave it alone: it is given up, another run is at it, or its time has not come."""
        if self.gave_up_at is not None:
            return True
        return self.run_id != run_id and self.next_at is not None and self.next_at > now


class HealTable:
    """``ops.heal`` of one account, within an open transaction.

    Args:
        connection: the transaction; nothing is committed here.
        account: name of the account.
    """

    def __init__(self, connection: psycopg.Connection[Any], account: str) -> None:
        self._connection = connection
        self._account = account

    def lock(self) -> None:
        """One run at a time decides about the account's holes; the lock ends with the transaction."""
        self._connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"fleetlake:heal:{self._account}"]
        )

    def now(self) -> dt.datetime:
        """The server's time."""
        [(now,)] = self._connection.execute("SELECT clock_timestamp()")
        found: dt.datetime = now
        return found

    def forget_mended(self) -> None:
        """Holes that somebody has mended need no memory."""
        self._connection.execute(
            "DELETE FROM ops.heal t WHERE t.account = %s AND EXISTS (SELECT FROM ops.coverage c WHERE c.account = t.account"
            " AND c.dataset = t.dataset AND c.scope = t.scope AND c.state IN ('complete', 'empty_confirmed')"
            " AND c.window_start <= t.window_start AND c.window_end >= t.window_end)",
            [self._account],
        )

    def reopen(self, versions: Mapping[str, str], *, everything: bool = False) -> int:
        """Try again what was given up and has a new chance: its vehicle could be read since, or its contract is another.

        Args:
            versions: versions of the contracts, by table.
            everything: a person wants all of it tried again.

        Returns:
            Entries reopened.
        """
        return self._connection.execute(
            "DELETE FROM ops.heal t USING unnest(%(tables)s::text[], %(versions)s::text[]) AS v (dataset, version)"
            " WHERE t.account = %(account)s AND t.gave_up_at IS NOT NULL AND v.dataset = t.dataset AND ("
            "  %(everything)s OR v.version <> t.contract_version OR t.reopens AND EXISTS ("
            "   SELECT FROM ops.coverage c WHERE c.account = t.account AND c.dataset = t.dataset AND c.scope = t.scope"
            "   AND c.state IN ('complete', 'empty_confirmed') AND c.recorded_at > t.gave_up_at))",
            {
                "tables": list(versions),
                "versions": list(versions.values()),
                "account": self._account,
                "everything": everything,
            },
        ).rowcount

    def holes(self, limit: int) -> list[Hole]:
        """What is self-healing's to mend, oldest first; at most ``limit`` of them."""
        rows = self._connection.execute(
            "SELECT dataset, scope, window_start, window_end FROM ops.hole WHERE account = %s AND next_by = 'self-heal'"
            " ORDER BY window_start, dataset, scope LIMIT %s",
            [self._account, limit],
        )
        return [Hole(dataset=row[0], scope=row[1], window=Window(row[2], row[3])) for row in rows]

    def trials(self, *, run_id: str | None = None) -> dict[tuple[str, str], list[Trial]]:
        """What was tried, by dataset and scope; with ``run_id`` only what that run has taken on and not told about."""
        query = f"SELECT {_COLUMNS} FROM ops.heal WHERE account = %s"
        values = [self._account]
        if run_id is not None:
            query += " AND run_id = %s"
            values.append(run_id)
        found: dict[tuple[str, str], list[Trial]] = defaultdict(list)
        for row in self._connection.execute(query, values):
            found[row[1], row[2]].append(_trial(row))
        return found

    def take(self, pieces: Iterable[Hole], run_id: str, versions: Mapping[str, str], until: dt.datetime) -> None:
        """A run takes on pieces of holes: nobody else does before ``until``. The attempt counts from here on."""
        now, known = self.now(), self.trials()
        for piece in pieces:
            old = [trial for trial in known.get((piece.dataset, piece.scope), ()) if common(trial.window, piece.window)]
            own = [trial for trial in old if trial.run_id == run_id]
            before = max((trial.attempts for trial in old), default=0)
            new = Trial(
                dataset=piece.dataset,
                scope=piece.scope,
                window=piece.window,
                attempts=max(before, 1) if own else before + 1,  # a task that is tried again tries nothing more
                first_at=min((trial.first_at for trial in old), default=now),
                tried_at=now,
                next_at=until,
                run_id=run_id,
                reason=next((trial.reason for trial in old if trial.reason), None),
                gave_up_at=None,
                reopens=True,
                contract_version=versions[piece.dataset],
            )
            self.replace(old, [*(part for trial in old for part in _rest(trial, piece.window)), new])
            kept = [trial for trial in known.get((piece.dataset, piece.scope), ()) if trial not in old]
            known[piece.dataset, piece.scope] = [*kept, *(part for trial in old for part in _rest(trial, piece.window)), new]

    def replace(self, old: Sequence[Trial], new: Sequence[Trial]) -> None:
        """Write entries in place of others."""
        for trial in old:
            self._connection.execute(
                "DELETE FROM ops.heal WHERE account = %s AND dataset = %s AND scope = %s AND window_start = %s",
                [self._account, trial.dataset, trial.scope, trial.window.start],
            )
        for trial in new:
            self._connection.execute(
                f"INSERT INTO ops.heal ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    self._account,
                    trial.dataset,
                    trial.scope,
                    trial.window.start,
                    trial.window.end,
                    trial.attempts,
                    trial.first_at,
                    trial.tried_at,
                    trial.next_at,
                    trial.run_id,
                    trial.reason[:_REASON] if trial.reason else None,
                    trial.gave_up_at,
                    trial.reopens,
                    trial.contract_version,
                ],
            )

    def has_worked(self, trial: Trial) -> bool:
        """The vehicle could be read, some other day of it, while this was tried: it is the day that cannot be read."""
        row = self._connection.execute(
            "SELECT EXISTS (SELECT FROM ops.coverage WHERE account = %s AND dataset = %s AND scope = %s"
            " AND state IN ('complete', 'empty_confirmed') AND recorded_at > %s)",
            [self._account, trial.dataset, trial.scope, trial.first_at],
        ).fetchone()
        return bool(row and row[0])

    def unannounced(self) -> list[tuple[str, str, int, float]]:
        """What was given up and nobody was told: dataset, reason, scopes, days; the greatest loss first."""
        rows = self._connection.execute(
            "SELECT dataset, coalesce(split_part(reason, ':', 1), ''), count(DISTINCT scope)::int,"
            " sum(extract(epoch FROM window_end - window_start))::float / 86400 FROM ops.heal"
            " WHERE account = %s AND gave_up_at IS NOT NULL AND alerted_at IS NULL GROUP BY 1, 2 ORDER BY 4 DESC, 1, 2",
            [self._account],
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def announced(self) -> None:
        """People were told of everything that is given up."""
        self._connection.execute(
            "UPDATE ops.heal SET alerted_at = now() WHERE account = %s AND gave_up_at IS NOT NULL AND alerted_at IS NULL",
            [self._account],
        )


def _rest(trial: Trial, taken: Window) -> list[Trial]:
    return [replace(trial, window=part) for part in without(trial.window, [taken])]


def _trial(row: Sequence[Any]) -> Trial:
    _, dataset, scope, start, end, attempts, first_at, tried_at, next_at, run_id, reason, gave_up_at, reopens, version = row
    return Trial(
        dataset=dataset,
        scope=scope,
        window=Window(start, end),
        attempts=attempts,
        first_at=first_at,
        tried_at=tried_at,
        next_at=next_at,
        run_id=run_id,
        reason=reason,
        gave_up_at=gave_up_at,
        reopens=reopens,
        contract_version=version,
    )
