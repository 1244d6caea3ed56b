"""Rows to numbers: one 64-bit digest per row, the same for equal rows whatever store they came from, a column at a time.

A cell's digest depends on its value and on the name of its column; a row's digest is a mixture of the sum of its cells'. So
columns may come in any order, and a column that is added with nulls only changes nothing. Where stores write one fact in
several ways, the value is brought to one form first: -0.0 to 0.0, every NaN to one, JSON to sorted keys and one spelling of
each number, with all its digits (PostgreSQL orders keys by length and writes 1e22 in full). What should be JSON and is none
is taken as it stands: it differs from all that is JSON.
"""

from __future__ import annotations

import decimal
import hashlib
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fleetlake.contracts import Column

_LONG_NUMBER = re.compile(r"\d{19}")
_KEY = "fleetlakefleetla"  # any 16 bytes: the digests of texts are made with it
_DAY_US = 86_400_000_000
_LONG = 2**63
"""From here on a whole number is written as a decimal one."""
_DIGITS = decimal.Context(prec=200_000, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
"""Loses no digit of any number that PostgreSQL can hold."""


def digests(batch: pa.RecordBatch, columns: Sequence[Column]) -> NDArray[np.uint64]:
    """One digest per row over some columns.

    Args:
        batch: holds the columns, with the types of the contract.
        columns: which; a cell that is null adds nothing.
    """
    total = np.zeros(batch.num_rows, np.uint64)
    for column in columns:
        array = batch.column(column.name)
        if array.null_count == len(array):
            continue
        cells = _mixed(_bits(array, is_json=column.type == "jsonb") ^ _salt(column.name))
        if array.null_count:
            cells[array.is_null().to_numpy(zero_copy_only=False)] = 0
        total += cells
    return _mixed(total)


def days(batch: pa.RecordBatch, time_column: str | None) -> NDArray[np.int64]:
    """UTC day of each row, as days since 1970; 0 for all when the table has no time."""
    if time_column is None:
        return np.zeros(batch.num_rows, np.int64)
    moments = batch.column(time_column).cast(pa.int64()).fill_null(0)
    return np.asarray(moments.to_numpy(zero_copy_only=False) // _DAY_US, np.int64)


def canonical_json(text: str) -> bytes:
    """JSON text in the one form that all stores' texts of a value have in common.

    Text that is no JSON comes back as it is, behind a mark that no JSON begins with: a damaged cell is to be named, not to
    end the comparison.
    """
    try:
        value = _JSON.decode(text)
        if _LONG_NUMBER.search(text):
            value = _without_long_integers(value)
        return _ENCODER.encode(value)
    except (ValueError, ArithmeticError, RecursionError):
        return b"no JSON: " + text.encode(errors="replace")


# --- inside -------------------------------------------------------------------------------------------------------------


def _bits(array: pa.Array, *, is_json: bool) -> NDArray[np.uint64]:
    """64 bits per value; whatever for null."""
    kind = array.type
    if pa.types.is_string(kind):
        return _text_bits(array, is_json=is_json)
    if pa.types.is_floating(kind):
        values = np.array(array.fill_null(0.0).to_numpy(zero_copy_only=False)) + 0.0  # -0.0 becomes 0.0
        values[np.isnan(values)] = np.nan
        return np.asarray(values, np.float64).view(np.uint64)
    if pa.types.is_date32(kind):
        array = array.cast(pa.int32())
    return np.asarray(array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), np.int64).view(np.uint64)


def _text_bits(array: pa.Array, *, is_json: bool) -> NDArray[np.uint64]:
    # Texts repeat (pages, loads, states): each is hashed once.
    encoded = array.dictionary_encode()
    values: Iterable[Any] = encoded.dictionary.to_pylist()
    if is_json:
        values = [canonical_json(text).decode() for text in values]
    known = np.array([*values, ""], dtype=object)
    hashed = pd.util.hash_array(known, hash_key=_KEY, categorize=False)
    places = encoded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
    return np.asarray(hashed[places], np.uint64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number's bits spread over all 64 (the finaliser of SplitMix64)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


@cache
def _salt(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


def _number(text: str) -> Decimal | int:
    """A number in its one spelling: whole ones of up to 63 bits as such, all others with the digits that count."""
    number = _DIGITS.normalize(Decimal(text))
    if number.as_tuple().exponent >= 0 and number.adjusted() < 19:  # type: ignore[operator]  # JSON knows no NaN
        whole = int(number)
        return whole if abs(whole) < _LONG else number
    return number


_JSON = msgspec.json.Decoder(float_hook=_number)
_ENCODER = msgspec.json.Encoder(order="deterministic", decimal_format="number")


def _without_long_integers(value: Any) -> Any:
    """Whole numbers of more than 63 bits as decimal ones: a store may have written them with an exponent."""
    if isinstance(value, dict):
        return {key: _without_long_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_long_integers(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LONG:
        return _number(str(value))
    return value
