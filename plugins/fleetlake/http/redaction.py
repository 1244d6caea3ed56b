"""Cuts credentials out of every text before it is logged, stored or raised.

Two nets: names that are secret wherever they appear (``token=``, ``Authorization:``, ``"password":``), and the values a
session was given, in the spellings they take on the wire (plain, URL-quoted, base64 of ``user:password``).
"""

from __future__ import annotations

import base64
import logging
import re
import traceback
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "***"

_NAMES = r"(?:[\w-]*(?:password|passwd|secret|token|api_?key|psk|signature)|sig|jsessionid|session_?id|client_?key)"
_RULES = (
    # user:password@ in a URL
    (re.compile(r"(?<=://)[^/\s@'\"]+@"), f"{MASK}@"),
    # whole header lines, as text or as items of a printed mapping
    (
        re.compile(r"""(?i)(['"]?(?:proxy-)?authorization['"]?\s*[:=]\s*['"]?)(?:(basic|bearer|digest)\s+)?[^'"\r\n,}]+"""),
        rf"\g<1>{MASK}",
    ),
    (re.compile(r"""(?i)(['"]?(?:set-)?cookie['"]?\s*[:=]\s*['"]?)[^'"\r\n}]+"""), rf"\g<1>{MASK}"),
    # what looks like a credential, not like a word
    (re.compile(r"\b((?i:basic|bearer))\s+(?=\S*[0-9A-Z=+/_-])[A-Za-z0-9+/=._~-]{6,}"), rf"\g<1> {MASK}"),
    # JSON and printed mappings: "token": "…"
    (re.compile(rf"""(?i)(['"]{_NAMES}['"]\s*:\s*)(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""), rf'\g<1>"{MASK}"'),
    # query strings and forms: token=…
    (re.compile(rf"(?i)((?:^|[?&;\s(\[,'\"]){_NAMES}=)[^&\s'\"<>)\],;]+"), rf"\g<1>{MASK}"),
    # private keys
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        f"{MASK} private key {MASK}",
    ),
)
_SHORTEST_SECRET = 4
"""Shorter values are left alone: masking every "a" would destroy the message and protect nothing."""


class Redactor:
    """Masks secrets in texts.

    Args:
        secrets: values that must never be shown; ``None`` and very short ones are ignored.
        logins: pairs of user and password, whose Basic form is masked too.
    """

    def __init__(self, secrets: Iterable[str | None] = (), logins: Iterable[tuple[str, str]] = ()) -> None:
        spellings: set[str] = set()
        for secret in secrets:
            if secret and len(secret) >= _SHORTEST_SECRET:
                spellings.update((secret, quote(secret, safe=""), quote(secret), quote_plus(secret)))
        for user, password in logins:
            spellings.add(base64.b64encode(f"{user}:{password}".encode()).decode())
        # The longest first: a secret that contains another must not leave its tail behind.
        self._spellings = sorted(spellings, key=len, reverse=True)

    def __call__(self, text: object) -> str:
        """The text with every secret replaced by ``MASK``."""
        result = str(text)
        for spelling in self._spellings:
            result = result.replace(spelling, MASK)
        for pattern, replacement in _RULES:
            result = pattern.sub(replacement, result)
        return result

    def __repr__(self) -> str:
        return f"Redactor({len(self._spellings)} spellings)"


redact = Redactor()
"""Redaction by name only, for code that holds no secret itself."""


class RedactingFilter(logging.Filter):
    """Logging filter that masks secrets in message, arguments and traceback of a record."""

    def __init__(self, redactor: Redactor = redact) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; it is always let through."""
        record.msg = self._redactor(record.getMessage())
        record.args = None
        if record.exc_info and record.exc_info[1]:
            record.exc_text = self._redactor("".join(traceback.format_exception(record.exc_info[1])).rstrip())
        elif record.exc_text:
            record.exc_text = self._redactor(record.exc_text)
        record.exc_info = None
        return True


def guard_loggers(redactor: Redactor) -> RedactingFilter:
    """Mask secrets in the records of the HTTP stack, which prints whole URLs at debug level.

    Returns:
        The filter; give it to ``release_loggers`` when the session ends.
    """
    guard = RedactingFilter(redactor)
    for name in _CHATTY:
        logging.getLogger(name).addFilter(guard)
    return guard


def release_loggers(guard: RedactingFilter) -> None:
    """Undo ``guard_loggers``."""
    for name in _CHATTY:
        logging.getLogger(name).removeFilter(guard)


_CHATTY = ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.connection", "requests", "fleetlake.http.session")
