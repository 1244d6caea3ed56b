"""What Omnicomm's answers mean: HTTP status, and the code inside answers with status 200 (page section 1.4).

Two official tables of codes disagree, and live answers use code 3 (session over) for a missing parameter too. So no code
but 2 ever leads to a login, and the vendor's message is always kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from fleetlake.errors import (
    AccessDenied,
    ConfigError,
    CredentialsRejected,
    FleetlakeError,
    MalformedAnswer,
    RateLimited,
    Retriable,
    ScopeUnavailable,
    SessionExpired,
    VendorUnavailable,
)
from fleetlake.http.answers import Answer, judge, retry_after

OK, NO_DATA, LOCKED = 0, 10, 11
REFUSALS = frozenset({1, 5, 7, 9})
"""No access, no such object, unusable object, no rights: about a vehicle, where the request names vehicles."""

_WRONG_REQUEST = frozenset({4, 6, 8, 12, 13, 15})
_PARAMETER = ("required", "parameter", "missing")


class Status(msgspec.Struct, frozen=True):
    """Code and words inside an answer."""

    code: int
    message: str = ""

    def __str__(self) -> str:
        return f"code {self.code}: {self.message}" if self.message else f"code {self.code}"


class _Inner(msgspec.Struct):
    code: int | str | None = None
    message: str | None = None


class _Envelope(_Inner):
    status: msgspec.Raw = msgspec.Raw(b"null")  # a vehicle's state has a `status` too, a boolean


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_INNER = msgspec.json.Decoder(_Inner)


def status_of(body: bytes) -> Status:
    """The status inside an answer: ``code`` or ``status.code``; none, or no envelope at all, is 0."""
    if body.lstrip()[:1] != b"{":
        return Status(OK)
    try:
        outer = _ENVELOPE.decode(body)
        nested = outer.code is None and bytes(outer.status).lstrip()[:1] == b"{"
        found = _INNER.decode(outer.status) if nested else outer
        return Status(int(found.code or 0), (found.message or "").strip())
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError, ValueError):
        return Status(OK)  # no envelope of this kind: whoever reads the rows says what is wrong


class Verdicts:
    """Verdicts on one account's answers.

    Args:
        blocks: HTTP statuses of a block (OMN-02).
        block_s: how long a block lasts when it does not say so (OMN-02).
        locked_retry_s: when to ask again for a locked interval (OMN-12).
    """

    def __init__(self, blocks: frozenset[int], block_s: float, locked_retry_s: float) -> None:
        self._blocks = blocks
        self._block_s = block_s
        self._locked_retry_s = locked_retry_s

    def login(self, answer: Answer) -> FleetlakeError | None:
        """An answer to a login. Bad credentials are 401 or 403, or code 1 with any status."""
        if answer.status in self._blocks:
            return self._block(answer)
        status = status_of(answer.body)
        if (answer.status in (401, 403) and not answer.is_html) or status.code != OK:
            words = f": {status.message}" if status.message else ""
            return CredentialsRejected(
                f"the vendor does not accept the login (HTTP {answer.status}, code {status.code}){words}",
                where=answer.request,
                remedy="check login and password; do not try often: ten failed logins a minute block this address",
            )
        return judge(answer)

    def refresh(self, answer: Answer) -> FleetlakeError | None:
        """An answer to a refresh; a refused one is ``SessionExpired``: a login follows."""
        if answer.status in self._blocks:
            return self._block(answer)
        if answer.status in (400, 401, 403) or (answer.status == 200 and status_of(answer.body).code != OK):
            return SessionExpired("the vendor does not accept the refresh token", where=answer.request, remedy="log in")
        return judge(answer)

    def fleet(self, answer: Answer) -> FleetlakeError | None:
        """An answer about the whole account."""
        return self._call(answer, AccessDenied)

    def vehicle(self, answer: Answer) -> FleetlakeError | None:
        """An answer about one vehicle."""
        return self._call(answer, ScopeUnavailable)

    def batch(self, answer: Answer) -> FleetlakeError | None:
        """An answer about several vehicles: a refusal is no error, it says that one of them is out of reach."""
        return None if refusal(answer) else self._call(answer, AccessDenied)

    def _call(self, answer: Answer, refused: Callable[..., FleetlakeError]) -> FleetlakeError | None:
        if answer.status in self._blocks:
            return self._block(answer)
        words = answer.first_line()
        if answer.status == 401:
            return SessionExpired("the vendor does not accept the access token (HTTP 401)", where=answer.request)
        if answer.is_html or answer.status != 200:
            is_unknown_path = "path not found" in words.lower()
            if refused is ScopeUnavailable and not answer.is_html and answer.status in (403, 404) and not is_unknown_path:
                return ScopeUnavailable(
                    f"the vendor refuses this vehicle (HTTP {answer.status}): {words}",
                    where=answer.request,
                    remedy="ask the vendor for access to it",
                )
            return judge(answer)
        if answer.body.lstrip()[:1] not in (b"{", b"[", b""):
            # Its words are told here, where the session masks what the vendor echoes.
            return MalformedAnswer(
                f"the answer is a text: {words}", where=answer.request, remedy="it is asked for again by the next run"
            )
        return self._code(status_of(answer.body), answer, refused)

    def _code(self, status: Status, answer: Answer, refused: Callable[..., FleetlakeError]) -> FleetlakeError | None:
        if status.code in (OK, NO_DATA):
            return None
        message, where = f"the vendor refuses with {status}", answer.request
        if status.code in REFUSALS:
            return refused(message, where=where, remedy="ask the vendor for access")
        if status.code == LOCKED:
            return Retriable(
                message, where=where, remedy="the owner has locked this interval", retry_after=self._locked_retry_s
            )
        if status.code == 2:
            return SessionExpired(message, where=where)
        is_about_parameter = any(word in status.message.lower() for word in _PARAMETER)
        if status.code in _WRONG_REQUEST or (status.code == 3 and is_about_parameter):
            return ConfigError(message, where=where, remedy="mend the parameter; a bad interval: cut the window")
        if status.code == 14:
            return VendorUnavailable(message, where=where, remedy="it is tried again")
        return MalformedAnswer(message, where=where, remedy="it is asked for again by the next try")

    def _block(self, answer: Answer) -> FleetlakeError:
        wait = retry_after(answer)
        return RateLimited(
            f"the vendor has blocked the user or this address (HTTP {answer.status})",
            where=answer.request,
            remedy="it is tried again; lower rate_per_min if this lasts, and look who else uses the login",
            retry_after=self._block_s if wait is None else wait,
        )


def refusal(answer: Answer) -> str:
    """The vendor's words when it refuses a batch because of a vehicle in it; empty otherwise."""
    if answer.status != 200 or answer.is_html:
        return ""
    status = status_of(answer.body)
    return str(status) if status.code in REFUSALS else ""


def object_of(answer: Answer) -> dict[str, Any]:
    """A JSON object.

    Raises:
        MalformedAnswer: the body is none.
    """
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        pass
    raise MalformedAnswer("the answer is no JSON object", where=answer.request, remedy="check base_url")
