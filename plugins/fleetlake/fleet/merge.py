"""Bring a table's rows to what a query says they are: only differences are written, and told if they had been published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from fleetlake.fleet_tables import FleetTable
from fleetlake.warehouse.ddl import identifier

Connection = psycopg.Connection[Any]

_SCOPES = {
    "vehicle_day": "t.vehicle_key = u.vehicle_key AND t.day = u.day",
    "account_day": "t.account = u.account AND t.day = u.day",
    "vehicle": "t.vehicle_key = u.vehicle_key",
}
_NULLABLE_VEHICLE = "coalesce(t.vehicle_key, '') = u.vehicle_key AND t.day = u.day"


@dataclass(frozen=True)
class Counts:
    """Rows written."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    restated: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.deleted + other.deleted,
            self.restated + other.restated,
        )


def values_of(table: FleetTable) -> sql.Composed:
    """The columns of a table as they are stored, out of a query ``q`` that makes them."""
    return sql.SQL(", ").join(
        sql.SQL(
            "round(q.{0}::numeric, 6)::float8 AS {0}" if column.type == "double precision" else "q.{0}::{1} AS {0}"
        ).format(sql.Identifier(column.name), sql.SQL(column.type))
        for column in table.columns
    )


def merge(connection: Connection, table: FleetTable, query: str, build_id: int | None = None) -> Counts:
    """Make the rows of ``pg_temp.unit`` (of the whole table, for grain ``whole``) what the query answers.

    Args:
        connection: in a transaction.
        table: what to fill.
        query: a SELECT with the table's columns, in any order, others beside them.
        build_id: write ``ops.restatement`` under this number for units with ``was_complete``; ``None``: for nothing.

    Returns:
        What was written; nothing when all rows are right already.
    """
    columns = values_of(table)
    # A query is ours, from include/sql/fleet: a percent sign in it is no placeholder.
    connection.execute(
        sql.SQL("CREATE TEMP TABLE fresh ON COMMIT DROP AS SELECT {} FROM ({}) q").format(columns, sql.SQL(query))
    )
    connection.execute("ANALYZE pg_temp.fresh")
    restated = _restate(connection, table, build_id) if build_id is not None else 0
    target = identifier(table.table)
    same_key = sql.SQL(" AND ").join(sql.SQL("t.{0} = f.{0}").format(sql.Identifier(name)) for name in table.key)
    content = [name for name in table.names if name not in table.key]
    deleted = connection.execute(
        sql.SQL("DELETE FROM {} t {} NOT EXISTS (SELECT FROM pg_temp.fresh f WHERE {})").format(
            target,
            sql.SQL("WHERE" if table.grain == "whole" else f"USING pg_temp.unit u WHERE {_scope(table)} AND"),
            same_key,
        )
    ).rowcount
    # By key alone: a row may come from another vehicle or day, whose turn is later.
    updated = connection.execute(
        sql.SQL("UPDATE {} t SET {}, built_at = now() FROM pg_temp.fresh f WHERE {} AND ({}) IS DISTINCT FROM ({})").format(
            target,
            sql.SQL(", ").join(sql.SQL("{0} = f.{0}").format(sql.Identifier(name)) for name in content),
            same_key,
            _list(content, "t"),
            _list(content, "f"),
        )
    ).rowcount
    inserted = connection.execute(
        sql.SQL(
            "INSERT INTO {} ({}, built_at) SELECT {}, now() FROM pg_temp.fresh f"
            " WHERE NOT EXISTS (SELECT FROM {} t WHERE {})"
        ).format(target, _list(table.names), _list(table.names, "f"), target, same_key)
    ).rowcount
    connection.execute("DROP TABLE pg_temp.fresh")
    return Counts(inserted, updated, deleted, restated)


def _scope(table: FleetTable) -> str:
    if table.grain == "vehicle_day" and not next(item for item in table.columns if item.name == "vehicle_key").required:
        return _NULLABLE_VEHICLE
    return _SCOPES[table.grain]


def _restate(connection: Connection, table: FleetTable, build_id: int) -> int:
    """Write down what changes in vehicle-days that were published as complete; call it before the rows are written."""
    statement = sql.SQL(
        """
        WITH before AS (
            SELECT {key}, t.vehicle_key AS unit_vehicle, t.day AS unit_day, to_jsonb(t) - 'built_at' AS cells
            FROM {table} t
            JOIN pg_temp.unit u ON {scope}
            WHERE u.was_complete
        ), after AS (
            SELECT {key}, t.vehicle_key AS unit_vehicle, t.day AS unit_day, to_jsonb(t) AS cells
            FROM pg_temp.fresh t
            JOIN pg_temp.unit u ON {scope}
            WHERE u.was_complete
        ), difference AS (
            SELECT coalesce(b.unit_vehicle, a.unit_vehicle) AS vehicle_key, coalesce(b.unit_day, a.unit_day) AS day,
                CASE WHEN b.cells IS NULL THEN 'added' WHEN a.cells IS NULL THEN 'removed' ELSE 'changed' END AS kind,
                b.cells AS before, a.cells AS after
            FROM before b
            FULL JOIN after a USING ({key_names})
            WHERE b.cells IS DISTINCT FROM a.cells
        )
        INSERT INTO ops.restatement
            (table_name, row_key, kind, column_name, before, after, cause, load_ids, vehicle_key, day, build_id)
        SELECT {name},
            (SELECT jsonb_object_agg(k, coalesce(d.after, d.before) -> k) FROM unnest({key_array}::text[]) k),
            d.kind, cell.column_name, cell.before, cell.after, c.cause, c.load_ids, d.vehicle_key, d.day, {build_id}
        FROM difference d
        CROSS JOIN LATERAL (
            SELECT NULL::text AS column_name, d.before, d.after WHERE d.kind <> 'changed'
            UNION ALL
            SELECT e.key, d.before -> e.key, e.value
            FROM jsonb_each(d.after) e
            WHERE d.kind = 'changed' AND e.value IS DISTINCT FROM d.before -> e.key
        ) cell
        CROSS JOIN LATERAL (
            SELECT coalesce(
                    string_agg(DISTINCT c.cause, ', ') FILTER (WHERE c.cause = ANY({sources})),
                    string_agg(DISTINCT c.cause, ', ')
                ) AS cause,
                coalesce(
                    array_agg(DISTINCT c.load_id) FILTER (WHERE c.load_id <> '' AND c.cause = ANY({sources})), '{{}}'
                ) AS load_ids
            FROM pg_temp.cause c
            WHERE c.vehicle_key = d.vehicle_key AND c.day = d.day
        ) c
        """
    ).format(
        key=_list(table.key, "t"),
        key_names=_list(table.key),
        key_array=sql.Literal(list(table.key)),
        table=identifier(table.table),
        scope=sql.SQL(_scope(table)),
        name=sql.Literal(table.table),
        sources=sql.Literal([*sorted(table.sources), "identity"]),
        build_id=sql.Literal(build_id),
    )
    return connection.execute(statement).rowcount


def _list(names: tuple[str, ...] | list[str], row: str | None = None) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(row, name) if row else sql.Identifier(name) for name in names)
