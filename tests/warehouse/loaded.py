"""A house with every vendor's data of some days in it, loaded from the sandbox the way the DAGs do, without Airflow."""

from __future__ import annotations

import shutil
from dataclasses import replace

from fleetlake import fleet
from fleetlake.accounts import Account
from fleetlake.sandbox.fleet import FleetTruth, all_accounts
from fleetlake.vendors.omni_platform.client import OmniClient
from fleetlake.vendors.omni_platform.config import OmniConfig
from fleetlake.vendors.omni_platform.source import OmniSource
from fleetlake.vendors.omnicomm.client import OmnicommClient
from fleetlake.vendors.omnicomm.config import OmnicommConfig
from fleetlake.vendors.omnicomm.source import OmnicommSource
from fleetlake.vendors.suivideflotte.client import SuiviDeFlotteClient
from fleetlake.vendors.suivideflotte.config import SuiviDeFlotteConfig
from fleetlake.vendors.suivideflotte.fieldmap import load_fieldmap
from fleetlake.vendors.suivideflotte.source import SuiviDeFlotteSource

from .pipeline.conftest import INCLUDE, Place

FLEET = ["_fleet"]
ACCOUNTS = [pair for pair in all_accounts() if pair != ("powunity", "south")]
ASSUMPTIONS = {
    "rcs.requests_per_second": 0,
    "rcs.task_seconds": 0.2,
    "suivideflotte.requests_per_minute": 0,
}


class FleetPlace(Place):
    """A place for all vendors, with a mapping file of its own."""

    def __init__(self, sandbox, settings):
        include = settings.home / "include"
        shutil.copytree(INCLUDE, include)
        self.mapping = include / "fleet" / "vehicles.yaml"
        super().__init__(sandbox, replace(settings, include=include))
        for vendor, name in ACCOUNTS:
            self.accounts.setdefault(
                vendor, Account(name=name, vendor=vendor, conn_id=f"{vendor}_default", look_back_days=0)
            )

    def pipeline(self, vendor):
        from fleetlake.pipeline import Pipeline

        return Pipeline(self.settings, self.accounts[vendor], getattr(self, f"{vendor}_source"))

    def _customer(self, vendor):
        return self.sandbox.urls[vendor], self.sandbox.customers[vendor][self.accounts[vendor].name]

    def omnicomm_source(self):
        url, customer = self._customer("omnicomm")
        config = OmnicommConfig(base_url=url, **customer, rate_per_min=110, burst=70)
        return OmnicommSource(OmnicommClient(config))

    def suivideflotte_source(self):
        url, customer = self._customer("suivideflotte")
        config = SuiviDeFlotteConfig(base_url=url, token=customer["token"], rate_per_s=100, burst=20)
        return SuiviDeFlotteSource(SuiviDeFlotteClient(config), load_fieldmap("france"))

    def omni_platform_source(self):
        url, customer = self._customer("omni_platform")
        config = OmniConfig(base_url=url, token=customer["token"], rate_per_s=100, burst=20, settle_s=0)
        return OmniSource(OmniClient(config), now=self.sandbox.context.clock.now)

    def load_days(self, window, **changes):
        """Everything the fleet's tables are made of: one run per vendor."""
        changes = {"window": window, "partition": None, **changes}
        day = window.start.date().isoformat()
        self.load_telemetry(day, mode="window", **changes)
        self.load_health(day, **changes)
        self.load_bikes(day, **changes)
        for vendor, (entity, feeds, whole) in _OTHERS.items():
            if vendor not in self.accounts:
                continue
            run = self.run(vendor, day, **changes)
            with self.pipeline(vendor) as pipeline:
                chunks = pipeline.plan(run, entity_feed=entity, feeds=[])
                for chunk in chunks if feeds else ():
                    pipeline.load(run, feeds=feeds, scopes=chunk)
                if whole:
                    pipeline.load(run, feeds=whole, scopes=FLEET)
                tables = {table for name in (*feeds, *whole) for table in pipeline._parts.room.feeds[name].datasets}
                pipeline.certify(run, datasets=sorted(tables))

    def build(self, **options):
        return fleet.build(self.settings, warehouse=self.warehouse, **options)

    def truth(self, window):
        """Truth now, with the mapping file as it is."""
        return FleetTruth(self.sandbox.context, ACCOUNTS, window, self.mapping)

    def fleet_rows(self, table):
        """Rows of a table of the fleet, without the time they were built."""
        names, rows = self.warehouse.query(f"SELECT * FROM fleet.{table}")
        return [{name: value for name, value in zip(names, row, strict=True) if name != "built_at"} for row in rows]


_OTHERS = {
    "omnicomm": (
        "vehicle_tree",
        ["profiles", "consolidated", "track", "events", "fuel_level", "geofence_visits"],
        ["geofences"],
    ),
    "suivideflotte": ("vehicles", ["trips"], ["alerts", "drivers"]),
    "omni_platform": ("cameras", [], ["events"]),
}
