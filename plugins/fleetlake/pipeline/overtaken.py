"""Batches that are published after newer answers about the same: what they may still say.

A worker sleeps, is killed and tried again, or a batch is held for a week: when its answer is published, others that were
fetched later are published already. Where such an answer was believed, the older one adds no row and changes none: what it
holds beside the newer one was gone when that was fetched. Nowhere does it mark a row deleted.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetlake.pipeline.extract import first_of
from fleetlake.reading import Kind
from fleetlake.warehouse.overtaken import Asked, Newer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fleetlake.pipeline.batch import Batch
    from fleetlake.window import Window


def asked_of(batch: Batch) -> list[Asked]:
    """The reads of a batch whose place newer answers can take; streams, and tables that are never replaced, have none."""
    contract = batch.contract
    if contract.kind is Kind.REVISION or contract.merge != "replace":
        return []
    return [
        Asked(part.result.read.key.folder, vehicle, part.result.read.window, part.result.pages[0].fetched_at)
        for part in batch.parts
        if part.result.pages and not part.result.read.is_again
        for vehicle in part.result.read.all_scopes
    ]


def covered(batch: Batch, table: pa.Table, newer: Sequence[Newer]) -> NDArray[np.bool_]:
    """Which rows of a batch lie in the vehicles' times that newer answers tell of and that were believed.

    Args:
        batch: the batch.
        table: some of its rows, columns as ``Contract.all_columns``.
        newer: newer answers.
    """
    found = np.zeros(table.num_rows, np.bool_)
    believed: dict[tuple[str, str], list[Newer]] = defaultdict(list)
    for item in newer:
        if item.is_believed:
            believed[item.folder, item.vehicle].append(item)
    if not believed or not table.num_rows:
        return found
    contract = batch.contract
    windows = {part.result.read.key.folder: part.result.read.window for part in batch.parts}
    folders = np.array(_folders(batch, table["raw_page"]), object)
    fetched = table["fetched_at"]
    for (folder, vehicle), items in believed.items():
        own = pa.array(folders == folder)
        if contract.scope_column and any(part.result.read.scopes for part in batch.parts):
            own = pc.and_(own, pc.fill_null(pc.equal(pc.cast(table[contract.scope_column], pa.string()), vehicle), False))
        for item in items:
            rows = pc.and_(own, pc.less(fetched, pa.scalar(item.at, fetched.type)))
            if item.window is not None and not _is_within(windows[folder], item.window):
                if contract.time_column is None:
                    continue  # of a part of the window nobody knows which rows are in it
                time = table[contract.time_column]
                start, end = (pa.scalar(moment, time.type) for moment in (item.window.start, item.window.end))
                rows = pc.and_(rows, pc.fill_null(pc.and_(pc.greater_equal(time, start), pc.less(time, end)), False))
            found |= pa.chunked_array(rows).to_numpy() if isinstance(rows, pa.Array) else rows.to_numpy()
    return found


def fully_covered(batch: Batch, newer: Sequence[Newer]) -> set[str]:
    """Folders of reads, second readings included, all of whose vehicles and times believed newer answers tell of."""
    by_folder: dict[str, dict[str, list[Window | None]]] = defaultdict(lambda: defaultdict(list))
    for item in newer:
        if item.is_believed:
            by_folder[item.folder][item.vehicle].append(item.window)
    reads = {part.result.read.key.folder: part.result.read for part in batch.parts}
    full = {
        folder
        for folder, vehicles in by_folder.items()
        if all(not left(reads[folder].window, vehicles.get(name)) for name in reads[folder].all_scopes)
    }
    return {folder for folder in reads if first_of(folder) in full}


def without(table: pa.Table, left_out: Mapping[str, Sequence[int]]) -> pa.Table:
    """Rows without those that stand at some places: numbers of rows, by page."""
    if not left_out:
        return table
    pages, rows = table["raw_page"].to_pylist(), table["raw_row"].to_pylist()
    gone = {(page, row) for page, numbers in left_out.items() for row in numbers}
    return table.filter(pa.array([place not in gone for place in zip(pages, rows, strict=True)], pa.bool_()))


def left(window: Window | None, newer: Iterable[Window | None] | None) -> list[Window | None]:
    """The parts of a window that newer answers do not tell of; without a window all of it or nothing."""
    taken = list(newer) if newer is not None else []
    if not taken:
        return [window]
    if window is None:
        return []
    parts = [window]
    for gone in taken:
        if gone is not None:
            parts = [piece for part in parts for piece in _without(part, gone)]
    return list(parts)


def windows_of(newer: Iterable[Newer]) -> Mapping[tuple[str, str], list[Window | None]]:
    """Windows of newer answers by the older read's folder and the vehicle."""
    found: dict[tuple[str, str], list[Window | None]] = defaultdict(list)
    for item in newer:
        found[item.folder, item.vehicle].append(item.window)
    return found


def _without(part: Window, gone: Window) -> list[Window]:
    if gone.end <= part.start or gone.start >= part.end:
        return [part]
    ends: list[tuple[dt.datetime, dt.datetime]] = [(part.start, gone.start), (gone.end, part.end)]
    return [type(part)(start, end) for start, end in ends if start < end]


def _is_within(window: Window | None, other: Window) -> bool:
    return window is not None and other.start <= window.start and window.end <= other.end


def _folders(batch: Batch, pages: pa.ChunkedArray) -> list[str]:
    """The first reading's folder of each row, by its page."""
    folder_of = {page.path: first_of(page.key.folder) for page in batch.pages}
    return [folder_of[path] for path in pages.to_pylist()]
