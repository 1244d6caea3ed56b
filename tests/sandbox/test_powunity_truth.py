"""The bikes of the sandbox: what is true equals what the reports say, and everything follows from the seed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fleetlake.canonical import Digest
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError
from fleetlake.sandbox.powunity import ROOM, reports
from fleetlake.sandbox.powunity.customers import Bike, Customer, customers
from fleetlake.sandbox.powunity.feed import Feed
from fleetlake.sandbox.powunity.model import DAY, HOUR, MINUTE, Position, iso, to_ms
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.window import Window

AFTERNOON = dt.datetime(2026, 11, 20, 16, 31, 7, tzinfo=dt.UTC)
WEEK = Window.parse("2026-11-14", "2026-11-21")
LAST_DAYS = Window.parse("2026-11-17", "2026-11-20")
INCLUDE = Path(__file__).parents[2] / "include"


def _context(**changes: Any) -> Context:
    return Context.of(SandboxSettings(**{"state_dir": Path("unused"), "as_of": AFTERNOON, "bikes": 6, **changes}))


def _days(context: Context, window: Window) -> Iterator[tuple[Customer, Bike, Feed, int, int]]:
    for customer in customers(context):
        feed = Feed(context, customer)
        for bike in customer.bikes():
            for day in window.days():
                yield customer, bike, feed, to_ms(day.start), to_ms(day.end) - 1


def _truth(context: Context, dataset: str, customer: str, window: Window = WEEK) -> dict[tuple[int, str], dict[str, Any]]:
    rows = ROOM.truth(context, dataset, window, customer)
    return {(row["device_id"], row["start_time"].isoformat(timespec="milliseconds")): dict(row) for row in rows}


def test_truth_of_trips_equals_the_report_of_each_day() -> None:
    context = _context()
    found = [
        (customer.name, reports.trip_item(span, bike.name, customer.driver_name))
        for customer, bike, feed, start, end in _days(context, WEEK)
        for span in reports.slow_spans(feed.positions(bike, start, end), trips=True, limits=customer.assumptions.thresholds)
    ]
    expected = {name: _truth(context, "trip", name) for name in ("north", "south")}
    assert len(found) == sum(map(len, expected.values())) > 150
    for name, item in found:
        row = expected[name][item["deviceId"], item["startTime"]]
        assert iso(to_ms(row["end_time"])) == item["endTime"]
        assert row["distance_m"] == item["distance"]
        assert row["duration_ms"] == item["duration"] == row["duration_s"] * 1000
        assert row["max_speed_kn"] == item["maxSpeed"]
        assert row["max_speed_kmh"] == pytest.approx(item["maxSpeed"] * 1.852)
        assert row["average_speed_kn"] == pytest.approx(item["averageSpeed"], rel=1e-12)
        assert (row["start_position_id"], row["end_position_id"]) == (item["startPositionId"], item["endPositionId"])
        assert (row["driver_unique_id"], row["driver_name"]) == (item["driverUniqueId"], item["driverName"])


def test_truth_of_stops_and_summaries_equals_the_report_of_each_day() -> None:
    context = _context()
    stops = {name: _truth(context, "stop", name) for name in ("north", "south")}
    summaries = {name: _truth(context, "summary", name) for name in ("north", "south")}
    for customer, bike, feed, start, end in _days(context, WEEK):
        positions = feed.positions(bike, start, end)
        for span in reports.slow_spans(positions, trips=False, limits=customer.assumptions.thresholds):
            item = reports.stop_item(span, bike.name)
            row = stops[customer.name].pop((bike.id, item["startTime"]))
            assert iso(to_ms(row["end_time"])) == item["endTime"]
            assert (row["position_id"], row["engine_run_time_ms"]) == (item["positionId"], item["engineHours"])
        if item := reports.summary_item(positions, bike.name, fast=False):
            row = summaries[customer.name].pop((bike.id, item["startTime"]))
            assert row["distance_m"] == item["distance"]
            assert row["average_speed_kn"] == pytest.approx(item["averageSpeed"], rel=1e-12)
            assert row["max_speed_kn"] == item["maxSpeed"]
            assert row["summary_day"] == row["start_time"].date()
    assert stops == summaries == {"north": {}, "south": {}}


@pytest.mark.parametrize("dataset", ROOM.datasets)
def test_truth_has_the_business_columns_of_the_contract(dataset: str) -> None:
    contract = load_contracts(INCLUDE, "powunity")[f"powunity.{dataset}"]
    row = next(iter(ROOM.truth(_context(bikes=2), dataset, WEEK, "south")))
    assert list(row) == [column.name for column in contract.columns]


@pytest.mark.parametrize("dataset", ["position", "event", "device"])
def test_same_seed_gives_the_same_rows_and_another_seed_does_not(dataset: str) -> None:
    window = Window.parse("2026-11-18", "2026-11-20")
    digests = [Digest.of(ROOM.truth(_context(seed=seed, bikes=3), dataset, window, "north")) for seed in (7, 7, 8)]
    assert digests[0] == digests[1] != digests[2]


def test_a_bike_does_not_change_when_the_fleet_grows() -> None:
    window = Window.parse("2026-11-18", "2026-11-19")
    small = list(ROOM.truth(_context(bikes=2), "position", window, "south"))
    large = list(ROOM.truth(_context(bikes=5), "position", window, "south"))
    assert large[: len(small)] == small


def test_customers_share_nothing() -> None:
    north, south = (
        {row["position_id"] for row in ROOM.truth(_context(bikes=2), "position", WEEK, name)} for name in ("north", "south")
    )
    assert north
    assert south
    assert not north & south


def test_position_and_event_ids_are_unique_and_in_no_order_of_time() -> None:
    for dataset in ("position", "event"):
        key = f"{dataset}_id"
        rows = sorted(ROOM.truth(_context(bikes=3), dataset, WEEK, "north"), key=lambda row: row["event_time"])
        ids = [row[key] for row in rows]
        assert len(set(ids)) == len(ids) > 100
        assert all(0 < value < 2**53 for value in ids)
        ascending = sum(a < b for a, b in pairwise(ids)) / len(ids)
        assert 0.4 < ascending < 0.6


def test_odometer_grows_by_distance_across_midnight() -> None:
    context = _context(bikes=3)
    customer = next(customers(context))
    feed = Feed(context, customer)
    for bike in customer.bikes():
        positions = feed.positions(bike, to_ms(WEEK.start), to_ms(WEEK.end))
        complete = [p for p in positions if p.fix_ms < to_ms(WEEK.start) + 3 * DAY]
        for before, after in pairwise(complete):
            assert after.total_distance == before.total_distance + after.attributes["distance"]


def test_battery_level_is_an_integer_for_one_protocol_and_a_double_for_the_other() -> None:
    kinds = {(row["protocol"], type(row["battery_level_pct"])) for row in ROOM.truth(_context(), "position", WEEK, "north")}
    assert kinds == {("h02", int), ("osmand", float)}


def _late(context: Context) -> tuple[Customer, Bike, list[Position]]:
    """A bike with a stretch that came more than six hours late, on a day that is long past."""
    for customer, bike, feed, start, end in _days(context, Window.parse("2026-11-10", "2026-11-14")):
        late = [p for p in feed.positions(bike, start, end) if p.server_ms - p.fix_ms > 6 * HOUR and p.motion]
        if late:
            return customer, bike, late
    raise AssertionError("no late upload in five days: the seed shows too little")


def test_late_positions_do_not_exist_before_they_arrive_and_then_change_the_day() -> None:
    context = _context()
    customer, bike, late = _late(context)
    feed = Feed(context, customer)
    day = late[0].fix_ms // DAY
    window = (day * DAY, day * DAY + DAY - 1)

    def trips(now_ms: int) -> list[tuple[int, int]]:
        context.clock.set(dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC))
        spans = reports.slow_spans(feed.positions(bike, *window), trips=True, limits=reports.Thresholds())
        return [(span.start.fix_ms, span.end.fix_ms) for span in spans]

    before, after = trips(late[0].server_ms - 1), trips(late[-1].server_ms)
    assert before != after
    ids = {position.id for position in feed.positions(bike, *window)}
    assert {position.id for position in late} <= ids
    context.clock.set(dt.datetime.fromtimestamp((late[0].server_ms - 1) / 1000, dt.UTC))
    assert not {position.id for position in late} & {position.id for position in feed.positions(bike, *window)}


def test_late_positions_raise_no_motion_event() -> None:
    context = _context()
    customer, bike, late = _late(context)
    events = Feed(context, customer).events(bike, late[0].fix_ms, late[-1].fix_ms)
    assert {event.type for event in events} <= {"alarm", "deviceOffline", "deviceOnline"}
    assert "deviceOffline" in {e.type for e in Feed(context, customer).events(bike, late[0].fix_ms - HOUR, late[-1].fix_ms)}


def test_a_ride_over_midnight_is_two_trips() -> None:
    context = _context(bikes=12)
    cut = 0
    for customer, bike, feed, start, end in _days(context, LAST_DAYS):
        limits = customer.assumptions.thresholds
        today = reports.slow_spans(feed.positions(bike, start, end), trips=True, limits=limits)
        tomorrow = reports.slow_spans(feed.positions(bike, start + DAY, end + DAY), trips=True, limits=limits)
        whole = reports.slow_spans(feed.positions(bike, start + 12 * HOUR, end + 12 * HOUR), trips=True, limits=limits)
        if over := [span for span in whole if span.start.fix_ms <= end < span.end.fix_ms]:
            cut += 1
            assert today[-1].start == over[0].start
            assert today[-1].end.fix_ms <= end
            assert tomorrow[0].start.fix_ms > end
            assert tomorrow[0].end == over[0].end
    assert cut >= 2


def test_an_open_trip_grows_from_one_poll_to_the_next() -> None:
    context = _context()
    customer = next(customers(context))
    feed = Feed(context, customer)
    bike, span = next(
        (bike, span)
        for bike in customer.bikes()
        for span in reports.slow_spans(
            feed.positions(bike, to_ms(WEEK.start), to_ms(WEEK.start) + DAY - 1), trips=True, limits=reports.Thresholds()
        )
        if span.end.fix_ms - span.start.fix_ms > 20 * MINUTE and span.end.server_ms - span.end.fix_ms < MINUTE
    )
    ends = []
    for minutes in (8, 12, 16):
        context.clock.set(dt.datetime.fromtimestamp(span.start.fix_ms / 1000, dt.UTC) + dt.timedelta(minutes=minutes))
        found = reports.slow_spans(
            feed.positions(bike, to_ms(WEEK.start), to_ms(WEEK.end)), trips=True, limits=reports.Thresholds()
        )
        assert found[-1].start == span.start
        ends.append(found[-1].end.fix_ms)
    assert ends[0] < ends[1] < ends[2] < span.end.fix_ms


def test_truth_knows_nothing_after_now() -> None:
    context = _context()
    now = to_ms(AFTERNOON)
    rows = list(ROOM.truth(context, "position", Window.parse("2026-11-20", "2026-11-23"), "north"))
    assert rows
    assert max(to_ms(row["received_time"]) for row in rows) <= now


def test_a_tracker_added_again_has_a_new_id_the_old_number_and_no_history() -> None:
    again = {"powunity.readded_bike": "1", "powunity.readded_at": "2026-11-18T10:00:00Z"}
    old, new = (list(ROOM.truth(_context(assumptions=change), "device", None, "north")) for change in ({}, again))
    assert old[1]["unique_id"] == new[1]["unique_id"]
    assert old[1]["device_id"] != new[1]["device_id"]
    assert [row["device_id"] for row in old[2:]] == [row["device_id"] for row in new[2:]]
    context = _context(assumptions=again)
    rows = list(ROOM.truth(context, "position", WEEK, "north"))
    assert old[1]["device_id"] not in {row["device_id"] for row in rows}
    times = [row["event_time"] for row in rows if row["device_id"] == new[1]["device_id"]]
    assert min(times) >= dt.datetime(2026, 11, 18, 10, tzinfo=dt.UTC)


def test_history_can_be_limited() -> None:
    rows = list(ROOM.truth(_context(bikes=1, assumptions={"powunity.history_days": "2"}), "position", WEEK, "north"))
    assert min(row["event_time"] for row in rows) >= AFTERNOON - dt.timedelta(days=2)


def test_trips_of_an_erased_time_are_gone_and_the_others_stay() -> None:
    def trips(**assumptions: str) -> list[dict[str, Any]]:
        rows = ROOM.truth(_context(assumptions=assumptions), "trip", WEEK, "north")
        return [{name: row[name] for name in ("device_id", "start_time", "end_time")} for row in rows]

    whole = trips()
    gone = whole[2]
    erased = f"{gone['device_id']}/{gone['start_time'].isoformat()}/{gone['end_time'].isoformat()}"
    assert trips(**{"powunity.erased": erased}) == [row for row in whole if row != gone]


def test_unknown_dataset_and_customer_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no PowUnity dataset 'trips'.*trip"):
        ROOM.truth(_context(), "trips", WEEK, "north")
    with pytest.raises(ConfigError, match=r"no PowUnity customer 'nord'.*north, south"):
        ROOM.truth(_context(), "trip", WEEK, "nord")
