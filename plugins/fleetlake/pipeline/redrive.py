"""Judge again what was set aside or held by another reading than today's, from raw, with no call to the vendor.

A row is set aside, or a batch held, by a *reading*: contract, mapping file and code (``pipeline.fingerprint``). When one of
these has changed, the loads concerned are published once more from the journal, in the order of their publication and under
the rules of every publication: older data never replaces newer. What fails again is marked with the new reading, so it rests
until something changes. A row that refers to something unknown is tried again when that has become known.

Each batch is one transaction that also brings its marks up to date: a process that is killed leaves the rest for the next
one, and what two processes do twice changes nothing the second time.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from fleetlake.contracts import load_contracts
from fleetlake.errors import FleetlakeError, StoreConflict, StoreUnavailable
from fleetlake.pipeline.entries import BatchEntry
from fleetlake.pipeline.fingerprint import reading_of
from fleetlake.pipeline.publish import Summary
from fleetlake.pipeline.replay import Replayer
from fleetlake.raw import Journal
from fleetlake.warehouse import Warehouse

if TYPE_CHECKING:
    from fleetlake.accounts import Account
    from fleetlake.contracts import Column, Contract
    from fleetlake.settings import Settings

log = logging.getLogger(__name__)

Connection = psycopg.Connection[Any]


@dataclass
class RedriveReport:
    """What a re-drive did.

    Attributes:
        loads: loads judged again.
        released: batches that were held and are published now.
        taken: entries of the quarantine whose rows are in the tables now.
        settled: entries that are no finding any more for another reason.
        still: entries that were judged again and stay.
        rows: rows inserted or updated, by table.
        errors: loads that could not be judged again, each with the reason; the next re-drive tries them again.
        is_busy: another process re-drives this account; nothing was done.
    """

    loads: int = 0
    released: int = 0
    taken: int = 0
    settled: int = 0
    still: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    is_busy: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON and XCom."""
        return asdict(self)


def redrive(
    settings: Settings,
    account: Account,
    *,
    datasets: Sequence[str] | None = None,
    entries: Sequence[str] | None = None,
    warehouse: Warehouse | None = None,
) -> RedriveReport:
    """Judge again what today's reading may take.

    Args:
        settings: where the stores are.
        account: whose data.
        datasets: only these tables, whether or not their reading has changed; ``None`` = all whose reading has.
        entries: ids of entries to judge again, whether or not the reading has changed.
        warehouse: an open one to use instead of that of the settings.

    Raises:
        ConfigError: a contract or mapping file is wrong, or no warehouse is configured.
        StoreUnavailable, StoreConflict: try again; what was done before is done.
    """
    if warehouse is None:
        with Warehouse(settings.require_warehouse()) as opened:
            return redrive(settings, account, datasets=datasets, entries=entries, warehouse=opened)
    contracts = load_contracts(settings.include, account.vendor)
    warehouse.migrate(list(contracts.values()), settings.include)
    with warehouse.session() as connection:
        connection.autocommit = True
        if not _lock(connection, account):
            return RedriveReport(is_busy=True)
        return _Redrive(settings, account, warehouse, connection, contracts).run(datasets, entries)


def _lock(connection: Connection, account: Account) -> bool:
    """One process per account is enough; the lock ends with the connection, however that ends."""
    row = connection.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"fleetlake:redrive:{account.vendor}:{account.name}"]
    ).fetchone()
    return bool(row and row[0])


class _Redrive:
    def __init__(
        self,
        settings: Settings,
        account: Account,
        warehouse: Warehouse,
        connection: Connection,
        contracts: dict[str, Contract],
    ) -> None:
        self._settings = settings
        self._account = account
        self._warehouse = warehouse
        self._connection = connection
        self._contracts = contracts
        self._journal = Journal(settings.raw_url)
        self._readings = {table: reading_of(contract, account.name) for table, contract in contracts.items()}

    def run(self, datasets: Sequence[str] | None, entries: Sequence[str] | None) -> RedriveReport:
        report = RedriveReport()
        loads = self._chosen(datasets, entries, report)
        report.errors += self._rest_older_than_journal(loads)
        if not loads:
            return report
        before = self._open(loads)
        with Replayer(self._settings, self._account.vendor, warehouse=self._warehouse) as replayer:
            for name in replayer.names_of_loads(loads):
                # Each for itself: one that cannot be read, or whose feed is gone, does not stop the others.
                summary = Summary()
                try:
                    entry = replayer.entry(name)
                    if not isinstance(entry, BatchEntry):
                        continue
                    replayer.replay([entry], summary=summary)
                except (StoreUnavailable, StoreConflict):
                    raise
                except FleetlakeError as error:
                    log.warning("%s cannot be judged again: %s", name.path, error)
                    report.errors.append(f"{name.path}: {error}")
                    continue
                report.loads += 1
                for table, counts in summary.counts.items():
                    report.rows[table] = report.rows.get(table, 0) + counts["inserted"] + counts["updated"]
                    report.released += entry.state == "held" and not counts["held"]
                self._supersede(entry.load_id, entry.name.dataset)
        self._count(report, before)
        log.info("judged again: %s", report.as_dict())
        return report

    def _rest_older_than_journal(self, loads: list[str]) -> list[str]:
        """Take loads without an entry out, and let them rest until the reading changes: nothing can judge them again."""
        rows = self._connection.execute(
            "SELECT i.load_id FROM unnest(%s::text[]) AS i (load_id) WHERE NOT EXISTS ("
            " SELECT FROM ops.load l WHERE l.load_id = i.load_id AND l.journal IS NOT NULL)",
            [loads],
        )
        old = [row[0] for row in rows]
        loads[:] = [load for load in loads if load not in set(old)]
        for table, reading in self._readings.items() if old else ():
            for query in (
                "UPDATE ops.quarantine SET reading = %s WHERE resolved_at IS NULL AND account = %s AND dataset = %s"
                " AND load_id = ANY(%s)",
                "UPDATE ops.load SET reading = %s WHERE state = 'held' AND account = %s AND dataset = %s AND load_id = ANY(%s)",
            ):
                self._connection.execute(query, [reading, self._account.name, table, old])
        return [f"{load}: it was published before there was a journal" for load in old]

    def _chosen(self, datasets: Sequence[str] | None, entries: Sequence[str] | None, report: RedriveReport) -> list[str]:
        """Loads to judge again."""
        if entries is not None:
            rows = self._connection.execute(
                "SELECT DISTINCT load_id FROM ops.quarantine WHERE quarantine_id = ANY(%s) AND resolved_at IS NULL"
                " AND account = %s AND dataset = ANY(%s)",
                [list(entries), self._account.name, list(self._contracts)],
            )
            return [row[0] for row in rows]
        found: list[str] = []
        for table, reading in self._readings.items():
            if datasets is not None and table not in datasets:
                continue
            rows = self._connection.execute(
                "SELECT load_id FROM ops.quarantine WHERE resolved_at IS NULL AND account = %(account)s"
                " AND dataset = %(table)s AND (%(forced)s OR reading IS DISTINCT FROM %(reading)s)"
                " UNION SELECT load_id FROM ops.load WHERE state = 'held' AND account = %(account)s AND dataset = %(table)s"
                " AND (%(forced)s OR reading IS DISTINCT FROM %(reading)s)",
                {"account": self._account.name, "table": table, "reading": reading, "forced": datasets is not None},
            )
            found += [row[0] for row in rows]
            found += self._now_known(self._contracts[table], report)
        return list(dict.fromkeys(found))

    def _now_known(self, contract: Contract, report: RedriveReport) -> Iterator[str]:
        """Loads with rows that were set aside because they refer to something unknown, which is known by now."""
        columns = {column.name: column for column in contract.columns if column.references}
        if not columns:
            return
        values: dict[str, dict[Any, set[str]]] = defaultdict(lambda: defaultdict(set))
        rows = self._connection.execute(
            "SELECT q.column_name, q.raw_row, q.load_id FROM ops.quarantine q JOIN ops.load l USING (load_id)"
            " WHERE q.resolved_at IS NULL AND q.account = %s AND q.dataset = %s AND q.check_name = 'references'"
            " AND q.column_name = ANY(%s) AND l.journal IS NOT NULL",
            [self._account.name, contract.table, list(columns)],
        )
        for name, raw, load in rows:
            value = value_in(raw, columns[name])
            if value is not None:
                values[name][value].add(load)
        held = self._connection.execute(
            "SELECT load_id, journal FROM ops.load l WHERE state = 'held' AND account = %s AND dataset = %s AND journal IS NOT NULL"
            " AND EXISTS (SELECT FROM ops.quality_result q WHERE q.load_id = l.load_id AND q.check_name = 'references' AND NOT success)",
            [self._account.name, contract.table],
        )
        for load, place in held:
            # A held batch has no entries: the journal tells what was unknown in it.
            try:
                told = self._journal.read(place)
            except (StoreUnavailable, StoreConflict):
                raise
            except FleetlakeError as error:
                log.warning("%s cannot be judged again: %s", place, error)
                report.errors.append(f"{place}: {error}")
                continue
            for name, unknown in told.get("references", {}).items():
                if name in columns:
                    for value in unknown:
                        values[name][value].add(load)
        for name, loads in values.items():
            reference = columns[name].references
            if reference:
                for value in self._warehouse.known_values(reference, list(loads), self._account.name):
                    yield from loads[value]

    def _open(self, loads: Sequence[str]) -> set[str]:
        rows = self._connection.execute(
            "SELECT quarantine_id FROM ops.quarantine WHERE resolved_at IS NULL AND load_id = ANY(%s)", [list(loads)]
        )
        return {row[0] for row in rows}

    def _supersede(self, load_id: str, table: str) -> None:
        """A held batch that today's contract makes another load of (its version is part of the name) is held no longer."""
        self._connection.execute(
            "UPDATE ops.load SET state = 'superseded' WHERE load_id = %s AND state = 'held' AND reading IS DISTINCT FROM %s",
            [load_id, self._readings[table]],
        )

    def _count(self, report: RedriveReport, before: set[str]) -> None:
        rows = self._connection.execute(
            "SELECT resolution, count(*) FROM ops.quarantine WHERE quarantine_id = ANY(%s) GROUP BY 1", [list(before)]
        )
        counts = dict(rows.fetchall())
        report.taken = counts.get("taken", 0)
        report.settled = counts.get("superseded", 0)
        report.still = counts.get(None, 0)


def value_in(raw: Any, column: Column) -> Any:
    """Value of a column's field in the vendor's row; ``None`` where it has none."""
    try:
        value = json.loads(raw) if isinstance(raw, str) else raw
        for part in (column.source or "").split("."):
            value = value[part]
    except (ValueError, KeyError, TypeError):
        return None
    if isinstance(value, str) and column.read == "lower":
        return value.lower()
    return value
