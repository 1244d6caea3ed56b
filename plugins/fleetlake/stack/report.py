"""What a demo has to show: loaded, complete, its quality, and where to look next."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from fleetlake.errors import StoreUnavailable
from fleetlake.stack.database import connect

if TYPE_CHECKING:
    from fleetlake.stack.local import LocalStack

Row = tuple[Any, ...]

_LOADED = """
SELECT dataset, account, sum(rows_inserted) AS rows, sum(rows_quarantined) AS quarantined, sum(pages) AS pages,
    count(*) AS batches, count(*) FILTER (WHERE state = 'held') AS held
FROM ops.load GROUP BY dataset, account ORDER BY dataset, account
"""

_COMPLETE = """
WITH asked AS (
    SELECT tstzrange(%(start)s, %(end)s) AS whole
), scopes AS (
    SELECT account, dataset, scope,
        range_agg(tstzrange(window_start, window_end)) FILTER (WHERE state IN ('complete', 'empty_confirmed')) AS proven
    FROM ops.coverage GROUP BY account, dataset, scope
)
SELECT dataset, account, count(*) AS scopes, count(*) FILTER (WHERE proven @> whole) AS complete
FROM scopes CROSS JOIN asked GROUP BY dataset, account ORDER BY dataset, account
"""

_QUALITY = """
SELECT (SELECT count(*) FROM ops.quality_result) AS checks,
    (SELECT count(*) FROM ops.quality_result WHERE NOT success) AS failed,
    (SELECT count(*) FROM ops.quarantine) AS quarantined
"""

QUERIES = (
    (
        "What did the fleet do each day?",
        "SELECT day, count(*) FILTER (WHERE trips > 0) AS vehicles_out, count(*) AS of, sum(trips) AS trips, "
        "round(sum(distance_m)::numeric / 1000) AS km, round(sum(moving_time_s)::numeric / 3600) AS hours_moving, "
        "round(sum(idle_time_s)::numeric / 3600, 1) AS hours_idle, round(sum(fuel_used_l)::numeric) AS fuel_l, "
        "round((100000 * sum(fuel_used_l) / nullif(sum(distance_m) FILTER (WHERE fuel_used_l IS NOT NULL), 0))::numeric, 1) "
        "AS l_per_100km, round(avg(trust_score)) AS trust FROM fleet.vehicle_day GROUP BY day ORDER BY day",
    ),
    (
        "Which vehicles were busiest?",
        "SELECT v.name, v.registration_plate AS plate, string_agg(DISTINCT i.vendor, ' + ') AS devices, t.trips, t.km, "
        "t.top_kmh, t.l_per_100km, t.trust FROM (SELECT vehicle_key, sum(trips) AS trips, "
        "round(sum(distance_m)::numeric / 1000, 1) AS km, round(max(max_speed_kmh)::numeric) AS top_kmh, "
        "round((100000 * sum(fuel_used_l) / nullif(sum(distance_m) FILTER (WHERE fuel_used_l IS NOT NULL), 0))::numeric, 1) "
        "AS l_per_100km, min(trust_score) AS trust "
        "FROM fleet.vehicle_day GROUP BY 1) t JOIN fleet.vehicle v USING (vehicle_key) "
        "JOIN fleet.vehicle_identity i USING (vehicle_key) GROUP BY vehicle_key, 1, 2, 4, 5, 6, 7, 8 ORDER BY km DESC LIMIT 6",
    ),
    (
        "Which faults are open?",
        "SELECT v.registration_plate AS plate, v.model, f.dtc_code, f.description, f.opened_at, f.is_confirmed AS confirmed "
        "FROM fleet.trouble f JOIN fleet.vehicle v USING (vehicle_key) WHERE f.is_open "
        "ORDER BY f.is_confirmed DESC, f.opened_at LIMIT 5",
    ),
    (
        "Which devices could not be matched to a vehicle without doubt?",
        "SELECT kind, subject, details FROM fleet.vehicle_conflict ORDER BY 1, 2 LIMIT 5",
    ),
)
"""Questions to begin with, about the whole fleet whatever the vendor: title and SQL."""


@dataclass(frozen=True)
class Report:
    """Figures of a demo, read from the warehouse.

    Attributes:
        first, last: days, both included.
        loaded: dataset, account, rows, quarantined, pages, batches, held.
        complete: dataset, account, scopes, complete scopes.
        quality: checks run, checks failed, rows set aside.
        answers: columns and first rows of each of ``QUERIES``.
        home: the stack's folder.
        lake, raw: where the data lies.
        password: of Airflow's user ``admin``.
    """

    first: dt.date
    last: dt.date
    loaded: list[Row]
    complete: list[Row]
    quality: Row
    answers: list[tuple[list[str], list[Row]]]
    home: Path
    lake: str
    raw: str
    password: str

    @classmethod
    def of(cls, stack: LocalStack, first: dt.date, last: dt.date) -> Report:
        """Read it from a running stack."""
        window = {
            "start": dt.datetime.combine(first, dt.time(), dt.UTC),
            "end": dt.datetime.combine(last, dt.time(), dt.UTC) + dt.timedelta(days=1),
        }
        with connect(stack.warehouse_url) as connection:
            answers = []
            for _, sql in QUERIES:
                cursor = connection.execute(sql)
                answers.append(([column.name for column in cursor.description or ()], cursor.fetchall()))
            quality = connection.execute(_QUALITY).fetchone() or (0, 0, 0)
            return cls(
                first=first,
                last=last,
                loaded=connection.execute(_LOADED).fetchall(),
                complete=connection.execute(_COMPLETE, window).fetchall(),
                quality=quality,
                answers=answers,
                home=stack.home,
                lake=stack.settings.lake_url,
                raw=stack.settings.raw_url,
                password=stack.password,
            )

    def require_complete(self) -> None:
        """Check that something was loaded and nothing is missing.

        Raises:
            StoreUnavailable: names what is not complete.
        """
        holes = [
            f"{dataset} of {account}: {scopes - done} of {scopes}"
            for dataset, account, scopes, done in self.complete
            if done < scopes
        ]
        held = [f"{row[0]} of {row[1]}: {row[6]} batches held" for row in self.loaded if row[6]]
        if holes or held or not self.complete:
            raise StoreUnavailable(
                f"not complete: {'; '.join(holes + held) or 'nothing was loaded'}",
                where="ops.coverage, ops.load",
                remedy='ask why: fleetlake sql "select * from ops.hole"',
            )

    def print(self, console: Console) -> None:
        """Print it for a person."""
        complete = {(row[0], row[1]): (row[2], row[3]) for row in self.complete}
        table = Table(title=f"Loaded and complete, {self.first} to {self.last} (UTC)", title_justify="left", show_edge=False)
        for name, right in (
            ("dataset", 0),
            ("account", 0),
            ("rows", 1),
            ("set aside", 1),
            ("vendor pages", 1),
            ("complete", 1),
        ):
            table.add_column(name, justify="right" if right else "left")
        for dataset, account, rows, aside, pages, *_ in self.loaded:
            scopes, done = complete.get((dataset, account), (0, 0))
            table.add_row(
                dataset, account, f"{rows:,}", f"{aside:,}", f"{pages:,}", f"{done}/{scopes}" if scopes else "snapshot"
            )
        console.print(table)
        checks, failed, aside = self.quality
        docs = self.home / "data_docs" / "index.html"
        console.print(
            f"\nData quality: {checks:,} checks, {failed:,} failed, {aside:,} rows set aside with their reasons (ops.quarantine)"
        )
        console.print(f"Data Docs: {docs}")
        for (title, sql), (columns, rows) in zip(QUERIES, self.answers, strict=True):
            console.print(f"\n[bold]{title}[/bold]")
            console.print(f'make sql Q="{sql}"', style="dim", soft_wrap=True, highlight=False)
            answer = Table(show_edge=False, box=None, header_style="bold")
            for column in columns:
                answer.add_column(column)
            for row in rows:
                answer.add_row(*("" if value is None else str(value) for value in row))
            console.print(answer)
        console.print("\n[bold]Where things are[/bold]")
        for what, where in (
            ("lake", f"{self.lake} (Delta tables)"),
            ("raw answers", self.raw),
            ("logs", self.home / "logs"),
            ("Airflow", f"make up, then http://127.0.0.1:8080, user admin, password {self.password}"),
            ("everything again", "make demo (changes nothing) · from scratch: make clean demo"),
        ):
            console.print(f"  {what:17} {where}", highlight=False, soft_wrap=True)
