"""Trouble codes (SAE J2012), status bytes (ISO 14229-1 D.2) and the vendor's maturity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

SYSTEMS: Mapping[str, str] = {"P": "powertrain", "C": "chassis", "B": "body", "U": "network"}
STANDARD, MANUFACTURER = "standard", "manufacturer"
_LETTERS = "PCBU"
_TEXT = re.compile(r"^([PCBU])([0-3])([0-9A-F]{3})(?:-?([0-9A-F]{2}))?$")
_P3_STANDARD_FROM = 0x400


@dataclass(frozen=True)
class Code:
    """A decoded trouble code.

    Attributes:
        code: five characters, for example ``P0301``.
        system: ``powertrain``, ``chassis``, ``body`` or ``network``.
        origin: who defines the code: ``standard`` (SAE/ISO) or ``manufacturer``.
        failure_type: failure type byte as two hexadecimal digits, ``None`` when the code has none.
    """

    code: str
    system: str
    origin: str
    failure_type: str | None

    @property
    def text(self) -> str:
        """The code with its failure type: ``P0135-11``."""
        return f"{self.code}-{self.failure_type}" if self.failure_type else self.code


@lru_cache(maxsize=8192)
def parse_code(value: str | int | None) -> Code | None:
    """Decode a trouble code.

    Args:
        value: text (any case, failure type with or without dash), or the number as sent on the bus: two bytes
            (0x0135 = P0135), or three, the third being the failure type (0x013511 = P0135-11).

    Returns:
        The code, ``None`` when the value is no J2012 code.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        if not 0 <= value <= 0xFFFFFF:
            return None
        number, failure = (value >> 8, f"{value & 0xFF:02X}") if value > 0xFFFF else (value, None)
        letter, second, digits = _LETTERS[number >> 14], str(number >> 12 & 3), f"{number & 0xFFF:03X}"
    else:
        found = _TEXT.match(value.strip().upper())
        if found is None:
            return None
        letter, second, digits, failure = found.groups()
    return Code(letter + second + digits, SYSTEMS[letter], _origin(letter, second, digits), failure)


def _origin(letter: str, second: str, digits: str) -> str:
    if second == "0" or (letter == "P" and second == "2"):
        return STANDARD
    if second == "3":
        # P3 is split: up to P33FF the manufacturer's, from P3400 the standard's. The others are reserved for the standard.
        return MANUFACTURER if letter == "P" and int(digits, 16) < _P3_STANDARD_FROM else STANDARD
    return MANUFACTURER


STATUS_BITS = (
    "is_test_failed",
    "is_test_failed_this_cycle",
    "is_pending",
    "is_confirmed",
    "is_test_not_completed_since_clear",
    "is_test_failed_since_clear",
    "is_test_not_completed_this_cycle",
    "is_warning_indicator_requested",
)
"""Our column for each bit of statusOfDTC, bit 0 first."""


def parse_status(value: Any) -> int | None:
    """Read a status byte: a number, or text in hexadecimal (``2F``, ``0x2f``) (RCS-04).

    Text is always hexadecimal: the vendor would write a decimal as a JSON number.

    Returns:
        0 to 255, ``None`` for null and nonsense.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip().lower().removeprefix("0x")
        value = int(text, 16) if re.fullmatch(r"[0-9a-f]{1,2}", text) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= 0xFF else None


def status_bits(status: int) -> dict[str, bool]:
    """The eight bits by column name."""
    return {name: bool(status >> bit & 1) for bit, name in enumerate(STATUS_BITS)}


def is_consistent(status: int) -> bool:
    """Whether a control unit that follows ISO 14229-1 D.2 can send this byte; if not, its maturity is not to be trusted."""
    return _CONSISTENT[status]


def _obeys(status: int) -> bool:
    bit = [bool(status >> number & 1) for number in range(8)]
    return (
        (not bit[4] or (not (bit[0] or bit[1] or bit[2] or bit[3] or bit[5]) and bit[6]))
        and (not bit[1] or (bit[2] and bit[5] and not bit[4] and not bit[6]))
        # testFailed without a failure in this cycle only survives a power cycle: then the test has not run yet (bit 6).
        and (not bit[0] or (bit[5] and (bit[1] or bit[6])))
        and (not (bit[2] or bit[3]) or bit[5])
        and (not bit[7] or bit[3])
    )


_CONSISTENT = tuple(_obeys(status) for status in range(256))


class MaturityPolicy(StrEnum):
    """How maturity follows from the status byte (RCS-10)."""

    CONFIRMED = "confirmed"  # ACTIVE needs a confirmed code whose test fails now
    TEST_FAILED = "test_failed"  # rival convention: the failing test alone makes it ACTIVE


def maturity(status: int | None, policy: MaturityPolicy = MaturityPolicy.CONFIRMED, availability_mask: int = 0xFF) -> str:
    """Derive ``ACTIVE``, ``STORED``, ``PENDING`` or ``UNKNOWN``; ``PERMANENT`` cannot be derived from this byte.

    Args:
        status: statusOfDTC or ``None``.
        policy: which convention.
        availability_mask: bits the control unit supports; without bits 0, 2 and 3 nothing can be said.
    """
    if status is None or availability_mask & 0b1101 == 0:
        return "UNKNOWN"
    failed, failed_this_cycle, pending, confirmed = (bool(status >> bit & 1) for bit in range(4))
    if failed and (confirmed or policy is MaturityPolicy.TEST_FAILED):
        return "ACTIVE"
    if confirmed:
        return "STORED"
    return "PENDING" if pending or failed_this_cycle or failed else "UNKNOWN"
