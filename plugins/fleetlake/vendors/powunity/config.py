"""Settings of one PowUnity account, the open questions of the vendor's interface included (ids as POW-02)."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fleetlake.errors import ConfigError
from fleetlake.http.fields import read_fields
from fleetlake.http.redaction import Redactor
from fleetlake.http.session import SessionOptions
from fleetlake.http.transport import TlsOptions

MAX_POSITIONS = 50_000
"""Positions of one answer at most, after Traccar 6.14.5 (``report.maxPositions``); earlier servers have no limit."""


class Auth(StrEnum):
    """How to log in."""

    TOKEN = "token"  # noqa: S105 - GET /session?token=…, then the cookie
    PASSWORD = "password"  # noqa: S105 - POST /session with e-mail and password, then the cookie
    BASIC = "basic"  # e-mail and password with every request
    BEARER = "bearer"  # the token with every request: stock Traccar takes it, the vendor says no (POW-02)


@dataclass(frozen=True, kw_only=True)
class PowUnityConfig:
    """One PowUnity account.

    Attributes:
        base_url: address with the path prefix, for example ``https://iot.powunity.com/api``.
        token: the account's token.
        email, password: login, instead of a token.
        auth: ``token``, ``password``, ``basic`` or ``bearer`` (POW-02); empty = ``token`` if there is one, else ``password``.
        rate_per_s, burst: requests per second and at once; no limit is documented (POW-05).
        fast_report_s: longest range of a report in seconds; beyond it the server rebuilds trips from stored events, with
            other bounds and no top speed (POW-03).
        history_days: how long the server keeps positions and events (POW-09), 0 = for ever. What it has dropped by itself
            must not be taken for deleted: older days are out of retention.
        max_positions: positions after which the server cuts an answer; a range with so many is read in halves. 0 = never.
        min_tls: lowest TLS version.
        ca: PEM file of the authority behind the server's certificate; empty = the public ones.
        timeout_s: seconds to wait for the next bytes of an answer.
        max_attempts: sends of one request at most.
    """

    base_url: str = "https://iot.powunity.com/api"
    token: str | None = field(default=None, repr=False)
    email: str | None = None
    password: str | None = field(default=None, repr=False)
    auth: str | None = None
    rate_per_s: float = 2.0
    burst: float = 1.0
    fast_report_s: int = 86_400
    history_days: int = 0
    max_positions: int = MAX_POSITIONS
    min_tls: str = "1.2"
    ca: str | None = None
    timeout_s: float = 120.0
    max_attempts: int = 5

    def __post_init__(self) -> None:
        kinds = [kind.value for kind in Auth]
        if self.auth is not None and self.auth not in kinds:
            raise ConfigError(f"auth is {self.auth!r}", where="auth", remedy=f"one of {', '.join(kinds)}")
        if self.max_positions < 0:
            raise ConfigError(
                f"max_positions is {self.max_positions}", where="max_positions", remedy="rows, or 0 for no end"
            )
        if self.history_days < 0:
            raise ConfigError(f"history_days is {self.history_days}", where="history_days", remedy="days, or 0 for no end")
        if self.way in (Auth.TOKEN, Auth.BEARER) and not self.token:
            raise ConfigError("the account's token is missing", where="token", remedy="set token, or email and password")
        if self.way in (Auth.PASSWORD, Auth.BASIC) and not (self.email and self.password):
            raise ConfigError(
                "no credentials are set", where="token, email, password", remedy="set token, or email and password"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "powunity connection") -> PowUnityConfig:
        """Read the fields of a connection.

        Raises:
            ConfigError: an unknown field (with a near match), a missing or wrong value.
        """
        return read_fields(cls, values, where)

    @property
    def way(self) -> Auth:
        """The way to log in that applies."""
        return Auth(self.auth) if self.auth else Auth.TOKEN if self.token else Auth.PASSWORD

    @property
    def longest_report(self) -> dt.timedelta:
        """``fast_report_s`` as a duration."""
        return dt.timedelta(seconds=self.fast_report_s)

    @property
    def account_key(self) -> str:
        """Name of the quota: no limit per login is known, so it is the server's and the login's."""
        login = self.email or hashlib.sha256((self.token or "").encode()).hexdigest()[:16]
        return f"powunity:{self.base_url}:{login}"

    def redactor(self) -> Redactor:
        """Masks this account's secrets."""
        logins = [(self.email, self.password)] if self.email and self.password else []
        return Redactor([self.token, self.password], logins)

    def session_options(self) -> SessionOptions:
        """How the session talks."""
        return SessionOptions(
            base_url=self.base_url,
            tls=TlsOptions(min_version=self.min_tls, ca=self.ca),
            read_timeout_s=self.timeout_s,
            max_attempts=self.max_attempts,
        )
