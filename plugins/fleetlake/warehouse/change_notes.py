"""Word of what a publication changed, for whoever builds on the table: vehicle-days in ``ops.change``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from fleetlake.contracts import Contract
from fleetlake.reading import FLEET
from fleetlake.warehouse.ddl import identifier
from fleetlake.warehouse.late_notes import LateNotes
from fleetlake.warehouse.records import LoadRecord, ReadRecord

if TYPE_CHECKING:
    from fleetlake.coverage import Interval

_CHANGED = sql.Identifier("pg_temp", "fleetlake_changed")
_NEWLY_PROVEN = """
SELECT DISTINCT n.scope, day::date
FROM unnest(%(scopes)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS n (scope, low, high)
CROSS JOIN LATERAL unnest(
    tstzmultirange(tstzrange(n.low, n.high)) - coalesce((
        SELECT range_agg(tstzrange(c.window_start, c.window_end))
        FROM ops.coverage c
        WHERE c.account = %(account)s AND c.dataset = %(dataset)s AND c.scope = n.scope
            AND c.state IN ('complete', 'empty_confirmed') AND c.window_start < n.high AND c.window_end > n.low
    ), tstzmultirange())
) AS fresh
CROSS JOIN LATERAL generate_series(
    date_trunc('day', lower(fresh) AT TIME ZONE 'UTC'),
    (upper(fresh) AT TIME ZONE 'UTC') - interval '1 microsecond',
    interval '1 day'
) AS day
"""
"""Vehicle-days of the intervals that were not proven before."""


class ChangeNotes:
    """Notes of one publication, kept in its transaction until they are left behind.

    Args:
        connection: the transaction.
        contract: the table.
    """

    def __init__(self, connection: psycopg.Connection[Any], contract: Contract) -> None:
        self._connection = connection
        self._contract = contract
        self._late = LateNotes(connection, contract)

    def count(self, statement: sql.Composed, values: dict[str, Any] | None = None, *, inserts: bool = False) -> int:
        """Carry out a statement on the table, noting the vehicle-days it touches; returns its rows.

        Args:
            statement: changes rows of the table, which it calls ``t``.
            values: its parameters.
            inserts: the rows are new: their ages are noted too.
        """
        self._make()
        ages, aged = self._late.clause() if inserts else (sql.SQL(""), sql.SQL(""))
        query = sql.SQL(
            "WITH touched AS ({} RETURNING {}{}), noted AS (INSERT INTO {} SELECT DISTINCT scope, day FROM touched){}"
            " SELECT count(*) FROM touched"
        ).format(statement, self._vehicle_day("t"), ages, _CHANGED, aged)
        row = self._connection.execute(query, values).fetchone()
        return int(row[0]) if row else 0

    def note_left_days(self, stage: sql.Identifier) -> None:
        """Note the vehicle-days that rows are about to leave, where a row's time or vehicle may change."""
        contract = self._contract
        movable = [name for name in (contract.time_column, self._vehicle_column) if name and name not in contract.key]
        if not movable:
            return
        self._note(
            sql.SQL("SELECT DISTINCT {} FROM {} t JOIN {} s ON {} WHERE ({}) IS DISTINCT FROM ({})").format(
                self._vehicle_day("t"),
                identifier(contract.table),
                stage,
                sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(name)) for name in contract.key),
                sql.SQL(", ").join(sql.Identifier("t", name) for name in movable),
                sql.SQL(", ").join(sql.Identifier("s", name) for name in movable),
            )
        )

    def note_proofs(self, intervals: Sequence[Interval]) -> None:
        """Note the days that these intervals prove and that were not proven before; call it before they are recorded."""
        if not intervals:
            return
        self._late.note_proofs(intervals)
        self._note(
            sql.SQL(_NEWLY_PROVEN),
            {
                "account": intervals[0].account,
                "dataset": self._contract.table,
                "scopes": [item.scope for item in intervals],
                "starts": [item.window.start for item in intervals],
                "ends": [item.window.end for item in intervals],
            },
        )

    def note_load(self, record: LoadRecord) -> None:
        """Note which of the touched vehicle-days had been proven; call it before proofs are recorded."""
        if record.state == "published":
            self._make()
            self._late.note_touched(record.account, _CHANGED)

    def note_reads(self, records: Sequence[ReadRecord]) -> None:
        """Note what was read; call it before it is recorded."""
        self._late.note_reads(records)

    def leave(self, record: LoadRecord) -> None:
        """Write what was noted into ``ops.change`` and the tables about lateness."""
        self._late.leave(record)
        self._make()
        self._connection.execute(
            sql.SQL(
                "INSERT INTO ops.change (account, dataset, scope, day, load_id, dag_id, run_id)"
                " SELECT DISTINCT %s, %s, scope, day, %s, %s, %s FROM {}"
            ).format(_CHANGED),
            [record.account, record.dataset, record.load_id, record.dag_id, record.run_id],
        )

    @property
    def _vehicle_column(self) -> str | None:
        """Column with the vehicle: a table that is read fleet-wide may still say in each row which one it is about."""
        contract = self._contract
        return contract.scope_column or next((column.name for column in contract.columns if column.references), None)

    def _make(self) -> None:
        self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS fleetlake_changed (scope text, day date) ON COMMIT DROP")

    def _note(self, query: sql.Composable, values: dict[str, Any] | None = None) -> None:
        self._make()
        self._connection.execute(sql.SQL("INSERT INTO {} {}").format(_CHANGED, query), values)

    def _vehicle_day(self, row: str) -> sql.Composed:
        """Vehicle and UTC day of a row, as far as the table knows them."""
        contract = self._contract
        vehicle: sql.Composable = sql.Literal(FLEET)
        if self._vehicle_column:
            column = sql.Identifier(row, self._vehicle_column)
            vehicle = sql.SQL("coalesce({}::text, {})").format(column, sql.Literal(FLEET))
        day: sql.Composable = sql.SQL("NULL::date")
        if contract.time_column:
            day = sql.SQL("({} AT TIME ZONE 'UTC')::date").format(sql.Identifier(row, contract.time_column))
        return sql.SQL("{} AS scope, {} AS day").format(vehicle, day)
