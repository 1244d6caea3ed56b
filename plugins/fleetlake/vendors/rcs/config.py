"""Settings of one RCS account, the open questions of the vendor's interface included (ids as RCS-01)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetlake.errors import ConfigError
from fleetlake.http.fields import read_fields
from fleetlake.http.session import SessionOptions
from fleetlake.http.transport import TlsOptions


@dataclass(frozen=True, kw_only=True)
class RcsConfig:
    """One RCS account.

    Attributes:
        base_url: https address with path prefix if there is one; the vendor publishes none (RCS-06).
        cert, key: PEM files of the client certificate that the vendor issued: it is identity and right in one. Without it
            only ``GET /`` answers.
        ca: PEM file of the authority behind the server's certificate; empty = the public ones.
        min_tls: lowest TLS version; the vendor speaks 1.3 only.
        api_version: version asked for in ``X-API-Version``.
        rate_per_s, burst: requests per second and at once; the vendor allows 5, counted per certificate (RCS-08).
        take: rows per page of telemetry, ``max_take`` the most the vendor gives (RCS-01).
        min_revision_param: name of the query parameter (RCS-01).
        min_revision_inclusive: the reading of "minimum" that is expected (RCS-01). Paging survives both; an answer
            that contradicts it is logged.
        report_days: calendar days of a health request at most (RCS-07).
        severity: filter of fetched health reports; empty = all (RCS-04).
        time_zone: zone of the vendor's times, which name none; only UTC, as the contracts read them (RCS-06).
        timeout_s: seconds to wait for the next bytes of an answer.
        max_attempts: sends of one request at most.
    """

    base_url: str
    cert: str | None = None
    key: str | None = None
    ca: str | None = None
    min_tls: str = "1.3"
    api_version: str = "1.3"
    rate_per_s: float = 4.0
    burst: float = 1.0
    take: int = 1000
    max_take: int = 1000
    min_revision_param: str = "min_revision"
    min_revision_inclusive: bool = True
    report_days: int = 7
    severity: str | None = None
    time_zone: str = "UTC"
    timeout_s: float = 60.0
    max_attempts: int = 5

    def __post_init__(self) -> None:
        if not self.base_url.startswith("https://"):
            raise ConfigError("RCS is reached over TLS only", where="base_url", remedy="write https://host/path")
        major, _, minor = self.api_version.partition(".")
        if not (major.isdigit() and minor.isdigit()):
            raise ConfigError(f"api_version is {self.api_version!r}", where="api_version", remedy="write it as 1.3")
        if not 1 <= self.take <= self.max_take:
            raise ConfigError(f"take is {self.take}", where="take", remedy=f"between 1 and max_take ({self.max_take})")
        if not 1 <= self.report_days <= 7:
            raise ConfigError(f"report_days is {self.report_days}", where="report_days", remedy="between 1 and 7")
        if self.time_zone.upper() != "UTC":
            raise ConfigError(
                f"time_zone is {self.time_zone!r}",
                where="time_zone",
                remedy="leave it at UTC: the contracts of RCS read its times as UTC, another zone needs other contracts",
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "rcs connection") -> RcsConfig:
        """Read the fields of a connection.

        Raises:
            ConfigError: an unknown field (with a near match), a missing or wrong value.
        """
        return read_fields(cls, values, where)

    @property
    def account_key(self) -> str:
        """Name of the quota: the vendor counts per certificate, so all who hold it share one, wherever its file is.

        Raises:
            ConfigError: the certificate's file cannot be read.
        """
        if not self.cert:
            return f"rcs:{self.base_url}:anonymous"
        try:
            content = Path(self.cert).read_bytes()
        except OSError as error:
            problem = error.strerror
        else:
            return f"rcs:{self.base_url}:{hashlib.sha256(content).hexdigest()[:16]}"
        raise ConfigError(f"{self.cert} cannot be read: {problem}", where="cert", remedy="give the path of a PEM file")

    def session_options(self) -> SessionOptions:
        """How the session talks."""
        return SessionOptions(
            base_url=self.base_url,
            tls=TlsOptions(min_version=self.min_tls, cert=self.cert, key=self.key, ca=self.ca),
            read_timeout_s=self.timeout_s,
            max_attempts=self.max_attempts,
        )
