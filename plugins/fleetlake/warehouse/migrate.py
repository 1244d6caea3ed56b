"""Bring a database to what contracts and ``include/sql`` say. Cheap when it is there already, safe when many do it at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from fleetlake.contracts import Contract
from fleetlake.errors import ConfigError
from fleetlake.warehouse.ddl import CATALOG, read_catalog, statements

OLDEST_VERSION = 140000

_SCRIPTS = """
CREATE SCHEMA IF NOT EXISTS ops;
CREATE TABLE IF NOT EXISTS ops.script (name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE ops.script IS 'SQL files of include/sql that were applied.';
COMMENT ON COLUMN ops.script.name IS 'Name of the file.';
COMMENT ON COLUMN ops.script.sha256 IS 'Digest of its content, hexadecimal: another content is applied again.';
COMMENT ON COLUMN ops.script.applied_at IS 'When it was applied last, UTC.';
"""


def migrate(connection: psycopg.Connection[Any], contracts: Sequence[Contract], folder: Path) -> int:
    """Create and extend schemas, tables, comments and the ``ops`` objects.

    Args:
        connection: in no transaction; committed at the end.
        contracts: the tables wanted; others are left alone.
        folder: the SQL files, applied in the order of their names when their content is new.

    Returns:
        Number of statements and files applied.

    Raises:
        ContractError: a table cannot follow its contract.
        ConfigError: the server is too old or there are no SQL files.
    """
    if connection.info.server_version < OLDEST_VERSION:
        raise ConfigError(f"PostgreSQL {connection.info.server_version // 10000} is too old", remedy="use 14 or newer")
    todo, files = _pending(connection, contracts, folder)
    connection.rollback()
    if not todo and not files:
        return 0
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('fleetlake:migrate', 0))")
        # Somebody else may have done it while we waited.
        todo, files = _pending(connection, contracts, folder)
        if files:
            connection.execute(_SCRIPTS)
        for path in files:
            text = path.read_text()
            connection.execute(text.encode())
            connection.execute(
                "INSERT INTO ops.script (name, sha256) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, applied_at = now()",
                [path.name, _digest(text)],
            )
        for statement in todo:
            connection.execute(statement)
    return len(todo) + len(files)


def _pending(
    connection: psycopg.Connection[Any], contracts: Sequence[Contract], folder: Path
) -> tuple[list[sql.Composed], list[Path]]:
    existing = read_catalog(connection.execute(CATALOG, [sorted({item.vendor for item in contracts})]).fetchall())
    todo = [statement for item in contracts for statement in statements(item, existing.get(item.table))]
    paths = sorted(folder.glob("*.sql"))
    if not paths:
        raise ConfigError(
            f"no SQL files in {folder}", where="FLEETLAKE_INCLUDE", remedy="point it at the checkout's include"
        )
    applied: dict[str, str] = {}
    if connection.execute("SELECT to_regclass('ops.script')").fetchone() != (None,):
        applied = dict(connection.execute("SELECT name, sha256 FROM ops.script").fetchall())
    return todo, [path for path in paths if applied.get(path.name) != _digest(path.read_text())]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
