"""Arrow to pandas without changing a value: integers with nulls stay integers, times stay UTC microseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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

NOT_FINITE = "not_finite"
"""Extra column of a frame: name of the first column of the row whose number is NaN or infinite, else null."""


def to_frame(batch: pa.Table, columns: Sequence[str], first_row: int = 0) -> pd.DataFrame:
    """A frame of those ``columns`` that the batch has, plus ``NOT_FINITE`` about all its columns.

    Null and NaN are one value in a pandas float column. They are told apart by ``NOT_FINITE``, which is null for null.

    Args:
        batch: rows in contract types; other types are kept as they come, for the type check to find.
        columns: names to take.
        first_row: index value of the first row.
    """
    import pandas as pd

    taken = [name for name in columns if name in batch.column_names]
    series = {name: _series(batch.column(name)) for name in taken}
    series[NOT_FINITE] = _series(_not_finite(batch))
    frame = pd.DataFrame(series)
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


def _not_finite(batch: pa.Table) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.chunked_array([pa.nulls(batch.num_rows, pa.string())])
    for name, column in reversed(list(zip(batch.column_names, batch.columns, strict=True))):
        if pa.types.is_floating(column.type):
            bad = pc.fill_null(pc.invert(pc.is_finite(column)), False)
            if pc.any(bad).as_py():
                found = pc.if_else(bad, pa.scalar(name), found)
    return found
