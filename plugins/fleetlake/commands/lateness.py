"""``fleetlake lateness``: how late rows come, how far scheduled runs look back, and why a day was read again."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from fleetlake.commands.common import check_names, opened_warehouse
from fleetlake.printing import plain, print_table
from fleetlake.settings import Settings
from fleetlake.window import utc

app = typer.Typer()

_CLOCKS = ("event_received", "received_fetched", "event_fetched")
_FIGURES = ("p50_s", "p95_s", "p99_s", "max_s")


@app.command()
def lateness(
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this table, for example powunity.trip.")] = None,
    day: Annotated[str | None, typer.Option(help="Tell which runs read this UTC day again, and why.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Show how late rows came in the last 30 days, and the look-back in force, learned from it."""
    check_names(Settings.from_env(), account, dataset)
    query = "SELECT * FROM ops.lateness_status WHERE account = coalesce(%s, account) AND dataset = coalesce(%s, dataset)"
    values: list[Any] = [account, dataset]
    if day is not None:
        query = (
            "SELECT account, dataset, why, vehicles, look_back_days, reason, dag_id, run_id, planned_at FROM ops.look_back_day"
            " WHERE account = coalesce(%s, account) AND dataset = coalesce(%s, dataset) AND day = %s ORDER BY planned_at, 1, 2, 3"
        )
        values.append(utc(day).date())
    else:
        query += " ORDER BY dataset, account, clock"
    with opened_warehouse() as warehouse, warehouse.session() as connection:
        cursor = connection.execute(query, values)
        names = [item.name for item in cursor.description or ()]
        rows = cursor.fetchall()
    if day is not None:
        _print(names, rows, as_json)
        return
    tables = _by_table([dict(zip(names, row, strict=True)) for row in rows])
    if as_json:
        for table in tables:
            typer.echo(json.dumps({name: plain(value) for name, value in table.items()}))
        return
    heads = (
        "table",
        "account",
        "event to received",
        "received to fetched",
        "event to fetched",
        "late days",
        "look-back",
        "why",
    )
    print_table(heads, [_line(table) for table in tables], 0)
    typer.echo("each clock: half / 95 % / 99 % / all new rows were no older than this", err=True)


def _print(names: Sequence[str], rows: Sequence[Sequence[Any]], as_json: bool) -> None:
    if not as_json:
        print_table(names, rows, 0)
    for row in rows if as_json else ():
        typer.echo(json.dumps({name: plain(value) for name, value in zip(names, row, strict=True)}))


def _by_table(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One object per account and table: the clocks below it, each with its figures."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        shared = {name: row[name] for name in row if name not in ("clock", "rows", *_FIGURES)}
        table = tables.setdefault((row["account"], row["dataset"]), {**shared, "clocks": {}})
        if row["clock"] is not None:
            table["clocks"][row["clock"]] = {name: row[name] for name in ("rows", *_FIGURES)}
    return list(tables.values())


def _line(table: dict[str, Any]) -> list[Any]:
    clocks = [table["clocks"].get(name) for name in _CLOCKS]
    shown = [" / ".join(_span(clock[name]) for name in _FIGURES) if clock else "" for clock in clocks]
    late = f"{table['late_vehicle_days']}, up to {table['late_max_days']} d" if table["late_vehicle_days"] else "none"
    back = f"{table['look_back_days']} d" if table["look_back_days"] is not None else ""
    return [table["dataset"], table["account"], *shown, late, back, table["look_back_reason"]]


def _span(seconds: float) -> str:
    """A length of time, two figures of it: ``45 s``, ``3 min``, ``7 h``, ``2.5 d``."""
    span = dt.timedelta(seconds=seconds)
    for unit, name in ((dt.timedelta(days=1), "d"), (dt.timedelta(hours=1), "h"), (dt.timedelta(minutes=1), "min")):
        if abs(span) >= unit:
            return f"{span / unit:.2g} {name}" if abs(span / unit) < 100 else f"{span / unit:.0f} {name}"
    return f"{seconds:.0f} s"
