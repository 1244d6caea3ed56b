"""``fleetlake``: the same verbs from a terminal.

Answers go to standard output, everything else to standard error. Exit status: 0 done, 1 try again or look at the data,
2 fix the command or the configuration.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fleetlake.canonical import Digest
from fleetlake.commands import COMMANDS
from fleetlake.commands.common import find_tables, opened_warehouse, parse_window, warehouse_url
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError, Fatal, FleetlakeError
from fleetlake.printing import Format, plain, print_answer, print_table
from fleetlake.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


class Store(StrEnum):
    """Which copy of the data."""

    WAREHOUSE = "warehouse"
    LAKE = "lake"
    BOTH = "both"


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One SELECT; nothing can be changed.")],
    output: Annotated[
        Format, typer.Option("--format", help="How to print the answer; json: one object per line.")
    ] = Format.TABLE,
    limit: Annotated[int, typer.Option(help="Rows printed at most with --format table; 0 = all.")] = 200,
) -> None:
    """Answer a question from the warehouse.

    Times are UTC. What JSON has no word for is text as PostgreSQL writes it: intervals, bytes, NaN, Infinity. Columns of
    the same name become a, a_2, a_3.
    """
    with opened_warehouse() as warehouse:
        print_answer(*warehouse.query(query), output, limit)


analyses = typer.Typer(help="Ready-made analyses: list, read and run them.", invoke_without_command=True)
app.add_typer(analyses, name="examples")


@analyses.callback()
def list_examples(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON object per example.")] = False
) -> None:
    """What the ready-made analyses answer."""
    if context.invoked_subcommand:
        return
    from fleetlake.examples import examples

    found = examples(_examples_folder())
    if as_json:
        for item in found:
            typer.echo(json.dumps({"name": item.name, "question": item.question, "path": str(item.path)}))
        return
    rows = ((item.name, "picture" if item.is_script else "table", item.question) for item in found)
    print_table(["name", "gives", "question"], rows, 0)
    typer.echo("fleetlake examples show NAME · fleetlake examples run NAME [--format table|csv|json]", err=True)


@analyses.command("show")
def show_example(name: Annotated[str, typer.Argument(help="Name of the example.")]) -> None:
    """Print an example: what it asks, how to read it, its limits, and how it is done."""
    from fleetlake.examples import example

    typer.echo(example(_examples_folder(), name).text.rstrip("\n"))


@analyses.command("run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run_example(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the example.")],
    output: Annotated[
        Format, typer.Option("--format", help="How to print the answer of a query; json: one object per line.")
    ] = Format.TABLE,
    limit: Annotated[int, typer.Option(help="Rows printed at most with --format table; 0 = all.")] = 200,
) -> None:
    """Run an example against the warehouse.

    A script takes its own options: fleetlake examples run utilisation_plot --output utilisation.svg
    """
    from fleetlake.examples import example

    found = example(_examples_folder(), name)
    if not found.is_script:
        if context.args:
            raise ConfigError(f"{name} takes no {context.args[0]!r}", remedy="it is a query: --format and --limit only")
        with opened_warehouse() as warehouse:
            print_answer(*warehouse.query(found.text), output, limit)
        return
    import os
    import subprocess

    with warehouse_url() as url:
        command = [sys.executable, str(found.path), *context.args]
        done = subprocess.run(command, env={**os.environ, "FLEETLAKE_WAREHOUSE_URL": url}, check=False)  # noqa: S603
    if done.returncode:
        raise typer.Exit(done.returncode)


@app.command()
def digest(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables, for example rcs.telemetry; none = all.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First moment of event time, ISO 8601.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of event time, exclusive.")] = None,
    store: Annotated[Store, typer.Option(help="Which copy to read.")] = Store.BOTH,
    truth: Annotated[
        bool, typer.Option(help="Only business columns of rows not deleted, as `sandbox truth` counts.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per table.")] = False,
) -> None:
    """Count and digest the rows of tables; exit status 1 when lake and warehouse differ.

    The tables of schema fleet are in the warehouse only, once the model was built.
    """
    from fleetlake import fleet
    from fleetlake.lake import Lake

    settings = Settings.from_env()
    window = parse_window(start, end)
    different = False
    with opened_warehouse() as warehouse:
        lake = Lake(settings.lake_url)
        contracts, model = find_tables(settings, tables)
        for contract in contracts:
            names = [column.name for column in (contract.columns if truth else contract.all_columns)]
            digests: dict[str, Digest] = {}
            for name, source in ((Store.WAREHOUSE, warehouse), (Store.LAKE, lake)):
                if store in (name, Store.BOTH):
                    rows = source.rows(contract, window=window, account=account)
                    digests[name.value] = Digest.of(
                        {key: row[key] for key in names} for row in rows if not (truth and row["deleted_at"])
                    )
            equal = len(set(digests.values())) == 1
            different |= not equal
            _print_digest(contract.table, digests, as_json)
        if model and (tables or fleet.status(warehouse)["built"]) and store is not Store.LAKE:
            for table in model:
                found = Digest.of(fleet.rows(warehouse, table, account, window))
                _print_digest(table.table, {Store.WAREHOUSE.value: found}, as_json)
    if different:
        raise typer.Exit(1)


def _print_digest(table: str, digests: Mapping[str, Digest], as_json: bool) -> None:
    equal = len(set(digests.values())) == 1
    if as_json:
        record = {key: {"rows": value.rows, "digest": value.digest} for key, value in digests.items()}
        typer.echo(json.dumps({"table": table, **record, "equal": equal}))
    else:
        text = " · ".join(f"{key}: {value}" for key, value in digests.items())
        typer.echo(f"{table:24} {text}" + ("" if equal else "   DIFFERENT"))


model = typer.Typer(help="The fleet model, schema fleet: one set of tables for all vendors.", no_args_is_help=True)
app.add_typer(model, name="model")


@model.command("build")
def build_model(
    full: Annotated[bool, typer.Option("--full", help="Build every vehicle-day anew, not only what has changed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Bring the fleet model up to date with the vendors' tables and include/fleet/vehicles.yaml."""
    from rich.console import Console
    from rich.progress import Progress

    from fleetlake import fleet

    with opened_warehouse() as warehouse, Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("vehicle-days", total=None)
        report = fleet.build(
            Settings.from_env(),
            full,
            warehouse=warehouse,
            on_progress=lambda done, left: progress.update(task, completed=done, total=done + left),
        )
    if as_json:
        typer.echo(json.dumps(report.as_dict()))
        return
    typer.echo(
        f"{report.units} vehicle-days built{' (all)' if report.is_full else ''} in {report.seconds:.1f} s:"
        f" {report.inserted} rows new, {report.updated} changed, {report.deleted} gone, {report.restatements} restatements;"
        f" {report.vehicles} vehicles, {report.conflicts} conflicts (fleet.vehicle_conflict)"
    )
    if report.waiting or report.held:
        typer.echo(f"{report.waiting} changes and {report.held} vehicle-days wait for the end of their runs", err=True)


@model.command("status")
def model_status(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """What waits to be built, when the last build ended, what is in doubt."""
    from fleetlake import fleet

    with opened_warehouse() as warehouse:
        found = {name: plain(value) for name, value in fleet.status(warehouse).items()}
    if as_json:
        typer.echo(json.dumps(found))
    else:
        print_table(["", ""], ((name.replace("_", " "), str(value)) for name, value in found.items()), 0)


@app.command()
def migrate() -> None:
    """Create or extend the warehouse's tables from the contracts."""
    settings = Settings.from_env()
    contracts = list(load_contracts(settings.include).values())
    with opened_warehouse(migrated=False) as warehouse:
        warehouse.migrate(contracts)
    typer.echo(f"{len(contracts)} tables are as their contracts say", err=True)


@app.command()
def dictionary(
    check: Annotated[bool, typer.Option(help="Change nothing; exit status 1 when the page is stale.")] = False,
) -> None:
    """Write the data dictionary, docs/data-dictionary.md, from the contracts."""
    import fleetlake.dictionary as pages

    settings = Settings.from_env()
    contracts = load_contracts(settings.include)
    path = settings.include.parent / "docs" / "data-dictionary.md"
    if check:
        differences = pages.check(path, contracts)
        for difference in differences:
            typer.echo(difference, err=True)
        raise typer.Exit(1 if differences else 0)
    path.write_text(pages.render(contracts))
    typer.echo(f"wrote {path}", err=True)


def _mount() -> None:
    import importlib

    from fleetlake.sandbox.cli import app as sandbox
    from fleetlake.stack.cli import app as stack

    for name in COMMANDS:
        app.add_typer(importlib.import_module(f"fleetlake.commands.{name}").app)
    app.add_typer(sandbox, name="sandbox", help="The vendors, simulated on loopback.")
    app.add_typer(stack)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    _mount()
    try:
        app(args=list(arguments) if arguments is not None else None)
    except FleetlakeError as error:
        typer.secho(f"fleetlake: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2 if isinstance(error, Fatal) else 1)


def _examples_folder() -> Path:
    return Settings.from_env().include / "examples"


if __name__ == "__main__":
    main()
