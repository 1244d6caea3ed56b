"""A warehouse with vendors' rows in it, and the fleet model on top: readable at a glance."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from fleetlake import fleet
from fleetlake.changes import Deletion
from fleetlake.contracts import Contract
from fleetlake.coverage import Interval, State
from fleetlake.settings import Settings
from fleetlake.warehouse import LoadRecord, Warehouse
from fleetlake.window import Window

DAY = dt.date(2026, 3, 2)
"""The day most tests are about."""

PLACEHOLDERS: Mapping[str, Any] = {
    "text": "?", "bigint": 0, "integer": 0, "double precision": 0.0, "boolean": False, "jsonb": "{}", "date": DAY,
    "timestamptz": dt.datetime(2026, 3, 2, tzinfo=dt.UTC),
}  # fmt: skip

MAIN = {
    "rcs": "rcs.telemetry",
    "powunity": "powunity.trip",
    "omnicomm": "omnicomm.consolidated_report",
    "suivideflotte": "suivideflotte.trip",
}


def at(clock: str, day: int = 0) -> dt.datetime:
    """A moment of ``DAY``, or of so many days after it: ``at("08:00")``, ``at("08:00:30", 1)``."""
    return dt.datetime.combine(DAY + dt.timedelta(days=day), dt.time.fromisoformat(clock), dt.UTC)


def whole(day: int = 0, days: int = 1) -> Window:
    """The window of ``DAY``, or of so many days after it."""
    return Window(at("00:00", day), at("00:00", day + days))


class House:
    """Vendors' tables filled by real publications, and builds of the model."""

    def __init__(self, url: str, contracts: Mapping[str, Contract], include: Path, home: Path) -> None:
        self.warehouse = Warehouse(url)
        self.contracts = contracts
        self.include = include
        self.settings = Settings(home=home, include=include, warehouse_url=url, lake_url="", raw_url="")
        self._numbers = itertools.count(1)

    def map_vehicles(self, *vehicles: Mapping[str, Any], priority: Sequence[str] = ()) -> None:
        """Write the mapping file."""
        data = {"priority": list(priority), "vehicles": list(vehicles)}
        (self.include / "fleet" / "vehicles.yaml").write_text(yaml.safe_dump(data))

    def load(
        self,
        dataset: str,
        *rows: Mapping[str, Any],
        account: str = "north",
        proven: Iterable[tuple[str, Window]] = (),
        delete: Deletion | None = None,
        over: bool = True,
        load_id: str | None = None,
    ) -> str:
        """Publish rows as a run does; returns the load's id. Columns that a row does not name are null or a placeholder."""
        contract = self.contracts[dataset]
        number = next(self._numbers)
        load_id = load_id or f"load-{number}"
        fetched = dt.datetime(2026, 4, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=number)
        record = LoadRecord(
            load_id=load_id, account=account, dataset=dataset, contract_version="1", feed="f", kind="window",
            lane="scheduled", dag_id=f"load_{dataset}", run_id=f"run-{number}",
        )  # fmt: skip
        with self.warehouse.publishing(contract) as tx:
            tx.stage(self._batch(contract, rows, account, fetched))
            change = tx.upsert(load_id)
            if delete is not None:
                change += tx.mark_deleted(dataclasses.replace(delete, at=fetched), load_id)
            tx.record_coverage(
                Interval(
                    account=account, dataset=dataset, scope=scope, window=window, state=State.COMPLETE, proof="test:told",
                    load_id=load_id,
                )
                for scope, window in proven
            )  # fmt: skip
            tx.record_load(record.with_change(change))
            tx.record_changes(record)
        if over:
            self.warehouse.record_run_end(record.dag_id, record.run_id, is_complete=True)
        return load_id

    def _batch(self, contract: Contract, rows: Iterable[Mapping[str, Any]], account: str, fetched: dt.datetime) -> pa.Table:
        schema = pa.schema([field.with_nullable(True) for field in contract.arrow_schema])
        common = {"account": account, "fetched_at": fetched, "raw_page": "page", "raw_row": 0}
        required = {column.name: PLACEHOLDERS[column.type] for column in contract.columns if column.required}
        filled = [{**required, **common, **row} for row in rows]
        for row in filled:
            assert set(row) <= set(schema.names), f"{set(row) - set(schema.names)} in {contract.table}"
        return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in filled], schema=schema)

    def prove(self, vendor: str, vehicle: str, window: Window, account: str = "north") -> str:
        """The vendor's main table is complete for a vehicle."""
        return self.load(MAIN[vendor], account=account, proven=[(vehicle, window)])

    def build(self, **options: Any) -> fleet.Report:
        """Build the model."""
        return fleet.build(self.settings, warehouse=self.warehouse, **options)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Answer a query."""
        names, rows = self.warehouse.query(query)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def table(self, name: str, *columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        """Some columns of a table of schema fleet, sorted."""
        query = f"SELECT {', '.join(columns)} FROM {name if '.' in name else f'fleet.{name}'} WHERE {where}"
        return sorted((tuple(row.values()) for row in self.rows(query)), key=lambda row: [str(value) for value in row])

    def one(self, name: str, where: str = "true") -> dict[str, Any]:
        """The only row."""
        (row,) = self.rows(f"SELECT * FROM fleet.{name} WHERE {where}")
        return row

    def everything(self, *, built_at: bool = False) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all stored tables of schema fleet."""
        found = {}
        for table in fleet_tables(self.include):
            names = [*table.names, *(["built_at"] if built_at else [])]
            found[table.table] = self.table(table.table, *names)
        return found


def fleet_tables(include: Path) -> list[Any]:
    from fleetlake.fleet_tables import load_fleet_tables

    return [table for table in load_fleet_tables(include).values() if table.grain != "view"]
