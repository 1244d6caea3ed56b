"""Batches for tests: small contracts and rows, readable at a glance."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from fleetlake.canonical import canonical_row
from fleetlake.changes import Change, Deletion
from fleetlake.contracts import Column, Contract
from fleetlake.lake import Lake
from fleetlake.reading import Kind
from fleetlake.warehouse import Warehouse

T0 = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)


def hours(number: float) -> dt.datetime:
    return T0 + dt.timedelta(hours=number)


def column(name: str, kind: str, **more: Any) -> Column:
    return Column(name=name, type=kind, description=f"The {name}.", **more)


def contract(name: str = "ride", **changes: Any) -> Contract:
    """A table with every type; the time is not part of the key, so that rows can move to another day."""
    fields: dict[str, Any] = {
        "vendor": "sample",
        "name": name,
        "version": "1.0.0",
        "description": "Rides for tests.",
        "feed": "rides",
        "kind": Kind.WINDOW,
        "scope_column": "vehicle_id",
        "time_column": "event_time",
        "columns": (
            column("ride_id", "text", is_key=True, required=True),
            column("vehicle_id", "bigint", required=True),
            column("event_time", "timestamptz", required=True),
            column("note", "text"),
            column("speed_kmh", "double precision", unit="km/h"),
            column("seats", "integer"),
            column("is_loaded", "boolean"),
            column("service_day", "date"),
            column("extra", "jsonb"),
        ),
        **changes,
    }
    return Contract(**fields)


def ride(
    ride_id: str, vehicle: int = 1, hour: float = 0, *, fetched: float = 0, account: str = "north", **values: Any
) -> dict[str, Any]:
    return {
        "account": account,
        "ride_id": ride_id,
        "vehicle_id": vehicle,
        "event_time": hours(hour),
        "fetched_at": hours(1000 + fetched),
        "raw_page": f"page-{fetched}",
        "raw_row": 0,
        **values,
    }


def table(of: Contract, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A batch; columns that a row does not name are null."""
    schema = pa.schema([field.with_nullable(True) for field in of.arrow_schema])
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def publish(
    warehouse: Warehouse, of: Contract, rows: Iterable[Mapping[str, Any]], load_id: str, *deletions: Deletion
) -> Change:
    with warehouse.publishing(of) as tx:
        tx.stage(table(of, rows))
        change = tx.upsert(load_id)
        for deletion in deletions:
            change += tx.mark_deleted(deletion, load_id)
    return change


def publish_both(
    warehouse: Warehouse, lake: Lake, of: Contract, rows: list[dict[str, Any]], load_id: str, *deletions: Deletion
) -> Change:
    """Publish as the pipeline does, lake first, and see that both stores agree."""
    in_lake = lake.publish(of, table(of, rows), load_id, deletions)
    in_warehouse = publish(warehouse, of, rows, load_id, *deletions)
    assert in_lake == in_warehouse
    assert canonical(lake.rows(of)) == canonical(warehouse.rows(of))
    return in_warehouse


def canonical(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted(canonical_row(row) for row in rows)


def current(rows: Iterable[Mapping[str, Any]], *names: str) -> Iterator[tuple[Any, ...]]:
    """Some columns of the rows not marked deleted, in order."""
    yield from sorted(tuple(row[name] for name in names) for row in rows if row["deleted_at"] is None)
