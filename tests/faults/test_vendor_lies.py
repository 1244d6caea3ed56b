"""Six lies of a vendor, over trips of which three are really gone: nothing else is marked deleted, and every lie shows.

Each lie is told once and always: to the second reading too. Printed: what each costs and what the ledger says of it.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from fleetlake import embedded
from fleetlake.errors import FleetlakeError
from fleetlake.sandbox.faults import Fault
from fleetlake.sandbox.rooms import Context, room
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.settings import Settings
from fleetlake.window import Window

from tests.warehouse.pipeline.conftest import AS_OF, INCLUDE, Place

LIES = ("short_page", "empty_page", "truncated_body", "error_body", "reordered_page", "repeated_page")
PER_PAGE = 5
COLUMNS = "{:<16} {:>8} {:>8} {:>9}  {}"


@dataclass(frozen=True)
class Vendor:
    """What is loaded of a vendor.

    Attributes:
        name, customer: vendor and customer of the sandbox.
        entity: feed that lists the vehicles.
        window: of the trips.
        key: columns that tell trips apart.
        path: of the requests for trips of a vehicle, with its id.
        query: of the same.
    """

    name: str
    customer: str
    entity: str
    window: Window
    key: tuple[str, str, str]
    path: str
    query: str

    @property
    def table(self) -> str:
        return f"{self.name}.trip"

    def truth(self, context: Context) -> set[tuple[object, ...]]:
        rows = room(self.name).truth(context, "trip", self.window, self.customer)
        return {tuple(row[name] for name in self.key) for row in rows}


BIKES = Vendor(
    name="powunity",
    customer="north",
    entity="devices",
    window=Window.day("2026-11-17"),
    key=("device_id", "start_time", "end_time"),
    path="*/reports/trips",
    query="*deviceId={scope}&*",
)
CARS = Vendor(
    name="suivideflotte",
    customer="france",
    entity="vehicles",
    window=Window.parse("2026-11-14", "2026-11-21"),
    key=("vehicle_id", "trip_id", "start_time"),
    path="/vehicles/{scope}/trips",
    query="*",
)


@dataclass(frozen=True)
class Variant:
    """A way in which a vendor lies.

    Attributes:
        vendor: whose trips.
        page: the lie is about this page; ``None`` = the vendor does not page.
        envelope: of lists.
        consistent: the vendor's counts agree with the lie.
        lies: those to tell.
    """

    vendor: Vendor
    page: int | None = None
    envelope: str = "paginator"
    consistent: bool = False
    lies: tuple[str, ...] = LIES


VARIANTS = {
    "unpaged": Variant(BIKES),
    "paged, counted": Variant(CARS, page=2),
    "paged, early, not counted": Variant(CARS, page=2, envelope="array"),
    "paged, late, not counted": Variant(CARS, page=4, envelope="array"),
    "paged, counts agree with the lie": Variant(
        CARS, page=4, consistent=True, lies=("short_page", "empty_page", "repeated_page")
    ),
}


def settings(folder: Path, **assumptions: object) -> SandboxSettings:
    return SandboxSettings(
        state_dir=folder,
        as_of=AS_OF,
        vehicles=1,
        bikes=6,
        cars=2,
        rooms=("powunity", "suivideflotte"),
        assumptions={"suivideflotte.requests_per_minute": 0, **assumptions},
    )


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[object, ...]]]:
    """Three trips of each vendor that will be gone."""
    context = Context.of(settings(tmp_path_factory.mktemp("truth")))
    by_bike = defaultdict(list)
    for trip in sorted(BIKES.truth(context)):
        by_bike[trip[0]].append(trip)
    busy = [trips for trips in by_bike.values() if len(trips) >= 3]
    assert len(busy) >= 3, "the seed shows too little"
    cars = sorted(CARS.truth(context))
    quiet, busiest = sorted(([trip for trip in cars if trip[0] == car] for car in {trip[0] for trip in cars}), key=len)
    assert len(busiest) > 3 * PER_PAGE, "the seed shows too little"
    return {
        "powunity": {trips[1] for trips in busy[:3]},
        "suivideflotte": {quiet[1], busiest[1], busiest[-1]},
    }


@pytest.fixture(scope="module")
def sandboxes(gone, tmp_path_factory):
    """The vendors before, and after the three trips were deleted, by envelope."""
    erased = " ".join(f"{device}/{start.isoformat()}/{end.isoformat()}" for device, start, end in gone["powunity"])
    deleted = {
        "powunity.erased": erased,
        "suivideflotte.deleted_trips": " ".join(str(trip) for _, trip, _ in gone["suivideflotte"]),
    }
    with contextlib.ExitStack() as stack:

        def start(**assumptions):
            return stack.enter_context(running(settings(tmp_path_factory.mktemp("sandbox"), **assumptions)))

        yield {
            "before": start(),
            "paginator": start(**deleted),
            "array": start(**deleted, **{"suivideflotte.envelope": "array"}),
        }


class Depot(Place):
    """A place whose SuiviDeFlotte lists come in small pages."""

    def suivideflotte_source(self, **fields):
        return super().suivideflotte_source(per_page=PER_PAGE, **fields)

    def trips(self, vendor: Vendor, run_id: str) -> str:
        """Load the vendor's trips; returns the name of the error, if there was one."""
        run = self.run(
            vendor.name,
            vendor.window.start.date().isoformat(),
            window=vendor.window,
            partition=None,
            run_id=run_id,
            force=True,
        )
        try:
            with self.pipeline(vendor.name) as pipeline:
                scopes = sorted(
                    scope for chunk in pipeline.plan(run, entity_feed=vendor.entity, feeds=[]) for scope in chunk
                )
                pipeline.load(run, feeds=["trips"], scopes=scopes)
        except FleetlakeError as error:
            return type(error).__name__
        return ""

    def known(self, vendor: Vendor) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]]]:
        """Trips there are and trips marked deleted; alike in lake and warehouse."""
        contract = self.contracts[vendor.table]
        found = []
        for store in (self.warehouse, self.lake):
            rows = list(store.rows(contract, window=vendor.window))
            live, marked = (
                {tuple(row[name] for name in vendor.key) for row in rows if (row["deleted_at"] is None) == is_live}
                for is_live in (True, False)
            )
            found.append((live, marked))
        assert found[0] == found[1], "lake and warehouse differ"
        return found[0]

    def ledger(self, vendor: Vendor, scope: object, run_id: str) -> list[tuple[str, str]]:
        """State and proof of what a run has recorded of a vehicle."""
        return self.sql(
            "SELECT DISTINCT state, proof FROM (SELECT dataset, scope, run_id, state, proof FROM ops.coverage UNION ALL"
            " SELECT dataset, scope, run_id, state, proof FROM ops.coverage_attempt) c"
            f" WHERE dataset = '{vendor.table}' AND scope = '{scope}' AND run_id = '{run_id}' ORDER BY 1, 2"
        )


@pytest.fixture(scope="module")
def loaded(sandboxes, make_database, tmp_path_factory):
    """Everything loaded once, from the honest vendors, before anything was deleted."""
    home = tmp_path_factory.mktemp("loaded")
    place = Depot(sandboxes["before"], stores(home, make_database(migrated=True)))
    for vendor in (BIKES, CARS):
        assert not place.trips(vendor, "first")
        live, marked = place.known(vendor)
        assert live == vendor.truth(place.sandbox.context)
        assert not marked
    place.warehouse.close()
    return place.settings


def stores(home: Path, warehouse_url: str) -> Settings:
    return Settings(
        home=home, include=INCLUDE, warehouse_url=warehouse_url, lake_url=str(home / "lake"), raw_url=str(home / "raw")
    )


@pytest.fixture
def copied(loaded, postgres_dir, tmp_path):
    """Makes copies of the loaded house: ``copied(sandbox)``."""
    admin = embedded.url(postgres_dir, "postgres", driver="postgresql")
    made = []

    def copy(sandbox):
        name, home = f"lies_{uuid.uuid4().hex[:12]}", tmp_path / str(len(made))
        shutil.copytree(loaded.home, home)
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {sa.make_url(loaded.warehouse_url).database}")
        place = Depot(sandbox, stores(home, embedded.url(postgres_dir, name)))
        made.append((name, place))
        return place

    yield copy
    with psycopg.connect(admin, autocommit=True) as connection:
        for name, place in made:
            place.warehouse.close()
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("how_often", ["once", "always"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_lie_deletes_nothing_that_is_there_and_the_honest_answer_removes_exactly_the_three(
    variant, how_often, gone, sandboxes, copied
):
    about = VARIANTS[variant]
    vendor, sandbox = about.vendor, sandboxes[about.envelope]
    truth = vendor.truth(sandbox.context)
    lost = gone[vendor.name]
    liar = max({trip[0] for trip in lost}, key=lambda scope: sum(trip[0] == scope for trip in truth))
    page = f"*page={about.page}&*" if about.page else "*"
    print(f"\n{vendor.name}, {variant}, told {how_often}, about vehicle {liar} ({sum(t[0] == liar for t in truth)} trips)")
    print(COLUMNS.format("lie", "wrongly", "requests", "error", "ledger"))
    for lie in about.lies:
        place = copied(sandbox)
        fault = Fault(
            kind=lie,
            vendor=vendor.name,
            path=vendor.path.format(scope=liar),
            query=vendor.query.format(scope=liar) if about.page is None else page,
            count=1 if how_often == "once" else None,
            consistent=about.consistent,
        )
        sandbox.clear_log()
        with sandbox.faults(fault) as played:
            error = place.trips(vendor, "lied to")
            requests = place.requests(vendor.name)
            assert played()[0] >= 1, f"{lie}: it was never told"
            live, marked = place.known(vendor)
            told = place.ledger(vendor, liar, "lied to")
            wrongly = marked - lost
            print(COLUMNS.format(lie, len(wrongly), requests, error or "-", "; ".join(f"{s} {p[:70]}" for s, p in told)))
            assert not wrongly, f"{lie}: trips that are there are marked deleted"
            assert truth <= live, f"{lie}: trips are missing"
            is_flagged = any(state not in ("complete", "empty_confirmed") for state, _ in told)
            is_right = {trip for trip in live if trip[0] == liar} == {trip for trip in truth if trip[0] == liar}
            assert is_flagged or is_right, f"{lie}: what is wrong is called complete"
            if how_often == "always":
                place.trips(vendor, "lied to again")
                live, marked = place.known(vendor)
                assert not marked - lost and truth <= live, f"{lie}: believed because it was told twice"
        assert not place.trips(vendor, "told the truth")
        live, marked = place.known(vendor)
        assert marked == lost, f"{lie}: the honest answer removes exactly the three"
        assert live == truth
