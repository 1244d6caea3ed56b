"""Suites made from contracts: what is checked, how severely, and clear errors for checks that cannot work."""

from __future__ import annotations

from typing import Any

import pytest
from fleetlake.contracts import Column, TableCheck
from fleetlake.errors import ContractError
from fleetlake.quality import build_suite

pytestmark = pytest.mark.xdist_group("great_expectations")


def column(name: str, kind: str = "text", **facts: Any) -> Column:
    return Column(name=name, type=kind, description=f"The {name}.", **facts)


def found(suite: Any) -> dict[tuple[str, str | None], Any]:
    return {(item.meta["check"], item.meta["column"]): item for item in suite.expectations}


def test_every_rule_of_a_contract_becomes_an_expectation(make_contract: Any) -> None:
    contract = make_contract(
        column("speed_kmh", "double precision", minimum=0, maximum=250, unit="km/h", severity="warning"),
        column("vin", pattern="^[A-Z]+$"),
        column("state", enum=("on", "off"), required=True, severity="critical"),
        column("device_id", "bigint", references="powunity.device.device_id"),
        column("start_time", "timestamptz"),
        checks=[
            TableCheck(name="freshness", limit=3600, severity="warning"),
            TableCheck(name="row_count_min", limit=1, severity="critical"),
        ],
        time_column="start_time",
    )
    assert {key: item.meta["severity"] for key, item in found(build_suite(contract)).items()} == {
        ("type", None): "critical",
        ("finite", None): "error",
        ("required", "id"): "error",
        ("range", "speed_kmh"): "warning",
        ("pattern", "vin"): "error",
        ("required", "state"): "critical",
        ("enum", "state"): "critical",
        ("references", "device_id"): "error",
        ("primary_key", "id"): "error",
        ("freshness", "start_time"): "warning",
        ("row_count_min", None): "critical",
    }


def test_an_expectation_says_what_it_means_with_unit_and_severity(make_contract: Any) -> None:
    contract = make_contract(column("speed_kmh", "double precision", minimum=0, maximum=250, unit="km/h"))
    speed = found(build_suite(contract))["range", "speed_kmh"]
    assert speed.description == "speed_kmh is 0 to 250 km/h. (error)"
    assert speed.notes == "The speed_kmh. Unit: km/h."


def test_great_expectations_severities_keep_our_order(make_contract: Any) -> None:
    contract = make_contract(*(column(name, required=True, severity=name) for name in ("warning", "error", "critical")))
    expectations = found(build_suite(contract))
    assert [expectations["required", name].severity.value for name in ("warning", "error", "critical")] == [
        "info",
        "warning",
        "critical",
    ]


def test_key_with_warning_severity_is_still_an_error(make_contract: Any) -> None:
    keys = [column("a", is_key=True, severity="warning"), column("b", is_key=True, severity="warning")]
    assert found(build_suite(make_contract(key=keys)))["primary_key", None].meta["severity"] == "error"


def test_suites_of_all_contracts_of_the_checkout_can_be_built(contracts: Any) -> None:
    for contract in contracts.values():
        checks = found(build_suite(contract))
        assert ("type", None) in checks
        assert sum(key[0] == "primary_key" for key in checks) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (column("speed", "double precision", minimum=10, maximum=1), "minimum 10 is above maximum 1"),
        (column("speed", "double precision", minimum="fast"), "bound 'fast' does not fit type double precision"),
        (column("name", minimum=1), "bound 1 does not fit type text"),
        (column("flag", "boolean", maximum=1), "bound 1 does not fit type boolean"),
        (column("time", "timestamptz", minimum="yesterday"), "bound 'yesterday' does not fit type timestamptz"),
        (column("day", "date", minimum="2026-13-01"), "bound '2026-13-01' does not fit type date"),
        (column("vin", pattern="[A-Z"), "is no regular expression"),
        (column("number", "bigint", pattern="^1"), "pattern on a column of type bigint"),
        (column("state", "bigint", enum=("1", "2")), "enum value '1' does not fit type bigint"),
        (column("state", enum=(1,)), "enum value 1 does not fit type text"),
        (column("flag", "bigint", enum=(True,)), "enum value True does not fit type bigint"),
        (column("device", "bigint", references="device_id"), "reference to 'device_id'"),
    ],
)  # fmt: skip
def test_check_that_does_not_fit_its_column_is_refused(make_contract: Any, wrong: Any, message: str) -> None:
    with pytest.raises(ContractError) as caught:
        build_suite(make_contract(wrong))
    assert message in str(caught.value)
    assert f"powunity.trip: {wrong.name}" in str(caught.value)
