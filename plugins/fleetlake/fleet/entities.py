"""The vehicles and devices that vendors list, and the tables of who is who."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import psycopg
from psycopg import sql

from fleetlake.fleet.identity import Entity, Resolution
from fleetlake.fleet.mapping import BEGINNING
from fleetlake.fleet.merge import Counts, merge
from fleetlake.fleet_tables import FleetTable
from fleetlake.warehouse.ddl import identifier

Connection = psycopg.Connection[Any]

# A vehicle that its vendor lists no more keeps its history: rows marked deleted are read too.
_ENTITIES = """
SELECT 'rcs', account, vehicle_id, NULL, vin, registration_plate, brand, model, model_year FROM rcs.vehicle
UNION ALL
SELECT 'omnicomm', account, terminal_id::text, v.name, p.vin, p.registration_plate, p.brand, p.model, p.model_year
FROM omnicomm.vehicle v
LEFT JOIN omnicomm.vehicle_profile p USING (account, terminal_id)
UNION ALL
SELECT 'suivideflotte', account, vehicle_id::text, name, vin, registration_plate, brand, model, NULL FROM suivideflotte.vehicle
UNION ALL
SELECT 'powunity', account, device_id::text, name, NULL, NULL, NULL, NULL, NULL FROM powunity.device
"""


def read_entities(connection: Connection) -> list[Entity]:
    """All vehicles and devices of all vendors, those no longer listed too."""
    return [Entity(**dict(zip(_FIELDS, row, strict=True))) for row in connection.execute(_ENTITIES)]


_FIELDS = ("vendor", "account", "id", "name", "vin", "plate", "brand", "model", "model_year")


def write(connection: Connection, tables: Mapping[str, FleetTable], resolution: Resolution) -> Counts:
    """Write ``fleet.vehicle``, ``fleet.vehicle_identity`` and ``fleet.vehicle_conflict``."""
    total = Counts()
    for name, values in rows_of(connection, resolution).items():
        stage(connection, tables[name], values)
        total += merge(connection, tables[name], "SELECT * FROM pg_temp.staged")
        connection.execute("DROP TABLE pg_temp.staged")
    return total


def rows_of(connection: Connection, resolution: Resolution) -> dict[str, list[dict[str, Any]]]:
    """Rows of ``fleet.vehicle``, ``fleet.vehicle_identity`` and ``fleet.vehicle_conflict``, by table."""
    offsets = odometer_offsets(connection, resolution)
    identities = [
        {**asdict(item), "odometer_offset_m": offsets.get((*item.device, item.valid_from), 0.0)}
        for item in resolution.identities
    ]
    return {
        "fleet.vehicle": [asdict(item) for item in resolution.vehicles],
        "fleet.vehicle_identity": identities,
        "fleet.vehicle_conflict": [asdict(item) for item in resolution.conflicts],
    }


def odometer_offsets(connection: Connection, resolution: Resolution) -> dict[tuple[Any, ...], float]:
    """What to add to each PowUnity device's readings, by device and start of the assignment.

    The tracker's odometer starts anew with each tracker, the vehicle's does not: the offset is what the vehicle had run at
    the start of the assignment minus the device's first reading of it.
    """
    chains: dict[str, list[Any]] = {}
    for item in resolution.identities:
        if item.vendor == "powunity":
            chains.setdefault(item.vehicle_key, []).append(item)
    changed = {key: sorted(chain, key=lambda item: item.valid_from) for key, chain in chains.items()}
    changed = {key: chain for key, chain in changed.items() if chain[-1].valid_from > BEGINNING}
    readings = _readings(connection, [item for chain in changed.values() for item in chain], changed)
    offsets: dict[tuple[Any, ...], float] = {}
    for chain in changed.values():
        before: tuple[Any, ...] | None = None
        for item in chain:
            key = (*item.device, item.valid_from)
            first, _ = readings[key]
            offsets[key] = 0.0
            if item.valid_from > BEGINNING and first is not None:
                start = item.odometer_m
                if start is None:
                    last = readings[before][1] if before else None
                    start = last + offsets[before] if before and last is not None else 0.0
                offsets[key] = round(start - first, 6)
            before = key
    return offsets


def _readings(
    connection: Connection, identities: Sequence[Any], chains: Mapping[str, Sequence[Any]]
) -> dict[tuple[Any, ...], tuple[float | None, float | None]]:
    """First reading from the start of each assignment on, and last one before its end and before the next assignment."""
    if not identities:
        return {}
    following = {
        (*item.device, item.valid_from): after.valid_from for chain in chains.values() for item, after in pairwise(chain)
    }
    ends = []
    for item in identities:
        limits = [moment for moment in (item.valid_to, following.get((*item.device, item.valid_from))) if moment]
        ends.append(min(limits) if limits else None)
    rows = connection.execute(
        """
        SELECT n.account, n.id, n.low,
            (SELECT p.odometer_m FROM powunity.position p
             WHERE p.account = n.account AND p.device_id = n.id::bigint AND p.event_time >= n.low
                AND p.odometer_m IS NOT NULL AND p.deleted_at IS NULL
             ORDER BY p.event_time, p.position_id LIMIT 1),
            (SELECT p.odometer_m FROM powunity.position p
             WHERE p.account = n.account AND p.device_id = n.id::bigint AND p.event_time >= n.low
                AND p.event_time < coalesce(n.high, 'infinity') AND p.odometer_m IS NOT NULL AND p.deleted_at IS NULL
             ORDER BY p.event_time DESC, p.position_id DESC LIMIT 1)
        FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[]) AS n (account, id, low, high)
        """,
        [
            [item.account for item in identities],
            [item.vendor_vehicle_id for item in identities],
            [item.valid_from for item in identities],
            ends,
        ],
    )
    return {("powunity", account, device, low): (first, last) for account, device, low, first, last in rows}


def stage(connection: Connection, table: FleetTable, rows: Iterable[Mapping[str, Any]]) -> None:
    """Bring rows of a table into ``pg_temp.staged``, which ends with the transaction."""
    connection.execute(
        sql.SQL("CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            sql.SQL(", ").join(map(sql.Identifier, table.names)), identifier(table.table)
        )
    )
    command = sql.SQL("COPY pg_temp.staged ({}) FROM STDIN").format(sql.SQL(", ").join(map(sql.Identifier, table.names)))
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        for row in rows:
            copy.write_row([row[name] for name in table.names])
