"""Arrow to pandas without changing a value: integers with nulls stay integers, times stay UTC microseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from fleetlake.contracts import TableCheck

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

DTYPES: Mapping[str, tuple[str, ...]] = {
    # type in the contract -> pandas types that ``to_frame`` makes of its Arrow type
    "text": ("str",),
    "bigint": ("int64", "Int64"),
    "integer": ("int32", "Int32"),
    "double precision": ("float64",),
    "boolean": ("bool", "boolean"),
    "timestamptz": ("datetime64[us, UTC]",),
    "date": ("date32[day][pyarrow]",),
    "jsonb": ("str",),
}

NOT_FINITE = "(not finite)"
"""Extra column: name of the first column of the row whose number is NaN or infinite, else null."""


def unknown(name: str) -> str:
    """Extra column of a column with a reference: its values that do not exist in the other table, else null."""
    return f"{name} (unknown)"


def off(check: TableCheck) -> str:
    """Extra column of an identity: how far its row is off where that is too far, else null."""
    return f"({check.title})"


def with_findings(batch: pa.Table, unknown_values: Mapping[str, Set[Any]], checks: Sequence[TableCheck] = ()) -> pa.Table:
    """The batch with ``NOT_FINITE``, ``unknown`` and ``off`` columns, which Great Expectations wants to see empty.

    Null and NaN are one value in a pandas float column, so NaN is found here. Unknown references are found here because
    Great Expectations copies a set of values some eighty times, and the set can have thousands.

    Args:
        batch: the batch.
        unknown_values: by column, those of its values that the other table does not have.
        checks: the contract's; of them the identities whose columns are there as numbers.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.chunked_array([pa.nulls(batch.num_rows, pa.string())])
    for name, column in reversed(list(zip(batch.column_names, batch.columns, strict=True))):
        if pa.types.is_floating(column.type):
            bad = pc.fill_null(pc.invert(pc.is_finite(column)), False)
            if pc.any(bad).as_py():
                found = pc.if_else(bad, pa.scalar(name), found)
    batch = batch.append_column(NOT_FINITE, found)
    for name, values in unknown_values.items():
        column = batch.column(name)
        wrong = pc.is_in(column, value_set=pa.array(list(values), column.type))
        batch = batch.append_column(unknown(name), pc.if_else(wrong, column, pa.scalar(None, column.type)))
    numbers = {item.name for item in batch.schema if pa.types.is_integer(item.type) or pa.types.is_floating(item.type)}
    for check in checks:
        # Where one is not there the check of types holds the batch.
        if check.equation is not None and check.equation.columns <= numbers:
            difference = check.equation.differences(batch)
            is_off = pc.greater(pc.abs(difference), check.limit)
            batch = batch.append_column(off(check), pc.if_else(is_off, difference, pa.scalar(None, pa.float64())))
    return batch


def to_frame(batch: pa.Table, columns: Sequence[str], first_row: int = 0) -> pd.DataFrame:
    """A frame of those ``columns`` that the batch has.

    Args:
        batch: rows in contract types; other types are kept as they come, for the type check to find.
        columns: names to take.
        first_row: index value of the first row.
    """
    import pandas as pd

    frame = pd.DataFrame({name: _series(batch.column(name)) for name in columns if name in batch.column_names})
    frame.index = pd.RangeIndex(first_row, first_row + batch.num_rows)
    return frame


def _series(column: pa.ChunkedArray) -> pd.Series:
    import pandas as pd
    import pyarrow as pa

    mapping: dict[pa.DataType, object] = {
        pa.date32(): pd.ArrowDtype(pa.date32()),
        pa.string(): pd.StringDtype(na_value=float("nan")),
    }
    if column.null_count:
        mapping |= {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
    series: pd.Series = column.to_pandas(types_mapper=mapping.get)
    return series
