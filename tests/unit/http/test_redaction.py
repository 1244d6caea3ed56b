from __future__ import annotations

import base64
import io
import logging
from urllib.parse import quote, quote_plus

import pytest
from fleetlake.http.redaction import MASK, RedactingFilter, Redactor, redact

SECRET = "hunter2 &/+ü="


@pytest.mark.parametrize(
    "text",
    [
        "GET /api/session?token=hunter22&x=1",
        "https://fleet:hunter22@host/api",
        "Authorization: Basic aHVudGVyMjI6aHVudGVyMjI=",
        "{'Authorization': 'Bearer hunter22hunter22', 'Accept': 'x'}",
        'authorization="Bearer hunter22hunter22"',
        "Cookie: JSESSIONID=hunter22; other=hunter22",
        "Set-Cookie: JSESSIONID=hunter22; Path=/",
        '{"email": "a", "password": "hunter22\\"hunter22"}',
        "{'password': 'hunter22'}",
        "email=a%40b&password=hunter22",
        "(access_token=hunter22)",
        "client_secret=hunter22",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter22\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter22 cut",
        "Proxy-Authorization: Digest hunter22",
        "sent Bearer hunter22hunter22 to host",
    ],
)
def test_secret_names_are_masked_wherever_they_appear(text: str) -> None:
    assert "hunter22" not in redact(text)
    assert "aHVudGVyMjI" not in redact(text)
    assert MASK in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "GET /positions?deviceId=1&from=2026-01-05T00:00:00Z",
        "min_revision=00ff take=1000",
        '{"error": {"code": "OUT_OF_RANGE", "source": "to"}}',
        "authorization failed for a basic reason",
        "https://host/api/session",
    ],
)
def test_harmless_text_stays_readable(text: str) -> None:
    assert redact(text) == text


def test_given_values_are_masked_in_every_spelling() -> None:
    redactor = Redactor([SECRET, None, "ab"], [("user@x", SECRET)])
    spellings = [SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET)]
    spellings.append(base64.b64encode(f"user@x:{SECRET}".encode()).decode())
    shown = redactor("abc " + " | ".join(spellings))
    assert shown == "abc " + " | ".join([MASK] * 5)
    assert SECRET not in repr(redactor)


def test_a_secret_that_contains_another_leaves_no_tail() -> None:
    assert Redactor(["secret", "secret-longer"])("x secret-longer y") == f"x {MASK} y"


def test_the_filter_masks_message_arguments_and_traceback() -> None:
    stream = io.StringIO()
    logger = logging.Logger("canary")
    logger.addHandler(logging.StreamHandler(stream))
    logger.addFilter(RedactingFilter(Redactor(["hunter22"])))
    logger.info("token %s for %d", "hunter22", 7)
    try:
        raise ValueError("no hunter22 here")
    except ValueError:
        logger.exception("failed with %r", {"k": "hunter22"})
    shown = stream.getvalue()
    assert "hunter22" not in shown
    assert f"token {MASK} for 7" in shown
    assert "Traceback" in shown
    assert "ValueError: no" in shown
