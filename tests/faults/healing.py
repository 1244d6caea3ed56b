"""A house with a thousand vehicles whose ledger says that ninety days are complete, but for the holes a test plants.

Airflow runs in processes of its own: ``run_self_heal.py``.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fleetlake.accounts import load_accounts
from fleetlake.contracts import load_contracts
from fleetlake.coverage import Interval, State
from fleetlake.reading import FLEET
from fleetlake.settings import Settings
from fleetlake.stack.connections import sandbox_connections
from fleetlake.warehouse import Warehouse
from fleetlake.window import DAY, Window

ROOT = Path(__file__).resolve().parents[2]
DAYS = 90
TODAY = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
FIRST = TODAY - DAYS * DAY
NO_LIMITS = {
    "rcs.requests_per_second": 0,
    "rcs.task_seconds": 0.2,
    "omnicomm.calls_per_minute": 0,
    "suivideflotte.requests_per_minute": 0,
}
PACE = {
    "rcs": {"rate_per_s": 500, "burst": 100},
    "powunity": {"rate_per_s": 500, "burst": 100},
    "omnicomm": {"rate_per_min": 100, "burst": 80},
    "suivideflotte": {"rate_per_s": 500, "burst": 100},
    "omni_platform": {"rate_per_s": 500, "burst": 100},
}
LEDGER = {
    "main": {"rcs.telemetry": "", "rcs.trouble": "", "rcs.health_report": FLEET},
    "north": {"powunity.trip": "", "powunity.position": ""},
    "south": {"powunity.trip": "", "powunity.stop": ""},
    "trucks": {"omnicomm.consolidated_report": "", "omnicomm.statistics": "", "omnicomm.track_point": ""},
    "france": {"suivideflotte.trip": "", "suivideflotte.alert": FLEET},
}
"""Tables by account that the ledger holds; with ``FLEET`` those that are about the whole account."""

ENTITIES = {
    "main": "rcs.vehicle.vehicle_id",
    "north": "powunity.device.device_id",
    "south": "powunity.device.device_id",
    "trucks": "omnicomm.vehicle.terminal_id",
    "france": "suivideflotte.vehicle.vehicle_id",
}


def days(start: float, end: float) -> Window:
    """Days of the ninety, counted from the first."""
    return Window(FIRST + start * DAY, FIRST + end * DAY)


class House:
    """Sandbox, warehouse, lake and raw store, and an Airflow home.

    Attributes:
        sandbox: the running sandbox.
        settings: where the stores are.
        warehouse: for questions.
        vehicles: vendor ids by account, sorted as text.
    """

    def __init__(self, folder: Path, sandbox: Any, warehouse_url: str) -> None:
        self.sandbox = sandbox
        accounts = load_accounts(ROOT / "include")
        known = {"urls": sandbox.urls, "customers": sandbox.customers, "pace": PACE}
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "FLEETLAKE"))}
        self.env = (
            clean
            | {
                "AIRFLOW_HOME": str(folder),
                "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
                "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
                "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
                "FLEETLAKE_HOME": str(folder / "fleetlake"),
                "FLEETLAKE_WAREHOUSE_URL": warehouse_url,
            }
            | {
                f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields)
                for name, fields in sandbox_connections(accounts, known).items()
            }
        )
        self.settings = Settings.from_env(self.env)
        self.warehouse = Warehouse(warehouse_url)
        self.contracts = load_contracts(ROOT / "include")
        self.python("-c", "from airflow.utils.db import initdb; initdb()")
        self.script("vehicles")
        self.vehicles = {
            account: sorted(
                str(row[0])
                for row in self.sql(
                    f"SELECT {column.rpartition('.')[2]} FROM {column.rpartition('.')[0]} WHERE account = '{account}'"
                )
            )
            for account, column in ENTITIES.items()
        }

    def close(self) -> None:
        self.warehouse.close()

    # --- the ledger -----------------------------------------------------------------------------------------------------

    def plant(self, holes: Iterable[Interval]) -> None:
        """Write the ledger: ninety proven days for everyone, without these holes. A hole of state ``None`` is a gap."""
        holes = list(holes)
        known: dict[tuple[str, str, str], list[Interval]] = {}
        for hole in holes:
            known.setdefault((hole.account, hole.dataset, hole.scope), []).append(hole)
        self.warehouse.record_coverage(
            piece
            for account, tables in LEDGER.items()
            for table, scope in tables.items()
            for vehicle in ([scope] if scope else self.vehicles[account])
            for piece in _around(interval(account, table, vehicle, 0, DAYS), known.get((account, table, vehicle), []))
        )
        self.warehouse.record_coverage(hole for hole in holes if not hole.proof.startswith("gap"))

    def holes(self, condition: str = "true") -> list[tuple[Any, ...]]:
        """Rows of ops.hole: account, dataset, scope, start, end."""
        return self.sql(
            f"SELECT account, dataset, scope, window_start, window_end FROM ops.hole WHERE {condition} ORDER BY 1, 2, 3, 4"
        )

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        return list(self.warehouse.query(query)[1])

    # --- Airflow --------------------------------------------------------------------------------------------------------

    def python(self, *arguments: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *arguments], env=self.env | env, capture_output=True, text=True, check=False, timeout=800
        )
        assert not check or done.returncode == 0, f"{arguments}\n{(done.stdout + done.stderr)[-8000:]}"
        return done

    def script(self, *arguments: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """``run_self_heal.py``."""
        return self.python(str(Path(__file__).with_name("run_self_heal.py")), *arguments, check=check, **env)

    def requests(self) -> list[dict[str, Any]]:
        """What vendors were asked for, without logins."""
        return [item for item in self.sandbox.log() if not _is_login(item)]


def interval(account: str, dataset: str, scope: str, start: float, end: float, **changes: Any) -> Interval:
    """An interval of the ledger, proven unless said otherwise."""
    fields: dict[str, Any] = {
        "state": State.COMPLETE, "proof": "terminal page: planted", "rows": None, "fetched_at": TODAY, **changes
    }  # fmt: skip
    return Interval(account=account, dataset=dataset, scope=scope, window=days(start, end), **fields)


def hole(account: str, dataset: str, scope: str, start: float, end: float, kind: str = "failed") -> Interval:
    """A hole: ``failed``, ``partial`` … or ``gap``."""
    if kind == "gap":
        return interval(account, dataset, scope, start, end, state=State.FAILED, proof="gap")
    return interval(account, dataset, scope, start, end, state=State(kind), proof="error: planted")


def _around(whole: Interval, holes: Iterable[Interval]) -> Iterator[Interval]:
    """The parts of an interval outside holes."""
    position = whole.window.start
    for item in sorted(holes, key=lambda item: item.window.start):
        if position < item.window.start:
            yield replace(whole, window=Window(position, item.window.start))
        position = max(position, item.window.end)
    if position < whole.window.end:
        yield replace(whole, window=Window(position, whole.window.end))


def _is_login(item: dict[str, Any]) -> bool:
    words = ("session", "login", "auth", "token", "jwt")
    return any(word in item["path"].lower() for word in words)
