"""Which vendors' rows a row of schema ``fleet`` is made from, and the row made once more by the model's own queries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from fleetlake.contracts import Contract
from fleetlake.fleet import entities
from fleetlake.fleet.identity import resolve
from fleetlake.fleet.mapping import read_vehicle_file
from fleetlake.fleet.merge import values_of
from fleetlake.fleet_tables import FleetTable
from fleetlake.warehouse.ddl import column_list

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Sources:
    """Rows of one vendor table that a fleet row is made from.

    Attributes:
        contract: the vendor's table.
        rows: the first of them, with all columns of ``Contract.all_columns``.
        total: how many there are.
    """

    contract: Contract
    rows: list[dict[str, Any]]
    total: int


def sources(
    connection: Connection, contracts: Mapping[str, Contract], table: FleetTable, row: Mapping[str, Any], limit: int = 5
) -> Iterator[Sources]:
    """The vendors' rows that a fleet row is made from, table by table.

    Args:
        connection: to the warehouse.
        contracts: by table.
        table: the fleet table.
        row: the row, at least ``naming(table)``.
        limit: rows given of each vendor table; all are counted.
    """
    names = naming(table)
    which = sql.SQL(" AND ").join(
        sql.SQL("x.{} = {}").format(sql.Identifier(name), sql.Literal(row[name])) for name in names
    )
    for source, joins in _JOINS[table.name]:
        contract = contracts.get(source)
        if contract is None:
            continue
        columns = [column.name for column in contract.all_columns]
        query = sql.SQL(
            "SELECT {}, count(*) OVER () FROM (SELECT DISTINCT t.* FROM fleet.{} x {} WHERE {}) t ORDER BY {} LIMIT {}"
        ).format(
            column_list(columns),
            sql.Identifier(table.name),
            sql.SQL(joins),
            which,
            column_list(contract.key),
            sql.Literal(limit),
        )
        found = connection.execute(query).fetchall()
        if found:
            rows = [dict(zip(columns, item[:-1], strict=True)) for item in found]
            yield Sources(contract, rows, found[0][-1])


def naming(table: FleetTable) -> tuple[str, ...]:
    """Columns that name a row: the key, or of a view what comes nearest."""
    return table.key or tuple(
        name for name in ("vehicle_key", "vendor", "account", "vendor_vehicle_id", "event_time") if name in table.names
    )


def made_again(connection: Connection, include: Path, table: FleetTable, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row as the model makes it from the vendors' tables now; ``None`` when it makes none. Nothing is written.

    Args:
        connection: to the warehouse, in no transaction.
        include: folder of the model.
        table: the fleet table.
        row: the row as it is.
    """
    key = sql.SQL(" AND ").join(
        sql.SQL("f.{} = {}").format(sql.Identifier(name), sql.Literal(row[name])) for name in naming(table)
    )
    with connection.transaction(force_rollback=True):
        made = _query(connection, include, table, row)
        found = connection.execute(
            sql.SQL("SELECT {} FROM ({}) f WHERE {}").format(column_list(table.names), made, key)
        ).fetchone()
    return dict(zip(table.names, found, strict=True)) if found else None


def _query(connection: Connection, include: Path, table: FleetTable, row: Mapping[str, Any]) -> sql.Composable:
    """A SELECT of the rows among which the row is made."""
    folder = include / "sql" / "fleet"
    if table.grain == "view":
        return sql.SQL("SELECT * FROM fleet.{}").format(sql.Identifier(table.name))
    if table.name in ("vehicle", "vehicle_identity", "vehicle_conflict"):
        resolution = resolve(entities.read_entities(connection), read_vehicle_file(include))
        entities.stage(connection, table, entities.rows_of(connection, resolution)[table.table])
        query = "SELECT * FROM pg_temp.staged"
    else:
        vehicle, account, day = {
            "vehicle_day": (row.get("vehicle_key") or "", "", row.get("day")),
            "account_day": ("", row.get("account"), row.get("day")),
            "vehicle": (row.get("vehicle_key"), "", None),
            "whole": ("", "", None),
        }[table.grain]
        connection.execute("CREATE TEMP TABLE unit (vehicle_key text, account text, day date) ON COMMIT DROP")
        connection.execute("INSERT INTO pg_temp.unit VALUES (%s, %s, %s)", [vehicle, account, day])
        if table.grain == "vehicle_day":
            connection.execute((folder / "prepare.sql").read_text().encode())
        (path,) = folder.glob(f"[0-9][0-9][0-9]_{table.name}.sql")
        query = path.read_text()
    return sql.SQL("SELECT {} FROM ({}) q").format(values_of(table), sql.SQL(query))


def _number(vendor: str, row: str = "x") -> str:
    """The vendor's number of a row's device; other vendors' ids are no numbers."""
    return f"CASE WHEN {row}.vendor = '{vendor}' THEN {row}.vendor_vehicle_id::bigint END"


def _trips(before: str = "") -> list[tuple[str, str]]:
    """What the trips ``y`` are made from."""
    device = {vendor: _number(vendor, "y") for vendor in ("powunity", "omnicomm")}
    overlaps = "t.deleted_at IS NULL AND t.start_time < y.end_time AND t.end_time > y.start_time"
    return [
        (
            "powunity.trip",
            f"{before} JOIN powunity.trip t ON t.account = y.account AND t.device_id = {device['powunity']}"
            " AND t.start_time = y.start_time AND t.deleted_at IS NULL",
        ),
        (
            "suivideflotte.trip",
            f"{before} JOIN suivideflotte.trip t ON y.vendor = 'suivideflotte' AND t.account = y.account"
            " AND t.trip_id = CASE WHEN y.vendor = 'suivideflotte' THEN y.vendor_trip_id::bigint END AND t.deleted_at IS NULL",
        ),
        (
            "rcs.telemetry",
            f"{before} JOIN rcs.telemetry t ON y.vendor = 'rcs' AND t.account = y.account AND t.vehicle_id = y.vendor_vehicle_id"
            " AND t.event_time BETWEEN y.start_time AND y.end_time AND t.deleted_at IS NULL",
        ),
        (
            "omnicomm.track_point",
            f"{before} JOIN omnicomm.track_point t ON t.account = y.account AND t.terminal_id = {device['omnicomm']}"
            " AND t.event_time BETWEEN y.start_time AND y.end_time AND t.is_valid AND t.deleted_at IS NULL",
        ),
        # A trip made from samples has its driver from another device's trip.
        (
            "powunity.trip",
            f"{before} JOIN powunity.trip t ON y.is_derived AND {overlaps}"
            " AND y.driver_key = 'powunity:' || t.account || ':' || t.driver_unique_id",
        ),
        (
            "suivideflotte.trip",
            f"{before} JOIN suivideflotte.trip t ON y.is_derived AND {overlaps}"
            " AND y.driver_key = 'suivideflotte:' || t.account || ':' || t.driver_id",
        ),
    ]


_ENTITY = [
    (
        "rcs.vehicle",
        "JOIN rcs.vehicle t ON x.vendor = 'rcs' AND t.account = x.account AND t.vehicle_id = x.vendor_vehicle_id",
    ),
    ("omnicomm.vehicle", f"JOIN omnicomm.vehicle t ON t.account = x.account AND t.terminal_id = {_number('omnicomm')}"),
    (
        "omnicomm.vehicle_profile",
        f"JOIN omnicomm.vehicle_profile t ON t.account = x.account AND t.terminal_id = {_number('omnicomm')}",
    ),
    ("powunity.device", f"JOIN powunity.device t ON t.account = x.account AND t.device_id = {_number('powunity')}"),
    (
        "suivideflotte.vehicle",
        f"JOIN suivideflotte.vehicle t ON t.account = x.account AND t.vehicle_id = {_number('suivideflotte')}",
    ),
]


def _entities(before: str) -> list[tuple[str, str]]:
    """What the devices ``i`` are listed as."""
    return [(table, before + " " + re.sub(r"\bx\.", "i.", join)) for table, join in _ENTITY]


_OF_DAY = (
    "JOIN fleet.vehicle_identity i ON i.vehicle_key = x.vehicle_key AND i.valid_from < (x.day + 1)::timestamp AT TIME ZONE 'UTC'"
    " AND coalesce(i.valid_to, 'infinity') > x.day::timestamp AT TIME ZONE 'UTC'"
)


def _facts(table: str, vehicle: str, time: str) -> tuple[str, str]:
    vendor = table.partition(".")[0]
    number = "i.vendor_vehicle_id" if vendor == "rcs" else _number(vendor, "i")
    return (
        table,
        f"{_OF_DAY} JOIN {table} t ON i.vendor = '{vendor}' AND t.account = i.account AND t.{vehicle} = {number}"
        f" AND t.{time} >= greatest(i.valid_from, x.day::timestamp AT TIME ZONE 'UTC')"
        f" AND t.{time} < least(coalesce(i.valid_to, 'infinity'), (x.day + 1)::timestamp AT TIME ZONE 'UTC')"
        " AND t.deleted_at IS NULL",
    )


_SAMPLES = [
    (
        "rcs.telemetry",
        "JOIN rcs.telemetry t ON x.vendor = 'rcs' AND t.account = x.account AND t.vehicle_id = x.vendor_vehicle_id AND {}"
        " AND t.deleted_at IS NULL",
    ),
    (
        "omnicomm.{}",
        f"JOIN omnicomm.{{}} t ON t.account = x.account AND t.terminal_id = {_number('omnicomm')} AND {{}} AND t.deleted_at IS NULL",
    ),
]

_JOINS: Mapping[str, list[tuple[str, str]]] = {
    "trip": [(table, re.sub(r"\by\.", "x.", join)) for table, join in _trips()],
    "stop": _trips(
        "JOIN fleet.trip y ON y.vehicle_key = x.vehicle_key AND y.day = x.day"
        " AND (y.end_time = x.start_time OR y.start_time = x.end_time)"
    ),
    "vehicle_day": [
        *_trips("JOIN fleet.trip y ON y.vehicle_key = x.vehicle_key AND y.day = x.day"),
        _facts("omnicomm.consolidated_report", "terminal_id", "report_time"),
        _facts("omnicomm.fuel_level", "terminal_id", "event_time"),
        _facts("powunity.summary", "device_id", "start_time"),
        _facts("powunity.position", "device_id", "event_time"),
        _facts("rcs.telemetry", "vehicle_id", "event_time"),
        *_entities(_OF_DAY),
    ],
    "fuel_event": [
        (_SAMPLES[0][0], _SAMPLES[0][1].format("t.event_time BETWEEN x.begin_time AND x.event_time")),
        (
            "omnicomm.fuel_level",
            _SAMPLES[1][1].format("fuel_level", "t.tank = x.tank AND t.event_time BETWEEN x.begin_time AND x.event_time"),
        ),
    ],
    "position": [
        (_SAMPLES[0][0], _SAMPLES[0][1].format("t.event_time = x.event_time")),
        ("omnicomm.track_point", _SAMPLES[1][1].format("track_point", "t.event_time = x.event_time")),
        (
            "powunity.position",
            f"JOIN powunity.position t ON t.account = x.account AND t.device_id = {_number('powunity')}"
            " AND t.event_time = x.event_time AND t.deleted_at IS NULL",
        ),
    ],
    "trouble": [
        (
            "rcs.trouble",
            "JOIN rcs.trouble t ON t.account = x.account AND t.vehicle_id = x.vendor_vehicle_id AND t.ecu_key = x.ecu_key"
            " AND t.dtc = x.dtc AND t.report_time BETWEEN x.opened_at AND x.last_seen_at AND t.deleted_at IS NULL",
        ),
        (
            "rcs.health_report",
            "JOIN rcs.health_report t ON t.account = x.account AND t.vehicle_id = x.vendor_vehicle_id"
            " AND t.created_time BETWEEN x.opened_at AND coalesce(x.closed_at, x.last_seen_at) AND t.deleted_at IS NULL",
        ),
    ],
    "geofence_visit": [
        (
            "powunity.event",
            f"JOIN powunity.event t ON t.account = x.account AND t.device_id = {_number('powunity')}"
            " AND t.geofence_id::text = x.geofence_id AND t.event_time IN (x.entered_time, x.left_time)"
            " AND t.event_type IN ('geofenceEnter', 'geofenceExit') AND t.deleted_at IS NULL",
        ),
        (
            "omnicomm.geofence_visit",
            f"JOIN omnicomm.geofence_visit t ON t.account = x.account AND t.terminal_id = {_number('omnicomm')}"
            " AND t.geofence_id::text = x.geofence_id AND t.start_time = x.entered_time AND t.deleted_at IS NULL",
        ),
    ],
    "event": [
        (
            "powunity.event",
            "JOIN powunity.event t ON t.account = x.account"
            " AND t.event_id = CASE WHEN x.vendor = 'powunity' THEN x.vendor_event_id::bigint END",
        ),
        (
            "omnicomm.event",
            "JOIN omnicomm.event t ON x.vendor = 'omnicomm' AND t.account = x.account AND t.event_time = x.event_time"
            " AND concat_ws(':', t.terminal_id, floor(extract(epoch FROM t.event_time))::bigint, t.type_code, t.occurrence)"
            " = x.vendor_event_id",
        ),
        (
            "suivideflotte.alert",
            "JOIN suivideflotte.alert t ON t.account = x.account"
            " AND t.alert_id = CASE WHEN x.vendor = 'suivideflotte' THEN x.vendor_event_id::bigint END",
        ),
    ],
    "identification": [
        ("omni_platform.event", "JOIN omni_platform.event t ON t.account = x.account AND t.event_id = x.event_id"),
        ("omni_platform.camera", "JOIN omni_platform.camera t ON t.account = x.account AND t.camera_id = x.camera_id"),
    ],
    "driver": [
        (
            "powunity.trip",
            "JOIN LATERAL (SELECT * FROM powunity.trip p WHERE x.vendor = 'powunity' AND p.account = x.account"
            " AND p.driver_unique_id = x.vendor_driver_id AND p.deleted_at IS NULL"
            " ORDER BY p.start_time DESC, p.device_id DESC LIMIT 1) t ON true",
        ),
        (
            "suivideflotte.driver",
            "JOIN suivideflotte.driver t ON x.vendor = 'suivideflotte' AND t.account = x.account"
            " AND t.driver_id::text = x.vendor_driver_id",
        ),
    ],
    "vehicle": _entities("JOIN fleet.vehicle_identity i ON i.vehicle_key = x.vehicle_key"),
    "vehicle_identity": _ENTITY,
    "vehicle_conflict": _entities(
        "JOIN fleet.vehicle_identity i ON concat_ws(':', i.vendor, i.account, i.vendor_vehicle_id) = x.subject"
        " OR i.vehicle_key = ANY (string_to_array(x.details, ', '))"
        " OR i.vehicle_key = ANY (SELECT 'vin:' || vin FROM unnest(string_to_array(x.details, ', ')) vin)"
    ),
}
"""How each fleet table's row ``x`` finds its vendors' rows ``t``: the rules of the queries in ``include/sql/fleet``, for one row."""
