from __future__ import annotations

import datetime as dt
import itertools

import pendulum
import pytest
from fleetlake.errors import ConfigError, NoWindow
from fleetlake.window import DAY, Window, utc, window_for
from hypothesis import given
from hypothesis import strategies as st

DAY5 = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
moments = st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2030, 1, 1)).map(lambda value: value.replace(tzinfo=dt.UTC))


def test_window_is_half_open():
    window = Window.day("2026-01-05")
    assert DAY5 in window
    assert DAY5 + DAY not in window


def test_window_is_kept_in_utc():
    paris = dt.timezone(dt.timedelta(hours=1))
    window = Window(dt.datetime(2026, 1, 5, 1, tzinfo=paris), dt.datetime(2026, 1, 6, 1, tzinfo=paris))
    assert window == Window.day("2026-01-05")
    assert str(window) == "2026-01-05T00:00:00Z/2026-01-06T00:00:00Z"


@pytest.mark.parametrize("end", [DAY5, DAY5 - DAY])
def test_empty_or_reversed_window_is_refused(end):
    with pytest.raises(ConfigError, match="not before"):
        Window(DAY5, end)


def test_naive_datetime_is_refused_because_its_zone_is_unknown():
    with pytest.raises(ConfigError, match="no time zone"):
        Window(dt.datetime(2026, 1, 5), DAY5)


def test_text_that_is_no_time_says_what_to_write():
    with pytest.raises(ConfigError, match="ISO 8601"):
        utc("yesterday")


@given(moments, st.integers(1, 40 * 24 * 3600), st.integers(1, 9))
def test_split_covers_the_window_exactly_and_touches_few_dates(start, seconds, days):
    window = Window(start, start + dt.timedelta(seconds=seconds))
    pieces = list(window.split(days))
    assert pieces[0].start == window.start
    assert pieces[-1].end == window.end
    assert all(left.end == right.start for left, right in itertools.pairwise(pieces))
    for piece in pieces:
        last = piece.end - dt.timedelta(microseconds=1)
        assert (last.date() - piece.start.date()).days < days


@given(moments, st.integers(1, 40 * 24 * 3600))
def test_whole_days_hold_the_window_and_begin_and_end_at_midnight(start, seconds):
    window = Window(start, start + dt.timedelta(seconds=seconds))
    days = window.whole_days()
    assert days.start <= window.start < days.start + DAY
    assert days.end - DAY < window.end <= days.end
    assert {days.start.time(), days.end.time()} == {dt.time(0)}


def test_partition_date_gives_its_day():
    assert window_for({"partition_date": DAY5, "params": {}}) == Window.day(DAY5)


def test_explicit_params_come_before_the_partition():
    params = {"window_start": "2026-01-01", "window_end": "2026-01-03T06:00:00Z"}
    assert window_for({"partition_date": DAY5, "params": params}) == Window.parse(*params.values())


def test_data_interval_is_used_when_there_is_no_partition():
    assert window_for({"data_interval_start": DAY5, "data_interval_end": DAY5 + DAY}) == Window.day(DAY5)


def test_half_a_window_is_refused():
    with pytest.raises(ConfigError, match="belong together"):
        window_for({"params": {"window_start": "2026-01-01", "window_end": None}})


@pytest.mark.parametrize("context", [{}, {"data_interval_start": DAY5, "data_interval_end": DAY5}])
def test_run_without_window_says_how_to_give_one(context):
    with pytest.raises(NoWindow, match="partition key"):
        window_for(context)


def test_airflows_own_datetimes_keep_their_zone() -> None:
    """``partition_date`` is a pendulum datetime, which becomes naive when a duration is taken from it."""
    window = Window(pendulum.datetime(2026, 3, 1, tz="Europe/Berlin"), pendulum.datetime(2026, 3, 2, tz="UTC"))
    assert type(window.start) is type(window.end) is dt.datetime
    assert window.start == dt.datetime(2026, 2, 28, 23, tzinfo=dt.UTC)
    assert window.widen(before=DAY).start == dt.datetime(2026, 2, 27, 23, tzinfo=dt.UTC)
