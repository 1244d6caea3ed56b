"""A running sandbox for tests: ``with running(SandboxSettings(state_dir=tmp_path)) as sandbox: …``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fleetlake.sandbox.faults import Fault
from fleetlake.sandbox.pki import Pki
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.server import Sandbox
from fleetlake.sandbox.settings import SandboxSettings


class Running:
    """Handle of a running sandbox.

    Attributes:
        urls: address by listener: ``rcs``, ``powunity`` (with its base path), ``control``.
        customers: credentials by vendor and customer, as in ``sandbox.json``.
        pki: certificates: ``pki.ca``, ``pki.pair("client").cert``.
        context: settings, world, clock: for ``room("rcs").truth(context, …)``.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.urls: dict[str, str] = sandbox.urls
        self.customers: dict[str, Any] = sandbox.customers
        self.pki: Pki = sandbox.pki
        self.context: Context = sandbox.context

    def log(self, vendor: str | None = None, customer: str | None = None) -> list[dict[str, Any]]:
        """Finished requests, oldest first."""
        return self._sandbox.log.entries(vendor, customer)

    def stats(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Counters by vendor and customer."""
        return self._sandbox.log.stats()

    def clear_log(self) -> None:
        """Forget log and counters."""
        self._sandbox.log.clear()

    @contextmanager
    def faults(self, *faults: Fault | str) -> Iterator[Callable[[], list[int]]]:
        """Switch faults on inside a ``with`` block; text as on the command line: ``"429:vendor=rcs,count=2"``.

        Yields:
            Tells how often each was played so far, in their order.
        """
        board = self._sandbox.board
        numbers = board.add(*(Fault.parse(fault) if isinstance(fault, str) else fault for fault in faults))
        try:
            yield lambda: [item["played"] for item in board.listing() if item["number"] in numbers]
        finally:
            board.remove(*numbers)


@contextmanager
def running(settings: SandboxSettings, faults: Iterable[Fault] = ()) -> Iterator[Running]:
    """Serve a sandbox from a thread until the block ends."""
    sandbox = Sandbox(settings, faults)
    ready = threading.Event()
    failure: list[BaseException] = []

    def serve() -> None:
        try:
            asyncio.run(sandbox.serve(ready.set))
        except BaseException as error:  # it must not die unseen in its thread
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=serve, name="sandbox", daemon=True)
    thread.start()
    try:
        if not ready.wait(10) or failure:
            raise failure[0] if failure else TimeoutError("the sandbox did not start within 10 s")
        yield Running(sandbox)
    finally:
        sandbox.stop()
        thread.join(10)
