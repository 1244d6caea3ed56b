"""Airflow's configuration for the local stack, as environment variables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from fleetlake.settings import Settings
from fleetlake.stack.keys import Keys, write_private

HOST = "127.0.0.1"
_PROJECT = Path(__file__).resolve().parents[3]
DAGS = _PROJECT / "dags"


def airflow_env(settings: Settings, keys: Keys, *, database_url: str, warehouse_url: str, port: int) -> dict[str, str]:
    """The whole environment of an Airflow process.

    Args:
        settings: where the stores are.
        keys: the stack's secrets.
        database_url: SQLAlchemy URL of Airflow's metadata database (psycopg2).
        warehouse_url: SQLAlchemy URL of the warehouse.
        port: of the API server, on loopback.
    """
    airflow_home = settings.home / "airflow"
    passwords = airflow_home / "passwords.json"
    write_private(passwords, json.dumps({"admin": keys.password}))
    base_url = f"http://{HOST}:{port}"
    options: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": DAGS,
            "plugins_folder": _PROJECT / "plugins",
            "load_examples": False,
            "executor": "LocalExecutor",
            "parallelism": 4,  # two cores; tasks wait for the vendor half of their time
            "max_active_tasks_per_dag": 4,
            "fernet_key": keys.fernet,
            "test_connection": "Enabled",
            "execution_api_server_url": f"{base_url}/execution/",
            "simple_auth_manager_users": "admin:admin",
            "simple_auth_manager_passwords_file": passwords,
        },
        "database": {"sql_alchemy_conn": database_url},
        "api": {"host": HOST, "port": port, "base_url": base_url, "secret_key": keys.api, "workers": 1},
        "api_auth": {"jwt_secret": keys.jwt},
        "logging": {
            "base_log_folder": settings.home / "logs" / "tasks",
            "dag_processor_child_process_log_directory": settings.home / "logs" / "dag-files",
            "namespace_levels": "great_expectations=WARNING",
        },
        # A new or changed DAG file is seen after 10 s, not after 5 minutes.
        "dag_processor": {"refresh_interval": 10},
        # The default of 5 s loses tries whose trigger fires at once.
        "workers": {"min_heartbeat_interval": 1},
        "state_store": {"clear_on_success": True},
    }
    # Another Airflow's settings must not leak in; connections and variables may come from the environment.
    env = {name: value for name, value in inherited().items() if not name.startswith(("AIRFLOW__", "AIRFLOW_CONFIG"))}
    env.update(
        {
            f"AIRFLOW__{section}__{key}".upper(): str(value)
            for section, entries in options.items()
            for key, value in entries.items()
        }
    )
    return env | {
        "AIRFLOW_HOME": str(airflow_home),
        "HOME": env.get("HOME", str(settings.home)),
        "FLEETLAKE_HOME": str(settings.home),
        "FLEETLAKE_INCLUDE": str(settings.include),
        "FLEETLAKE_WAREHOUSE_URL": warehouse_url,
        "FLEETLAKE_LAKE_URL": settings.lake_url,
        "FLEETLAKE_RAW_URL": settings.raw_url,
        # Like all DAGs of the local stack it waits until somebody wants it.
        "FLEETLAKE_SELF_HEAL": "off",
        # Several tasks share two cores: a thread per core in each of them only costs.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        # Everything the stack talks to is on this machine: a proxy of the user's must not get in between.
        "NO_PROXY": _no_proxy(env),
        "no_proxy": _no_proxy(env),
    }


def inherited() -> dict[str, str]:
    """Our own environment, with our commands on the path, but for what would slow every start down."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return env | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"}


def _no_proxy(env: Mapping[str, str]) -> str:
    return ",".join(filter(None, [env.get("NO_PROXY") or env.get("no_proxy", ""), HOST, "localhost"]))
