"""Prices from a made-up history whose right answer is known."""

from __future__ import annotations

import datetime as dt

import pytest
from fleetlake.pipeline.estimate import by_day, union
from fleetlake.pipeline.history import History, Typical
from fleetlake.pipeline.price import Price, Quota
from fleetlake.reading import Feed, Kind
from fleetlake.window import Window

FEED = Feed(name="telemetry", kind=Kind.REVISION, per_scope=True, datasets=("rcs.telemetry",))


def history(**changes):
    usual = Typical(pages=8.0, bytes=70_000, rows=700, days=1)
    return History(**{"feed": FEED, "reads": 10, "dates": 5, "fleet": usual, "bytes_per_row": 100, **changes})


def test_a_vehicle_with_history_costs_what_it_cost_and_another_what_the_fleet_costs():
    heavy = Typical(pages=20.0, bytes=190_000, rows=1900, days=1)
    known = history(by_scope={"heavy": heavy})
    assert known.pages("heavy", 10, 10) == pytest.approx(200)
    assert known.bytes("heavy", 10, 10) == pytest.approx(1_900_000)
    assert known.pages("stranger", 10, 10) == pytest.approx(80)


def test_days_are_priced_right_from_reads_of_a_week():
    """A hundred rows a page and one page to see the end: a week has 50 pages, seven days have 56."""
    weekly = history(fleet=Typical(pages=50.0, bytes=490_000, rows=700, days=7), pages_per_row=0.01)
    assert weekly.pages("any", 7, 7) == pytest.approx(56)
    assert weekly.bytes("any", 7, 7) == pytest.approx(490_000)


def test_what_is_asked_beyond_the_window_is_paid_per_read():
    """Half a day on both sides: a read of three days brings four, three reads of a day bring six."""
    wide = history(fleet=Typical(pages=1, bytes=4000, rows=10, days=3), edge_days=1.0, edge_seen=1.0)
    assert wide.bytes("any", 1, 3) == pytest.approx(4000)
    assert wide.bytes("any", 3, 3) == pytest.approx(6000)
    at_midnight = history(fleet=Typical(pages=1, bytes=3500, rows=10, days=3), edge_days=1.0, edge_seen=0.5)
    assert at_midnight.bytes("any", 3, 3) == pytest.approx(6000), "the schedule sees only what is before its window"


def test_pages_that_overlap_bring_no_rows_twice_where_there_is_one_page():
    """Twenty rows in two pages of fifteen, the first read again: 35 rows came; ten rows in one page are ten."""
    twice = history(
        fleet=Typical(pages=3.0, bytes=3500, rows=20, days=1), pages_per_row=2 / 15, rows_again=7.5, bytes_per_row=100
    )
    assert twice.pages("any", 1, 0.5) == pytest.approx(3 - 10 * 2 / 15)
    assert twice.pages("any", 1, 0.25) == 1
    assert twice.bytes("any", 1, 0.25) == pytest.approx(500)


def test_a_read_costs_a_request_however_little_it_brings():
    steep = history(fleet=Typical(pages=3.0, bytes=70_000, rows=7000, days=7), pages_per_row=0.01)
    assert steep.pages("any", 7, 7) == 7


def test_weekends_have_their_own_weight():
    week = Window(dt.datetime(2026, 11, 2, tzinfo=dt.UTC), dt.datetime(2026, 11, 9, tzinfo=dt.UTC))
    assert history(weekend=0.3, workday=1.28).weight(week) == pytest.approx(5 * 1.28 + 2 * 0.3)


def test_uncertainty_falls_with_more_days_and_is_large_without_history():
    assert history(reads=0).uncertainty(0.1, 10) == 2.0
    assert (
        history(dates=14).uncertainty(0.1, 10) < history(dates=3).uncertainty(0.1, 10) < history(dates=3).uncertainty(0.1, 1)
    )


def test_time_at_the_quota():
    quota = Quota(rate_per_s=2.0, burst=5, is_seen=True)
    assert quota.seconds(105) == 50
    assert quota.seconds(3) == 0


def test_prices_add_up():
    one = Price(requests=1, bytes=2, rows=3, seconds=4)
    assert one + one == Price(requests=2, bytes=4, rows=6, seconds=8)


def test_ranges_of_days():
    assert union([(5, 7), (0, 2), (2, 3), (6, 9)]) == [(0, 3), (5, 9)]
    assert by_day({"a": [(0, 3)], "b": [(1, 2), (3, 4)]}, 4) == [1, 2, 1, 1]
