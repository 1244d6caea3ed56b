"""Schema ``fleet`` in the warehouse: tables, comments, indexes and the view, as the model declares them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from fleetlake.fleet_tables import FleetTable
from fleetlake.warehouse.ddl import CATALOG, ExistingTable, identifier, read_catalog

Connection = psycopg.Connection[Any]


def prepare(connection: Connection, tables: Mapping[str, FleetTable], folder: Path) -> bool:
    """Make schema ``fleet`` what the model says, in the open transaction.

    Its tables are projections: one whose columns or key have changed is dropped and made anew, empty.

    Args:
        connection: in a transaction; vendors' tables are there.
        tables: the model.
        folder: ``include/sql/fleet``.

    Returns:
        All must be built: a stored table is new and empty, or the queries are others than those of the last build. Queue
        that in the same transaction.
    """
    connection.execute("CREATE SCHEMA IF NOT EXISTS fleet")
    connection.execute("COMMENT ON SCHEMA fleet IS 'One set of tables for all vendors: vehicles, trips, days, events.'")
    existing = read_catalog(connection.execute(CATALOG, [["fleet"]]).fetchall())
    stored = [table for table in tables.values() if table.grain != "view"]
    stale = [table for table in stored if table.table in existing and not _fits(table, existing[table.table])]
    fresh = [table for table in stored if table.table not in existing] + stale
    if stale:
        connection.execute("DROP VIEW IF EXISTS fleet.position")
    for table in stale:
        connection.execute(sql.SQL("DROP TABLE {}").format(identifier(table.table)))
    for table in fresh:
        for statement in _create(table):
            connection.execute(statement)
    for table in stored:
        _comment(connection, table, ExistingTable() if table in fresh else existing[table.table])
    connection.execute((folder / "indexes.sql").read_text().encode())
    for table in tables.values():
        if table.grain == "view":
            _view(connection, table, folder)
    return _is_redefined(connection, tables, folder) or bool(fresh)


def _is_redefined(connection: Connection, tables: Mapping[str, FleetTable], folder: Path) -> bool:
    """Remember what the rows are made by; tell whether it is another than remembered. Descriptions do not count."""
    queries = [(path.name, path.read_text()) for path in [folder / "prepare.sql", *sorted(folder.glob("0*.sql"))]]
    shapes = [
        (
            table.table,
            table.grain,
            sorted(table.sources),
            table.key,
            [(column.name, column.type) for column in table.columns],
        )
        for _, table in sorted(tables.items())
    ]
    digest = hashlib.sha256(repr((queries, shapes)).encode()).hexdigest()
    return _remember(connection, "fleet", digest)


def _fits(table: FleetTable, existing: ExistingTable) -> bool:
    wanted = {column.name: column.type for column in table.stored_columns}
    required = {column.name for column in table.stored_columns if column.required}
    return existing.types == wanted and existing.key == list(table.key) and existing.required == required


def _create(table: FleetTable) -> Iterable[sql.Composed]:
    lines = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(column.name), sql.SQL(column.type), sql.SQL(" NOT NULL" if column.required else "")
        )
        for column in table.stored_columns
    ]
    lines.append(sql.SQL("PRIMARY KEY ({})").format(_names(table.key)))
    yield sql.SQL("CREATE TABLE {} ({})").format(identifier(table.table), sql.SQL(", ").join(lines))
    for names in table.indexes:
        yield sql.SQL("CREATE INDEX ON {} ({})").format(identifier(table.table), _names(names))


def _comment(connection: Connection, table: FleetTable, existing: ExistingTable) -> None:
    what = sql.SQL("VIEW" if table.grain == "view" else "TABLE")
    if existing.comment != table.description:
        connection.execute(
            sql.SQL("COMMENT ON {} {} IS {}").format(what, identifier(table.table), sql.Literal(table.description))
        )
    for column in table.stored_columns:
        if existing.comments.get(column.name) != column.comment:
            connection.execute(
                sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                    identifier(table.table), sql.Identifier(column.name), sql.Literal(column.comment)
                )
            )


def _view(connection: Connection, table: FleetTable, folder: Path) -> None:
    """Make the view anew when its query or its texts have changed, or when it went with a dropped vendor table."""
    text = (folder / f"{table.name}.sql").read_text()
    digest = hashlib.sha256((text + repr((table.description, table.columns))).encode()).hexdigest()
    script = f"fleet/{table.name}.sql"
    row = connection.execute(
        "SELECT sha256 FROM ops.script WHERE name = %s AND to_regclass(%s) IS NOT NULL", [script, table.table]
    ).fetchone()
    if row == (digest,):
        return
    connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(identifier(table.table)))
    connection.execute(text.encode())
    _comment(connection, table, ExistingTable())
    _remember(connection, script, digest)


def _remember(connection: Connection, script: str, digest: str) -> bool:
    """Write down what was applied; tell whether it is another than before."""
    return bool(
        connection.execute(
            "INSERT INTO ops.script (name, sha256) VALUES (%s, %s)"
            " ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, applied_at = now()"
            " WHERE script.sha256 <> excluded.sha256",
            [script, digest],
        ).rowcount
    )


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
