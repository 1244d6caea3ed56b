"""Prove that lake and warehouse hold the same rows, or name the rows and cells that differ.

Both stores are read once, as they were at one moment, and folded into a tree of digests: table → UTC day → bucket of keys →
row. Equal trees prove equal tables. Where they differ, only those days are read again: first for the digests of the
differing buckets' rows, which tell which keys differ, then for the cells of the first of these keys. Memory holds the tree
and one group of differing rows, however large the tables are. All columns count but ``loaded_at``, which the lake has not.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fleetlake.pipeline.cells import days, digests
from fleetlake.window import DAY, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fleetlake.contracts import Column, Contract
    from fleetlake.lake import Lake
    from fleetlake.warehouse import Warehouse

BUCKETS = 256
"""Leaves per day."""

LOOKED_INTO = 1_000_000
"""Rows of differing buckets that are compared one by one; of more, the rest is only counted as buckets."""

MASK = "***"
"""Shown instead of personal data."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MOST_WINDOWS = 40

Scan = Callable[[Window | None], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Difference:
    """One row that is not the same in both stores.

    Attributes:
        kind: ``differs``, ``only in warehouse``, ``only in lake`` or ``twice in lake``.
        key: key columns and their values.
        cells: of a row that differs, the columns concerned, each with the warehouse's and the lake's value.
    """

    kind: str
    key: dict[str, Any]
    cells: dict[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass
class TableReport:
    """How a table compares.

    Attributes:
        table: its name.
        warehouse_rows, lake_rows: rows read, those marked deleted included.
        warehouse_digest, lake_digest: roots of the two trees; equal exactly when the rows are.
        days: UTC days that differ; empty for tables without a time.
        only_in_warehouse, only_in_lake, differing, twice_in_lake: rows, counted among those looked into.
        unlooked_buckets: differing buckets that were not looked into, because there are too many rows in them.
        differences: the first of them, by name.
        seconds: how long it took.
    """

    table: str
    warehouse_rows: int = 0
    lake_rows: int = 0
    warehouse_digest: str = ""
    lake_digest: str = ""
    days: list[dt.date] = field(default_factory=list)
    only_in_warehouse: int = 0
    only_in_lake: int = 0
    differing: int = 0
    twice_in_lake: int = 0
    unlooked_buckets: int = 0
    differences: list[Difference] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_equal(self) -> bool:
        """Lake and warehouse hold the same rows."""
        return self.warehouse_rows == self.lake_rows and self.warehouse_digest == self.lake_digest


def verify(
    warehouse: Warehouse,
    lake: Lake,
    contract: Contract,
    *,
    window: Window | None = None,
    account: str | None = None,
    shown: int = 20,
    on_rows: Callable[[int], None] | None = None,
) -> TableReport:
    """Compare one table in both stores.

    Args:
        warehouse: rows as SQL sees them.
        lake: rows as everything else sees them.
        contract: the table.
        window: only rows whose time column lies in it; ignored for tables without one.
        account: only this account's.
        shown: differing rows to name.
        on_rows: told how many rows were read, as reading goes on.

    Raises:
        DataError: a store holds a value that cannot be read.
        StoreUnavailable, StoreConflict: a store cannot be reached, or a publisher holds the table.
    """
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        # A publisher commits to the lake first: the two are alike only while none is at work. So the moment to compare is
        # chosen with the publishers' lock held, and the reading goes on without it.
        with warehouse.between_publications(contract):
            snapshot = stack.enter_context(warehouse.snapshot())
            version = lake.version(contract)

        def of_warehouse(part: Window | None) -> Iterator[pa.RecordBatch]:
            return snapshot.scan(contract, part, account)

        def of_lake(part: Window | None) -> Iterator[pa.RecordBatch]:
            return iter(()) if version is None else iter(lake.scan(contract, part, account, version))

        report = _Comparison(contract, of_warehouse, of_lake, window, on_rows).report(shown)
    report.seconds = time.monotonic() - begun
    return report


class _Comparison:
    def __init__(
        self,
        contract: Contract,
        of_warehouse: Scan,
        of_lake: Scan,
        window: Window | None,
        on_rows: Callable[[int], None] | None,
    ) -> None:
        self._contract = contract
        self._scans = (of_warehouse, of_lake)
        self._window = window
        self._on_rows = on_rows or (lambda _: None)
        self._key = [contract.column(name) for name in contract.key]

    def report(self, shown: int) -> TableReport:
        with ThreadPoolExecutor(2) as pool:  # one reader per store
            warehouse, lake = pool.map(self._tree, self._scans)
        report = TableReport(self._contract.table, warehouse.rows, lake.rows, warehouse.root, lake.root)
        differing = warehouse.differing(lake)
        if differing:
            if self._contract.time_column:
                report.days = [(_EPOCH + day * DAY).date() for day in differing if _is_a_day(day)]
            self._look_into(differing, report, shown)
        return report

    def _tree(self, scan: Scan) -> Tree:
        tree = Tree()
        for batch in scan(self._window):
            keys = digests(batch, self._key)
            rows = digests(batch, self._contract.all_columns)
            tree.add(days(batch, self._contract.time_column), _buckets(keys), rows)
            self._on_rows(batch.num_rows)
        return tree

    def _look_into(self, differing: Mapping[int, NDArray[np.uint64]], report: TableReport, shown: int) -> None:
        """Compare the rows of differing buckets one by one."""
        leaves, report.unlooked_buckets = _chosen(differing)
        windows = self._windows(list(differing))
        (keys, rows, at), (lake_keys, lake_rows, lake_at) = (self._rows(scan, windows, leaves) for scan in self._scans)
        lake_unique, first, counts = np.unique(lake_keys, return_index=True, return_counts=True)
        twice = lake_unique[counts > 1]
        common, left, right = np.intersect1d(keys, lake_unique, assume_unique=True, return_indices=True)
        differs = common[(rows[left] != lake_rows[first[right]]) & ~np.isin(common, twice)]
        groups = {
            "differs": differs,
            "only in warehouse": np.setdiff1d(keys, lake_unique, assume_unique=True),
            "only in lake": np.setdiff1d(lake_unique, keys, assume_unique=True),
            "twice in lake": twice,
        }
        report.differing, report.only_in_warehouse, report.only_in_lake, report.twice_in_lake = map(len, groups.values())
        named = {int(key): kind for kind, found in groups.items() for key in found[:shown]}
        wanted = np.array(sorted(named), np.uint64)
        around = {int(day) for days_, found in ((at, keys), (lake_at, lake_keys)) for day in days_[np.isin(found, wanted)]}
        windows = self._windows(sorted(around))
        of_warehouse, of_lake = (self._named(scan, windows, wanted) for scan in self._scans)
        for key in sorted(named, key=lambda key: (list(groups).index(named[key]), key)):
            report.differences.append(self._difference(named[key], of_warehouse.get(key), of_lake.get(key)))

    def _rows(
        self, scan: Scan, windows: Sequence[Window | None], leaves: Mapping[int, NDArray[np.bool_]]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
        """Digest of key, digest of row and day of every row in some buckets."""
        names = np.array(sorted(leaves), np.int64)
        masks = np.stack([leaves[int(day)] for day in names])
        empty = np.zeros(0, np.uint64)
        keys, rows, at = [empty], [empty], [np.zeros(0, np.int64)]
        for part in windows:
            for batch in scan(part):
                row_days = days(batch, self._contract.time_column)
                found = digests(batch, self._key)
                places = np.minimum(np.searchsorted(names, row_days), len(names) - 1)
                keep = (names[places] == row_days) & masks[places, _buckets(found)]
                if keep.any():
                    kept = batch.filter(pa.array(keep))
                    keys.append(found[keep])
                    rows.append(digests(kept, self._contract.all_columns))
                    at.append(row_days[keep])
        return np.concatenate(keys), np.concatenate(rows), np.concatenate(at)

    def _named(self, scan: Scan, windows: Sequence[Window | None], wanted: NDArray[np.uint64]) -> dict[int, pa.RecordBatch]:
        """The rows with some keys, by the key's digest."""
        found: dict[int, pa.RecordBatch] = {}
        for part in windows:
            for batch in scan(part):
                keys = digests(batch, self._key)
                for place in np.flatnonzero(np.isin(keys, wanted)):
                    found[int(keys[place])] = batch.slice(int(place), 1)
        return found

    def _difference(self, kind: str, row: pa.RecordBatch | None, lake_row: pa.RecordBatch | None) -> Difference:
        known = row if row is not None else lake_row
        if known is None:
            raise AssertionError("a row that was counted a moment ago is in neither snapshot")
        key = {column.name: _shown(known, column) for column in self._key}
        cells = {}
        if row is not None and lake_row is not None:
            for column in self._contract.all_columns:
                if digests(row, [column])[0] != digests(lake_row, [column])[0]:
                    cells[column.name] = _shown(row, column), _shown(lake_row, column)
        return Difference(kind, key, cells)

    def _windows(self, found: Sequence[int]) -> list[Window | None]:
        """Windows that hold some days and as little else as is practical."""
        if not self._contract.time_column or not all(map(_is_a_day, found)):
            return [self._window]
        parts: list[Window] = []
        for day in found:
            start = _EPOCH + day * DAY
            if parts and parts[-1].end == start:
                parts[-1] = Window(parts[-1].start, start + DAY)
            else:
                parts.append(Window(start, start + DAY))
        if len(parts) > _MOST_WINDOWS:
            parts = [Window(parts[0].start, parts[-1].end)]
        if self._window is None:
            return list(parts)
        limits = self._window
        return [Window(max(part.start, limits.start), min(part.end, limits.end)) for part in parts]


class Tree:
    """Rows and sum of their digests, by UTC day and bucket of keys."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._counts: NDArray[np.uint64] = np.zeros((0, BUCKETS), np.uint64)
        self._sums: NDArray[np.uint64] = np.zeros((0, BUCKETS), np.uint64)

    def add(self, row_days: NDArray[np.int64], buckets: NDArray[np.int64], rows: NDArray[np.uint64]) -> None:
        """Fold rows in: the day, the bucket and the digest of each."""
        names, numbers = np.unique(row_days, return_inverse=True)
        places = np.array([self._places.setdefault(int(day), len(self._places)) for day in names], np.int64)
        more = np.zeros((len(self._places) - len(self._counts), BUCKETS), np.uint64)
        if len(more):
            self._counts, self._sums = np.concatenate([self._counts, more]), np.concatenate([self._sums, more])
        leaves = places[numbers] * BUCKETS + buckets
        np.add.at(self._counts.reshape(-1), leaves, np.uint64(1))
        np.add.at(self._sums.reshape(-1), leaves, rows)

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self._counts.sum())

    @property
    def root(self) -> str:
        """Digest of the whole tree: of the days in order, each with its leaves."""
        whole = hashlib.sha256()
        for day in sorted(self._places):
            counts, sums = self.leaves(day)
            whole.update(day.to_bytes(8, "big", signed=True) + counts.tobytes() + sums.tobytes())
        return whole.hexdigest()[:32]

    def leaves(self, day: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Rows and sums of a day, by bucket."""
        if day not in self._places:
            return np.zeros(BUCKETS, np.uint64), np.zeros(BUCKETS, np.uint64)
        place = self._places[day]
        return self._counts[place], self._sums[place]

    def differing(self, other: Tree) -> dict[int, NDArray[np.uint64]]:
        """Days that differ: of each bucket that does, its rows where there are more of them, at least 1; else 0."""
        found = {}
        for day in sorted({*self._places, *other._places}):
            (counts, sums), (other_counts, other_sums) = self.leaves(day), other.leaves(day)
            differs = (counts != other_counts) | (sums != other_sums)
            if differs.any():
                found[day] = np.where(differs, np.maximum(counts, other_counts), np.uint64(0))
        return found


def _chosen(differing: Mapping[int, NDArray[np.uint64]]) -> tuple[dict[int, NDArray[np.bool_]], int]:
    """Which leaves to look into, and how many are left out.

    A bucket is taken for all days at once: a row whose time differs is in one bucket of two days.
    """
    table = np.stack(list(differing.values()))
    total = np.cumsum(table.sum(axis=0))
    taken = total <= LOOKED_INTO
    taken[: int(np.flatnonzero(table.any(axis=0))[0]) + 1] = True  # at least one bucket
    masks = {day: (rows > 0) & taken for day, rows in differing.items()}
    return masks, int((table[:, ~taken] > 0).sum())


def _buckets(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (keys % np.uint64(BUCKETS)).astype(np.int64)


def _is_a_day(number: int) -> bool:
    return -700_000 < number < 2_900_000  # Python's years 1 to 9999


def _shown(row: pa.RecordBatch, column: Column) -> Any:
    value = row.column(column.name)[0].as_py()
    return MASK if column.is_personal and value is not None else value
