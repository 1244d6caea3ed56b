"""The declarations of schema fleet: complete, honest about their sources, refused when wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from fleetlake.contracts import load_contracts
from fleetlake.errors import ContractError
from fleetlake.fleet_tables import FleetTable, load_fleet_tables

INCLUDE = Path(__file__).resolve().parents[3] / "include"
TABLES = load_fleet_tables(INCLUDE)
MARTS = {path.stem.partition("_")[2]: path.read_text() for path in sorted((INCLUDE / "sql" / "fleet").glob("0*.sql"))}
UNITS = {"deg": "deg", "kmh": "km/h", "m": "m", "s": "s", "l": "l"}


def columns() -> list[str]:
    return [f"{table.table}.{column.name}" for table in TABLES.values() for column in table.stored_columns]


@pytest.mark.parametrize("name", columns())
def test_every_column_has_a_meaning_and_the_unit_of_its_name(name: str) -> None:
    table, _, column_name = name.rpartition(".")
    (column,) = [item for item in TABLES[table].stored_columns if item.name == column_name]
    assert column.description.endswith(".")
    suffix = column_name.rpartition("_")[2]
    if column.type == "double precision" and suffix in UNITS:
        assert column.unit == UNITS[suffix]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_is_stale_when_any_table_its_query_reads_has_changed(table: FleetTable) -> None:
    """What the query reads, directly or through other tables of the schema and the shared preparation."""
    assert set(table.sources) <= set(load_contracts(INCLUDE))
    if table.name in MARTS:
        assert _read_by(table.name) <= table.sources


def _read_by(name: str) -> set[str]:
    text = MARTS[name] + (
        (INCLUDE / "sql" / "fleet" / "prepare.sql").read_text() if "pg_temp.fuel_level" in MARTS[name] else ""
    )
    if "pg_temp.record" in text:
        text += " rcs.telemetry "
    names = set(re.findall(r"(?:FROM|JOIN)\s+(\w+\.\w+)", text))
    direct = names & set(load_contracts(INCLUDE))
    through = {name.partition(".")[2] for name in names if name.startswith("fleet.")} & set(MARTS)
    return direct.union(*(_read_by(other) for other in through))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_lineage_names_columns_that_exist(table: FleetTable) -> None:
    contracts = load_contracts(INCLUDE)
    known = {f"{c.table}.{column.name}" for c in contracts.values() for column in c.all_columns} | set(columns())
    known |= {f"{item.table}" for item in TABLES.values()} | set(contracts) | {"include/fleet/vehicles.yaml", "ops.coverage"}
    for column in table.columns:
        for source in column.lineage:
            pattern = re.compile(re.escape(source).replace(r"\*", r"\w+") + "$")
            assert any(pattern.match(name) for name in known), f"{table.table}.{column.name}: {source}"


def test_every_table_but_the_tables_of_who_is_who_has_a_query() -> None:
    stored = {table.name for table in TABLES.values() if table.grain != "view"}
    assert stored - set(MARTS) == {"vehicle", "vehicle_identity", "vehicle_conflict"}
    assert set(MARTS) <= stored


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("  - name: vehicle_key", "  - nam: vehicle_key", "name"),
        ("value: vehicle_day", "value: vehicle_week", "grain is 'vehicle_week'"),
        ("property: grain", "property: grains", "'grains'"),
        ("physicalType: text", "physicalType: varchar", "physicalType 'varchar'"),
        ("    primaryKey: true\n", "", "no primary key"),
        ("name: stop\n  physicalName", "name: stopp\n  physicalName", "named after"),
        ("property: unit", "property: units", "'units'"),
        ("    - - day\n", "    - - dya\n", "index on 'dya'"),
        ("apiVersion: v3.1.0", "apiVersion: [", "not YAML"),
        ("description: UTC day.", "comment: UTC day.", "description"),
    ],
)
def test_a_wrong_declaration_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    shutil.copytree(INCLUDE / "fleet", tmp_path / "fleet")
    path = tmp_path / "fleet" / "model" / "stop.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ContractError, match=re.escape(says)) as caught:
        load_fleet_tables(tmp_path)
    assert "stop.yaml" in str(caught.value)
