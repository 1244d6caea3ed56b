"""The accounts to load: ``include/accounts.yaml``, one entry per set of credentials at a vendor."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from fleetlake.errors import ConfigError

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account: one Airflow connection, one pool, one set of DAGs, one value in every table's ``account`` column.

    Attributes:
        name: value of the ``account`` column; lower-case letters, digits and underscores.
        vendor: name of the vendor's room.
        conn_id: Airflow connection with address and credentials; default ``<vendor>_default``.
        pool_slots: tasks that may talk to this account at once; size of its Airflow pool.
        start_date: first day the schedule may load, ISO date.
        max_chunks: upper bound of mapped tasks in one run, whatever the size of the fleet.
        chunk_size: vehicles per mapped task until ``max_chunks`` is reached.
        look_back_days: days before the scheduled one that window feeds always read again, because reports change late;
            ``None`` = learned from how late they have changed.
        look_back_max_days: the most that is learned, and the age at which every day is read once more.
        is_first: the vendor's first account has the plain DAG ids.
    """

    name: str
    vendor: str
    conn_id: str
    pool_slots: int = 4
    start_date: str = "2026-01-01"
    max_chunks: int = 16
    chunk_size: int = 25
    look_back_days: int | None = None
    look_back_max_days: int = 7
    is_first: bool = True

    @property
    def pool(self) -> str:
        """Name of the Airflow pool that bounds requests to this account."""
        return f"{self.conn_id}_api"

    def dag_id(self, base: str) -> str:
        """DAG id of this account for a DAG whose plain id is ``base``."""
        return base if self.is_first else f"{base}__{self.name}"


def load_accounts(include: Path) -> list[Account]:
    """Read ``accounts.yaml``.

    Raises:
        ConfigError: the file is missing or an entry is wrong; names the entry, the key and a near match.
    """
    path = include / "accounts.yaml"
    if not path.is_file():
        raise ConfigError(f"{path} is missing", remedy="list at least one account; see the README")
    try:
        data = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=str(path)) from None
    entries = data.get("accounts") if isinstance(data, Mapping) else None
    if not isinstance(entries, list) or not entries:
        raise ConfigError("no accounts", where=str(path), remedy="write a list under the key `accounts`")
    vendors: set[str] = set()
    names: set[str] = set()
    accounts = []
    for index, entry in enumerate(entries):
        account = _account(entry, f"{path}: accounts[{index}]", vendors)
        if account.name in names:
            raise ConfigError(f"account {account.name!r} is listed twice", where=str(path))
        names.add(account.name)
        vendors.add(account.vendor)
        accounts.append(account)
    return accounts


def _account(entry: Any, where: str, vendors: set[str]) -> Account:
    if not isinstance(entry, Mapping):
        raise ConfigError("an account is a mapping", where=where, remedy="write `name:` and `vendor:`")
    known = {field.name: str(field.type) for field in fields(Account) if field.name != "is_first"}
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"unknown key {key!r}", where=where, remedy=hint)
    for key in ("name", "vendor"):
        if not _NAME.match(str(entry.get(key, ""))):
            raise ConfigError(
                f"{key} is {entry.get(key)!r}", where=where, remedy="lower-case letters, digits and underscores"
            )
    for key, kind in known.items():
        least = 0 if key == "look_back_days" else 1
        if kind.startswith("int") and key in entry and (type(entry[key]) is not int or entry[key] < least):
            remedy = f"write a whole number of at least {least}"
            if key == "look_back_days":
                remedy += ", or leave it out: then it is learned"
            raise ConfigError(f"{key} is {entry[key]!r}", where=where, remedy=remedy)
    vendor = str(entry["vendor"])
    values: dict[str, Any] = {
        "conn_id": f"{vendor}_default",
        **{k: str(v) if known[k] == "str" else v for k, v in entry.items()},
    }
    return Account(is_first=vendor not in vendors, **values)
