"""Make one lake's table hold what another's holds, in one commit, where it differs."""

from __future__ import annotations

import contextlib
import datetime as dt
import queue
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from pyarrow.parquet import ParquetFile

from fleetlake.contracts import Contract
from fleetlake.errors import StoreConflict
from fleetlake.lake.store import _WRITER, ATTEMPTS, DAY_COLUMN, Lake, _days, _nullable

Day = dt.date | None
"""A partition; ``None`` of a table that has none."""


@dataclass(frozen=True)
class Replaced:
    """What was replaced.

    Attributes:
        parts: days that differed; of a table without days 1 when it differed.
        of: days there are.
        rows: rows written.
    """

    parts: int
    of: int
    rows: int


def replace_with(lake: Lake, contract: Contract, source: Lake) -> Replaced:
    """Make a table hold the rows that it holds in another lake. What is equal day by day is not written.

    Memory holds one day of the table, twice.

    Args:
        lake: the lake to change.
        contract: the table.
        source: the lake that is right.

    Raises:
        ContractError: the table exists with a column of another type.
        StoreConflict: other writers were faster again and again.
        StoreUnavailable: the storage fails.
    """
    with lake._reported(contract), source._reported(contract):
        for attempt in range(ATTEMPTS):
            right = _table(source, contract)
            if right is None and _table(lake, contract) is None:
                return Replaced(0, 0, 0)
            table = lake._open(contract)
            try:
                return _replace_once(lake, contract, table, source, right)
            except CommitFailedError:
                time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 5)))  # noqa: S311
    raise StoreConflict("other writers were faster again and again", where=lake.uri(contract), remedy="run it again")


def loads_of(lake: Lake, contract: Contract) -> Iterator[tuple[str, int]]:
    """Loads that the rows of a table name, each with a number of rows; a load comes once for each file that holds it.

    Only the column ``load_id`` is read, file by file.

    Raises:
        StoreUnavailable: the storage fails.
    """
    with lake._reported(contract):
        table = _table(lake, contract)
        for fragment in lake._dataset(table).get_fragments() if table else ():
            counts: Counter[str] = Counter()
            with fragment.open() as source:
                for batch in ParquetFile(source).iter_batches(columns=["load_id"]):
                    for item in batch.column(0).value_counts():
                        counts[str(item["values"])] += item["counts"].as_py()
            yield from counts.items()


def remove(lake: Lake) -> None:
    """Remove a lake with all that is below its address. It is no error when it is not there."""
    if "://" not in lake.url or lake.url.startswith("file://"):
        shutil.rmtree(Path(lake.url.removeprefix("file://")), ignore_errors=True)
        return
    import fsspec

    filesystem, root = fsspec.core.url_to_fs(lake.url)
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm(root, recursive=True)


def _replace_once(lake: Lake, contract: Contract, table: DeltaTable, source: Lake, right: DeltaTable | None) -> Replaced:
    days = sorted({*_partitions(contract, table), *(_partitions(contract, right) if right else ())}, key=str)
    different = [
        day for day in days if not _is_same(contract, _rows(lake, contract, table, day), _rows(source, contract, right, day))
    ]
    if not different:
        return Replaced(0, len(days), 0)
    predicate = None
    if contract.time_column:
        predicate = f"{DAY_COLUMN} IN ({', '.join(repr(str(day)) for day in different)})"
    with _Ahead(_batches(source, contract, right, different)) as ahead:
        write_deltalake(
            table,
            pa.RecordBatchReader.from_batches(_schema(contract), ahead.batches()),
            mode="overwrite",
            predicate=predicate,
            writer_properties=_WRITER,
            commit_properties=CommitProperties(custom_metadata={"rebuilt": "true"}, max_commit_retries=0),
        )
    lake._sync(table)
    return Replaced(len(different), len(days), ahead.rows)


class _Ahead:
    """Batches read by a thread of their own, a few ahead: the library cannot read a table from within the writing of another."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.rows = 0
        self._source = batches
        self._queue: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(maxsize=4)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._read, name="fleetlake-lake-reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):  # it may wait for room
                self._queue.get(timeout=0.05)
        self._thread.join()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches, in order."""
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            self.rows += item.num_rows
            yield item

    def _read(self) -> None:
        try:
            for batch in self._source:
                if self._is_over.is_set():
                    return
                self._queue.put(batch)
            self._queue.put(None)
        except Exception as error:
            self._queue.put(error)


def _table(lake: Lake, contract: Contract) -> DeltaTable | None:
    try:
        return DeltaTable(lake.uri(contract), storage_options=lake._options)
    except TableNotFoundError:
        return None


def _partitions(contract: Contract, table: DeltaTable) -> list[Day]:
    if not contract.time_column:
        return [None]
    return [dt.date.fromisoformat(str(item[DAY_COLUMN])) for item in table.partitions()]


def _rows(lake: Lake, contract: Contract, table: DeltaTable | None, day: Day) -> pa.Table:
    if table is None:
        return _nullable(contract).empty_table()
    return lake._read(contract, lake._dataset(table), [] if day is None else [day])


def _is_same(contract: Contract, left: pa.Table, right: pa.Table) -> bool:
    if left.num_rows != right.num_rows:
        return False
    order: Any = [(name, "ascending") for name in contract.key]
    return bool(left.sort_by(order).equals(right.sort_by(order)))


def _schema(contract: Contract) -> pa.Schema:
    schema = _nullable(contract)
    return schema.append(pa.field(DAY_COLUMN, pa.date32())) if contract.time_column else schema


def _batches(lake: Lake, contract: Contract, table: DeltaTable | None, days: Sequence[Day]) -> Iterator[pa.RecordBatch]:
    for day in days:
        rows = _rows(lake, contract, table, day)
        if contract.time_column:
            rows = rows.append_column(DAY_COLUMN, _days(contract, rows))
        yield from rows.cast(_schema(contract)).to_batches()
