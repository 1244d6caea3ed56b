"""Tokens of overview tasks. A token says itself what was asked, so tasks survive a restart and nothing is stored."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import struct
import time
from dataclasses import dataclass

from fleetlake.sandbox.rcs.checks import SEVERITIES

_FORM = struct.Struct(">dIIIBBII")
_SEAL = 8
_number = itertools.count()


@dataclass(frozen=True)
class Task:
    """An overview report that somebody asked for.

    Attributes:
        started: real time of the request, seconds since 1970: tasks take real time whatever the sandbox's clock says.
        now: the sandbox's moment of the request, seconds since 1970; later reports are not in the answer.
        start, end: window, both ends included.
        severity: filter.
        fails: it will end in failure.
        customer: number of the customer.
    """

    started: float
    now: int
    start: int
    end: int
    severity: str | None
    fails: bool
    customer: int

    def token(self, seed: int) -> str:
        """The token that names it; another one for every task."""
        severity = 0 if self.severity is None else 1 + SEVERITIES.index(self.severity)
        flags = severity << 1 | self.fails
        unique = next(_number) & 0xFFFF_FFFF
        body = _FORM.pack(self.started, self.now, self.start, self.end, flags, 0, self.customer, unique)
        return "t-" + base64.b32encode(_seal(seed, body) + body).decode().rstrip("=").lower()

    @classmethod
    def of(cls, token: str, seed: int) -> Task | None:
        """The task that a token names; ``None`` if this sandbox did not make it."""
        text = token.removeprefix("t-").upper()
        try:
            data = base64.b32decode(text + "=" * (-len(text) % 8))
        except ValueError:
            return None
        seal, body = data[:_SEAL], data[_SEAL:]
        if len(body) != _FORM.size or not hmac.compare_digest(seal, _seal(seed, body)):
            return None
        started, now, start, end, flags, _, customer, _ = _FORM.unpack(body)
        severity = SEVERITIES[(flags >> 1) - 1] if flags >> 1 else None
        return cls(started, now, start, end, severity, bool(flags & 1), customer)

    def age(self) -> float:
        """Real seconds since it was asked for."""
        return time.time() - self.started


def _seal(seed: int, body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_SEAL, key=f"rcs task {seed}".encode()).digest()
