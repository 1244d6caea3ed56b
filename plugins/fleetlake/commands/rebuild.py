"""``fleetlake rebuild``: lake, warehouse and ledger from raw, without a vendor."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetlake.commands.common import warehouse_url
from fleetlake.errors import ConfigError
from fleetlake.settings import Settings

if TYPE_CHECKING:
    from fleetlake.fleet import Report as ModelReport
    from fleetlake.pipeline.rebuild import Report

app = typer.Typer()


@app.command()
def rebuild(
    datasets: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this table, for example rcs.telemetry; may be repeated.")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(help='Leave the result as SCHEMA."vendor_table" to be looked at; the tables in use stay as they are.'),
    ] = None,
    scratch: Annotated[
        str | None, typer.Option(help="URL of an empty database to work in; default: one is made beside the warehouse.")
    ] = None,
    accept_loss: Annotated[
        bool,
        typer.Option(
            help="Go on although lake or warehouse hold loads that cannot be made anew, or that today's contract holds: their rows go."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Make lake, warehouse and coverage anew from raw, asking no vendor, and bring over what differs, all at once.

    The tables stay in use meanwhile, and loads go on. A rebuild that was cut short goes on where it stopped. Exit status 1:
    some entries of the journal could not be published, or today's contract holds batches that were published once; the rest is
    made anew. Also when it refuses: nothing in use is changed then.
    """
    from fleetlake import fleet
    from fleetlake.pipeline.rebuild import rebuild as make_anew

    with warehouse_url() as url:
        settings = replace(Settings.from_env(), warehouse_url=url)
        if into is None and not yes:
            what = " and ".join(datasets) if datasets else "every table"
            question = f"Make {what} anew from {settings.raw_url}, in the lake {settings.lake_url} and in the warehouse?"
            if not typer.confirm(question, err=True):
                raise ConfigError("nothing was done", remedy="answer y, or give --yes")
        with _Bar() as bar:
            report = make_anew(settings, datasets, into=into, scratch=scratch, accept_loss=accept_loss, on_step=bar.show)
        model = fleet.build(settings) if into is None else None
    if as_json:
        record = asdict(report) | {"model": model.as_dict() if model else None}
        typer.echo(json.dumps(record))
    else:
        for line in _lines(report, model):
            typer.echo(line)
    for item in report.skipped:
        typer.echo(f"{item.table}: load {item.load} was skipped: {item.error}", err=True)
    for held in report.held_today:
        typer.echo(
            f"{held.dataset}: {held.loads} loads that were published once are held by today's contract, for example"
            f" {held.example}: {held.reason}",
            err=True,
        )
    if report.skipped or report.held_today:
        raise typer.Exit(1)


class _Bar:
    """Entries replayed of all, rows a second, time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description:32}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("reading the journal", total=None, speed="")

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, step: Any) -> None:
        seconds = self._progress.tasks[0].elapsed or 0.0
        speed = f"{step.rows / seconds:,.0f} rows/s" if seconds else ""
        self._progress.update(self._task, description=step.what, completed=step.done, total=step.total, speed=speed)


def _lines(report: Report, model: ModelReport | None) -> list[str]:
    lines = [
        f"{item.table:32} " + ("equal" if item.is_equal else f"{item.new} new, {item.changed} changed, {item.gone} gone")
        + f", {item.equal} rows right already" + _lake(report, item.table)
        for item in (*report.tables, *report.ledger)
        if item.equal or not item.is_equal or _lake(report, item.table)
    ]  # fmt: skip
    lines += [f"{table:32} {rows} rows set aside" for table, rows in report.aside.items()]
    speed = f", {report.rows / report.seconds:,.0f} rows/s" if report.seconds else ""
    lines.append(
        f"{report.entries} entries of the journal{' (the rest was done before)' if report.is_resumed else ''},"
        f" {report.rows} rows read, {report.seconds:.1f} s{speed}; {report.held} batches held"
    )
    if model:
        lines.append(
            f"fleet model: {model.inserted} rows new, {model.updated} changed, {model.deleted} gone,"
            f" {model.restatements} restatements"
        )
    for feed, pages in report.unnamed.items():
        lines.append(f"{feed}: {pages} pages in raw were never published, or their entries in the journal are lost")
    return lines


def _lake(report: Report, table: str) -> str:
    replaced = report.lake.get(table)
    if replaced is None or not replaced.parts:
        return ""
    return f"; lake: {replaced.parts} of {replaced.of} days replaced"
