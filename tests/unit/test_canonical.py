from __future__ import annotations

import datetime as dt

from fleetlake.canonical import Digest, canonical_row
from hypothesis import given
from hypothesis import strategies as st

rows = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.one_of(st.none(), st.integers(), st.text(max_size=5)), min_size=1), max_size=8
)


@given(rows.flatmap(lambda items: st.tuples(st.just(items), st.permutations(items))))
def test_digest_does_not_depend_on_order(pair):
    items, shuffled = pair
    assert Digest.of(items) == Digest.of(shuffled)


@given(rows.filter(bool))
def test_repeated_row_changes_the_digest(items):
    assert Digest.of([*items, items[0], items[0]]).digest != Digest.of(items).digest


def test_noise_of_unit_conversion_is_not_a_difference():
    assert canonical_row({"speed_kmh": 9.719 * 1.852}) == canonical_row({"speed_kmh": 17.999588})


def test_whole_float_equals_integer_and_zone_does_not_matter():
    paris = dt.timezone(dt.timedelta(hours=1))
    left = {"n": 90.0, "t": dt.datetime(2026, 1, 5, 1, tzinfo=paris)}
    right = {"n": 90, "t": dt.datetime(2026, 1, 5, tzinfo=dt.UTC)}
    assert canonical_row(left) == canonical_row(right)


def test_key_order_of_json_does_not_matter():
    assert canonical_row({"j": {"b": 1, "a": [1, 2.0]}}) == canonical_row({"j": {"a": [1, 2], "b": 1}})
