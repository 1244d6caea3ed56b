"""An Airflow of its own for these tests: SQLite metadata in a temporary home, set before airflow is imported for the first time."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = tempfile.mkdtemp(prefix="fleetlake-airflow-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

if "airflow" in sys.modules:
    raise RuntimeError("airflow was imported before its test environment was set: run this tier in a process of its own")

for name in [name for name in os.environ if name.startswith(("AIRFLOW", "FLEETLAKE"))]:
    del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": HOME,
    "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "FLEETLAKE_HOME": f"{HOME}/fleetlake",
}


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Airflow's metadata tables."""
    from airflow.utils.db import initdb

    initdb()
