"""How many days a scheduled run looks back: learned from how late the days before have changed, and noted for each run.

The rule: so many days that all but one in a thousand vehicle-days were final by then, and one more; with too little evidence
the most that the account allows. Whatever was learned, each day is read once more when it is that old (the sweep): nothing
that comes within this bound is lost, and lateness that the look-back does not cover is seen.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleetlake.coverage import missing
from fleetlake.pipeline.run import Run
from fleetlake.reading import Feed
from fleetlake.window import DAY, Window

if TYPE_CHECKING:
    from fleetlake.warehouse import Warehouse

Task = Sequence[tuple[Feed, Sequence[str]]]
"""Feeds whose look-back is learned, each with its vehicles."""

EVIDENCE_DAYS = 30
"""Days whose findings count: what was late longer ago is forgotten."""

LEAST_DAYS = 14
"""Days that must have been read at their full age before anything is learned."""

SWEEP_DAYS = 14
"""Days of a vehicle that one run sweeps at most: what a longer pause has left is made up over several runs, oldest first."""

_UNSETTLED = 0.001
"""Share of vehicle-days that may change after the look-back and wait for the sweep."""


@dataclass(frozen=True)
class Evidence:
    """What the days read again have shown.

    Attributes:
        days: days on which vehicle-days were read at their full age.
        vehicle_days: how many vehicle-days that were.
        late: vehicle-days that had changed, by their age in days when it was found.
    """

    days: int
    vehicle_days: int
    late: Mapping[int, int]


@dataclass(frozen=True)
class LookBack:
    """The look-back of one run for one feed.

    Attributes:
        days: days before the run's own that are read again.
        max_days: age at which a day is read once more.
        is_learned: the number comes from evidence.
        reason: why that number, for people.
    """

    days: int
    max_days: int
    is_learned: bool
    reason: str


def learn(evidence: Evidence, max_days: int) -> LookBack:
    """The look-back that the evidence supports, between 1 and ``max_days``."""
    if evidence.days < LEAST_DAYS:
        reason = f"too little evidence: {evidence.days} of {LEAST_DAYS} days observed to the end"
        return LookBack(max_days, max_days, False, reason)
    allowed = int(evidence.vehicle_days * _UNSETTLED)
    after = sum(evidence.late.values())
    final = 0
    for age in sorted(evidence.late):
        if after <= allowed:
            break
        final = age
        after -= evidence.late[age]
    days = min(max(final + 1, 1), max_days)
    reason = (
        f"all but {after} of {evidence.vehicle_days} vehicle-days were final after {final} days; one more for safety"
        if final < max_days
        else f"vehicle-days still change when they are {final} days old"
    )
    return LookBack(days, max_days, True, reason)


@dataclass(frozen=True)
class Plan:
    """A decision that stands: what one task of a run reads again.

    Attributes:
        look_back: the numbers.
        part: digest of the task's vehicles.
        generation: which asking of the run it is, from 1.
        is_new: it was decided just now, not by an earlier try.
        is_done: an earlier try has carried it out to its end, and the run was not cleared since.
    """

    look_back: LookBack
    part: str
    generation: int
    is_new: bool
    is_done: bool = False


class LookBackBook:
    """The tables about look-backs: evidence, decisions, what is settled.

    Args:
        warehouse: holds them.
        account: whose.
        max_days: the account's bound.
    """

    def __init__(self, warehouse: Warehouse, account: str, max_days: int) -> None:
        self._warehouse = warehouse
        self._account = account
        self._max_days = max_days

    def newest(self, run: Run, task: Task) -> int:
        """The newest asking of a run that anything was decided for, 0 for none; of a task's feeds, each with its vehicles."""
        return max((generation for generation, *_ in self._rows(run, task)), default=0)

    def is_over(self, run: Run, task: Task, generation: int) -> bool:
        """All of a task's feeds were read to the end before the run was cleared."""
        newest = [row for row in self._rows(run, task) if row[0] == generation]
        return len(newest) == len(task) and all(is_done and clears != run.clears for _, is_done, clears in newest)

    def _rows(self, run: Run, task: Task) -> list[tuple[int, bool, int]]:
        if not task:
            return []
        with self._warehouse.session() as connection:
            return connection.execute(
                "SELECT generation, done_at IS NOT NULL, clears"
                " FROM ops.look_back JOIN unnest(%s::text[], %s::text[]) AS t (feed, part) USING (feed, part)"
                " WHERE dag_id = %s AND run_id = %s",
                [[feed.name for feed, _ in task], [_part(scopes) for _, scopes in task], run.dag_id, run.run_id],
            ).fetchall()

    def plan(self, run: Run, feed: Feed, scopes: Sequence[str], generation: int) -> Plan:
        """What an earlier try has decided for some vehicles, or a new decision, not kept yet.

        What was read to its end and is held in part is not done: it is judged again.
        """
        part = _part(scopes)
        with self._warehouse.session() as connection:
            row = connection.execute(
                "SELECT done_at IS NOT NULL AND NOT is_held, look_back_days, max_days, is_learned, reason FROM ops.look_back"
                " WHERE dag_id = %s AND run_id = %s AND feed = %s AND part = %s AND generation = %s",
                [run.dag_id, run.run_id, feed.name, part, generation],
            ).fetchone()
            if row:
                is_done, *numbers = row
                return Plan(LookBack(*numbers), part, generation, is_new=False, is_done=is_done)
            until = run.window.end.date()
            found = [learn(self._evidence(connection, dataset, until), self._max_days) for dataset in feed.datasets]
        return Plan(max(found, key=lambda item: item.days), part, generation, is_new=True)

    def keep(self, run: Run, feed: Feed, plan: Plan) -> Plan:
        """Write a new decision down; when another worker was first, its decision is the one."""
        book = plan.look_back
        own = run.window.whole_days()
        with self._warehouse.session() as connection:
            connection.execute(
                "INSERT INTO ops.look_back (dag_id, run_id, feed, part, generation, account, datasets, window_start,"
                " window_end, look_back_days, max_days, is_learned, reason)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [
                    run.dag_id, run.run_id, feed.name, plan.part, plan.generation, self._account, list(feed.datasets),
                    own.start, own.end, book.days, book.max_days, book.is_learned, book.reason,
                ],
            )  # fmt: skip
            row = connection.execute(
                "SELECT look_back_days, max_days, is_learned, reason FROM ops.look_back"
                " WHERE dag_id = %s AND run_id = %s AND feed = %s AND part = %s AND generation = %s",
                [run.dag_id, run.run_id, feed.name, plan.part, plan.generation],
            ).fetchone()
            connection.commit()
        return Plan(LookBack(*row), plan.part, plan.generation, is_new=False) if row else plan

    def settled(self, feed: Feed, scopes: Sequence[str]) -> dict[str, dt.datetime]:
        """Until when all tables of the feed are settled, by vehicle."""
        with self._warehouse.session() as connection:
            rows = connection.execute(
                "SELECT scope, min(until) FROM ops.settled WHERE account = %s AND dataset = ANY(%s) AND scope = ANY(%s)"
                " GROUP BY scope HAVING count(*) = %s",
                [self._account, list(feed.datasets), list(scopes), len(feed.datasets)],
            ).fetchall()
        return dict(rows)

    def proven(self, feed: Feed, scopes: Sequence[str], window: Window) -> dict[str, set[dt.datetime]]:
        """The days of a window that are proven for any table of the feed, by vehicle."""
        days: dict[str, set[dt.datetime]] = {scope: set() for scope in scopes}
        for dataset in feed.datasets:
            for scope, intervals in self._warehouse.covered(self._account, dataset, scopes, window).items():
                days[scope] |= {day.start for day in window.days() if not missing(intervals, day)}
        return days

    def found(self, run: Run, feed: Feed, days: int) -> dict[str, dt.datetime]:
        """Vehicles of which this run found a day changed that its look-back does not cover: the oldest such day's end."""
        with self._warehouse.session() as connection:
            rows = connection.execute(
                "SELECT scope, (min(day) + 1)::timestamp AT TIME ZONE 'UTC' FROM ops.late_day WHERE account = %s"
                " AND dataset = ANY(%s) AND dag_id = %s AND run_id = %s AND age_days > %s GROUP BY scope",
                [self._account, list(feed.datasets), run.dag_id, run.run_id, days],
            ).fetchall()
        return dict(rows)

    def doubts(self, feed: Feed, scopes: Sequence[str], window: Window) -> dict[str, list[Window]]:
        """Parts of the window whose last reading proved nothing, by vehicle: it has to be repeated."""
        with self._warehouse.session() as connection:
            rows = connection.execute(
                "SELECT scope, window_start, window_end FROM ops.coverage_attempt WHERE account = %s AND dataset = ANY(%s)"
                " AND scope = ANY(%s) AND window_start < %s AND window_end > %s AND state <> 'out_of_retention'",
                [self._account, list(feed.datasets), list(scopes), window.end, window.start],
            ).fetchall()
        found: dict[str, list[Window]] = defaultdict(list)
        for scope, start, end in rows:
            found[scope].append(Window(start, end))
        return found

    def close(
        self,
        run: Run,
        feed: Feed,
        plan: Plan,
        days: Mapping[dt.datetime, Mapping[str, int]],
        until: Mapping[str, dt.datetime],
        *,
        is_held: bool = False,
    ) -> None:
        """Write down that a plan is carried out: the days it read again and why, and until when vehicles are settled.

        Args:
            run: the run.
            feed: what was read.
            plan: what was decided.
            days: the days, each with its reasons.
            until: by vehicle.
            is_held: not all of it is published: a part is held.
        """
        told = {f"{day:%Y-%m-%d}": dict(why) for day, why in sorted(days.items())}
        with self._warehouse.session() as connection:
            connection.execute(
                "UPDATE ops.look_back SET days = %s, done_at = now(), clears = %s, is_held = %s"
                " WHERE dag_id = %s AND run_id = %s AND feed = %s AND part = %s AND generation = %s",
                [json.dumps(told), run.clears, is_held, run.dag_id, run.run_id, feed.name, plan.part, plan.generation],
            )
            connection.execute(
                "INSERT INTO ops.settled AS o (account, dataset, scope, until)"
                " SELECT %s, dataset, scope, until FROM unnest(%s::text[]) AS dataset,"
                " unnest(%s::text[], %s::timestamptz[]) AS n (scope, until) ORDER BY dataset, scope"
                " ON CONFLICT (account, dataset, scope) DO UPDATE SET until = excluded.until, settled_at = now()"
                " WHERE excluded.until > o.until",
                [self._account, list(feed.datasets), list(until), list(until.values())],
            )
            connection.commit()

    def _evidence(self, connection: Any, dataset: str, until: dt.date) -> Evidence:
        rows = connection.execute(
            "SELECT read_on, age_days, vehicle_days, late_vehicle_days FROM ops.reread"
            " WHERE account = %s AND dataset = %s AND read_on > %s AND read_on <= %s",
            [self._account, dataset, until - dt.timedelta(days=EVIDENCE_DAYS), until],
        ).fetchall()
        # A sweep that was made up is older than the bound: it shows what the bound would have shown.
        full = [row for row in rows if row[1] >= self._max_days]
        late: dict[int, int] = defaultdict(int)
        for _, age, _, changed in rows:
            if changed:
                late[min(age, self._max_days)] += changed
        return Evidence(len({row[0] for row in full}), sum(row[2] for row in full), late)


def _part(scopes: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps(sorted(scopes)).encode()).hexdigest()[:16]


def stretches(days: Iterable[dt.datetime], longest: int) -> list[Window]:
    """Days as windows of at most ``longest`` days, the newest first."""
    found: list[Window] = []
    for day in sorted(days, reverse=True):
        last = found[-1] if found else None
        if last is not None and last.start == day + DAY and last.end - day <= longest * DAY:
            found[-1] = Window(day, last.end)
        else:
            found.append(Window(day, day + DAY))
    return found
