"""Settings of one SuiviDeFlotte account, the open questions of the vendor's interface included (ids as SDF-03)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleetlake.errors import ConfigError
from fleetlake.http.fields import read_fields
from fleetlake.http.redaction import Redactor
from fleetlake.http.session import SessionOptions
from fleetlake.http.transport import TlsOptions

_GRANT = ("client_id", "client_secret", "username", "password")


@dataclass(frozen=True, kw_only=True)
class SuiviDeFlotteConfig:
    """One SuiviDeFlotte account: a persistent token, or the four parts of an application key.

    Attributes:
        base_url: address of the interface.
        token: persistent token, the kind for machines: it lives five years and is never renewed.
        client_id, client_secret, username, password: application key and its user; used where there is no token.
        api_version: sent as ``X-Version``, so that later revisions change nothing.
        rate_per_s, burst: requests per second and at once. The vendor allows 60 in a minute; these two make 50 at most.
        reserve: calls of the vendor's minute that are left alone: at so many remaining, everybody waits for the next.
        per_page: rows asked for per page (SDF-03); after a refusal the vendor's own size is used.
        history_days: how long the vendor keeps trips and alerts (SDF-07), 0 = for ever. What it has dropped by itself must
            not be taken for deleted: older times are out of retention.
        max_pages: a list longer than this is taken for an endless one.
        min_tls: lowest TLS version.
        ca: PEM file of the authority behind the server's certificate; empty = the public ones.
        timeout_s: seconds to wait for the next bytes of an answer.
        max_attempts: sends of one request at most.
    """

    base_url: str = "https://api.suivideflotte.net"
    token: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    api_version: str = "1"
    rate_per_s: float = 0.75
    burst: float = 5.0
    reserve: int = 2
    per_page: int = 100
    history_days: int = 365
    max_pages: int = 10_000
    min_tls: str = "1.2"
    ca: str | None = None
    timeout_s: float = 60.0
    max_attempts: int = 5

    def __post_init__(self) -> None:
        given = [name for name in _GRANT if getattr(self, name)]
        if not self.token and len(given) < len(_GRANT):
            missing = ", ".join(name for name in _GRANT if name not in given)
            raise ConfigError(
                "no token is set" if not given else f"an application key is not whole: {missing} missing",
                where=f"token, or {', '.join(_GRANT)}",
                remedy="set the persistent token; or all four of an application key",
            )
        if not 1 <= self.per_page <= 10_000:
            raise ConfigError(f"per_page is {self.per_page}", where="per_page", remedy="between 1 and 10000")
        if self.history_days < 0:
            raise ConfigError(f"history_days is {self.history_days}", where="history_days", remedy="days, or 0 for no end")
        if not 0 <= self.reserve <= 30:
            raise ConfigError(f"reserve is {self.reserve}", where="reserve", remedy="between 0 and 30")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "suivideflotte connection") -> SuiviDeFlotteConfig:
        """Read the fields of a connection.

        Raises:
            ConfigError: an unknown field (with a near match), a missing or wrong value.
        """
        return read_fields(cls, values, where)

    @property
    def account_key(self) -> str:
        """Name of the quota, which the vendor counts per user (SDF-08), and of the user's login."""
        user = self.username or hashlib.sha256((self.token or "").encode()).hexdigest()[:16]
        return f"suivideflotte:{self.base_url}:{user}"

    @property
    def token_key(self) -> str:
        """Name of the token that an application key's login gives."""
        return f"{self.account_key}:{self.client_id}"

    def redactor(self, *tokens: str | None) -> Redactor:
        """Masks this account's secrets, and the tokens given."""
        return Redactor([self.token, self.client_secret, self.password, *tokens])

    def session_options(self) -> SessionOptions:
        """How the session talks. A pause may be as long as the vendor's minute, so it is waited for here."""
        return SessionOptions(
            base_url=self.base_url,
            tls=TlsOptions(min_version=self.min_tls, ca=self.ca),
            read_timeout_s=self.timeout_s,
            max_attempts=self.max_attempts,
            max_pause_s=90.0,
            retry_budget_s=300.0,
        )
