"""What PostgreSQL's errors mean to the caller."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from fleetlake.errors import ConfigError, DataError, FleetlakeError, StoreConflict, StoreUnavailable

_SETTING = "FLEETLAKE_WAREHOUSE_URL"
_START = "start PostgreSQL (`make up` for the local one) or correct FLEETLAKE_WAREHOUSE_URL"


def describe(url: sa.URL) -> str:
    """Host and database of a URL: enough to know what was tried, and no password."""
    host = url.host or url.query.get("host") or "local socket"
    return (
        f"{host if isinstance(host, str) else ','.join(host)}{f':{url.port}' if url.port else ''}, database {url.database}"
    )


def parse(url: str) -> sa.URL:
    """Read a PostgreSQL URL; without a driver it gets ours.

    Raises:
        ConfigError: no PostgreSQL URL.
    """
    try:
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError):
        # The text may hold a password: it is not repeated.
        raise ConfigError(
            "the warehouse URL cannot be read", where=_SETTING, remedy="write postgresql+psycopg://user@host/database"
        ) from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigError(
            f"the warehouse is PostgreSQL, not {parsed.get_backend_name()!r}",
            where=_SETTING,
            remedy="write postgresql+psycopg://user@host/database",
        )
    return parsed.set(drivername="postgresql+psycopg")


@contextlib.contextmanager
def reported(where: str) -> Iterator[None]:
    """Turn database errors into errors that say what to do.

    Args:
        where: ``describe`` of the URL.
    """
    try:
        yield
    except FleetlakeError:
        raise
    except DBAPIError as error:
        raise translate(error.orig, where) from error
    except psycopg.Error as error:
        raise translate(error, where) from error
    except (NoSuchModuleError, sa.exc.TimeoutError) as error:
        raise StoreUnavailable(f"the warehouse cannot be used: {error}", where=where) from error


def translate(error: BaseException | None, where: str) -> FleetlakeError:
    """The fleetlake error for a psycopg error."""
    text = str(error).strip().replace("\n", " ")
    state = getattr(error, "sqlstate", None) or ""
    if not isinstance(error, psycopg.Error):
        return StoreUnavailable(f"the warehouse fails: {text}", where=where)
    # A refused connection has no code, only libpq's text (English, unless the server was told otherwise).
    if state.startswith("28") or "authentication failed" in text or 'role "' in text or "no pg_hba.conf entry" in text:
        return ConfigError(
            f"the warehouse refuses the login: {text}", where=where, remedy=f"correct user and password in {_SETTING}"
        )
    if state == "3D000" or ('database "' in text and "does not exist" in text):
        return ConfigError(
            f"the warehouse database is not there: {text}", where=where, remedy="create it, then `fleetlake migrate`"
        )
    if state in ("40001", "40P01", "55P03"):
        return StoreConflict(f"another writer holds the table: {text}", where=where, remedy="publish again")
    if state in ("42P01", "3F000"):
        return ConfigError(f"a table is missing: {text}", where=where, remedy="run `fleetlake migrate`")
    if state == "42501":
        return ConfigError(
            f"the warehouse user lacks a right: {text}", where=where, remedy="grant it; the user must own the schemas"
        )
    if state.startswith("22") or state.startswith("23"):
        detail = getattr(error.diag, "context", None) or getattr(error.diag, "message_detail", None) or ""
        return DataError(f"the warehouse cannot take a value: {text}", where=str(detail).replace("\n", " ")[:300] or where)
    if state.startswith(("42", "0A")):
        return ConfigError(f"the warehouse does not understand: {text}", where=where)
    return StoreUnavailable(f"the warehouse cannot be reached: {text}", where=where, remedy=_START)
