"""Covering what is missing with requests: nothing is left out, and no smaller set would do."""

from __future__ import annotations

import datetime as dt
import itertools

from fleetlake.coverage.cover import Asking, common, each, together, union, without
from fleetlake.window import DAY, Window
from hypothesis import given, settings
from hypothesis import strategies as st

T0 = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
DAYS = 12


def days(start: int, end: int) -> Window:
    return Window(T0 + start * DAY, T0 + end * DAY)


def windows(missing: set[int]) -> list[Window]:
    return union(days(day, day + 1) for day in missing)


def one(_scope: str, _window: Window) -> float:
    return 1.0


def covered(askings: list[Asking], scope: str) -> set[int]:
    return {
        day
        for asking in askings
        if scope in asking.scopes
        for day in range(DAYS)
        if asking.window.start <= T0 + day * DAY < asking.window.end
    }


def fewest(missing: set[int], longest: int) -> int:
    """By trying all sets of starts."""
    for count in range(len(missing) + 1):
        for starts in itertools.combinations(range(DAYS), count):
            if missing <= {day for start in starts for day in range(start, start + longest)}:
                return count
    raise AssertionError


somedays = st.sets(st.integers(0, DAYS - 1), max_size=7)


@settings(deadline=None)
@given(somedays, st.integers(1, 5))
def test_what_is_missing_is_covered_by_the_fewest_requests(missing: set[int], longest: int) -> None:
    askings = each({"1": windows(missing)}, longest, one)
    assert missing <= covered(askings, "1")
    assert all(asking.window.end - asking.window.start <= longest * DAY for asking in askings)
    assert len(askings) == fewest(missing, longest)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), somedays, max_size=4), st.integers(1, 5))
def test_a_batch_takes_all_vehicles_that_lack_something_in_a_span(missing: dict[str, set[int]], longest: int) -> None:
    askings = together({scope: windows(found) for scope, found in missing.items()}, longest, 10)
    for scope, found in missing.items():
        assert found <= covered(askings, scope)
        assert found or not covered(askings, scope), "who lacks nothing is not asked about"
    assert len(askings) == fewest(set().union(*missing.values()), longest)


def test_batches_have_their_size() -> None:
    askings = together({f"{number:02}": [days(0, 1)] for number in range(25)}, 7, 10)
    assert [len(asking.scopes) for asking in askings] == [10, 10, 5]
    assert len({scope for asking in askings for scope in asking.scopes}) == 25


def test_what_lies_between_is_read_along_only_where_that_is_cheaper() -> None:
    def paged(_scope: str, window: Window) -> float:
        return 1 + 3 * ((window.end - window.start) / DAY)

    missing = {"1": [days(0, 1), days(1, 2), days(4, 5)]}
    assert [item.window for item in each(missing, 7, one)] == [days(0, 5)]
    assert [item.window for item in each(missing, 7, paged)] == [days(0, 2), days(4, 5)]


def test_a_window_that_begins_at_noon_touches_one_date_more() -> None:
    noon = Window(T0 + DAY / 2, T0 + 7.5 * DAY)
    assert [item.window for item in each({"1": [noon]}, 7, one)] == [
        Window(noon.start, T0 + 7 * DAY),
        Window(T0 + 7 * DAY, noon.end),
    ]


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(1, 4)), max_size=4))
def test_without_and_common_share_out_a_window(others: list[tuple[int, int]]) -> None:
    whole = days(2, 9)
    taken = [days(start, start + length) for start, length in others]
    outside = without(whole, taken)
    inside = [part for other in union(taken) if (part := common(whole, other))]
    assert sum(((part.end - part.start) for part in [*outside, *inside]), dt.timedelta()) == whole.end - whole.start
    assert union([*outside, *inside]) == [whole]
