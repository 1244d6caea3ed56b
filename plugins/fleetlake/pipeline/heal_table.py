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
    " reopens, reopened, contract_version, alerted_at"
)
_PROVEN = "c.state IN ('complete', 'empty_confirmed')"
_SAME_SCOPE = "c.account = t.account AND c.dataset = t.dataset AND c.scope = t.scope"
_QUIET = dt.timedelta(days=7)
"""People are not told sooner than that again of the same vehicle and kind of reason."""
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
    reopened: int
    contract_version: str
    alerted_at: dt.datetime | None

    def given_up(self, reason: str, now: dt.datetime, *, reopens: bool) -> Trial:
        """It is left to a person, who need not be told again of the same kind of reason."""
        known = self.alerted_at if kind_of(reason) == kind_of(self.reason) else None
        return replace(
            self,
            reason=reason,
            run_id=None,
            next_at=None,
            gave_up_at=now,
            reopens=self.reopens and reopens,
            alerted_at=known,
        )

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

        An entry keeps what is known of it. A success of its vehicle reopens it once, each other version of the contract once
        more: a day that cannot be read does not come back every night because its vehicle works otherwise.

        Args:
            versions: versions of the contracts, by table.
            everything: a person wants all of it tried again, as if it had never been tried.

        Returns:
            Entries reopened.
        """
        if everything:
            query = "DELETE FROM ops.heal WHERE account = %s AND gave_up_at IS NOT NULL AND dataset = ANY(%s)"
            return self._connection.execute(query, [self._account, list(versions)]).rowcount
        return self._connection.execute(
            "UPDATE ops.heal t SET gave_up_at = NULL, next_at = now(), reopened = t.reopened + 1, contract_version = v.version,"
            "  reopens = t.reopens AND v.version <> t.contract_version"
            " FROM unnest(%(tables)s::text[], %(versions)s::text[]) AS v (dataset, version)"
            " WHERE t.account = %(account)s AND t.gave_up_at IS NOT NULL AND v.dataset = t.dataset AND ("
            "  v.version <> t.contract_version OR t.reopens AND EXISTS ("
            f"   SELECT FROM ops.coverage c WHERE {_SAME_SCOPE} AND {_PROVEN} AND c.recorded_at > t.gave_up_at))",
            {"tables": list(versions), "versions": list(versions.values()), "account": self._account},
        ).rowcount

    def holes(self, datasets: Iterable[str], run_id: str, now: dt.datetime, midnight: dt.datetime, limit: int) -> list[Hole]:
        """What is self-healing's to mend, oldest first.

        Args:
            datasets: of these tables.
            run_id: the run that asks; see ``Trial.blocks``.
            now: the time.
            midnight: what comes later is the schedule's.
            limit: so many at most; what is blocked altogether is none of them.
        """
        cut = "least(h.window_end, %(midnight)s)"
        rows = self._connection.execute(
            "SELECT dataset, scope, window_start, window_end FROM ops.hole h"
            " WHERE account = %(account)s AND next_by = 'self-heal' AND dataset = ANY(%(datasets)s)"
            f" AND {cut} - h.window_start > coalesce((SELECT sum(least(t.window_end, {cut}) - greatest(t.window_start, h.window_start))"
            "  FROM ops.heal t WHERE t.account = h.account AND t.dataset = h.dataset AND t.scope = h.scope"
            f"  AND t.window_start < {cut} AND t.window_end > h.window_start AND (t.gave_up_at IS NOT NULL"
            "   OR t.run_id IS DISTINCT FROM %(run_id)s AND t.next_at > %(now)s)), interval '0')"
            " ORDER BY window_start, dataset, scope LIMIT %(limit)s",
            {
                "account": self._account,
                "datasets": list(datasets),
                "run_id": run_id,
                "now": now,
                "midnight": midnight,
                "limit": limit,
            },
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
                reopens=all(trial.reopens for trial in old),
                reopened=max((trial.reopened for trial in old), default=0),
                contract_version=versions[piece.dataset],
                alerted_at=max((trial.alerted_at for trial in old if trial.alerted_at), default=None)
                if all(trial.alerted_at for trial in old)
                else None,
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
                f"INSERT INTO ops.heal ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
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
                    trial.reopened,
                    trial.contract_version,
                    trial.alerted_at,
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

    def newly_lost(self) -> list[tuple[str, str, int, float]]:
        """What was given up and people are to be told now: dataset, kind of reason, scopes, days; the greatest loss first.

        Exactly these entries are marked as told. Left out are vehicles of which people know for the same kind of reason: they
        are told again when it had worked in between and ``_QUIET`` has passed.
        """
        rows = self._connection.execute(
            "WITH lost AS (SELECT t.*, coalesce(split_part(t.reason, ':', 1), '') AS kind FROM ops.heal t"
            "  WHERE t.account = %(account)s AND t.gave_up_at IS NOT NULL AND t.alerted_at IS NULL"
            "), new AS (SELECT * FROM lost t WHERE NOT EXISTS (SELECT FROM ops.told o"
            "  WHERE (o.account, o.dataset, o.scope, o.kind) = (t.account, t.dataset, t.scope, t.kind)"
            "  AND (o.told_at > now() - %(quiet)s OR NOT EXISTS ("
            f"   SELECT FROM ops.coverage c WHERE {_SAME_SCOPE} AND {_PROVEN} AND c.recorded_at > o.told_at)))"
            "), marked AS (UPDATE ops.heal t SET alerted_at = now() FROM new WHERE"
            "  (t.account, t.dataset, t.scope, t.window_start) = (new.account, new.dataset, new.scope, new.window_start)"
            "), noted AS (INSERT INTO ops.told (account, dataset, scope, kind, told_at)"
            "  SELECT DISTINCT account, dataset, scope, kind, now() FROM new"
            "  ON CONFLICT (account, dataset, scope, kind) DO UPDATE SET told_at = excluded.told_at)"
            " SELECT dataset, kind, count(DISTINCT scope)::int,"
            " sum(extract(epoch FROM window_end - window_start))::float / 86400 FROM new GROUP BY 1, 2 ORDER BY 4 DESC, 1, 2",
            {"account": self._account, "quiet": _QUIET},
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def raise_alert(self, subject: str, message: str, dag_id: str, run_id: str) -> None:
        """Keep what people are to be told; sending is another step."""
        self._connection.execute(
            "INSERT INTO ops.alert (account, subject, message, dag_id, run_id) VALUES (%s, %s, %s, %s, %s)",
            [self._account, subject, message, dag_id, run_id],
        )

    def unsent(self) -> tuple[int, str, str] | None:
        """The oldest alert that was not sent, which no other process is sending: number, subject, message."""
        row = self._connection.execute(
            "SELECT alert_id, subject, message FROM ops.alert WHERE account = %s AND sent_at IS NULL"
            " ORDER BY alert_id LIMIT 1 FOR UPDATE SKIP LOCKED",
            [self._account],
        ).fetchone()
        return (row[0], row[1], row[2]) if row else None

    def sent(self, alert_id: int) -> None:
        """An alert was sent."""
        self._connection.execute("UPDATE ops.alert SET sent_at = clock_timestamp() WHERE alert_id = %s", [alert_id])


def kind_of(reason: str | None) -> str:
    """Kind of a reason: its words before the colon, as ``newly_lost`` reads it."""
    return (reason or "").partition(":")[0]


def _rest(trial: Trial, taken: Window) -> list[Trial]:
    return [replace(trial, window=part) for part in without(trial.window, [taken])]


def _trial(row: Sequence[Any]) -> Trial:
    _, dataset, scope, start, end, attempts, first_at, tried_at, next_at, run_id, reason, gave_up_at, *more = row
    reopens, reopened, version, alerted_at = more
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
        reopened=reopened,
        contract_version=version,
        alerted_at=alerted_at,
    )
