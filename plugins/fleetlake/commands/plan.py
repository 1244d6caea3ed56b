"""``fleetlake plan``: what a backfill would do and cost. Asks no vendor."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetlake.commands.common import opened_warehouse
from fleetlake.errors import ConfigError
from fleetlake.settings import Settings
from fleetlake.window import DAY, Window, utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetlake.pipeline.estimate import FeedPlan, Wish
    from fleetlake.pipeline.plan import Plan, Standing

app = typer.Typer()

Datasets = Annotated[
    list[str] | None, typer.Option("--dataset", help="Table, for example powunity.trip; may be given several times.")
]
First = Annotated[str | None, typer.Option("--from", help="First day, ISO date.")]
Last = Annotated[str | None, typer.Option("--to", help="Last day, included.")]
Vehicles = Annotated[
    list[str] | None,
    typer.Option("--vehicles", help="Only these, by any identity, with commas between; may be given several times."),
]
AccountName = Annotated[str | None, typer.Option("--account", help="Only this account; default: all of the vendor.")]
Refetch = Annotated[bool, typer.Option("--refetch", help="Ask the vendor again also for what is complete.")]
Reprocess = Annotated[
    bool, typer.Option("--reprocess", help="Derive the rows from the raw answers again; asks no vendor, needs no Airflow.")
]
ActiveRuns = Annotated[int, typer.Option("--max-active-runs", min=1, help="Days loaded at once.")]


@app.command()
def plan(
    datasets: Datasets = None,
    first: First = None,
    last: Last = None,
    vehicles: Vehicles = None,
    account: AccountName = None,
    refetch: Refetch = False,
    reprocess: Reprocess = False,
    max_active_runs: ActiveRuns = 2,
    sample: Annotated[
        int,
        typer.Option(min=0, help="Where there is no history: read so many vehicle-days for real first, through Airflow."),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per DAG and account.")] = False,
) -> None:
    """Say what a backfill would do: requests, time at the account's quota, bytes, rows, and what is complete already.

    Nothing is asked of a vendor, unless --sample is given. Each figure says where it comes from and how far off it may be.
    """
    wish = wish_of(
        datasets, first, last, vehicles, account, refetch=refetch, reprocess=reprocess, active_runs=max_active_runs
    )
    settings = Settings.from_env()
    with opened_warehouse() as warehouse:
        if reprocess:
            from fleetlake.commands.reprocess import count_entries

            for vendor, count in count_entries(settings, warehouse, wish):
                record = {"vendor": vendor, "batches": count, "requests": 0}
                typer.echo(json.dumps(record) if as_json else f"{vendor}: {count} batches in raw, no request to the vendor")
            return
        from fleetlake.pipeline.plan import make_plans

        plans = make_plans(settings, warehouse, wish)
        if sample and any(item.is_guess or not item.vehicles for item in plans):
            from fleetlake.commands.sampling import take_sample

            plans = take_sample(settings, warehouse, wish, plans, sample)
        for item in plans:
            typer.echo(json.dumps(as_record(item)) if as_json else as_text(item))
        for line in () if as_json else shared_quotas(plans):
            typer.echo(line)


def wish_of(
    datasets: Sequence[str] | None,
    first: str | None,
    last: str | None,
    vehicles: Sequence[str] | None,
    account: str | None,
    *,
    refetch: bool,
    reprocess: bool,
    active_runs: int,
) -> Wish:
    """What the options ask for. Days that are not over yet are left out, and standard error says so.

    Raises:
        ConfigError: something is missing, the days are the wrong way round or yet to come, or two options exclude each other.
    """
    from fleetlake.pipeline.estimate import Wish

    if not datasets or not first or not last:
        missing = [name for name, value in (("--dataset", datasets), ("--from", first), ("--to", last)) if not value]
        raise ConfigError(
            f"{', '.join(missing)} missing", remedy="--dataset rcs.telemetry --from 2026-11-01 --to 2026-11-14"
        )
    start, end = utc(first), utc(last)
    for name, moment in (("--from", start), ("--to", end)):
        if moment.time() != dt.time():
            raise ConfigError(f"{moment.isoformat()} is no day", where=name, remedy="a backfill loads whole UTC days")
    if start > end:
        raise ConfigError(f"{first} is after {last}", where="--from and --to", remedy="both days are included")
    if refetch and reprocess:
        raise ConfigError(
            "--refetch asks the vendor again, --reprocess asks nobody: they exclude each other",
            where="--refetch and --reprocess",
            remedy="leave one out",
        )
    today = utc(dt.datetime.now(dt.UTC).date().isoformat())
    if start >= today and not reprocess:
        raise ConfigError(
            f"{first} is not over yet", where="--from", remedy=f"a backfill loads days up to {today - DAY:%Y-%m-%d}"
        )
    if end >= today and not reprocess:
        end = today - DAY
        typer.echo(f"--to {last}: days that are not over yet are left out, the last one is {end:%Y-%m-%d}", err=True)
    named = tuple(part.strip() for text in vehicles or () for part in text.split(",") if part.strip())
    return Wish(
        datasets=tuple(dict.fromkeys(datasets)),
        window=Window(start, end + DAY),
        vehicles=named,
        account=account,
        refetch=refetch,
        active_runs=active_runs,
    )


def as_record(item: Plan) -> dict[str, Any]:
    """A plan for machines."""
    record: dict[str, Any] = {
        "dag_id": item.dag_id,
        "account": item.account.name,
        "datasets": list(item.datasets),
        "from": str(item.days[0]) if item.days else None,
        "to": str(item.days[1]) if item.days else None,
        "runs": item.runs,
        "vehicles": item.vehicles,
        "vehicle_days": {
            one.table: {"complete": one.proven, "out_of_retention": one.out_of_retention, "of": one.of}
            for one in item.standings
        },
        "requests": round(item.price.requests),
        "bytes": round(item.price.bytes),
        "rows": round(item.price.rows),
        "uncertainty": {name: round(item.spread(name), 3) for name in ("requests", "bytes")},
        "seconds": round(item.seconds, 1),
        "seconds_at_quota": round(item.quota_s, 1),
        "seconds_of_work": round(item.work_s, 1),
        "quota_per_s": round(item.quota.rate_per_s, 4),
        "is_guess": item.is_guess,
        "feeds": [
            {
                "feed": part.feed,
                "reads": round(part.reads),
                "requests": round(part.price.requests),
                "bytes": round(part.price.bytes),
                "rows": round(part.price.rows),
                "basis": part.basis,
            }
            for part in item.feeds
        ],
    }
    if item.days:
        record |= {"command": item.command, "api": {"method": "POST", "path": "/api/v2/backfills", "body": item.body}}
    return record


def as_text(item: Plan) -> str:
    """A plan for people."""
    lines = [f"{item.dag_id}, account {item.account.name}: {_days(item)}"]
    lines += [f"  {standing_text(one, are_skipped=bool(one.proven) and not item.wish.refetch)}" for one in item.standings]
    if not item.vehicles:
        lines.append(
            "  the warehouse knows no vehicle of this account yet, so nobody can tell the price; --sample 20 finds out"
        )
    if item.days is None:
        return "\n".join(lines)
    lines.append(f"  {'feed':20} {'reads':>9} {'requests':>10} {'bytes':>10} {'rows':>11}  from")
    lines += [_part_line(part) for part in item.feeds]
    price = item.price
    lines.append(f"  {'together':20} {'':9} {price.requests:10,.0f} {size_text(price.bytes):>10} {price.rows:11,.0f}")
    lines.append(
        f"  {'':20} {'':9} {_within(item, 'requests'):>10} {_within(item, 'bytes'):>10} {_within(item, 'bytes'):>11}"
    )
    origin = "as the last run had it" if item.quota.is_seen else "by the vendor's default"
    limit = "the quota" if item.quota_s >= item.work_s else "not the quota but answers, publishing and Airflow's own work"
    lines.append(
        f"  time: about {time_text(item.seconds)}. {time_text(item.quota_s)} at the quota, which leaves backfills"
        f" {item.quota.rate_per_s:.3g} requests/s ({origin}); {time_text(item.work_s)} of work; the limit is {limit}"
    )
    lines.append(f"  runs: {item.runs}, one a day, {item.wish.active_runs} at once; a day that has a run gets another")
    if item.is_guess:
        lines.append("  some of this has no history: --sample 20 reads 20 vehicle-days and plans from them")
    lines += [f"  {item.command}", f"  POST /api/v2/backfills {json.dumps(item.body)}"]
    return "\n".join(lines)


def shared_quotas(plans: Sequence[Plan]) -> list[str]:
    """A line for each account of which several DAGs have something to read: their requests go through one gate."""
    lines = []
    by_account: dict[str, list[Plan]] = {}
    for item in plans:
        if item.days:
            by_account.setdefault(item.account.name, []).append(item)
    for account, items in by_account.items():
        if len(items) > 1:
            quota_s = sum(item.quota_s for item in items)
            lines.append(
                f"account {account}: {len(items)} DAGs share one quota: {time_text(quota_s)} at the quota for all of them;"
                f" together they take at least {time_text(max(quota_s, *(item.work_s for item in items)))}"
            )
    return lines


def _days(item: Plan) -> str:
    vehicles = f"{item.vehicles} vehicle{'' if item.vehicles == 1 else 's'}"
    if item.days is None:
        return f"nothing to read, {vehicles}"
    return f"{item.days[0]} to {item.days[1]}, {vehicles}"


def _part_line(part: FeedPlan) -> str:
    price = part.price
    numbers = f"{part.reads:9,.0f} {price.requests:10,.0f} {size_text(price.bytes):>10} {price.rows:11,.0f}"
    return f"  {part.feed:20} {numbers}  {part.basis}"


def _within(item: Plan, what: str) -> str:
    return f"± {item.spread(what):.0%}"


def standing_text(standing: Standing, holes: int = 0, *, are_skipped: bool = False) -> str:
    """How a table stands, and its first holes."""
    text = f"{standing.table}: {standing.proven:,} of {standing.of:,} {standing.unit} proven complete"
    if are_skipped:
        text += ", skipped"
    if standing.out_of_retention:
        text += f"; {standing.out_of_retention:,} out of retention: the vendor does not keep them any more"
    for scope, window in standing.holes[:holes]:
        text += f"\n    hole: {scope} {window}"
    if holes and len(standing.holes) > holes:
        text += f"\n    and {len(standing.holes) - holes} more: fleetlake coverage --dataset {standing.table}"
    return text


def size_text(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def time_text(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} days {hours % 24} h"
