from __future__ import annotations

import datetime as dt
import math
import random
from itertools import pairwise

import pytest
from fleetlake.sandbox.world import BIKE, CAR, DAY_S, MAX_LATE_S, Fleet, Sample, World, day_number

FIRST = day_number(dt.date(2026, 11, 2))
DAYS = range(FIRST, FIRST + 10)


@pytest.fixture(scope="module", params=[CAR, BIKE], ids=["cars", "bikes"])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    return World(7).fleet("test", 6, request.param)


def plain(sample: Sample) -> tuple[object, ...]:
    return (*sample[:-1], sample.ride and (sample.ride.start, sample.ride.end, sample.ride.driver))


def test_any_order_of_calls_gives_the_same_samples() -> None:
    keys = [(vehicle, day) for vehicle in range(4) for day in DAYS]
    first = World(7).fleet("test", 4)
    expected = {(vehicle, day): [plain(sample) for sample in first[vehicle].samples(day)] for vehicle, day in keys}
    random.Random(3).shuffle(keys)
    second = World(7).fleet("test", 4)
    assert {(vehicle, day): [plain(sample) for sample in second[vehicle].samples(day)] for vehicle, day in keys} == expected


def test_another_seed_is_another_world() -> None:
    one, other = World(7).fleet("test", 1)[0], World(8).fleet("test", 1)[0]
    assert one.home != other.home
    assert [plain(s) for s in one.samples(FIRST)] != [plain(s) for s in other.samples(FIRST)]


def test_a_larger_fleet_keeps_its_first_vehicles() -> None:
    small, large = World(7).fleet("test", 2), World(7).fleet("test", 5000)
    assert [plain(s) for s in small[1].samples(FIRST)] == [plain(s) for s in large[1].samples(FIRST)]
    assert len(large[4999].samples(FIRST)) > 50


def test_odometer_and_hours_never_fall_and_positions_never_jump(fleet: Fleet) -> None:
    for vehicle in fleet:
        samples = [sample for day in DAYS for sample in vehicle.samples(day)]
        assert len(samples) > 10 * 50
        for before, after in pairwise(samples):
            driven = after.odometer_m - before.odometer_m
            assert driven >= 0
            assert after.engine_s >= before.engine_s
            north = (after.latitude - before.latitude) * 111_320
            east = (after.longitude - before.longitude) * 111_320 * math.cos(math.radians(after.latitude))
            assert math.hypot(north, east) <= driven * 1.2 + 30


def test_the_odometer_of_a_day_needs_no_history(fleet: Fleet) -> None:
    vehicle = fleet[0]
    for day in DAYS:
        rides = vehicle.rides(day)
        assert sum(ride.distance_m for ride in rides) == vehicle.odometer_m(day + 1) - vehicle.odometer_m(day)
        assert sum(ride.end - ride.start for ride in rides) == vehicle.engine_s(day + 1) - vehicle.engine_s(day)


def test_rides_keep_apart_and_some_run_over_midnight(fleet: Fleet) -> None:
    over_midnight = 0
    for vehicle in fleet:
        rides = [ride for day in DAYS for ride in vehicle.rides(day)]
        assert all(after.start - before.end >= 700 for before, after in pairwise(rides))
        over_midnight += sum(ride.end // DAY_S > ride.start // DAY_S for ride in rides)
    assert over_midnight > 2


def test_rides_stop_on_the_way_but_never_as_long_as_a_parking(fleet: Fleet) -> None:
    stops = 0
    for vehicle in fleet:
        for ride in (ride for day in DAYS for ride in vehicle.rides(day)):
            standing = 0
            for second in range(ride.start + 1, ride.end, 10):
                standing = standing + 10 if ride.driven(second)[1] == 0 else 0
                stops += standing == 60
                assert standing < 300
    assert stops > 10


def test_knots_times_1852_has_at_most_six_decimals(fleet: Fleet) -> None:
    for sample in fleet[0].samples(FIRST + 1):
        assert round(sample.speed_kn, 3) == sample.speed_kn
        assert abs(round(sample.speed_kn * 1.852, 6) - sample.speed_kn * 1.852) < 1e-9
        assert round(sample.latitude, 6) == sample.latitude


def test_each_sample_arrives_once_and_at_most_three_days_late(fleet: Fleet) -> None:
    late = 0
    for vehicle in fleet:
        samples = [sample for day in DAYS for sample in vehicle.samples(day)]
        assert len({(sample.received_ms, sample.upload) for sample in samples}) == len(samples)
        assert all(0 < sample.received_ms - sample.time * 1000 <= MAX_LATE_S * 1000 for sample in samples)
        late += sum(sample.is_late for sample in samples)
        for day in DAYS:
            held = [sample.is_late for sample in vehicle.samples(day)]
            assert sum(one != other for one, other in pairwise(held)) <= 2, "the late stretch is contiguous"
    assert late > 100


def test_the_latest_sample_is_found_without_building_days(fleet: Fleet) -> None:
    roll = random.Random(1)
    for vehicle in fleet:
        for _ in range(10):
            now = roll.randrange(FIRST * DAY_S * 1000, (FIRST + 10) * DAY_S * 1000)
            today = now // 1000 // DAY_S
            seen = [s for day in range(today - 4, today + 1) for s in vehicle.samples(day) if s.received_ms <= now]
            latest = vehicle.latest(now)
            assert latest is not None
            assert plain(latest) == plain(max(seen, key=lambda s: (s.received_ms, s.upload)))


def test_there_is_nothing_before_history_starts() -> None:
    vehicle = World(7, dt.date(2026, 11, 2)).fleet("test", 1)[0]
    assert vehicle.samples(FIRST - 1) == ()
    assert vehicle.samples(FIRST)
    assert vehicle.latest(FIRST * DAY_S * 1000 - 1) is None


def test_drivers_change_now_and_then(fleet: Fleet) -> None:
    drivers = [ride.driver for day in DAYS for ride in fleet[5].rides(day)]
    assert drivers.count(5) > len(drivers) / 2
    assert all(0 <= driver <= 5 for driver in drivers)
    assert fleet.driver(3).unique_id != fleet.driver(4).unique_id
