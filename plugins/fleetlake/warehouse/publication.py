"""The transaction that publishes one batch: rows, load, reads, coverage, quality and quarantine together."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from psycopg import sql

from fleetlake.changes import Change, Deletion, conform
from fleetlake.contracts import LOADED_AT, PROVENANCE, Contract
from fleetlake.errors import ContractError
from fleetlake.warehouse import ledger, quarantine
from fleetlake.warehouse.change_notes import ChangeNotes
from fleetlake.warehouse.ddl import column_list, identifier
from fleetlake.warehouse.overtaken import Asked, Newer, newer
from fleetlake.warehouse.records import CheckRecord, LoadRecord, QuarantineRecord, ReadRecord

if TYPE_CHECKING:
    from fleetlake.coverage import Interval

_STAGE = sql.Identifier("pg_temp", "fleetlake_stage")
_PRESENT = sql.Identifier("pg_temp", "fleetlake_present")
_ASKED = sql.Identifier("pg_temp", "fleetlake_asked")
_COPY_ROWS = 20_000


class Publication:
    """An open transaction on one table, with its writers' lock held. Made by ``Warehouse.publishing``.

    Args:
        connection: in the transaction.
        contract: the table.
        moment: time of the publication, UTC: what every time of writing in this transaction says.
    """

    def __init__(self, connection: psycopg.Connection[Any], contract: Contract, moment: dt.datetime) -> None:
        self.moment = moment
        self._connection = connection
        self._contract = contract
        self._table = identifier(contract.table)
        self._batches: list[pa.Table] = []
        self._is_staged = False
        self._newest: dt.datetime | None = None
        self._notes = ChangeNotes(connection, contract)

    # --- rows -----------------------------------------------------------------------------------------------------

    def stage(self, batch: pa.Table) -> None:
        """Add rows to the batch; columns as ``Contract.all_columns``, JSON as text. May be called several times."""
        self._batches.append(batch)

    def upsert(self, load_id: str) -> Change:
        """Publish the staged rows under the rules of ``fleetlake.changes``.

        Raises:
            DataError: the batch does not fit the contract, or PostgreSQL cannot hold a value.
        """
        rows = self._copy_stage(load_id)
        if not rows:
            return Change()
        self._notes.note_left_days(_STAGE)
        updated = self._notes.count(self._update_statement())
        inserted = self._notes.count(self._insert_statement(), inserts=True)
        quarantine.settle_taken(self._connection, self._contract.table, _STAGE, self.moment)
        return Change(inserted=inserted, updated=updated, unchanged=rows - inserted - updated)

    def mark_deleted(self, deletion: Deletion, load_id: str) -> Change:
        """Mark the rows that a complete answer lacks; call it after ``upsert``, also for an empty batch.

        Raises:
            ContractError: the deletion names scopes or a window, and the contract has no such column.
        """
        self._copy_stage(load_id)
        contract = self._contract
        conditions = [
            sql.SQL("t.account = %(account)s AND t.deleted_at IS NULL AND t.fetched_at <= %(at)s"),
            sql.SQL("NOT EXISTS (SELECT FROM {} s WHERE {})").format(_STAGE, self._same_key("s")),
        ]
        values: dict[str, Any] = {"account": deletion.account, "at": deletion.at, "load_id": load_id}
        if deletion.scopes is not None:
            column = contract.column(_needed(contract.scope_column, "scopeColumn", contract))
            conditions.append(
                sql.SQL("t.{} = ANY(%(scopes)s::{}[])").format(sql.Identifier(column.name), sql.SQL(column.type))
            )
            values["scopes"] = list(deletion.scopes)
        if deletion.window is not None:
            time = sql.Identifier(_needed(contract.time_column, "timeColumn", contract))
            conditions.append(sql.SQL("t.{0} >= %(start)s AND t.{0} < %(end)s").format(time))
            values |= {"start": deletion.window.start, "end": deletion.window.end}
        if deletion.present is not None and deletion.present.num_rows:
            self._copy_present(deletion.present)
            conditions.append(sql.SQL("NOT EXISTS (SELECT FROM {} p WHERE {})").format(_PRESENT, self._same_key("p")))
        gone = sql.SQL("UPDATE {} t SET deleted_at = %(at)s, load_id = %(load_id)s, loaded_at = {} WHERE {}").format(
            self._table, sql.Literal(self.moment), sql.SQL(" AND ").join(conditions)
        )
        return Change(deleted=self._notes.count(gone, values))

    def is_published(self, load_id: str) -> str | None:
        """Journal entry of a load that is published already, empty when it has none; ``None`` when it is not published."""
        row = self._connection.execute(
            "SELECT coalesce(journal, '') FROM ops.load WHERE load_id = %s AND state = 'published'", [load_id]
        ).fetchone()
        return None if row is None else str(row[0])

    # --- what is known about the batch ------------------------------------------------------------------------------

    def record_load(self, record: LoadRecord) -> None:
        """Write the batch's row of ``ops.load``; of one that says published only the place in the journal changes."""
        self._notes.note_load(record)
        window, change = record.window, record.change
        values: dict[str, Any] = {
            "load_id": record.load_id,
            "account": record.account,
            "dataset": record.dataset,
            "contract_version": record.contract_version,
            "feed": record.feed,
            "kind": record.kind,
            "lane": record.lane,
            "dag_id": record.dag_id,
            "run_id": record.run_id,
            "partition": record.partition,
            "window_start": window.start if window else None,
            "window_end": window.end if window else None,
            "scopes": record.scopes,
            "pages": record.pages,
            "bytes": record.bytes,
            "rows_read": record.rows_read,
            "rows_inserted": change.inserted,
            "rows_updated": change.updated,
            "rows_unchanged": change.unchanged,
            "rows_deleted": change.deleted,
            "rows_quarantined": record.rows_quarantined,
            "rows_outside_window": record.rows_outside_window,
            "newest_event_time": self._newest,
            "state": record.state,
            "reason": record.reason,
            "fetched_from": record.fetched_from,
            "fetched_to": record.fetched_to,
            "started_at": record.started_at,
            "published_at": self.moment,
            "journal": record.journal,
            "reading": record.reading,
        }
        self._write("load", ["load_id"], [values], "ops.load.state <> 'published'")
        if record.journal:
            self._connection.execute(
                "UPDATE ops.load SET journal = %s WHERE load_id = %s AND journal IS DISTINCT FROM %s",
                [record.journal, record.load_id, record.journal],
            )

    def record_reads(self, records: Iterable[ReadRecord]) -> None:
        """Write rows of ``ops.read``; a complete read stays complete."""
        records = list(records)
        self._notes.note_reads(records)
        self._write(
            "read",
            ["folder", "dataset"],
            [
                {
                    "folder": item.read,
                    "dataset": item.dataset,
                    "account": item.account,
                    "feed": item.feed,
                    "scope": item.scope,
                    "window_start": item.window_start,
                    "window_end": item.window_end,
                    "dag_id": item.dag_id,
                    "run_id": item.run_id,
                    "clears": item.clears,
                    "fetched_at": item.fetched_at,
                    "vehicles": list(item.vehicles) if item.vehicles else None,
                    "is_believed": item.is_believed,
                    "pages": item.pages,
                    "bytes": item.bytes,
                    "rows": item.rows,
                    "is_complete": item.is_complete,
                    "is_skipped": item.is_skipped,
                    "is_held": item.is_held,
                    "cursor_to": item.cursor_to,
                    "load_id": item.load_id,
                    "published_at": self.moment,
                }
                for item in records
            ],
            "NOT ops.read.is_complete",
            keep=("published_at",),
        )

    def newer(self, feed: str, account: str, reads: Iterable[Asked]) -> list[Newer]:
        """Published answers that are newer than some reads of one feed, about the same vehicles and times.

        Ask within the transaction that publishes: nobody else publishes into the table meanwhile.
        """
        return newer(self._connection, account, feed, self._contract.table, reads)

    def absent(self, rows: pa.Table) -> list[int]:
        """Positions of those of some rows (at least the columns of ``Contract.key``) whose keys the table does not hold."""
        if not rows.num_rows:
            return []
        keys = list(self._contract.key)
        self._execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_ASKED))
        self._execute(
            sql.SQL("CREATE TEMP TABLE fleetlake_asked ON COMMIT DROP AS SELECT {}, 0 AS place FROM {} WITH NO DATA").format(
                column_list(keys), self._table
            )
        )
        self._copy(_ASKED, rows.select(keys).append_column("place", pa.array(range(rows.num_rows), pa.int32())))
        self._execute(sql.SQL("ANALYZE {}").format(_ASKED))
        query = sql.SQL("SELECT place FROM {} p WHERE NOT EXISTS (SELECT FROM {} t WHERE {}) ORDER BY 1")
        return [row[0] for row in self._connection.execute(query.format(_ASKED, self._table, self._same_key("p")))]

    def interrupted(self, load_id: str) -> str | None:
        """Place of the journal entry of a publication that was begun and never ended; ``None`` when there is none.

        Args:
            load_id: of the batch that is about to be published: its own publication it completes itself.
        """
        row = self._connection.execute(
            "SELECT p.journal FROM ops.publishing p WHERE p.dataset = %s AND p.load_id <> %s AND NOT EXISTS"
            " (SELECT FROM ops.load l WHERE l.load_id = p.load_id AND l.journal = p.journal)",
            [self._contract.table, load_id],
        ).fetchone()
        return None if row is None else str(row[0])

    def record_quality(self, load_id: str, account: str, dataset: str, checks: Iterable[CheckRecord]) -> None:
        """Write rows of ``ops.quality_result``; another result of the same check replaces it."""
        self._write(
            "quality_result",
            ["load_id", "check_name", "column_name"],
            [
                {
                    "load_id": load_id,
                    "account": account,
                    "dataset": dataset,
                    "check_name": item.check,
                    "column_name": item.column or "",
                    "severity": item.severity,
                    "success": item.success,
                    "rows_checked": item.rows_checked,
                    "rows_failed": item.rows_failed,
                    "expected": item.expected,
                    "observed": item.observed,
                    "checked_at": self.moment,
                }
                for item in checks
            ],
            "(ops.quality_result.severity, ops.quality_result.success, ops.quality_result.rows_checked,"
            " ops.quality_result.rows_failed, ops.quality_result.expected, ops.quality_result.observed)"
            " IS DISTINCT FROM (excluded.severity, excluded.success, excluded.rows_checked, excluded.rows_failed,"
            " excluded.expected, excluded.observed)",
        )

    def record_quarantine(
        self, records: Iterable[QuarantineRecord], pages: Sequence[str] = (), *, reopen: bool = True
    ) -> None:
        """Write what the batch sets aside; what its pages held and it does not find any more is settled.

        Args:
            records: what it sets aside.
            pages: its pages.
            reopen: a finding that was settled is open again.
        """
        records = list(records)
        quarantine.record(self._connection, records, self.moment, reopen=reopen)
        found = [item.id for item in records]
        quarantine.settle_judged(self._connection, self._contract.table, pages, found, self.moment)

    def resolve_older(self, folders: Iterable[str]) -> None:
        """Close entries of ``ops.quarantine`` from older readings of what some whole reads have now brought anew.

        Args:
            folders: folders of those reads in the raw store; their parent names feed, window and scope.
        """
        quarantine.settle_older(self._connection, self._contract.table, folders, self.moment)

    def drop_quarantined(self, ids: Sequence[str], reason: str, by: str) -> int:
        """Settle entries of ``ops.quarantine`` on a person's word; returns how many were open."""
        return quarantine.drop(self._connection, ids, reason, by, self.moment)

    def supersede_held(self, load_id: str) -> None:
        """A load that is held is held no longer: the batch was judged again as another load."""
        self._connection.execute("UPDATE ops.load SET state = 'superseded' WHERE load_id = %s AND state = 'held'", [load_id])

    def record_coverage(self, intervals: Iterable[Interval], *, supersede: bool = False) -> None:
        """Record what is known about completeness; ``supersede`` replaces even proofs."""
        intervals = list(intervals)
        self._notes.note_proofs([item for item in intervals if item.state.is_proven])
        ledger.record(self._connection, intervals, supersede=supersede, at=self.moment)

    def record_changes(self, record: LoadRecord) -> None:
        """Leave word of the vehicle-days that this batch changed, for whoever builds on this table; call it last."""
        self._notes.leave(record)

    def advance_cursor(
        self, account: str, dataset: str, scope: str, revision: str, since: dt.datetime | None = None
    ) -> None:
        """Move a stream's cursor on; it never moves back.

        Args:
            account: account.
            dataset: table name of the contract.
            scope: vehicle, device or fleet.
            revision: last revision published.
            since: where the stream began; counts only when the cursor is new.
        """
        self._connection.execute(
            "INSERT INTO ops.cursor AS c (account, dataset, scope, revision, since, updated_at) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (account, dataset, scope) DO UPDATE SET revision = excluded.revision,"
            " since = coalesce(c.since, excluded.since), updated_at = excluded.updated_at"
            " WHERE excluded.revision > c.revision",
            [account, dataset, scope, revision, since, self.moment],
        )

    # --- inside -----------------------------------------------------------------------------------------------------

    def _copy_stage(self, load_id: str) -> int:
        """Bring the staged batch into a temporary table, once; returns its rows."""
        if self._is_staged:
            return 0
        self._is_staged = True
        contract = self._contract
        self._execute(
            sql.SQL("CREATE TEMP TABLE fleetlake_stage ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                column_list([column.name for column in contract.all_columns]), self._table
            )
        )
        if not self._batches:
            return 0
        table = conform(contract, pa.concat_tables(self._batches, promote_options="default"), load_id)
        if contract.time_column and table.num_rows:
            self._newest = pc.max(table[contract.time_column]).as_py()
        self._copy(_STAGE, table)
        self._execute(sql.SQL("ANALYZE {}").format(_STAGE))  # without it the join is planned for an empty table
        return int(table.num_rows)

    def _copy_present(self, present: pa.Table) -> None:
        keys = list(self._contract.key)
        self._execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_PRESENT))
        self._execute(
            sql.SQL("CREATE TEMP TABLE fleetlake_present ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                column_list(keys), self._table
            )
        )
        self._copy(_PRESENT, present.select(keys))
        self._execute(sql.SQL("ANALYZE {}").format(_PRESENT))

    def _copy(self, target: sql.Identifier, table: pa.Table) -> None:
        command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(target, column_list(table.column_names))
        starts = range(0, table.num_rows, _COPY_ROWS)
        with (
            ThreadPoolExecutor(1) as pool,
            self._connection.cursor() as cursor,
            cursor.copy(command) as copy,
        ):
            # While PostgreSQL takes one part, Arrow writes the next.
            coming = pool.submit(_as_csv, table.slice(0, _COPY_ROWS))
            for start in starts:
                part, coming = coming, pool.submit(_as_csv, table.slice(start + _COPY_ROWS, _COPY_ROWS))
                copy.write(part.result())

    def _same_key(self, other: str) -> sql.Composed:
        return sql.SQL(" AND ").join(
            sql.SQL("t.{0} = {1}.{0}").format(sql.Identifier(name), sql.Identifier(other)) for name in self._contract.key
        )

    def _update_statement(self) -> sql.Composed:
        contract = self._contract
        *provenance, deleted_at = (column.name for column in PROVENANCE)
        content = [column.name for column in contract.columns if not column.is_key]
        is_newer = sql.SQL("s.fetched_at >= greatest(t.fetched_at, t.deleted_at)")
        values: dict[str, sql.Composable] = {
            name: sql.SQL("s.{}").format(sql.Identifier(name)) for name in (*content, deleted_at, *provenance)
        }
        condition: sql.Composable = is_newer
        if contract.merge == "coalesce":
            choice = sql.SQL("CASE WHEN {} THEN {} ELSE {} END")
            for name in content:
                pair = sql.SQL("coalesce(s.{0}, t.{0})"), sql.SQL("coalesce(t.{0}, s.{0})")
                values[name] = choice.format(is_newer, *(item.format(sql.Identifier(name)) for item in pair))
            for name in (deleted_at, "fetched_at", "raw_page", "raw_row"):
                own = sql.SQL("t.{}").format(sql.Identifier(name))
                values[name] = choice.format(is_newer, values[name], own)
            condition = sql.SQL("true")
        compared = (*content, deleted_at)
        return sql.SQL(
            "UPDATE {table} t SET {assignments}, {loaded_at} = {moment} FROM {stage} s"
            " WHERE {same_key} AND {condition} AND ({old}) IS DISTINCT FROM ({new})"
        ).format(
            table=self._table,
            stage=_STAGE,
            loaded_at=sql.Identifier(LOADED_AT.name),
            moment=sql.Literal(self.moment),
            assignments=sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in values.items()
            ),
            same_key=self._same_key("s"),
            condition=condition,
            old=sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in compared),
            new=sql.SQL(", ").join(values[name] for name in compared),
        )

    def _insert_statement(self) -> sql.Composed:
        names = column_list([column.name for column in self._contract.all_columns])
        return sql.SQL(
            "INSERT INTO {table} AS t ({names}, {loaded_at}) SELECT {names}, {moment} FROM {stage} s"
            " WHERE NOT EXISTS (SELECT FROM {table} t WHERE {same_key})"
        ).format(
            table=self._table,
            names=names,
            loaded_at=sql.Identifier(LOADED_AT.name),
            moment=sql.Literal(self.moment),
            stage=_STAGE,
            same_key=self._same_key("s"),
        )

    def _write(
        self,
        table: str,
        key: list[str],
        rows: list[dict[str, Any]],
        condition: str | None = None,
        *,
        keep: Sequence[str] = (),
    ) -> None:
        """Insert rows; those that are there are replaced, but for the columns to keep, where the condition allows it."""
        if not rows:
            return
        names = list(rows[0])
        statement = sql.SQL("INSERT INTO ops.{} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}{}").format(
            sql.Identifier(table),
            column_list(names),
            sql.SQL(", ").join(sql.Placeholder(name) for name in names),
            column_list(key),
            sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names if name not in (*key, *keep)
            ),
            sql.SQL(f" WHERE {condition}" if condition else ""),
        )
        with self._connection.cursor() as cursor:
            cursor.executemany(statement, rows)

    def _execute(self, statement: sql.Composed, values: list[Any] | None = None) -> psycopg.Cursor[Any]:
        return self._connection.execute(statement, values)


def _as_csv(table: pa.Table) -> memoryview:
    """Rows as CSV. Arrow quotes every text and no null, and PostgreSQL tells an empty text from null by the quotes."""
    buffer = io.BytesIO()
    pa_csv.write_csv(table, buffer, pa_csv.WriteOptions(include_header=False))
    return buffer.getbuffer()


def _needed(column: str | None, what: str, contract: Contract) -> str:
    if column is None:
        raise ContractError(
            f"rows of {contract.table} cannot be marked deleted this way: it has no {what}", where=str(contract.path)
        )
    return column
