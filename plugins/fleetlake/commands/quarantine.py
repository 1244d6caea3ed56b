"""``fleetlake quarantine``: rows set aside: what they are, why, and what to do with them."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetlake.commands.common import find_tables, opened_warehouse
from fleetlake.errors import ConfigError
from fleetlake.printing import plain, print_table
from fleetlake.settings import Settings

if TYPE_CHECKING:
    import psycopg

app = typer.Typer()
quarantine = typer.Typer(help="Rows that were set aside: list, show, judge again, drop.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")

Dataset = Annotated[str | None, typer.Option("--dataset", help="Only this table, for example powunity.trip.")]
OfAccount = Annotated[str | None, typer.Option("--account", help="Only this account.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@quarantine.command("list")
def list_entries(
    dataset: Dataset = None,
    account: OfAccount = None,
    entries: Annotated[bool, typer.Option("--entries", help="Each entry, not groups of them.")] = False,
    settled: Annotated[bool, typer.Option("--settled", help="Also what is settled.")] = False,
    limit: Annotated[int, typer.Option(help="Lines at most; 0 = all.", min=0)] = 200,
    as_json: AsJson = False,
) -> None:
    """What is set aside, grouped by table, check and reason, the most frequent first."""
    _check(dataset)
    state = "coalesce(resolution, 'open') AS state"
    group = f"account, dataset, check_name, column_name, {state}"
    columns = (
        f"quarantine_id, {group}, row_key, reason, raw_page, raw_index, quarantined_at"
        if entries
        else f"{group}, count(*) AS rows, min(reason) AS example, min(quarantined_at) AS since, min(quarantine_id) AS first_id"
    )
    order = "quarantined_at DESC, quarantine_id" if entries else "rows DESC, dataset, check_name"
    with opened_warehouse() as warehouse, warehouse.session() as connection:
        # Reasons name values: they are one group by check and column, told by an example.
        rows = _select(
            connection,
            f"SELECT {columns} FROM ops.quarantine WHERE account = coalesce(%s, account) AND dataset = coalesce(%s, dataset)"
            f" AND (%s OR resolved_at IS NULL) {'' if entries else 'GROUP BY 1, 2, 3, 4, 5'} ORDER BY {order} LIMIT %s",
            [account, dataset, settled, limit or None],
        )
    if as_json:
        for row in rows:
            typer.echo(json.dumps({name: plain(value) for name, value in row.items()}, ensure_ascii=False))
    elif rows:
        print_table(list(rows[0]), (list(row.values()) for row in rows), 0)
    else:
        typer.echo("nothing is set aside", err=True)


@quarantine.command()
def show(
    entry: Annotated[str, typer.Argument(metavar="ID", help="Id of an entry, or its beginning.")], as_json: AsJson = False
) -> None:
    """An entry: the finding, the row as the vendor sent it, its raw page, load and run."""
    with opened_warehouse() as warehouse, warehouse.session() as connection:
        (found,) = _found(connection, [entry])
        rows = _select(
            connection,
            "SELECT q.*, l.dag_id, l.run_id, l.window_start, l.window_end FROM ops.quarantine q"
            " LEFT JOIN ops.load l USING (load_id) WHERE quarantine_id = %s",
            [found],
        )
    record = {name: plain(value) for name, value in rows[0].items()}
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False))
        return
    for name, value in record.items():
        if value is not None:
            typer.echo(f"{name:18} {json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value}")


@quarantine.command()
def retry(
    entries: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Entries; none: see the options.")] = None,
    dataset: Dataset = None,
    account: OfAccount = None,
    as_json: AsJson = False,
) -> None:
    """Judge rows again under today's contracts and mappings, from raw; exit status 1 when some could not be.

    Without ids and --dataset: what another reading than today's has set aside, as the DAG fleet_self_heal does by itself.
    """
    from fleetlake.accounts import load_accounts
    from fleetlake.pipeline.redrive import redrive

    _check(dataset)
    settings = Settings.from_env()
    accounts = [item for item in load_accounts(settings.include) if account in (None, item.name)]
    if not accounts:
        raise ConfigError(f"there is no account {account!r}", where="include/accounts.yaml")
    failed = False
    with opened_warehouse() as warehouse:
        ids = None
        if entries:
            with warehouse.session() as connection:
                ids = _found(connection, entries)
        for item in accounts:
            if dataset and dataset.partition(".")[0] != item.vendor:
                continue
            report = redrive(settings, item, datasets=[dataset] if dataset else None, entries=ids, warehouse=warehouse)
            failed |= bool(report.errors) or report.is_busy
            if as_json:
                typer.echo(json.dumps({"vendor": item.vendor, "account": item.name, **report.as_dict()}))
            elif report.is_busy:
                typer.echo(f"{item.vendor} {item.name}: another process is at it")
            elif report.loads or report.errors:
                typer.echo(
                    f"{item.vendor} {item.name}: {report.loads} loads judged again: {report.taken} rows taken, {report.settled}"
                    f" settled otherwise, {report.still} still set aside, {report.released} held batches released"
                )
                for error in report.errors:
                    typer.echo(f"  {error}", err=True)
    if failed:
        raise typer.Exit(1)


@quarantine.command()
def drop(
    entries: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of entries, or their beginnings.")],
    reason: Annotated[str, typer.Option(help="Why; stays with the entry. Name no person.")],
) -> None:
    """Give rows up: their entries are settled, with who and why, in the journal too. The raw page keeps them."""
    from fleetlake.pipeline.giving_up import drop as give_up

    if not reason.strip():
        raise ConfigError("the reason is empty", where="--reason", remedy="say why the rows are given up")
    with opened_warehouse() as warehouse:
        with warehouse.session() as connection:
            ids = _found(connection, entries)
        number = give_up(Settings.from_env(), warehouse, ids, reason.strip(), getpass.getuser())
    typer.echo(f"{number} of {len(entries)} dropped", err=True)


def _check(dataset: str | None) -> None:
    if dataset:
        find_tables(Settings.from_env(), [dataset])


def _found(connection: psycopg.Connection[Any], beginnings: Sequence[str]) -> list[str]:
    """Ids of entries by their beginnings.

    Raises:
        ConfigError: no entry begins so, or several do.
    """
    ids = []
    for beginning in beginnings:
        rows = _select(
            connection,
            "SELECT quarantine_id FROM ops.quarantine WHERE starts_with(quarantine_id, %s) ORDER BY 1 LIMIT 2",
            [beginning],
        )
        if len(rows) != 1:
            raise ConfigError(
                f"{'several entries begin' if rows else 'no entry begins'} with {beginning!r}",
                remedy="fleetlake quarantine list --entries",
            )
        ids.append(str(rows[0]["quarantine_id"]))
    return ids


def _select(connection: psycopg.Connection[Any], query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    cursor = connection.execute(query.encode(), values)
    names = [item.name for item in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]
