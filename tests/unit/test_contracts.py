from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from fleetlake.contracts import load_contracts, read_contract
from fleetlake.errors import ContractError

INCLUDE = Path(__file__).parents[2] / "include"


@pytest.fixture
def edited(tmp_path):
    """Write a changed copy of a real contract and read it."""

    def edit(change):
        data = yaml.safe_load((INCLUDE / "contracts/rcs/telemetry.yaml").read_text())
        change(data, data["schema"][0])
        folder = tmp_path / "rcs"
        folder.mkdir(exist_ok=True)
        path = folder / "telemetry.yaml"
        path.write_text(yaml.safe_dump(data))
        return read_contract(path)

    return edit


def test_every_shipped_contract_reads_and_describes_every_column():
    contracts = load_contracts(INCLUDE)
    assert {"rcs.telemetry", "powunity.trip"} <= set(contracts)
    for contract in contracts.values():
        for column in contract.all_columns:
            assert column.description.endswith("."), (contract.table, column.name)


def test_columns_with_a_unit_suffix_state_that_unit():
    units = {
        "_kmh": "km/h",
        "_km": "km",
        "_m": "m",
        "_s": "s",
        "_ms": "ms",
        "_kn": "kn",
        "_l": "l",
        "_pct": "%",
        "_v": "V",
        "_deg": "deg",
        "_rpm": "1/min",
    }
    for contract in load_contracts(INCLUDE).values():
        for column in contract.columns:
            for suffix, unit in units.items():
                if column.name.endswith(suffix):
                    assert column.unit == unit, (contract.table, column.name)


def test_no_word_a_vendor_may_add_sets_a_row_aside():
    """Every list of a vendor's words is open: an unknown one is told and kept. Words that fleetlake derives are its own."""
    lists = [
        (contract.table, column)
        for contract in load_contracts(INCLUDE).values()
        for column in contract.columns
        if column.enum and column.source
    ]
    assert len({table.split(".")[0] for table, _ in lists}) >= 3
    assert {f"{table}.{column.name}" for table, column in lists if column.severity != "warning"} == set()


def test_key_starts_with_the_account_and_schema_carries_units():
    contract = load_contracts(INCLUDE)["rcs.telemetry"]
    assert contract.key == ("account", "revision")
    assert contract.arrow_schema.field("odometer_m").metadata[b"unit"] == b"m"


def custom(schema, name):
    return next(item for item in schema["customProperties"] if item["property"] == name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, s: s["properties"][0].update(physicalType="txt"), r"telemetry.yaml: revision.*did you mean 'text'"),
        (
            lambda d, s: s["properties"][0].update(logicalType="integer"),
            "does not go with physicalType 'text'.*logicalType: string",
        ),
        (lambda d, s: s["properties"][0].update(primaryKey=False), "no primary key"),
        (lambda d, s: s["properties"][0].pop("description"), "needs name and description"),
        (lambda d, s: s["properties"].append(s["properties"][0]), "there twice"),
        (lambda d, s: s["properties"][0].update(name="loaded_at"), "reserved"),
        (lambda d, s: s["customProperties"].append({"property": "timecolumn", "value": "x"}), "did you mean 'timeColumn'"),
        (lambda d, s: custom(s, "scopeColumn").update(value="vehicle"), "did you mean 'vehicle_id'"),
        (lambda d, s: custom(s, "kind").update(value="windows"), "did you mean 'window'"),
        (lambda d, s: s["quality"][0].update(severity="fatal"), "severity is 'fatal'"),
        (lambda d, s: d.update(kindd="x"), "kindd"),
        (lambda d, s: d.update(schema=[]), "exactly one table"),
    ],
)
def test_wrong_contract_names_file_and_remedy(edited, change, message):
    with pytest.raises(ContractError, match=message) as caught:
        edited(change)
    assert "telemetry.yaml" in str(caught.value)


def test_file_that_is_not_yaml_is_a_contract_error(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("a: [")
    with pytest.raises(ContractError, match="not YAML"):
        read_contract(path)
