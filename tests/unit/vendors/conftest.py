"""Sandboxes to test clients against: one shared by a worker's tests, others with vendor questions answered differently."""

from __future__ import annotations

import contextlib
import datetime as dt
import fnmatch
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from fleetlake.http.rate_gate import LocalGate
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import Running, running
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import PowUnityConfig
from fleetlake.vendors.powunity.source import PowUnitySource
from fleetlake.vendors.rcs.client import RcsClient
from fleetlake.vendors.rcs.config import RcsConfig
from fleetlake.vendors.rcs.source import RcsSource

NOW = dt.datetime(2026, 11, 15, 12, tzinfo=dt.UTC)
QUICK = {"rcs.requests_per_second": "0", "rcs.task_seconds": "0.2"}

Start = Callable[..., Running]


@pytest.fixture(scope="session")
def start_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a sandbox with these assumptions; the same ones share a sandbox."""
    with contextlib.ExitStack() as stack:
        started: dict[tuple[tuple[str, str], ...], Running] = {}

        def start(assumptions: Mapping[str, str] | None = None) -> Running:
            wanted = {**QUICK, **(assumptions or {})}
            key = tuple(sorted(wanted.items()))
            if key not in started:
                settings = SandboxSettings(
                    state_dir=tmp_path_factory.mktemp("sandbox"), vehicles=5, bikes=3, as_of=NOW, assumptions=wanted
                )
                started[key] = stack.enter_context(running(settings))
            return started[key]

        yield start


@pytest.fixture
def sandbox(start_sandbox: Start) -> Running:
    running_one = start_sandbox()
    running_one.clear_log()
    return running_one


@pytest.fixture
def logged() -> Callable[..., list[dict[str, Any]]]:
    """Requests in a sandbox's log; it is written after the answer, so wait for as many as are expected."""

    def found(sandbox: Running, count: int, vendor: str = "rcs", **fields: str) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 5
        while True:
            entries = [
                entry
                for entry in sandbox.log(vendor)
                if all(fnmatch.fnmatchcase(entry[name], pattern) for name, pattern in fields.items())
            ]
            if len(entries) >= count or time.monotonic() > deadline:
                return entries
            time.sleep(0.01)

    return found


@pytest.fixture
def rcs(sandbox: Running) -> Iterator[Callable[..., RcsClient]]:
    """Open an RCS client; ``at`` another sandbox, fields of ``RcsConfig`` by name."""
    clients = []

    def opened(at: Running | None = None, **fields: Any) -> RcsClient:
        place = at or sandbox
        login = place.customers["rcs"]["main"]
        values = {
            "base_url": place.urls["rcs"],
            **{name: login[name] for name in ("cert", "key", "ca")},
            "timeout_s": 5,
            **fields,
        }
        gate = values.pop("gate", None) or LocalGate(1e6, burst=1e6)
        clients.append(RcsClient(RcsConfig.from_mapping(values), gate=gate))
        return clients[-1]

    yield opened
    for client in clients:
        client.close()


@pytest.fixture
def rcs_source(rcs: Callable[..., RcsClient]) -> Callable[..., RcsSource]:
    return lambda *args, **fields: RcsSource(rcs(*args, **fields))


@pytest.fixture
def powunity(sandbox: Running) -> Iterator[Callable[..., PowUnityClient]]:
    """Open a PowUnity client by token unless told otherwise."""
    clients = []

    def opened(at: Running | None = None, *, way: str = "token", **fields: Any) -> PowUnityClient:
        place = at or sandbox
        login = place.customers["powunity"]["north"]
        names = ("token",) if way in ("token", "bearer") else ("email", "password")
        values = {
            "base_url": place.urls["powunity"],
            "auth": way,
            **{name: login[name] for name in names},
            "timeout_s": 5,
            **fields,
        }
        clients.append(PowUnityClient(PowUnityConfig.from_mapping(values), gate=LocalGate(1e6, burst=1e6)))
        return clients[-1]

    yield opened
    for client in clients:
        client.close()


@pytest.fixture
def powunity_source(powunity: Callable[..., PowUnityClient]) -> Callable[..., PowUnitySource]:
    return lambda *args, **fields: PowUnitySource(powunity(*args, **fields))
