from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from fleetlake.contracts import Contract

from .house import House

INCLUDE = Path(__file__).resolve().parents[3] / "include"


@pytest.fixture
def house(make_database: Callable[..., str], contracts: Mapping[str, Contract], tmp_path: Path) -> Iterator[House]:
    """An empty house: all tables, no rows, a mapping file of its own."""
    include = tmp_path / "include"
    shutil.copytree(INCLUDE, include)
    opened = House(make_database(migrated=True), contracts, include, tmp_path / "home")
    yield opened
    opened.warehouse.close()
