"""The lake in an object store: how it is reached, and what its errors mean."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from fleetlake.http.redaction import redact

_PATIENCE = {"timeout": "60s", "connect_timeout": "5s", "max_retries": "4", "retry_timeout": "60s"}
"""A store that is away is reported within minutes; the library alone would try for three minutes at each request."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m|↳")
_ANSWER = re.compile(r"<Code>(?P<code>[^<]*)</Code>(?:\s*<Message>(?P<message>[^<]*)</Message>)?")
_REFUSALS = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "privileges")


def storage_options(url: str, env: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """Options for a lake at ``url``; ``None`` for a folder. Credentials, region and address it reads from ``AWS_…`` itself.

    Args:
        url: place of the lake.
        env: the environment; ``None`` = of this process.
    """
    if "://" not in url or url.startswith("file://"):
        return None
    env = os.environ if env is None else env
    options = dict(_PATIENCE)
    if env.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        options["aws_allow_http"] = "true"  # whoever wrote http:// has decided it, as for the raw store
    return options


def words(error: BaseException) -> str:
    """What a store said, on one line. Its answers are not repeated: they hold the access key and may hold a session token."""
    text = _COLOUR.sub("", str(error))
    if found := _ANSWER.search(text):
        return redact(f"{found['code']}: {found['message'] or ''}".rstrip(": "))
    lines = [line.strip() for line in text.partition("<?xml")[0].splitlines()]
    return redact(" · ".join(line for line in lines if line)[:600])


def remedy(error: BaseException) -> str:
    """What to do about it."""
    text = str(error)
    if "NoSuchBucket" in text:
        return "create the bucket, or mend FLEETLAKE_LAKE_URL"
    if any(refusal in text for refusal in _REFUSALS):
        return (
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the role, and that it may list, read,"
            " write and delete below FLEETLAKE_LAKE_URL"
        )
    return (
        "check FLEETLAKE_LAKE_URL, free space and permissions, and for an object store AWS_ENDPOINT_URL, AWS_REGION, its"
        " credentials, and that it answers"
    )
