"""The whole core without Airflow: a running sandbox, a real PostgreSQL, raw and lake in a folder."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from fleetlake.accounts import Account
from fleetlake.canonical import Digest, canonical_row
from fleetlake.contracts import load_contracts
from fleetlake.http.rate_gate import LocalGate
from fleetlake.lake import Lake
from fleetlake.pipeline import Pipeline, Run
from fleetlake.reading import FLEET, Lane
from fleetlake.sandbox.rooms import room
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.settings import Settings
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
from fleetlake.warehouse import Warehouse
from fleetlake.window import Window

AS_OF = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
INCLUDE = Path(__file__).parents[3] / "include"
BIKE_FEEDS = ["positions", "events", "trips", "stops", "summary"]
TRUCK_FEEDS = ["profiles", "states", "consolidated", "statistics", "track", "events", "fuel_level", "geofence_visits"]


class Place:
    """One warehouse, lake and raw store, loaded from one sandbox.

    Attributes:
        sandbox: the running sandbox.
        settings: where the stores are.
        warehouse: for questions.
    """

    def __init__(self, sandbox, settings):
        self._loaded = Counter()
        self.sandbox = sandbox
        self.settings = settings
        self.warehouse = Warehouse(settings.require_warehouse())
        self.lake = Lake(settings.lake_url)
        self.contracts = load_contracts(settings.include)
        self.accounts = {
            "rcs": Account(name="main", vendor="rcs", conn_id="rcs_default", chunk_size=3),
            "powunity": Account(name="north", vendor="powunity", conn_id="powunity_default", look_back_days=0),
            "omnicomm": Account(name="trucks", vendor="omnicomm", conn_id="omnicomm_default", look_back_days=0),
            "suivideflotte": Account(
                name="france", vendor="suivideflotte", conn_id="suivideflotte_default", look_back_days=2
            ),
        }

    def rcs_source(self):
        pair = self.sandbox.pki.pair("client")
        config = RcsConfig(
            base_url=self.sandbox.urls["rcs"],
            cert=str(pair.cert),
            key=str(pair.key),
            ca=str(self.sandbox.pki.ca),
            rate_per_s=200,
            burst=50,
        )
        return RcsSource(RcsClient(config))

    def powunity_source(self):
        customer = self.sandbox.customers["powunity"]["north"]
        config = PowUnityConfig(
            base_url=self.sandbox.urls["powunity"],
            email=customer["email"],
            password=customer["password"],
            rate_per_s=100,
            burst=20,
        )
        return PowUnitySource(PowUnityClient(config))

    def omnicomm_source(self, **fields):
        values = {**self.sandbox.customers["omnicomm"]["trucks"], "base_url": self.sandbox.urls["omnicomm"], **fields}
        config = OmnicommConfig.from_mapping(values)
        return OmnicommSource(OmnicommClient(config, gate=LocalGate(1e6, burst=1e6)))

    def suivideflotte_source(self, **fields):
        token = self.sandbox.customers["suivideflotte"]["france"]["token"]
        values = {"token": token, "base_url": self.sandbox.urls["suivideflotte"], "history_days": 0, **fields}
        client = SuiviDeFlotteClient(SuiviDeFlotteConfig.from_mapping(values), gate=LocalGate(1e6, burst=1e6))
        return SuiviDeFlotteSource(client, load_fieldmap("france", self.settings.include))

    def pipeline(self, vendor):
        return Pipeline(self.settings, self.accounts[vendor], getattr(self, f"{vendor}_source"))

    def run(self, vendor, day, **changes):
        defaults = Run(
            account=self.accounts[vendor],
            dag_id=f"{vendor}_dag",
            run_id=f"run {day}",
            window=Window.day(day),
            lane=Lane.SCHEDULED,
            partition=day,
        )
        return replace(defaults, **changes)

    def load(self, vendor, run, feeds, entity):
        """Plan, load, certify: what a DAG does. A run that has loaded all is cleared before it loads again."""
        run = replace(run, clears=run.clears or self._loaded[run.dag_id, run.run_id])
        with self.pipeline(vendor) as pipeline:
            for chunk in pipeline.plan(run, entity_feed=entity, feeds=feeds):
                pipeline.load(run, feeds=feeds, scopes=chunk)
            self._loaded[run.dag_id, run.run_id] += 1
            datasets = [table for feed in feeds for table in pipeline._parts.room.feeds[feed].datasets]
            return pipeline.certify(run, datasets=datasets)

    def load_telemetry(self, day, **changes):
        return self.load("rcs", self.run("rcs", day, **changes), ["telemetry"], "vehicles")

    def load_bikes(self, day, **changes):
        return self.load("powunity", self.run("powunity", day, **changes), BIKE_FEEDS, "devices")

    def load_trucks(self, day, **changes):
        run = self.run("omnicomm", day, **changes)
        with self.pipeline("omnicomm") as pipeline:
            pipeline.load(run, feeds=["geofences"], scopes=[FLEET])
        return self.load("omnicomm", run, TRUCK_FEEDS, "vehicle_tree")

    def load_cars(self, day, **changes):
        """What the DAG does: lists of the fleet, then the trips of each vehicle."""
        run = self.run("suivideflotte", day, **changes)
        with self.pipeline("suivideflotte") as pipeline:
            pipeline.plan(run, entity_feed="vehicles", feeds=[])
            pipeline.load(run, feeds=["alerts", "poi", "drivers"], scopes=[FLEET])
        trips = self.load("suivideflotte", run, ["trips"], "vehicles")
        with self.pipeline("suivideflotte") as pipeline:
            return {**trips, **pipeline.certify(run, datasets=["suivideflotte.alert"])}

    def load_users(self, day, **changes):
        run = self.run("rcs", day, **{"dag_id": "users", **changes})
        with self.pipeline("rcs") as pipeline:
            pipeline.plan(run, entity_feed="vehicles", feeds=[])
            pipeline.load(run, feeds=["users", "client_notifications"], scopes=[FLEET])
            return pipeline.certify(run, datasets=["rcs.app_user", "rcs.client_notification"])

    def load_health(self, day, **changes):
        run = self.run("rcs", day, **{"dag_id": "health", **changes})
        with self.pipeline("rcs") as pipeline:
            pipeline.plan(run, entity_feed="vehicles", feeds=["health_overview"])
            pipeline.ask(run, feed="health_overview")
            deadline = time.monotonic() + 30
            while not pipeline.poll(run, feed="health_overview").state.is_terminal:
                assert time.monotonic() < deadline, "the report never finishes"
            for chunk in pipeline.collect(run, feed="health_overview"):
                pipeline.load(run, feeds=["health_reports"], scopes=chunk)
            return pipeline.certify(run, datasets=["rcs.health_report", "rcs.trouble"])

    def digests(self, table, window):
        """Truth, warehouse and lake: business columns of rows that are not deleted."""
        contract = self.contracts[table]
        names = [column.name for column in contract.columns]
        customer = "north" if contract.vendor == "powunity" else None
        truth = list(room(contract.vendor).truth(self.sandbox.context, contract.name, window, customer))
        stores = [
            [{name: row[name] for name in names} for row in store.rows(contract, window=window) if row["deleted_at"] is None]
            for store in (self.warehouse, self.lake)
        ]
        return [Digest.of(rows) for rows in (truth, *stores)]

    def assert_true(self, table, window):
        truth, warehouse, lake = self.digests(table, window)
        assert warehouse == truth, table
        assert lake == truth, table
        return truth.rows

    def all_rows(self, table):
        """Every row with provenance, canonical, from warehouse and lake."""
        contract = self.contracts[table]
        return tuple(sorted(canonical_row(row) for row in store.rows(contract)) for store in (self.warehouse, self.lake))

    def requests(self, vendor):
        return len(self.sandbox.log(vendor))

    def sql(self, query):
        return list(self.warehouse.query(query)[1])


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    settings = SandboxSettings(
        state_dir=tmp_path_factory.mktemp("sandbox"),
        as_of=AS_OF,
        vehicles=5,
        bikes=4,
        trucks=5,
        cars=6,
        assumptions={
            "rcs.requests_per_second": 0,
            "rcs.task_seconds": 0.2,
            "omnicomm.calls_per_minute": 0,
            "suivideflotte.requests_per_minute": 0,
        },
    )
    with running(settings) as started:
        yield started


@pytest.fixture
def place(sandbox, make_database, tmp_path):
    settings = Settings(
        home=tmp_path,
        include=INCLUDE,
        warehouse_url=make_database(migrated=True),
        lake_url=str(tmp_path / "lake"),
        raw_url=str(tmp_path / "raw"),
    )
    made = Place(sandbox, settings)
    yield made
    made.warehouse.close()
