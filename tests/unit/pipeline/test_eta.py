"""When it will be done: against works whose end is known."""

from __future__ import annotations

import random

import pytest
from fleetlake.pipeline.eta import Eta


def worst(parts, seconds_of, planned, *, after=0.1, ticks=7):
    """Greatest error of the forecast end, relative to the whole duration, asked all the time after a share is done."""
    work, whole = sum(parts), sum(map(seconds_of, parts))
    eta = Eta(work, planned)
    now = done = error = 0.0
    for part in parts:
        for tick in range(1, ticks + 1):
            if eta.share >= after:
                at = now + seconds_of(part) * tick / ticks
                error = max(error, abs(at + eta.left(at) - whole) / whole)
        now, done = now + seconds_of(part), done + part
        eta.update(done, now)
    assert eta.left(now) == 0
    return error


def test_steady_work_is_forecast_exactly():
    assert worst([1.0] * 200, lambda part: part, 200) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_parts_of_very_different_size(seed):
    roll = random.Random(seed)
    parts = [roll.choice([1, 1, 1, 5, 20]) * roll.uniform(0.5, 1.5) for _ in range(150)]
    assert worst(parts, lambda part: part, sum(parts)) < 0.02


@pytest.mark.parametrize("seed", range(20))
def test_noisy_speed_and_a_plan_that_is_wrong_by_half(seed):
    roll = random.Random(seed)
    noise = {}
    parts = [roll.uniform(1, 3) for _ in range(300)]
    for part in parts:
        noise[part] = roll.uniform(0.6, 1.4)
    assert worst(parts, lambda part: part * noise[part], sum(parts) * 1.5) < 0.15


def test_a_slow_start_and_what_follows_each_part_do_not_count_as_speed():
    """Ten days of ten seconds; the first begins after twenty, and each is told five seconds late."""
    eta = Eta(100, 100)
    for day in range(1, 11):
        eta.update(10 * day, 20 + 10 * day + 5)
        if day > 1:
            assert 20 + 10 * day + 5 + eta.left(20 + 10 * day + 5) == pytest.approx(125, rel=0.01)


def test_before_anything_is_done_the_plan_speaks():
    eta = Eta(100, 50)
    assert eta.left(0) == pytest.approx(50)
    assert eta.left(10) == pytest.approx(40)


def test_work_that_does_not_go_on_is_never_said_to_be_done():
    eta = Eta(100, 50)
    eta.update(90, 45)
    assert all(eta.left(now) > 0 for now in (50, 60, 600, 6000))


def test_what_was_done_before_says_nothing_about_speed():
    eta = Eta(100, 50, done=80)
    eta.update(90, 10)
    assert eta.left(10) == pytest.approx(10, rel=0.1)


def test_no_work_is_done_at_once():
    assert Eta(0, 0).left(0) == 0
    assert Eta(0, 0).share == 1
