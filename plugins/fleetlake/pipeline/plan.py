"""What a backfill would do: the days and vehicles that are missing, the requests that takes, and what it costs.

Nothing here asks a vendor: the coverage ledger says what is missing, ``price`` what it will cost.
"""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fleetlake.accounts import Account, load_accounts
from fleetlake.contracts import Contract, load_contracts
from fleetlake.coverage import Interval, missing, unproven
from fleetlake.errors import ConfigError
from fleetlake.pipeline.estimate import FeedPlan, Pricing, Spans, Wish, by_day, timed, union
from fleetlake.pipeline.parts import Parts
from fleetlake.pipeline.price import Price, Quota, quota_of
from fleetlake.pipeline.run import Run
from fleetlake.pipeline.vehicles import Vehicles, unknown_vehicle
from fleetlake.reading import FLEET, Feed, Kind, Lane, Source
from fleetlake.window import DAY, Window

if TYPE_CHECKING:
    import psycopg

    from fleetlake.settings import Settings
    from fleetlake.warehouse import Warehouse


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a table stands in a window.

    Attributes:
        table: the table.
        unit: what is counted: ``vehicle-days``, or ``days`` where a proof is about the whole fleet.
        proven, of: how many are proven complete, and how many there are.
        holes: what is not proven and still worth asking for, vehicle and window, in order.
        out_of_retention: how many are neither: the vendor does not keep them any more.
    """

    table: str
    unit: str
    proven: int
    of: int
    holes: tuple[tuple[str, Window], ...]
    out_of_retention: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A backfill of one DAG of one account.

    Attributes:
        wish: what was asked for.
        account: whose data.
        dag_id: the DAG that loads it.
        datasets: the tables of the wish that this DAG loads.
        days: first and last day with something to read; ``None`` when nothing is missing.
        entity: table of the account's vehicles.
        vehicles: vehicles the wish is about.
        standings: how the tables stand now.
        feeds: what is read.
        quota: what the account's gate leaves to backfills.
        quota_s: time at the quota; ``work_s`` time that answers, publishing and Airflow take where the quota is no limit.
    """

    wish: Wish
    account: Account
    dag_id: str
    datasets: tuple[str, ...]
    days: tuple[dt.date, dt.date] | None
    entity: str
    vehicles: int
    standings: tuple[Standing, ...]
    feeds: tuple[FeedPlan, ...]
    quota: Quota
    quota_s: float
    work_s: float

    @property
    def runs(self) -> int:
        """Runs of the DAG: one a day from the first to the last."""
        return (self.days[1] - self.days[0]).days + 1 if self.days else 0

    @property
    def price(self) -> Price:
        """All feeds together."""
        return sum((item.price for item in self.feeds), Price())

    @property
    def seconds(self) -> float:
        """How long it takes: what is slower counts, the quota or the work."""
        return max(self.quota_s, self.work_s)

    def spread(self, what: str) -> float:
        """Half-width of the requests or bytes, relative: feeds are uncertain for the same reasons, so it adds up."""
        whole = getattr(self.price, what) or 1.0
        name = "request_spread" if what == "requests" else "spread"
        part: float = sum(getattr(item.price, what) * getattr(item, name) for item in self.feeds) / whole
        return part

    @property
    def is_guess(self) -> bool:
        """Some of it has no history, or nobody knows for which vehicles it would be."""
        return not self.vehicles or any(item.is_guess for item in self.feeds)

    @property
    def own_wish(self) -> Wish:
        """The wish, as far as this DAG and account go."""
        return replace(self.wish, datasets=self.datasets, account=self.account.name)

    @property
    def conf(self) -> dict[str, Any]:
        """Params of the runs."""
        conf: dict[str, Any] = {"datasets": list(self.datasets)}
        if self.wish.vehicles:
            conf["vehicles"] = list(self.wish.vehicles)
        if self.wish.refetch:
            conf["force"] = True
        return conf

    @property
    def body(self) -> dict[str, Any]:
        """Body of ``POST /api/v2/backfills``. Days that have a run already get another, which asks for what is missing."""
        if self.days is None:
            raise ConfigError(f"{self.dag_id}: nothing is missing", remedy="--refetch asks the vendor again")
        return {
            "dag_id": self.dag_id,
            "from_date": f"{self.days[0]}T00:00:00Z",
            "to_date": f"{self.days[1]}T00:00:00Z",
            "reprocess_behavior": "completed",
            "max_active_runs": self.wish.active_runs,
            "dag_run_conf": self.conf,
        }

    @property
    def command(self) -> str:
        """The same as a command of Airflow."""
        body = self.body
        words = [
            "airflow", "backfill", "create", "--dag-id", self.dag_id, "--from-date", str(body["from_date"])[:10],
            "--to-date", str(body["to_date"])[:10], "--max-active-runs", str(self.wish.active_runs),
            "--reprocess-behavior", "completed", "--dag-run-conf", json.dumps(self.conf),
        ]  # fmt: skip
        return shlex.join(words)


def make_plans(settings: Settings, warehouse: Warehouse, wish: Wish) -> list[Plan]:
    """What has to be done for a wish: a plan per DAG and account.

    Raises:
        ConfigError: an unknown table or account, a table that no DAG loads or that has no days.
        UnknownVehicle: no account has such a vehicle.
    """
    plans = []
    for account, own in own_wishes(settings, warehouse, wish):
        contracts = load_contracts(settings.include, account.vendor)
        by_dag: dict[str, list[str]] = defaultdict(list)
        for table in own.datasets:
            by_dag[account.dag_id(str(contracts[table].loaded_by))].append(table)
        for dag_id, tables in by_dag.items():
            plans.append(_Planner(settings, warehouse, own, account).plan(dag_id, tables))
    return plans


def own_wishes(settings: Settings, warehouse: Warehouse, wish: Wish) -> list[tuple[Account, Wish]]:
    """A wish account by account: its tables, and of the vehicles named those it has. Accounts that have none are left out.

    Raises:
        ConfigError: an unknown table or account, a table that no DAG loads or that has no days.
        UnknownVehicle: no account has such a vehicle.
    """
    contracts = load_contracts(settings.include)
    warehouse.migrate(list(contracts.values()), settings.include)
    for table in wish.datasets:
        _check(contracts, table)
    vendors = {contracts[table].vendor for table in wish.datasets}
    accounts = [one for one in load_accounts(settings.include) if one.vendor in vendors and wish.account in (None, one.name)]
    if not accounts:
        raise ConfigError(
            f"no account {wish.account or ''} has {', '.join(wish.datasets)}", where=str(settings.include / "accounts.yaml")
        )
    found = []
    names: set[str] = set()
    for account in accounts:
        datasets = tuple(table for table in dict.fromkeys(wish.datasets) if contracts[table].vendor == account.vendor)
        own = replace(wish, datasets=datasets, account=account.name)
        if wish.vehicles:
            entities = _vehicles(settings, warehouse, account)
            known = entities.known()[1]
            names |= known.keys()
            own = replace(own, vehicles=tuple(name for name in wish.vehicles if name.lower() in known))
        if own.vehicles or not wish.vehicles:
            found.append((account, own))
    for name in wish.vehicles:
        if name.lower() not in names:
            raise unknown_vehicle([one.name for one in accounts], name, names, entities.contract.table)
    return found


def standings(settings: Settings, warehouse: Warehouse, wish: Wish) -> list[Standing]:
    """How the tables of a wish stand now, for one account.

    Raises:
        ConfigError: the wish names no account of ``accounts.yaml``.
    """
    account = next((one for one in load_accounts(settings.include) if one.name == wish.account), None)
    if account is None:
        raise ConfigError(f"there is no account {wish.account!r}", where=str(settings.include / "accounts.yaml"))
    planner = _Planner(settings, warehouse, wish, account)
    return [planner.standing(table) for table in wish.datasets]


def vehicles_of(settings: Settings, warehouse: Warehouse, account: Account, wish: Wish) -> list[str]:
    """Vendor ids of the vehicles a wish is about.

    Raises:
        UnknownVehicle: the account has no such vehicle.
    """
    return _Planner(settings, warehouse, wish, account).vehicles


def _vehicles(settings: Settings, warehouse: Warehouse, account: Account) -> Vehicles:
    parts = Parts(settings, account, _no_source)
    parts.use(warehouse)
    return Vehicles(parts)


def _check(contracts: Mapping[str, Contract], table: str) -> None:
    contract = contracts.get(table)
    if contract is None:
        raise ConfigError(f"there is no table {table!r}", where="--dataset", remedy=f"one of: {', '.join(contracts)}")
    if contract.loaded_by is None:
        raise ConfigError(f"no DAG loads {table}", where=str(contract.path), remedy="its vendor's page says why")
    if contract.kind is Kind.SNAPSHOT:
        raise ConfigError(
            f"{table} is a list of what there is now: it has no days to load",
            where="--dataset",
            remedy="every run of its DAG reads it anew",
        )


class _Planner:
    """One account's part of a wish."""

    def __init__(self, settings: Settings, warehouse: Warehouse, wish: Wish, account: Account) -> None:
        self._parts = Parts(settings, account, _no_source)
        self._parts.use(warehouse)
        self._warehouse = warehouse
        self._wish = wish
        self._account = account
        self._known: dict[str, dict[str, list[Interval]]] = {}
        run = Run(
            account=account, dag_id="plan", run_id="plan", window=wish.window, lane=Lane.BACKFILL, vehicles=wish.vehicles
        )
        self.vehicles = Vehicles(self._parts).chosen(run)

    def plan(self, dag_id: str, tables: Sequence[str]) -> Plan:
        feeds = [feed for feed in self._parts.room.feeds.values() if not set(feed.datasets).isdisjoint(tables)]
        standings = tuple(self.standing(table) for table in tables)
        spans = {feed.name: self._spans(feed, tables) for feed in feeds if feed.kind is not Kind.REPORT}
        todo = [pair for spans_of in spans.values() for pairs in spans_of.values() for pair in pairs]
        first, end = (min(low for low, _ in todo), max(high for _, high in todo)) if todo else (0, 0)
        if not self.vehicles:
            first, end = 0, self._wish.dates  # nobody knows yet what is missing: the first run finds the vehicles
        counts = self._counts(spans)
        with self._warehouse.session() as connection:
            quota = quota_of(connection, self._account)
            pricing = Pricing(connection, self._account, self._wish, counts, end - first, len(self.vehicles))
            parts = []
            if end > first:
                parts.append(pricing.of_list(self._entity))
                parts += [
                    pricing.of_jobs(feed) if feed.kind is Kind.REPORT else pricing.of(feed, spans[feed.name])
                    for feed in feeds
                ]
            parts += pricing.login(parts)
            idle_s = _idle_s(connection, self._account, dag_id)
        requests = sum(part.price.requests for part in parts)
        quota_s, work_s = quota.seconds(requests), pricing.work_s(parts, idle_s)
        busy_s = sum(part.price.seconds for part in parts) or 1.0

        def seconds(price: Price) -> float:
            return price.requests / quota.rate_per_s if quota_s >= work_s else price.seconds / busy_s * work_s

        day = self._wish.first
        return Plan(
            wish=self._wish,
            account=self._account,
            dag_id=dag_id,
            datasets=tuple(tables),
            days=(day + first * DAY, day + (end - 1) * DAY) if end > first else None,
            entity=self._entity.datasets[0],
            vehicles=len(self.vehicles),
            standings=standings,
            feeds=tuple(timed(part, seconds) for part in parts),
            quota=quota,
            quota_s=quota_s,
            work_s=work_s,
        )

    def standing(self, table: str) -> Standing:
        to_ask = self._missing_of(table)
        holes = [(scope, hole) for scope, windows in sorted(to_ask.items()) for hole in windows]
        scopes = self._scopes(table)
        without_proof = {scope: unproven(items, self._wish.window) for scope, items in self._known_of(table).items()}
        asked, open_days = self._days(to_ask), self._days(without_proof)
        whole = len(scopes) * self._wish.dates
        return Standing(
            table=table,
            unit="days" if scopes == [FLEET] else "vehicle-days",
            proven=whole - open_days,
            of=whole,
            holes=tuple(holes),
            out_of_retention=open_days - asked,
        )

    @property
    def _entity(self) -> Feed:
        return next(feed for feed in self._parts.room.feeds.values() if feed.kind is Kind.SNAPSHOT)

    def _scopes(self, table: str) -> list[str]:
        return self.vehicles if self._parts.contracts[table].scope_column else [FLEET]

    def _known_of(self, table: str) -> dict[str, list[Interval]]:
        if table not in self._known:
            self._known[table] = self._warehouse.covered(self._account.name, table, self._scopes(table), self._wish.window)
        return self._known[table]

    def _missing_of(self, table: str) -> dict[str, list[Window]]:
        found = {scope: missing(items, self._wish.window) for scope, items in self._known_of(table).items()}
        return {scope: windows for scope, windows in found.items() if windows}

    def _days(self, windows: Mapping[str, Sequence[Window]]) -> int:
        """Days that touch any of the windows, vehicle by vehicle."""
        return sum(high - low for pairs in self._ranges(windows).values() for low, high in pairs)

    def _ranges(self, windows_of: Mapping[str, Sequence[Window]]) -> Spans:
        """Whole days that touch some windows."""
        start = self._wish.window.start
        return {
            scope: union([((one.start - start) // DAY, -((start - one.end) // DAY)) for one in windows])
            for scope, windows in windows_of.items()
        }

    def _spans(self, feed: Feed, tables: Sequence[str]) -> Spans:
        """What a feed has to read for the tables wanted."""
        spans: Spans = defaultdict(list)
        for table in feed.datasets:
            if table not in tables:
                continue
            if self._wish.refetch:
                everything = {scope: [(0, self._wish.dates)] for scope in self._scopes(table)}
            else:
                everything = self._ranges(self._missing_of(table))
            for scope, pairs in everything.items():
                # What is proven for the fleet at once may be read vehicle by vehicle.
                for one in self.vehicles if feed.per_scope and scope == FLEET else [scope]:
                    spans[one] += pairs
        return {scope: union(pairs) for scope, pairs in spans.items()}

    def _counts(self, spans: Mapping[str, Spans]) -> list[int]:
        """Vehicles by day for which anything is missing: they are shared out to the tasks of the day's run."""
        together: Spans = defaultdict(list)
        for one in spans.values():
            for scope, pairs in one.items():
                if scope != FLEET:
                    together[scope] += pairs
        return by_day({scope: union(pairs) for scope, pairs in together.items()}, self._wish.dates)


_IDLE = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY greatest(0, span - busy)) FROM (
    SELECT extract(epoch FROM max(e.ended_at) - min(u.started_at)) AS span, sum(u.total_s) AS busy
    FROM ops.usage u JOIN ops.run_end e USING (dag_id, run_id)
    WHERE u.account = %s AND u.dag_id = %s
    GROUP BY u.run_id ORDER BY max(u.usage_id) DESC LIMIT 50
) runs
"""


def _idle_s(connection: psycopg.Connection[Any], account: Account, dag_id: str) -> float:
    """Seconds of a run of the DAG in which none of its tasks worked: what Airflow needs between them."""
    row = connection.execute(_IDLE, [account.name, dag_id]).fetchone()
    return float(row[0]) if row and row[0] is not None else 0.0


def _no_source() -> Source:
    raise AssertionError("a plan asks no vendor")
