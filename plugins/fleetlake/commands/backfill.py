"""``fleetlake backfill``: load days through Airflow, follow them, say what is proven in the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetlake.commands.common import opened_warehouse
from fleetlake.commands.connect import connected
from fleetlake.commands.plan import (
    AccountName,
    ActiveRuns,
    Datasets,
    First,
    Last,
    Refetch,
    Reprocess,
    Vehicles,
    as_text,
    shared_quotas,
    standing_text,
    time_text,
    wish_of,
)
from fleetlake.errors import ConfigError, StoreUnavailable
from fleetlake.settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from fleetlake.pipeline.eta import Eta
    from fleetlake.pipeline.follow import Work
    from fleetlake.pipeline.plan import Plan
    from fleetlake.stack.airflow_api import AirflowApi
    from fleetlake.warehouse import Warehouse

app = typer.Typer()

_POLL_S = 2.0
_LINE_S = 30.0
"""Seconds between two lines about progress where no terminal shows a bar."""

_ENDED = ("success", "failed")
_SILENT_S = 600.0
_HOLES = 10
_INTERRUPTED = 130


@dataclass
class Followed:
    """A backfill under way.

    Attributes:
        number: its id in Airflow.
        work: what it has to do.
        backfill: as Airflow tells it.
        runs: its runs, as Airflow tells them.
        is_over: all of its runs have ended.
        heard: when Airflow answered last, seconds since the following began.
    """

    number: int
    work: Work
    backfill: dict[str, Any]
    runs: list[dict[str, Any]] = field(default_factory=list)
    is_over: bool = False
    heard: float = 0.0

    @property
    def run_ids(self) -> list[str]:
        """Ids of its runs."""
        return [run["dag_run_id"] for run in self.runs]

    @property
    def failed(self) -> list[str]:
        """Days whose run failed."""
        return [str(run["partition_key"]) for run in self.runs if run["state"] == "failed"]

    @property
    def ended(self) -> int:
        """How many of its days have ended."""
        return sum(run["state"] in _ENDED for run in self.runs)

    def progress(self, warehouse: Warehouse) -> tuple[float, float]:
        """What is done and all there is to do: reads by their price, or days where the plan had no price."""
        if self.work.whole:
            return self.work.done(warehouse, self.run_ids), self.work.whole
        return float(self.ended), float(max(len(self.runs), 1))

    def look(self, api: AirflowApi, now: float) -> None:
        """Ask Airflow how it stands; that it does not answer for a while is no reason to stop.

        Raises:
            StoreUnavailable: it has not answered for ``_SILENT_S`` seconds.
        """
        try:
            self._look(api)
        except StoreUnavailable:
            if now - self.heard > _SILENT_S:
                raise
            return
        self.heard = now

    def _look(self, api: AirflowApi) -> None:
        self.backfill = api.get_backfill(self.number)
        self.runs = api.backfill_runs(self.backfill)
        # Airflow notices the end of a backfill half a minute late.
        self.is_over = 0 < len(self.runs) == self.ended or self.backfill["completed_at"] is not None


@app.command()
def backfill(
    datasets: Datasets = None,
    first: First = None,
    last: Last = None,
    vehicles: Vehicles = None,
    account: AccountName = None,
    refetch: Refetch = False,
    reprocess: Reprocess = False,
    max_active_runs: ActiveRuns = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    unpause: Annotated[bool, typer.Option("--unpause", help="Unpause the DAG if it is paused.")] = False,
    follow: Annotated[int | None, typer.Option("--follow", help="Follow the backfill of this number.")] = None,
    cancel: Annotated[int | None, typer.Option("--cancel", help="Cancel the backfill of this number.")] = None,
) -> None:
    """Load what is missing of some days, through Airflow, and prove it; exit status 1 when holes are left.

    Prints the plan and the runs Airflow would make, asks, creates the backfill and follows it. Ctrl-C ends the following,
    not the backfill. The Airflow is that of FLEETLAKE_AIRFLOW_URL (with _TOKEN, or _USER and _PASSWORD), else the local
    stack's.
    """
    settings = Settings.from_env()
    if cancel is not None:
        connected(settings).cancel_backfill(cancel)
        typer.echo(f"backfill {cancel} is cancelled: its queued days have failed, days under way are loaded to their end")
        return
    with opened_warehouse() as warehouse:
        if follow is not None:
            api = connected(settings)
            _follow(settings, warehouse, api, [_attach(warehouse, api, follow)])
            return
        wish = wish_of(
            datasets, first, last, vehicles, account, refetch=refetch, reprocess=reprocess, active_runs=max_active_runs
        )
        if reprocess:
            _reprocess(settings, warehouse, wish, dry_run=dry_run, yes=yes)
            return
        from fleetlake.pipeline.plan import make_plans

        plans = make_plans(settings, warehouse, wish)
        for item in plans:
            typer.echo(as_text(item))
        for line in shared_quotas(plans):
            typer.echo(line)
        plans = [item for item in plans if item.days]
        if not plans:
            return
        api = connected(settings)
        for item in plans:
            days = [entry["partition_key"] for entry in api.dry_run(item.body)]
            typer.echo(f"{item.dag_id}: Airflow would make {len(days)} runs: {', '.join(days) or 'none'}")
        if dry_run:
            return
        paused = _paused(api, plans, unpause=unpause)
        _check_none_runs(api, plans)
        if not yes:
            typer.confirm("Create?", abort=True, err=True)
        _follow(settings, warehouse, api, create_all(warehouse, api, plans, paused))


def _paused(api: AirflowApi, plans: Sequence[Plan], *, unpause: bool) -> list[str]:
    """DAGs that have to be unpaused.

    Raises:
        ConfigError: a DAG does not exist.
        StoreUnavailable: a DAG is paused, and is not to be unpaused: its days could only wait.
    """
    known = {entry["dag_id"]: entry["is_paused"] for entry in api.dags()}
    for item in plans:
        if item.dag_id not in known:
            raise ConfigError(f"that Airflow has no DAG {item.dag_id!r}", where=api.base_url)
        if known[item.dag_id] and not unpause:
            raise StoreUnavailable(
                f"{item.dag_id} is paused: its days would wait", remedy="unpause it in the web interface, or add --unpause"
            )
    return [item.dag_id for item in plans if known[item.dag_id]]


def _check_none_runs(api: AirflowApi, plans: Sequence[Plan]) -> None:
    """Whether each DAG can take a backfill, before any is created.

    Raises:
        StoreUnavailable: one of the DAGs has a backfill under way.
    """
    for item in plans:
        running = api.running_backfill(item.dag_id)
        if running is not None:
            raise StoreUnavailable(
                f"backfill {running['id']} of {item.dag_id} is running: Airflow takes one at a time",
                remedy=f"fleetlake backfill --follow {running['id']}, or --cancel {running['id']}",
            )


def create_all(warehouse: Warehouse, api: AirflowApi, plans: Sequence[Plan], paused: Sequence[str]) -> list[Followed]:
    """Create the backfill of each plan, and unpause its DAG if it is paused.

    Raises:
        StoreUnavailable: a DAG has a backfill under way; none is created.
        FleetlakeError: Airflow or the warehouse failed; standard error tells what was created before, and goes on.
    """
    _check_none_runs(api, plans)
    created: list[Followed] = []
    try:
        for item in plans:
            created.append(_create(warehouse, api, item))
            if item.dag_id in paused:
                # After its creation: the schedule's own run of yesterday would keep the backfill from it.
                api.set_paused(item.dag_id, False)
    except BaseException:
        for one in created:
            typer.echo(
                f"{one.work.dag_id}: backfill {one.number} is created all the same. Follow it: fleetlake backfill --follow"
                f" {one.number} · cancel it: fleetlake backfill --cancel {one.number}",
                err=True,
            )
        raise
    return created


def _create(warehouse: Warehouse, api: AirflowApi, item: Plan) -> Followed:
    from fleetlake.pipeline.follow import Work

    work = Work.of(item)
    created = api.create_backfill(item.body)
    number = int(created["id"])
    typer.echo(f"backfill {number}: {api.base_url}/dags/{item.dag_id}/backfills")
    work.keep(warehouse, api.base_url, number)
    return Followed(number, work, created)


def _attach(warehouse: Warehouse, api: AirflowApi, number: int) -> Followed:
    from fleetlake.pipeline.follow import Work

    found = api.get_backfill(number)
    work = Work.kept(warehouse, api.base_url, number)
    if work is None:
        raise ConfigError(
            f"backfill {number} was not created by fleetlake: what it is to load is not known",
            where=f"{api.base_url}/dags/{found['dag_id']}/backfills",
            remedy="watch it there; fleetlake coverage tells what is proven",
        )
    return Followed(number, work, found)


def _follow(settings: Settings, warehouse: Warehouse, api: AirflowApi, followed: list[Followed]) -> None:
    """Watch backfills to their end, then say what is proven.

    Raises:
        typer.Exit: 1 when holes are left or a run failed; 130 after Ctrl-C.
    """
    numbers = [item.number for item in followed]
    try:
        _watch(warehouse, api, followed)
    except KeyboardInterrupt:
        for number in numbers:
            typer.echo(
                f"backfill {number} goes on. Follow it: fleetlake backfill --follow {number}"
                f" · cancel it: fleetlake backfill --cancel {number}",
                err=True,
            )
        raise typer.Exit(_INTERRUPTED) from None
    is_whole = True
    for item in followed:
        is_whole &= _report(settings, warehouse, item)
    if not is_whole:
        raise typer.Exit(1)


def _watch(warehouse: Warehouse, api: AirflowApi, followed: Sequence[Followed]) -> None:
    from fleetlake.pipeline.eta import Eta

    began = time.monotonic()
    etas: list[Eta] = []
    for item in followed:
        item.look(api, 0.0)
        done, whole = item.progress(warehouse)
        etas.append(Eta(whole, item.work.seconds, done=done))
    with _bars(followed) as (progress, tasks):
        said = -_LINE_S
        while True:
            elapsed = time.monotonic() - began
            for item, eta, task in zip(followed, etas, tasks, strict=True):
                item.look(api, elapsed)
                eta.update(item.progress(warehouse)[0], elapsed)
                progress.update(task, completed=eta.share, left=_left_text(item, eta, elapsed))
            if not progress.console.is_terminal and elapsed - said >= _LINE_S:
                said = elapsed
                for item, eta in zip(followed, etas, strict=True):
                    typer.echo(f"{item.work.dag_id}: {eta.share:.0%}, {_left_text(item, eta, elapsed)}", err=True)
            if all(item.is_over for item in followed):
                return
            time.sleep(_POLL_S)


@contextmanager
def _bars(followed: Sequence[Followed]) -> Iterator[tuple[Progress, list[TaskID]]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress, [progress.add_task(item.work.dag_id, total=1.0, left="") for item in followed]


def _left_text(item: Followed, eta: Eta, elapsed: float) -> str:
    days = f"{item.ended} of {len(item.runs)} days"
    if item.backfill["is_paused"]:
        return f"{days}; paused"
    return f"{days}; {'about ' + time_text(eta.left(elapsed)) + ' left' if eta.share < 1 else 'finishing'}"


def _report(settings: Settings, warehouse: Warehouse, item: Followed) -> bool:
    """Say what is proven of the range, and what was changed by a refetch; whether no hole is left."""
    from fleetlake.pipeline.plan import standings

    work = item.work
    if work.wish.refetch:
        changes = work.changes(warehouse, item.run_ids)
        for one in changes:
            typer.echo(
                f"{one.table} {one.day}: {one.new} new, {one.changed} changed, {one.deleted} deleted, {one.same} as before"
            )
        if not changes:
            typer.echo(f"{work.dag_id}: nothing has changed at the vendor")
        if restated := work.restated(warehouse, item.run_ids):
            typer.echo(f"{restated} published figures of the fleet changed: ops.restatement")
    is_whole = not item.failed
    for standing in standings(settings, warehouse, work.wish):
        typer.echo(standing_text(standing, _HOLES))
        is_whole &= not standing.holes
    if item.failed:
        typer.echo(f"{work.dag_id}: the runs of {', '.join(item.failed)} failed; their logs are in Airflow", err=True)
    return is_whole


def _reprocess(settings: Settings, warehouse: Warehouse, wish: Any, *, dry_run: bool, yes: bool) -> None:
    from fleetlake.commands.reprocess import count_entries, reprocess

    total = 0
    for vendor, count in count_entries(settings, warehouse, wish):
        typer.echo(f"{vendor}: {count} batches in raw, no request to the vendor")
        total += count
    if dry_run or not total:
        return
    if not yes:
        typer.confirm("Publish them again?", abort=True, err=True)
    for table, counts in reprocess(settings, warehouse, wish).items():
        typer.echo(
            f"{table}: {counts.get('inserted', 0)} rows new, {counts.get('updated', 0)} changed,"
            f" {counts.get('deleted', 0)} deleted, {counts.get('unchanged', 0)} as before"
        )
