"""What lake and warehouse agree on: the shape of a batch, what publishing it removes, and what it changed.

Both stores publish by the same rules, so that their rows stay equal:

* A row of the batch with a new key is inserted.
* A row whose content differs replaces the row that is there (``merge: coalesce``: but null replaces nothing), if it was
  fetched no earlier than that row, and no earlier than its deletion. So an older batch, published again or late, changes
  nothing (``coalesce``: it only fills what is null).
* A row with the same content leaves the row that is there as it is, provenance included.
* A ``Deletion`` marks rows that the batch lacks; a marked row that comes back is not marked any more.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetlake.errors import DataError
from fleetlake.window import Window

if TYPE_CHECKING:
    import pyarrow as pa

    from fleetlake.contracts import Contract


@dataclass(frozen=True)
class Change:
    """What publishing a batch did, in rows.

    Attributes:
        inserted: rows with a new key.
        updated: rows whose content changed.
        unchanged: rows of the batch that were there already, alike or newer.
        deleted: rows marked deleted.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0

    def __add__(self, other: Change) -> Change:
        return Change(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.deleted + other.deleted,
        )

    def __str__(self) -> str:
        return f"{self.inserted} inserted, {self.updated} updated, {self.unchanged} unchanged, {self.deleted} marked deleted"


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """Rows a complete answer of the vendor no longer holds: all rows of some scopes and a window that the batch lacks.

    Only for answers that are proven whole.

    Attributes:
        account: account the answer is about.
        scopes: scopes the answer is about; ``None`` = all of the account.
        window: window of the contract's time column the answer is about; ``None`` = all time.
        at: becomes ``deleted_at``: when the reading of that answer began (``fetched_at`` of its first page). Rows that
            were read later stay.
        present: keys (columns ``Contract.key``) of rows that the answer holds but the batch does not, because they are in
            quarantine: the vendor still has them, so they are not marked.
    """

    account: str
    scopes: Sequence[str] | None = None
    window: Window | None = None
    at: dt.datetime
    present: pa.Table | None = None


def conform(contract: Contract, batch: pa.Table, load_id: str) -> pa.Table:
    """A batch as both stores take it: columns and types of ``Contract.arrow_schema``, one row per key, one load id.

    Of several rows with one key, the one fetched last stays; of those, the last of the last page.

    Raises:
        DataError: a column is missing or has another type, or a required value is null.
    """
    import pyarrow as pa

    schema = contract.arrow_schema
    where = contract.table
    columns = []
    for field in schema:
        if field.name == "load_id":
            columns.append(pa.chunked_array([pa.repeat(pa.scalar(load_id, field.type), batch.num_rows)]))
            continue
        if field.name not in batch.column_names:
            raise DataError(f"the batch has no column {field.name!r}", where=where)
        column = batch[field.name]
        if not field.nullable and column.null_count:
            raise DataError(
                f"{column.null_count} rows have no {field.name!r}, which is required",
                where=where,
                remedy="such rows belong in quarantine",
            )
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowException as error:
            raise DataError(f"column {field.name!r} is {column.type}, not {field.type}: {error}", where=where) from None
        if _holds_nul(columns[-1], is_json=contract.column(field.name).type == "jsonb"):
            raise DataError(
                f"a value of column {field.name!r} holds the character NUL, which PostgreSQL cannot store",
                where=where,
                remedy="such rows belong in quarantine",
            )
    table = pa.table(columns, schema=schema)
    keys = list(contract.key)
    if table.group_by(keys).aggregate([]).num_rows < table.num_rows:
        table = table.sort_by([(name, "ascending") for name in ("fetched_at", "raw_page", "raw_row")])
        numbered = table.select(keys).append_column("number", pa.array(range(table.num_rows), pa.int64()))
        last = numbered.group_by(keys).aggregate([("number", "max")])["number_max"]
        table = table.take(last)
    return table.combine_chunks()


def _holds_nul(column: pa.ChunkedArray, *, is_json: bool) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type):
        return False
    if not is_json:
        return bool(pc.any(pc.match_substring(column, "\x00")).as_py())
    if not pc.any(pc.match_substring(column, "\\u0000")).as_py():
        return False
    # An escaped backslash before "u0000" is no NUL.
    return bool(pc.any(pc.match_substring_regex(column, r"(^|[^\\])(\\\\)*\\u0000")).as_py())
