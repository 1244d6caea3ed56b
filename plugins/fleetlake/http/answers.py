"""What came back, and what to do about it: one table from HTTP status to error."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fleetlake.errors import (
    AccessDenied,
    ConfigError,
    CredentialsRejected,
    FleetlakeError,
    RateLimited,
    Retriable,
    VendorUnavailable,
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One HTTP answer, whole.

    Attributes:
        status: HTTP status.
        headers: names in lower case.
        body: bytes with the content encoding removed.
        request: method, path and query as sent, secrets masked.
        fetched_at: when the last byte had arrived, UTC.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    request: str
    fetched_at: dt.datetime

    @property
    def content_type(self) -> str:
        """Header as sent, empty when absent."""
        return self.headers.get("content-type", "")

    @property
    def is_html(self) -> bool:
        """A page for people: it comes from a proxy or a web server, not from a JSON interface."""
        return "html" in self.content_type.lower() or self.body.lstrip()[:15].lower().startswith((b"<!doctype", b"<html"))

    def first_line(self, limit: int = 200) -> str:
        """Start of the body as text for a message."""
        text = self.body[: 4 * limit].decode(errors="replace").strip()
        if self.is_html:
            text = re.sub(r"<[^>]*>", " ", text)
        text = " ".join(text.split())
        return text if len(text) <= limit else text[:limit] + "…"


class Rule(NamedTuple):
    """What a status means: the error's group says what to do (retry, fail, skip)."""

    error: type[FleetlakeError]
    meaning: str
    remedy: str


STATUS: Mapping[int, Rule] = {
    400: Rule(ConfigError, "the vendor refused the request as wrong", "see the vendor's words; mend the parameters"),
    401: Rule(CredentialsRejected, "the vendor does not accept our credentials", "mend login or certificate"),
    403: Rule(AccessDenied, "logged in, but not allowed", "ask the vendor for the right"),
    404: Rule(ConfigError, "the vendor does not know this address", "check the base URL and its path"),
    405: Rule(ConfigError, "the vendor does not allow this method here", "check the base URL and its path"),
    406: Rule(ConfigError, "the vendor cannot answer in the format asked for", "ask for application/json"),
    407: Rule(ConfigError, "the proxy wants a login", "mend the proxy settings of this machine"),
    408: Rule(VendorUnavailable, "the vendor gave up waiting for our request", "it is tried again"),
    410: Rule(AccessDenied, "the vendor has retired this operation", "ask the vendor to open it for the account"),
    413: Rule(ConfigError, "the request is too large", "ask for less at once"),
    414: Rule(ConfigError, "the request's address is too long", "ask for less at once"),
    415: Rule(ConfigError, "the vendor does not accept the body's format", "send application/json"),
    425: Rule(VendorUnavailable, "the vendor is not ready for the request", "it is tried again"),
    429: Rule(RateLimited, "too many requests", "it is tried again; lower the rate if this lasts"),
}
_REDIRECT = Rule(ConfigError, "the vendor redirects elsewhere", "set the base URL to the final address")
_CLIENT = Rule(ConfigError, "the vendor refused the request", "check the base URL and the parameters")
_SERVER = Rule(VendorUnavailable, "the vendor or a proxy failed", "it is tried again")
_PROXY = Rule(VendorUnavailable, "a proxy's page instead of an answer", "check the base URL if this lasts")


def rule_for(answer: Answer) -> Rule | None:
    """The rule of the table, ``None`` when the answer is a success."""
    status = answer.status
    if status in STATUS and not (answer.is_html and status in (400, 403, 404)):
        return STATUS[status]
    if answer.is_html:
        # Whatever its status, a page for people proves nothing about the vendor's data.
        return _SERVER if status >= 500 else _PROXY
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return _REDIRECT
    return _CLIENT if 400 <= status < 500 else _SERVER


def judge(answer: Answer) -> FleetlakeError | None:
    """The error an answer stands for, ``None`` when it is a success. Vendors refine it."""
    rule = rule_for(answer)
    return None if rule is None else error_from(rule, answer)


def error_from(rule: Rule, answer: Answer, detail: str | None = None) -> FleetlakeError:
    """Build the rule's error with the status and the vendor's words."""
    words = answer.first_line() if detail is None else detail
    message = f"{rule.meaning} (HTTP {answer.status})" + (f": {words}" if words else "")
    error = rule.error(message, where=answer.request, remedy=rule.remedy)
    if isinstance(error, Retriable):
        error.retry_after = retry_after(answer)
    return error


def retry_after(answer: Answer) -> float | None:
    """Seconds of a ``Retry-After`` header (number, fraction, or HTTP date); ``None`` when absent or unreadable."""
    value = answer.headers.get("retry-after", "").strip()
    if not value:
        return None
    if re.fullmatch(r"\d+(\.\d*)?|\.\d+", value):
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0.0, (moment - answer.fetched_at).total_seconds())
