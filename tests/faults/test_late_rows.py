"""Of 300 rows 30 come three days late: none is lost, with no look-back configured, whatever runs have learned before."""

from __future__ import annotations

import datetime as dt
from contextlib import contextmanager
from dataclasses import replace

import pytest
from fleetlake import fleet
from fleetlake.accounts import Account
from fleetlake.canonical import canonical_row
from fleetlake.errors import FleetlakeError
from fleetlake.pipeline.lateness import LEAST_DAYS
from fleetlake.sandbox.rooms import room
from fleetlake.sandbox.settings import HeldBack, SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.sandbox.world import BIKE, CAR, DAY_S, World, day_number, moment
from fleetlake.settings import Settings
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import PowUnityConfig
from fleetlake.vendors.powunity.source import PowUnitySource
from fleetlake.window import DAY, Window, utc

from tests.warehouse.pipeline.conftest import INCLUDE, Place

pytestmark = pytest.mark.timeout(900)

ROWS, LATE = 300, 30
SEED = 1
CAR_DAY, BIKE_DAY = dt.date(2026, 10, 2), dt.date(2026, 10, 7)
"""With this seed one car and one bike have exactly 300 samples on these days."""
FEEDS = ["positions", "trips"]
TABLES = [f"powunity.{name}" for name in ("position", "trip")]


class Dated:
    """A vendor's source whose answers say the sandbox's time, so that days of a test are days."""

    def __init__(self, source, clock):
        self._source, self._clock = source, clock

    def __getattr__(self, name):
        return getattr(self._source, name)

    def pages(self, feed, **asked):
        for page in self._source.pages(feed, **asked):
            yield replace(page, fetched_at=self._clock.now())


class House(Place):
    """A place that is loaded night after night, as the schedule does it."""

    def __init__(self, sandbox, settings, **look_back):
        super().__init__(sandbox, settings)
        self.clock = sandbox.context.clock
        self.accounts["powunity"] = Account(name="north", vendor="powunity", conn_id="powunity_default", **look_back)

    def rcs_source(self):
        return Dated(super().rcs_source(), self.clock)

    def powunity_source(self):
        customer = self.sandbox.customers["powunity"]["north"]
        config = PowUnityConfig(
            base_url=self.sandbox.urls["powunity"],
            email=customer["email"],
            password=customer["password"],
            rate_per_s=1000,
            burst=100,
            history_days=0,
        )
        return Dated(PowUnitySource(PowUnityClient(config)), self.clock)

    def night(self, vendor, day, feeds=None, entity=None):
        """The scheduled run of a day, at the midnight that ends it; returns how many requests it made."""
        self.clock.set(utc(day) + DAY)
        self.sandbox.clear_log()
        feeds, entity = (["telemetry"], "vehicles") if vendor == "rcs" else (feeds or FEEDS, entity or "devices")
        self.load(vendor, self.run(vendor, f"{day}", mode="stream", run_id=f"scheduled {day}"), feeds, entity)
        return self.requests(vendor)

    def lost(self, table, window):
        """Rows of the truth that are not in the warehouse, rows there that are not true, and keys that are there twice."""
        contract = self.contracts[table]
        names = [column.name for column in contract.columns]
        customer = "north" if contract.vendor == "powunity" else None
        truth = {
            canonical_row({name: row[name] for name in names})
            for row in room(contract.vendor).truth(self.sandbox.context, contract.name, window, customer)
        }
        rows = [row for row in self.warehouse.rows(contract, window=window) if row["deleted_at"] is None]
        mine = {canonical_row({name: row[name] for name in names}) for row in rows}
        keys = {tuple(row[name] for name in contract.key) for row in rows}
        return len(truth - mine), len(mine - truth), len(rows) - len(keys)

    def plan_of(self, day, feed="positions"):
        return self.sql(
            f"SELECT look_back_days, is_learned, reason FROM ops.look_back WHERE feed = '{feed}' AND run_id = 'scheduled {day}'"
        )[0]


def busy_vehicle(fleet_name, profile, day):
    """The vehicle of the fleet with exactly 300 samples on a day."""
    vehicles = World(SEED, late={}).fleet(fleet_name, 2, profile)
    (found,) = [vehicle for vehicle in vehicles if len(vehicle.samples(day_number(day))) == ROWS]
    return found


def held(vehicle, day, last):
    """Thirty samples of a vehicle's day, up to the one at ``last``, that arrive three days after the first of them."""
    times = [sample.time for sample in vehicle.samples(day_number(day)) if sample.time <= last][-LATE:]
    start = moment(times[0])
    return HeldBack(
        fleet=vehicle.fleet, vehicle=vehicle.index, start=start, end=moment(times[-1] + 1), received=start + 3 * DAY
    )


def a_day_without_reception(bike, day):
    """Held back from the middle of the second ride until shortly after the third has begun: trips seem to be others."""
    return held(bike, day, bike.rides(day_number(day))[2].start + 120)


@contextmanager
def house_of(folder, database, held_back, look_back=None, **sizes):
    settings = SandboxSettings(
        state_dir=folder / "sandbox",
        seed=SEED,
        as_of=utc("2026-09-01"),
        held_back=tuple(held_back),
        assumptions={"rcs.requests_per_second": 0},
        **{"vehicles": 2, "bikes": 2, "rooms": ("powunity",), **sizes},
    )
    with running(settings) as sandbox:
        stores = Settings(
            home=folder, include=INCLUDE, warehouse_url=database, lake_url=str(folder / "lake"), raw_url=str(folder / "raw")
        )
        house = House(sandbox, stores, **(look_back or {}))
        yield house
        house.warehouse.close()


def days_from(first, count):
    return [first + number * DAY for number in range(count)]


# --- a dataset with revisions ---------------------------------------------------------------------------------------------


def test_of_300_records_30_come_three_days_late_by_revision_and_none_is_lost(tmp_path, make_database):
    car = busy_vehicle("rcs-main-open", CAR, CAR_DAY)
    stretch = held(car, CAR_DAY, car.samples(day_number(CAR_DAY))[200].time)
    with house_of(tmp_path, make_database(migrated=True), [stretch], rooms=("rcs",)) as house:
        window = Window.day(CAR_DAY)
        known = []
        for day in days_from(CAR_DAY, 10):
            requests = house.night("rcs", day)
            known.append(house.sql(
                f"SELECT count(*) FROM rcs.telemetry t WHERE event_time >= '{window.start}' AND event_time < '{window.end}'"
                f" AND vehicle_id = (SELECT vehicle_id FROM rcs.telemetry WHERE received_time >= '{stretch.received}'"
                f" AND event_time < '{window.end}' LIMIT 1)"
            )[0][0])  # fmt: skip
        whole = Window(window.start, utc(days_from(CAR_DAY, 10)[-1]) + DAY)
        assert house.lost("rcs.telemetry", whole) == (0, 0, 0)
        house.assert_true("rcs.telemetry", whole)
        late = house.sql("SELECT day, age_days FROM ops.late_day WHERE dataset = 'rcs.telemetry'")
        assert {item for item in late if item[1] > 1} == {(CAR_DAY, 3)}, "found in the night after they came"
        # A record that is taken seconds before midnight arrives after it: known the night after.
        assert all(age == 1 for day, age in late if day != CAR_DAY)
        assert known[-1] == ROWS
        rows = house.sql(
            "SELECT rows, max_s FROM ops.lateness_status WHERE dataset = 'rcs.telemetry' AND clock = 'event_received'"
        )
        assert rows[0][1] >= 2.9 * DAY_S
        print(f"\nrevision: {ROWS} rows, {LATE} of them three days late: 0 lost, 0 twice; {requests} requests a night")


# --- a dataset that is read by windows ------------------------------------------------------------------------------------


def ten_nights(house, first):
    """Ten scheduled runs; requests of each, and after which night nothing was missing any more of the first day."""
    requests, whole_after = [], None
    for number, day in enumerate(days_from(first, 10)):
        requests.append(house.night("powunity", day))
        true = all(house.lost(table, Window.day(first)) == (0, 0, 0) for table in TABLES)
        is_here = house.sql("SELECT count(*) FROM powunity.position WHERE received_time - event_time > interval '2 days'")
        if whole_after is None and true and is_here == [(LATE,)]:
            whole_after = number
    return requests, whole_after


def assert_nothing_lost(house, window):
    for table in TABLES:
        assert house.lost(table, window) == (0, 0, 0), table
        house.assert_true(table, window)


def test_without_any_evidence_rows_three_days_late_are_found_the_night_after_they_came(tmp_path, make_database):
    bike = busy_vehicle("powunity.north", BIKE, BIKE_DAY)
    stretch = a_day_without_reception(bike, BIKE_DAY)
    used = {}
    for name, look_back in (("learned", {}), ("fixed", {"look_back_days": 7})):
        folder = tmp_path / name
        folder.mkdir()
        with house_of(folder, make_database(migrated=True), [stretch], look_back) as house:
            requests, age = ten_nights(house, BIKE_DAY)
            assert_nothing_lost(house, Window(utc(BIKE_DAY), utc(BIKE_DAY) + 10 * DAY))
            assert age == 3
            assert house.sql(f"SELECT count(*) FROM powunity.position WHERE device_id = (SELECT device_id FROM powunity.position"
                             f" WHERE received_time - event_time > interval '2 days' LIMIT 1) AND event_time::date = '{BIKE_DAY}'"
                             ) == [(ROWS,)]  # fmt: skip
            used[name] = requests
            if name == "fixed":
                continue
            assert house.plan_of(days_from(BIKE_DAY, 10)[-1])[:2] == (7, False)
            changed = house.sql("SELECT sum(rows_inserted), sum(rows_updated), sum(rows_deleted) FROM ops.load l WHERE EXISTS"
                                " (SELECT FROM ops.late_day d WHERE d.load_id = l.load_id AND d.dataset = 'powunity.trip')")  # fmt: skip
            assert changed[0][1] > 0 and changed[0][2] > 0, "trips were changed and taken back, too"
            late = set(house.sql("SELECT dataset, day, age_days FROM ops.late_day WHERE age_days > 1"))
            assert late == {(table, BIKE_DAY, 3) for table in TABLES}
    print(f"\nwindow, no evidence: {ROWS} rows, {LATE} three days late: 0 lost, 0 twice, found 3 days after their day")
    print(
        f"requests of ten nights: {sum(used['learned'])} {used['learned']}; fixed 7 days: {sum(used['fixed'])} {used['fixed']}"
    )
    assert sum(used["learned"]) < sum(used["fixed"]), "days that nobody has loaded are not read"


def test_after_a_quiet_time_the_sweep_finds_rows_three_days_late_and_widens_the_look_back(tmp_path, make_database):
    bike = busy_vehicle("powunity.north", BIKE, BIKE_DAY)
    stretch = a_day_without_reception(bike, BIKE_DAY)
    second_day = next(
        day
        for day in days_from(BIKE_DAY, 6)[2:5]
        if len(bike.samples(day_number(day))) > 2 * LATE and bike.rides(day_number(day))
    )
    second = held(bike, second_day, bike.rides(day_number(second_day))[0].end)
    quiet = days_from(BIKE_DAY - (LEAST_DAYS + 8) * DAY, LEAST_DAYS + 8)
    with house_of(tmp_path, make_database(migrated=True), [stretch, second]) as house:
        before = [house.night("powunity", day) for day in quiet]
        days, is_learned, reason = house.plan_of(quiet[-1])
        # Not always 1: what is taken seconds before midnight arrives after it, and is known a night later.
        assert (is_learned, days <= 2) == (True, True), "a quiet time has taught a short look-back"
        fleet.build(house.settings, warehouse=house.warehouse)
        requests, found = [], {}
        for day in days_from(BIKE_DAY, 10):
            requests.append(house.night("powunity", day))
            for table, late_day, age in house.sql("SELECT dataset, day, age_days FROM ops.late_day WHERE age_days > 1"):
                found.setdefault((table, late_day), age)
            if len(requests) == 8:
                # The night of the sweep: only days that changed are built anew.
                assert found == {(table, BIKE_DAY): 7 for table in TABLES} | {
                    (table, second_day): (BIKE_DAY + 7 * DAY - second_day).days
                    for table in TABLES
                    if (table, second_day) in found
                }
                assert ("powunity.position", second_day) in found, "days between are read in the same run"
                touched = {row[0] for row in house.sql(f"SELECT DISTINCT day FROM ops.change WHERE run_id = 'scheduled {day}'"
                                                    " AND dataset <> 'powunity.device'")}  # fmt: skip
                assert touched - {day - DAY} == {BIKE_DAY, second_day, day}
            fleet.build(house.settings, warehouse=house.warehouse)
        assert_nothing_lost(house, Window(utc(quiet[0]), utc(BIKE_DAY) + 10 * DAY))
        assert max(found.values()) <= 7
        assert house.plan_of(days_from(BIKE_DAY, 10)[-1])[:2] == (7, True), "what was late widens the look-back"
        why = house.sql(
            "SELECT day, why FROM ops.look_back_day WHERE dataset = 'powunity.position'"
            f" AND run_id = 'scheduled {BIKE_DAY + 7 * DAY}' ORDER BY day"
        )
        assert why[0] == (BIKE_DAY, "sweep") and (second_day, "late rows") in why and why[-1][1] == "look-back"
        last = house.sql("SELECT count(*) FROM ops.settled WHERE dataset = 'powunity.position'")
        assert last == [(2,)]
    print(f"\nlearned in {len(quiet)} nights: {reason}")
    print(f"window, short look-back learned: {ROWS} rows, {LATE} three days late: 0 lost, 0 twice; found after (days)")
    print({f"{table} {day}": age for (table, day), age in sorted(found.items())})
    print(
        f"requests a night: {before[15]} with no evidence, {before[-1]} when learned, {requests}; fixed 7 days: {before[15]}"
    )
    assert before[-1] * 2 <= before[15]


def test_sweeps_missed_while_nobody_ran_and_runs_that_died_are_made_up(tmp_path, make_database):
    """Two nights in which no sweep is made, one of them a run that dies half-way and is never tried again."""
    bike = busy_vehicle("powunity.north", BIKE, BIKE_DAY)
    with house_of(tmp_path, make_database(migrated=True), [a_day_without_reception(bike, BIKE_DAY)]) as house:
        nights = days_from(BIKE_DAY, 11)
        with house.warehouse.session() as connection:  # a quiet time has taught a short look-back
            connection.execute(
                "INSERT INTO ops.reread SELECT 'north', 'powunity.' || name, %s::date - n, 7, 2, 0"
                " FROM unnest(ARRAY['position', 'trip']) AS name, generate_series(1, 20) AS n",
                [BIKE_DAY],
            )
            connection.commit()
        for day in nights[:7]:
            house.night("powunity", day)
        assert house.plan_of(nights[6])[0] <= 2
        assert house.lost("powunity.position", Window.day(BIKE_DAY)) == (LATE, 0, 0), "nobody has asked again yet"
        # The night in which the day comes to its full age: the vendor is away after the run's own day is read.
        with house.sandbox.faults("drop:vendor=powunity,path=*/reports/*,skip=2,count=500"), pytest.raises(FleetlakeError):
            house.night("powunity", nights[7])
        house.night("powunity", nights[9])  # the night between: no run at all
        assert_nothing_lost(house, Window.day(BIKE_DAY))
        house.night("powunity", nights[10])
        until = {row[0] for row in house.sql("SELECT until FROM ops.settled")}
        assert until == {utc(nights[10]) - 6 * DAY}
