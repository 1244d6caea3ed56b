"""``fleetlake coverage``: what is missing, why and who is next; then what is complete, and how that is known."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetlake.accounts import load_accounts
from fleetlake.commands.common import check_names, opened_warehouse, parse_window
from fleetlake.contracts import load_contracts
from fleetlake.errors import UnknownVehicle
from fleetlake.printing import plain, print_table
from fleetlake.reading import Kind
from fleetlake.settings import Settings

if TYPE_CHECKING:
    import psycopg

    from fleetlake.warehouse import Warehouse
    from fleetlake.window import Window

app = typer.Typer()

_SHOWN = 40
"""Holes on one screen; the rest is counted."""

_WHOSE = (
    "account = coalesce(%(account)s::text, account) AND dataset = coalesce(%(dataset)s::text, dataset)"
    " AND (%(scopes)s::text[] IS NULL OR (account, scope) IN"
    " (SELECT * FROM unnest(%(accounts)s::text[], %(scopes)s::text[])))"
)
_CHOSEN = (
    f"{_WHOSE} AND window_start < coalesce(%(end)s::timestamptz, 'infinity')"
    " AND window_end > coalesce(%(start)s::timestamptz, '-infinity')"
)
_HOLES = f"""
SELECT account, dataset, scope, window_start, window_end, days, state, proof, attempts, next_by, next_at, reason
FROM ops.hole WHERE {_CHOSEN}
ORDER BY window_start, account, dataset, scope
"""
_STATUS = """
SELECT account, dataset, scopes, complete_until, days_proven, days_open, holes, last_fetched_at, rows
FROM ops.dataset_status
WHERE account = coalesce(%(account)s::text, account) AND dataset = coalesce(%(dataset)s::text, dataset)
ORDER BY account, dataset
"""
# In a window every vehicle of the ledger is expected in all of it that is over, whether or not anybody ever asked: but for
# vehicles marked deleted, of which nothing is expected after their last interval.
_ASKED = "tstzmultirange(tstzrange(%(start)s::timestamptz, greatest(%(start)s, least(%(end)s::timestamptz, now()))))"
_EXPECTED = f"""
WITH known AS (
    SELECT account, dataset, scope, min(window_start) AS first, max(window_end) AS last,
        range_agg(tstzrange(window_start, window_end)) AS told,
        coalesce(range_agg(tstzrange(window_start, window_end)) FILTER (WHERE state IN ('complete', 'empty_confirmed')),
            '{{}}') AS proven
    FROM ops.coverage WHERE {_WHOSE} GROUP BY 1, 2, 3
), expected AS (
    SELECT k.*, {_ASKED} AS asked,
        CASE WHEN t.scope IS NULL THEN '{{}}' ELSE tstzmultirange(tstzrange(k.last, NULL)) END AS beyond
    FROM known k LEFT JOIN ops.retired t USING (account, scope)
), hole AS (
    SELECT account, dataset, scope, window_start, window_end, days, state, proof, attempts, next_by, next_at, reason
    FROM ops.hole WHERE {_CHOSEN}
), missing AS (
    SELECT * FROM hole
    UNION ALL
    SELECT e.account, e.dataset, e.scope, lower(part), upper(part), extract(epoch FROM upper(part) - lower(part))::float / 86400,
        'unread', CASE WHEN lower(part) < e.first THEN 'unread: before its first reading' ELSE 'unread: nobody has come so far' END,
        0, CASE WHEN lower(part) < date_trunc('day', now(), 'UTC') - interval '1 day' THEN 'backfill' ELSE 'schedule' END,
        NULL, NULL
    FROM expected e
    LEFT JOIN (
        SELECT account, dataset, scope, range_agg(tstzrange(window_start, window_end)) AS told FROM hole GROUP BY 1, 2, 3
    ) h USING (account, dataset, scope)
    CROSS JOIN LATERAL unnest(e.asked - e.told - coalesce(h.told, '{{}}') - e.beyond) AS part
)"""
_HOLES_OF_WINDOW = f"{_EXPECTED} SELECT * FROM missing ORDER BY window_start, account, dataset, scope"
_DAYS = "(SELECT coalesce(extract(epoch FROM sum(upper(part) - lower(part))), 0)::float / 86400 FROM unnest({}) AS part)"
_STATUS_OF_WINDOW = f"""{_EXPECTED}, table_of_window AS (
    SELECT account, dataset, count(*) AS scopes,
        coalesce(min(lower(tstzmultirange(tstzrange(%(start)s, NULL)) - proven - beyond)), max(last)) AS complete_until,
        sum({_DAYS.format("asked * proven")}) AS days_proven, sum({_DAYS.format("asked - proven - beyond")}) AS days_open
    FROM expected GROUP BY 1, 2
)
SELECT t.*, (SELECT count(*) FROM missing m WHERE (m.account, m.dataset) = (t.account, t.dataset)) AS holes,
    s.last_fetched_at, NULL::bigint AS rows, CASE WHEN %(end)s > now() THEN greatest(%(start)s, now()) END AS not_yet_from
FROM table_of_window t LEFT JOIN ops.dataset_status s USING (account, dataset)
ORDER BY account, dataset
"""
_INTERVALS = f"""
SELECT account, dataset, scope, window_start, window_end, state, proof, fetched_at, rows
FROM ops.coverage WHERE {_CHOSEN} ORDER BY account, dataset, scope, window_start
"""
_RETRY = f"DELETE FROM ops.heal WHERE gave_up_at IS NOT NULL AND {_CHOSEN}"


@app.command()
def coverage(
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this table, for example powunity.trip.")] = None,
    vehicle: Annotated[
        str | None, typer.Option(help="Only this vehicle, by vendor id, name, plate or VIN; shows its intervals too.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="First moment, ISO 8601.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, exclusive: the day 2026-01-05 ends at 2026-01-06.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every hole, and what only waits for the schedule.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Let self-healing try again what it has given up, of what is chosen.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line: kind is hole, dataset or interval.")
    ] = False,
) -> None:
    """Show what is missing, since when, why and who is next; then how complete each table is, and how that is known."""
    settings = Settings.from_env()
    window = parse_window(start, end)
    check_names(settings, account, dataset)
    with opened_warehouse() as warehouse:
        found = _find(warehouse, settings, account, vehicle) if vehicle else None
        values = {
            "account": account,
            "dataset": dataset,
            "accounts": [item[0] for item in found] if found else None,
            "scopes": [item[1] for item in found] if found else None,
            "start": window.start if window else None,
            "end": window.end if window else None,
        }
        with warehouse.session() as connection:
            if retry:
                count = connection.execute(_RETRY, values).rowcount
                connection.commit()
                typer.echo(f"{count} given up before: the next run of fleet_self_heal tries them again", err=True)
            found_holes = _rows(connection, _HOLES_OF_WINDOW if window else _HOLES, values)
            tables = [] if vehicle else _rows(connection, _STATUS_OF_WINDOW if window else _STATUS, values)
            intervals = _rows(connection, _INTERVALS, values) if vehicle else []
            _count(connection, settings, intervals)
    holes = [item for item in found_holes if everything or item["next_by"] != "schedule"]
    if as_json:
        for kind, items in (("hole", holes), ("dataset", tables), ("interval", intervals)):
            for item in items:
                typer.echo(json.dumps({"kind": kind, **{name: plain(value) for name, value in item.items()}}))
        return
    _print_holes(holes, 0 if everything else _SHOWN)
    _print_rest(
        holes, len(found_holes) - len(holes), window, is_known=bool(intervals) or any(item["scopes"] for item in tables)
    )
    if vehicle:
        _print_intervals(intervals)
    else:
        _print_tables(tables)


def _find(warehouse: Warehouse, settings: Settings, account: str | None, name: str) -> list[tuple[str, str]]:
    """Accounts and vendor ids of a vehicle that is called so, whichever way; it may have devices of several vendors.

    Raises:
        UnknownVehicle: nobody is called so.
    """
    from fleetlake.pipeline.rooms import vendor_room

    found = []
    for item in load_accounts(settings.include):
        if account not in (None, item.name):
            continue
        room = vendor_room(item.vendor)
        entity = next(feed for feed in room.feeds.values() if feed.kind is Kind.SNAPSHOT)
        contract = load_contracts(settings.include, item.vendor)[entity.datasets[0]]
        scope = contract.scope_column or contract.key[1]
        rows = warehouse.rows(contract, account=item.name, columns=list(dict.fromkeys([scope, *room.identities])))
        found += [
            (item.name, str(row[scope]))
            for row in rows
            if name.lower() in {str(value).lower() for value in row.values() if value is not None}
        ]
    if not found:
        raise UnknownVehicle(
            f"nobody has a vehicle {name!r}", where="--vehicle", remedy="select * from fleet.vehicle, or the vendor's table"
        )
    return found


def _rows(connection: psycopg.Connection[Any], query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    cursor = connection.execute(query.encode(), values)
    names = [item.name for item in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _count(connection: psycopg.Connection[Any], settings: Settings, intervals: Sequence[dict[str, Any]]) -> None:
    """Rows of proven intervals whose number the ledger does not know, because they were cut: counted in the table."""
    from psycopg import sql

    from fleetlake.warehouse.ddl import identifier

    contracts = load_contracts(settings.include)
    for item in intervals:
        contract = contracts.get(item["dataset"])
        if item["rows"] is None and contract is not None and contract.time_column and contract.scope_column:
            query = sql.SQL(
                "SELECT count(*) FROM {table} WHERE account = %(account)s AND deleted_at IS NULL"
                " AND {scope} = %(scope)s::text::{type} AND {time} >= %(window_start)s AND {time} < %(window_end)s"
            ).format(
                table=identifier(contract.table),
                scope=sql.Identifier(contract.scope_column),
                type=sql.SQL(contract.column(contract.scope_column).type),
                time=sql.Identifier(contract.time_column),
            )
            [(item["rows"],)] = connection.execute(query, item)


def _print_holes(holes: Sequence[Mapping[str, Any]], limit: int) -> None:
    if not holes:
        return
    days = sum(item["days"] for item in holes)
    typer.echo(f"{len(holes)} holes, {days:,.1f} vehicle-days:")
    heads = ["account", "table", "vehicle", "from", "to", "days", "state", "why", "tried", "next"]
    rows = (
        (
            item["account"],
            item["dataset"],
            item["scope"],
            _short(item["window_start"]),
            _short(item["window_end"]),
            item["days"],
            item["state"],
            item["proof"],
            item["attempts"] or None,
            who_is_next(item),
        )
        for item in holes[: limit or None]
    )
    print_table(heads, rows, 0)
    if limit and len(holes) > limit:
        typer.echo(f"only the first {limit} are shown: --all shows the others", err=True)
    typer.echo("")


def _print_rest(holes: Sequence[object], waiting: int, window: Window | None, *, is_known: bool) -> None:
    """What the list of holes does not say: that there are none, that some only wait, how far the window is over."""
    now = dt.datetime.now(dt.UTC)
    if waiting:
        typer.echo(f"{waiting} wait for the schedule; --all shows them.")
    elif not holes and not is_known:
        typer.echo("The ledger holds no times of it: nothing can be said about what is missing.")
    elif not holes and not (window and window.start >= now):
        typer.echo("Nothing is missing.")
    if window:
        typer.echo(f"From {_short(window.start)} to {_short(window.end)}, the end exclusive.")
        if window.end > now:
            typer.echo(f"Not yet, and not counted: from {_short(max(now, window.start))} on.")


def who_is_next(hole: Mapping[str, Any]) -> str:
    """Who mends a hole, and when.

    Args:
        hole: a row of ``ops.hole``.
    """
    by, at = hole["next_by"], hole["next_at"]
    when = f" at {_short(at)}" if at is not None and at > dt.datetime.now(dt.UTC) else ""
    if by == "self-heal":
        tried = f" (attempts: {hole['attempts']})" if hole["attempts"] else ""
        return f"self-heal{when or ', next run'}{tried}"
    if by == "person":
        return f"person: {hole['reason'] or hole['proof']}"
    return f"{by}{when}"


def _print_tables(tables: Sequence[Mapping[str, Any]]) -> None:
    heads = ["account", "table", "vehicles", "complete until", "proven", "holes", "last fetch", "rows"]
    rows = (
        (
            item["account"],
            item["dataset"],
            item["scopes"] or None,
            _short(item["complete_until"]),
            _percent(item["days_proven"], item["days_open"]),
            item["holes"] or None,
            _short(item["last_fetched_at"]),
            item["rows"],
        )
        for item in tables
    )
    print_table(heads, rows, 0)


def _print_intervals(intervals: Sequence[Mapping[str, Any]]) -> None:
    heads = ["account", "table", "vehicle", "from", "to", "state", "proof", "last fetch", "rows"]
    rows = (
        (
            item["account"],
            item["dataset"],
            item["scope"],
            _short(item["window_start"]),
            _short(item["window_end"]),
            item["state"],
            item["proof"],
            _short(item["fetched_at"]),
            item["rows"],
        )
        for item in intervals
    )
    print_table(heads, rows, 0)


def _percent(proven: float | None, missing: float | None) -> str | None:
    """Share of vehicle-days; 100 % only where nothing is missing."""
    if not proven and not missing:
        return None
    whole = (proven or 0) + (missing or 0)
    share = 100 * (proven or 0) / whole
    return f"{share if not missing else min(share, 99.99):.2f} %"


def _short(moment: dt.datetime | None) -> str | None:
    """A moment for people, UTC, without what is zero."""
    if moment is None:
        return None
    utc = moment.astimezone(dt.UTC)
    return f"{utc:%Y-%m-%d}" if utc.time() == dt.time() else f"{utc:%Y-%m-%d %H:%M}"
