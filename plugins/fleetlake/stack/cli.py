"""``fleetlake up``, ``down``, ``status``, ``demo``: the local stack from a terminal."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fleetlake.errors import ConfigError
from fleetlake.settings import Settings
from fleetlake.stack import parts
from fleetlake.stack.airflow_api import AirflowApi
from fleetlake.stack.local import DEFAULT_PORT, LocalStack
from fleetlake.stack.prepare import prepare
from fleetlake.stack.progress import Progress
from fleetlake.window import utc

app = typer.Typer(no_args_is_help=True, help=__doc__)

Port = Annotated[int, typer.Option(help="Port of Airflow's web interface; 0 = any free one.")]


def _stack() -> LocalStack:
    return LocalStack(Settings.from_env())


@app.command()
def up(
    port: Port = DEFAULT_PORT,
    sandbox: Annotated[
        bool, typer.Option(help="Start the vendor sandbox and point the accounts' connections to it.")
    ] = True,
    as_of: Annotated[str | None, typer.Option(help="The sandbox's clock stands at this moment (ISO 8601, UTC).")] = None,
) -> None:
    """Start the living stack and leave it running: PostgreSQL, the vendor sandbox, Airflow."""
    stack = _stack()
    stack.up(port=port, sandbox=sandbox, as_of=_moment(as_of))
    typer.echo(f"Airflow  {stack.url}   user admin   password {stack.password}")
    typer.echo(f"logs     {stack.home / 'logs'}")
    typer.echo("stop     make down   (or: fleetlake down); data stays")


@app.command()
def down(
    remove_data: Annotated[
        bool, typer.Option("--remove-data", help="Also remove the stack's folder: databases, lake, raw answers, logs.")
    ] = False,
) -> None:
    """Stop the stack, also what a crash left behind; data stays."""
    stack = _stack()
    stopped = stack.down()
    typer.echo("nothing was running" if not stopped else "stopped; nothing is left running")
    if remove_data:
        stack.remove()
        typer.echo(f"removed {stack.home}")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="One JSON object per part.")] = False) -> None:
    """Show what runs and whether it is healthy; exit status 1 when a part is not."""
    stack = _stack()
    rows = stack.status()
    for row in rows:
        if as_json:
            typer.echo(json.dumps(row))
        else:
            typer.echo(f"{row['name']:14} {row['health']:10} {row['pid'] or '-':>8}  {row['log']}")
    if any(row["health"] not in ("healthy", "running") for row in rows):
        raise typer.Exit(1)
    if not as_json:
        typer.echo(f"Airflow  {stack.url}   user admin   password {stack.password}")


@app.command()
def init(
    sandbox_dir: Annotated[
        Path | None, typer.Option(help="Folder of a running sandbox: connect the accounts to it.")
    ] = None,
    sandbox_host: Annotated[str, typer.Option(help="Host name by which workers reach that sandbox.")] = "",
) -> None:
    """Prepare a production stack: Airflow's database, pools, admin login, warehouse. Safe to run again."""
    prepare(Settings.from_env(), os.environ, Progress(), sandbox_dir=sandbox_dir, sandbox_host=sandbox_host)


@app.command()
def health(
    part: Annotated[str, typer.Option(help="api-server, scheduler, dag-processor or triggerer.")],
    url: Annotated[str, typer.Option(help="Address of the API server.")] = f"http://127.0.0.1:{DEFAULT_PORT}",
) -> None:
    """Ask Airflow whether one of its parts is alive; exit status 1 when it is not."""
    if part not in parts.AIRFLOW:
        raise ConfigError(f"there is no part {part!r}", where="--part", remedy=f"one of: {', '.join(parts.AIRFLOW)}")
    state = AirflowApi(url, "", "").parts().get(part, "unknown")
    typer.echo(state)
    if state != "healthy":
        raise typer.Exit(1)


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="Port of Airflow's web interface while it runs; 0 = any free one.")] = 0,
) -> None:
    """Load three days of the demo fleet through Airflow, report, stop. Running it again changes no data."""
    from fleetlake.stack.demo import run_demo

    report = run_demo(_stack(), port=port)
    report.print(Console(width=None if sys.stdout.isatty() else 140))


def _moment(text: str | None) -> datetime | None:
    return utc(text) if text else None
