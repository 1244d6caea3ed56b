"""What must be built: changes of the vendors' tables, and of who is who, turned into vehicle-days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from fleetlake.fleet.mapping import BEGINNING
from fleetlake.fleet_tables import FleetTable
from fleetlake.warehouse.ddl import identifier

Connection = psycopg.Connection[Any]

FACTS: Mapping[str, tuple[str, str, str]] = {
    # table -> column of the vehicle, its type, column of the time
    "rcs.telemetry": ("vehicle_id", "text", "event_time"),
    "powunity.position": ("device_id", "bigint", "event_time"),
    "powunity.trip": ("device_id", "bigint", "start_time"),
    "powunity.summary": ("device_id", "bigint", "start_time"),
    "powunity.event": ("device_id", "bigint", "event_time"),
    "omnicomm.consolidated_report": ("terminal_id", "bigint", "report_time"),
    "omnicomm.track_point": ("terminal_id", "bigint", "event_time"),
    "omnicomm.fuel_level": ("terminal_id", "bigint", "event_time"),
    "omnicomm.geofence_visit": ("terminal_id", "bigint", "start_time"),
    "omnicomm.event": ("terminal_id", "bigint", "event_time"),
    "suivideflotte.trip": ("vehicle_id", "bigint", "start_time"),
    "suivideflotte.alert": ("vehicle_id", "bigint", "event_time"),
}
"""Tables with facts of a vehicle and a day."""

MAIN: Mapping[str, str] = {
    "rcs": "rcs.telemetry",
    "powunity": "powunity.trip",
    "omnicomm": "omnicomm.consolidated_report",
    "suivideflotte": "suivideflotte.trip",
}
"""Vendor -> table whose proof makes a day of a device complete, even an empty one."""

_MIDNIGHT = "c.day::timestamp AT TIME ZONE 'UTC'"
_NEXT_MIDNIGHT = "(c.day + 1)::timestamp AT TIME ZONE 'UTC'"


_IS_OVER = """(
    c.changed_at < now() - %(patience)s::interval
    OR EXISTS (SELECT FROM ops.run_end e WHERE e.dag_id = c.dag_id AND e.run_id = c.run_id)
)"""
"""Nothing more is to be expected from the run that made a change."""


def take_changes(connection: Connection, tables: Mapping[str, FleetTable], patience: dt.timedelta) -> int:
    """Queue what the changes of finished runs make stale, by the identities as they are now; returns the changes taken.

    A change of a run that is not over yet waits, so that half a load is not published, but no longer than ``patience``.
    """
    taken = connection.execute(
        f"CREATE TEMP TABLE taken ON COMMIT DROP AS SELECT c.* FROM ops.change c WHERE {_IS_OVER}", {"patience": patience}
    ).rowcount
    connection.execute("DELETE FROM ops.change c USING pg_temp.taken t WHERE c.change_id = t.change_id")
    connection.execute("ANALYZE pg_temp.taken")
    by_day = sorted({source for table in tables.values() if table.grain == "vehicle_day" for source in table.sources})
    connection.execute(
        f"""
        INSERT INTO ops.model_unit (vehicle_key, day, cause, load_id)
        SELECT DISTINCT i.vehicle_key, c.day, c.dataset, c.load_id
        FROM pg_temp.taken c
        JOIN fleet.vehicle_identity i
            ON i.vendor = split_part(c.dataset, '.', 1) AND i.account = c.account AND i.vendor_vehicle_id = c.scope
            AND i.valid_from < {_NEXT_MIDNIGHT} AND (i.valid_to IS NULL OR i.valid_to > {_MIDNIGHT})
        WHERE c.day IS NOT NULL AND c.dataset = ANY(%s)
        """,
        [by_day],
    )
    # Events are told even of devices that belong to no vehicle, or to none for a part of the day.
    connection.execute(
        f"""
        INSERT INTO ops.model_unit (vehicle_key, day, cause, load_id)
        SELECT DISTINCT '', c.day, c.dataset, c.load_id
        FROM pg_temp.taken c
        WHERE c.day IS NOT NULL AND c.dataset = ANY(%s) AND NOT EXISTS (
            SELECT FROM fleet.vehicle_identity i
            WHERE i.vendor = split_part(c.dataset, '.', 1) AND i.account = c.account AND i.vendor_vehicle_id = c.scope
                AND i.valid_from <= {_MIDNIGHT} AND (i.valid_to IS NULL OR i.valid_to >= {_NEXT_MIDNIGHT})
        )
        """,
        [sorted(tables["fleet.event"].sources)],
    )
    _queue_open_visits(connection)
    connection.execute(
        """
        INSERT INTO ops.model_unit (vehicle_key, cause, load_id)
        SELECT DISTINCT i.vehicle_key, c.dataset, c.load_id
        FROM pg_temp.taken c
        JOIN fleet.vehicle_identity i
            ON i.vendor = split_part(c.dataset, '.', 1) AND i.account = c.account AND i.vendor_vehicle_id = c.scope
        WHERE c.dataset = ANY(%s)
        """,
        [sorted(tables["fleet.trouble"].sources)],
    )
    connection.execute(
        """
        INSERT INTO ops.model_unit (vehicle_key, account, day, cause, load_id)
        SELECT DISTINCT '', c.account, c.day, c.dataset, c.load_id
        FROM pg_temp.taken c
        WHERE c.dataset = 'omni_platform.event' AND c.day IS NOT NULL
        UNION
        SELECT '', t.account, t.day, c.dataset, c.load_id
        FROM pg_temp.taken c
        JOIN fleet.identification t ON t.account = c.account AND t.camera_id = c.scope
        WHERE c.dataset = 'omni_platform.camera'
        """
    )
    return taken


def _queue_open_visits(connection: Connection) -> None:
    """Leaving a zone belongs to the day of entering it: queue the day of the last entering before the changed day."""
    connection.execute(
        f"""
        INSERT INTO ops.model_unit (vehicle_key, day, cause, load_id)
        SELECT DISTINCT i.vehicle_key, (e.event_time AT TIME ZONE 'UTC')::date, c.dataset, c.load_id
        FROM (
            SELECT *, CASE WHEN scope ~ '^\\d{{1,18}}$' THEN scope::bigint END AS device_id
            FROM pg_temp.taken
            WHERE dataset = 'powunity.event' AND day IS NOT NULL
        ) c
        CROSS JOIN LATERAL (
            SELECT DISTINCT x.geofence_id
            FROM powunity.event x
            WHERE x.account = c.account AND x.device_id = c.device_id AND x.geofence_id IS NOT NULL
                AND x.event_time >= {_MIDNIGHT} AND x.event_time < {_NEXT_MIDNIGHT}
        ) g
        CROSS JOIN LATERAL (
            SELECT x.event_time
            FROM powunity.event x
            WHERE x.account = c.account AND x.device_id = c.device_id AND x.geofence_id = g.geofence_id
                AND x.event_type = 'geofenceEnter' AND x.event_type IN ('geofenceEnter', 'geofenceExit')
                AND x.deleted_at IS NULL AND x.event_time < {_MIDNIGHT}
            ORDER BY x.event_time DESC, x.event_id DESC
            LIMIT 1
        ) e
        JOIN fleet.vehicle_identity i
            ON i.vendor = 'powunity' AND i.account = c.account AND i.vendor_vehicle_id = c.scope
            AND i.valid_from <= e.event_time AND (i.valid_to IS NULL OR i.valid_to > e.event_time)
        """
    )


def hold(connection: Connection, patience: dt.timedelta) -> int:
    """Move vehicle-days that a run is still loading from ``pg_temp.unit`` to ``pg_temp.held``; returns how many.

    They would be published half, whatever else they were queued for. They stay in the queue for a later build.
    """
    return connection.execute(
        f"""
        WITH loading AS (
            DELETE FROM pg_temp.unit u
            USING fleet.vehicle_identity i, ops.change c
            WHERE i.vehicle_key = u.vehicle_key AND c.day = u.day AND c.account = i.account AND c.scope = i.vendor_vehicle_id
                AND split_part(c.dataset, '.', 1) = i.vendor
                AND i.valid_from < {_NEXT_MIDNIGHT} AND (i.valid_to IS NULL OR i.valid_to > {_MIDNIGHT})
                AND NOT {_IS_OVER}
            RETURNING u.vehicle_key, u.day
        )
        INSERT INTO pg_temp.held SELECT DISTINCT * FROM loading
        """,
        {"patience": patience},
    ).rowcount


def remember_identities(connection: Connection) -> None:
    """Keep the identities as they are before they are resolved anew."""
    connection.execute("CREATE TEMP TABLE known_identity ON COMMIT DROP AS SELECT * FROM fleet.vehicle_identity")


def queue_moved(connection: Connection, tables: Mapping[str, FleetTable], *, full: bool) -> None:
    """Queue the days of devices whose assignment, rank or odometer offset is another than remembered; ``full``: of all."""
    columns = "vendor, account, vendor_vehicle_id, valid_from, vehicle_key, valid_to, rank, odometer_offset_m"
    before, after = f"SELECT {columns} FROM pg_temp.known_identity", f"SELECT {columns} FROM fleet.vehicle_identity"
    moved = f"{before} UNION {after}" if full else f"({before} EXCEPT {after}) UNION ({after} EXCEPT {before})"
    connection.execute(f"CREATE TEMP TABLE moved ON COMMIT DROP AS {moved}".encode())
    connection.execute(
        "CREATE TEMP TABLE fact_day (vendor text, account text, vendor_vehicle_id text, day date) ON COMMIT DROP"
    )
    connection.execute("ANALYZE pg_temp.moved")
    for table in FACTS:
        _find_days(connection, table)
    _find_proven_days(connection)
    connection.execute("ANALYZE pg_temp.fact_day")
    cause = "full" if full else "identity"
    connection.execute(
        """
        INSERT INTO ops.model_unit (vehicle_key, day, cause)
        SELECT m.vehicle_key, c.day, %(cause)s
        FROM pg_temp.moved m
        JOIN pg_temp.fact_day c USING (vendor, account, vendor_vehicle_id)
        WHERE m.valid_from < (c.day + 1)::timestamp AT TIME ZONE 'UTC'
            AND (m.valid_to IS NULL OR m.valid_to > c.day::timestamp AT TIME ZONE 'UTC')
        UNION
        SELECT m.vehicle_key, c.day, %(cause)s
        FROM pg_temp.moved m
        JOIN fleet.vehicle_day c USING (vehicle_key)
        WHERE m.valid_from < (c.day + 1)::timestamp AT TIME ZONE 'UTC'
            AND (m.valid_to IS NULL OR m.valid_to > c.day::timestamp AT TIME ZONE 'UTC')
        UNION
        SELECT '', c.day, %(cause)s
        FROM pg_temp.fact_day c
        WHERE NOT EXISTS (
            SELECT FROM fleet.vehicle_identity i
            WHERE i.vendor = c.vendor AND i.account = c.account AND i.vendor_vehicle_id = c.vendor_vehicle_id
                AND i.valid_from = %(beginning)s AND i.valid_to IS NULL
        )
        UNION
        SELECT vehicle_key, NULL, %(cause)s FROM pg_temp.moved WHERE vendor = 'rcs'
        """,
        {"cause": cause, "beginning": BEGINNING},
    )
    if full:
        _queue_existing(connection, tables)


def _find_days(connection: Connection, table: str) -> None:
    """Days on which a table knows anything of the moved devices: one step of the recursion finds the next by the index."""
    scope, kind, time = FACTS[table]
    number = "text" if kind == "text" else "bigint"
    connection.execute(
        sql.SQL(
            """
            INSERT INTO pg_temp.fact_day
            WITH RECURSIVE device AS (
                SELECT DISTINCT account, vendor_vehicle_id, vendor_vehicle_id::{kind} AS id
                FROM pg_temp.moved WHERE vendor = {vendor}
            ), step AS (
                SELECT d.account, d.vendor_vehicle_id, d.id, (
                    SELECT min(t.{time}) FROM {table} t WHERE t.account = d.account AND t.{scope} = d.id
                ) AS moment
                FROM device d
                UNION ALL
                SELECT s.account, s.vendor_vehicle_id, s.id, (
                    SELECT min(t.{time}) FROM {table} t
                    WHERE t.account = s.account AND t.{scope} = s.id
                        AND t.{time} >= ((s.moment AT TIME ZONE 'UTC')::date + 1)::timestamp AT TIME ZONE 'UTC'
                )
                FROM step s
                WHERE s.moment IS NOT NULL
            )
            SELECT {vendor}, account, vendor_vehicle_id, (moment AT TIME ZONE 'UTC')::date FROM step WHERE moment IS NOT NULL
            """
        ).format(
            kind=sql.SQL(number),
            vendor=sql.Literal(table.partition(".")[0]),
            table=identifier(table),
            scope=sql.Identifier(scope),
            time=sql.Identifier(time),
        )
    )


def _find_proven_days(connection: Connection) -> None:
    """Days on which the moved devices are proven complete: one without any fact has a row too."""
    connection.execute(
        """
        INSERT INTO pg_temp.fact_day
        SELECT DISTINCT m.vendor, m.account, m.vendor_vehicle_id, d::date
        FROM (SELECT DISTINCT vendor, account, vendor_vehicle_id FROM pg_temp.moved) m
        JOIN unnest(%s::text[], %s::text[]) AS main (vendor, dataset) USING (vendor)
        JOIN ops.coverage c
            ON c.account = m.account AND c.dataset = main.dataset AND c.scope = m.vendor_vehicle_id
            AND c.state IN ('complete', 'empty_confirmed')
        CROSS JOIN LATERAL generate_series(
            (c.window_start AT TIME ZONE 'UTC')::date,
            ((c.window_end AT TIME ZONE 'UTC') - interval '1 microsecond')::date,
            interval '1 day'
        ) d
        """,
        [list(MAIN), list(MAIN.values())],
    )


def _queue_existing(connection: Connection, tables: Mapping[str, FleetTable]) -> None:
    """Queue also what no device accounts for: rows that are there and may have to go, and facts of unknown devices."""
    queries: list[sql.Composable] = [
        sql.SQL("SELECT coalesce(vehicle_key, ''), '', day FROM {}").format(identifier(table.table))
        for table in tables.values()
        if table.grain == "vehicle_day"
    ]
    queries += [
        sql.SQL("SELECT '', '', ({} AT TIME ZONE 'UTC')::date FROM {}").format(
            sql.Identifier(FACTS[source][2]), identifier(source)
        )
        for source in sorted(tables["fleet.event"].sources)
    ]
    queries += [
        sql.SQL("SELECT vehicle_key, '', NULL FROM fleet.trouble"),
        sql.SQL("SELECT '', account, day FROM fleet.identification"),
        sql.SQL("SELECT '', account, (event_time AT TIME ZONE 'UTC')::date FROM omni_platform.event"),
    ]
    connection.execute(
        sql.SQL(
            "INSERT INTO ops.model_unit (vehicle_key, account, day, cause) SELECT *, 'full' FROM ({}) q (v, a, d)"
        ).format(sql.SQL(" UNION ").join(queries))
    )
