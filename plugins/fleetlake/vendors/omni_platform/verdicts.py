"""What a GraphQL answer means: errors come inside an HTTP 200, and their texts are not documented."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from fleetlake.errors import AccessDenied, ConfigError, CredentialsRejected, FleetlakeError, MalformedAnswer
from fleetlake.http.answers import Answer, judge

_LONGEST = 600
_DENIED = re.compile(
    r"access.{0,12}denied|permission|forbidden|not (?:allowed|authori[sz]ed|authenticated|logged)|unauthori[sz]ed"
    r"|unauthenticated|authenticat|invalid (?:access )?token|token.{0,20}(?:invalid|expired|not valid)",
    re.IGNORECASE,
)
_SCHEMA = re.compile(
    r"cannot query field|unknown (?:argument|type|field|directive)|used in position expecting|is not defined by type"
    r"|expected (?:type|value)|got invalid value|cannot represent|syntax error|introspection|must have a selection",
    re.IGNORECASE,
)


class SchemaRefused(ConfigError):
    """The vendor's schema does not know something we asked for; what is optional is left out and asked again."""


class _Envelope(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"null")
    errors: list[Any] | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def judge_graphql(answer: Answer) -> FleetlakeError | None:
    """The error an answer stands for, ``None`` when it holds data and no error."""
    try:
        envelope = _ENVELOPE.decode(answer.body)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        envelope = None
    # Some servers say 400 to a query that does not fit the schema; the words are the same.
    if envelope is not None and envelope.errors and answer.status in (200, 400):
        return _meaning([_words(error) for error in envelope.errors], answer.request)
    error = judge(answer)
    if error is not None:
        return error
    if envelope is None or bytes(envelope.data) == b"null":
        return MalformedAnswer(
            f"the answer holds no GraphQL data: {answer.first_line(80)!r}",
            where=answer.request,
            remedy="it is asked for again by the next run; if it stays, check base_url and the paths",
        )
    return None


def rejected(error: FleetlakeError) -> CredentialsRejected:
    """The error for a token that not even ``me`` accepts."""
    return CredentialsRejected(
        f"the vendor does not accept the token: {error.message}",
        where=error.where,
        remedy="put the id of an access (me, workspaces, accesses) into the connection's token",
    )


def _meaning(words: list[str], where: str) -> FleetlakeError:
    text = "; ".join(words)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    # Every error of a refused query is about the schema; one about rights may name a field, too.
    if all(_SCHEMA.search(word) for word in words):
        return SchemaRefused(f"the vendor's schema refuses the query: {text}", where=where, remedy="a developer adapts it")
    if any(_DENIED.search(word) for word in words):
        return AccessDenied(
            f"logged in, but not allowed: {text}", where=where, remedy="give the token's user the right to read this"
        )
    return MalformedAnswer(
        f"the vendor answers with an error: {text}", where=where, remedy="it is asked for again by the next run"
    )


def _words(error: Any) -> str:
    found = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(found).split())
