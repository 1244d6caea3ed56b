"""Identity checks: an equation between columns, judged row by row by Great Expectations."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from fleetlake.contracts import Column, TableCheck, read_contract
from fleetlake.dictionary import render
from fleetlake.equations import Equation
from fleetlake.errors import ContractError
from fleetlake.quality import judge as judge_module

INCLUDE = Path(__file__).resolve().parents[2] / "include"
SUM = Equation("total_s = moving_s + standing_s")
COLUMNS = tuple(
    Column(name=name, type="double precision", description=f"The {name}.") for name in ("total_s", "moving_s", "standing_s")
)

pytestmark = pytest.mark.xdist_group("great_expectations")


def identity(severity: str, equation: Equation = SUM, limit: float = 1.0) -> TableCheck:
    return TableCheck(name="identity", limit=limit, severity=severity, equation=equation)


@pytest.fixture
def rows(make_contract: Any, make_batch: Any) -> Any:
    """Contract with the check, and a batch: right, off by 0.5, off by 3, a null."""

    def made(*checks: TableCheck) -> Any:
        contract = make_contract(*COLUMNS, checks=checks)
        batch = make_batch(
            contract, total_s=[10.0, 10.5, 13.0, 13.0], moving_s=[4.0, 4.0, 4.0, None], standing_s=[6.0, 6.0, 6.0, 6.0]
        )
        return contract, batch

    return made


def test_warning_tells_how_many_rows_are_off_and_keeps_them(rows: Any, judge: Any) -> None:
    verdict = judge(*rows(identity("warning")))
    (result,) = [item for item in verdict.results if item.check.startswith("identity")]
    assert (result.check, result.column) == ("identity: total_s = moving_s + standing_s", None)
    assert (result.success, result.unexpected, result.evaluated, result.limit) == (False, 1, 4, "1")
    assert verdict.good.num_rows == 4
    assert not verdict.held


def test_error_sets_the_row_aside_with_the_equation(rows: Any, judge: Any) -> None:
    verdict = judge(*rows(identity("error")))
    (rejected,) = verdict.rejected
    assert (rejected.row_index, rejected.column) == (2, None)
    assert rejected.reason == "identity: total_s = moving_s + standing_s does not hold"
    assert verdict.good.num_rows == 3


def test_critical_holds_the_batch(rows: Any, judge: Any) -> None:
    verdict = judge(*rows(identity("critical")))
    assert verdict.held
    assert "identity: total_s = moving_s + standing_s" in verdict.reason


def test_equation_that_holds_passes_and_two_are_told_apart(rows: Any, judge: Any) -> None:
    doubled = Equation("total_s = 2 * moving_s when standing_s - 6")
    verdict = judge(*rows(identity("error", limit=5.0), identity("error", doubled)))
    results = {item.check: item for item in verdict.results if item.check.startswith("identity")}
    assert set(results) == {f"identity: {SUM.text}", f"identity: {doubled.text}"}
    assert all(item.success for item in results.values())


def test_every_slice_of_a_large_batch_is_judge(rows: Any, judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "SLICE_ROWS", 2)
    verdict = judge(*rows(identity("error")))
    assert [item.row_index for item in verdict.rejected] == [2]


def changed(tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "contracts" / "omnicomm" / "statistics.yaml"
    path.parent.mkdir(parents=True)
    shutil.copy(INCLUDE / "contracts" / "omnicomm" / "statistics.yaml", path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_contract_reads_its_identities() -> None:
    contract = read_contract(INCLUDE / "contracts" / "omnicomm" / "statistics.yaml")
    titles = [check.title for check in contract.checks]
    assert "identity: engine_run_time_s = engine_moving_time_s + idle_time_s" in titles
    assert "identity: co2_kg = 2.64 * fuel_used_l" in titles
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        ("co2_kg = 2.64 * fuel_spent_l", "'fuel_spent_l' is no number column"),
        ("co2_kg = 2.64 * vehicle_name", "'vehicle_name' is no number column"),
        ("co2_kg", "exactly one"),
    ],
)
def test_identity_that_cannot_be_judged_is_refused_with_its_file(tmp_path: Path, new: str, problem: str) -> None:
    path = changed(tmp_path, "co2_kg = 2.64 * fuel_used_l", new)
    with pytest.raises(ContractError, match=problem) as caught:
        read_contract(path)
    assert str(path) in str(caught.value)


def test_data_dictionary_shows_the_equation_and_its_tolerance() -> None:
    contract = read_contract(INCLUDE / "contracts" / "omnicomm" / "statistics.yaml")
    page = render({contract.table: contract})
    assert "| check `identity` | `co2_kg = 2.64 * fuel_used_l`, give or take 0.1; nulls pass (warning) |" in page
