"""Lines about what is being done, for people who wait."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console


@dataclass
class Progress:
    """Prints one line per finished step, with its duration; on a terminal also what is under way.

    Attributes:
        console: where to; standard error, so that answers stay alone on standard output.
    """

    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """A spinner while the block runs, on a terminal; the plain text elsewhere."""
        if not self.console.is_terminal:
            self.say(text)
            yield
            return
        with self.console.status(text):
            yield

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Says at its end how long the block took."""
        started = time.monotonic()
        yield
        self.console.print(f"  [green]✓[/green] {text} [dim]{time.monotonic() - started:.1f} s[/dim]", soft_wrap=True)

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, soft_wrap=True)
