"""``fleetlake sandbox``: serve the simulated vendors, and print what is true."""

from __future__ import annotations

import typer

app = typer.Typer(help="The vendors, simulated on loopback.", no_args_is_help=True)
