"""Places for faults: see ``tests/warehouse/pipeline/conftest.py``."""

from __future__ import annotations

import pytest
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.settings import Settings

from tests.faults.chains import Reader
from tests.warehouse.pipeline.conftest import AS_OF, INCLUDE, Place, place, sandbox

__all__ = ["place", "sandbox"]


@pytest.fixture(scope="module")
def ledger_sandbox(tmp_path_factory):
    """A sandbox for reads of many small pages."""
    settings = SandboxSettings(
        state_dir=tmp_path_factory.mktemp("sandbox"),
        as_of=AS_OF,
        vehicles=5,
        cars=2,
        rooms=("rcs", "suivideflotte"),
        assumptions={"rcs.requests_per_second": 0, "suivideflotte.requests_per_minute": 0},
    )
    with running(settings) as started:
        yield started


@pytest.fixture(params=["folder", "s3"])
def ledger(request, ledger_sandbox, make_database, tmp_path):
    """A place whose raw store and lake are in a folder, and one where they are in S3."""
    url = str(tmp_path) if request.param == "folder" else f"s3://{request.getfixturevalue('s3').make_bucket()}"
    settings = Settings(
        home=tmp_path,
        include=INCLUDE,
        warehouse_url=make_database(migrated=True),
        lake_url=f"{url}/lake",
        raw_url=f"{url}/raw",
    )
    ledger_sandbox.clear_log()
    made = Place(ledger_sandbox, settings)
    yield made
    made.warehouse.close()


@pytest.fixture
def reader(ledger):
    """Processes that read."""
    started = Reader()
    yield started
    started.stop()


@pytest.fixture
def loader(ledger):
    """Processes that do whole tasks."""
    started = Reader("--load")
    yield started
    started.stop()
