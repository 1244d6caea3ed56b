"""``fleetlake backfill --reprocess``: rows from the raw answers again, by today's contracts, without a vendor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from fleetlake.accounts import Account, load_accounts
from fleetlake.contracts import load_contracts

if TYPE_CHECKING:
    from fleetlake.pipeline.entries import BatchEntry
    from fleetlake.pipeline.estimate import Wish
    from fleetlake.pipeline.replay import Replayer
    from fleetlake.settings import Settings
    from fleetlake.warehouse import Warehouse


def count_entries(settings: Settings, warehouse: Warehouse, wish: Wish) -> Iterator[tuple[str, int]]:
    """How many batches each vendor's raw store has for a wish."""
    for vendor, accounts in _vendors(settings, wish).items():
        with _opened(settings, warehouse, vendor) as replayer:
            yield vendor, sum(1 for _ in _entries(settings, warehouse, replayer, accounts, wish))


def reprocess(settings: Settings, warehouse: Warehouse, wish: Wish) -> dict[str, dict[str, int]]:
    """Publish the batches of a wish again; gives what changed, in rows by table."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from fleetlake.pipeline.publish import Summary

    summary = Summary()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    for vendor, accounts in _vendors(settings, wish).items():
        with (
            _opened(settings, warehouse, vendor) as replayer,
            Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        ):
            count = sum(1 for _ in _entries(settings, warehouse, replayer, accounts, wish))
            task = progress.add_task(f"{vendor}: batches", total=count)
            entries = _entries(settings, warehouse, replayer, accounts, wish)
            replayer.replay(entries, summary=summary, on_entry=lambda _, at=task, bar=progress: bar.advance(at))  # type: ignore[misc]
            typer.echo(f"{vendor}: {count} batches published again from raw", err=True)
    return summary.as_dict()


def _vendors(settings: Settings, wish: Wish) -> dict[str, list[Account]]:
    contracts = load_contracts(settings.include)
    vendors: dict[str, list[Account]] = {}
    for account in load_accounts(settings.include):
        wanted = any(contracts[table].vendor == account.vendor for table in wish.datasets)
        if wanted and wish.account in (None, account.name):
            vendors.setdefault(account.vendor, []).append(account)
    return vendors


@contextmanager
def _opened(settings: Settings, warehouse: Warehouse, vendor: str) -> Iterator[Replayer]:
    from fleetlake.pipeline.replay import Replayer

    with Replayer(settings, vendor, warehouse=warehouse) as replayer:
        yield replayer


def _entries(
    settings: Settings, warehouse: Warehouse, replayer: Replayer, accounts: list[Account], wish: Wish
) -> Iterator[BatchEntry]:
    from fleetlake.pipeline.entries import BatchEntry
    from fleetlake.pipeline.plan import vehicles_of

    scopes = None
    if wish.vehicles:
        scopes = {scope for account in accounts for scope in vehicles_of(settings, warehouse, account, wish)}
    found = replayer.entries(
        datasets=wish.datasets, accounts=[account.name for account in accounts], window=wish.window, scopes=scopes
    )
    return (entry for entry in found if isinstance(entry, BatchEntry))
