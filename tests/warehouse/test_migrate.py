"""Tables follow their contracts."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
import pytest
from fleetlake.contracts import Column, Contract
from fleetlake.errors import ConfigError, ContractError
from fleetlake.warehouse import Warehouse

INCLUDE = Path(__file__).resolve().parents[2] / "include"


@pytest.fixture
def empty(make_database: Callable[..., str]) -> Warehouse:
    return Warehouse(make_database())


def columns(url_of: Warehouse, table: str) -> dict[str, tuple[str, str]]:
    schema, name = table.split(".")
    _, rows = url_of.query(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
        f" WHERE table_schema = '{schema}' AND table_name = '{name}'"
    )
    return {name: (kind, nullable) for name, kind, nullable in rows}


def test_tables_are_as_the_contracts_say(empty: Warehouse, contracts: Mapping[str, Contract]) -> None:
    assert empty.migrate(contracts, INCLUDE) > 0
    for contract in contracts.values():
        found = columns(empty, contract.table)
        assert list(found) == [*(column.name for column in contract.all_columns), "loaded_at"]
        for column in contract.all_columns:
            assert found[column.name][1] == ("NO" if column.required else "YES"), column.name
    assert columns(empty, "rcs.telemetry")["event_time"] == ("timestamp with time zone", "NO")
    _, rows = empty.query(
        "SELECT col_description('powunity.position'::regclass, attnum) FROM pg_attribute"
        " WHERE attrelid = 'powunity.position'::regclass AND attname = 'speed_kmh'"
    )
    ((comment,),) = rows
    assert comment.endswith("[km/h]")


def test_every_ops_column_has_a_comment(warehouse: Warehouse) -> None:
    _, rows = warehouse.query(
        "SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relnamespace = 'ops'::regnamespace AND c.relkind = 'r' AND col_description(c.oid, a.attnum) IS NULL"
        " AND NOT a.attisdropped"
    )
    assert [name for (name,) in rows] == []
    _, rows = warehouse.query(
        "SELECT relname FROM pg_class WHERE relnamespace = 'ops'::regnamespace AND relkind IN ('r', 'v')"
        " AND obj_description(oid, 'pg_class') IS NULL"
    )
    assert list(rows) == []


def test_a_second_migration_does_nothing(warehouse: Warehouse, contracts: Mapping[str, Contract]) -> None:
    assert warehouse.migrate(contracts, INCLUDE) == 0


def test_a_table_that_was_dropped_comes_back(empty: Warehouse, contracts: Mapping[str, Contract]) -> None:
    trip = contracts["powunity.trip"]
    empty.migrate([trip], INCLUDE)
    with empty._connection() as connection:
        connection.execute("DROP TABLE powunity.trip")
        connection.commit()
    assert empty.migrate([trip], INCLUDE) > 0
    assert list(empty.rows(trip)) == []


def test_a_new_column_is_added_and_a_dropped_one_does_not_block(empty: Warehouse, contracts: Mapping[str, Contract]) -> None:
    trip = contracts["powunity.trip"]
    empty.migrate([trip], INCLUDE)
    extra = Column(name="smell", type="double precision", description="How it smells.", unit="olf", required=True)
    shorter = [column for column in trip.columns if column.name != "end_time"]
    newer = dataclasses.replace(trip, version="2.0.0", columns=(*shorter, extra))
    assert empty.migrate([newer], INCLUDE) > 0
    found = columns(empty, "powunity.trip")
    assert found["smell"] == ("double precision", "YES")
    assert found["end_time"] == ("timestamp with time zone", "YES"), "kept, but no longer demanded"
    assert empty.migrate([newer], INCLUDE) == 0


def test_a_changed_type_is_refused_with_both_types(empty: Warehouse, contracts: Mapping[str, Contract]) -> None:
    trip = contracts["powunity.trip"]
    empty.migrate([trip], INCLUDE)
    altered = tuple(
        dataclasses.replace(column, type="text") if column.name == "device_id" else column for column in trip.columns
    )
    with pytest.raises(
        ContractError, match=r"device_id is bigint in the warehouse and text in the contract.*new name.*load its days again"
    ):
        empty.migrate([dataclasses.replace(trip, columns=altered)], INCLUDE)


def test_another_key_is_refused(empty: Warehouse, contracts: Mapping[str, Contract]) -> None:
    trip = contracts["powunity.trip"]
    empty.migrate([trip], INCLUDE)
    altered = tuple(
        dataclasses.replace(column, is_key=False) if column.name == "start_time" else column for column in trip.columns
    )
    with pytest.raises(ContractError, match="the key of"):
        empty.migrate([dataclasses.replace(trip, columns=altered)], INCLUDE)


def test_a_folder_without_sql_is_a_configuration_error(
    empty: Warehouse, contracts: Mapping[str, Contract], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no SQL files"):
        empty.migrate(contracts, tmp_path)


def test_several_processes_migrate_at_once(make_database: Callable[..., str], contracts: Mapping[str, Contract]) -> None:
    url = make_database()
    program = (
        "import sys, pathlib\n"
        "from fleetlake.contracts import load_contracts\n"
        "from fleetlake.warehouse import Warehouse\n"
        "include = pathlib.Path(sys.argv[2])\n"
        "with Warehouse(sys.argv[1]) as warehouse:\n"
        "    warehouse.migrate(load_contracts(include), include)\n"
    )
    arguments = [sys.executable, "-c", program, url, str(INCLUDE)]
    running = [subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with Warehouse(url) as opened:
        assert opened.migrate(contracts, INCLUDE) == 0


def test_a_failing_script_leaves_nothing_behind(
    make_database: Callable[..., str], contracts: Mapping[str, Contract], tmp_path: Path
) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "010.sql").write_text("CREATE TABLE ops.half (a int); SELECT 1 / 0;")
    url = make_database()
    with Warehouse(url) as opened, pytest.raises(Exception, match="division by zero"):
        opened.migrate([contracts["powunity.trip"]], tmp_path)
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT to_regnamespace('ops'), to_regnamespace('powunity')").fetchone() == (None, None)
