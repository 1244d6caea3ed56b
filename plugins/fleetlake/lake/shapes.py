"""Rows of the lake as callers want them: columns of the contract, Python values, conditions on time."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from fleetlake.contracts import Contract
from fleetlake.window import Window


def shaped(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with all columns of the schema, null where an older file has none."""
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def values(column: pa.Array, *, is_json: bool) -> list[Any]:
    """Python values of a column: JSON decoded, times in UTC."""
    if is_json:
        decode = msgspec.json.decode
        return [None if text is None else decode(text) for text in column.to_pylist()]
    if pa.types.is_timestamp(column.type):
        # By way of numpy: ten times faster than Arrow's own way, which asks the time zone about every value.
        naive = column.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False).astype(object)
        return [None if value is None else value.replace(tzinfo=dt.UTC) for value in naive]
    return list(column.to_pylist())


def within(contract: Contract, window: Window) -> Any:
    """Condition: the time column lies in the window."""
    time_column, moment = contract.time_column, pa.timestamp("us", tz="UTC")
    return (pc.field(time_column) >= pa.scalar(window.start, moment)) & (
        pc.field(time_column) < pa.scalar(window.end, moment)
    )
