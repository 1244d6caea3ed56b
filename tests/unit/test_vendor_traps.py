"""The page of traps: every vendor is there, every trap has a test, every test it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "vendor-traps.md").read_text()
SECTIONS = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
"""Text below each heading, by vendor."""

VENDORS = {entry["vendor"] for entry in yaml.safe_load((ROOT / "include" / "accounts.yaml").read_text())["accounts"]}
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)(?:\[[^`]*\])?`")


def traps(vendor: str) -> list[list[str]]:
    """Cells of each row of the vendor's table, without its head."""
    lines = [line for line in SECTIONS[vendor].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert rows[:2] == [["trap", "what fleetlake does", "test"], ["---", "---", "---"]]
    return rows[2:]


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_vendor_has_its_section() -> None:
    assert set(SECTIONS) == VENDORS


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_every_trap_says_what_is_done_and_has_a_test(vendor: str) -> None:
    rows = traps(vendor)
    assert len(rows) > 10
    assert [row for row in rows if len(row) != 3 or not all(row)] == []
    assert [row[0] for row in rows if not TEST.search(row[2].split("played:")[0])] == []
    assert SECTIONS[vendor].count("\nLater: ") == 1


def test_every_test_on_the_page_exists() -> None:
    named = TEST.findall(PAGE)
    assert len(named) == PAGE.count("::"), "a test is not written as `tests/path/test_file.py::test_name`"
    assert [f"{path}::{name}" for path, name in named if not (ROOT / path).is_file() or name not in functions_of(path)] == []
