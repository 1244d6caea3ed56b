"""A person gives up rows in quarantine: noted in the journal, then settled, so that stores made anew know of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetlake.contracts import load_contracts
from fleetlake.pipeline.entries import DECISION, describe_drop
from fleetlake.raw import Journal
from fleetlake.warehouse.quarantine import drop as settle

if TYPE_CHECKING:
    from fleetlake.settings import Settings
    from fleetlake.warehouse import Warehouse


def drop(settings: Settings, warehouse: Warehouse, ids: Sequence[str], reason: str, by: str) -> int:
    """Settle entries of the quarantine on a person's word. The raw rows stay.

    Killed between journal and warehouse: the entries are open, and giving them up once more completes it.

    Args:
        settings: where raw and the contracts are.
        warehouse: the warehouse in use.
        ids: ids of entries.
        reason: why.
        by: who.

    Returns:
        How many were open.

    Raises:
        StoreUnavailable: the raw store or the warehouse fails; try again.
        StoreConflict: a publisher held the table too long.
    """
    contracts, journal = load_contracts(settings.include), Journal(settings.raw_url)
    by_table: dict[str, list[str]] = defaultdict(list)
    with warehouse.session() as connection:
        for dataset, entry in connection.execute(
            "SELECT dataset, quarantine_id FROM ops.quarantine WHERE resolved_at IS NULL AND quarantine_id = ANY(%s)",
            [list(ids)],
        ):
            by_table[dataset].append(entry)
        connection.rollback()
        number = 0
        for dataset, entries in sorted(by_table.items()):
            if dataset not in contracts:  # a table that is made no more, and will not be made anew
                number += settle(connection, entries, reason, by)
                connection.commit()
                continue
            with warehouse.publishing(contracts[dataset]) as tx:
                journal.write(dataset, tx.moment, DECISION, describe_drop(entries, reason, by))
                number += tx.drop_quarantined(entries, reason, by)
    return number
