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
class Held:
    """Loads of a table that were published, and that today's contract holds: a critical check fails.

    Attributes:
        dataset: the table, ``schema.table``.
        loads: how many.
        example: one of them.
        reason: the check that holds it.
    """

    dataset: str
    loads: int
    example: str
    reason: str


@dataclass(frozen=True)
class Unknown:
    """Rows of a table that would be gone.

    Attributes:
        dataset: the table, ``schema.table``.
        store: ``lake`` or ``warehouse``.
        loads, rows: how many.
        example: one of the loads.
        reason: why the example is held; empty when nothing can make these rows.
    """

    dataset: str
    store: str
    loads: int
    rows: int
    example: str
    reason: str = ""


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


def held_in_lake(work: Connection) -> list[Unknown]:
    """What was remembered of the lake and today's contract holds; the warehouse may not be there to tell of it."""
    rows = work.execute(
        "SELECT h.dataset, count(DISTINCT h.load_id), sum(h.rows)::bigint, (array_agg(h.load_id ORDER BY h.load_id))[1],"
        " (array_agg(l.reason ORDER BY h.load_id))[1] FROM rebuild.held h JOIN ops.load l USING (load_id)"
        " WHERE h.store = %s AND l.state = 'held' GROUP BY h.dataset ORDER BY h.dataset",
        [_LAKE],
    ).fetchall()
    work.rollback()
    return [Unknown(name, _LAKE, loads, count, example, reason or "") for name, loads, count, example, reason in rows]


def held_today(work: Connection) -> list[Held]:
    """Loads that the journal calls published and today's contract holds; those that were held then are none of them."""
    rows = work.execute(
        "SELECT e.dataset, count(DISTINCT e.load), (array_agg(e.load ORDER BY e.load))[1],"
        " (array_agg(l.reason ORDER BY e.load))[1] FROM rebuild.entry e JOIN ops.load l ON l.load_id = e.load"
        " WHERE e.was_published AND l.state = 'held' GROUP BY e.dataset ORDER BY e.dataset"
    ).fetchall()
    work.rollback()
    return [Held(name, loads, example, reason or "") for name, loads, example, reason in rows]


def number_held(work: Connection) -> int:
    """Loads that a critical check of today's contract holds, whenever they were replayed."""
    [(number,)] = work.execute("SELECT count(*) FROM ops.load WHERE state = 'held'").fetchall()
    work.rollback()
    return int(number)


def without_entries(work: Connection, raw: RawStore, vendors: Iterable[str]) -> list[str]:
    """Vendors of whom raw holds pages and the journal nothing at all."""
    known = {row[0] for row in work.execute("SELECT DISTINCT vendor FROM rebuild.entry").fetchall()}
    work.rollback()
    return [name for name in vendors if name not in known and any(pages for _, _, pages in raw.reads(name))]


def refusal(unknown: Sequence[Unknown], raw_url: str, skipped: Sequence[str] = ()) -> DataError:
    """The error that says what would be gone, and how to mend it."""
    why = f"; skipped: {' | '.join(skipped[:3])}{' …' if len(skipped) > 3 else ''}" if skipped else ""
    journal = "the journal does not know" if not skipped else "the journal does not know, or its entries cannot replay,"
    number = sum(item.loads for item in unknown)
    return DataError(
        f"{journal} {number} loads that the stores in use hold: their rows would be gone ({_named(unknown)})",
        where=f"for example load {unknown[0].example}; journal: {raw_url}/_journal{why}",
        remedy="check FLEETLAKE_RAW_URL, and restore what is missing below it from a backup; loads from before there was a"
        " journal must be read from the vendor again; or look at the result with --into, and give --accept-loss when they"
        " may go",
    )


def refusal_of_held(held: Sequence[Unknown]) -> DataError:
    """The error that says what today's contract would empty, by which check, and how to mend it."""
    tables = list(dict.fromkeys(item.dataset for item in held))
    return DataError(
        f"today's contract holds loads that the stores in use have published: their rows would be gone ({_named(held)})",
        where="; ".join(f"for example load {item.example}: {item.reason}" for item in held if item.reason)
        or f"for example load {held[0].example}",
        remedy=f"mend the contract of {', '.join(tables)} and start it again; or look at the result with --into, and give"
        " --accept-loss when these rows may go",
    )


def _named(unknown: Iterable[Unknown]) -> str:
    return "; ".join(f"{item.dataset}: {item.rows} rows of {item.loads} loads in the {item.store}" for item in unknown)
