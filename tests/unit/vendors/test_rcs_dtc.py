from __future__ import annotations

import pytest
from fleetlake.vendors.rcs.dtc import (
    MaturityPolicy,
    is_consistent,
    maturity,
    parse_code,
    parse_status,
    status_bits,
)


@pytest.mark.parametrize(
    ("value", "text", "system", "origin"),
    [
        ("P0301", "P0301", "powertrain", "standard"),
        ("p0135-11", "P0135-11", "powertrain", "standard"),
        ("P013511", "P0135-11", "powertrain", "standard"),
        (" U0100 ", "U0100", "network", "standard"),
        (0x0135, "P0135", "powertrain", "standard"),
        (0xC100, "U0100", "network", "standard"),
        (0x9234, "B1234", "body", "manufacturer"),
        (0x5234, "C1234", "chassis", "manufacturer"),
        (0xC10011, "U0100-11", "network", "standard"),
        (0x010000, "P0100-00", "powertrain", "standard"),
        ("P1234", "P1234", "powertrain", "manufacturer"),
        ("P2002", "P2002", "powertrain", "standard"),
        ("P3100", "P3100", "powertrain", "manufacturer"),
        ("P3400", "P3400", "powertrain", "standard"),
        ("B2100", "B2100", "body", "manufacturer"),
        ("C2100", "C2100", "chassis", "manufacturer"),
        ("U2100", "U2100", "network", "manufacturer"),
    ],
)
def test_codes_are_read_from_text_and_bus_numbers(value: str | int, text: str, system: str, origin: str) -> None:
    code = parse_code(value)
    assert code is not None
    assert (code.text, code.system, code.origin) == (text, system, origin)
    assert code.code == text[:5]
    assert code.failure_type == (text[6:] or None)


@pytest.mark.parametrize("value", [None, "", "X0100", "P4100", "P01", "P0135-1", "P0135-GG", -1, 0x1000000, True, "0135"])
def test_what_is_no_code_is_none(value: str | int | None) -> None:
    assert parse_code(value) is None


def test_every_two_byte_number_has_its_own_text_and_back() -> None:
    texts = {parse_code(number).text for number in range(0x10000)}  # type: ignore[union-attr]
    assert len(texts) == 0x10000
    assert parse_code("P0000").text == parse_code(0).text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (47, 47),
        (47.0, 47),
        ("2F", 47),
        ("0x2f", 47),
        ("0X2F", 47),
        ("8", 8),
        ("50", 0x50),
        (None, None),
        ("", None),
        ("zz", None),
        ("1FF", None),
        (256, None),
        (-1, None),
        (True, None),
        (1.5, None),
        ([], None),
    ],
)
def test_a_status_is_read_as_number_or_hexadecimal_text(value: object, expected: int | None) -> None:
    assert parse_status(value) == expected


def test_bits_are_named_from_the_least_significant() -> None:
    assert [name for name, is_set in status_bits(0x2F).items() if is_set] == [
        "is_test_failed",
        "is_test_failed_this_cycle",
        "is_pending",
        "is_confirmed",
        "is_test_failed_since_clear",
    ]
    assert [name for name, is_set in status_bits(0x90).items() if is_set] == [
        "is_test_not_completed_since_clear",
        "is_warning_indicator_requested",
    ]


# The typical life of a code on the vendor page, and what each byte means there.
LIFE = {
    0x50: "UNKNOWN",
    0x00: "UNKNOWN",
    0x27: "PENDING",
    0x2F: "ACTIVE",
    0xAF: "ACTIVE",
    0x2E: "STORED",
    0x6C: "STORED",
    0x2C: "STORED",
    0x28: "STORED",
    0x68: "STORED",
    0x20: "UNKNOWN",
    0x60: "UNKNOWN",
    0x40: "UNKNOWN",
}


@pytest.mark.parametrize("status", LIFE)
def test_the_life_of_a_code_is_trusted_and_has_its_maturity(status: int) -> None:
    assert is_consistent(status)
    assert maturity(status) == LIFE[status]


@pytest.mark.parametrize(
    "status",
    [
        0x10,  # not completed since clear, but tested in this cycle
        0x51,  # not completed since clear, yet failed
        0x22,  # failed in this cycle, but not pending
        0x06,  # failed in this cycle, but not since clear
        0x66,  # failed in this cycle, yet not tested in it
        0x01,  # failed, but not since clear
        0x21,  # failed and tested, but not in this cycle
        0x04,  # pending without a failure since clear
        0x08,  # confirmed without a failure since clear
        0x80,  # lamp for a code that is not confirmed
        0xFF,
    ],
)
def test_a_byte_against_the_standard_is_not_trusted(status: int) -> None:
    assert not is_consistent(status)


def test_a_failure_may_survive_a_power_cycle_untested() -> None:
    assert is_consistent(0x61)


def test_maturity_without_status_or_supported_bits_is_unknown() -> None:
    assert maturity(None) == "UNKNOWN"
    assert maturity(0x2F, availability_mask=0xF2) == "UNKNOWN"
    assert maturity(0x2F, availability_mask=0x08) == "ACTIVE"


@pytest.mark.parametrize(
    ("status", "usual", "rival"), [(0x27, "PENDING", "ACTIVE"), (0x2F, "ACTIVE", "ACTIVE"), (0x28, "STORED", "STORED")]
)
def test_the_maturity_policy_is_a_switch(status: int, usual: str, rival: str) -> None:
    assert maturity(status) == usual
    assert maturity(status, MaturityPolicy.TEST_FAILED) == rival
