"""``fleetlake verify``: lake = warehouse, or which row differs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetlake.commands.common import find_tables, opened_warehouse, parse_window
from fleetlake.errors import ConfigError
from fleetlake.printing import plain
from fleetlake.settings import Settings

if TYPE_CHECKING:
    from fleetlake.pipeline.verify import Difference, TableReport

app = typer.Typer()


@app.command()
def verify(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables, for example rcs.telemetry; none = all.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First moment of event time, ISO 8601.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of event time, exclusive.")] = None,
    shown: Annotated[int, typer.Option("--limit", help="Rows of each kind of difference that are named.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per table.")] = False,
) -> None:
    """Prove that lake and warehouse hold the same rows; exit status 1 when they do not, and the rows that differ are named.

    Loads may go on meanwhile: both stores are compared as they were at one moment.
    """
    from rich.console import Console
    from rich.progress import Progress

    from fleetlake.lake import Lake
    from fleetlake.pipeline.verify import verify as compare

    settings = Settings.from_env()
    window = parse_window(start, end)
    contracts, model = find_tables(settings, tables)
    if tables and model:
        raise ConfigError(
            f"{model[0].table} is in the warehouse only: there is nothing to compare it with",
            remedy="name the vendors' tables; `fleetlake model build --full` makes schema fleet anew from them",
        )
    lake = Lake(settings.lake_url)
    is_equal = True
    with opened_warehouse() as warehouse, Progress(console=Console(stderr=True), transient=True) as progress:
        for contract in contracts:
            task = progress.add_task(contract.table, total=None)
            report = compare(
                warehouse,
                lake,
                contract,
                window=window,
                account=account,
                shown=shown,
                on_rows=lambda rows, task=task: progress.advance(task, rows),  # type: ignore[misc]
            )
            progress.remove_task(task)
            is_equal &= report.is_equal
            typer.echo(json.dumps(_as_record(report)) if as_json else _as_text(report))
    if not is_equal:
        if not as_json:
            typer.echo("mend a table from raw, without the vendor: fleetlake rebuild --dataset TABLE", err=True)
        raise typer.Exit(1)


def _as_text(report: TableReport) -> str:
    head = f"{report.table:32} {report.warehouse_rows} rows"
    if report.is_equal:
        return f"{head}, equal, digest {report.warehouse_digest}, {report.seconds:.1f} s"
    lines = [
        f"{head} in the warehouse, {report.lake_rows} in the lake   DIFFERENT: {report.differing} rows differ,"
        f" {report.only_in_warehouse} only in the warehouse, {report.only_in_lake} only in the lake,"
        f" {report.twice_in_lake} more than once in the lake"
    ]
    if report.days:
        more = f" and {len(report.days) - 5} more" if len(report.days) > 5 else ""
        lines.append(f"  days: {', '.join(map(str, report.days[:5]))}{more}")
    if report.unlooked_buckets:
        lines.append(f"  {report.unlooked_buckets} more parts of days differ, too many to name their rows")
    lines += [_difference(item) for item in report.differences]
    return "\n".join(lines)


def _difference(item: Difference) -> str:
    key = " ".join(f"{name}={plain(value)}" for name, value in item.key.items())
    cells = "".join(
        f"\n    {name}: warehouse {plain(one)!r}, lake {plain(other)!r}" for name, (one, other) in item.cells.items()
    )
    return f"  {item.kind}: {key}{cells}"


def _as_record(report: TableReport) -> dict[str, Any]:
    return {
        "table": report.table,
        "equal": report.is_equal,
        "warehouse": {"rows": report.warehouse_rows, "digest": report.warehouse_digest},
        "lake": {"rows": report.lake_rows, "digest": report.lake_digest},
        "days": [str(day) for day in report.days],
        "differing": report.differing,
        "only_in_warehouse": report.only_in_warehouse,
        "only_in_lake": report.only_in_lake,
        "twice_in_lake": report.twice_in_lake,
        "unlooked_buckets": report.unlooked_buckets,
        "seconds": round(report.seconds, 3),
        "differences": [
            {
                "kind": item.kind,
                "key": {name: plain(value) for name, value in item.key.items()},
                "cells": {
                    name: {"warehouse": plain(one), "lake": plain(other)} for name, (one, other) in item.cells.items()
                },
            }
            for item in report.differences
        ],
    }
