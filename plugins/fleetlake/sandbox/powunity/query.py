"""Parameters of a request, read the way the server reads them."""

from __future__ import annotations

import datetime as dt
import re

from starlette.requests import Request

from fleetlake.sandbox.powunity import answers
from fleetlake.sandbox.powunity.model import to_ms

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)")


class Query:
    """Query and path parameters; a value that cannot be read is an unknown address (404)."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def texts(self, name: str) -> list[str]:
        """All values of a repeatable parameter."""
        return self.request.query_params.getlist(name)

    def numbers(self, name: str) -> list[int]:
        """All values of a repeatable number. There are no comma lists."""
        return [_number(text) for text in self.texts(name)]

    def number(self, name: str) -> int:
        """A number, 0 when absent."""
        return next(iter(self.numbers(name)), 0)

    def flag(self, name: str) -> bool:
        """A switch."""
        return next(iter(self.texts(name)), "").lower() == "true"

    def time(self, name: str) -> int | None:
        """A moment in milliseconds since 1970, ``None`` when absent."""
        text = next(iter(self.texts(name)), None)
        return None if text is None else self.moment(text)

    def window(self) -> tuple[int, int]:
        """``from`` and ``to``, both required."""
        start, end = self.time("from"), self.time("to")
        if start is None or end is None:
            raise answers.no_date()
        return start, end

    def segment(self, index: int) -> str:
        """Part of the path after ``/api/``."""
        return self.request.url.path.split("/")[2 + index]

    def path_text(self, name: str) -> str:
        """A variable part of the path."""
        return str(self.request.path_params[name])

    def path_number(self, name: str) -> int:
        """A number in the path."""
        return _number(self.path_text(name))

    @staticmethod
    def moment(text: str) -> int:
        """A full ISO 8601 moment with zone; an unescaped plus has become a blank and is refused."""
        if not _MOMENT.fullmatch(text):
            raise answers.bad_date(text)
        try:
            return to_ms(dt.datetime.fromisoformat(text))
        except ValueError:
            raise answers.bad_date(text) from None


def accepts(request: Request, kind: str, *, wildcard: bool = True) -> bool:
    """The caller takes ``kind``; with ``wildcard`` also when he takes anything, or says nothing."""
    wanted = [part.split(";")[0].strip().lower() for part in request.headers.get("accept", "*/*").split(",")]
    named = kind in wanted or f"{kind.split('/', maxsplit=1)[0]}/*" in wanted
    return named or (wildcard and "*/*" in wanted)


def _number(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,18}", text):
        raise answers.bad_number(text)
    return int(text)
