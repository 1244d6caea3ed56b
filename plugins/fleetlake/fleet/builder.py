"""Build schema ``fleet``: take up what changed, build the vehicle-days it concerns, write only what differs.

A build runs in small transactions. What is taken up goes into the queue ``ops.model_unit`` in the transaction that removes it
from ``ops.change``; a batch of the queue is built and removed in one more. So a build that is killed loses nothing: the next
one goes on with the queue.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import sql

from fleetlake.contracts import load_contracts
from fleetlake.fleet import entities, structure, units
from fleetlake.fleet.identity import resolve
from fleetlake.fleet.mapping import read_vehicle_file
from fleetlake.fleet.merge import Counts, merge
from fleetlake.fleet_tables import FleetTable, load_fleet_tables
from fleetlake.settings import Settings
from fleetlake.warehouse import Warehouse

Connection = psycopg.Connection[Any]

BATCH = 100
"""Vehicle-days built in one transaction: their samples still fit in memory; larger batches sort on disk and take twice as long."""

_LOCK_TIMEOUT = "30min"
_WORK_MEM = "64MB"  # a batch's samples are sorted in memory

_PICK = {
    # grain -> which entries of the queue it builds
    "vehicle_day": "day IS NOT NULL AND account = ''",
    "vehicle": "day IS NULL",
    "account_day": "account <> ''",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a build did.

    Attributes:
        build_id: its number in ``ops.model_build``.
        is_full: all was built anew.
        changes: entries of ``ops.change`` taken up.
        waiting: entries left, because their run is not over.
        held: vehicle-days left in the queue, because a run is still loading them.
        units: vehicle-days (and vehicles, and account-days) built.
        inserted, updated, deleted: rows of schema ``fleet`` written.
        restatements: rows of ``ops.restatement`` written.
        vehicles: rows of ``fleet.vehicle``.
        conflicts: rows of ``fleet.vehicle_conflict``.
        seconds: how long it took, waiting for another build not counted.
    """

    build_id: int
    is_full: bool
    changes: int
    waiting: int
    held: int
    units: int
    inserted: int
    updated: int
    deleted: int
    restatements: int
    vehicles: int
    conflicts: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON and XCom."""
        return asdict(self)


def build(
    settings: Settings,
    full: bool = False,
    *,
    warehouse: Warehouse | None = None,
    batch: int = BATCH,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Bring schema ``fleet`` up to date with the vendors' tables, the mapping file and the coverage ledger.

    Only one build runs at a time; another one waits for it.

    Args:
        settings: where include and warehouse are.
        full: build every vehicle-day anew; rows that are right already stay as they are.
        warehouse: an open one to use instead of that of the settings.
        batch: vehicle-days per transaction.
        on_progress: called after each batch with the units built and the entries of the queue that remain.

    Raises:
        ConfigError: the mapping file or the model is wrong, or no warehouse is configured.
        StoreConflict: another build took too long.
        StoreUnavailable: the warehouse cannot be reached. The next build goes on where this one ended.
    """
    if warehouse is None:
        with Warehouse(settings.require_warehouse()) as opened:
            return build(settings, full, warehouse=opened, batch=batch, on_progress=on_progress)
    file = read_vehicle_file(settings.include)
    tables = load_fleet_tables(settings.include)
    with warehouse.session() as connection:
        _lock(connection)
        # Vendors without an account have tables too, so that one query fits every house.
        warehouse.migrate(load_contracts(settings.include), settings.include)
        builder = _Builder(connection, tables, settings, batch)
        return builder.run(file, full=full, on_progress=on_progress)


def status(warehouse: Warehouse) -> dict[str, Any]:
    """How the model stands: what waits, the last build, conflicts, and restatements of the last seven days."""
    with warehouse.session() as connection:
        if connection.execute("SELECT to_regclass('fleet.vehicle')").fetchone() == (None,):
            return {"built": False}
        row = connection.execute(
            """
            SELECT (SELECT count(*) FROM ops.change), (SELECT count(DISTINCT (vehicle_key, account, day)) FROM ops.model_unit),
                (SELECT count(*) FROM fleet.vehicle), (SELECT count(*) FROM fleet.vehicle_day),
                (SELECT count(*) FROM fleet.vehicle_conflict),
                (SELECT count(*) FROM ops.restatement WHERE restated_at > now() - interval '7 days'),
                (SELECT max(ended_at) FROM ops.model_build),
                (SELECT count(*) FROM ops.model_build WHERE ended_at IS NULL)
            """
        ).fetchone()
    names = (
        "changes_waiting", "units_waiting", "vehicles", "vehicle_days", "conflicts", "restatements_7_days", "last_build_at",
        "unfinished_builds",
    )  # fmt: skip
    return {"built": True, **dict(zip(names, row or (), strict=True))}


def _lock(connection: Connection) -> None:
    """Wait until no other build runs; the lock ends with the connection, however that ends."""
    connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
    connection.execute("SELECT pg_advisory_lock(hashtextextended('fleetlake:model', 0))")
    connection.commit()


class _Builder:
    def __init__(self, connection: Connection, tables: dict[str, FleetTable], settings: Settings, batch: int) -> None:
        self._connection = connection
        self._tables = tables
        self._folder = settings.include / "sql" / "fleet"
        self._patience = dt.timedelta(hours=settings.model_patience_h)
        self._batch = batch
        self._build_id = 0
        # In the order of their files' numbers: a mart reads those before it.
        self._marts = [
            (tables[f"fleet.{path.stem.partition('_')[2]}"], path.read_text())
            for path in sorted(self._folder.glob("0*.sql"))
        ]

    def run(self, file: Any, *, full: bool, on_progress: Callable[[int, int], None] | None) -> Report:
        started = time.monotonic()
        with self._transaction() as connection:
            # One transaction: tables made anew, empty, are never without the full build in the queue.
            full = structure.prepare(connection, self._tables, self._folder) or full
            connection.execute("CREATE TEMP TABLE held (vehicle_key text, day date)")
            changes, counts = self._take_up(connection, file, full=full)
            left = self._count(connection, "ops.model_unit")
        built = 0
        for grain in _PICK:
            while number := self._build_batch(grain):
                built += number[0]
                counts += number[1]
                left -= number[2]
                if on_progress:
                    on_progress(built, left)
        with self._transaction() as connection:
            for table, query in self._marts:
                if table.grain == "whole":
                    counts += merge(connection, table, query)
            vehicles, conflicts, waiting, held = self._finish(connection, built, counts)
        return Report(
            build_id=self._build_id,
            is_full=full,
            changes=changes,
            waiting=waiting,
            held=held,
            units=built,
            inserted=counts.inserted,
            updated=counts.updated,
            deleted=counts.deleted,
            restatements=counts.restated,
            vehicles=vehicles,
            conflicts=conflicts,
            seconds=round(time.monotonic() - started, 3),
        )

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._connection.transaction():
            yield self._connection

    def _take_up(self, connection: Connection, file: Any, *, full: bool) -> tuple[int, Counts]:
        """Who is who, and what is to be done: all in one transaction."""
        row = connection.execute("INSERT INTO ops.model_build (is_full) VALUES (%s) RETURNING build_id", [full]).fetchone()
        self._build_id = row[0] if row else 0
        units.remember_identities(connection)
        counts = entities.write(connection, self._tables, resolve(entities.read_entities(connection), file))
        units.queue_moved(connection, self._tables, full=full)
        return units.take_changes(connection, self._tables, self._patience), counts

    def _build_batch(self, grain: str) -> tuple[int, Counts, int] | None:
        """Build the next units: how many, what was written, entries of the queue done; ``None`` when there are none."""
        with self._transaction() as connection:
            connection.execute(
                sql.SQL(
                    "CREATE TEMP TABLE unit ON COMMIT DROP AS SELECT vehicle_key, account, day FROM ops.model_unit q WHERE {}"
                    " AND NOT EXISTS (SELECT FROM pg_temp.held h WHERE h.vehicle_key = q.vehicle_key AND h.day = q.day)"
                    " GROUP BY day, vehicle_key, account ORDER BY day, vehicle_key, account LIMIT {}"
                ).format(sql.SQL(_PICK[grain]), sql.Literal(self._batch))
            )
            number = self._count(connection, "pg_temp.unit")
            if not number:
                return None
            held = units.hold(connection, self._patience)
            if held == number:
                return 0, Counts(), 0
            number -= held
            causes = self._describe_units(connection)
            counts = Counts()
            marts = [(table, query) for table, query in self._marts if table.grain == grain]
            if grain == "vehicle_day":
                connection.execute(f"SET LOCAL work_mem = '{_WORK_MEM}'".encode())
                connection.execute((self._folder / "prepare.sql").read_text().encode())
            for table, query in marts:
                if causes & {*table.sources, "identity", "full"}:
                    counts += merge(connection, table, query, self._build_id if grain == "vehicle_day" else None)
            done = connection.execute(
                "DELETE FROM ops.model_unit m USING pg_temp.cause c WHERE m.unit_id = c.unit_id"
            ).rowcount
            connection.execute(
                "UPDATE ops.model_build SET units = units + %s, restatements = restatements + %s WHERE build_id = %s",
                [number, counts.restated, self._build_id],
            )
        return number, counts, done

    def _describe_units(self, connection: Connection) -> set[str]:
        """Why the units are built, and which of them had been published as complete."""
        connection.execute(
            """
            CREATE TEMP TABLE cause ON COMMIT DROP AS
            SELECT m.unit_id, m.vehicle_key, m.day, m.cause, m.load_id
            FROM ops.model_unit m
            JOIN pg_temp.unit u
                ON u.vehicle_key = m.vehicle_key AND u.account = m.account AND u.day IS NOT DISTINCT FROM m.day
            """
        )
        connection.execute(
            """
            ALTER TABLE pg_temp.unit ADD COLUMN was_complete boolean;
            UPDATE pg_temp.unit u SET was_complete = EXISTS (
                SELECT FROM fleet.vehicle_day d
                WHERE d.vehicle_key = u.vehicle_key AND d.day = u.day AND d.trust_notes NOT LIKE '%not proven complete%'
            );
            ANALYZE pg_temp.unit;
            ANALYZE pg_temp.cause
            """
        )
        return {row[0] for row in connection.execute("SELECT DISTINCT cause FROM pg_temp.cause")}

    def _finish(self, connection: Connection, built: int, counts: Counts) -> tuple[int, int, int, int]:
        connection.execute(
            "UPDATE ops.model_build SET ended_at = clock_timestamp(), units = %s, rows_inserted = %s, rows_updated = %s,"
            " rows_deleted = %s, restatements = %s WHERE build_id = %s",
            [built, counts.inserted, counts.updated, counts.deleted, counts.restated, self._build_id],
        )
        # What a killed build left open was finished by this one.
        connection.execute("UPDATE ops.model_build SET ended_at = clock_timestamp() WHERE ended_at IS NULL")
        return (
            self._count(connection, "fleet.vehicle"),
            self._count(connection, "fleet.vehicle_conflict"),
            self._count(connection, "ops.change"),
            self._count(connection, "pg_temp.held"),
        )

    @staticmethod
    def _count(connection: Connection, table: str) -> int:
        row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        return int(row[0]) if row else 0
