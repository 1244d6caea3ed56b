"""Randomness without state: a generator per key, so no order of calls can change a result."""

from __future__ import annotations

import hashlib
import random


def dice(*key: object) -> random.Random:
    """A generator that depends on ``key`` only."""
    text = "\x1f".join(map(str, key)).encode()
    return random.Random(int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big"))  # noqa: S311


def number(*key: object) -> int:
    """A 64-bit number that depends on ``key`` only."""
    text = "\x1f".join(map(str, key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
