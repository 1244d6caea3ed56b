"""Ready-made analyses: the files of ``include/examples``, each a query (``.sql``) or a script (``.py``).

A file begins with a header, the comment of a query or the docstring of a script, in three parts: ``Question:``,
``Read it:`` and ``Limits:``. So whoever runs it knows what the answer says and what it does not.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleetlake.errors import ConfigError

PARTS = ("Question", "Read it", "Limits")


@dataclass(frozen=True)
class Example:
    """One analysis.

    Attributes:
        name: name of the file without its ending.
        question: what it answers.
        how_to_read, limits: what the answer says, and what it does not.
    """

    name: str
    path: Path
    question: str
    how_to_read: str
    limits: str

    @property
    def is_script(self) -> bool:
        """It draws or computes in Python; otherwise it is one SELECT."""
        return self.path.suffix == ".py"

    @property
    def text(self) -> str:
        """The file."""
        return self.path.read_text()


def examples(folder: Path) -> list[Example]:
    """All examples in ``folder``, by name.

    Raises:
        ConfigError: a file lacks a part of its header.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix in (".sql", ".py"))
    return [_read(path) for path in paths]


def example(folder: Path, name: str) -> Example:
    """The example called ``name``.

    Raises:
        ConfigError: there is none; names a near match.
    """
    found = {item.name: item for item in examples(folder)}
    if name not in found:
        near = difflib.get_close_matches(name, found, 1)
        raise ConfigError(
            f"there is no example {name!r}",
            where=str(folder),
            remedy=f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(found)}",
        )
    return found[name]


def _read(path: Path) -> Example:
    header = dict(_parts(_header(path)))
    if missing := [part for part in PARTS if not header.get(part)]:
        raise ConfigError(
            f"the header lacks {', '.join(repr(part + ':') for part in missing)}",
            where=str(path),
            remedy="say what the analysis asks, how to read the answer, and its limits",
        )
    return Example(path.stem, path, *(header[part] for part in PARTS))


def _header(path: Path) -> list[str]:
    text = path.read_text()
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").splitlines()
    lines = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--"))
    return lines


def _parts(lines: list[str]) -> Iterator[tuple[str, str]]:
    name, words = "", list[str]()
    for line in lines:
        if found := re.match(rf"\s*({'|'.join(PARTS)}):\s*(.*)", line):
            yield name, " ".join(words)
            name, words = found[1], [found[2]]
        elif line.strip():
            words.append(line.strip())
        elif name:
            yield name, " ".join(words)
            name, words = "", []
    yield name, " ".join(words)
