"""How far the runs of a backfill have come, and what they changed: by what they left in the warehouse."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetlake.pipeline.plan import Plan
    from fleetlake.warehouse import Warehouse

_DONE = """
SELECT feed, CASE WHEN sum(reads) = 0 THEN count(DISTINCT run_id) ELSE sum(reads_done) END
FROM ops.usage WHERE account = %s AND dag_id = %s AND run_id = ANY(%s) GROUP BY feed
"""
_CHANGES = """
SELECT dataset, date(window_start AT TIME ZONE 'UTC'), sum(rows_inserted), sum(rows_updated), sum(rows_deleted),
    sum(rows_unchanged)
FROM ops.load
WHERE account = %s AND dag_id = %s AND run_id = ANY(%s) AND dataset = ANY(%s) AND state = 'published'
GROUP BY 1, 2
HAVING sum(rows_inserted) + sum(rows_updated) + sum(rows_deleted) > 0
ORDER BY 1, 2
"""
_RESTATED = """
SELECT count(*) FROM ops.restatement r
WHERE r.restated_at >= %s AND EXISTS (SELECT FROM fleet.vehicle_day LIMIT 1)
"""


@dataclass(frozen=True)
class DayChange:
    """What a day's load changed in a table.

    Attributes:
        table: the table.
        day: the day of the run.
        new, changed, deleted, same: rows.
    """

    table: str
    day: dt.date
    new: int
    changed: int
    deleted: int
    same: int


def work_of(plan: Plan) -> float:
    """All of a plan's work, in the units of ``done_of``."""
    return sum(part.price.seconds for part in plan.feeds if part.reads)


def done_of(warehouse: Warehouse, plan: Plan, run_ids: Sequence[str]) -> float:
    """The part of a plan's work that its runs have done: every read that came to its end counts what it was priced."""
    with warehouse.session() as connection:
        rows = connection.execute(_DONE, [plan.account.name, plan.dag_id, list(run_ids)])
        reads = {feed: float(done) for feed, done in rows}
    return sum(min(reads.get(part.feed, 0.0), part.reads) * part.seconds_per_read for part in plan.feeds)


def changes_of(warehouse: Warehouse, plan: Plan, run_ids: Sequence[str]) -> list[DayChange]:
    """What the runs of a backfill changed, by table and day; days that came as they were are left out."""
    with warehouse.session() as connection:
        rows = connection.execute(_CHANGES, [plan.account.name, plan.dag_id, list(run_ids), list(plan.datasets)])
        return [DayChange(table, day, *(int(number) for number in numbers)) for table, day, *numbers in rows]
