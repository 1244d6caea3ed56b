"""``fleetlake sandbox``: serve the simulated vendors, and print what is true."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetlake.errors import ConfigError
from fleetlake.sandbox.settings import SIZES, SandboxSettings
from fleetlake.window import Window, utc

if TYPE_CHECKING:
    from fleetlake.sandbox.rooms import Context

app = typer.Typer(help="The vendors, simulated on loopback.", no_args_is_help=True, pretty_exceptions_enable=False)

State = Annotated[Path | None, typer.Option("--state", "--state-dir", help="Folder of the sandbox's files.")]


class Form(StrEnum):
    """How truth is printed."""

    JSONL = "jsonl"
    COUNT = "count"
    DIGEST = "digest"


@app.command()
def serve(
    state: State = None,
    host: Annotated[str, typer.Option(help="Address of the listeners.")] = "127.0.0.1",
    ports: Annotated[
        list[str] | None, typer.Option("--port", help="Port of a vendor or of control: rcs=4433; none = a free one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same data.")] = 7,
    vehicles: Annotated[int, typer.Option(help="Vehicles of the main RCS customer.")] = 12,
    bikes: Annotated[int, typer.Option(help="Bikes of each PowUnity customer.")] = 10,
    trucks: Annotated[int, typer.Option(help="Vehicles of the main Omnicomm customer.")] = 8,
    cars: Annotated[int, typer.Option(help="Vehicles of the main SuiviDeFlotte customer.")] = 10,
    cameras: Annotated[int, typer.Option(help="Cameras of the main OMNI Platform customer.")] = 4,
    as_of: Annotated[str | None, typer.Option(help="The moment it is, ISO 8601 UTC; none = the real clock.")] = None,
    assumptions: Annotated[
        list[str] | None, typer.Option("--set", help="A vendor's open question: rcs.cursor_inclusive=false.")
    ] = None,
    faults: Annotated[
        list[str] | None, typer.Option("--fault", help="Something to break: 429:vendor=rcs,path=/telemetry/*,count=2.")
    ] = None,
) -> None:
    """Serve the simulated vendors until SIGTERM or SIGINT."""
    import asyncio
    import signal

    from fleetlake.sandbox.faults import Fault
    from fleetlake.sandbox.server import Sandbox

    settings = SandboxSettings(
        state_dir=state or _default_state(),
        seed=seed,
        vehicles=vehicles,
        bikes=bikes,
        trucks=trucks,
        cars=cars,
        cameras=cameras,
        as_of=utc(as_of) if as_of else None,
        host=host,
        ports=_ports(ports or []),
        assumptions=_pairs(assumptions or []),
    )
    sandbox = Sandbox(settings, [Fault.parse(text) for text in faults or []])

    def ready() -> None:
        typer.echo("sandbox ready " + " ".join(f"{name}={url}" for name, url in sandbox.urls.items()))

    async def run() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, sandbox.stop)
        await sandbox.serve(ready)

    asyncio.run(run())


@app.command()
def truth(
    vendor: Annotated[str, typer.Argument(help="rcs, powunity, …; fleet = the vendor-neutral tables.")],
    dataset: Annotated[str, typer.Argument(help="Name of the dataset, as the contracts name it: telemetry.")],
    start: Annotated[str | None, typer.Option("--from", help="First moment, ISO 8601.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, exclusive.")] = None,
    customer: Annotated[str | None, typer.Option(help="Customer of the vendor; none = the first.")] = None,
    accounts: Annotated[
        list[str] | None, typer.Option("--account", help="For fleet: vendor:account that is loaded; none = all.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="For fleet: the file that maps devices to vehicles.")] = None,
    form: Annotated[Form, typer.Option("--format", help="Rows, their count, or count and digest.")] = Form.JSONL,
    state: State = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the seed in sandbox.json.")] = None,
    vehicles: Annotated[int | None, typer.Option(help="Instead of the number in sandbox.json.")] = None,
    bikes: Annotated[int | None, typer.Option(help="Instead of the number in sandbox.json.")] = None,
    trucks: Annotated[int | None, typer.Option(help="Instead of the number in sandbox.json.")] = None,
    cars: Annotated[int | None, typer.Option(help="Instead of the number in sandbox.json.")] = None,
    cameras: Annotated[int | None, typer.Option(help="Instead of the number in sandbox.json.")] = None,
    as_of: Annotated[str | None, typer.Option(help="Instead of the moment in sandbox.json.")] = None,
) -> None:
    """Print what is true, from the generator and not through the vendors' interfaces."""
    from fleetlake.canonical import Digest, canonical_row
    from fleetlake.sandbox.rooms import Context, room

    if bool(start) != bool(end):
        raise ConfigError("--from and --to belong together", remedy="give both, or none for everything until now")
    given = {
        "seed": seed,
        "vehicles": vehicles,
        "bikes": bikes,
        "trucks": trucks,
        "cars": cars,
        "cameras": cameras,
        "as_of": as_of,
    }
    context = Context.of(
        _settings(state or _default_state(), {key: value for key, value in given.items() if value is not None})
    )
    window = Window.parse(start, end) if start and end else None
    if vendor == "fleet":
        rows = _fleet_rows(context, dataset, window, accounts, mapping)
    else:
        rows = room(vendor).truth(context, dataset, window, customer)
    if form is Form.JSONL:
        for row in rows:
            typer.echo(canonical_row(row))
    elif form is Form.COUNT:
        typer.echo(sum(1 for _ in rows))
    else:
        digest = Digest.of(rows)
        typer.echo(json.dumps({"rows": digest.rows, "digest": digest.digest}))


def _fleet_rows(
    context: Context, table: str, window: Window | None, accounts: list[str] | None, mapping: Path | None
) -> Iterator[Mapping[str, Any]]:
    from fleetlake.sandbox.fleet import TABLES, FleetTruth, all_accounts

    if table not in TABLES:
        raise ConfigError(f"no fleet table {table!r}", remedy=f"one of: {', '.join(TABLES)}")
    if window is None:
        raise ConfigError("truth of the fleet needs --from and --to", remedy="give the days that are loaded")
    pairs = [tuple(text.split(":", 1)) for text in accounts or ()]
    if wrong := [pair[0] for pair in pairs if len(pair) != 2]:
        raise ConfigError(f"--account {wrong[0]!r}", remedy="write vendor:account, for example powunity:north")
    return FleetTruth(context, [(pair[0], pair[1]) for pair in pairs] or all_accounts(), window, mapping).rows(table)


def _default_state() -> Path:
    return Path(os.environ.get("FLEETLAKE_HOME", ".fleetlake")) / "sandbox"


def _settings(state: Path, given: dict[str, Any]) -> SandboxSettings:
    """Settings of the sandbox that serves (or served last) from ``state``, with ``given`` instead of its own."""
    path = state / "sandbox.json"
    if not path.is_file() and "seed" not in given:
        raise ConfigError(
            f"{path} is missing", remedy="start `fleetlake sandbox serve`, or say which world is meant with --seed"
        )
    known = json.loads(path.read_text()) if path.is_file() else {}
    values = {key: known[key] for key in ("seed", *SIZES, "as_of", "assumptions") if key in known} | given
    if "history_start" in known:
        values["history_start"] = dt.date.fromisoformat(known["history_start"])
    if values.get("as_of"):
        values["as_of"] = utc(values["as_of"])
    return SandboxSettings(state_dir=state, **values)


def _ports(texts: list[str]) -> dict[str, int]:
    from fleetlake.sandbox.rooms import ROOMS
    from fleetlake.sandbox.server import CONTROL

    ports = {}
    for text in texts:
        name, _, number = text.partition("=")
        if name not in (*ROOMS, CONTROL) or not number.isdecimal():
            raise ConfigError(
                f"--port {text!r}", where="--port", remedy=f"write name=number; names: {', '.join((*ROOMS, CONTROL))}"
            )
        ports[name] = int(number)
    return ports


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, found, value = text.partition("=")
        if not found or "." not in key:
            raise ConfigError(f"--set {text!r}", remedy="write --set vendor.name=value, for example rcs.take_max=500")
        pairs[key] = value
    return pairs
