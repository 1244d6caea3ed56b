"""Compare what vendors count with what the warehouse holds, where an answer tells how many rows there are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from fleetlake.errors import DataError
from fleetlake.pipeline.batch import asked
from fleetlake.pipeline.decode import decode_rows
from fleetlake.pipeline.rooms import vendor_room
from fleetlake.reading import FLEET
from fleetlake.warehouse.ddl import identifier

if TYPE_CHECKING:
    from fleetlake.contracts import Contract
    from fleetlake.raw import RawStore
    from fleetlake.window import Window

Connection = psycopg.Connection[Any]

MOST_READS = 1_000
"""Answers compared, the newest first: each costs a look at its last page, and all its pages when rows were left out of it."""

_NEWEST = """
SELECT r.folder, r.account, r.scope, r.window_start, r.window_end, r.pages, l.rows_outside_window > 0
FROM ops.read r
JOIN ops.load l USING (load_id)
WHERE r.dataset = %(table)s AND r.is_complete AND r.account = coalesce(%(account)s, r.account)
    AND l.feed = r.feed AND l.state = 'published'
    AND (%(start)s::timestamptz IS NULL OR r.window_start IS NULL OR (r.window_start < %(end)s AND r.window_end > %(start)s))
    AND NOT EXISTS (
        SELECT FROM ops.read n
        WHERE n.dataset = r.dataset AND n.account = r.account AND n.scope IN (r.scope, %(fleet)s)
            AND n.published_at > r.published_at AND NOT n.is_held
            AND (n.window_start IS NULL OR (n.window_start < r.window_end AND n.window_end > r.window_start))
    )
ORDER BY r.published_at DESC
LIMIT %(most)s
"""


@dataclass(frozen=True)
class Count:
    """One answer whose rows the vendor counts.

    Attributes:
        folder: the read in the raw store.
        vendor: rows the vendor says there are; ``None`` when its answer cannot be read any more.
        here: rows in the warehouse that are not marked deleted, rows of the answer in quarantine that are not there in an older
            version, and rows of the answer that lie outside its window: they belong to other answers.
        unclear: rows of the answer in quarantine whose key cannot be read: nobody knows whether they are among ``here``.
        problem: why the answer cannot be read.
    """

    folder: str
    vendor: int | None
    here: int
    unclear: int = 0
    problem: str = ""

    @property
    def is_equal(self) -> bool:
        """Nothing is missing, nothing too much."""
        return self.vendor is not None and self.here <= self.vendor <= self.here + self.unclear


def counts(
    connection: Connection, raw: RawStore, contract: Contract, window: Window | None = None, account: str | None = None
) -> Iterator[Count]:
    """The newest complete answers about a table that tell their number of rows, beside the number of rows here.

    Answers that a newer reading of the same time has replaced are left out.

    Args:
        connection: to the warehouse.
        raw: where the answers are.
        contract: the table.
        window: only answers about a part of it.
        account: only this account's.

    An answer whose last page is missing or damaged is a wrong count: what the vendor said cannot be told any more.
    """
    values = {
        "table": contract.table,
        "account": account,
        "start": window.start if window else None,
        "end": window.end if window else None,
        "fleet": FLEET,
        "most": MOST_READS,
    }
    for folder, owner, scope, start, end, pages, has_outside in connection.execute(_NEWEST, values).fetchall():
        try:
            total = raw.meta(_page(folder, pages - 1)).total if pages else None
            if total is None or scope.startswith("batch-") or (scope != FLEET and contract.scope_column is None):
                continue
            outside = _outside(raw, contract, folder, pages, (start, end)) if has_outside else 0
        except DataError as error:
            yield Count(folder, None, 0, problem=str(error))
            continue
        conditions = [sql.SQL("account = {} AND deleted_at IS NULL").format(sql.Literal(owner))]
        if start is not None and contract.time_column:
            time = sql.Identifier(contract.time_column)
            conditions.append(sql.SQL("{0} >= {1} AND {0} < {2}").format(time, sql.Literal(start), sql.Literal(end)))
        if scope != FLEET:
            conditions.append(
                sql.SQL("{}::text = {}").format(sql.Identifier(str(contract.scope_column)), sql.Literal(scope))
            )
        rows = sql.SQL("FROM {} WHERE {}").format(identifier(contract.table), sql.SQL(" AND ").join(conditions))
        [(here,)] = connection.execute(sql.SQL("SELECT count(*) {}").format(rows))
        aside, unclear = _aside(connection, contract, folder, rows)
        yield Count(folder, total, here + aside + outside, unclear)


def _page(folder: str, number: int) -> str:
    return f"{folder}/{number:06d}.page"


def _outside(raw: RawStore, contract: Contract, folder: str, pages: int, window: tuple[Any, Any]) -> int:
    """Rows of an answer that lie outside its window: read as publishing reads them, each counted once."""
    room = vendor_room(contract.vendor)
    key = list(contract.key[1:])
    found = []
    for number in range(pages):
        page = raw.meta(_page(folder, number))
        if page.refusal or contract.time_column is None:
            continue
        rows = room.split(page.key.feed, contract.table, raw.body(page), asked(page))
        table = decode_rows(contract, rows, room.derivations.get(contract.table)).table
        time = table[contract.time_column]
        start, end = (pa.scalar(moment, time.type) for moment in window)
        found.append(table.filter(pc.or_(pc.less(time, start), pc.greater_equal(time, end))).select(key))
    return pa.concat_tables(found).group_by(key).aggregate([]).num_rows if found else 0


def _aside(connection: Connection, contract: Contract, folder: str, rows: sql.Composed) -> tuple[int, int]:
    """Rows of an answer in quarantine that are not among ``rows``, and those of which nobody can say.

    The row that an odd answer would have changed is still there as it was: it must not count twice.
    """
    asides = [
        json.dumps(row)
        for (row,) in connection.execute(
            "SELECT min(raw_row::text)::jsonb FROM ops.quarantine WHERE dataset = %s AND starts_with(raw_page, %s)"
            " AND (resolved_at IS NULL OR resolution = 'dropped') GROUP BY raw_page, raw_index",
            [contract.table, f"{folder}/"],
        ).fetchall()
    ]
    keys = _keys(contract, asides)
    condition = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in contract.key[1:])
    query = sql.SQL("SELECT EXISTS (SELECT {} AND {})").format(rows, condition)
    missing = [key for key in dict.fromkeys(keys) if connection.execute(query, list(key)).fetchone() == (False,)]
    return len(missing), len(asides) - len(keys)


def _keys(contract: Contract, rows: Sequence[str]) -> list[tuple[Any, ...]]:
    """Keys of rows as the vendor sent them; of rows whose key can be read, whatever else is wrong with them."""
    columns = tuple(column for column in contract.columns if column.is_key)
    if any(column.source is None for column in columns):
        return []
    decoded = decode_rows(replace(contract, columns=columns), [msgspec.Raw(row.encode()) for row in rows])
    keys = [tuple(row.values()) for row in decoded.table.to_pylist()]
    return [key for key in keys if None not in key]
