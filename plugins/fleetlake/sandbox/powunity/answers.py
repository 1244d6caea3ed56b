"""Answers of the server: JSON, and the error texts it labels as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

JSON = "application/json"


class ApiError(Exception):
    """An answer other than success: plain text, mostly labelled as JSON.

    Args:
        status: HTTP status; a missing right is 400, never 403.
        text: the body.
        labelled: with ``Content-Type: application/json`` although it is no JSON; else without any content type.
        headers: more headers.
    """

    def __init__(self, status: int, text: str, *, labelled: bool = True, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.labelled = labelled
        self.headers = headers or {}

    def response(self) -> Response:
        """The answer."""
        return plain(self.text, JSON if self.labelled else None, status=self.status, headers=self.headers)


def json_answer(value: Any, status: int = 200) -> Response:
    """A JSON answer in the order of the dictionaries' keys; nulls are written."""
    return plain(msgspec.json.encode(value), JSON, status=status)


def plain(
    body: str | bytes, content_type: str | None, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """An answer with exactly this content type (no charset added); ``None`` = no such header."""
    response = Response(body, status_code=status, headers=headers)
    if content_type is not None:
        response.headers["content-type"] = content_type
    return response


def unauthorized(accept: str) -> ApiError:
    """Nobody is logged in. Only a caller who accepts HTML is asked for a login."""
    asks = {"WWW-Authenticate": 'Basic realm="api"'} if "text/html" in accept else {}
    return ApiError(
        401,
        "HTTP 401 Unauthorized - WebApplicationException (SecurityRequestFilter:132 < ... < OverrideFilter:49 < ...)",
        headers=asks,
    )


def bad_login() -> ApiError:
    """Wrong e-mail, password or token: this version stumbles over its own null."""
    return ApiError(
        400,
        'Cannot invoke "org.traccar.api.security.LoginResult.getUser()" because the return value of '
        '"org.traccar.api.security.LoginService.login(String, String, java.lang.Integer)" is null - '
        "NullPointerException (SessionResource:121 < ... < OverrideFilter:49 < ...)",
    )


def denied(what: str = "Device") -> ApiError:
    """A missing right, or an object that does not exist: the same for a plain user."""
    return ApiError(
        400,
        f"{what} access denied - SecurityException (PermissionsService:220 < BaseObjectResource:59 < ... < "
        "OverrideFilter:49 < ...)",
    )


def administrator_only() -> ApiError:
    """Asked by a plain user."""
    return ApiError(
        400, "Administrator access required - SecurityException (PermissionsService:60 < ... < OverrideFilter:49 < ...)"
    )


def read_only() -> ApiError:
    """A write by an account that may only read."""
    return ApiError(
        400,
        "Account is readonly - SecurityException (PermissionsService:118 < BaseObjectResource:70 < ... < "
        "OverrideFilter:49 < ...)",
    )


def no_position() -> ApiError:
    """``GET /positions?id=`` with an id that does not exist."""
    return ApiError(
        400,
        'Cannot invoke "org.traccar.model.Position.getDeviceId()" because "<local10>" is null - NullPointerException '
        "(PositionResource:73 < ... < OverrideFilter:49 < ...)",
    )


def no_date() -> ApiError:
    """A report without ``from`` or ``to``."""
    return ApiError(
        400,
        "date must not be null - NullPointerException (... < LogAction:120 < ReportResource:250 < ... < "
        "OverrideFilter:49 < ...)",
    )


def bad_date(text: str) -> ApiError:
    """A date that cannot be read counts as an address that does not exist."""
    return ApiError(
        404,
        f"Text '{text}' could not be parsed at index 0 - DateTimeParseException (... < DateUtil:63 < "
        "DateParameterConverterProvider:32 < *:28 < ... < OverrideFilter:49 < ...)",
    )


def bad_number(text: str) -> ApiError:
    """A number that cannot be read, the same."""
    return ApiError(404, f'For input string: "{text}" - NumberFormatException (... < *:28 < ... < OverrideFilter:49 < ...)')


def too_long() -> ApiError:
    """A report over more than ``report.periodLimit``."""
    return ApiError(
        400,
        "Time period exceeds the limit - IllegalArgumentException (ReportUtils:99 < TripsReportProvider:61 < "
        "ReportResource:251 < ...)",
    )


def not_found() -> ApiError:
    """An object that the server knows how to miss."""
    return ApiError(404, "HTTP 404 Not Found - WebApplicationException (EventResource:47 < ... < OverrideFilter:49 < ...)")


def nobody() -> ApiError:
    """``GET /session`` without a session."""
    return ApiError(404, "HTTP 404 Not Found - WebApplicationException (SessionResource:99 < ... < OverrideFilter:49 < ...)")


def no_path() -> ApiError:
    """An unknown address."""
    return ApiError(404, "HTTP 404 Not Found - NotFoundException (... < OverrideFilter:49 < ...)", labelled=False)


def no_method() -> ApiError:
    """A method that the address does not know."""
    return ApiError(405, "HTTP 405 Method Not Allowed - NotAllowedException (... < OverrideFilter:49 < ...)", labelled=False)


def not_acceptable() -> ApiError:
    """An ``Accept`` that the address cannot satisfy."""
    return ApiError(406, "HTTP 406 Not Acceptable - NotAcceptableException (... < OverrideFilter:49 < ...)", labelled=False)


def unknown_field(name: str, known: list[str]) -> ApiError:
    """A body with a property that the server does not have."""
    listed = ", ".join(f'"{item}"' for item in known)
    return ApiError(
        400,
        f'Unrecognized field "{name}" (class org.traccar.model.Device), not marked as ignorable ({len(known)} known '
        f"properties: {listed}]) - UnrecognizedPropertyException (... < OverrideFilter:49 < ...)",
    )


def bad_body() -> ApiError:
    """A body that is no JSON object."""
    return ApiError(400, "Unexpected character - JsonParseException (... < OverrideFilter:49 < ...)")
