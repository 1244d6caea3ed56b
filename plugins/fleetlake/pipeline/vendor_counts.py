"""Compare what vendors count with what the warehouse holds, where an answer tells how many rows there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from fleetlake.errors import DataError
from fleetlake.reading import FLEET
from fleetlake.warehouse.ddl import identifier

if TYPE_CHECKING:
    from fleetlake.contracts import Contract
    from fleetlake.raw import RawStore
    from fleetlake.window import Window

Connection = psycopg.Connection[Any]

MOST_READS = 1_000
"""Answers compared, the newest first: each costs a look at its last page."""

_NEWEST = """
SELECT r.folder, r.account, r.scope, r.window_start, r.window_end, r.pages
FROM ops.read r
JOIN ops.load l USING (load_id)
WHERE r.dataset = %(table)s AND r.is_complete AND r.account = coalesce(%(account)s, r.account)
    AND l.feed = r.feed AND l.rows_outside_window = 0 AND l.state = 'published'
    AND (%(start)s::timestamptz IS NULL OR r.window_start IS NULL OR (r.window_start < %(end)s AND r.window_end > %(start)s))
    AND NOT EXISTS (
        SELECT FROM ops.read n
        WHERE n.dataset = r.dataset AND n.account = r.account AND n.scope IN (r.scope, %(fleet)s)
            AND n.published_at > r.published_at
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
        here: rows in the warehouse that are not marked deleted, and rows of the answer in quarantine.
        problem: why the answer cannot be read.
    """

    folder: str
    vendor: int | None
    here: int
    problem: str = ""

    @property
    def is_equal(self) -> bool:
        """Nothing is missing, nothing too much."""
        return self.vendor == self.here


def counts(
    connection: Connection, raw: RawStore, contract: Contract, window: Window | None = None, account: str | None = None
) -> Iterator[Count]:
    """The newest complete answers about a table that tell their number of rows, beside the number of rows here.

    Answers that a newer reading of the same time has replaced are left out, and so are those with rows outside their window.

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
    for folder, owner, scope, start, end, pages in connection.execute(_NEWEST, values).fetchall():
        try:
            total = raw.meta(f"{folder}/{pages - 1:06d}.page").total if pages else None
        except DataError as error:
            yield Count(folder, None, 0, str(error))
            continue
        if total is None or scope.startswith("batch-"):
            continue
        conditions = [sql.SQL("account = {} AND deleted_at IS NULL").format(sql.Literal(owner))]
        if start is not None and contract.time_column:
            time = sql.Identifier(contract.time_column)
            conditions.append(sql.SQL("{0} >= {1} AND {0} < {2}").format(time, sql.Literal(start), sql.Literal(end)))
        if scope != FLEET:
            if contract.scope_column is None:
                continue
            conditions.append(sql.SQL("{}::text = {}").format(sql.Identifier(contract.scope_column), sql.Literal(scope)))
        query = sql.SQL(
            "SELECT (SELECT count(*) FROM {} WHERE {}), (SELECT count(DISTINCT (raw_page, raw_index)) FROM ops.quarantine"
            " WHERE dataset = {} AND starts_with(raw_page, {}) AND (resolved_at IS NULL OR resolution = 'dropped'))"
        ).format(
            identifier(contract.table),
            sql.SQL(" AND ").join(conditions),
            sql.Literal(contract.table),
            sql.Literal(f"{folder}/"),
        )
        [(rows, aside)] = connection.execute(query)
        yield Count(folder, total, rows + aside)
