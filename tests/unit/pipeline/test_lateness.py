"""What look-back is learned from what has been seen, and how days become requests."""

from __future__ import annotations

import datetime as dt

import pytest
from fleetlake.pipeline.lateness import LEAST_DAYS, Evidence, learn, stretches
from fleetlake.window import DAY, utc

FIRST = utc("2026-11-01")


def learned(late, vehicle_days=10_000, days=LEAST_DAYS, most=7):
    return learn(Evidence(days, vehicle_days, late), most)


def test_with_too_little_evidence_the_look_back_is_the_most_the_account_allows():
    book = learned({}, days=LEAST_DAYS - 1, most=5)
    assert (book.days, book.is_learned) == (5, False)
    assert f"{LEAST_DAYS - 1} of {LEAST_DAYS} days" in book.reason


@pytest.mark.parametrize(
    ("late", "days"),
    [
        ({}, 1),  # quiet: one day for safety
        ({1: 4000}, 2),
        ({1: 4000, 3: 50}, 4),
        ({1: 40, 2: 30, 5: 10}, 3),  # ten of ten thousand may wait for the sweep
        ({1: 40, 2: 30, 5: 11}, 6),
        ({7: 11}, 7),  # found by the sweep only: nobody knows how early it was there
        ({6: 11}, 7),
    ],
)
def test_all_but_one_in_a_thousand_vehicle_days_are_final_within_the_look_back_and_one_day_is_added(late, days):
    book = learned(late)
    assert (book.days, book.is_learned, book.max_days) == (days, True, 7)


def test_in_a_small_fleet_a_single_late_vehicle_day_counts():
    assert learned({4: 1}, vehicle_days=60).days == 5


def test_the_reason_names_the_figures():
    assert learned({1: 40, 2: 30, 5: 10}).reason == (
        "all but 10 of 10000 vehicle-days were final after 2 days; one more for safety"
    )


def test_days_become_the_fewest_windows_the_newest_first():
    days = [FIRST + number * DAY for number in (0, 5, 6, 7)]
    assert [(window.start, window.end) for window in stretches(days, 7)] == [
        (days[1], days[3] + DAY),
        (days[0], days[0] + DAY),
    ]
    assert [window.start for window in stretches(days, 1)] == days[::-1]
    assert [window.end - window.start for window in stretches([FIRST + n * DAY for n in range(8)], 7)] == [7 * DAY, DAY]
    assert stretches([], 7) == []
    assert all(isinstance(window.start, dt.datetime) for window in stretches(days, 2))
