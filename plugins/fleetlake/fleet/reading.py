"""Read the tables of schema ``fleet`` back, for digests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import sql

from fleetlake.fleet_tables import FleetTable
from fleetlake.warehouse import Warehouse
from fleetlake.warehouse.ddl import identifier
from fleetlake.window import Window


def rows(
    warehouse: Warehouse, table: FleetTable, account: str | None = None, window: Window | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of a table without ``built_at``, streamed.

    Args:
        warehouse: where they are.
        table: table or view.
        account: only this account's, where the table knows accounts.
        window: only days that begin in it, where the table knows days.

    Raises:
        ConfigError: the model was never built.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, table.names))
    query = sql.SQL("SELECT {} FROM {} WHERE true").format(names, identifier(table.table))
    if account is not None and "account" in table.names:
        query += sql.SQL(" AND account = {}").format(sql.Literal(account))
    if window is not None and "day" in table.names:
        midnight = sql.SQL("day::timestamp AT TIME ZONE 'UTC'")
        query += sql.SQL(" AND {0} >= {1} AND {0} < {2}").format(
            midnight, sql.Literal(window.start.isoformat()), sql.Literal(window.end.isoformat())
        )
    _, found = warehouse.query(query.as_string(None), timeout_s=3600)
    for row in found:
        yield dict(zip(table.names, row, strict=True))
