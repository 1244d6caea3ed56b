"""Where a rebuild works: a second database, a second lake, and the list of entries that are done."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from fleetlake.errors import ConfigError
from fleetlake.lake import Lake
from fleetlake.lake.replacing import remove
from fleetlake.pipeline.entries import COVERAGE, DECISION
from fleetlake.raw import EntryName
from fleetlake.warehouse import Warehouse

if TYPE_CHECKING:
    from fleetlake.pipeline.entries import BatchEntry
    from fleetlake.settings import Settings

_TABLES = """
CREATE SCHEMA IF NOT EXISTS rebuild;
CREATE TABLE IF NOT EXISTS rebuild.about (purpose text NOT NULL);
CREATE TABLE IF NOT EXISTS rebuild.entry (
    path text PRIMARY KEY,
    vendor text NOT NULL,
    dataset text NOT NULL,
    load text NOT NULL,
    digest text NOT NULL,
    moment timestamptz NOT NULL,
    is_done boolean NOT NULL DEFAULT false,
    error text,
    was_published boolean
);
CREATE INDEX IF NOT EXISTS entry_order ON rebuild.entry (vendor, moment, path) WHERE NOT is_done;
CREATE INDEX IF NOT EXISTS entry_load ON rebuild.entry (dataset, load, digest);
CREATE TABLE IF NOT EXISTS rebuild.read (folder text PRIMARY KEY, pages integer NOT NULL)
"""

_OPEN = f"""
FROM rebuild.entry e
WHERE NOT e.is_done AND e.moment < %(before)s AND (e.load IN ('{COVERAGE}', '{DECISION}') OR NOT EXISTS (
    SELECT FROM rebuild.entry l
    WHERE l.dataset = e.dataset AND l.load = e.load AND l.digest = e.digest AND l.moment > e.moment
))
"""
"""Entries to replay. Of a publication that a crash cut short and that was repeated, the repetition counts."""

_NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)


class Scratch:
    """The place of one rebuild. It outlives a crash, and the next rebuild for the same purpose goes on in it.

    Args:
        settings: the stores in use.
        url: an empty database to work in; ``None`` = a second one on the warehouse's server, made for the purpose.

    Attributes:
        settings: the stores to rebuild into.
    """

    def __init__(self, settings: Settings, url: str | None) -> None:
        live = sa.make_url(settings.require_warehouse())
        self._live = live
        self._is_given = url is not None
        self._name = f"{live.database}"[:54] + "_rebuild"
        made = live.set(database=self._name).render_as_string(hide_password=False)
        self.settings: Settings = replace(
            settings, warehouse_url=url or made, lake_url=f"{settings.lake_url.rstrip('/')}/_rebuild"
        )
        if sa.make_url(self.settings.require_warehouse()).set(drivername="x") == live.set(drivername="x"):
            raise ConfigError("the rebuild would work in the warehouse itself", where="--scratch", remedy="name another one")

    def open(self, purpose: str) -> bool:
        """Make the place ready, or find it as an unfinished rebuild left it.

        Args:
            purpose: what is rebuilt, from which contracts, by which code: a place of another purpose begins anew.

        Returns:
            An unfinished rebuild goes on.

        Raises:
            ConfigError: the database cannot be made, or the one that was given holds something else.
        """
        if not self._is_given:
            self._create_database()
        with self.connected() as connection:
            known = connection.execute("SELECT to_regclass('rebuild.about')").fetchone() != (None,)
            if known and connection.execute("SELECT purpose FROM rebuild.about").fetchall() == [(purpose,)]:
                return True
            if not known and _holds_something(connection):
                raise ConfigError(
                    "the database to work in is not empty",
                    where="--scratch",
                    remedy="name an empty one, made for the purpose",
                )
        self.clear()
        if not self._is_given:
            self._create_database()
        with self.connected() as connection:
            connection.execute(_TABLES.encode())
            connection.execute("INSERT INTO rebuild.about VALUES (%s)", [purpose])
            connection.commit()
        return False

    @staticmethod
    def spoil(connection: psycopg.Connection[Any]) -> None:
        """Let the next rebuild begin anew: entries that are restored meanwhile must be replayed in their order."""
        connection.rollback()
        connection.execute("UPDATE rebuild.about SET purpose = ''")
        connection.commit()

    def clear(self) -> None:
        """Leave nothing behind: no database, no lake; of a database that was given, no schema."""
        remove(Lake(self.settings.lake_url))
        if not self._is_given:
            with self._server() as connection:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self._name)))
            return
        with self.connected() as connection:
            for (name,) in connection.execute(_SCHEMAS).fetchall():
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
            connection.commit()

    @contextlib.contextmanager
    def connected(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection to its database."""
        with Warehouse(self.settings.require_warehouse()) as warehouse, warehouse.session() as connection:
            yield connection

    # --- the list of entries --------------------------------------------------------------------------------------------

    @staticmethod
    def enlist(connection: psycopg.Connection[Any], names: Iterable[EntryName]) -> None:
        """Add entries to the list; those that are in it stay as they are."""
        connection.execute("CREATE TEMP TABLE seen (LIKE rebuild.entry INCLUDING DEFAULTS) ON COMMIT DROP")
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY seen (path, vendor, dataset, load, digest, moment) FROM STDIN") as copy,
        ):
            for name in names:
                copy.write_row([name.path, name.vendor, name.dataset, name.load, name.digest, name.moment])
        connection.execute("INSERT INTO rebuild.entry SELECT * FROM seen ON CONFLICT DO NOTHING")
        connection.commit()

    @staticmethod
    def count(connection: psycopg.Connection[Any], before: dt.datetime = _NEVER) -> int:
        """Entries of the list that are still to be replayed."""
        [(number,)] = connection.execute(f"SELECT count(*) {_OPEN}".encode(), {"before": before})
        connection.rollback()
        return int(number)

    @staticmethod
    def todo(connection: psycopg.Connection[Any], before: dt.datetime = _NEVER) -> Iterator[str]:
        """Places of entries that are still to be replayed, vendor by vendor in the order of publication, streamed."""
        with connection.cursor("fleetlake_entries") as cursor:
            cursor.execute(f"SELECT e.path {_OPEN} ORDER BY e.vendor, e.moment, e.path".encode(), {"before": before})
            for (path,) in cursor:
                yield path
        connection.rollback()

    @staticmethod
    def done(connection: psycopg.Connection[Any], path: str, entry: BatchEntry | None, error: str | None = None) -> None:
        """Mark an entry as replayed, or skipped for an error, and remember the pages it named."""
        if entry is not None:
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO rebuild.read AS r VALUES (%s, %s) ON CONFLICT (folder)"
                    " DO UPDATE SET pages = greatest(r.pages, excluded.pages)",
                    sorted(entry.pages_of_reads.items()),
                )
        connection.execute(
            "UPDATE rebuild.entry SET is_done = true, error = %s, was_published = %s WHERE path = %s",
            [error, entry is not None and entry.state == "published", path],
        )
        connection.commit()

    @staticmethod
    def skipped(connection: psycopg.Connection[Any]) -> list[tuple[str, str, str]]:
        """Entries that were skipped: table, load and error."""
        rows = connection.execute(
            "SELECT dataset, load, error FROM rebuild.entry WHERE error IS NOT NULL ORDER BY moment, path"
        ).fetchall()
        connection.rollback()
        return [(dataset, load, error) for dataset, load, error in rows]

    # --- inside ---------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _server(self) -> Iterator[psycopg.Connection[Any]]:
        url = self._live.render_as_string(hide_password=False)
        with Warehouse(url) as warehouse, warehouse.session() as connection:
            connection.autocommit = True
            yield connection

    def _create_database(self) -> None:
        name = sql.Identifier(self._name)
        with self._server() as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [self._name]).fetchone():
                return
            try:
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
            except psycopg.errors.InsufficientPrivilege:
                raise ConfigError(
                    f"the warehouse's user may not create the database {self._name!r}, in which a rebuild works",
                    where="FLEETLAKE_WAREHOUSE_URL",
                    remedy="ALTER ROLE … CREATEDB, or name an empty database of another server or user with --scratch",
                ) from None
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                return
            # Nothing here is lost that could not be replayed.
            connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))


_SCHEMAS = """
SELECT nspname FROM pg_namespace
WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'public')
"""


def _holds_something(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')"
    ).fetchone()
    return bool(row and row[0])


def purpose_of(settings: Settings, datasets: Sequence[str]) -> str:
    """What a rebuild is for: raw store, tables, contracts and code. An unfinished one of another purpose is of no use."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    for folder, pattern in ((settings.include, "**/*"), (package, "**/*.py")):
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return f"{settings.raw_url} · {' '.join(sorted(datasets))} · {digest.hexdigest()}"
