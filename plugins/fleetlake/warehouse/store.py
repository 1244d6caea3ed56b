"""The warehouse as the other rooms see it."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg
import sqlalchemy as sa
from psycopg import sql

from fleetlake.contracts import Contract
from fleetlake.coverage import missing
from fleetlake.errors import ConfigError, FleetlakeError
from fleetlake.settings import Settings
from fleetlake.warehouse import faults, ledger
from fleetlake.warehouse.ddl import column_list, identifier
from fleetlake.warehouse.migrate import migrate
from fleetlake.warehouse.publication import Publication
from fleetlake.warehouse.records import ReadEnd
from fleetlake.warehouse.snapshot import Snapshot
from fleetlake.warehouse.texts import register_text
from fleetlake.window import Window

if TYPE_CHECKING:
    from fleetlake.coverage import Interval

_FETCH_ROWS = 5_000
_LOCK_TIMEOUT = "15min"
_MOMENT = """
INSERT INTO ops.publication AS p (dataset, moment) VALUES (%(dataset)s, coalesce(%(given)s, clock_timestamp()))
ON CONFLICT (dataset) DO UPDATE SET moment = greatest(
    p.moment + CASE WHEN %(given)s IS NULL THEN interval '1 microsecond' ELSE interval '0' END, excluded.moment
)
RETURNING moment
"""
"""The next moment of a table. One that is given moves the clock on, never back."""


class Warehouse:
    """A PostgreSQL database of version 14 or newer. Safe for threads; not to be shared with a forked process.

    Args:
        url: SQLAlchemy URL, ``postgresql+psycopg://user@host/database``. Nothing is connected yet.

    Raises:
        ConfigError: no PostgreSQL URL.

    Every method raises ``StoreUnavailable`` when the server cannot be reached, and ``ConfigError`` when it refuses login or
    database; neither tells the password.
    """

    def __init__(self, url: str) -> None:
        parsed = faults.parse(url)
        self._where = faults.describe(parsed)
        self._engine = sa.create_engine(
            parsed,
            pool_size=1,
            max_overflow=10,
            pool_pre_ping=True,
            connect_args={"options": "-c timezone=UTC", "application_name": "fleetlake", "connect_timeout": 10},
        )

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- structure --------------------------------------------------------------------------------------------------

    def migrate(self, contracts: Sequence[Contract] | Mapping[str, Contract], include: Path | None = None) -> int:
        """Create and extend tables, comments and the ``ops`` objects; cheap when all is there.

        Args:
            contracts: the tables wanted.
            include: folder with ``sql/``; default: that of the settings.

        Returns:
            Number of statements applied.

        Raises:
            ContractError: a table exists with another key, or a column with another type.
        """
        wanted = list(contracts.values()) if isinstance(contracts, Mapping) else list(contracts)
        with self._connection() as connection:
            return migrate(connection, wanted, (include or Settings.from_env().include) / "sql")

    def check(self) -> None:
        """Ask the server for an answer; raises what every method raises."""
        with self._connection() as connection:
            connection.execute("SELECT 1")

    def healthy(self) -> bool:
        """The server answers."""
        try:
            self.check()
        except FleetlakeError:
            return False
        return True

    # --- writing ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def publishing(self, contract: Contract, moment: dt.datetime | None = None) -> Iterator[Publication]:
        """A transaction that publishes into one table, alone: other publishers of the table wait until it ends.

        Args:
            contract: the table.
            moment: when it was published, of a publication that is repeated from the journal; default: now, by the
                server's clock, and later than every publication of the table before.

        Raises:
            StoreConflict: another publisher held the table too long.
        """
        with self._alone(contract) as connection:
            [(latest,)] = connection.execute(_MOMENT, {"dataset": contract.table, "given": moment})
            yield Publication(connection, contract, moment or latest)
            connection.commit()

    def note_publishing(self, dataset: str, load_id: str, journal: str | None) -> None:
        """Write down, at once, what is about to be published into a table whose lock the caller holds.

        Whoever publishes next finds it when this publication does not end: see ``Publication.interrupted``.

        Args:
            dataset: the table, ``schema.table``.
            load_id: the load.
            journal: place of its journal entry; ``None`` = nothing, what was noted is forgotten.
        """
        with self._connection() as connection:
            if journal is None:
                connection.execute("DELETE FROM ops.publishing WHERE dataset = %s AND load_id = %s", [dataset, load_id])
            else:
                connection.execute(
                    "INSERT INTO ops.publishing (dataset, load_id, journal) VALUES (%s, %s, %s) ON CONFLICT (dataset) DO UPDATE"
                    " SET load_id = excluded.load_id, journal = excluded.journal, noted_at = now()",
                    [dataset, load_id, journal],
                )
            connection.commit()

    @contextlib.contextmanager
    def between_publications(self, contract: Contract) -> Iterator[None]:
        """A moment in which nobody publishes into a table: what is done in it should be short.

        Raises:
            StoreConflict: a publisher held the table too long.
        """
        with self._alone(contract):
            yield

    def record_coverage(self, intervals: Iterable[Interval], *, supersede: bool = False) -> None:
        """Record what is known about completeness, outside a publication; ``supersede`` replaces even proofs."""
        with self._connection() as connection:
            ledger.record(connection, intervals, supersede=supersede)
            connection.commit()

    def record_run_end(self, dag_id: str, run_id: str, *, is_complete: bool) -> None:
        """Remember that a run was judged: whoever builds on its rows need not wait for more of them."""
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO ops.run_end (dag_id, run_id, state) VALUES (%s, %s, %s) ON CONFLICT (dag_id, run_id)"
                " DO UPDATE SET state = excluded.state, ended_at = now()",
                [dag_id, run_id, "complete" if is_complete else "incomplete"],
            )
            connection.commit()

    # --- reading ----------------------------------------------------------------------------------------------------

    def rows(
        self,
        contract: Contract,
        window: Window | None = None,
        account: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Rows of a table, streamed: memory does not grow with their number. Rows marked deleted are among them.

        Args:
            contract: the table.
            window: only rows whose time column lies in it; ignored for tables without one.
            account: only this account's.
            columns: names; default: ``Contract.all_columns``.
        """
        names = list(columns) if columns else [column.name for column in contract.all_columns]
        query = sql.SQL("SELECT {} FROM {}").format(column_list(names), identifier(contract.table))
        conditions: list[sql.Composable] = []
        values: list[Any] = []
        if account is not None:
            conditions.append(sql.SQL("account = %s"))
            values.append(account)
        if window is not None and contract.time_column:
            conditions.append(sql.SQL("{0} >= %s AND {0} < %s").format(sql.Identifier(contract.time_column)))
            values += [window.start, window.end]
        if conditions:
            query += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions)
        with self._connection() as connection, connection.cursor("fleetlake_rows", binary=True) as cursor:
            cursor.itersize = _FETCH_ROWS
            cursor.execute(query, values)
            for row in cursor:
                yield dict(zip(names, row, strict=True))

    def forget_run_end(self, dag_id: str, run_id: str) -> None:
        """A run works again: whoever builds on its rows waits for its end."""
        with self._connection() as connection:
            connection.execute("DELETE FROM ops.run_end WHERE dag_id = %s AND run_id = %s", [dag_id, run_id])
            connection.commit()

    def query(self, query: str, timeout_s: float = 300) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Answer one SQL query, in a transaction that cannot write.

        Returns:
            Column names, and the rows, streamed; close the iterator when not reading to its end. Intervals, ranges, and
            dates and times that Python does not know (``infinity``, years BC) come as PostgreSQL's text.

        Raises:
            ConfigError: the query is wrong, tries to write, or takes longer than ``timeout_s`` seconds.
        """
        rows = self._answer(query, timeout_s)
        columns = next(rows)
        return [str(name) for name in columns], rows

    def _answer(self, query: str, timeout_s: float) -> Iterator[tuple[Any, ...]]:
        """The column names first, then the rows."""
        fairy = self._raw_connection()
        connection = fairy.driver_connection
        # A connection of its own: when the reader stops early, an answer is still under way on it.
        fairy.detach()
        try:
            connection.read_only = True
            connection.execute(f"SET LOCAL statement_timeout = {int(timeout_s * 1000)}")
            register_text(connection)
            with connection.cursor() as cursor:
                # Prepared, so that PostgreSQL takes exactly one statement.
                stream = cursor.stream(query.encode())
                first = next(stream, None)
                yield tuple(item.name for item in cursor.description or ()) or _described(connection, query)
                if first is not None:
                    yield first
                    yield from stream
        except psycopg.errors.QueryCanceled:
            raise ConfigError(
                f"the query took longer than {timeout_s:g} s", remedy="narrow it by account and time"
            ) from None
        except psycopg.errors.ReadOnlySqlTransaction:
            raise ConfigError("the query would change data", remedy="write a SELECT") from None
        except psycopg.ProgrammingError as error:
            raise ConfigError(f"the query is wrong: {error}", where="sql", remedy="write one SELECT") from None
        except psycopg.Error as error:
            raise faults.translate(error, self._where) from error
        finally:
            connection.close()

    def known_values(self, reference: str, values: Sequence[Any], account: str) -> set[Any]:
        """Which of some values a column holds; for referential checks.

        Args:
            reference: ``schema.table.column``.
            values: values of the column's type.
            account: only rows of this account.

        Raises:
            ConfigError: there is no such table or column.
        """
        if not values:
            return set()
        table, _, column = reference.rpartition(".")
        query = sql.SQL("SELECT DISTINCT {0} FROM {1} WHERE account = %s AND {0} = ANY(%s)").format(
            sql.Identifier(column), identifier(table)
        )
        with self._connection() as connection:
            return {row[0] for row in connection.execute(query, [account, list(values)])}

    def cursors(self, account: str, dataset: str, scopes: Sequence[str]) -> dict[str, tuple[str, dt.datetime | None]]:
        """Where streams go on and when they began: revision and ``since`` by scope, without the scopes that have none yet."""
        query = "SELECT scope, revision, since FROM ops.cursor WHERE account = %s AND dataset = %s AND scope = ANY(%s)"
        with self._connection() as connection:
            found = connection.execute(query, [account, dataset, list(scopes)])
            return {scope: (revision, since) for scope, revision, since in found}

    def published_reads(self, folders: Sequence[str], datasets: Sequence[str]) -> dict[str, int]:
        """Which reads (folders below the raw store) are published completely, into all of some tables.

        Returns:
            For each folder how often its run had been cleared when the last table was filled from it.
        """
        query = (
            "SELECT folder, max(clears) FROM ops.read WHERE folder = ANY(%s) AND dataset = ANY(%s) AND is_complete"
            " GROUP BY folder HAVING count(*) = %s"
        )
        with self._connection() as connection:
            return dict(connection.execute(query, [list(folders), list(datasets), len(set(datasets))]).fetchall())

    def read_ends(self, folders: Sequence[str], datasets: Sequence[str]) -> dict[str, ReadEnd]:
        """How reads (folders below the raw store) ended that came as far as to be published into some tables, or held."""
        query = (
            "SELECT folder, max(clears), bool_or(is_held), count(*) FILTER (WHERE is_complete OR is_skipped OR is_held) = %s"
            " FROM ops.read WHERE folder = ANY(%s) AND dataset = ANY(%s) GROUP BY folder"
        )
        with self._connection() as connection:
            rows = connection.execute(query, [len(set(datasets)), list(folders), list(datasets)]).fetchall()
        return {folder: ReadEnd(*end) for folder, *end in rows}

    def was_loaded_by_other(self, dag_id: str, partition: str | None, run_id: str) -> bool:
        """Another run of the DAG has loaded the partition already."""
        query = "SELECT EXISTS (SELECT FROM ops.load WHERE dag_id = %s AND partition = %s AND run_id <> %s)"
        with self._connection() as connection:
            row = connection.execute(query, [dag_id, partition, run_id]).fetchone()
        return bool(row and row[0])

    def loads(
        self,
        *,
        account: str | None = None,
        dataset: str | None = None,
        state: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Rows of ``ops.load``, newest first."""
        query = (
            "SELECT * FROM ops.load WHERE account = coalesce(%s, account) AND dataset = coalesce(%s, dataset)"
            " AND state = coalesce(%s, state) ORDER BY published_at DESC, load_id LIMIT %s"
        )
        with self._connection() as connection:
            cursor = connection.execute(query, [account, dataset, state, limit])
            names = [item.name for item in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def covered(self, account: str, dataset: str, scopes: Sequence[str], window: Window) -> dict[str, list[Interval]]:
        """What is known about a window: intervals by scope, cut to the window, in order."""
        with self._connection() as connection:
            return ledger.covered(connection, account, dataset, scopes, window)

    def missing(self, account: str, dataset: str, scopes: Sequence[str], window: Window) -> dict[str, list[Window]]:
        """The parts of a window that are not proven complete or empty; only scopes that have such parts."""
        known = self.covered(account, dataset, scopes, window)
        holes = {scope: missing(intervals, window) for scope, intervals in known.items()}
        return {scope: parts for scope, parts in holes.items() if parts}

    @contextlib.contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of its own for a room with its own SQL; closed at the end, what was not committed is rolled back."""
        fairy = self._raw_connection()
        connection = fairy.driver_connection
        fairy.detach()
        try:
            with faults.reported(self._where):
                yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One unchanging view of all tables, for long readings; what is published meanwhile is not seen."""
        with self.session() as connection:
            yield Snapshot(connection)

    # --- inside -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _alone(self, contract: Contract) -> Iterator[psycopg.Connection[Any]]:
        """A transaction that keeps publishers of a table out."""
        with self._connection() as connection:
            connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"fleetlake:publish:{contract.table}"]
            )
            yield connection

    @contextlib.contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A psycopg connection of the pool; what was not committed is rolled back."""
        fairy = self._raw_connection()
        try:
            with faults.reported(self._where):
                yield fairy.driver_connection
        finally:
            # Returning it rolls back; a broken one is dropped.
            if fairy.driver_connection.closed:
                fairy.invalidate()
            fairy.close()

    def _raw_connection(self) -> Any:
        with faults.reported(self._where):
            return self._engine.raw_connection()


def _described(connection: psycopg.Connection[Any], query: str) -> tuple[str, ...]:
    """Column names of a query without rows."""
    connection.pgconn.prepare(b"fleetlake_described", query.encode())
    result = connection.pgconn.describe_prepared(b"fleetlake_described")
    return tuple((result.fname(index) or b"").decode() for index in range(result.nfields))
