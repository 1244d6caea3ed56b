"""What a publication tells about lateness: how old new rows were, and which proven vehicle-days have changed after all.

Nothing is read twice for it: ages are taken from the rows that the publication inserts, and only vehicle-days that it has
touched are looked up in the coverage ledger.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from fleetlake.contracts import Contract
from fleetlake.reading import FLEET, Kind
from fleetlake.warehouse.records import LoadRecord, ReadRecord

if TYPE_CHECKING:
    from fleetlake.coverage import Interval

_H, _D = 3600, 86_400
BOUNDS_S: tuple[int, ...] = (
    10, 60, 300, 900, 1800, _H, 2 * _H, 3 * _H, 6 * _H, 12 * _H, _D, 3 * _D // 2,
    *(days * _D for days in (2, 3, 4, 5, 6, 7, 8, 10, 14, 21, 30, 60, 90, 180, 365)),
)  # fmt: skip
"""Bounds of the buckets, seconds; what is older than the last is in one bucket more."""

KEPT_DAYS = 100
"""Days for which findings are kept one by one."""

_AGES = sql.Identifier("pg_temp", "fleetlake_ages")
_LATE = sql.Identifier("pg_temp", "fleetlake_late")
_AGAIN = sql.Identifier("pg_temp", "fleetlake_again")
_DAY = "tstzrange({0}::timestamp AT TIME ZONE 'UTC', ({0}::timestamp + interval '1 day') AT TIME ZONE 'UTC')"
_PROVEN = """(
    SELECT range_agg(tstzrange(v.window_start, v.window_end)) @> {day}
    FROM ops.coverage v
    WHERE v.account = %(account)s AND v.dataset = %(dataset)s AND v.scope = {scope}
        AND v.state IN ('complete', 'empty_confirmed') AND v.window_start < upper({day}) AND v.window_end > lower({day})
)"""
_NOTE_LATE = f"""
INSERT INTO {{late}}
SELECT c.scope, c.day
FROM (SELECT DISTINCT {{scope}} AS scope, day FROM {{changed}} WHERE day IS NOT NULL) c
WHERE {_PROVEN.format(day=_DAY.format("c.day"), scope="c.scope")}
EXCEPT TABLE {{late}}
"""
_NOTE_AGAIN = f"""
INSERT INTO {{again}}
SELECT DISTINCT n.scope, n.day
FROM (
    SELECT scope, day::date AS day
    FROM unnest(%(scopes)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS i (scope, low, high),
        generate_series(
            date_trunc('day', low AT TIME ZONE 'UTC' + interval '1 day' - interval '1 microsecond'),
            high AT TIME ZONE 'UTC' - interval '1 day', interval '1 day'
        ) AS day
) n
WHERE {_PROVEN.format(day=_DAY.format("n.day"), scope="n.scope")}
"""
_AGE = "floor(extract(epoch FROM %(fetched)s - ({0}::timestamp + interval '1 day') AT TIME ZONE 'UTC') / 86400)::integer"
_LEAVE_AGES = """
INSERT INTO ops.lateness AS o (account, dataset, clock, measured_on, below_s, rows, max_s)
SELECT %(account)s, %(dataset)s, clock, %(on)s, below_s, sum(rows), max(max_s)
FROM {ages}
WHERE %(scheduled)s OR clock = 'event_received'
GROUP BY clock, below_s
ON CONFLICT (account, dataset, clock, measured_on, below_s)
DO UPDATE SET rows = o.rows + excluded.rows, max_s = greatest(o.max_s, excluded.max_s)
"""
_LEAVE_LATE = f"""
WITH late AS (
    INSERT INTO ops.late_day (account, dataset, scope, day, load_id, age_days, dag_id, run_id, found_on)
    SELECT %(account)s, %(dataset)s, l.scope, l.day, %(load_id)s, {_AGE.format("l.day")}, %(dag_id)s, %(run_id)s, %(on)s
    FROM {{late}} l
    WHERE {_AGE.format("l.day")} >= 1 AND NOT EXISTS (
        -- Another contract reads other values from the same answer: that is no lateness of the vendor's.
        SELECT FROM ops.load o
        WHERE o.account = %(account)s AND o.dataset = %(dataset)s AND o.contract_version <> %(version)s
            AND o.state = 'published' AND o.published_at >= l.day::timestamp AT TIME ZONE 'UTC'
            AND o.fetched_to >= l.day::timestamp AT TIME ZONE 'UTC'
    )
    ON CONFLICT DO NOTHING
    RETURNING scope, day, age_days
), again AS (
    SELECT DISTINCT scope, day, {_AGE.format("day")} AS age_days FROM {{again}}
), counted AS (
    SELECT age_days, count(*) AS vehicle_days, count(*) FILTER (WHERE is_late) AS late
    FROM (SELECT age_days, (scope, day) IN (SELECT scope, day FROM late) AS is_late FROM again) a
    WHERE age_days >= 1
    GROUP BY age_days
)
INSERT INTO ops.reread AS o (account, dataset, read_on, age_days, vehicle_days, late_vehicle_days)
SELECT %(account)s, %(dataset)s, %(on)s, age_days, vehicle_days, late
FROM counted
WHERE %(scheduled)s
ON CONFLICT (account, dataset, read_on, age_days) DO UPDATE SET vehicle_days = o.vehicle_days + excluded.vehicle_days,
    late_vehicle_days = o.late_vehicle_days + excluded.late_vehicle_days
"""


class LateNotes:
    """Notes of one publication about lateness, kept in its transaction until they are left behind.

    Args:
        connection: the transaction.
        contract: the table; without a time column there is nothing to measure.
    """

    def __init__(self, connection: psycopg.Connection[Any], contract: Contract) -> None:
        self._connection = connection
        self._contract = contract
        self._is_on = contract.time_column is not None
        self._is_made = False

    # --- how old new rows were ----------------------------------------------------------------------------------------

    def clause(self) -> tuple[sql.Composable, sql.Composable]:
        """For a statement that inserts rows: what it returns besides, and the expression (WITH …) that counts it."""
        if not self._is_on:
            return sql.SQL(""), sql.SQL("")
        self._make()
        event = sql.Identifier("t", str(self._contract.time_column))
        received: sql.Composable = sql.SQL("NULL::timestamptz")
        if self._contract.received_column:
            received = sql.Identifier("t", self._contract.received_column)
        returned = sql.SQL(
            ", extract(epoch FROM {received} - {event})::float8 AS event_received,"
            " extract(epoch FROM t.fetched_at - {received})::float8 AS received_fetched,"
            " extract(epoch FROM t.fetched_at - {event})::float8 AS event_fetched"
        ).format(received=received, event=event)
        clocks = ["event_fetched"]
        if self._contract.received_column:
            clocks += ["event_received", "received_fetched"]
        parts = sql.SQL(" UNION ALL ").join(
            sql.SQL(
                "SELECT {text}, ({bounds} || 'Infinity'::float8)[width_bucket({clock}, {bounds}) + 1], count(*), max({clock})"
                " FROM touched WHERE {clock} IS NOT NULL GROUP BY 1, 2"
            ).format(text=sql.Literal(clock), clock=sql.Identifier(clock), bounds=_bounds())
            for clock in clocks
        )
        return returned, sql.SQL(", aged AS (INSERT INTO {} {})").format(_AGES, parts)

    # --- what came after a proof --------------------------------------------------------------------------------------

    def note_reads(self, records: Sequence[ReadRecord]) -> None:
        """Note the reads; of a read that was published before, nothing is learned. Call it before they are recorded."""
        if not self._is_on or not records:
            return
        known = self._connection.execute(
            "SELECT EXISTS (SELECT FROM ops.read WHERE folder = ANY(%s) AND dataset = %s AND is_complete)",
            [[item.read for item in records], self._contract.table],
        ).fetchone()
        self._is_on = known != (True,)

    def note_touched(self, account: str, changed: sql.Identifier) -> None:
        """Note which proven vehicle-days have changed. Call it before the publication records proofs of its own.

        Args:
            account: whose rows they are.
            changed: table with the vehicle-days (scope, day) that this publication has touched.
        """
        if not self._is_on:
            return
        self._make()
        scope: sql.Composable = sql.SQL("scope") if self._contract.scope_column else sql.Literal(FLEET)
        self._connection.execute(
            sql.SQL(_NOTE_LATE).format(late=_LATE, changed=changed, scope=scope),
            {"account": account, "dataset": self._contract.table},
        )

    def note_proofs(self, intervals: Sequence[Interval]) -> None:
        """Note the proven vehicle-days that these intervals prove anew. Call it before they are recorded."""
        if not self._is_on or not intervals or self._contract.kind is not Kind.WINDOW:
            return
        self._make()
        self._connection.execute(
            sql.SQL(_NOTE_AGAIN).format(again=_AGAIN),
            {
                "account": intervals[0].account,
                "dataset": self._contract.table,
                "scopes": [item.scope for item in intervals],
                "starts": [item.window.start for item in intervals],
                "ends": [item.window.end for item in intervals],
            },
        )

    def leave(self, record: LoadRecord) -> None:
        """Write what was noted into ``ops.lateness``, ``ops.late_day`` and ``ops.reread``."""
        # Rows that another feed than the table's own brings come at their own time.
        if not self._is_on or not self._is_made or record.fetched_to is None or record.feed != self._contract.feed:
            return
        on = record.fetched_to.astimezone(dt.UTC).date()
        values = {
            "account": record.account,
            "dataset": record.dataset,
            "load_id": record.load_id,
            "dag_id": record.dag_id,
            "run_id": record.run_id,
            "version": record.contract_version,
            "fetched": record.fetched_to,
            "on": on,
            "scheduled": record.is_scheduled,
        }
        self._connection.execute(sql.SQL(_LEAVE_AGES).format(ages=_AGES), values)
        self._connection.execute(sql.SQL(_LEAVE_LATE).format(late=_LATE, again=_AGAIN), values)
        self._connection.execute(
            "DELETE FROM ops.late_day WHERE account = %s AND dataset = %s AND found_on < %s",
            [record.account, record.dataset, on - dt.timedelta(days=KEPT_DAYS)],
        )

    def _make(self) -> None:
        if self._is_made:
            return
        self._is_made = True
        self._connection.execute(
            "CREATE TEMP TABLE fleetlake_ages (clock text, below_s float8, rows bigint, max_s float8) ON COMMIT DROP;"
            "CREATE TEMP TABLE fleetlake_late (scope text, day date) ON COMMIT DROP;"
            "CREATE TEMP TABLE fleetlake_again (scope text, day date) ON COMMIT DROP"
        )


def _bounds() -> sql.Composable:
    return sql.SQL("{}::float8[]").format(sql.Literal([float(bound) for bound in BOUNDS_S]))
