"""Pages name only commands that exist, and every command is on a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from fleetlake import cli

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "docs" / "decisions").glob("*.md"),
]
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def commands() -> set[str]:
    cli._mount()
    return set(typer.main.get_command(cli.app).commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_the_page_exist(page: Path, commands: set[str]) -> None:
    text = page.read_text()
    for words in re.findall(r"(?:`|^)make ((?:[a-z-]+ ?)+)", text, re.MULTILINE):
        assert set(words.split()) <= TARGETS, words
    for word in re.findall(r"(?:`|bin/)fleetlake ([a-z]+)", text):
        assert word in commands, word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_command_and_target_is_documented(commands: set[str]) -> None:
    text = "\n".join(page.read_text() for page in [*PAGES, ROOT / "CHANGELOG.md"])
    assert {name for name in commands if f"`{name}`" not in text and f"fleetlake {name}" not in text} == set()
    assert {name for name in TARGETS if f"make {name}" not in text} <= {"install"}
