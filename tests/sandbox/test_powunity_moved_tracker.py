"""A tracker that is put onto another bike: it keeps its id, and its odometer goes on."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fleetlake.errors import ConfigError
from fleetlake.sandbox.powunity import ROOM, reports
from fleetlake.sandbox.powunity.customers import Bike, Customer
from fleetlake.sandbox.powunity.feed import Feed
from fleetlake.sandbox.powunity.model import iso, to_ms
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.world import BIKE, DAY_S
from fleetlake.window import Window, utc

AS_OF = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)  # nothing of these days is still on its way
MOVED_AT = utc("2026-11-20T12:34:56")
DAYS = Window.parse("2026-11-18", "2026-11-22")
MOVED = {"powunity.moved_bike": 1, "powunity.moved_at": "2026-11-20T12:34:56", "powunity.moved_onto": 5}


def _context(assumptions: dict[str, Any]) -> Context:
    return Context.of(SandboxSettings(state_dir=Path("unused"), as_of=AS_OF, bikes=3, assumptions=assumptions))


def _bike(context: Context) -> tuple[Feed, Customer, Bike]:
    customer = Customer(context, 0)
    return Feed(context, customer), customer, customer.bikes()[1]


def test_tracker_reports_its_bike_until_the_move_and_the_other_one_from_then_on() -> None:
    context = _context(MOVED)
    feed, _, bike = _bike(context)
    other = context.world.fleet("powunity.north", 6, BIKE)[5]
    places = {}
    for vehicle in (bike.vehicle, other):
        for day in DAYS.days():
            for sample in vehicle.samples(to_ms(day.start) // 1000 // DAY_S):
                places[vehicle, sample.time] = (sample.latitude, sample.longitude)
    found = feed.positions(bike, to_ms(DAYS.start), to_ms(DAYS.end) - 1)
    moved = to_ms(MOVED_AT)
    assert sum(1 for position in found if position.fix_ms >= moved) > 100
    for position in found:
        vehicle = other if position.fix_ms >= moved else bike.vehicle
        assert (position.latitude, position.longitude) == places[vehicle, position.fix_ms // 1000]
    assert {position.device_id for position in found} == {bike.id}
    assert len({position.id for position in found}) == len(found)


def test_odometer_and_engine_hours_of_the_tracker_go_on_counting() -> None:
    feed, _, bike = _bike(_context(MOVED))
    found = feed.positions(bike, to_ms(DAYS.start), to_ms(DAYS.end) - 1)
    for before, now in pairwise(found):
        assert now.attributes["totalDistance"] - before.attributes["totalDistance"] == now.attributes["distance"] >= 0
        assert now.attributes["hours"] >= before.attributes["hours"]
    index = next(number for number, position in enumerate(found) if position.fix_ms >= to_ms(MOVED_AT))
    assert found[index].attributes["distance"] > 0, "the way from bike to bike counts"


def test_other_bikes_and_days_before_are_as_without_a_move() -> None:
    moved, plain = _context(MOVED), _context({})
    before = Window.parse("2026-11-18", "2026-11-20")
    for dataset in ("position", "event", "trip"):
        assert list(ROOM.truth(moved, dataset, before, "north")) == list(ROOM.truth(plain, dataset, before, "north"))
        rows = [
            [row for row in ROOM.truth(context, dataset, DAYS, "north") if row["device_id"] != 10_016]
            for context in (moved, plain)
        ]
        assert rows[0] == rows[1]


def test_reports_of_a_moved_tracker_equal_truth_and_name_the_riders() -> None:
    context = _context(MOVED)
    feed, customer, bike = _bike(context)
    limits = customer.assumptions.thresholds
    for dataset, trips in (("trip", True), ("stop", False)):
        expected = {
            row["start_time"]: dict(row)
            for row in ROOM.truth(context, dataset, DAYS, "north")
            if row["device_id"] == bike.id
        }
        for day in DAYS.days():
            positions = feed.positions(bike, to_ms(day.start), to_ms(day.end) - 1)
            for span in reports.slow_spans(positions, trips=trips, limits=limits):
                row = expected.pop(dt.datetime.fromtimestamp(span.start.fix_ms / 1000, dt.UTC))
                assert iso(to_ms(row["end_time"])) == iso(span.end.fix_ms)
                if trips:
                    item = reports.trip_item(span, bike.name, customer.driver_name)
                    assert row["distance_m"] == item["distance"]
                    assert row["driver_name"] == item["driverName"]
                    assert item["driverUniqueId"] is None or item["driverName"]
        assert expected == {}
    listed = {driver["uniqueId"] for driver in customer.drivers()}
    assert {row["driver_unique_id"] for row in ROOM.truth(context, "trip", DAYS, "north")} - {None} <= listed


def test_late_uploads_of_both_bikes_are_told_by_status_events() -> None:
    for hour in range(24):
        context = _context({**MOVED, "powunity.moved_at": f"2026-11-20T{hour:02d}:10:00"})
        feed, _, bike = _bike(context)
        day = to_ms(utc("2026-11-20")) // 1000 // DAY_S
        kinds = [event.type for event in feed.events(bike, day * DAY_S * 1000, (day + 1) * DAY_S * 1000 - 1)]
        assert kinds.count("deviceOffline") == len(bike.late(day))
        assert feed.status(bike) in ("online", "offline")


@pytest.mark.parametrize("onto", [2, -1])
def test_a_bike_with_a_tracker_of_its_own_is_refused(onto: int) -> None:
    with pytest.raises(ConfigError, match=r"bikes below have trackers"):
        Customer(_context({**MOVED, "powunity.moved_onto": onto}), 0)
