"""The interval logic against a model that colours every hour of a short timeline by itself."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest
from fleetlake.coverage import PROVEN, Interval, State, carve, clip, merge, missing, overlay, proven, refused, unproven
from fleetlake.window import Window
from hypothesis import given
from hypothesis import strategies as st

T0 = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
HOURS = 24


def at(hour: int) -> dt.datetime:
    return T0 + dt.timedelta(hours=hour)


def interval(start: int, end: int, state: State = State.COMPLETE, proof: str = "whole: x", **fields: object) -> Interval:
    return Interval(
        account="north",
        dataset="powunity.trip",
        scope="17",
        window=Window(at(start), at(end)),
        state=state,
        proof=proof,
        **fields,  # type: ignore[arg-type]
    )


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    start = draw(st.integers(0, HOURS - 1))
    return interval(
        start,
        draw(st.integers(start + 1, HOURS)),
        draw(st.sampled_from(State)),
        draw(st.sampled_from(["whole: a", "whole: b", "asked: x"])),
        rows=draw(st.integers(0, 5)),
        load_id=str(draw(st.integers(0, 3))),
    )


Colour = tuple[State, str] | None


def colour(item: Interval) -> Colour:
    """State and proof kind; of what is proven only that it is: merged proofs name all their kinds."""
    return (State.COMPLETE, "") if item.state in PROVEN else (item.state, item.proof_kind)


def colours(known: list[Interval]) -> list[Colour]:
    """Colour of each hour."""
    found: list[Colour] = []
    for hour in range(HOURS):
        here = [item for item in known if at(hour) in item.window]
        assert len(here) <= 1, "intervals overlap"
        found.append(colour(here[0]) if here else None)
    return found


@given(st.lists(intervals(), max_size=12), st.booleans())
def test_recording_colours_exactly_the_hours_that_may_change(news: list[Interval], supersede: bool) -> None:
    known: list[Interval] = []
    model: list[Colour] = [None] * HOURS
    for new in news:
        kept_out = refused(known, new)
        known = overlay(known, new, supersede=supersede)
        for hour in range(HOURS):
            held = model[hour]
            if at(hour) not in new.window:
                continue
            if supersede or new.state in PROVEN or held is None or held[0] not in PROVEN:
                model[hour] = colour(new)
                assert supersede or not any(at(hour) in item.window for item in kept_out)
            else:
                assert any(at(hour) in item.window for item in kept_out)
        assert colours(known) == model
        for left, right in pairwise(known):
            assert left.window.end <= right.window.start
            assert not (colour(left) == colour(right) and left.window.end == right.window.start), (
                "adjacent equal intervals are one"
            )


@given(st.lists(intervals(), max_size=12), intervals())
def test_unproven_is_what_has_no_proof_and_missing_is_what_of_it_the_vendor_still_keeps(
    news: list[Interval], asked: Interval
) -> None:
    known: list[Interval] = []
    for new in news:
        known = overlay(known, new)
    model = colours(known)
    for holes, settled in (
        (unproven(known, asked.window), PROVEN),
        (missing(known, asked.window), {*PROVEN, State.OUT_OF_RETENTION}),
    ):
        for hour in range(HOURS):
            colour = model[hour]
            expected = at(hour) in asked.window and (colour is None or colour[0] not in settled)
            assert any(at(hour) in hole for hole in holes) == expected
        for left, right in pairwise(holes):
            assert left.end < right.start
    assert proven(known, asked.window) == (not unproven(known, asked.window))


@given(st.lists(intervals(), max_size=6))
def test_recording_the_same_again_changes_no_state(news: list[Interval]) -> None:
    known: list[Interval] = []
    for new in news:
        known = overlay(known, new)
    if news:
        assert colours(overlay(known, news[-1])) == colours(known)


def test_a_year_of_days_is_one_interval() -> None:
    known: list[Interval] = []
    for day in range(365):
        known = overlay(known, interval(24 * day, 24 * (day + 1), proof=f"whole: page {day}", rows=2))
    assert [(item.window, item.rows) for item in known] == [(Window(at(0), at(24 * 365)), 730)]


def test_a_failure_does_not_undo_a_proof_but_is_remembered() -> None:
    known = [interval(0, 12)]
    failure = interval(6, 18, State.FAILED, "asked: 500")
    assert [(item.window, item.state) for item in overlay(known, failure)] == [
        (Window(at(0), at(12)), State.COMPLETE),
        (Window(at(12), at(18)), State.FAILED),
    ]
    assert [item.window for item in refused(known, failure)] == [Window(at(6), at(12))]


def test_superseding_replaces_a_proof() -> None:
    known = overlay([interval(0, 12)], interval(6, 12, State.FAILED, "asked: wrong"), supersede=True)
    assert [item.state for item in known] == [State.COMPLETE, State.FAILED]


def test_what_is_left_of_a_carved_interval_has_unknown_rows() -> None:
    left, right = carve([interval(0, 12, rows=100)], Window(at(4), at(8)))
    assert (left.window, left.rows) == (Window(at(0), at(4)), None)
    assert (right.window, right.rows) == (Window(at(8), at(12)), None)


def test_merged_intervals_tell_the_last_reading_and_its_load() -> None:
    for order in (1, -1):
        (both,) = merge(
            [
                interval(0, 1, fetched_at=at(9), load_id="new", rows=1),
                interval(1, 2, fetched_at=at(5), load_id="old", rows=2),
            ][::order]
        )
        assert (both.fetched_at, both.load_id, both.rows, both.proof) == (at(9), "new", 3, "whole: x")


def test_a_merged_proof_names_every_kind_it_rests_on_and_the_detail_of_the_last_reading() -> None:
    days = [
        interval(0, 1, proof="terminal page: a", fetched_at=at(1)),
        interval(1, 2, proof="overview: b", fetched_at=at(2)),
        interval(2, 3, proof="terminal page: c", fetched_at=at(3)),
    ]
    known: list[Interval] = []
    for day in days:
        known = overlay(known, day)
    assert [item.proof for item in known] == ["overview + terminal page: c"]
    assert merge(days) == known


def test_a_silent_day_beside_data_is_part_of_what_is_complete() -> None:
    (week,) = merge([interval(0, 5, rows=9), interval(5, 7, State.EMPTY_CONFIRMED, rows=0), interval(7, 9, rows=4)])
    assert (week.state, week.rows) == (State.COMPLETE, 13)
    (silent,) = merge([interval(0, 5, State.EMPTY_CONFIRMED, rows=0), interval(5, 7, State.EMPTY_CONFIRMED, rows=0)])
    assert silent.state is State.EMPTY_CONFIRMED


def test_different_reasons_for_a_hole_stay_apart() -> None:
    assert len(merge([interval(0, 1, State.FAILED, "error: a"), interval(1, 2, State.FAILED, "refused: a")])) == 2
    assert len(merge([interval(0, 1, State.FAILED, "error: a"), interval(1, 2, State.PARTIAL, "error: a")])) == 2
    assert len(merge([interval(0, 1, State.FAILED, "error: a"), interval(1, 2, State.FAILED, "error: b")])) == 1


@pytest.mark.parametrize(("start", "end", "found"), [(0, 4, None), (4, 6, (4, 6)), (0, 30, (4, 8)), (8, 9, None)])
def test_clip(start: int, end: int, found: tuple[int, int] | None) -> None:
    piece = clip(interval(4, 8, rows=3), Window(at(start), at(end)))
    assert (piece and (piece.window.start, piece.window.end)) == (found and (at(found[0]), at(found[1])))
