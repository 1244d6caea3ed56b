"""What the stores in use hold and a rebuild would not bring back: found before anything of theirs is changed.

The warehouse may be gone and its ledger with it, so the lake is asked too: the loads that its rows name are known to the
journal, or the rows would vanish without a word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleetlake.errors import DataError
from fleetlake.lake.replacing import loads_of

if TYPE_CHECKING:
    import psycopg

    from fleetlake.contracts import Contract
    from fleetlake.lake import Lake
    from fleetlake.raw import RawStore

    Connection = psycopg.Connection[Any]

_TABLE = (
    "CREATE TABLE IF NOT EXISTS rebuild.held (dataset text, load_id text, store text, rows bigint); TRUNCATE rebuild.held"
)
_LAKE, _WAREHOUSE = "lake", "warehouse"


@dataclass(frozen=True)
class Unknown:
    """Rows of a table that would be gone.

    Attributes:
        dataset: the table, ``schema.table``.
        store: ``lake`` or ``warehouse``.
        loads, rows: how many.
        example: one of the loads.
    """

    dataset: str
    store: str
    loads: int
    rows: int
    example: str


def remember(work: Connection, live: Connection, lake: Lake, contracts: Sequence[Contract]) -> None:
    """Write down which loads the stores in use hold. Of the lake only the column ``load_id`` is read, file by file.

    Args:
        work: the rebuild's own database.
        live: the warehouse in use.
        lake: the lake in use.
        contracts: tables to be made anew.
    """
    work.execute(_TABLE)
    datasets = [contract.table for contract in contracts]
    with work.cursor() as cursor, cursor.copy("COPY rebuild.held FROM STDIN") as copy:
        for contract in contracts:
            for load, rows in loads_of(lake, contract):
                copy.write_row([contract.table, load, _LAKE, rows])
        with live.cursor("fleetlake_loads") as loads:
            loads.execute(
                "SELECT dataset, load_id, rows_inserted + rows_updated FROM ops.load"
                " WHERE state = 'published' AND dataset = ANY(%s)",
                [datasets],
            )
            for dataset, load, rows in loads:
                copy.write_row([dataset, load, _WAREHOUSE, rows])
    work.commit()
    live.rollback()


def unknown_to_journal(work: Connection) -> list[Unknown]:
    """What was remembered and no entry of the journal names."""
    rows = work.execute(
        "SELECT dataset, store, count(DISTINCT load_id), sum(rows)::bigint, min(load_id) FROM rebuild.held h"
        " WHERE NOT EXISTS (SELECT FROM rebuild.entry e WHERE e.dataset = h.dataset AND e.load = h.load_id)"
        " GROUP BY dataset, store ORDER BY dataset, store"
    ).fetchall()
    work.rollback()
    return [Unknown(dataset, store, loads, count, example) for dataset, store, loads, count, example in rows]


def not_rebuilt(work: Connection, made: Lake, contracts: Iterable[Contract]) -> list[Unknown]:
    """What was remembered of the lake and neither the new ledger nor the new lake knows: its entries were skipped."""
    lost: dict[str, dict[str, int]] = defaultdict(dict)
    for dataset, load, rows in work.execute(
        "SELECT dataset, load_id, sum(rows)::bigint FROM rebuild.held h WHERE store = %s"
        " AND NOT EXISTS (SELECT FROM ops.load l WHERE l.load_id = h.load_id) GROUP BY dataset, load_id",
        [_LAKE],
    ).fetchall():
        lost[dataset][load] = rows
    work.rollback()
    for contract in contracts:
        if contract.table in lost:  # a publication that failed between lake and warehouse is in both lakes alike
            for load, _ in loads_of(made, contract):
                lost[contract.table].pop(load, None)
    return [Unknown(name, _LAKE, len(loads), sum(loads.values()), min(loads)) for name, loads in lost.items() if loads]


def without_entries(work: Connection, raw: RawStore, vendors: Iterable[str]) -> list[str]:
    """Vendors of whom raw holds pages and the journal nothing at all."""
    known = {row[0] for row in work.execute("SELECT DISTINCT vendor FROM rebuild.entry").fetchall()}
    work.rollback()
    return [name for name in vendors if name not in known and any(pages for _, _, pages in raw.reads(name))]


def refusal(unknown: Sequence[Unknown], raw_url: str, skipped: Sequence[str] = ()) -> DataError:
    """The error that says what would be gone, and how to mend it."""
    what = "; ".join(f"{item.dataset}: {item.rows} rows of {item.loads} loads in the {item.store}" for item in unknown)
    why = f"; skipped: {' | '.join(skipped[:3])}{' …' if len(skipped) > 3 else ''}" if skipped else ""
    journal = "the journal does not know" if not skipped else "the journal does not know, or its entries cannot replay,"
    number = sum(item.loads for item in unknown)
    return DataError(
        f"{journal} {number} loads that the stores in use hold: their rows would be gone ({what})",
        where=f"for example load {unknown[0].example}; journal: {raw_url}/_journal{why}",
        remedy="check FLEETLAKE_RAW_URL, and restore what is missing below it from a backup; loads from before there was a"
        " journal must be read from the vendor again; or look at the result with --into, and give --accept-loss when they"
        " may go",
    )
