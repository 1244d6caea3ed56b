"""Coverage in the database: the interval logic of ``coverage`` applied to thousands of scopes at once."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg import sql

from fleetlake.coverage import Interval, State, carve, clip, merge, overlay, refused
from fleetlake.window import Window

_COLUMNS = (
    "account", "dataset", "scope", "window_start", "window_end", "state", "proof", "rows", "fetched_at", "load_id", "run_id"
)  # fmt: skip

_TOUCHED = """
SELECT c.scope, c.window_start, c.window_end, c.state, c.proof, c.rows, c.fetched_at, c.load_id, c.run_id
FROM {table} c
JOIN unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS n (scope, low, high)
    ON c.scope = n.scope AND c.window_start <= n.high AND c.window_end >= n.low
WHERE c.account = %s AND c.dataset = %s
"""

_LINK = """
UPDATE ops.coverage c SET next_start = n.next_start
FROM unnest(%(scopes)s::text[]) AS s (scope)
CROSS JOIN LATERAL (
    SELECT k.window_start, (
        SELECT min(f.window_start) FROM ops.coverage f
        WHERE f.account = %(account)s AND f.dataset = %(dataset)s AND f.scope = k.scope AND f.window_start > k.window_start
    ) AS next_start, k.next_start AS told
    FROM ops.coverage k
    WHERE k.account = %(account)s AND k.dataset = %(dataset)s AND k.scope = s.scope
    OFFSET 0
) n
WHERE n.told IS DISTINCT FROM n.next_start
    AND c.account = %(account)s AND c.dataset = %(dataset)s AND c.scope = s.scope AND c.window_start = n.window_start
"""
"""Tells intervals where the next one begins. A day appended to its scope changes nothing here."""

Group = dict[str, list[Interval]]
"""Intervals by scope."""


def record(
    connection: psycopg.Connection[Any],
    intervals: Iterable[Interval],
    *,
    supersede: bool = False,
    at: dt.datetime | None = None,
) -> None:
    """Record results within the open transaction, at a moment (default: now); ``coverage.overlay`` says what they change.

    Later results of one call win over earlier ones like later calls do. The cost does not grow with the ledger: a few
    statements per account and dataset, over the intervals that overlap or touch the new ones.
    """
    groups: dict[tuple[str, str], Group] = defaultdict(lambda: defaultdict(list))
    for interval in intervals:
        groups[interval.account, interval.dataset][interval.scope].append(interval)
    for account, dataset in sorted(groups):  # in order: two transactions cannot wait for each other
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"fleetlake:coverage:{account}:{dataset}"]
        )
        news = groups[account, dataset]
        known = _touched(connection, "coverage", account, dataset, news)
        attempts = _touched(connection, "coverage_attempt", account, dataset, news)
        known_after, attempts_after = {}, {}
        for scope, added in news.items():
            now, tried = list(known.get(scope, ())), list(attempts.get(scope, ()))
            for new in added:
                kept_out = [] if supersede else refused(now, new)
                now = overlay(now, new, supersede=supersede)
                tried = carve(tried, new.window)
                tried = merge([*tried, *kept_out])
            known_after[scope], attempts_after[scope] = now, tried
        changed = _replace(connection, "coverage", account, dataset, known, known_after, at)
        if changed:
            connection.execute(_LINK, {"account": account, "dataset": dataset, "scopes": sorted(changed)})
        _replace(connection, "coverage_attempt", account, dataset, attempts, attempts_after, at)


def covered(connection: psycopg.Connection[Any], account: str, dataset: str, scopes: Sequence[str], window: Window) -> Group:
    """What is known about a window: intervals by scope, cut to the window, in order; every scope has an entry."""
    asked: Group = {scope: [] for scope in scopes}
    if not asked:
        return asked
    query = sql.SQL(_TOUCHED).format(table=sql.Identifier("ops", "coverage"))
    names = list(asked)
    low, high = [window.start] * len(names), [window.end] * len(names)
    for row in connection.execute(query, [names, low, high, account, dataset]):
        piece = clip(_interval(account, dataset, row), window)
        if piece is not None:
            asked[piece.scope].append(piece)
    return {scope: sorted(found, key=lambda item: item.window.start) for scope, found in asked.items()}


def retire(connection: psycopg.Connection[Any], account: str, gone: Sequence[str], living: Sequence[str]) -> None:
    """Remember which vehicles are marked deleted, within the open transaction: nothing more is expected of them.

    Vehicles named in neither list stay as they are.
    """
    connection.execute("DELETE FROM ops.retired WHERE account = %s AND scope = ANY(%s)", [account, list(living)])
    connection.execute(
        "INSERT INTO ops.retired (account, scope) SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING",
        [account, list(gone)],
    )


def last_failures(
    connection: psycopg.Connection[Any], account: str, dataset: str, scopes: Sequence[str]
) -> dict[str, dt.datetime]:
    """When scopes were asked last in vain, as far as the ledger remembers; those that were not have no entry."""
    failed = (
        "SELECT c.scope, greatest(c.fetched_at, c.recorded_at) AS at FROM {} c WHERE c.account = %(account)s"
        " AND c.dataset = %(dataset)s AND c.scope = ANY(%(scopes)s) AND c.state IN ('failed', 'partial')"
        " AND c.fetched_at IS NOT NULL"  # else nobody asked
    )
    query = " UNION ALL ".join(failed.format(table) for table in ("ops.coverage", "ops.coverage_attempt"))
    rows = connection.execute(
        f"SELECT scope, max(at) FROM ({query}) AS failed GROUP BY scope",
        {"scopes": list(scopes), "account": account, "dataset": dataset},
    )
    return {row[0]: row[1] for row in rows}


def _touched(connection: psycopg.Connection[Any], table: str, account: str, dataset: str, news: Group) -> Group:
    scopes = list(news)
    low = [min(item.window.start for item in news[scope]) for scope in scopes]
    high = [max(item.window.end for item in news[scope]) for scope in scopes]
    found: Group = defaultdict(list)
    query = sql.SQL(_TOUCHED).format(table=sql.Identifier("ops", table))
    for row in connection.execute(query, [scopes, low, high, account, dataset]):
        found[row[0]].append(_interval(account, dataset, row))
    return found


def _replace(
    connection: psycopg.Connection[Any],
    table: str,
    account: str,
    dataset: str,
    before: Group,
    after: Group,
    at: dt.datetime | None,
) -> set[str]:
    """Write the difference, rows that stay as they are cost nothing; returns the scopes that differ."""
    old = {item for items in before.values() for item in items}
    new = {item for items in after.values() for item in items}
    gone, come = old - new, new - old
    name = sql.Identifier("ops", table)
    if gone:
        connection.execute(
            sql.SQL(
                "DELETE FROM {} c USING unnest(%s::text[], %s::timestamptz[]) AS n (scope, window_start)"
                " WHERE c.account = %s AND c.dataset = %s AND c.scope = n.scope AND c.window_start = n.window_start"
            ).format(name),
            [[item.scope for item in gone], [item.window.start for item in gone], account, dataset],
        )
    if come:
        columns = sql.SQL(", ").join(map(sql.Identifier, [*_COLUMNS, "recorded_at"]))
        recorded_at = at or dt.datetime.now(dt.UTC)
        with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(name, columns)) as copy:
            for item in come:
                copy.write_row(
                    [
                        account, dataset, item.scope, item.window.start, item.window.end, item.state.value, item.proof,
                        item.rows, item.fetched_at, item.load_id, item.run_id, recorded_at,
                    ]
                )  # fmt: skip
    return {item.scope for item in gone | come}


def _interval(account: str, dataset: str, row: Sequence[Any]) -> Interval:
    scope, start, end, state, proof, rows, fetched_at, load_id, run_id = row
    return Interval(
        account=account,
        dataset=dataset,
        scope=scope,
        window=Window(start, end),
        state=State(state),
        proof=proof,
        rows=rows,
        fetched_at=fetched_at,
        load_id=load_id,
        run_id=run_id,
    )
