"""The data dictionary says what contracts and SQL files say, and CI notices when it is stale."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from fleetlake.contracts import Contract, load_contracts
from fleetlake.dictionary import check, render

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page(contracts: Mapping[str, Contract]) -> str:
    return render(contracts)


def section(page: str, table: str) -> str:
    return page.split(f"\n## {table}\n")[1].split("\n## ", maxsplit=1)[0]


def test_committed_dictionary_is_current(contracts: Mapping[str, Contract]) -> None:
    stale = check(CHECKOUT / "docs" / "data-dictionary.md", contracts)
    assert not stale, "run `fleetlake dictionary` and commit docs/data-dictionary.md:\n" + "\n".join(stale[:20])


def test_every_column_of_every_contract_is_there_with_its_meaning(page: str, contracts: Mapping[str, Contract]) -> None:
    for contract in contracts.values():
        text = section(page, contract.table)
        for column in contract.columns:
            (row,) = re.findall(rf"^\| `{column.name}` \|.*$", text, re.MULTILINE)
            assert column.description.replace("|", "\\|") in row
            assert not column.unit or f"| {column.unit} |" in row


def test_a_converted_column_shows_field_unit_factor_and_checks(page: str) -> None:
    assert (
        "| `max_speed_kmh` | double precision | km/h | Highest speed; 0 when the vendor used its fast mode. "
        "| `maxSpeed` in kn x 1.852 | at least 0 (error) |"
    ) in section(page, "powunity.trip")


def test_table_facts_are_told(page: str) -> None:
    text = section(page, "powunity.trip")
    assert "| grain | one row per trip of a tracker within a UTC day |" in text
    assert "| key | `account`, `device_id`, `start_time` |" in text
    assert "exists in `powunity.device.device_id`" in text
    assert "| check `max_rejected_pct` | at most 50 % of a batch's rows set aside (critical) |" in text


@pytest.mark.parametrize(
    "table", ["ops.load", "ops.coverage", "ops.coverage_attempt", "ops.quality_result", "ops.quarantine"]
)
def test_ops_tables_have_every_column_with_type_and_meaning(page: str, table: str) -> None:
    rows = [line.split(" | ") for line in section(page, table).splitlines() if line.startswith("| `")]
    assert len(rows) > 8
    assert all(kind.strip() and meaning.strip(" |") for _, kind, meaning in rows)


def test_views_are_described(page: str) -> None:
    assert "Intervals that were asked for and are not proven complete, and times" in section(page, "ops.hole")
    assert "| `complete_until` |" in section(page, "ops.dataset_status")


def test_provenance_columns_are_explained_once(page: str) -> None:
    for name in ("account", "fetched_at", "raw_page", "raw_row", "load_id", "deleted_at", "loaded_at"):
        assert f"| `{name}` |" in section(page, "Columns of every table")


def test_links_lead_to_sections(page: str) -> None:
    headings = {
        re.sub(r"[^\w -]", "", line[3:].lower()).replace(" ", "-") for line in page.splitlines() if line.startswith("## ")
    }
    links = re.findall(r"\]\(#([^)]+)\)", page)
    assert len(links) > 10
    assert set(links) <= headings


def test_same_contracts_in_any_order_give_the_same_page(page: str, contracts: Mapping[str, Contract]) -> None:
    assert render(dict(reversed(contracts.items()))) == page


def test_text_with_bars_and_line_ends_stays_in_its_cell(contracts: Mapping[str, Contract]) -> None:
    trip = contracts["powunity.trip"]
    odd = replace(trip, columns=(replace(trip.columns[0], description="a | b\nc"), *trip.columns[1:]))
    assert "| a \\| b c |" in render({odd.table: odd})


def test_stale_or_missing_page_is_reported_line_by_line(tmp_path: Path, contracts: Mapping[str, Contract]) -> None:
    path = tmp_path / "data-dictionary.md"
    (missing,) = check(path, contracts)
    assert "fleetlake dictionary" in missing
    path.write_text(render(contracts))
    assert check(path, contracts) == []
    path.write_text(render(contracts).replace("| km/h |", "| mph |", 1))
    difference = check(path, contracts)
    assert sum(line.startswith("-|") for line in difference) == 1
    assert sum(line.startswith("+|") for line in difference) == 1


def test_a_changed_comment_in_sql_changes_the_page(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "include", tmp_path / "include")
    sql = tmp_path / "include" / "sql" / "010_ops.sql"
    sql.write_text(
        sql.read_text()
        + "CREATE TABLE ops.new (\n    thing bigint NOT NULL,\n    PRIMARY KEY (thing)\n);\n"
        + "COMMENT ON TABLE ops.new IS 'It''s new.';\nCOMMENT ON COLUMN ops.new.thing IS 'A thing; one.';\n"
    )
    text = section(render(load_contracts(tmp_path / "include")), "ops.new")
    assert text.splitlines()[1] == "It's new."
    assert "| `thing` | bigint | A thing; one. |" in text
    assert "PRIMARY" not in text
