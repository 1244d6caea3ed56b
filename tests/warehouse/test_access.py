"""Connecting, querying, and what is said when it does not work."""

from __future__ import annotations

import datetime as dt
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from fleetlake import embedded
from fleetlake.contracts import Contract
from fleetlake.errors import ConfigError, StoreConflict, StoreUnavailable
from fleetlake.warehouse import Warehouse

from .samples import contract, ride, table

INCLUDE = Path(__file__).resolve().parents[2] / "include"
CANARY = "s3cret-canary"


def test_a_query_gives_names_and_rows(warehouse: Warehouse) -> None:
    columns, rows = warehouse.query("SELECT 1 AS one, now() AS moment, '{\"a\": [1]}'::jsonb AS extra, NULL AS nothing")
    ((one, moment, extra, nothing),) = rows
    assert columns == ["one", "moment", "extra", "nothing"]
    assert (one, extra, nothing, moment.utcoffset()) == (1, {"a": [1]}, None, dt.timedelta(0))


def test_a_query_without_rows_still_has_names(warehouse: Warehouse) -> None:
    columns, rows = warehouse.query("SELECT load_id, state FROM ops.load WHERE false")
    assert (columns, list(rows)) == (["load_id", "state"], [])


def test_other_statements_that_answer_work_too(warehouse: Warehouse) -> None:
    assert list(warehouse.query("SHOW timezone")[1]) == [("UTC",)]
    assert warehouse.query("EXPLAIN SELECT 1")[0] == ["QUERY PLAN"]


def test_a_long_answer_is_streamed_and_may_be_left_early(warehouse: Warehouse) -> None:
    _, rows = warehouse.query("SELECT generate_series(1, 1000000000), repeat('x', 1000)", timeout_s=30)
    assert [next(rows)[0] for _ in range(3)] == [1, 2, 3]
    rows.close()  # type: ignore[attr-defined]
    assert warehouse.healthy()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nothing FROM ops.load", 'column "nothing" does not exist'),
        ("SELECT * FROM rcs.nothing", "does not exist"),
        ("DELETE FROM ops.load", "would change data|didn't produce"),
        ("CREATE TABLE x (a int)", "would change data"),
        ("DELETE FROM ops.load RETURNING *", "would change data"),
        ("SELECT 1; COMMIT; DROP TABLE ops.load", "multiple commands"),
        ("SELECT pg_sleep(30)", "took longer than 0.2 s"),
    ],
)
def test_a_bad_query_is_explained_and_changes_nothing(warehouse: Warehouse, query: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(warehouse.query(query, timeout_s=0.2)[1])
    assert list(warehouse.query("SELECT count(*) >= 0 FROM ops.load")[1]) == [(True,)]


def test_a_server_that_is_down_is_named_without_the_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    warehouse = Warehouse(f"postgresql://me:{CANARY}@127.0.0.1:{port}/fleet")
    with pytest.raises(StoreUnavailable, match=rf"127\.0\.0\.1:{port}, database fleet") as caught:
        warehouse.check()
    assert "make up" in str(caught.value)
    assert CANARY not in repr(caught.value) + str(caught.value.__cause__)
    assert not warehouse.healthy()


@pytest.mark.parametrize("url", ["nonsense", f"mysql://me:{CANARY}@host/db", f"postgresql://me:{CANARY}@host:port/db"])
def test_no_postgresql_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match="FLEETLAKE_WAREHOUSE_URL") as caught:
        Warehouse(url)
    assert CANARY not in str(caught.value)


def test_a_database_that_is_not_there_is_a_configuration_error(postgres_dir: Path) -> None:
    with pytest.raises(ConfigError, match='database "nothing_here" does not exist'):
        Warehouse(embedded.url(postgres_dir, "nothing_here")).check()


def test_a_table_that_is_not_there_says_how_to_make_it(make_database: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match="fleetlake migrate"):
        Warehouse(make_database()).loads()


@pytest.fixture
def strict_server(tmp_path: Path) -> Iterator[Path]:
    """A server that asks for a password."""
    folder = tmp_path / "pg"
    url = embedded.start(folder, server_settings={"fsync": "off"}).replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        ((path,),) = connection.execute("SHOW hba_file").fetchall()
        rules = Path(path).read_text()
        Path(path).write_text("local all guarded scram-sha-256\n" + rules)
        connection.execute("SELECT pg_reload_conf()")
    yield folder
    embedded.destroy(folder)


def test_a_wrong_password_is_a_configuration_error(strict_server: Path) -> None:
    url = embedded.url(strict_server, "postgres")
    deadline = dt.datetime.now() + dt.timedelta(seconds=20)  # noqa: DTZ005
    while Warehouse(url.replace("postgres@", "guarded:wrong@")).healthy():  # the server reads its rules in its own time
        assert dt.datetime.now() < deadline  # noqa: DTZ005
    with pytest.raises(ConfigError, match="refuses the login") as caught:
        Warehouse(url.replace("postgres@", f"guarded:{CANARY}@")).check()
    assert CANARY not in str(caught.value)
    Warehouse(url.replace("postgres@", "guarded:right@")).check()
    with pytest.raises(ConfigError, match="refuses the login"):
        Warehouse(url.replace("postgres@", "nobody_here@")).check()
    with pytest.raises(ConfigError, match="lacks a right"), Warehouse(url.replace("postgres@", "guarded:right@")) as poor:
        poor.migrate([contract()], INCLUDE)


def test_a_server_that_dies_within_a_publication_is_unavailable_and_the_warehouse_recovers(
    warehouse: Warehouse, contracts: Mapping[str, Contract]
) -> None:
    of = contract(f"ride_{uuid.uuid4().hex[:8]}")
    warehouse.migrate([of], INCLUDE)
    with pytest.raises(StoreUnavailable), warehouse.publishing(of) as tx:
        tx.stage(table(of, [ride("a")]))
        with psycopg.connect(warehouse._engine.url.render_as_string(hide_password=False).replace("+psycopg", "")) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [tx._connection.info.backend_pid])
        tx.upsert("L1")
    assert list(warehouse.rows(of)) == []


def test_a_table_that_stays_locked_is_a_conflict(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    of = contract(f"ride_{uuid.uuid4().hex[:8]}")
    warehouse.migrate([of], INCLUDE)
    monkeypatch.setattr("fleetlake.warehouse.store._LOCK_TIMEOUT", "100ms")
    with warehouse.publishing(of), pytest.raises(StoreConflict, match="publish again"), warehouse.publishing(of):
        pass
