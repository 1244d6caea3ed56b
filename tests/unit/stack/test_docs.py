"""Pages name only commands that exist, and every command is on a page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from fleetlake import cli

UsageError = typer.BadParameter.__bases__[0]
"""Of the click that typer works with, which may be a copy of its own."""

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
def test_commands_in_blocks_take_what_they_are_given(page: Path, commands: set[str]) -> None:
    for line in commands_in_blocks(page.read_text()):
        words = shlex.split(line, comments=True)
        command = typer.main.get_command(cli.app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        try:
            command.make_context(line, words)
        except typer.Exit:  # --help
            continue
        except UsageError as error:
            pytest.fail(f"fleetlake {line}: {error.format_message()}")


def test_a_wrong_option_in_a_block_is_found() -> None:
    text = (
        "```bash\nfleetlake plan --nonsense 3   # why not\nA=1 bin/fleetlake sql \\\n  'SELECT 1' | head\n```\n`fleetlake x`"
    )
    assert commands_in_blocks(text) == ["plan --nonsense 3   # why not", "sql    'SELECT 1'"]
    with pytest.raises(UsageError, match="nonsense"):
        typer.main.get_command(cli.app).commands["plan"].make_context("plan", ["--nonsense", "3"])


def commands_in_blocks(text: str) -> list[str]:
    """What follows ``fleetlake`` in the fenced blocks of a page."""
    blocks = re.findall(r"^ *```[a-z]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    pattern = r"(?:^|[;&|(]|\$) *(?:[A-Z_]+=\S+ +)*(?:\S*/)?fleetlake (.*?)(?= *(?:$|&&|\| ))"
    return [found for line in lines for found in re.findall(pattern, line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_command_and_target_is_documented(commands: set[str]) -> None:
    text = "\n".join(page.read_text() for page in [*PAGES, ROOT / "CHANGELOG.md"])
    assert {name for name in commands if f"`{name}`" not in text and f"fleetlake {name}" not in text} == set()
    assert {name for name in TARGETS if f"make {name}" not in text} <= {"install"}
