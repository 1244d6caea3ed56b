"""How far the runs of a backfill have come, and what they changed: by what they left in the warehouse."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleetlake.pipeline.estimate import Wish
from fleetlake.window import Window

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
SELECT count(*) FROM ops.restatement
WHERE load_ids && ARRAY(SELECT load_id FROM ops.load WHERE account = %s AND dag_id = %s AND run_id = ANY(%s))
"""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the runs of one backfill have to do, and how to tell how much of it is done.

    Attributes:
        account, dag_id: whose data, and who loads it.
        wish: what was wanted; its tables are those of this DAG.
        parts: by feed, how many reads and the planned seconds of each.
        seconds: planned time of all together.
    """

    account: str
    dag_id: str
    wish: Wish
    parts: Mapping[str, tuple[float, float]]
    seconds: float

    @classmethod
    def of(cls, plan: Plan) -> Work:
        """The work of a plan."""
        return cls(
            account=plan.account.name,
            dag_id=plan.dag_id,
            wish=plan.own_wish,
            # For vehicles that nobody knows yet there is nothing to count by.
            parts={part.feed: (part.reads, part.seconds_per_read) for part in plan.feeds if part.reads and plan.vehicles},
            seconds=plan.seconds,
        )

    @property
    def whole(self) -> float:
        """All of it, in the units of ``done``."""
        return sum(reads * seconds for reads, seconds in self.parts.values())

    def done(self, warehouse: Warehouse, run_ids: Sequence[str]) -> float:
        """What some runs have done of it: every read that came to its end counts what it was priced at."""
        with warehouse.session() as connection:
            rows = connection.execute(_DONE, [self.account, self.dag_id, list(run_ids)])
            ended = {feed: float(count) for feed, count in rows}
        return sum(min(ended.get(feed, 0.0), reads) * seconds for feed, (reads, seconds) in self.parts.items())

    def changes(self, warehouse: Warehouse, run_ids: Sequence[str]) -> list[DayChange]:
        """What some runs changed, by table and day; days that came as they were are left out."""
        with warehouse.session() as connection:
            rows = connection.execute(_CHANGES, [self.account, self.dag_id, list(run_ids), list(self.wish.datasets)])
            return [DayChange(table, day, *(int(number) for number in numbers)) for table, day, *numbers in rows]

    def restated(self, warehouse: Warehouse, run_ids: Sequence[str]) -> int:
        """Figures of schema ``fleet`` that some runs changed after they had been published, as far as the model is built."""
        with warehouse.session() as connection:
            row = connection.execute(_RESTATED, [self.account, self.dag_id, list(run_ids)]).fetchone()
        return int(row[0]) if row else 0

    def keep(self, warehouse: Warehouse, airflow: str, backfill_id: int) -> None:
        """Keep it for whoever follows the backfill later."""
        wish = self.wish
        plan = {
            "datasets": wish.datasets,
            "start": wish.window.start.isoformat(),
            "end": wish.window.end.isoformat(),
            "vehicles": wish.vehicles,
            "refetch": wish.refetch,
            "parts": self.parts,
            "seconds": self.seconds,
        }
        with warehouse.session() as connection:
            connection.execute(
                "INSERT INTO ops.backfill (airflow, backfill_id, account, dag_id, plan) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT (airflow, backfill_id) DO UPDATE SET plan = excluded.plan",
                [airflow, backfill_id, self.account, self.dag_id, json.dumps(plan)],
            )
            connection.commit()

    @classmethod
    def kept(cls, warehouse: Warehouse, airflow: str, backfill_id: int) -> Work | None:
        """What ``keep`` kept; ``None`` for a backfill that was not created here."""
        with warehouse.session() as connection:
            row = connection.execute(
                "SELECT account, dag_id, plan FROM ops.backfill WHERE airflow = %s AND backfill_id = %s",
                [airflow, backfill_id],
            ).fetchone()
        return None if row is None else cls._read(*row)

    @classmethod
    def _read(cls, account: str, dag_id: str, plan: Mapping[str, Any]) -> Work:
        wish = Wish(
            datasets=tuple(plan["datasets"]),
            window=Window.parse(plan["start"], plan["end"]),
            vehicles=tuple(plan["vehicles"]),
            account=account,
            refetch=plan["refetch"],
        )
        parts = {feed: (float(reads), float(seconds)) for feed, (reads, seconds) in plan["parts"].items()}
        return cls(account=account, dag_id=dag_id, wish=wish, parts=parts, seconds=float(plan["seconds"]))


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
