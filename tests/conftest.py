"""Rules for every tier."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fleetlake.contracts import Contract
    from fleetlake.warehouse import Warehouse

_POSTGRES = "FLEETLAKE_TEST_POSTGRES"
_INCLUDE = Path(__file__).resolve().parents[1] / "include"

_skipped: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.add(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: a green run must mean that every promise was checked."""
    if _skipped and os.environ.get("CI"):
        print(f"\nskipped in CI, which is a failure: {', '.join(sorted(_skipped))}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


# --- PostgreSQL: one real server for all tests and all xdist workers, a fresh database wherever one is asked for ---------


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # workers inherit the name and share the server
        os.environ[_POSTGRES] = tempfile.mkdtemp(prefix="fleetlake-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    folder = Path(os.environ.pop(_POSTGRES))
    if any(folder.iterdir()):
        from fleetlake import embedded

        embedded.destroy(folder / "pg")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_dir() -> Path:
    """Data folder of a running PostgreSQL; see ``fleetlake.embedded``."""
    from fleetlake import embedded

    folder = Path(os.environ[_POSTGRES]) / "pg"
    # Tests throw their data away: they need not wait for the disk.
    embedded.start(folder, server_settings={"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})
    return folder


@pytest.fixture(scope="session")
def contracts() -> Mapping[str, Contract]:
    """The contracts of the checkout."""
    from fleetlake.contracts import load_contracts

    return load_contracts(_INCLUDE)


@pytest.fixture(scope="session")
def make_database(postgres_dir: Path) -> Iterator[Callable[..., str]]:
    """Make a new database, empty or with all tables (``migrated=True``); gives its SQLAlchemy URL. Dropped at the end."""
    import psycopg
    from fleetlake import embedded
    from fleetlake.contracts import load_contracts
    from fleetlake.warehouse import Warehouse
    from psycopg import sql

    made: list[str] = []
    admin = embedded.url(postgres_dir, "postgres", driver="postgresql")
    template = "fleetlake_template"

    def make(*, migrated: bool = False) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(admin, autocommit=True) as connection:
            # One worker makes the template; nobody else may be connected while it is copied.
            connection.execute("SELECT pg_advisory_lock(4711)")
            if (
                migrated
                and not connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s AND datistemplate", [template]
                ).fetchone()
            ):
                connection.execute(f"DROP DATABASE IF EXISTS {template}")
                with Warehouse(embedded.ensure_database(postgres_dir, template)) as warehouse:
                    warehouse.migrate(load_contracts(_INCLUDE), _INCLUDE)
                connection.execute(f"ALTER DATABASE {template} IS_TEMPLATE true")
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template if migrated else "template0")
                )
            )
        made.append(name)
        return embedded.url(postgres_dir, name)

    yield make
    with psycopg.connect(admin, autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def database_url(make_database: Callable[..., str]) -> str:
    """SQLAlchemy URL of a warehouse with all tables, fresh for the module."""
    return make_database(migrated=True)


@pytest.fixture(scope="module")
def warehouse(database_url: str) -> Iterator[Warehouse]:
    """A warehouse with all tables, fresh for the module."""
    from fleetlake.warehouse import Warehouse

    with Warehouse(database_url) as opened:
        yield opened


# --- S3: one real server for the tests of a process, a fresh bucket wherever one is asked for -----------------------------


class S3:
    """A running S3 server. Only ``ACCESS_KEY`` is let in.

    Attributes:
        process: the server.
        env: variables with which it is reached.
    """

    ACCESS_KEY = "AKIATESTSTESTSTESTST"

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("s3_server.py")), *arguments],
            stdin=subprocess.PIPE,  # the server ends when we do
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.env = {
            "AWS_ENDPOINT_URL": self.process.stdout.readline().strip(),
            "AWS_ACCESS_KEY_ID": self.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": "sEcReTaCcEsSkEyOfThEtEsTs/0123456789abcd",
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
        }
        assert self.env["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:"), "the server did not start"

    def make_bucket(self) -> str:
        """A new bucket: its name."""
        import requests

        name = f"test-{uuid.uuid4().hex[:12]}"
        place = (
            "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>"
        )
        login = f"AWS4-HMAC-SHA256 Credential={self.ACCESS_KEY}/20260101/eu-central-1/s3/aws4_request"
        url = f"{self.env['AWS_ENDPOINT_URL']}/{name}"
        requests.put(url, data=place, headers={"Authorization": login}, timeout=20).raise_for_status()
        return name

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """A running S3 server; ask for ``s3`` where the environment should name it."""
    server = S3()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """A running S3 server that the environment of this test names."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    return s3_server
