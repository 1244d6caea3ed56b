"""``fleetlake verify``: lake = warehouse, or which row differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetlake.commands.common import find_tables, opened_warehouse, parse_window
from fleetlake.errors import ConfigError
from fleetlake.printing import plain
from fleetlake.settings import Settings

if TYPE_CHECKING:
    from fleetlake.pipeline.vendor_counts import Count
    from fleetlake.pipeline.verify import Difference, TableReport

app = typer.Typer()


@app.command()
def verify(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables, for example rcs.telemetry; none = all.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First moment of event time, ISO 8601.")] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="End of event time, exclusive: the day 2026-01-05 ends at 2026-01-06.")
    ] = None,
    shown: Annotated[int, typer.Option("--limit", help="Rows of each kind of difference that are named.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per table.")] = False,
) -> None:
    """Prove that lake and warehouse hold the same rows; exit status 1 when they do not, and the rows that differ are named.

    Loads may go on meanwhile: both stores are compared as they were at one moment. Where a vendor counts the rows of an answer,
    its number is compared too.
    """
    from rich.console import Console
    from rich.progress import Progress

    from fleetlake.lake import Lake
    from fleetlake.pipeline.vendor_counts import counts
    from fleetlake.pipeline.verify import verify as compare
    from fleetlake.raw import RawStore

    settings = Settings.from_env()
    window = parse_window(start, end)
    contracts, model = find_tables(settings, tables)
    if tables and model:
        raise ConfigError(
            f"{model[0].table} is in the warehouse only: there is nothing to compare it with",
            remedy="name the vendors' tables; `fleetlake model build --full` makes schema fleet anew from them",
        )
    lake, raw = Lake(settings.lake_url), RawStore(settings.raw_url)
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
            with warehouse.session() as connection:
                told = list(counts(connection, raw, contract, window, account))
            is_equal &= report.is_equal and all(count.is_equal for count in told)
            typer.echo(json.dumps(_as_record(report, told)) if as_json else _as_text(report, told))
    if not is_equal:
        if not as_json:
            typer.echo(
                "mend a table from raw, without the vendor: fleetlake rebuild --dataset TABLE; where the vendor counts other"
                " numbers: fleetlake backfill with --refetch asks again, and the next run of its DAG reads a list anew",
                err=True,
            )
        raise typer.Exit(1)


def _as_text(report: TableReport, told: Sequence[Count]) -> str:
    head = f"{report.table:32} {report.warehouse_rows} rows"
    wrong = [
        f"  the vendor's answer cannot be read any more: {count.problem}"
        if count.problem
        else f"  the vendor counts {count.vendor} rows, here are {count.here}{_unclear(count)}: {count.folder}"
        for count in told
        if not count.is_equal
    ]
    if told and not wrong:
        head += f", as {len(told)} answers count them"
    if report.is_equal:
        return "\n".join([f"{head}, equal, digest {report.warehouse_digest}, {report.seconds:.1f} s", *wrong])
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
    lines += [_difference(item) for item in report.differences] + wrong
    return "\n".join(lines)


def _unclear(count: Count) -> str:
    return f", and {count.unclear} in quarantine whose key cannot be read" if count.unclear else ""


def _difference(item: Difference) -> str:
    key = " ".join(f"{name}={plain(value)}" for name, value in item.key.items())
    cells = "".join(
        f"\n    {name}: warehouse {plain(one)!r}, lake {plain(other)!r}" for name, (one, other) in item.cells.items()
    )
    return f"  {item.kind}: {key}{cells}"


def _as_record(report: TableReport, told: Sequence[Count]) -> dict[str, Any]:
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
        "vendor_counts": {
            "answers": len(told),
            "wrong": [
                {"read": count.folder, "vendor": count.vendor, "here": count.here, "problem": count.problem or None}
                for count in told
                if not count.is_equal
            ],
        },
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
