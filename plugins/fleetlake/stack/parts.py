"""The commands that make up fleetlake: started by the local stack, and named by docker-compose.yaml."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

SANDBOX = "sandbox"
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer")
AIRFLOW_MIGRATE = ("airflow", "db", "migrate")
AIRFLOW_POOLS = ("airflow", "pools", "import")
AIRFLOW_CONNECTIONS = ("airflow", "connections", "import", "--overwrite")
AIRFLOW_LIST_CONNECTIONS = ("airflow", "connections", "list", "--output", "json")


def airflow_commands(port: int) -> dict[str, tuple[str, ...]]:
    """Airflow's parts for one machine: no part opens a port but the API server, and that on loopback.

    Args:
        port: of the API server.
    """
    return {
        "api-server": ("airflow", "api-server", "--host", "127.0.0.1", "--port", str(port)),
        # Their log servers would listen on all addresses; logs are read from the folder instead.
        "scheduler": ("airflow", "scheduler", "--skip-serve-logs"),
        "dag-processor": ("airflow", "dag-processor"),
        "triggerer": ("airflow", "triggerer", "--skip-serve-logs"),
    }


def sandbox_command(state_dir: Path, as_of: dt.datetime | None) -> tuple[str, ...]:
    """The vendor sandbox on loopback.

    Args:
        state_dir: where it writes certificates and ``sandbox.json``.
        as_of: its clock stands there; ``None`` = the real clock.
    """
    fixed = ("--as-of", as_of.isoformat()) if as_of else ()
    return ("fleetlake", "sandbox", "serve", "--state-dir", str(state_dir), *fixed)
