"""The stack's own secrets: made once, kept in a file only its owner can read."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet

from fleetlake.errors import ConfigError


def _token() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Keys:
    """Secrets of one stack.

    Attributes:
        fernet: encrypts connections in Airflow's database; losing it loses their passwords.
        jwt: signs the tokens with which tasks and people call the API.
        api: signs sessions of the web interface.
        password: of the user ``admin``.
    """

    fernet: str = field(default_factory=lambda: Fernet.generate_key().decode(), repr=False)
    jwt: str = field(default_factory=_token, repr=False)
    api: str = field(default_factory=_token, repr=False)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)

    @classmethod
    def of(cls, home: Path) -> Keys:
        """The keys of the stack at ``home``; made when there are none.

        Raises:
            ConfigError: the file is damaged.
        """
        path = home / "keys.json"
        if not path.exists():
            write_private(path, json.dumps(asdict(cls()), indent=1))
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError):
            raise ConfigError(
                "the stack's keys cannot be read", where=str(path), remedy="restore the file, or start anew: make clean"
            ) from None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
