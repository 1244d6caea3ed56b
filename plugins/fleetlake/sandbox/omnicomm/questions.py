"""Parameters of a request, and the vendor's ways to refuse one: HTTP 200 and a code in the body, mostly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

DENIED, MISSING, BAD_INTERVAL, NO_OBJECT, BAD_FORMAT = 1, 3, 4, 5, 13
_NO_SECONDS = 100_000_000_000
"""From here on a number is no time in seconds: somebody sent milliseconds."""


class Refused(Exception):
    """The request is not executed.

    Args:
        code: in the body of HTTP 200; ``None`` = ``status`` with an empty body.
        message: the vendor's words.
        status: HTTP status.
    """

    def __init__(self, code: int | None, message: str = "", status: int = 200) -> None:
        super().__init__(message or str(code or status))
        self.code = code
        self.message = message
        self.status = status

    def response(self, *, nested: bool = False) -> Response:
        """The answer; ``nested`` = in the envelope of events."""
        if self.code is None:
            return Response(status_code=self.status)
        envelope: dict[str, Any] = {"code": self.code, "message": self.message}
        return answer({"status": envelope, "events": []} if nested else envelope, self.status)


def answer(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return JSONResponse(value, status_code=status)


class Question:
    """A request whose body has been read.

    Args:
        request: path and query.
        body: bytes of a POST.
        customer: who asks.
    """

    def __init__(self, request: Request, body: bytes, customer: str) -> None:
        self.customer = customer
        self.path: Mapping[str, str] = request.path_params
        self._values: Mapping[str, Any] = request.query_params
        if request.method == "POST":
            self._values = fields_of(body)

    def given(self, name: str, default: Any = None) -> Any:
        """A value as it was sent."""
        return self._values.get(name, default)

    def required(self, name: str) -> Any:
        """A value that must be there."""
        value = self._values.get(name)
        if value is None or value == "":
            raise Refused(MISSING, f"{name} is required")
        return value

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number; texts of digits pass."""
        value = self.required(name) if default is None else self.given(name, default)
        if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,15}", str(value).strip()):
            raise Refused(BAD_FORMAT, f"invalid format of {name}")
        return int(value)

    def interval(self, begin: str = "timeBegin", end: str = "timeEnd") -> tuple[int, int]:
        """Two times in seconds."""
        times = self.number(begin), self.number(end)
        if times[0] >= times[1] or times[1] >= _NO_SECONDS or times[0] < 0:
            raise Refused(BAD_INTERVAL, "bad interval")
        return times

    def milliseconds(self, begin: str, end: str) -> tuple[int, int]:
        """Two times in milliseconds, given back in seconds."""
        times = self.number(begin), self.number(end)
        if times[0] >= times[1] or times[0] < _NO_SECONDS:
            raise Refused(BAD_INTERVAL, "bad interval")
        return times[0] // 1000, times[1] // 1000

    def numbers(self, name: str) -> list[int]:
        """An array of whole numbers, or the same in a text: ``[1, 2]``."""
        value = self.required(name)
        if isinstance(value, str):
            text = value.strip()
            if not re.fullmatch(r"\[[\d,\s]*\]", text):
                raise Refused(BAD_FORMAT, f"invalid format of {name}")
            value = [int(part) for part in text[1:-1].split(",") if part.strip()]
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise Refused(BAD_FORMAT, f"invalid format of {name}")
        if not value:
            raise Refused(MISSING, f"{name} is required")
        return value

    def words(self, name: str, default: str) -> list[str]:
        """Words in square brackets."""
        return [word.strip() for word in str(self.given(name, default)).strip("[] ").split(",") if word.strip()]


def fields_of(body: bytes) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(body)
    except ValueError:
        raise Refused(BAD_FORMAT, "invalid format") from None
    if not isinstance(value, dict):
        raise Refused(BAD_FORMAT, "invalid format")
    return value
