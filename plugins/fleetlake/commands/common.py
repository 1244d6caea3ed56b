"""What commands share: the warehouse for the time of a command, tables by name, windows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

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
