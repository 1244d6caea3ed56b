"""The embedded server: starts once, outlives its starter, survives crashes, leaves other people's folders alone."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fleetlake import embedded
from fleetlake.errors import ConfigError, StoreUnavailable

FAST = {"fsync": "off", "shared_buffers": "'16MB'"}


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fleetlake-embedded-"))
    yield folder / "state" / "pg"
    embedded.destroy(folder / "state" / "pg")
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def ask(url: str, query: str = "SELECT 1") -> object:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        row = connection.execute(query).fetchone()
        return row and row[0]


def test_start_status_stop(data_dir: Path) -> None:
    assert not embedded.status(data_dir)
    embedded.stop(data_dir)  # nothing to stop is no error
    url = embedded.start(data_dir, server_settings=FAST)
    assert ask(url) == 1
    found = embedded.status(data_dir)
    assert found
    assert found.pid
    assert embedded.start(data_dir) == url
    assert embedded.status(data_dir).pid == found.pid
    embedded.stop(data_dir)
    assert not embedded.status(data_dir)
    with pytest.raises(StoreUnavailable, match="make up"):
        embedded.ensure_database(data_dir, "x")


def test_settings_are_sensible_and_durable(data_dir: Path) -> None:
    url = embedded.start(data_dir)
    settings = {name: ask(url, f"SHOW {name}") for name in (
        "fsync", "synchronous_commit", "full_page_writes", "wal_compression", "listen_addresses", "max_connections",
        "timezone", "server_encoding",
    )}  # fmt: skip
    assert settings == {
        "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "wal_compression": "pglz",
        "listen_addresses": "", "max_connections": "100", "timezone": "UTC", "server_encoding": "UTF8",
    }  # fmt: skip


def test_nobody_else_can_reach_the_socket(data_dir: Path) -> None:
    embedded.start(data_dir, server_settings=FAST)
    socket_dir = embedded.status(data_dir).socket_dir
    assert stat.S_IMODE(socket_dir.stat().st_mode) & 0o077 == 0
    assert (socket_dir / ".s.PGSQL.5432").is_socket()


def test_databases_are_made_once_with_any_name(data_dir: Path) -> None:
    embedded.start(data_dir, server_settings=FAST)
    for _ in range(2):
        url = embedded.ensure_database(data_dir, 'odd "name" é')
        assert ask(url, "SELECT current_database()") == 'odd "name" é'
    assert embedded.url(data_dir, "airflow", driver="postgresql+psycopg2").startswith(
        "postgresql+psycopg2://postgres@/airflow?"
    )


def test_the_server_outlives_its_starter_and_many_may_start_it_at_once(data_dir: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from fleetlake import embedded\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "embedded.start(folder, server_settings={'fsync': 'off'})\n"
        "embedded.ensure_database(folder, 'shared')\n"
        "print(embedded.status(folder).pid)\n"
    )
    arguments = [sys.executable, "-c", program, str(data_dir)]
    running = [subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    pids = set()
    for process in running:
        output, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors
        pids.add(output.strip())
    assert pids == {str(embedded.status(data_dir).pid)}
    assert ask(embedded.url(data_dir, "shared")) == 1


def test_a_killed_server_starts_again_with_its_data(data_dir: Path) -> None:
    url = embedded.start(data_dir, server_settings=FAST)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    pid = embedded.status(data_dir).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert ask(embedded.start(data_dir), "SELECT answer FROM kept") == 42


def test_a_pid_file_that_names_another_process_does_not_keep_it_from_starting(data_dir: Path) -> None:
    embedded.start(data_dir, server_settings=FAST)
    real = embedded.status(data_dir).data_dir
    lines = (real / "postmaster.pid").read_text()
    embedded.stop(data_dir)
    (real / "postmaster.pid").write_text(lines.replace(lines.split("\n", 1)[0], str(os.getpid()), 1))
    assert ask(embedded.start(data_dir)) == 1


def test_a_path_too_long_for_a_socket_gets_a_short_socket_folder(data_dir: Path) -> None:
    deep = data_dir.with_name("x" * 120) / "pg"
    try:
        assert ask(embedded.start(deep, server_settings=FAST)) == 1
        assert len(str(embedded.status(deep).socket_dir)) < 90
    finally:
        embedded.destroy(deep)
    assert not embedded.status(deep).socket_dir.exists() or embedded.status(deep).socket_dir.parent != Path("/var/tmp")


def test_permissions_of_folders_that_were_there_stay(data_dir: Path) -> None:
    data_dir.parent.mkdir()
    private = data_dir.parents[1]
    private.chmod(0o700)
    embedded.start(data_dir, server_settings=FAST)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    if os.geteuid() == 0:  # the server's user cannot enter a private folder: the data lies outside, behind a link
        assert data_dir.is_symlink()
        assert data_dir.resolve().parent == Path("/var/tmp")
    target = data_dir.resolve()
    embedded.destroy(data_dir)
    assert not target.exists()
    assert list(data_dir.parent.iterdir()) == []


def test_a_folder_with_other_things_is_refused(data_dir: Path) -> None:
    data_dir.mkdir(parents=True)
    (data_dir / "precious.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no PostgreSQL data"):
        embedded.start(data_dir)
    assert (data_dir / "precious.txt").read_text() == "mine"


def test_data_of_another_version_is_refused(data_dir: Path) -> None:
    embedded.start(data_dir, server_settings=FAST)
    embedded.stop(data_dir)
    (data_dir.resolve() / "PG_VERSION").write_text("12\n")
    with pytest.raises(ConfigError, match="data folder is of PostgreSQL 12, the installed programs are"):
        embedded.start(data_dir)


def test_a_server_that_cannot_start_tells_why(data_dir: Path) -> None:
    with pytest.raises(StoreUnavailable, match="max_connections"):
        embedded.start(data_dir, server_settings={"max_connections": "'many'"})
