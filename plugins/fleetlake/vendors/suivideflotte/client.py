"""Calls of the SuiviDeFlotte interface, its two kinds of keys, and what its errors mean."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import quote

import msgspec

from fleetlake.errors import (
    AccessDenied,
    ConfigError,
    CredentialsRejected,
    FleetlakeError,
    MalformedAnswer,
    RateLimited,
    ScopeUnavailable,
    SessionExpired,
    UnsupportedVersion,
    VendorUnavailable,
)
from fleetlake.http.answers import Answer, judge
from fleetlake.http.rate_gate import LocalGate, RateGate
from fleetlake.http.session import Judge, VendorSession
from fleetlake.http.tokens import LocalTokens, Token, TokenStore
from fleetlake.reading import Lane
from fleetlake.vendors.suivideflotte import decode
from fleetlake.vendors.suivideflotte.config import SuiviDeFlotteConfig
from fleetlake.vendors.suivideflotte.quota import Minute, pause_of

VENDOR_PAGE = 15
"""Rows of a page when nothing else is asked for; no limit of a page is below it."""


class _Grant(msgspec.Struct):
    access_token: str
    refresh_token: str | None = None
    expires_in: float | None = None
    expire_in: float | None = None  # so the vendor's text spells it, once


class SuiviDeFlotteClient:
    """One SuiviDeFlotte account. Use it from one thread at a time; ``close`` may come from any.

    Args:
        config: address and key.
        gate: rate gate of the user, shared by all processes; ``None`` = one of this process.
        tokens: where an application key's token is, shared by all processes; ``None`` = in this client.
        lane: whose requests these are.
    """

    def __init__(
        self,
        config: SuiviDeFlotteConfig,
        *,
        gate: RateGate | None = None,
        tokens: TokenStore | None = None,
        lane: Lane = Lane.SCHEDULED,
    ) -> None:
        self.config = config
        self.per_page = config.per_page
        """Rows asked for per page: the largest the vendor has not refused."""
        self._gate = gate or LocalGate(config.rate_per_s, burst=config.burst)
        self._minute = Minute(config.reserve)
        self._tokens = tokens or LocalTokens()
        self._token = Token(config.token) if config.token else None
        self._session = VendorSession(config.session_options(), gate=self._gate, lane=lane, redactor=config.redactor())
        self._session.set_header("X-Version", config.api_version)

    # --- calls ----------------------------------------------------------------------------------------------------------

    def page(self, path: str, query: Mapping[str, str], *, page: int, per_page: int | None = None) -> Answer:
        """``GET`` one page of a list. A refusal of a page past the end is an answer, with status 422 (SDF-04).

        Args:
            path: of the list, below the base URL.
            query: other parameters; see ``filters``.
            page: from 1.
            per_page: rows of a page; ``None`` = the largest accepted. A size that is refused is given up for good.
        """
        size = per_page or self.per_page
        try:
            verdict = functools.partial(_judge_page, page)
            return self.get(path, {**query, "page": str(page), "perpage": str(size)}, judge=verdict)
        except Unusable as error:
            is_about_size = page == 1 and size > VENDOR_PAGE and (not error.texts or "perpage" in error.texts)
            if not is_about_size:
                raise
        answer = self.page(path, query, page=page, per_page=VENDOR_PAGE)
        self.per_page = VENDOR_PAGE
        return answer

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, judge: Judge | None = None) -> Answer:
        """``GET`` with the account's key; an application key's token is renewed once when the vendor refuses it.

        Raises:
            FleetlakeError: what the answer means.
        """
        self._authorise()
        try:
            return self._send("GET", path, query or {}, judge=judge or judge_call)
        except SessionExpired:
            if self.config.token:
                self._reject_token()
        # Once, never in a loop: a new token that does not help will not help the next time either.
        self._authorise(refused=self._token)
        return self._send("GET", path, query or {}, judge=judge or judge_call)

    def check(self, vehicles: str = "/vehicles") -> str:
        """Try the connection.

        Args:
            vehicles: path of the list of vehicles.

        Returns:
            What works.

        Raises:
            FleetlakeError: what is wrong, and how to mend it.
        """
        answer = self.page(vehicles, {}, page=1, per_page=VENDOR_PAGE)
        found = decode.listing(answer.body)
        more = "at least " if (found.last_page or 1) > 1 else ""
        key = "persistent token" if self.config.token else "application key"
        return f"SuiviDeFlotte accepts the {key}; {more}{len(found.data)} vehicles are visible"

    def close(self) -> None:
        """Give back sockets."""
        self._session.close()

    # --- keys -----------------------------------------------------------------------------------------------------------

    def _authorise(self, refused: Token | None = None) -> None:
        """Have a token that should be accepted: the one known, or one renewed by whoever is first to see it refused."""
        if not self.config.token:
            token = self._token or self._tokens.current()
            if token is None or refused is not None or not token.is_fresh():
                token = self._tokens.renew(refused or token, self._make_token)
            self._token = token
            self._session.redactor = self.config.redactor(token.access, token.refresh)
        assert self._token is not None  # noqa: S101 - the config has a token, or the store has given one
        self._session.set_header("Authorization", f"Bearer {self._token.access}")

    def _make_token(self, known: Token | None) -> Token:
        """Refresh, and log in where that is refused: the refresh token is single use (SDF-09) and lives ten days."""
        config = self.config
        key = {"client_id": config.client_id, "client_secret": config.client_secret}
        if known is not None and known.refresh:
            self._session.redactor = config.redactor(known.access, known.refresh)
            try:
                return self._grant("/oauth2/refresh", {**key, "refresh_token": known.refresh}, judge_refresh)
            except SessionExpired:
                pass
        return self._grant("/oauth2", {**key, "username": config.username, "password": config.password}, judge_login)

    def _grant(self, path: str, body: Mapping[str, str | None], verdict: Judge) -> Token:
        # A refresh that was carried out but not answered is repeated too: it is refused then, and a login follows.
        answer = self._send("POST", path, {}, json=body, judge=verdict, repeatable=True, headers={"Authorization": None})
        self._session.forget_cookies()  # meant for browsers
        try:
            grant = msgspec.json.decode(answer.body, type=_Grant)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
            raise MalformedAnswer("the vendor gave no token", where=answer.request, remedy="check base_url") from None
        # The token's own `exp` has been seen to contradict this, so it is not read. Without a word only a 401 tells.
        seconds = grant.expires_in if grant.expires_in is not None else grant.expire_in
        ends = None if seconds is None else answer.fetched_at + dt.timedelta(seconds=seconds)
        return Token(grant.access_token, grant.refresh_token, ends)

    def _reject_token(self) -> NoReturn:
        raise CredentialsRejected(
            "the vendor does not accept the persistent token (HTTP 401): it was revoked, or its five years are over",
            where="token",
            remedy="a Super Administrateur generates a new one in the product; set it in the connection",
        ) from None

    # --- sending --------------------------------------------------------------------------------------------------------

    def _send(self, method: str, path: str, query: Mapping[str, Any], *, judge: Judge, **more: Any) -> Answer:
        return self._session.request(method, path, query, judge=functools.partial(self._watched, judge), **more)

    def _watched(self, verdict: Judge, answer: Answer) -> FleetlakeError | None:
        """Every answer, refusals too, says how much of the vendor's minute is left."""
        if answer.status == 429:
            return _too_many(answer)
        if pause := self._minute.watch(answer):
            self._gate.penalise(pause)
        return verdict(answer)


class Unusable(ConfigError):
    """A 422: the vendor cannot use a parameter. ``texts`` says which, where the vendor does."""

    texts: Mapping[str, Sequence[str]] = {}


def filters(
    *,
    fields: Sequence[str] = (),
    equals: Mapping[str, str] | None = None,
    like: Mapping[str, str] | None = None,
    sort: Sequence[str] = (),
) -> dict[str, str]:
    """The vendor's filters as query parameters (section 2.1).

    Args:
        fields: only these fields.
        equals: strict matches, by field.
        like: partial matches, by field.
        sort: fields; a minus in front sorts downwards.

    Raises:
        ConfigError: a name or value holds a comma or a colon, for which no escape is known, or a field comes twice.
    """
    names = {"fields": list(fields), "sort": [name.removeprefix("-") for name in sort]}
    for parameter, given in names.items():
        if len(set(given)) < len(given):
            raise ConfigError(f"a field comes twice in {parameter}={','.join(given)}", remedy="name it once")
    pairs = {"equals": dict(equals or {}), "like": dict(like or {})}
    for parameter, texts in [*names.items(), *((name, [*pair, *pair.values()]) for name, pair in pairs.items())]:
        for text in texts:
            if not text or "," in text or ":" in text:
                raise ConfigError(
                    f"{parameter} cannot hold {text!r}: the vendor knows no escape for comma and colon",
                    where=parameter,
                    remedy="ask for all and filter here",
                )
    query = {"fields": ",".join(fields), "sort": ",".join(sort)}
    query |= {name: ",".join(f"{key}:{value}" for key, value in pair.items()) for name, pair in pairs.items()}
    return {name: text for name, text in query.items() if text}


def segment(text: str) -> str:
    """One path segment: whatever it holds stays inside it."""
    return quote(text, safe="")


# --- what answers mean --------------------------------------------------------------------------------------------------


def judge_call(answer: Answer) -> FleetlakeError | None:
    """An answer to a call with a key. The status decides, the body only adds words."""
    status = answer.status
    if answer.is_html and status != 401:
        return judge(answer)
    words = decode.error_words(answer.body) or answer.first_line()
    said = f" (HTTP {status}): {words}" if words else f" (HTTP {status})"
    if status == 401:
        return SessionExpired(f"the vendor does not accept the access token{said}", where=answer.request)
    if status == 400 and "version" in words.lower():
        return UnsupportedVersion(f"the vendor refused the version{said}", where=answer.request, remedy="check api_version")
    if status == 403:
        return AccessDenied(
            f"the key has no right to this{said}",
            where=answer.request,
            remedy="a Super Administrateur grants its scope: a persistent token is generated anew with it",
        )
    if status == 404:
        return ConfigError(
            f"the vendor does not know this list{said}",
            where=answer.request,
            remedy="check the path in include/suivideflotte, and base_url",
        )
    if status == 422:
        error = Unusable(
            f"the vendor cannot use the parameters{said}",
            where=answer.request,
            remedy="mend the names in include/suivideflotte, or the settings of the connection",
        )
        error.texts = decode.refusals(answer.body)
        return error
    if status == 200 and (told := decode.error_words(answer.body)):
        # Here, where the session masks what the vendor echoes.
        return MalformedAnswer(
            f"the answer is an error of the vendor: {told}",
            where=answer.request,
            remedy="it is asked for again by the next run",
        )
    if status >= 500:
        return VendorUnavailable(f"the vendor failed{said}", where=answer.request, remedy="it is tried again")
    return judge(answer)


def judge_vehicle(vehicle: str, answer: Answer) -> FleetlakeError | None:
    """An answer about one vehicle, which may have gone."""
    if answer.status == 404 and not answer.is_html:
        return ScopeUnavailable(f"the vendor has no vehicle {vehicle} (any more) (HTTP 404)", where=answer.request)
    return judge_call(answer)


def judge_login(answer: Answer) -> FleetlakeError | None:
    """An answer to a login: whatever the refusal's status and code, the key or its user is wrong."""
    if answer.status in (400, 401, 403, 422) and not answer.is_html:
        return CredentialsRejected(
            f"the vendor does not accept the login (HTTP {answer.status}): {decode.error_words(answer.body)}",
            where=answer.request,
            remedy="check client_id and client_secret, username and password",
        )
    return judge_call(answer)


def judge_refresh(answer: Answer) -> FleetlakeError | None:
    """An answer to a refresh: a token that is spent, revoked or unreadable is refused with 400; then a login follows."""
    if answer.status in (400, 401, 403, 422) and not answer.is_html:
        words = decode.error_words(answer.body)
        return SessionExpired(f"the vendor does not renew the token (HTTP {answer.status}): {words}", where=answer.request)
    return judge_call(answer)


def _judge_page(page: int, answer: Answer) -> FleetlakeError | None:
    return None if page > 1 and answer.status == 422 and decode.is_end(answer.body) else judge_call(answer)


def _too_many(answer: Answer) -> RateLimited:
    return RateLimited(
        "the vendor's 60 calls of this minute are used up (HTTP 429)",
        where=answer.request,
        remedy="it is tried again; are other programs using this user?",
        retry_after=pause_of(answer),
    )
