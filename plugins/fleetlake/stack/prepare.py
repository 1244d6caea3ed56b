"""``fleetlake init``: what must be there before Airflow's parts start, for a production stack."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from fleetlake.accounts import Account, load_accounts
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError, StoreUnavailable
from fleetlake.settings import Settings
from fleetlake.stack import parts
from fleetlake.stack.airflow_api import pools
from fleetlake.stack.connections import sandbox_connections
from fleetlake.stack.database import connect
from fleetlake.stack.keys import write_private
from fleetlake.stack.progress import Progress

_USERS_FILE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
_PASSWORD = "FLEETLAKE_ADMIN_PASSWORD"  # noqa: S105  the variable's name


def prepare(
    settings: Settings,
    env: Mapping[str, str],
    progress: Progress,
    *,
    sandbox_dir: Path | None = None,
    sandbox_host: str = "",
) -> None:
    """Bring both databases, pools and logins to the state that this version needs. Running it again changes nothing.

    Args:
        settings: with the warehouse's address.
        env: Airflow's environment.
        progress: who hears about it.
        sandbox_dir: folder of a running sandbox; its customers become the accounts' connections.
        sandbox_host: name by which workers reach the sandbox.

    Raises:
        ConfigError: the warehouse or the admin's password is not configured.
        StoreUnavailable: a database does not answer, or an ``airflow`` command failed; with its output.
    """
    warehouse_url = settings.require_warehouse()
    if users_file := env.get(_USERS_FILE):
        if not env.get(_PASSWORD):
            raise ConfigError("the password of `admin` is not set", where=_PASSWORD, remedy="set it; see .env.example")
        write_private(Path(users_file), json.dumps({"admin": env[_PASSWORD]}))
    with progress.step("Airflow's database"):
        _airflow(parts.AIRFLOW_MIGRATE, env)
    accounts = load_accounts(settings.include)
    with progress.step(f"pools of {len(accounts)} accounts"):
        entries = {pool.pop("name"): pool for pool in pools(accounts)}
        _import(parts.AIRFLOW_POOLS, entries, env)
    if sandbox_dir:
        with progress.step("connections to the sandbox"):
            state = json.loads((sandbox_dir / "sandbox.json").read_text())
            state["urls"] = {name: _at(url, sandbox_host) for name, url in state["urls"].items()}
            _import(parts.AIRFLOW_CONNECTIONS, sandbox_connections(accounts, state), env)
    with progress.step("warehouse"):
        _ensure_database(warehouse_url)
        migrate_warehouse(settings, warehouse_url)
    for account in _without_connection(accounts, env):
        progress.say(
            f"  account {account.name}: no connection {account.conn_id!r} yet; set AIRFLOW_CONN_{account.conn_id.upper()} or "
            "enter it in the web interface (Admin, Connections)"
        )


def migrate_warehouse(settings: Settings, url: str) -> None:
    """Create or extend the warehouse's tables from the contracts."""
    from fleetlake.warehouse import Warehouse

    with Warehouse(url) as warehouse:
        warehouse.migrate(load_contracts(settings.include), settings.include)


def _airflow(command: tuple[str, ...], env: Mapping[str, str]) -> str:
    result = subprocess.run(command, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise StoreUnavailable(
            f"`{' '.join(command)}` ended with status {result.returncode}; its last lines:\n{tail}\n",
            remedy="mend what it says and run the command again",
        )
    return result.stdout


def _import(command: tuple[str, ...], entries: Mapping[str, Any], env: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="fleetlake-") as folder:  # readable by us alone: it may hold passwords
        path = Path(folder, "entries.json")
        path.write_text(json.dumps(entries))
        _airflow((*command, str(path)), env)


def _at(url: str, host: str) -> str:
    place = urlsplit(url)
    return urlunsplit(place._replace(netloc=f"{host}:{place.port}")) if host else url


def _ensure_database(url: str) -> None:
    """Create the database unless it is there; a server that other stacks share has it made by its owner."""
    try:
        connect(url).close()
    except psycopg.OperationalError as error:
        name = make_url(url).database
        if not name or f'database "{name}" does not exist' not in str(error):
            raise StoreUnavailable(
                f"the warehouse does not answer: {error}", where="FLEETLAKE_WAREHOUSE_URL", remedy="check the address"
            ) from None
        server = make_url(url).set(database="postgres").render_as_string(hide_password=False)
        with connect(server) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _without_connection(accounts: list[Account], env: Mapping[str, str]) -> list[Account]:
    unset = [account for account in accounts if f"AIRFLOW_CONN_{account.conn_id.upper()}" not in env]
    if not unset:
        return []
    stored = {entry["conn_id"] for entry in json.loads(_airflow(parts.AIRFLOW_LIST_CONNECTIONS, env) or "[]")}
    return [account for account in unset if account.conn_id not in stored]
