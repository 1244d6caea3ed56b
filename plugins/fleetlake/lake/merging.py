"""The publishing rules of ``fleetlake.changes`` on Arrow tables, without a loop over rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetlake.changes import Change, Deletion
from fleetlake.contracts import Contract
from fleetlake.errors import ContractError


@dataclass(frozen=True)
class Merged:
    """Outcome of a merge.

    Attributes:
        kept: rows that were there and stay as they are.
        changed: rows that were there, as they are now.
        replaced: the rows of ``changed`` as they were.
        inserted: new rows.
        change: the numbers.
    """

    kept: pa.Table
    changed: pa.Table
    replaced: pa.Table
    inserted: pa.Table
    change: Change


def matches(keys: Sequence[str], existing: pa.Table, batch: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Row numbers of rows with the same key: in ``existing`` and in ``batch``, as two arrays of equal length."""
    if not existing.num_rows or not batch.num_rows:
        return pa.array([], pa.int64()), pa.array([], pa.int64())
    left = existing.select(keys).append_column("_old", _numbers(existing))
    right = batch.select(keys).append_column("_new", _numbers(batch))
    joined = left.join(right, keys=list(keys), join_type="inner").combine_chunks()
    return _whole(joined["_old"]), _whole(joined["_new"])


def merge(contract: Contract, existing: pa.Table, batch: pa.Table, load_id: str, deletions: Iterable[Deletion]) -> Merged:
    """Publish a batch into existing rows.

    Args:
        contract: the dataset.
        existing: every row that shares a key with the batch or may fall under a deletion, and any others; columns of
            ``Contract.all_columns``.
        batch: as ``changes.conform`` makes it.
        load_id: load of the batch.
        deletions: what complete answers no longer hold.
    """
    batch = batch.cast(existing.schema)  # nullability differs
    at_old, at_new = matches(contract.key, existing, batch)
    updated, is_changed = _updated(contract, existing.take(at_old), batch.take(at_new))
    rows_old = at_old.filter(is_changed)
    updated = updated.filter(is_changed)
    marked, rows_marked = _marked(contract, existing, at_old, load_id, deletions)
    is_touched = _mask(existing.num_rows, pa.concat_arrays([rows_old, rows_marked]))
    inserted = batch.filter(pc.invert(_mask(batch.num_rows, at_new)))
    return Merged(
        kept=existing.filter(pc.invert(is_touched)),
        changed=pa.concat_tables([updated, marked]),
        replaced=existing.filter(is_touched),
        inserted=inserted,
        change=Change(
            inserted=inserted.num_rows,
            updated=updated.num_rows,
            unchanged=batch.num_rows - inserted.num_rows - updated.num_rows,
            deleted=marked.num_rows,
        ),
    )


def _updated(contract: Contract, old: pa.Table, new: pa.Table) -> tuple[pa.Table, pa.Array]:
    """Rows with the same key, pair by pair: what they become, and whether that is a change."""
    # pyarrow's max_element_wise knows no timestamps
    gone_at = pc.coalesce(old["deleted_at"], old["fetched_at"])
    is_newer = pc.and_(pc.greater_equal(new["fetched_at"], old["fetched_at"]), pc.greater_equal(new["fetched_at"], gone_at))
    content = [column.name for column in contract.columns if not column.is_key]
    columns = {name: new[name] for name in new.column_names}
    if contract.merge == "coalesce":
        for name in content:
            first, second = pc.coalesce(new[name], old[name]), pc.coalesce(old[name], new[name])
            columns[name] = pc.if_else(is_newer, first, second)
        for name in ("deleted_at", "fetched_at", "raw_page", "raw_row"):
            columns[name] = pc.if_else(is_newer, new[name], old[name])
    is_changed = pa.chunked_array([pa.repeat(pa.scalar(False), old.num_rows)])
    for name in (*content, "deleted_at"):
        is_changed = pc.or_(is_changed, _differs(old[name], columns[name]))
    if contract.merge != "coalesce":
        is_changed = pc.and_(is_changed, is_newer)
    return pa.table(columns, schema=new.schema), _whole(is_changed)


def _marked(
    contract: Contract, existing: pa.Table, in_batch: pa.Array, load_id: str, deletions: Iterable[Deletion]
) -> tuple[pa.Table, pa.Array]:
    """Rows to mark deleted, as they become, and their numbers."""
    is_free = pc.and_(pc.invert(_mask(existing.num_rows, in_batch)), _whole(pc.is_null(existing["deleted_at"])))
    tables, numbers = [existing.slice(0, 0)], [pa.array([], pa.int64())]
    for deletion in deletions:
        condition = pc.and_(is_free, _whole(_falls_under(contract, existing, deletion)))
        if deletion.present is not None and deletion.present.num_rows:
            present = deletion.present.select(list(contract.key)).cast(existing.select(list(contract.key)).schema)
            condition = pc.and_(condition, pc.invert(_mask(existing.num_rows, matches(contract.key, existing, present)[0])))
        rows = existing.filter(condition)
        for name, value in (("deleted_at", deletion.at), ("load_id", load_id)):
            position = rows.schema.get_field_index(name)
            field = rows.schema.field(position)
            rows = rows.set_column(position, field, pa.repeat(pa.scalar(value, field.type), rows.num_rows))
        tables.append(rows)
        numbers.append(pc.indices_nonzero(condition).cast(pa.int64()))
        is_free = pc.and_(is_free, pc.invert(condition))
    return pa.concat_tables(tables), pa.concat_arrays(numbers)


def _falls_under(contract: Contract, rows: pa.Table, deletion: Deletion) -> pa.ChunkedArray:
    moment = rows.schema.field("deleted_at").type
    condition = pc.and_(
        pc.equal(rows["account"], deletion.account), pc.less_equal(rows["fetched_at"], pa.scalar(deletion.at, moment))
    )
    if deletion.scopes is not None:
        scope = rows[needed(contract.scope_column, "scopeColumn", contract)]
        scopes = pa.array([str(item) for item in deletion.scopes], pa.string()).cast(scope.type)
        condition = pc.and_(condition, pc.is_in(scope, scopes))
    if deletion.window is not None:
        time = rows[needed(contract.time_column, "timeColumn", contract)]
        start, end = pa.scalar(deletion.window.start, moment), pa.scalar(deletion.window.end, moment)
        condition = pc.and_(condition, pc.and_(pc.greater_equal(time, start), pc.less(time, end)))
    return condition


def needed(column: str | None, what: str, contract: Contract) -> str:
    """The column, or a ``ContractError`` that says what the contract lacks."""
    if column is None:
        raise ContractError(
            f"rows of {contract.table} cannot be marked deleted this way: it has no {what}", where=str(contract.path)
        )
    return column


def _differs(old: pa.ChunkedArray, new: pa.ChunkedArray) -> pa.ChunkedArray:
    """Like SQL's IS DISTINCT FROM: two nulls are alike, and so are two values that are no number."""
    both_null = pc.and_(pc.is_null(old), pc.is_null(new))
    same = pc.or_(pc.fill_null(pc.equal(old, new), fill_value=False), both_null)
    if pa.types.is_floating(old.type):
        is_nan = pc.fill_null(pc.and_(pc.is_nan(old), pc.is_nan(new)), fill_value=False)
        same = pc.or_(same, is_nan)
    return pc.invert(same)


def _numbers(table: pa.Table) -> pa.Array:
    return pa.array(np.arange(table.num_rows, dtype=np.int64))


def _mask(size: int, numbers: pa.Array) -> pa.Array:
    """Booleans: true at some row numbers."""
    mask = np.zeros(size, dtype=bool)
    mask[numbers.to_numpy(zero_copy_only=False)] = True
    return pa.array(mask)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """One array instead of chunks."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
