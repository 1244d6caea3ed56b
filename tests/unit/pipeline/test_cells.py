"""Digests of rows: equal for equal rows however a store writes them, different for any other change."""

from __future__ import annotations

import json
import math

import pyarrow as pa
import pytest
from fleetlake.contracts import Column
from fleetlake.pipeline.cells import canonical_json, days, digests
from hypothesis import given
from hypothesis import strategies as st

TYPES = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "jsonb": pa.string(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", "UTC"),
}


def digest(kind, value, name="a"):
    column = Column(name=name, type=kind, description="A column.")
    batch = pa.record_batch({name: pa.array([value], TYPES[kind])})
    return int(digests(batch, [column])[0])


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("text", "", "a"),
        ("text", "a", "a "),
        ("bigint", 0, 1),
        ("bigint", 2**62, 2**62 + 1),
        ("bigint", -1, 1),
        ("double precision", 0.1, 0.1 + 1e-17 + 2e-17),
        ("double precision", 1.0, math.nan),
        ("double precision", math.inf, -math.inf),
        ("boolean", True, False),
        ("jsonb", '{"a":1}', '{"a":"1"}'),
        ("jsonb", "[1,2]", "[2,1]"),
        ("jsonb", "9007199254740993", "9007199254740992"),
        ("jsonb", '{"imei":123456789012345678901234}', '{"imei":123456789012345678901235}'),
        ("jsonb", "1.00000000000000000001", "1.00000000000000000002"),
        ("jsonb", '{"a":1', '{"a":1}'),
        ("jsonb", '{"a":1', '{"a":2'),
        ("jsonb", "no JSON: 1", '"no JSON: 1"'),
        ("date", 0, 1),
        ("timestamptz", 0, 1),
    ],
)
def test_other_values_have_other_digests_and_none_is_that_of_null(kind, one, other):
    found = [digest(kind, value) for value in (one, other, None)]
    assert len(set(found)) == (3 if one != other else 2)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("double precision", 0.0, -0.0),
        ("double precision", math.nan, -math.nan),
        ("jsonb", '{"b":1,"a":[1.50,-0.0]}', '{"a": [1.5, 0], "b": 1}'),
        ("jsonb", "1e22", "10000000000000000000000"),
        ("jsonb", "12.50e3", "12500"),
        ("jsonb", "9223372036854775808.0", "9223372036854775808"),
        ("jsonb", "1e-7", "0.00000010"),
        ("jsonb", '{"n":12345678901234567890}', '{"n":12345678901234567890.0}'),
        ("jsonb", '{"a":', '{"a":'),
    ],
)
def test_one_fact_has_one_digest(kind, one, other):
    assert digest(kind, one) == digest(kind, other)


def test_columns_may_come_in_any_order_but_values_may_not_change_places():
    a, b = (Column(name=name, type="bigint", description="A column.") for name in "ab")
    batch = pa.record_batch({"a": pa.array([1, 2]), "b": pa.array([2, 1])})
    first, second = digests(batch, [a, b])
    assert list(digests(batch, [b, a])) == [first, second]
    assert first != second


def test_a_column_without_values_changes_nothing():
    a, b = (Column(name=name, type="bigint", description="A column.") for name in "ab")
    batch = pa.record_batch({"a": pa.array([1]), "b": pa.array([None], pa.int64())})
    assert list(digests(batch, [a])) == list(digests(batch, [a, b]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_keeps_its_digest_when_it_is_written_otherwise(value):
    text = json.dumps(value)
    again = json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False)
    assert canonical_json(text) == canonical_json(again)


def test_days_are_utc_days_before_1970_too():
    times = pa.array([-1, 0, 86_400_000_000 - 1, 86_400_000_000]).cast(pa.timestamp("us", "UTC"))
    batch = pa.record_batch({"t": times})
    assert list(days(batch, "t")) == [-1, 0, 0, 1]
    assert list(days(batch, None)) == [0, 0, 0, 0]
