"""What Omnicomm's trucks do: rides and their stops, the engine, and tanks whose balance is exact."""

from __future__ import annotations

import datetime as dt
import math
from itertools import pairwise
from pathlib import Path

import pytest
from fleetlake.sandbox.omnicomm.driving import clip, seconds, subtract
from fleetlake.sandbox.omnicomm.fuel import LEAST_REFUEL_DL, WEEK_S
from fleetlake.sandbox.omnicomm.model import Model
from fleetlake.sandbox.omnicomm.park import TRUCK
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.world import DAY_S, World, day_number

AS_OF = dt.datetime(2026, 11, 20, 12, 0, 0, tzinfo=dt.UTC)
NOW_MS = int(AS_OF.timestamp() * 1000)
FIRST = day_number(dt.date(2026, 11, 9))
DAYS = range(FIRST, FIRST + 8)
EARTH_M = 6_371_008.8


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(Context.of(SandboxSettings(state_dir=Path("unused"), as_of=AS_OF)))


def test_trucks_have_unique_terminals_plates_vins_and_uuids_of_version_3(model: Model) -> None:
    trucks = [*model.park.trucks("trucks"), *model.park.trucks("other")]
    for name in ("terminal_id", "vin", "plate", "uuid"):
        assert len({getattr(truck, name) for truck in trucks}) == len(trucks)
    assert all(truck.uuid[14] == "3" for truck in trucks)
    assert model.park.truck(0).terminal_id == 202_000_001


def test_a_truck_does_not_change_when_the_fleet_grows() -> None:
    small, large = (
        Model(Context.of(SandboxSettings(state_dir=Path("unused"), as_of=AS_OF, trucks=size))).park.truck(2)
        for size in (3, 9)
    )
    assert (small.vin, small.plate, small.tank_dl) == (large.vin, large.plate, large.tank_dl)
    assert small.vehicle.rides(FIRST)[0].distance_m == large.vehicle.rides(FIRST)[0].distance_m


def test_rides_of_trucks_never_overlap_however_long_the_night() -> None:
    crossing = 0
    for seed in (1, 2):
        world = World(seed)
        for truck in world.fleet("omnicomm-trucks", 2, TRUCK):
            rides = [ride for day in range(world.first_day, world.first_day + 200) for ride in truck.rides(day)]
            assert all(after.start - before.end >= 720 for before, after in pairwise(rides))
            crossing += sum(ride.end // DAY_S > ride.day for ride in rides)
    assert crossing > 20, "some run over midnight"


def test_stretches_faster_than_a_speed_are_found_without_stepping(model: Model) -> None:
    ride = model.park.truck(0).vehicle.rides(DAYS[0])[0]
    for kmh in (2, 50, 80):
        found = {second for start, end in ride.faster_than(kmh / 3.6) for second in range(start, end)}
        assert found == {s for s in range(ride.start, ride.end) if ride.driven(s)[1] > kmh / 3.6}
        stretches = ride.faster_than(kmh / 3.6)
        assert all(before[1] < after[0] for before, after in pairwise(stretches))


def test_arithmetic_of_stretches() -> None:
    assert subtract([(0, 10), (20, 30)], [(2, 4), (8, 22), (29, 40)]) == [(0, 2), (4, 8), (22, 29)]
    assert clip([(0, 10), (20, 30)], 5, 21) == [(5, 10), (20, 21)]
    assert seconds([(0, 2), (5, 9)]) == 6


def test_odometer_of_days_adds_up_over_midnight(model: Model) -> None:
    for truck in model.park.trucks("trucks")[:4]:
        marks = [model.driving.odometer_m(truck, day * DAY_S) for day in DAYS]
        assert marks == sorted(marks)
        parts = [model.driving.metres(truck, [(day * DAY_S, (day + 1) * DAY_S)]) for day in DAYS]
        assert sum(parts) == model.driving.odometer_m(truck, (DAYS[-1] + 1) * DAY_S) - marks[0]
        samples = [sample for day in DAYS for sample in truck.vehicle.samples(day)]
        assert all(model.driving.odometer_m(truck, sample.time) == sample.odometer_m for sample in samples)


def test_engine_runs_in_movement_and_a_while_around_each_ride(model: Model) -> None:
    truck = model.park.truck(0)
    start, end = DAYS[0] * DAY_S, (DAYS[-1] + 1) * DAY_S
    engine, moving, idle = (
        what(truck, start, end) for what in (model.driving.engine, model.driving.moving, model.driving.idle)
    )
    assert subtract(moving, engine) == []
    assert seconds(engine) == seconds(moving) + seconds(idle)
    assert seconds(idle) > 600


def _distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    (p1, l1), (p2, l2) = (tuple(map(math.radians, point)) for point in (a, b))
    h = math.sin((p2 - p1) / 2) ** 2 + math.cos(p1) * math.cos(p2) * math.sin((l2 - l1) / 2) ** 2
    return 2 * EARTH_M * math.asin(math.sqrt(h))


def test_track_and_reports_tell_the_same_distance_and_times(model: Model) -> None:
    compared = 0
    for truck in model.park.trucks("trucks")[:4]:
        for day in DAYS:
            totals = model.reckoning.totals(truck, day * DAY_S, (day + 1) * DAY_S, NOW_MS)
            assert totals is not None
            points = [p for p in model.track.points(truck, day * DAY_S, (day + 1) * DAY_S, NOW_MS) if p.is_valid]
            if totals.known_s < DAY_S or totals.distance_m < 20_000:
                continue
            compared += 1
            length = sum(
                _distance((a.latitude, a.longitude), (b.latitude, b.longitude))
                for a, b in pairwise(points)
                if max(a.speed_kmh, b.speed_kmh) > 2
            )
            assert length == pytest.approx(totals.distance_m, rel=0.08)
            moving = sum(b.time - a.time for a, b in pairwise(points) if a.speed_kmh > 2)
            assert moving == pytest.approx(totals.moving_s, rel=0.08)
    assert compared > 8


def test_report_of_a_day_equals_its_halves(model: Model) -> None:
    truck, day = model.park.truck(1), DAYS[1]
    noon = day * DAY_S + DAY_S // 2
    whole = model.reckoning.totals(truck, day * DAY_S, (day + 1) * DAY_S, NOW_MS)
    halves = [model.reckoning.totals(truck, *span, NOW_MS) for span in ((day * DAY_S, noon), (noon, (day + 1) * DAY_S))]
    for name in ("distance_m", "moving_s", "worked_s", "known_s"):
        assert getattr(whole, name) == sum(getattr(half, name) for half in halves), name
    fuels = [half.fuel for half in halves if half and half.fuel]
    assert whole is not None
    assert whole.fuel is not None
    assert whole.fuel.used == sum(fuel.used for fuel in fuels)
    assert fuels[0].end == fuels[1].start


def test_fuel_balance_is_exact_over_many_weeks_and_tanks_never_run_dry_or_over(model: Model) -> None:
    for truck in model.park.trucks("trucks")[:1]:
        weeks = range(DAYS[0] // 7 - 40, DAYS[0] // 7)
        burnt = model.fuel.used(truck, weeks[0] * WEEK_S, weeks[-1] * WEEK_S).total
        pours = model.fuel.pours(truck, weeks[0] * WEEK_S, weeks[-1] * WEEK_S)
        levels = [model.fuel.level_dl(truck, week * WEEK_S) for week in weeks]
        assert levels[0] + sum(pour.volume_dl for pour in pours) - burnt == levels[-1]
        assert any(pour.volume_dl < 0 for pour in pours), "now and then somebody drains"
        assert all(pour.volume_dl >= LEAST_REFUEL_DL for pour in pours if pour.volume_dl > 0)
        for week in weeks[::4]:
            lowest, highest = model.fuel.extremes(truck, week * WEEK_S, (week + 1) * WEEK_S - 1)
            assert lowest > 0.1 * truck.tank_dl
            assert highest < 0.95 * truck.tank_dl


def test_levels_jump_at_refuels_while_parked_and_fall_slower_than_a_litre_a_minute(model: Model) -> None:
    rises = drops = 0
    for truck in model.park.trucks("trucks")[:2]:
        poured = model.fuel.pours(truck, (FIRST - 60) * DAY_S, FIRST * DAY_S)
        for day in sorted({pour.time // DAY_S for pour in poured}):
            points = list(model.track.points(truck, day * DAY_S, (day + 1) * DAY_S, NOW_MS))
            levels = [model.fuel.level_dl(truck, point.time) for point in points]
            for (a, before), (b, after) in pairwise(zip(points, levels, strict=True)):
                change = (after - before) / 10
                if change >= 5:
                    rises += 1
                    assert change > 48, "less what the engine burnt until the next sample"
                    assert max(a.speed_kmh, b.speed_kmh) <= 2 or b.time - a.time > 60
                elif change <= -10:
                    drops += 1
                    assert -change * 60 >= b.time - a.time, "a thief is fast"
                else:
                    assert change < 1
                    assert change > -1 or -change * 60 < b.time - a.time, "use is slow"
    assert rises > 10
    assert drops > 0


def test_some_tanks_swell_so_that_consumption_may_be_negative(model: Model) -> None:
    truck = model.park.truck(4)
    used = []
    for day in range(FIRST - 120, FIRST):
        fuel = model.reckoning.fuel(truck, day * DAY_S, (day + 1) * DAY_S)
        if fuel:
            assert fuel.used == fuel.start + fuel.refuelled - fuel.drained - fuel.end
            used.append(fuel.used)
    assert min(used) < 0


def test_silent_sensor_leaves_no_fuel_figures(model: Model) -> None:
    truck = model.park.truck(0)
    dead = next(day for day in range(FIRST, FIRST - 200, -1) if model.fuel.is_dead(truck, day))
    totals = model.reckoning.totals(truck, dead * DAY_S, (dead + 1) * DAY_S, NOW_MS)
    assert totals is not None
    assert totals.fuel is None


def test_mothballed_vehicle_has_no_data_at_all(model: Model) -> None:
    truck = model.park.truck(7)
    start, end = DAYS[0] * DAY_S, (DAYS[-1] + 1) * DAY_S
    assert not truck.is_receiving
    assert list(model.track.points(truck, start, end, NOW_MS)) == []
    assert model.reckoning.totals(truck, start, end, NOW_MS) is None
    assert model.events.between(truck, start, end, NOW_MS) == []


def test_stops_and_parkings_fill_the_gaps_between_movements(model: Model) -> None:
    truck = model.park.truck(0)
    start, end = DAYS[0] * DAY_S, (DAYS[-1] + 1) * DAY_S
    events = model.events.between(truck, start, end, NOW_MS)
    moving = model.driving.moving(truck, start, end)
    begins = {a for a, _ in moving}
    stops = {event.time: event.parameters[1] for event in events if event.kind == 43}
    parkings = {event.time: event.parameters[1] for event in events if event.kind == 98}
    assert stops.keys() <= begins
    assert {time: duration for time, duration in stops.items() if duration > 300} == parkings
    inside = {b: b - a for (_, a), (b, _) in pairwise(moving) if b - a > 60}
    assert {time: stops[time] for time in inside} == inside


def test_visits_of_one_zone_and_outside_never_overlap(model: Model) -> None:
    truck = model.park.truck(0)
    zones = model.zones.of("trucks")
    visits = model.visits.between(truck, zones, DAYS[0] * DAY_S, DAYS[-1] * DAY_S, NOW_MS, outside=True)
    assert {visit.zone is None for visit in visits} == {True, False}
    for zone in {visit.zone for visit in visits}:
        own = [visit for visit in visits if visit.zone is zone]
        assert all(before.end <= after.start for before, after in pairwise(own))
    whole_days = [
        visit
        for day in range(DAYS[0], DAYS[-1])
        for visit in model.visits.between(truck, zones, day * DAY_S, (day + 1) * DAY_S, NOW_MS, outside=True)
    ]
    assert whole_days == visits, "a visit is the same however the window is cut"
