"""Trip detection of the simulated Traccar, case by case: what counts as a trip, and where it is cut."""

from __future__ import annotations

import pytest
from fleetlake.sandbox.powunity.live import notices
from fleetlake.sandbox.powunity.model import MINUTE, Event, Position
from fleetlake.sandbox.powunity.reports import Thresholds, fast_spans, slow_spans

LIMITS = Thresholds()


def _track(*points: tuple[float, float]) -> list[Position]:
    """Positions from (minute, metres driven so far); a point moves if it is further than the one before."""
    track, before = [], points[0][1]
    for number, (minute, metres) in enumerate(points, start=1):
        track.append(
            Position(
                id=number,
                attributes={"totalDistance": float(metres), "motion": metres > before},
                device_id=1,
                protocol="h02",
                server_ms=int(minute * MINUTE),
                device_ms=int(minute * MINUTE),
                fix_ms=int(minute * MINUTE),
                latitude=0.0,
                longitude=0.0,
                speed=9.0 if metres > before else 0.0,
            )
        )
        before = metres
    return track


def _minutes(track: list[Position], *, trips: bool = True) -> list[tuple[float, float]]:
    spans = slow_spans(track, trips=trips, limits=LIMITS)
    return [(span.start.fix_ms / MINUTE, span.end.fix_ms / MINUTE) for span in spans]


STANDING = [(0, 0), (1, 0), (2, 0)]
RIDE = [(3, 300), (4, 600), (5, 900)]
PARKED = [(6, 900), (9, 900), (12, 900)]


@pytest.mark.parametrize(
    ("points", "trips", "stops"),
    [
        pytest.param([*STANDING, *RIDE, *PARKED], [(3, 6)], [(0, 3), (6, 12)], id="simple"),
        pytest.param([*STANDING, (9, 0), (12, 0)], [], [(0, 12)], id="stops only"),
        pytest.param([(0, 0), (1, 9), (2, 99)], [], [(0, 1)], id="too short a move"),
        pytest.param([*STANDING, *RIDE, (6, 900), (8, 900), (9, 1200), (10, 1500), (11, 1500), (17, 1500)],
                     [(3, 11)], [(0, 3), (11, 17)], id="a short halt does not end a trip"),
        pytest.param([*STANDING, *RIDE], [(3, 5)], [(0, 3)], id="open at the window's end"),
        pytest.param([*STANDING, *RIDE, (6, 900), (8, 900)], [(3, 6)], [(0, 3)], id="open, just halted"),
        pytest.param([(3, 0), (4, 300), (5, 900), *PARKED], [(4, 6)], [(3, 4), (6, 12)], id="far enough in a minute"),
        pytest.param([*STANDING, *RIDE, (6, 1200), (70, 5000), (71, 5300), (72, 5600), (73, 5900), (74, 5900), (80, 5900)],
                     [(3, 6), (71, 74)], [(0, 3), (6, 71), (74, 80)], id="an hour of silence cuts a trip"),
        pytest.param([(0, 0)], [], [], id="one point"),
        pytest.param([], [], [], id="nothing"),
    ],
)  # fmt: skip
def test_trips_and_stops(
    points: list[tuple[float, float]], trips: list[tuple[float, float]], stops: list[tuple[float, float]]
) -> None:
    track = _track(*points) if points else []
    assert _minutes(track) == trips
    assert _minutes(track, trips=False) == stops


def test_a_window_that_opens_in_a_ride_starts_with_a_trip_however_short() -> None:
    whole = _track(*STANDING, *RIDE, *PARKED)
    assert _minutes(whole[5:]) == [(5, 6)]


def test_events_are_stamped_where_the_change_is_settled() -> None:
    track = _track(*STANDING, *RIDE, *PARKED)
    found = [(notice.type, notice.position.fix_ms / MINUTE) for notice in notices(track, LIMITS)]
    assert found == [("deviceMoving", 5), ("deviceStopped", 12)]


def test_the_report_from_events_loses_the_first_and_the_last_stop_and_all_speeds() -> None:
    again = [(40, 1200), (41, 1500), (42, 1800), (43, 1800), (50, 1800)]
    track = _track(*STANDING, *RIDE, *PARKED, *again)
    by_id = {position.id: position for position in track}
    events = [
        Event(
            id=number,
            device_id=1,
            type=notice.type,
            time_ms=notice.position.fix_ms,
            known_ms=notice.position.server_ms,
            position_id=notice.position.id,
        )
        for number, notice in enumerate(notices(track, LIMITS), start=1)
    ]
    assert _minutes(track, trips=False) == [(0, 3), (6, 40), (43, 50)]
    stops = fast_spans(events, by_id.get, trips=False)
    assert [(span.start.fix_ms / MINUTE, span.end.fix_ms / MINUTE) for span in stops] == [(12, 42)]
    assert _minutes(track) == [(3, 6), (40, 43)]
    trips = fast_spans(events, by_id.get, trips=True)
    assert [(span.start.fix_ms / MINUTE, span.end.fix_ms / MINUTE, span.max_speed) for span in trips] == [
        (5, 12, 0.0),
        (42, 50, 0.0),
    ]
