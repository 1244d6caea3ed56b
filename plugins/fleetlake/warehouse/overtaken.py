"""Newer answers: reads about the same vehicles and times that were fetched later and are published already."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleetlake.window import Window

if TYPE_CHECKING:
    import psycopg

_NEWER = """
WITH older AS (
    SELECT * FROM unnest(%(folders)s::text[], %(vehicles)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[],
        %(at)s::timestamptz[]) AS o (folder, vehicle, start_at, end_at, at)
), newer AS (
    SELECT r.folder, v.vehicle, r.window_start, r.window_end, r.fetched_at, r.is_believed
    FROM ops.read r, LATERAL unnest(coalesce(r.vehicles, ARRAY[r.scope])) AS v (vehicle)
    WHERE r.account = %(account)s AND r.feed = %(feed)s AND r.dataset = %(dataset)s AND r.is_complete
        AND NOT r.is_held
        AND r.fetched_at > %(since)s
)
SELECT DISTINCT o.folder, o.vehicle, n.window_start, n.window_end, n.fetched_at, n.is_believed
FROM older o JOIN newer n ON n.vehicle = o.vehicle AND n.fetched_at > o.at AND n.folder <> o.folder
    AND CASE WHEN o.start_at IS NULL THEN n.window_start IS NULL
        ELSE n.window_start < o.end_at AND n.window_end > o.start_at END
ORDER BY 1, 2, 3, 4, 5, 6
"""


@dataclass(frozen=True)
class Asked:
    """A read, by its folder, about one of its vehicles: its window, and when its first page was fetched."""

    folder: str
    vehicle: str
    window: Window | None
    at: dt.datetime


@dataclass(frozen=True)
class Newer:
    """What a newer answer tells about an older read.

    Attributes:
        folder: folder of the older read.
        vehicle: which of its vehicles the newer answer is about too.
        window: the window of the newer answer; ``None`` = it has none.
        at: when the newer answer's first page was fetched.
        is_believed: it was whole and not doubted: what it lacks was not there at that time.
    """

    folder: str
    vehicle: str
    window: Window | None
    at: dt.datetime
    is_believed: bool

    def to_json(self) -> list[Any]:
        """Plain JSON, for the journal."""
        window = [self.window.start.isoformat(), self.window.end.isoformat()] if self.window else None
        return [self.folder, self.vehicle, window, self.at.isoformat(), self.is_believed]

    @classmethod
    def from_json(cls, data: list[Any]) -> Newer:
        """Read what ``to_json`` gave."""
        folder, vehicle, window, at, is_believed = data
        return cls(folder, vehicle, Window.parse(*window) if window else None, dt.datetime.fromisoformat(at), is_believed)


def newer(connection: psycopg.Connection[Any], account: str, feed: str, dataset: str, reads: Iterable[Asked]) -> list[Newer]:
    """Published answers that are newer than some reads, about the same vehicles and a part of the same window."""
    asked = list(reads)
    if not asked:
        return []
    values = {
        "account": account,
        "feed": feed,
        "dataset": dataset,
        "folders": [item.folder for item in asked],
        "vehicles": [item.vehicle for item in asked],
        "starts": [item.window.start if item.window else None for item in asked],
        "ends": [item.window.end if item.window else None for item in asked],
        "at": [item.at for item in asked],
        "since": min(item.at for item in asked),
    }
    return [
        Newer(folder, vehicle, Window(start, end) if start else None, at, is_believed)
        for folder, vehicle, start, end, at, is_believed in connection.execute(_NEWER, values)
    ]
