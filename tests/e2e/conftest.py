from __future__ import annotations

import os

import pytest
from fleetlake.settings import Settings
from fleetlake.stack.local import LocalStack

from tests.e2e.living import TODAY, Living


@pytest.fixture(scope="session")
def living(tmp_path_factory):
    """One stack for all tests of this tier: PostgreSQL, sandbox, Airflow's four parts."""
    home = tmp_path_factory.mktemp("stack")
    stack = LocalStack(Settings.from_env({**os.environ, "FLEETLAKE_HOME": str(home)}))
    stack.up(port=0, as_of=TODAY)
    try:
        yield Living(stack)
    finally:
        stack.down()
        stack.remove()
