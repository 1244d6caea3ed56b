from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import Running, running

AS_OF = dt.datetime(2026, 11, 20, 12, 0, 0, tzinfo=dt.UTC)


class Rcs:
    """A plain RCS client: certificate, version header, nothing clever."""

    def __init__(self, sandbox: Running, certificate: str | None = "client") -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(sandbox.pki.ca)
        self.session.headers = {"X-API-Version": "1.0", "Accept": "*/*"}
        if certificate:
            pair = sandbox.pki.pair(certificate)
            self.session.cert = (str(pair.cert), str(pair.key))

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.sandbox.urls["rcs"] + path, timeout=10, **options)

    def get(self, path: str, **query: Any) -> requests.Response:
        named = {key.rstrip("_"): value for key, value in query.items()}
        return self("GET", path, params=named)

    def rows(self, path: str, **query: Any) -> list[dict[str, Any]]:
        response = self.get(path, **query)
        assert response.status_code == 200, response.text
        body = response.json()
        return body["items"] if isinstance(body, dict) else body


Start = Callable[..., Running]


@pytest.fixture(scope="session")
def pki_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture(scope="session")
def rcs_sandbox(pki_home: Path) -> Iterator[Running]:
    """RCS without rate limit, for tests that change nothing in it."""
    settings = SandboxSettings(
        state_dir=pki_home,
        vehicles=6,
        as_of=AS_OF,
        rooms=("rcs",),
        assumptions={"rcs.requests_per_second": 0, "rcs.task_seconds": 0.0},
    )
    with running(settings) as sandbox:
        yield sandbox


@pytest.fixture
def rcs(rcs_sandbox: Running) -> Rcs:
    return Rcs(rcs_sandbox)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a sandbox of one's own: ``start(vehicles=3, **{"rcs.take_max": 7})``."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Running:
            assumptions = {key: options.pop(key) for key in list(options) if "." in key}
            values = {"state_dir": tmp_path, "vehicles": 6, "as_of": AS_OF, "rooms": ("rcs",), **options}
            quiet = {"rcs.requests_per_second": 0, "rcs.task_seconds": 0.0}
            return stack.enter_context(running(SandboxSettings(**values, assumptions=quiet | assumptions)))

        yield begin


@pytest.fixture(scope="session")
def rcs_client() -> type[Rcs]:
    return Rcs
