"""``fleetlake backfill --reprocess``: rows from the raw answers again, by today's contracts, without a vendor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from fleetlake.accounts import Account
from fleetlake.reading import FLEET

if TYPE_CHECKING:
    from fleetlake.pipeline.entries import BatchEntry
    from fleetlake.pipeline.estimate import Wish
    from fleetlake.pipeline.replay import Replayer
    from fleetlake.settings import Settings
    from fleetlake.warehouse import Warehouse


def count_entries(settings: Settings, warehouse: Warehouse, wish: Wish) -> Iterator[tuple[str, int]]:
    """How many batches each vendor's raw store has for a wish.

    Raises:
        ConfigError, UnknownVehicle: see ``plan.own_wishes``.
    """
    for vendor, wishes in _by_vendor(settings, warehouse, wish).items():
        with _opened(settings, warehouse, vendor) as replayer:
            yield vendor, sum(1 for _ in _entries(settings, warehouse, replayer, wishes))


def reprocess(settings: Settings, warehouse: Warehouse, wish: Wish) -> dict[str, dict[str, int]]:
    """Publish the batches of a wish again; gives what changed, in rows by table."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from fleetlake.pipeline.publish import Summary

    summary = Summary()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    for vendor, wishes in _by_vendor(settings, warehouse, wish).items():
        with (
            _opened(settings, warehouse, vendor) as replayer,
            Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        ):
            count = sum(1 for _ in _entries(settings, warehouse, replayer, wishes))
            task = progress.add_task(f"{vendor}: batches", total=count)
            entries = _entries(settings, warehouse, replayer, wishes)
            replayer.replay(entries, summary=summary, on_entry=lambda _, at=task, bar=progress: bar.advance(at))  # type: ignore[misc]
            typer.echo(f"{vendor}: {count} batches published again from raw", err=True)
    return summary.as_dict()


def _by_vendor(settings: Settings, warehouse: Warehouse, wish: Wish) -> dict[str, list[tuple[Account, Wish]]]:
    from fleetlake.pipeline.plan import own_wishes

    vendors: dict[str, list[tuple[Account, Wish]]] = {}
    for account, own in own_wishes(settings, warehouse, wish):
        vendors.setdefault(account.vendor, []).append((account, own))
    return vendors


@contextmanager
def _opened(settings: Settings, warehouse: Warehouse, vendor: str) -> Iterator[Replayer]:
    from fleetlake.pipeline.replay import Replayer

    with Replayer(settings, vendor, warehouse=warehouse) as replayer:
        yield replayer


def _entries(
    settings: Settings, warehouse: Warehouse, replayer: Replayer, wishes: list[tuple[Account, Wish]]
) -> Iterator[BatchEntry]:
    """Batches of one vendor's accounts in the order of publication, each about the vehicles wanted of its own account."""
    from fleetlake.pipeline.entries import BatchEntry
    from fleetlake.pipeline.plan import vehicles_of

    scopes = {
        account.name: {FLEET, *vehicles_of(settings, warehouse, account, own)} for account, own in wishes if own.vehicles
    }
    wish = wishes[0][1]
    found = replayer.entries(datasets=wish.datasets, accounts=[account.name for account, _ in wishes], window=wish.window)
    return (
        entry
        for entry in found
        if isinstance(entry, BatchEntry) and (not scopes or not scopes[entry.run.account.name].isdisjoint(entry.scopes))
    )
