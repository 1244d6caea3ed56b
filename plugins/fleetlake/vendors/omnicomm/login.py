"""Access tokens of Omnicomm: one login, shared by all processes, renewed early, by its refresh token where that works."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec

from fleetlake.errors import ConfigError, CredentialsRejected, MalformedAnswer, SessionExpired
from fleetlake.http.answers import Answer
from fleetlake.http.session import VendorSession
from fleetlake.http.tokens import LocalTokens, Token, TokenStore
from fleetlake.vendors.omnicomm.config import OmnicommConfig
from fleetlake.vendors.omnicomm.verdicts import Verdicts, object_of


class Login:
    """The way of one client to an access token.

    The token is kept here while it is good: the shared store is asked when there is none, when it nears its end, and when
    the vendor refuses it.

    Args:
        config: credentials and margin.
        session: sends the requests.
        verdicts: what the answers mean.
        tokens: where the login's token is; ``None`` = in this process only.
    """

    def __init__(
        self, config: OmnicommConfig, session: VendorSession, verdicts: Verdicts, tokens: TokenStore | None
    ) -> None:
        self._config = config
        self._session = session
        self._verdicts = verdicts
        self._tokens = tokens or LocalTokens()
        self._token: Token | None = None
        self._rejected: CredentialsRejected | None = None

    @property
    def claims(self) -> Mapping[str, Any]:
        """What the access token says of itself; empty when it cannot be read. Never shown: it holds personal data."""
        return claims_of(self.token().access)

    def token(self) -> Token:
        """A token that will live a little longer.

        Raises:
            CredentialsRejected: the vendor refuses login or password; it is not asked a second time.
        """
        if self._token is None:
            self._take(self._tokens.current())
        if self._token is None or not self._token.is_fresh(margin=_margin(self._token, self._config.token_margin)):
            self.renew()
        assert self._token is not None  # noqa: S101 - renew gives one or raises
        return self._token

    def renew(self) -> None:
        """Replace the token, because it is missing, old, or refused; another process may have done so already.

        Raises:
            CredentialsRejected: see ``token``.
        """
        if self._rejected is not None:
            # Ten failed logins in a minute block the whole address: what is wrong once stays wrong.
            raise CredentialsRejected(self._rejected.message, where=self._rejected.where, remedy=self._rejected.remedy)
        self._take(self._tokens.renew(self._token, self._make))

    def _make(self, known: Token | None) -> Token:
        if known is not None and known.refresh:
            try:
                return self._refresh(known.refresh)
            except SessionExpired:
                pass
        config = self._config
        body = {"login": config.login, "password": config.password}
        if config.service:
            body["service"] = config.service
        try:
            answer = self._session.request(
                "POST", "/auth/login", {"jwt": 1}, json=body, repeatable=True, judge=self._verdicts.login
            )
        except CredentialsRejected as error:
            self._rejected = error
            raise
        return _token(answer, None)

    def _refresh(self, refresh: str) -> Token:
        self._session.redactor = self._config.redactor(refresh)
        # Not repeated: where the old refresh token is revoked, a second try would be refused (OMN-03).
        answer = self._session.request(
            "POST", "/auth/refresh", headers={"Authorization": f"JWT {refresh}"}, judge=self._verdicts.refresh
        )
        return _token(answer, refresh)

    def _take(self, token: Token | None) -> None:
        self._token = token
        if token is not None:
            self._session.redactor = self._config.redactor(token.access, token.refresh)


def require_litres(claims: Mapping[str, Any], feed: str) -> None:
    """Refuse fuel where the vendor does not count in litres: nobody knows how its numbers are scaled then (OMN-11).

    Raises:
        ConfigError: the token names another unit.
    """
    server = claims.get("server")
    unit = server.get("volume_units") if isinstance(server, Mapping) else None
    if unit not in (None, "L"):
        raise ConfigError(
            f"this server counts volumes in {unit!r}: what its fuel numbers mean is not confirmed (OMN-11)",
            where=feed,
            remedy="leave out the feeds with fuel for this account, or ask the vendor for a server in litres",
        )


def claims_of(access: str) -> dict[str, Any]:
    """Payload of a JWT, unchecked; empty when it is none."""
    parts = access.split(".")
    if len(parts) != 3:
        return {}
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (binascii.Error, msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return {}


def _token(answer: Answer, old_refresh: str | None) -> Token:
    """The token of an answer; without a new refresh token the old one goes on."""
    found = object_of(answer)
    access, refresh = found.get("jwt"), found.get("refresh")
    if not isinstance(access, str) or not access:
        raise MalformedAnswer("the vendor gave no access token", where=answer.request, remedy="check base_url")
    return Token(
        access=access,
        refresh=refresh if isinstance(refresh, str) and refresh else old_refresh,
        expires_at=_expiry(claims_of(access), answer.fetched_at),
    )


def _life(claims: Mapping[str, Any]) -> dt.timedelta | None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if isinstance(issued, int | float) and isinstance(expires, int | float) and expires > issued:
        return dt.timedelta(seconds=expires - issued)
    return None


def _expiry(claims: Mapping[str, Any], now: dt.datetime) -> dt.datetime | None:
    """By our clock: with a clock that goes wrong every token would look expired, and each request would log in."""
    life = _life(claims)
    if life is not None:
        return now + life - dt.timedelta(seconds=1)  # the claims are whole seconds, cut off
    expires = claims.get("exp")
    return dt.datetime.fromtimestamp(expires, dt.UTC) if isinstance(expires, int | float) else None


def _margin(token: Token, wanted: dt.timedelta) -> dt.timedelta:
    life = _life(claims_of(token.access))
    return wanted if life is None else min(wanted, life / 5)
