"""What commands share: the warehouse for the time of a command, tables by name, windows."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fleetlake.accounts import load_accounts
from fleetlake.contracts import Contract, load_contracts
from fleetlake.errors import ConfigError
from fleetlake.fleet_tables import FleetTable, load_fleet_tables
from fleetlake.settings import Settings
from fleetlake.window import Window

if TYPE_CHECKING:
    from fleetlake.warehouse import Warehouse


@contextlib.contextmanager
def opened_warehouse(*, migrated: bool = True) -> Iterator[Warehouse]:
    """The warehouse for the time of a command."""
    from fleetlake.warehouse import Warehouse

    with warehouse_url(migrated=migrated) as url, Warehouse(url) as warehouse:
        yield warehouse


@contextlib.contextmanager
def warehouse_url(*, migrated: bool = True) -> Iterator[str]:
    """The URL of the configured warehouse, or else the local one, started for the time of the command if it is not running."""
    from fleetlake import embedded

    settings = Settings.from_env()
    data = settings.home / "postgres"
    started = False
    url = settings.warehouse_url
    if not url:
        if migrated and not data.exists():
            settings.require_warehouse()
        started = not embedded.status(data)
        embedded.start(data)
        embedded.ensure_database(data, "warehouse")
        url = embedded.url(data, "warehouse")
    try:
        yield url
    finally:
        if started:
            embedded.stop(data)


def find_tables(settings: Settings, names: Sequence[str] | None) -> tuple[list[Contract], list[FleetTable]]:
    """The vendors' tables and those of the model, all or some."""
    contracts, model = load_contracts(settings.include), load_fleet_tables(settings.include)
    for name in names or ():
        if name not in contracts and name not in model:
            raise ConfigError(f"there is no table {name!r}", remedy=f"one of: {', '.join([*contracts, *model])}")
    if names:
        return [contracts[name] for name in contracts if name in names], [model[name] for name in model if name in names]
    return list(contracts.values()), [table for table in model.values() if table.grain != "view"]


def check_names(settings: Settings, account: str | None, dataset: str | None) -> None:
    """There are an account and a vendors' table with these names, where they are given.

    Raises:
        ConfigError: there is none; says which come near.
    """
    _check_name("table", "--dataset", dataset, list(load_contracts(settings.include)))
    _check_name("account", "--account", account, [item.name for item in load_accounts(settings.include)])


def _check_name(kind: str, option: str, name: str | None, known: Sequence[str]) -> None:
    if name is None or name in known:
        return
    near = difflib.get_close_matches(name, known, 3)
    raise ConfigError(
        f"there is no {kind} {name!r}",
        where=option,
        remedy=f"did you mean {' or '.join(near)}?" if near else f"one of: {', '.join(known)}",
    )


def parse_window(start: str | None, end: str | None) -> Window | None:
    """The window of ``--from`` and ``--to``; ``None`` when neither is given.

    Raises:
        ConfigError: only one of them is given, or one is no time.
    """
    if start and end:
        return Window.parse(start, end)
    if start or end:
        raise ConfigError("--from and --to belong together")
    return None
