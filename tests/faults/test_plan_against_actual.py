"""A backfill's price against what it then costs, on ten fleets; the vendor's own log is the judge.

Each fleet has a few days of history. Ten days are planned, then loaded as the runs of a backfill load them: per day the list
of vehicles, the chunks, the certificate. Counted are requests and bytes in the request log of the simulated vendor.

Time is told in two ways. On the gate's clock, where every request takes its slot and nothing else takes time, all ten are
judged: what the quota governs. On the wall's clock two are judged, with a real gate whose quota is the limit.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml
from fleetlake.accounts import load_accounts
from fleetlake.http.rate_gate import SHARES, LocalGate
from fleetlake.pipeline import Run
from fleetlake.pipeline.estimate import Wish, timed
from fleetlake.pipeline.eta import Eta
from fleetlake.pipeline.follow import Work
from fleetlake.pipeline.plan import Plan, make_plans
from fleetlake.reading import FLEET, Lane
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.settings import Settings
from fleetlake.vendors.omni_platform.client import OmniClient
from fleetlake.vendors.omni_platform.config import OmniConfig
from fleetlake.vendors.omni_platform.source import OmniSource
from fleetlake.vendors.omnicomm.client import OmnicommClient
from fleetlake.vendors.omnicomm.config import OmnicommConfig
from fleetlake.vendors.omnicomm.source import OmnicommSource
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import PowUnityConfig
from fleetlake.vendors.powunity.source import PowUnitySource
from fleetlake.vendors.rcs.client import RcsClient
from fleetlake.vendors.rcs.config import RcsConfig
from fleetlake.vendors.rcs.source import RcsSource
from fleetlake.vendors.suivideflotte.client import SuiviDeFlotteClient
from fleetlake.vendors.suivideflotte.config import SuiviDeFlotteConfig
from fleetlake.vendors.suivideflotte.fieldmap import load_fieldmap
from fleetlake.vendors.suivideflotte.source import SuiviDeFlotteSource
from fleetlake.window import DAY, Window

from tests.warehouse.loaded import FleetPlace

pytestmark = pytest.mark.timeout(600)

AS_OF = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
HISTORY_END = dt.date(2026, 11, 9)
DAYS = 10
RATE = 20.0
"""Requests per second of the accounts' gates; a backfill may use 70 % of it."""
RATE_ON_THE_WALL = 4.0
"""Requests per second that a backfill may send when the time is the wall's."""

ENTITY = {
    "powunity": "devices",
    "omnicomm": "vehicle_tree",
    "suivideflotte": "vehicles",
    "rcs": "vehicles",
    "omni_platform": "cameras",
}
PER_VEHICLE = {
    "powunity": ["positions", "events", "trips", "stops", "summary"],
    "omnicomm": ["consolidated", "statistics", "track", "events", "fuel_level", "geofence_visits"],
    "suivideflotte": ["trips"],
    "rcs": ["telemetry"],
    "omni_platform": [],
}
WHOLE_FLEET = {"suivideflotte": ["alerts"], "omni_platform": ["events"]}


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """One of the ten.

    Attributes:
        vendor, seed: which.
        sizes: settings of the sandbox.
        history: days loaded before the plan, in one run about all of them.
        is_scheduled: the schedule made the history, a run a day: streams, and days read again.
        account: fields of the account.
        config: fields of the connection.
        feeds: only these of the vendor's feeds; empty = all.
    """

    vendor: str
    seed: int
    sizes: dict[str, Any]
    history: int = 7
    is_scheduled: bool = False
    account: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    feeds: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.vendor}-{self.seed}"

    @property
    def past(self) -> Window:
        """The days that are loaded before the plan."""
        return Window(HISTORY_END - self.history * DAY, HISTORY_END)

    @property
    def per_vehicle(self) -> list[str]:
        return [name for name in PER_VEHICLE[self.vendor] if not self.feeds or name in self.feeds]

    @property
    def whole_fleet(self) -> list[str]:
        return [name for name in WHOLE_FLEET.get(self.vendor, []) if not self.feeds or name in self.feeds]


FLEETS = [
    Fleet(vendor="powunity", seed=11, sizes={"bikes": 12}, feeds=("positions", "summary")),
    Fleet(vendor="powunity", seed=12, sizes={"bikes": 25}, account={"chunk_size": 15}, feeds=("trips",)),
    Fleet(
        vendor="suivideflotte",
        seed=13,
        sizes={"cars": 30},
        account={"look_back_days": 2},
        feeds=("trips",),
        is_scheduled=True,
    ),
    Fleet(vendor="suivideflotte", seed=14, sizes={"cars": 24}, config={"per_page": 15}, feeds=("trips",)),
    Fleet(vendor="omnicomm", seed=15, sizes={"trucks": 12}, feeds=("consolidated", "track")),
    Fleet(
        vendor="omnicomm",
        seed=16,
        sizes={"trucks": 60, "assumptions": {"omnicomm.poisoned": "one"}},
        account={"chunk_size": 60},
        feeds=("statistics",),
    ),
    Fleet(vendor="rcs", seed=17, sizes={"vehicles": 8}, is_scheduled=True, history=4),
    Fleet(vendor="rcs", seed=18, sizes={"vehicles": 14}, config={"take": 100}, is_scheduled=True),
    Fleet(vendor="omni_platform", seed=19, sizes={"cameras": 6}),
    Fleet(vendor="omni_platform", seed=20, sizes={"cameras": 12}, config={"page_size": 5}),
]
NO_LIMITS = {
    "rcs.requests_per_second": 0,
    "omnicomm.calls_per_minute": 0,
    "suivideflotte.requests_per_minute": 0,
}


class SlotGate(LocalGate):
    """A gate on a clock of its own: a request takes its slot, and nothing else takes time."""

    def __init__(self) -> None:
        super().__init__(RATE)
        self.now = 0.0

    def acquire(self, lane: Lane) -> None:
        self.now += 1 / self.rate(lane)


class FleetOfOne(FleetPlace):
    """A place for one fleet, whose gate is the test's."""

    def __init__(self, sandbox, settings, fleet):
        self.fleet = fleet
        self.gate = SlotGate()
        self.lane = Lane.SCHEDULED
        super().__init__(sandbox, settings)
        name, self.customer = next(iter(sandbox.customers[fleet.vendor].items()))
        entry = {"name": name, "vendor": fleet.vendor, "look_back_days": 0, **fleet.account}
        (self.settings.include / "accounts.yaml").write_text(yaml.safe_dump({"accounts": [entry]}))
        self.account = load_accounts(self.settings.include)[0]

    def source(self):
        vendor, config = self.fleet.vendor, {"base_url": self.sandbox.urls[self.fleet.vendor], **self.fleet.config}
        with_gate = {"gate": self.gate, "lane": self.lane}
        if vendor == "powunity":
            login = {name: self.customer[name] for name in ("email", "password")}
            return PowUnitySource(PowUnityClient(PowUnityConfig(**login, **config), **with_gate))
        if vendor == "omnicomm":
            config |= self.customer
            return OmnicommSource(OmnicommClient(OmnicommConfig.from_mapping(config), **with_gate))
        if vendor == "suivideflotte":
            made = SuiviDeFlotteConfig(token=self.customer["token"], history_days=0, **config)
            return SuiviDeFlotteSource(
                SuiviDeFlotteClient(made, **with_gate), load_fieldmap("france", self.settings.include)
            )
        if vendor == "omni_platform":
            made = OmniConfig(token=self.customer["token"], settle_s=0, **config)
            return OmniSource(OmniClient(made, **with_gate), now=self.sandbox.context.clock.now)
        pair = self.sandbox.pki.pair("client")
        made = RcsConfig(cert=str(pair.cert), key=str(pair.key), ca=str(self.sandbox.pki.ca), **config)
        return RcsSource(RcsClient(made, **with_gate))

    @contextmanager
    def task(self):
        """One task of a run: a process of its own opens its own source."""
        from fleetlake.pipeline import Pipeline

        with Pipeline(self.settings, self.account, self.source) as pipeline:
            yield pipeline

    def load_window(self, window, lane, datasets, *, mode="window", after: Callable[[], None] = lambda: None):
        """What the DAG does for a window; calls ``after`` whenever a task has ended."""
        self.lane = lane
        run = Run(
            account=self.account,
            dag_id=self.account.dag_id(self.dag),
            run_id=name_of(window),
            window=window,
            lane=lane,
            datasets=tuple(datasets),
            mode=mode,
        )
        fleet = self.fleet
        with self.task() as pipeline:
            chunks = pipeline.plan(run, entity_feed=ENTITY[fleet.vendor], feeds=fleet.per_vehicle)
        after()
        for chunk in chunks if fleet.per_vehicle else ():
            with self.task() as pipeline:
                pipeline.load(run, feeds=fleet.per_vehicle, scopes=chunk)
            after()
        if fleet.whole_fleet:
            with self.task() as pipeline:
                pipeline.load(run, feeds=fleet.whole_fleet, scopes=[FLEET])
            after()
        return run

    @property
    def dag(self):
        return next(self.contracts[table].loaded_by for table in self.tables)

    @property
    def tables(self):
        from fleetlake.pipeline.rooms import vendor_room

        feeds = vendor_room(self.fleet.vendor).feeds
        return [table for name in (*self.fleet.per_vehicle, *self.fleet.whole_fleet) for table in feeds[name].datasets]

    def seen(self):
        """Requests and bytes by the vendor's log."""
        log = self.sandbox.log(self.fleet.vendor)
        return len(log), sum(entry["bytes"] for entry in log)


@contextmanager
def placed(fleet: Fleet, folder, make_database) -> Iterator[FleetOfOne]:
    folder.mkdir()
    sizes = dict(fleet.sizes)
    assumptions = {**NO_LIMITS, **sizes.pop("assumptions", {})}
    if "omnicomm.poisoned" in assumptions:
        assumptions["omnicomm.poisoned"] = poisoned(fleet, folder)
    sandbox = SandboxSettings(
        state_dir=folder / "sandbox",
        seed=fleet.seed,
        as_of=AS_OF,
        rooms=(fleet.vendor,),
        assumptions=assumptions,
        **sizes,
    )
    from tests.warehouse.pipeline.conftest import INCLUDE

    settings = Settings(
        home=folder,
        include=INCLUDE,
        warehouse_url=make_database(migrated=True),
        lake_url=str(folder / "lake"),
        raw_url=str(folder / "raw"),
    )
    with running(sandbox) as started:
        place = FleetOfOne(started, settings, fleet)
        try:
            yield place
        finally:
            place.warehouse.close()


def poisoned(fleet: Fleet, folder) -> str:
    """Terminal number of a truck of the fleet."""
    sandbox = SandboxSettings(
        state_dir=folder / "look", seed=fleet.seed, as_of=AS_OF, rooms=("omnicomm",), trucks=fleet.sizes["trucks"]
    )
    from fleetlake.sandbox.rooms import room

    with running(sandbox) as started:
        rows = room("omnicomm").truth(started.context, "vehicle", Window.day(HISTORY_END), "trucks")
        return str(sorted(row["terminal_id"] for row in rows)[2])


def name_of(window: Window) -> str:
    """Id of the run about a window."""
    return str(window)


def planned(place: FleetOfOne) -> Plan:
    """History, then the plan of the ten days after it."""
    fleet = place.fleet
    mode = "stream" if fleet.is_scheduled else "window"
    for window in fleet.past.days() if fleet.is_scheduled else [fleet.past]:
        place.sandbox.context.clock.set(window.end)  # a stream brings what there is
        place.load_window(window, Lane.SCHEDULED, place.tables, mode=mode)
    place.sandbox.context.clock.set(AS_OF)
    before = place.seen()
    plan = plan_of(place)
    assert place.seen() == before, "a plan asks no vendor"
    assert (plan.runs, plan.is_guess) == (DAYS, False)
    return plan


def plan_of(place: FleetOfOne) -> Plan:
    wish = Wish(datasets=tuple(place.tables), window=Window(HISTORY_END, HISTORY_END + DAYS * DAY), active_runs=1)
    (plan,) = make_plans(place.settings, place.warehouse, wish)
    return plan


def carried_out(place: FleetOfOne, plan: Plan, clock: Callable[[], float]) -> list[float]:
    """Load the days of a plan; gives the errors of the forecast end, relative to the whole time, once a tenth is done."""
    work = Work.of(plan)
    eta = Eta(work.whole, work.seconds)
    began = clock()
    run_ids: list[str] = []
    points = []

    def look() -> None:
        now = clock() - began
        points.append((eta.share, now + eta.left(now)))  # just before the news: the oldest a forecast gets
        eta.update(work.done(place.warehouse, run_ids), now)
        points.append((eta.share, now + eta.left(now)))

    for day in plan.wish.window.days():
        run_ids.append(name_of(day))
        place.load_window(day, Lane.BACKFILL, plan.datasets, after=look)
    whole = clock() - began
    return [abs(forecast - whole) / whole for share, forecast in points if share >= 0.1]


def at_the_quota(plan: Plan) -> Plan:
    """The plan for a clock on which only the gate takes time."""
    feeds = [timed(part, lambda price: price.requests / plan.quota.rate_per_s) for part in plan.feeds]
    return replace(plan, feeds=tuple(feeds), work_s=0.0)


def off(planned: float, actual: float) -> float:
    return planned / actual - 1


@pytest.mark.parametrize("fleet", FLEETS, ids=str)
def test_ten_fleets_cost_what_was_planned(fleet, tmp_path, make_database):
    with placed(fleet, tmp_path / "fleet", make_database) as place:
        plan = at_the_quota(planned(place))
        before = place.seen()
        errors = carried_out(place, plan, lambda: place.gate.now)
        requests, size = (after - one for after, one in zip(place.seen(), before, strict=True))
        ((rows,),) = place.sql("SELECT sum(rows_read)::bigint FROM ops.load WHERE lane = 'backfill'")
        left = plan_of(place)
    price = plan.price
    print(
        f"\n{fleet!s:17} requests {price.requests:6.0f} / {requests:6} {off(price.requests, requests):+6.1%}"
        f"   bytes {price.bytes:10.0f} / {size:10} {off(price.bytes, size):+6.1%} (±{plan.spread('bytes'):.0%})"
        f"   rows {price.rows:7.0f} / {rows:7} {off(price.rows, rows):+6.1%}"
        f"   ETA max {max(errors):5.1%} mean {sum(errors) / len(errors):5.1%}"
    )
    assert abs(off(price.requests, requests)) <= 0.05
    assert abs(off(price.bytes, size)) <= 0.15
    assert max(errors) <= 0.15
    refused = 1 if "assumptions" in fleet.sizes else 0
    assert left.runs == (DAYS if refused else 0)
    assert [standing.of - standing.proven for standing in left.standings] == [refused * DAYS for _ in left.standings]


def test_a_forecast_by_the_walls_clock(tmp_path, make_database):
    fleet = Fleet(vendor="powunity", seed=21, sizes={"bikes": 16}, feeds=("summary",))
    with placed(fleet, tmp_path / "fleet", make_database) as place:
        planned(place)  # with the gate that takes no time
        # What passes at once after a pause lets publishing go on while slots come in: the quota alone sets the pace.
        place.gate = LocalGate(RATE_ON_THE_WALL / SHARES[Lane.BACKFILL], burst=60)
        for _ in range(60):
            place.gate.acquire(Lane.BACKFILL)
        plan = plan_of(place)
        plan = at_the_quota(replace(plan, quota=replace(plan.quota, rate_per_s=RATE_ON_THE_WALL)))
        began = time.monotonic()
        errors = carried_out(place, plan, time.monotonic)
    print(
        f"\n{fleet!s:17} {price_s(plan):.0f} s planned, {time.monotonic() - began:.0f} s on the wall;"
        f" ETA max {max(errors):.1%} mean {sum(errors) / len(errors):.1%}"
    )
    assert max(errors) <= 0.15


def price_s(plan: Plan) -> float:
    return plan.price.requests / plan.quota.rate_per_s
