"""What RCS checks in a request before it does anything, and how it says no."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fleetlake.sandbox.rcs.assumptions import RcsAssumptions

_VERSION = re.compile(r"^(\d+)\.(\d+)$")
_NAIVE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$")
SEVERITIES = ("OK", "TROUBLE_IS_PRESENT", "DTC_IS_PRESENT")


class Refused(Exception):
    """The request is not executed.

    Args:
        status: everything but 400 has an empty body.
        code, source, message: content of the 400 body.
    """

    def __init__(self, status: int, code: str = "", source: str | None = None, message: str = "") -> None:
        super().__init__(code or str(status))
        self.status = status
        self.code = code
        self.source = source
        self.message = message

    def response(self) -> Response:
        """The answer."""
        if self.status != 400:
            return Response(status_code=self.status)
        error = {"code": self.code, "message": self.message or self.code}
        return JSONResponse({"error": error | ({"source": self.source} if self.source else {})}, status_code=400)


def check_headers(request: Request, assumptions: RcsAssumptions, *, version_required: bool, has_body: bool) -> None:
    """Accept (406), content type (415) and version, in this order."""
    accept = request.headers.get("accept", "*/*")
    ranges = [part.split(";") for part in accept.lower().split(",")]
    json_like = [part for part in ranges if part[0].strip() in ("*/*", "application/*", "application/json", "")]
    if not any(not any(re.fullmatch(r"q=0(\.0*)?", item.strip()) for item in part[1:]) for part in json_like):
        raise Refused(406)
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if has_body and content_type not in ("", "application/json"):
        raise Refused(415)
    check_version(request.headers.get("x-api-version"), assumptions, required=version_required)


def check_version(version: str | None, assumptions: RcsAssumptions, *, required: bool) -> None:
    """The version matrix of section 1.3 of the vendor page."""
    source = "X-API-Version"
    if not version:
        if (required and assumptions.version_required) or version == "":
            raise Refused(400, "VALUE_REQUIRED", source, "the header is required")
        return
    asked = _VERSION.match(version)
    if not asked:
        raise Refused(400, "INVALID_FORMAT", source, "a version has the form X.Y")
    major, minor = int(asked[1]), int(asked[2])
    for entry in versions(assumptions):
        listed_major, listed_minor = map(int, entry.split("."))
        if major == listed_major and (minor == listed_minor if major == 0 else minor <= listed_minor):
            return
    raise Refused(400, "UNSUPPORTED_VERSION", source, f"supported: {assumptions.versions}")


def versions(assumptions: RcsAssumptions) -> list[str]:
    """Entries of ``GET /``."""
    return [entry.strip() for entry in assumptions.versions.split(",")]


def a_datetime(request: Request, name: str, *, required: bool) -> int | None:
    """A query value of type datetime, seconds since 1970."""
    value = request.query_params.get(name)
    if value is None and not required:
        return None
    if not value:
        raise Refused(400, "VALUE_REQUIRED", name, "the value is required")
    try:
        if not _NAIVE.match(value):
            raise ValueError
        return int(dt.datetime.fromisoformat(value).replace(tzinfo=dt.UTC).timestamp())
    except ValueError:
        raise Refused(400, "INVALID_FORMAT", name, "a datetime has the form YYYY-MM-DDThh:mm:ss") from None


def a_positive_integer(request: Request, name: str, *, default: int, maximum: int) -> int:
    """A query value that is greater than zero. Zero and negative numbers are a matter of format here."""
    value = request.query_params.get(name)
    if value is None:
        return default
    if value == "":
        raise Refused(400, "VALUE_REQUIRED", name, "the value is required")
    if not re.fullmatch(r"-?\d{1,18}", value) or int(value) <= 0:
        raise Refused(400, "INVALID_FORMAT", name, "a positive integer is expected")
    if int(value) > maximum:
        raise Refused(400, "OUT_OF_RANGE", name, f"at most {maximum}")
    return int(value)


def one_of(request: Request, name: str, values: Sequence[str]) -> str | None:
    """A query value of an enum type."""
    value = request.query_params.get(name)
    if value is None:
        return None
    if value == "":
        raise Refused(400, "VALUE_REQUIRED", name, "the value is required")
    if value not in values:
        raise Refused(400, "INVALID_FORMAT", name, f"one of {', '.join(values)}")
    return value


def report_window(request: Request, assumptions: RcsAssumptions) -> tuple[int, int]:
    """``from`` and ``to`` of a report request: both required, in order, touching at most seven calendar days."""
    start, end = a_datetime(request, "from", required=True), a_datetime(request, "to", required=True)
    assert start is not None  # noqa: S101  (required)
    assert end is not None  # noqa: S101
    if end < start:
        raise Refused(400, "OUT_OF_RANGE", "to", "before `from`")
    if end // 86_400 - start // 86_400 >= assumptions.window_days:
        raise Refused(400, assumptions.window_error, "to", f"at most {assumptions.window_days} calendar days")
    return start, end
