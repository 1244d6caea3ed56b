"""Tables from contracts: what a table must look like, and the statements that make it so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql

from fleetlake.contracts import LOADED_AT, Column, Contract
from fleetlake.errors import ContractError


@dataclass
class ExistingTable:
    """A table as the database has it: type, not-null and comment of each column, its comment and key."""

    types: dict[str, str] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    comments: dict[str, str | None] = field(default_factory=dict)
    comment: str | None = None
    key: list[str] = field(default_factory=list)


CATALOG = """
SELECT n.nspname || '.' || c.relname AS "table", a.attname AS "column",
    replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz') AS type,
    a.attnotnull AS required, col_description(c.oid, a.attnum) AS comment, obj_description(c.oid, 'pg_class') AS table_comment,
    array_position(k.conkey, a.attnum) AS key_position
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p')
ORDER BY 1, a.attnum
"""
"""Query for ``read_catalog``; its parameter is the list of schemas."""


def read_catalog(rows: list[tuple[str, str, str, bool, str | None, str | None, int | None]]) -> dict[str, ExistingTable]:
    """Tables by name from the rows of ``CATALOG``."""
    tables: dict[str, ExistingTable] = {}
    keys: dict[str, dict[int, str]] = {}
    for name, column, kind, required, comment, table_comment, key_position in rows:
        table = tables.setdefault(name, ExistingTable(comment=table_comment))
        table.types[column] = kind
        table.comments[column] = comment
        if required:
            table.required.add(column)
        if key_position is not None:
            keys.setdefault(name, {})[key_position] = column
    for name, positions in keys.items():
        tables[name].key = [positions[position] for position in sorted(positions)]
    return tables


def identifier(table: str) -> sql.Identifier:
    """A qualified name, quoted."""
    return sql.Identifier(*table.split("."))


def column_list(names: Mapping[str, object] | list[str] | tuple[str, ...], prefix: str = "") -> sql.Composed:
    """Quoted column names, separated by commas; with a prefix ``t.``."""
    return sql.SQL(", ").join(sql.SQL(prefix) + sql.Identifier(name) for name in names)


def table_columns(contract: Contract) -> tuple[Column, ...]:
    """Columns of the warehouse table, in order."""
    return (*contract.all_columns, LOADED_AT)


def column_comment(column: Column) -> str:
    """Comment of a column: its meaning and, in brackets, its unit."""
    return f"{column.description} [{column.unit}]" if column.unit else column.description


def statements(contract: Contract, existing: ExistingTable | None) -> list[sql.Composed]:
    """What must be executed so that the table is as the contract says; nothing when it is.

    Raises:
        ContractError: the table exists with another key, or a column with another type.
    """
    todo = _create(contract) if existing is None else _extend(contract, existing)
    table = identifier(contract.table)
    description = f"{contract.description} (contract {contract.version})"
    if existing is None or existing.comment != description:
        todo.append(sql.SQL("COMMENT ON TABLE {} IS {}").format(table, sql.Literal(description)))
    for column in table_columns(contract):
        comment = column_comment(column)
        if existing is None or existing.comments.get(column.name) != comment:
            todo.append(
                sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(table, sql.Identifier(column.name), sql.Literal(comment))
            )
    return todo


def _create(contract: Contract) -> list[sql.Composed]:
    table = identifier(contract.table)
    lines = [
        sql.SQL("{} {}{}{}").format(
            sql.Identifier(column.name),
            sql.SQL(column.type),
            sql.SQL(" NOT NULL" if column.required else ""),
            sql.SQL(" DEFAULT now()" if column is LOADED_AT else ""),
        )
        for column in table_columns(contract)
    ]
    lines.append(sql.SQL("PRIMARY KEY ({})").format(column_list(contract.key)))
    todo = [
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(contract.vendor)),
        sql.SQL("CREATE TABLE {} ({})").format(table, sql.SQL(", ").join(lines)),
    ]
    if contract.time_column:
        lookup = [name for name in ("account", contract.scope_column, contract.time_column) if name]
        if contract.key[: len(lookup)] != tuple(lookup):
            todo.append(sql.SQL("CREATE INDEX ON {} ({})").format(table, column_list(lookup)))
        # Rows arrive roughly in order of time: a few kilobytes find the days of a large table.
        todo.append(sql.SQL("CREATE INDEX ON {} USING brin ({})").format(table, sql.Identifier(contract.time_column)))
    return todo


def _extend(contract: Contract, existing: ExistingTable) -> list[sql.Composed]:
    table = identifier(contract.table)
    where = str(contract.path or contract.table)
    again = "drop the table and load its days again: see `A contract's type or key has changed` in docs/runbook.md"
    if existing.key != list(contract.key):
        raise ContractError(
            f"the key of {contract.table} is {', '.join(existing.key) or 'missing'} in the warehouse"
            f" and {', '.join(contract.key)} in the contract",
            where=where,
            remedy=f"give the table a new name, or {again}",
        )
    todo = []
    names = {column.name for column in table_columns(contract)}
    for column in table_columns(contract):
        name = sql.Identifier(column.name)
        if column.name not in existing.types:
            # Rows that are there have no value: the column stays nullable, the checks demand values of new rows.
            todo.append(sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(table, name, sql.SQL(column.type)))
        elif existing.types[column.name] != column.type:
            raise ContractError(
                f"column {contract.table}.{column.name} is {existing.types[column.name]} in the warehouse"
                f" and {column.type} in the contract",
                where=where,
                remedy=f"give the column a new name, or {again}",
            )
        elif column.name in existing.required and not column.required:
            todo.append(sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(table, name))
    # What the contract no longer names keeps its values; new rows have none.
    relax = sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL")
    return todo + [relax.format(table, sql.Identifier(gone)) for gone in sorted(existing.required - names)]
