"""``fleetlake coverage``: what is missing, why and who is next; then what is complete, and how that is known."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
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
from fleetlake.window import DAY

if TYPE_CHECKING:
    import psycopg

    from fleetlake.warehouse import Warehouse
    from fleetlake.window import Window

app = typer.Typer()

_NONE = dt.timedelta()
_SHOWN = 40
"""Holes on one screen; the rest is counted."""

# A name that is not given falls away before the planner counts: it knows then how few rows a name leaves.
_WHOSE = (
    "(%(account)s::text IS NULL OR account = %(account)s) AND (%(dataset)s::text IS NULL OR dataset = %(dataset)s)"
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
SELECT account, dataset, scopes, complete_until, days_proven, days_open, holes, last_fetched_at, rows, read_until
FROM ops.dataset_status
WHERE (%(account)s::text IS NULL OR account = %(account)s) AND (%(dataset)s::text IS NULL OR dataset = %(dataset)s)
ORDER BY account, dataset
"""
# In a window every vehicle of the ledger is expected in all of it that is over, whether or not anybody ever asked: but for
# vehicles marked deleted, of which nothing is expected after their last interval. What ops.hole does not tell of that lies
# before a vehicle's first interval or after its last one: both are found by an index, nobody walks through the ledger.
_OVER = "greatest(%(start)s::timestamptz, least(%(end)s::timestamptz, now()))"
_HOLES_OF_WINDOW = f"""
WITH hole AS MATERIALIZED (
    SELECT account, dataset, scope, window_start, window_end, state, proof, attempts, next_by, next_at, reason
    FROM ops.hole WHERE {_CHOSEN}
), unread AS (
    SELECT account, dataset, scope, %(start)s::timestamptz AS window_start, least(min(window_start), {_OVER}) AS window_end,
        'unread: before its first reading' AS proof
    FROM (SELECT * FROM ops.coverage WHERE {_WHOSE} AND window_start > %(start)s) c
    WHERE NOT EXISTS (
        SELECT FROM ops.coverage p
        WHERE (p.account, p.dataset, p.scope) = (c.account, c.dataset, c.scope) AND p.window_start <= %(start)s
    )
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT c.account, c.dataset, c.scope, greatest(c.window_end, h.window_end, %(start)s), {_OVER},
        'unread: nobody has come so far'
    FROM (SELECT * FROM ops.coverage WHERE {_WHOSE} AND next_start IS NULL AND window_end < {_OVER}) c
    LEFT JOIN hole h ON (h.account, h.dataset, h.scope, h.window_start) = (c.account, c.dataset, c.scope, c.window_end)
    WHERE NOT EXISTS (SELECT FROM ops.retired t WHERE (t.account, t.scope) = (c.account, c.scope))
), missing AS (
    SELECT account, dataset, scope, greatest(window_start, %(start)s) AS window_start, least(window_end, %(end)s) AS window_end,
        state, proof, attempts, next_by, next_at, reason
    FROM hole
    UNION ALL
    SELECT account, dataset, scope, window_start, window_end, 'unread', proof, 0,
        CASE WHEN window_start < date_trunc('day', now(), 'UTC') - interval '1 day' THEN 'backfill' ELSE 'schedule' END, NULL, NULL
    FROM unread
    WHERE window_start < window_end
)
SELECT account, dataset, scope, window_start, window_end,
    round((extract(epoch FROM window_end - window_start) / 86400)::numeric, 2)::double precision AS days,
    state, proof, attempts, next_by, next_at, reason
FROM missing
ORDER BY window_start, account, dataset, scope
"""
# What is proven is what is expected without the holes: see _tables_of_window.
_STATUS_OF_WINDOW = f"""
WITH last AS (
    SELECT account, dataset, count(*) AS scopes, max(window_end) AS read_until
    FROM ops.coverage WHERE {_WHOSE} AND next_start IS NULL GROUP BY 1, 2
), retired AS (
    SELECT account, dataset, count(*) FILTER (WHERE c.window_end <= %(start)s) AS scopes,
        sum({_OVER} - greatest(%(start)s, least(c.window_end, {_OVER}))) AS beyond
    FROM last JOIN ops.retired t USING (account) JOIN ops.coverage c USING (account, dataset, scope)
    WHERE c.next_start IS NULL GROUP BY 1, 2
), open AS (
    SELECT account, dataset, window_start AS moment FROM ops.coverage
    WHERE state NOT IN ('complete', 'empty_confirmed') AND window_end > %(start)s AND {_WHOSE}
    UNION ALL
    SELECT account, dataset, window_end FROM ops.coverage WHERE next_start > window_end AND next_start > %(start)s AND {_WHOSE}
), first_open AS (
    SELECT account, dataset, min(greatest(moment, %(start)s)) AS moment FROM open GROUP BY 1, 2
)
SELECT account, dataset, l.scopes - coalesce(r.scopes, 0) AS scopes,
    coalesce(least(o.moment, (
        SELECT greatest(c.window_end, %(start)s) FROM ops.coverage c
        WHERE (c.account, c.dataset) = (l.account, l.dataset) AND c.next_start IS NULL
            AND NOT EXISTS (SELECT FROM ops.retired t WHERE (t.account, t.scope) = (c.account, c.scope))
        ORDER BY c.window_end LIMIT 1
    )), l.read_until) AS complete_until,
    l.scopes * ({_OVER} - %(start)s) - coalesce(r.beyond, interval '0') AS expected,
    (SELECT max(fetched_to) FROM ops.load b WHERE (b.account, b.dataset) = (l.account, l.dataset)) AS last_fetched_at,
    NULL::bigint AS rows, l.read_until, CASE WHEN %(end)s > now() THEN {_OVER} END AS not_yet_from, {_OVER} AS over
FROM last l LEFT JOIN retired r USING (account, dataset) LEFT JOIN first_open o USING (account, dataset)
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
            found_holes, tables = holes_and_tables(connection, values)
            intervals = _rows(connection, _INTERVALS, values) if vehicle else []
            _count(connection, settings, intervals)
    holes = [item for item in found_holes if everything or item["next_by"] != "schedule"]
    if as_json:
        for kind, items in (("hole", holes), ("dataset", tables), ("interval", intervals)):
            for item in items:
                typer.echo(json.dumps({"kind": kind, **{name: plain(value) for name, value in item.items()}}))
        return
    _print_holes(holes, 0 if everything else _SHOWN)
    ends = read_until(intervals if vehicle else tables)
    _print_rest(holes, len(found_holes) - len(holes), window, ends)
    if vehicle:
        _print_intervals(intervals)
    else:
        _print_tables(tables)


def holes_and_tables(
    connection: psycopg.Connection[Any], values: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is missing, in order of time, and how the tables stand; of one vehicle there are no tables.

    Args:
        connection: to the warehouse.
        values: account, dataset, start and end, or ``None``; accounts and scopes of a vehicle, or ``None``.
    """
    is_window = values["start"] is not None
    holes = _rows(connection, _HOLES_OF_WINDOW if is_window else _HOLES, values)
    if values["scopes"]:
        return holes, []
    if not is_window:
        return holes, _rows(connection, _STATUS, values)
    return holes, _tables_of_window(_rows(connection, _STATUS_OF_WINDOW, values), holes)


def _tables_of_window(rows: Sequence[dict[str, Any]], holes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How tables stand in a window: what is proven is what is expected without the holes."""
    by_table: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for hole in holes:
        by_table[hole["account"], hole["dataset"]].append(hole)
    tables = []
    for row in rows:
        own = by_table[row["account"], row["dataset"]]
        expected, over = row.pop("expected"), row.pop("over")
        missing = sum(
            (min(one["window_end"], over) - one["window_start"] for one in own if one["window_start"] < over), _NONE
        )
        told = {"days_proven": (expected - missing) / DAY, "days_open": missing / DAY, "holes": len(own)}
        first = min((one["window_start"] for one in own), default=row["complete_until"])
        tables.append({**row, **told, "complete_until": min(first, row["complete_until"])})
    return tables


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


def read_until(items: Sequence[Mapping[str, Any]]) -> dict[str, dt.datetime]:
    """How far each table of each account was read.

    Args:
        items: tables, or intervals.
    """
    ends: dict[str, dt.datetime] = {}
    for item in items:
        end = item.get("read_until") or item.get("window_end")
        if end is not None:
            name = f"{item['account']} {item['dataset']}"
            ends[name] = max(end, ends.get(name, end))
    return ends


def _print_rest(holes: Sequence[object], waiting: int, window: Window | None, ends: Mapping[str, dt.datetime]) -> None:
    """What the list of holes does not say: that there are none, that some only wait, how far the time was read and is over."""
    now = dt.datetime.now(dt.UTC)
    # Yesterday is read in the course of today.
    yesterday = now.replace(hour=0, minute=0, second=0, microsecond=0) - DAY
    late = {} if window else {name: end for name, end in ends.items() if end < yesterday}
    if waiting:
        typer.echo(f"{waiting} wait for the schedule; --all shows them.")
    elif not holes and not ends:
        typer.echo("The ledger holds no times of it: nothing can be said about what is missing.")
    elif not holes and not (window and window.start >= now):
        typer.echo(f"Nothing is missing{f' before {_short(min(late.values()))}' if late else ''}.")
    for end in sorted(set(late.values())):
        names = ", ".join(sorted(name for name in late if late[name] == end))
        typer.echo(f"Nothing has been read since {_short(end)}: {names}.")
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
