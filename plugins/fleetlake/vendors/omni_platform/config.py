"""Settings of one OMNI Platform account, the open questions of the vendor's interface included (ids as OPL-04)."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleetlake.errors import ConfigError
from fleetlake.http.fields import read_fields
from fleetlake.http.redaction import Redactor
from fleetlake.http.session import SessionOptions
from fleetlake.http.transport import TlsOptions

_LONGEST_WINDOW_MIN = 60


@dataclass(frozen=True, kw_only=True)
class OmniConfig:
    """One OMNI Platform workspace.

    Attributes:
        token: access token: the id of an access of the workspace; long-lived (OPL-05).
        base_url: scheme and host; both services are below it.
        event_path, platform_path: where the event service and the platform API are.
        page_size: rows asked for at once (OPL-04).
        pagination_in_order: where ``pagination`` stands when the schema cannot be asked for (OPL-10).
        window_minutes: longest window of one listing of events, at most 60: offsets are only good inside it.
        settle_s: events younger than this are left to the next run: agents deliver late, and profiles are synchronised
            once a minute.
        max_restarts: how often a window is begun again because its events moved while they were listed.
        activity_ttl_unit_s: seconds in one unit of the workspace's ``activity_ttl``; the unit is not documented.
        trusted_history_h: events so young are taken to be all there when the workspace does not say how long it keeps
            them (``activity_ttl`` denied or not set); an answer about older ones is loaded, but neither deletes rows nor
            counts as complete. The default is what the nightly re-scan reads, 48 h, and a day for a run that is late.
        personal_data: ``mask`` or ``keep`` what tells of people: a profile's description, and in an event's ``data``
            everything but ids, kind, time, confidence and place in the picture (``decode._NAMELESS``); ids of images too.
        rate_per_s, burst: requests per second and at once; no limit is documented.
        min_tls: lowest TLS version.
        ca: PEM file of the authority behind the server's certificate; empty = the public ones.
        timeout_s: seconds to wait for the next bytes of an answer.
        max_attempts: sends of one request at most.
    """

    token: str = field(repr=False)
    base_url: str = "https://cloud.3divi.ai"
    event_path: str = "/event-service/graphql"
    platform_path: str = "/api/v2/"
    page_size: int = 100
    pagination_in_order: bool = False
    window_minutes: int = 60
    settle_s: int = 120
    max_restarts: int = 5
    activity_ttl_unit_s: float = 1.0
    trusted_history_h: float = 72.0
    personal_data: str = "mask"
    rate_per_s: float = 5.0
    burst: float = 1.0
    min_tls: str = "1.2"
    ca: str | None = None
    timeout_s: float = 60.0
    max_attempts: int = 5

    def __post_init__(self) -> None:
        if self.personal_data not in ("mask", "keep"):
            raise ConfigError(f"personal_data is {self.personal_data!r}", where="personal_data", remedy="mask or keep")
        if not 1 <= self.window_minutes <= _LONGEST_WINDOW_MIN:
            raise ConfigError(
                f"window_minutes is {self.window_minutes}", where="window_minutes", remedy="1 to 60: longer lists move"
            )
        least_of = {"page_size": 1, "settle_s": 0, "max_restarts": 0, "activity_ttl_unit_s": 0, "trusted_history_h": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}", where=name, remedy=f"at least {least}")
        for name in ("event_path", "platform_path"):
            if not getattr(self, name).startswith("/"):
                raise ConfigError(f"{name} is {getattr(self, name)!r}", where=name, remedy="a path that begins with /")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "omni_platform connection") -> OmniConfig:
        """Read the fields of a connection.

        Raises:
            ConfigError: an unknown field (with a near match), a missing or wrong value.
        """
        return read_fields(cls, values, where)

    @property
    def keeps_personal_data(self) -> bool:
        """Tables may hold personal data."""
        return self.personal_data == "keep"

    @property
    def longest_window(self) -> dt.timedelta:
        """``window_minutes`` as a duration."""
        return dt.timedelta(minutes=self.window_minutes)

    @property
    def trusted_history(self) -> dt.timedelta:
        """``trusted_history_h`` as a duration."""
        return dt.timedelta(hours=self.trusted_history_h)

    @property
    def settling(self) -> dt.timedelta:
        """``settle_s`` as a duration."""
        return dt.timedelta(seconds=self.settle_s)

    @property
    def account_key(self) -> str:
        """Name of the quota: no limit is known, so it is the server's and the token's."""
        return f"omni_platform:{self.base_url}:{hashlib.sha256(self.token.encode()).hexdigest()[:16]}"

    def redactor(self) -> Redactor:
        """Masks this account's secrets."""
        return Redactor([self.token])

    def session_options(self) -> SessionOptions:
        """How the session talks."""
        return SessionOptions(
            base_url=self.base_url,
            tls=TlsOptions(min_version=self.min_tls, ca=self.ca),
            read_timeout_s=self.timeout_s,
            max_attempts=self.max_attempts,
        )
