"""Plain connections to the databases of the stack."""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import make_url


def connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a PostgreSQL database by its SQLAlchemy URL, whatever driver that names."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)
