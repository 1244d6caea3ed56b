"""Settings of one Omnicomm account, the open questions of the vendor's interface included (ids as OMN-02)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleetlake.errors import ConfigError
from fleetlake.http.fields import read_fields
from fleetlake.http.redaction import Redactor
from fleetlake.http.session import SessionOptions
from fleetlake.http.transport import TlsOptions

MAX_VEHICLES = 50
"""Vehicles in one report request; what the vendor does beyond is unknown (OMN-04)."""

MAX_DAYS = 31
"""Days in one report request (OMN-04)."""

MAX_PAGE_SIZE = 1000
"""Rows of a page of the geofence list; a larger one is refused."""


@dataclass(frozen=True, kw_only=True)
class OmnicommConfig:
    """One Omnicomm account.

    Attributes:
        base_url: address; white labels have their own with the same paths.
        login, password: the user; rights to the interface are granted by the vendor's support.
        service: sent with the login when set; one client says that reports need it (``omnicomm``).
        rate_per_min, burst: requests per minute and at once; the vendor allows 180 a minute to a user, however many use it.
        token_margin_s: an access token is renewed so many seconds before it ends, but uses four fifths of its life.
        block_statuses: HTTP statuses that mean "blocked for a while" (OMN-02), with commas between.
        block_s: seconds to wait when a block does not say how long it lasts (OMN-02).
        locked_interval_retry_s: seconds until an interval that the vendor has locked is asked for again (OMN-12).
        tree_path: path of the vehicle tree; the difference to v1 is unknown (OMN-09).
        data_groups: groups of the statistics: ``mw``, ``fuel``, ``mnt``, ``ae``, ``can``, ``ccan``.
        min_visit: shortest visit of a geofence that is told; seconds (OMN-05: minutes, say others).
        outside_geofences: also ask for stays outside all geofences.
        page_size: geofences per page.
        journal_hours: hours of one request of the journal: one packet has some 315 fields.
        unverified_endpoints: also offer users, drivers and the video service, whose answers nobody has seen (OMN-08).
        video_tasks_path: path of the list of download tasks; a guess (OMN-08).
        min_tls: lowest TLS version.
        ca: PEM file of the authority behind the server's certificate; empty = the public ones.
        timeout_s: seconds to wait for the next bytes of an answer; a large vehicle tree takes over 30.
        max_attempts: sends of one request at most.
    """

    base_url: str = "https://online.omnicomm.ru"
    login: str
    password: str = field(repr=False)
    service: str | None = None
    rate_per_min: float = 170.0
    burst: float = 5.0
    token_margin_s: float = 300.0
    block_statuses: str = "429"
    block_s: float = 60.0
    locked_interval_retry_s: float = 900.0
    tree_path: str = "/ls/api/v2/tree/vehicle"
    data_groups: str = "mw,fuel"
    min_visit: int = 300
    outside_geofences: bool = True
    page_size: int = 200
    journal_hours: int = 6
    unverified_endpoints: bool = False
    video_tasks_path: str = "/service/ovms/api/tasks"
    min_tls: str = "1.2"
    ca: str | None = None
    timeout_s: float = 120.0
    max_attempts: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.rate_per_min + self.burst <= 180:
            raise ConfigError(
                f"{self.rate_per_min:g} requests a minute and {self.burst:g} at once are more than the vendor allows",
                where="rate_per_min, burst",
                remedy="together at most 180: beyond it the vendor blocks the user",
            )
        if not 1 <= self.page_size <= MAX_PAGE_SIZE:
            raise ConfigError(
                f"page_size is {self.page_size}", where="page_size", remedy=f"between 1 and {MAX_PAGE_SIZE}: more is refused"
            )
        if not 1 <= self.journal_hours <= 24:
            raise ConfigError(f"journal_hours is {self.journal_hours}", where="journal_hours", remedy="between 1 and 24")
        if not all(status.isdigit() for status in _parts(self.block_statuses)):
            raise ConfigError(
                f"block_statuses is {self.block_statuses!r}", where="block_statuses", remedy="numbers: 429, or 429,403"
            )
        if not _parts(self.data_groups):
            raise ConfigError("data_groups is empty", where="data_groups", remedy="mw,fuel")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "omnicomm connection") -> OmnicommConfig:
        """Read the fields of a connection.

        Raises:
            ConfigError: an unknown field (with a near match), a missing or wrong value.
        """
        return read_fields(cls, values, where)

    @property
    def account_key(self) -> str:
        """Name of quota and token: the vendor counts per user, so all connections with this login share both."""
        return f"omnicomm:{self.base_url}:{self.login}"

    @property
    def rate_per_s(self) -> float:
        """``rate_per_min`` as the rate gate counts."""
        return self.rate_per_min / 60

    @property
    def token_margin(self) -> dt.timedelta:
        """``token_margin_s`` as a duration."""
        return dt.timedelta(seconds=self.token_margin_s)

    @property
    def blocks(self) -> frozenset[int]:
        """``block_statuses`` as numbers."""
        return frozenset(int(status) for status in _parts(self.block_statuses))

    @property
    def groups(self) -> tuple[str, ...]:
        """``data_groups`` one by one."""
        return tuple(_parts(self.data_groups))

    def redactor(self, *tokens: str | None) -> Redactor:
        """Masks this account's secrets, and the tokens given."""
        return Redactor([self.password, *tokens], [(self.login, self.password)])

    def session_options(self) -> SessionOptions:
        """How the session talks."""
        return SessionOptions(
            base_url=self.base_url,
            tls=TlsOptions(min_version=self.min_tls, ca=self.ca),
            read_timeout_s=self.timeout_s,
            max_attempts=self.max_attempts,
        )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
