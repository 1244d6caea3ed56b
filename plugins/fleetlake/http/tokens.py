"""Access tokens shared by all processes: kept in one place, renewed by one process for all.

A token rests encrypted, with a key made from the secret of its own connection: who can read the table but not the
connection learns nothing, and there is no further key to keep.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from fleetlake.errors import StoreUnavailable

MARGIN = dt.timedelta(seconds=60)
"""A token this close to its end is renewed before it is used."""

_LOCK_WAIT_S = 120
"""No vendor takes longer to answer a renewal; a process that died holding the lock loses it with its connection."""


@dataclass(frozen=True)
class Token:
    """An access token.

    Attributes:
        access: goes with every request.
        refresh: renews it, where the vendor has such.
        expires_at: when ``access`` ends, UTC; ``None`` = unknown.
    """

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    expires_at: dt.datetime | None = None

    def is_fresh(self, now: dt.datetime | None = None, margin: dt.timedelta = MARGIN) -> bool:
        """It will live a little longer."""
        return self.expires_at is None or self.expires_at - margin > (now or dt.datetime.now(dt.UTC))


Renew = Callable[[Token | None], Token]


class TokenStore(Protocol):
    """Where a login's token is."""

    def current(self) -> Token | None:
        """The token known, fresh or not; ``None`` = nobody has logged in yet."""
        ...

    def renew(self, seen: Token | None, make: Renew) -> Token:
        """Replace a token, once for all.

        Args:
            seen: the token that is no good any more, ``None`` = none. If the store has another one meanwhile, that is
                returned and nobody asks the vendor.
            make: asks the vendor, given the token in the store (its refresh token may serve).

        Raises:
            FleetlakeError: what ``make`` raises; the store is as before.
        """
        ...


class LocalTokens:
    """Shared by the threads of this process only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token: Token | None = None

    def current(self) -> Token | None:
        """See ``TokenStore.current``."""
        return self._token

    def renew(self, seen: Token | None, make: Renew) -> Token:
        """See ``TokenStore.renew``."""
        with self._lock:
            if self._token is None or (seen is not None and self._token.access == seen.access):
                self._token = make(self._token)
            return self._token


class PostgresTokens:
    """Shared by all processes through ``ops.token`` of the warehouse.

    Args:
        url: SQLAlchemy URL of the warehouse.
        key: name of the login: vendor, address and user.
        secret: the connection's secret; makes the key the token is encrypted with.
    """

    def __init__(self, url: str, key: str, secret: str) -> None:
        from cryptography.fernet import Fernet
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._key = key
        derived = HKDF(hashes.SHA256(), 32, salt=key.encode(), info=b"fleetlake token").derive(secret.encode())
        self._seal = Fernet(base64.urlsafe_b64encode(derived))

    def current(self) -> Token | None:
        """See ``TokenStore.current``.

        Raises:
            StoreUnavailable: the warehouse cannot be reached.
        """
        with self._connection() as connection:
            return self._read(connection)

    def renew(self, seen: Token | None, make: Renew) -> Token:
        """See ``TokenStore.renew``.

        A process that dies while it asks the vendor gives the lock back with its connection; the next one asks again.
        """
        with self._connection() as connection:
            connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'")
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"fleetlake:token:{self._key}"])
            known = self._read(connection)
            if known is not None and (seen is None or known.access != seen.access):
                return known
            token = make(known)
            text = json.dumps([token.access, token.refresh, token.expires_at and token.expires_at.isoformat()])
            connection.execute(
                "INSERT INTO ops.token (key, sealed, expires_at) VALUES (%s, %s, %s) ON CONFLICT (key) DO UPDATE"
                " SET sealed = excluded.sealed, expires_at = excluded.expires_at, renewed_at = now()",
                [self._key, self._seal.encrypt(text.encode()), token.expires_at],
            )
            return token

    def _read(self, connection: Any) -> Token | None:
        from cryptography.fernet import InvalidToken

        row = connection.execute("SELECT sealed FROM ops.token WHERE key = %s", [self._key]).fetchone()
        if row is None:
            return None
        try:
            access, refresh, expires = json.loads(self._seal.decrypt(bytes(row[0])))
        except InvalidToken:
            return None  # sealed with an earlier secret: the login has changed, begin anew
        return Token(access, refresh, dt.datetime.fromisoformat(expires) if expires else None)

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        import psycopg

        try:
            with psycopg.connect(self._url) as connection:  # commits at the end, rolls back on an error
                yield connection
        except psycopg.Error as error:
            raise StoreUnavailable(
                f"the shared token cannot be read or kept: {type(error).__name__}",
                where="ops.token",
                remedy="is the warehouse running and migrated?",
            ) from None
