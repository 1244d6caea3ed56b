"""Where things are: one frozen object read from the environment, the same for Airflow, the CLI and tests."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fleetlake.errors import ConfigError

_PROJECT = Path(__file__).resolve().parents[2]
"""The checkout: fleetlake is installed with ``-e .``, its data files stand beside the package."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Places of the stores.

    Attributes:
        home: local state (data docs, logs, embedded PostgreSQL). ``FLEETLAKE_HOME``, default ``.fleetlake``.
        include: contracts, SQL, account list. ``FLEETLAKE_INCLUDE``.
        warehouse_url: SQLAlchemy URL of PostgreSQL. ``FLEETLAKE_WAREHOUSE_URL``; ``None`` = not set.
        lake_url: folder or object-store URL of the Delta tables. ``FLEETLAKE_LAKE_URL``.
        raw_url: folder or fsspec URL of raw pages. ``FLEETLAKE_RAW_URL``.
        model_patience_h: hours the fleet model waits for the end of a run before it takes up what the run has loaded so far.
            ``FLEETLAKE_MODEL_PATIENCE_H``.
    """

    home: Path
    include: Path
    warehouse_url: str | None
    lake_url: str
    raw_url: str
    model_patience_h: float = 6

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the environment; relative paths are below the checkout.

        Raises:
            ConfigError: ``FLEETLAKE_INCLUDE`` has no ``contracts`` folder, or the URL of a store carries a credential.
        """
        env = os.environ if env is None else env
        home = _PROJECT / env.get("FLEETLAKE_HOME", ".fleetlake")
        include = _PROJECT / env.get("FLEETLAKE_INCLUDE", "include")
        if not (include / "contracts").is_dir():
            raise ConfigError(
                f"no contracts below {include}",
                where="FLEETLAKE_INCLUDE",
                remedy="point it at the include folder of the checkout",
            )
        for name in ("FLEETLAKE_LAKE_URL", "FLEETLAKE_RAW_URL"):
            if "@" in urlsplit(env.get(name, "")).netloc:
                raise ConfigError(
                    "the URL of an object store carries a credential",
                    where=name,
                    remedy="give it in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or by a role",
                )
        patience = env.get("FLEETLAKE_MODEL_PATIENCE_H") or "6"
        if not re.fullmatch(r"\d+(\.\d+)?", patience):
            raise ConfigError(f"{patience!r} is no number of hours", where="FLEETLAKE_MODEL_PATIENCE_H", remedy="write 6")
        return cls(
            home=home,
            include=include,
            warehouse_url=env.get("FLEETLAKE_WAREHOUSE_URL") or None,
            lake_url=env.get("FLEETLAKE_LAKE_URL") or str(home / "lake"),
            raw_url=env.get("FLEETLAKE_RAW_URL") or str(home / "raw"),
            model_patience_h=float(patience),
        )

    @property
    def data_docs(self) -> Path:
        """Folder of the quality pages and of the results they are made from."""
        return self.home / "data_docs"

    def require_warehouse(self) -> str:
        """The warehouse URL.

        Raises:
            ConfigError: it is not set.
        """
        if not self.warehouse_url:
            raise ConfigError(
                "no warehouse is configured",
                where="FLEETLAKE_WAREHOUSE_URL",
                remedy="set it to postgresql+psycopg://user@host/database, or start the local stack with `make up`",
            )
        return self.warehouse_url
