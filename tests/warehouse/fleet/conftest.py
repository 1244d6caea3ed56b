from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from fleetlake.contracts import Contract

from .house import House

INCLUDE = Path(__file__).resolve().parents[3] / "include"

_EMPTY = """
DO $$
DECLARE
    name text;
    has_rows boolean;
BEGIN
    FOR name IN
        SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname NOT LIKE 'pg\\_%' AND schemaname <> 'information_schema' AND tablename <> 'script'
    LOOP
        EXECUTE 'SELECT EXISTS (SELECT FROM ' || name || ')' INTO has_rows;
        IF has_rows THEN
            EXECUTE 'DELETE FROM ' || name;
        END IF;
    END LOOP;
END
$$
"""


@pytest.fixture
def include(tmp_path: Path) -> Path:
    """An include folder of its own, whose mapping file may be written."""
    shutil.copytree(INCLUDE / "fleet", tmp_path / "include" / "fleet")
    for name in ("sql", "contracts"):
        (tmp_path / "include" / name).symlink_to(INCLUDE / name)
    return tmp_path / "include"


@pytest.fixture
def house(database_url: str, contracts: Mapping[str, Contract], include: Path, tmp_path: Path) -> Iterator[House]:
    """A house without rows; the tables are the module's."""
    opened = House(database_url, contracts, include, tmp_path / "home")
    with opened.warehouse.session() as connection:
        connection.execute(_EMPTY)
        connection.commit()
    yield opened
    opened.warehouse.close()


@pytest.fixture
def new_house(
    make_database: Callable[..., str], contracts: Mapping[str, Contract], include: Path, tmp_path: Path
) -> Iterator[House]:
    """A house in which the model was never built."""
    opened = House(make_database(migrated=True), contracts, include, tmp_path / "home")
    yield opened
    opened.warehouse.close()
