"""The vendor's minute: what a 429 says, and how it is kept from happening."""

from __future__ import annotations

import datetime as dt
import email.utils

import pytest
from fleetlake.http.answers import Answer
from fleetlake.vendors.suivideflotte.quota import Minute, pause_of

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
SECOND = int(NOW.timestamp())


def answer(status: int = 429, **headers: str) -> Answer:
    fields = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status=status, headers=fields, body=b"Too Many Attempts.", request="GET /vehicles", fetched_at=NOW)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x_ratelimit_reset": str(SECOND + 41)}, 41),
        ({"x_ratelimit_reset": str(SECOND + 41), "retry_after": "7"}, 41),
        ({"x_ratelimit_reset": str((SECOND + 41) * 1000)}, 41),  # milliseconds
        ({"x_ratelimit_reset": str(SECOND - 5), "retry_after": "7"}, 7),  # past
        ({"x_ratelimit_reset": str(SECOND + 3600), "retry_after": "7"}, 7),  # too far away
        ({"x_ratelimit_reset": "soon", "retry_after": "7"}, 7),
        ({"retry_after": "7"}, 7),
        ({"retry_after": "7200"}, 60),
        ({"x_ratelimit_reset": str(SECOND - 5)}, 60),
        ({"x_ratelimit_reset": str(SECOND + 3600)}, 60),
        ({}, 60),
    ],
)
def test_the_pause_after_a_429_guards_against_odd_resets(headers: dict[str, str], seconds: float) -> None:
    assert seconds <= pause_of(answer(**headers)) < seconds + 1


def test_the_vendors_clock_counts_where_it_shows_one() -> None:
    ours_is_late = {"date": email.utils.format_datetime(NOW + dt.timedelta(hours=2), usegmt=True)}
    assert 30 <= pause_of(answer(x_ratelimit_reset=str(SECOND + 7200 + 30), **ours_is_late)) < 31
    assert 60 <= pause_of(answer(x_ratelimit_reset=str(SECOND + 30), **ours_is_late)) < 61


def test_jitter_keeps_processes_apart() -> None:
    assert len({pause_of(answer(retry_after="7")) for _ in range(20)}) > 1


class Watch:
    """A minute on a clock of its own."""

    def __init__(self, reserve: int = 2) -> None:
        self.time = 1000.0
        self.minute = Minute(reserve, lambda: self.time)

    def sees(self, remaining: int | str, after: float = 0, **headers: str) -> float:
        self.time += after
        return self.minute.watch(answer(200, x_ratelimit_remaining=str(remaining), **headers))


def test_nobody_waits_while_enough_calls_remain() -> None:
    watch = Watch()
    assert [watch.sees(remaining, 1) for remaining in range(59, 2, -1)] == [0.0] * 57


def test_at_the_reserve_everybody_waits_until_the_window_ends() -> None:
    watch = Watch()
    assert watch.sees(59) == 0  # the window begins here at the latest
    assert watch.sees(2, 20) == 40
    assert watch.sees(0, 5) == 35
    assert watch.sees(59, 36) == 0  # the next one
    assert watch.sees(1, 10) == 50


def test_a_process_that_comes_late_waits_a_whole_window_at_most() -> None:
    assert Watch().sees(0) == 60


def test_a_window_that_nobody_saw_begin_is_not_taken_for_the_old_one() -> None:
    watch = Watch()
    assert watch.sees(5) == 0
    assert watch.sees(1, 70) == 60, "others have used up the next window"


def test_a_reset_on_a_normal_answer_is_believed_within_reason() -> None:
    assert Watch().sees(0, x_ratelimit_reset=str(SECOND + 12)) == 12
    assert Watch().sees(0, x_ratelimit_reset=str(SECOND + 4000)) == 60


def test_answers_without_the_header_or_with_nonsense_tell_nothing() -> None:
    assert Minute(2).watch(answer(200)) == 0
    assert Watch().sees("many") == 0
    assert Watch().sees("-1") == 0
