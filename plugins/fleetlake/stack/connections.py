"""Airflow connections to the sandbox's simulated vendors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fleetlake.accounts import Account
from fleetlake.errors import ConfigError

_OWN_FIELDS = {"email": "login", "login": "login", "username": "login", "password": "password"}
"""Credentials that have a field of their own in an Airflow connection; all others go into ``extra``."""


def sandbox_connections(accounts: Iterable[Account], sandbox: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Connection of each account: id to the fields of Airflow's connection JSON, ``extra`` an object or absent.

    An account takes the sandbox customer of its name, or else the one at its place among the vendor's accounts.

    Args:
        accounts: from ``accounts.yaml``.
        sandbox: content of ``sandbox.json``: ``urls`` and ``pace`` by vendor, ``customers`` by vendor and name.

    Raises:
        ConfigError: the sandbox does not know the vendor, or has fewer customers than there are accounts.
    """
    connections: dict[str, dict[str, Any]] = {}
    seen: dict[str, int] = {}
    for account in accounts:
        place = seen.get(account.vendor, 0)
        seen[account.vendor] = place + 1
        customers: Mapping[str, Mapping[str, Any]] = sandbox["customers"].get(account.vendor, {})
        name = account.name if account.name in customers else next(iter([*customers][place : place + 1]), None)
        if name is None:
            raise ConfigError(
                f"the sandbox has no customer for account {account.name!r} of {account.vendor}",
                where="include/accounts.yaml",
                remedy="start without the sandbox: fleetlake up --no-sandbox",
            )
        fields: dict[str, Any] = {
            "conn_type": account.vendor,
            "host": sandbox["urls"][account.vendor],
            "description": f"sandbox customer {name}",
            "extra": dict(sandbox.get("pace", {}).get(account.vendor, {})),
        }
        for key, value in customers[name].items():
            if key in _OWN_FIELDS:
                fields[_OWN_FIELDS[key]] = value
            else:
                fields["extra"][key] = value
        # Airflow's import takes an object with entries, but stumbles over an empty one.
        connections[account.conn_id] = {key: value for key, value in fields.items() if value != {}}
    return connections
