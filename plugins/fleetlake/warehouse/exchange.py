"""Bring tables from one database into another: only what differs is written, all of it in one transaction of the target.

Readers of the target see all tables as they were or all as they are to be, and wait for nothing. Grants, comments, indexes and
views stay, because no table is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from fleetlake.contracts import Contract
from fleetlake.errors import ConfigError
from fleetlake.warehouse.change_notes import ChangeNotes
from fleetlake.warehouse.ddl import column_list, identifier

Connection = psycopg.Connection[Any]

LEDGER = ("load", "read", "coverage", "coverage_attempt", "cursor", "quality_result", "quarantine")
"""Tables of ``ops`` that follow from the journal, each with a column ``dataset``: they become equal."""

LEARNED = ("lateness", "reread", "late_day")
"""Tables of ``ops`` that were learned from what was published: filled where they hold nothing about a table."""

_NEW = sql.Identifier("pg_temp", "fleetlake_new")
_TOUCHED = sql.Identifier("pg_temp", "fleetlake_touched")

_COLUMNS = """
SELECT a.attname, array_position(k.conkey, a.attnum)
FROM pg_attribute a
LEFT JOIN pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'p'
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
"""


@dataclass(frozen=True)
class Difference:
    """How a table differed, in rows.

    Attributes:
        table: the table, ``schema.table``.
        equal: rows that were right.
        new: rows that were missing.
        changed: rows that were different.
        gone: rows that were there and should not be.
    """

    table: str
    equal: int = 0
    new: int = 0
    changed: int = 0
    gone: int = 0

    @property
    def is_equal(self) -> bool:
        """Nothing had to be written."""
        return not (self.new or self.changed or self.gone)


class Exchange:
    """An exchange under way.

    Args:
        source: where the rows are right; in a transaction of its own.
        target: the transaction that makes them so. Who opened it commits it.
    """

    def __init__(self, source: Connection, target: Connection) -> None:
        self._source = source
        self._target = target
        self._execute(
            sql.SQL(
                "CREATE TEMP TABLE IF NOT EXISTS fleetlake_touched"
                " (account text, dataset text, scope text, day date, load_id text) ON COMMIT DROP"
            )
        )

    def lock(self, datasets: Iterable[str]) -> None:
        """Keep publishers of some tables waiting until the transaction ends."""
        for dataset in sorted(datasets):  # in order: two of us cannot wait for each other
            self._execute(sql.SQL("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"), [f"fleetlake:publish:{dataset}"])

    def unknown_loads(self, datasets: Sequence[str]) -> tuple[int, str | None]:
        """Loads of the target that the source does not have: how many, and one of them."""
        self._copy("ops.load", ["load_id"], datasets)
        row = self._execute(
            sql.SQL(
                "SELECT count(*), min(l.load_id) FROM ops.load l WHERE l.dataset = ANY(%s) AND l.state = 'published'"
                " AND NOT EXISTS (SELECT FROM {} n WHERE n.load_id = l.load_id)"
            ).format(_NEW),
            [list(datasets)],
        ).fetchone()
        return (int(row[0]), row[1]) if row else (0, None)

    def held_loads(self, datasets: Sequence[str]) -> list[tuple[str, int, int, str, str | None]]:
        """Loads that the target has published and the source holds.

        Returns:
            By table: the table, how many loads, rows they brought, one of them and why it is held.
        """
        self._copy("ops.load", ["load_id", "state", "reason"], datasets)
        return self._execute(
            sql.SQL(
                "SELECT l.dataset, count(*), sum(l.rows_inserted + l.rows_updated)::bigint,"
                " (array_agg(l.load_id ORDER BY l.load_id))[1], (array_agg(n.reason ORDER BY l.load_id))[1]"
                " FROM ops.load l JOIN {} n USING (load_id)"
                " WHERE l.dataset = ANY(%s) AND l.state = 'published' AND n.state = 'held'"
                " GROUP BY l.dataset ORDER BY l.dataset"
            ).format(_NEW),
            [list(datasets)],
        ).fetchall()

    def table(self, contract: Contract) -> Difference:
        """Make a vendor's table equal, and note the vehicle-days that this changes."""
        columns, key = self._structure(contract.table)
        self._copy(contract.table, columns, None)
        notes = ChangeNotes(self._target, contract)
        self._note_moved(contract, notes, columns, key)
        return self._merge(contract.table, columns, key, None, notes._vehicle_day("t"))

    def ledger(self, name: str, datasets: Sequence[str]) -> Difference:
        """Make the rows of a table of ``ops`` about some tables equal; what became of rows set aside is kept."""
        table = f"ops.{name}"
        columns, key = self._structure(table)
        self._copy(table, columns, datasets)
        if name == "quarantine":
            self._keep_settled(columns, datasets)
        elif name == "load":
            self._execute(
                sql.SQL(
                    "UPDATE {} n SET state = 'superseded' FROM ops.load t WHERE t.load_id = n.load_id"
                    " AND t.state = 'superseded' AND n.state = 'held'"
                ).format(_NEW)
            )
        day = sql.SQL("t.scope, day::date AS day") if name == "coverage" else None
        return self._merge(table, columns, key, datasets, day)

    def fill(self, name: str, datasets: Sequence[str]) -> Difference:
        """Fill a table of ``ops`` about those tables of which it holds nothing."""
        table = f"ops.{name}"
        columns, _ = self._structure(table)
        if not columns:
            return Difference(table)
        known = self._execute(sql.SQL("SELECT DISTINCT dataset FROM {}").format(identifier(table))).fetchall()
        self._copy(table, columns, [item for item in datasets if (item,) not in known])
        names = column_list(columns)
        new = self._execute(
            sql.SQL("INSERT INTO {} ({names}) SELECT {names} FROM {}").format(identifier(table), _NEW, names=names)
        ).rowcount
        return Difference(table, new=new)

    def clock(self, datasets: Sequence[str]) -> None:
        """Move the clocks of some tables on, never back."""
        self._copy("ops.publication", ["dataset", "moment"], datasets)
        self._execute(
            sql.SQL(
                "INSERT INTO ops.publication AS p (dataset, moment) SELECT dataset, moment FROM {}"
                " ON CONFLICT (dataset) DO UPDATE SET moment = excluded.moment WHERE excluded.moment > p.moment"
            ).format(_NEW)
        )

    def leave_word(self, dag_id: str, run_id: str) -> int:
        """Tell the fleet model which vehicle-days have changed, as a run that is over; returns how many."""
        noted = self._execute(
            sql.SQL(
                "INSERT INTO ops.change (account, dataset, scope, day, load_id, dag_id, run_id)"
                " SELECT account, dataset, scope, day, coalesce(max(load_id), ''), %s, %s FROM {}"
                " GROUP BY account, dataset, scope, day"
            ).format(_TOUCHED),
            [dag_id, run_id],
        ).rowcount
        if noted:
            self._execute(
                sql.SQL(
                    "INSERT INTO ops.run_end (dag_id, run_id, state) VALUES (%s, %s, 'complete')"
                    " ON CONFLICT (dag_id, run_id) DO UPDATE SET ended_at = now()"
                ),
                [dag_id, run_id],
            )
        return noted

    def set_aside(self, contract: Contract, schema: str) -> int:
        """Leave a table as ``schema."vendor_table"``, in place of one of that name; returns its rows."""
        target = sql.Identifier(schema, f"{contract.vendor}_{contract.name}")
        self._execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        self._execute(sql.SQL("DROP TABLE IF EXISTS {}").format(target))
        self._execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(target, identifier(contract.table)))
        words = f"{contract.description} Rebuilt from raw, to be looked at."
        self._execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(target, sql.Literal(words)))
        columns, _ = self._structure(contract.table)
        return self._stream(contract.table, target, columns, None)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _structure(self, table: str) -> tuple[list[str], list[str]]:
        """Columns that both databases know, and the key."""
        rows = self._execute(sql.SQL(_COLUMNS), [table]).fetchall()
        theirs = {row[0] for row in self._source.execute(_COLUMNS, [table]).fetchall()}
        columns = [name for name, _ in rows if name in theirs]
        key = [name for name, position in sorted(rows, key=lambda row: row[1] or 0) if position is not None]
        if columns and not set(key) <= set(columns):
            raise ConfigError(f"{table} has another key than its contract", remedy="run `fleetlake migrate`")
        return columns, key

    def _keep_settled(self, columns: Sequence[str], datasets: Sequence[str]) -> None:
        """Bring what became of rows set aside from the target into what is about to replace it.

        A person's word stands. Another settlement stands where the same reading judged the row, or where today's reading
        does not set it aside at all; a row that only today's reading sets aside is open.
        """
        self._execute(
            sql.SQL(
                "UPDATE {} n SET resolved_at = t.resolved_at, resolution = t.resolution, resolved_by = t.resolved_by,"
                " resolution_reason = t.resolution_reason FROM ops.quarantine t WHERE t.quarantine_id = n.quarantine_id"
                " AND (t.resolution = 'dropped' OR (t.resolved_at IS NOT NULL AND n.resolved_at IS NULL"
                " AND t.reading IS NOT DISTINCT FROM n.reading))"
            ).format(_NEW)
        )
        self._execute(
            sql.SQL(
                "INSERT INTO {} ({names}) SELECT {names} FROM ops.quarantine t WHERE t.dataset = ANY(%s)"
                " AND t.resolved_at IS NOT NULL AND NOT EXISTS (SELECT FROM {} n WHERE n.quarantine_id = t.quarantine_id)"
            ).format(_NEW, _NEW, names=column_list(list(columns))),
            [list(datasets)],
        )

    def _copy(self, table: str, columns: Sequence[str], datasets: Sequence[str] | None) -> int:
        """Bring rows of the source into a temporary table of the target."""
        self._execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_NEW))
        self._execute(
            sql.SQL("CREATE TEMP TABLE fleetlake_new ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                column_list(list(columns)), identifier(table)
            )
        )
        rows = self._stream(table, _NEW, columns, datasets)
        self._execute(sql.SQL("ANALYZE {}").format(_NEW))
        return rows

    def _stream(self, table: str, target: sql.Identifier, columns: Sequence[str], datasets: Sequence[str] | None) -> int:
        names = column_list(list(columns))
        condition = sql.SQL("") if datasets is None else sql.SQL(" WHERE dataset = ANY({})").format(list(datasets))
        query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT (FORMAT binary)").format(names, identifier(table), condition)
        command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(target, names)
        with self._source.cursor() as reader, self._target.cursor() as writer:
            with reader.copy(query) as coming, writer.copy(command) as going:
                for block in coming:
                    going.write(block)
            return writer.rowcount

    def _note_moved(self, contract: Contract, notes: ChangeNotes, columns: Sequence[str], key: Sequence[str]) -> None:
        """Note the vehicle-days that rows are about to leave for others."""
        if not {contract.time_column, notes._vehicle_column} - {None, *key}:
            return
        self._execute(
            sql.SQL("INSERT INTO {} SELECT t.account, %s, {}, t.load_id FROM {} t JOIN {} n ON {} WHERE {}").format(
                _TOUCHED,
                notes._vehicle_day("t"),
                identifier(contract.table),
                _NEW,
                _same(key),
                _differs(columns, key),
            ),
            [contract.table],
        )

    def _merge(
        self,
        table: str,
        columns: Sequence[str],
        key: Sequence[str],
        datasets: Sequence[str] | None,
        place: sql.Composable | None,
    ) -> Difference:
        target, same = identifier(table), _same(key)
        mine = sql.SQL("true") if datasets is None else sql.SQL("t.dataset = ANY({})").format(list(datasets))
        rest = [name for name in columns if name not in key]
        gone = sql.SQL("DELETE FROM {} t WHERE {} AND NOT EXISTS (SELECT FROM {} n WHERE {})").format(
            target, mine, _NEW, same
        )
        changed = sql.SQL("UPDATE {} t SET {} FROM {} n WHERE {} AND {}").format(
            target,
            sql.SQL(", ").join(sql.SQL("{0} = n.{0}").format(sql.Identifier(name)) for name in rest),
            _NEW,
            same,
            _differs(columns, key),
        )
        new = sql.SQL(
            "INSERT INTO {} AS t ({names}) SELECT {names} FROM {} n WHERE NOT EXISTS (SELECT FROM {} o WHERE {})"
        ).format(target, _NEW, target, _same(key, "o"), names=column_list(list(columns)))
        counts = [self._noted(statement, table, place) for statement in (gone, changed, new)]
        row = self._execute(sql.SQL("SELECT count(*) FROM {}").format(_NEW)).fetchone()
        rows = int(row[0]) if row else 0
        return Difference(table, equal=rows - counts[1] - counts[2], new=counts[2], changed=counts[1], gone=counts[0])

    def _noted(self, statement: sql.Composed, table: str, place: sql.Composable | None) -> int:
        """Carry out a statement, noting the vehicle-days it touches; returns its rows."""
        if place is None:
            return self._execute(statement).rowcount
        returning: sql.Composable = sql.SQL("t.account, {} AS dataset, {}, t.load_id").format(sql.Literal(table), place)
        places = sql.SQL("SELECT DISTINCT account, dataset, scope, day, load_id FROM touched")
        if table == "ops.coverage":
            returning = sql.SQL("t.account, t.dataset, t.scope, t.window_start, t.window_end, t.load_id")
            places = sql.SQL(
                "SELECT account, dataset, scope, day::date, load_id FROM touched CROSS JOIN LATERAL generate_series("
                "date_trunc('day', window_start AT TIME ZONE 'UTC'),"
                " (window_end AT TIME ZONE 'UTC') - interval '1 microsecond', interval '1 day') AS day"
            )
        query = sql.SQL(
            "WITH touched AS ({} RETURNING {}), noted AS (INSERT INTO {} {}) SELECT count(*) FROM touched"
        ).format(statement, returning, _TOUCHED, places)
        row = self._execute(query).fetchone()
        return int(row[0]) if row else 0

    def _execute(self, statement: sql.SQL | sql.Composed, values: Sequence[Any] | None = None) -> psycopg.Cursor[Any]:
        return self._target.execute(statement, values)


def _same(key: Sequence[str], other: str = "t") -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(other, name), sql.Identifier("n", name)) for name in key
    )


def _differs(columns: Sequence[str], key: Sequence[str]) -> sql.Composed:
    rest = [name for name in columns if name not in key]
    old, new = (sql.SQL(", ").join(sql.Identifier(row, name) for name in rest) for row in ("t", "n"))
    return sql.SQL("({}) IS DISTINCT FROM ({})").format(old, new)
