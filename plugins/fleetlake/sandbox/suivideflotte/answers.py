"""How this vendor writes: its JSON, its two shapes of errors, its times."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from starlette.responses import Response

from fleetlake.sandbox.world import moment

_NAIVE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?")
_ZONED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:?\d\d)")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)


class ApiError(Exception):
    """Refusal of a resource: ``{"code", "message"}``.

    Args:
        status: HTTP status, also the ``code``.
        message: text, or texts by field (422).
    """

    def __init__(self, status: int, message: str | Mapping[str, list[str]]) -> None:
        super().__init__(str(message))
        self.status = status
        self.message = message

    def response(self) -> Response:
        """The answer."""
        return answer({"code": self.status, "message": self.message}, self.status)


class OauthError(Exception):
    """Refusal of a login or refresh: ``{"error", "message", "hint"?}``.

    Args:
        status: HTTP status.
        error: the machine's word.
        message: the person's words.
        hint: more of them.
    """

    def __init__(self, status: int, error: str, message: str, hint: str | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, "message": message} | ({"hint": hint} if hint else {})

    def response(self) -> Response:
        """The answer; one about the client asks for its credentials."""
        asks = {"WWW-Authenticate": 'Basic realm="OAuth"'} if self.body["error"] == "invalid_client" else {}
        return answer(self.body, self.status, asks)


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer as the framework's language writes it.

    Slashes and letters beyond ASCII are escaped, and a number without decimals is written as an integer.
    """
    text = json.dumps(_plain(value), separators=(",", ":")).replace("/", "\\/")
    return Response(text, status, dict(headers or {}), media_type="application/json")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


class Times:
    """Times as one account writes and compares them (SDF-05).

    Args:
        zone: name of the account's time zone.
        form: ``local`` or ``iso``.
    """

    def __init__(self, zone: str, form: str) -> None:
        self._zone = ZoneInfo(zone)
        self._iso = form == "iso"

    def text(self, seconds: float | None) -> str | None:
        """Seconds since 1970 as text."""
        if seconds is None:
            return None
        local = moment(int(seconds)).astimezone(self._zone)
        return local.isoformat() if self._iso else local.strftime("%Y-%m-%d %H:%M:%S")

    def wall(self, seconds: float) -> int:
        """Seconds on the wall clock: what the vendor stores and compares, so an hour in October exists twice."""
        return _count(moment(int(seconds)).astimezone(self._zone).replace(tzinfo=None))

    def read(self, text: str) -> int | None:
        """Wall seconds of a date, a local time or a time with offset; ``None`` if it is none."""
        try:
            if _NAIVE.fullmatch(text):
                return _count(dt.datetime.fromisoformat(text))
            if _ZONED.fullmatch(text):
                return self.wall(dt.datetime.fromisoformat(text).timestamp())
        except ValueError:
            pass
        return None


def _count(wall: dt.datetime) -> int:
    return int((wall - _EPOCH).total_seconds())
