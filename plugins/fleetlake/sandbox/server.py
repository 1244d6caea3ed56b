"""The running sandbox: one listener per room and one for control, in one process and one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from fleetlake.errors import ConfigError
from fleetlake.sandbox.control import control_app
from fleetlake.sandbox.faults import Fault, FaultBoard
from fleetlake.sandbox.layer import Layer
from fleetlake.sandbox.pki import Pki
from fleetlake.sandbox.request_log import RequestLog
from fleetlake.sandbox.rooms import Context, room, rooms
from fleetlake.sandbox.settings import SIZES, SandboxSettings

CONTROL = "control"


class _Protocol(H11Protocol):
    """HTTP/1.1 that tells the application who is at the other end, and lets it hang up."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        # TLS has verified it, so its name can be believed.
        subject = (tls.getpeercert() or {}).get("subject", ()) if tls else ()
        peer = next((value for part in subject for key, value in part if key == "commonName"), None)
        self._gone = threading.Event()
        self.app_state = {**self.app_state, "peer": peer, "transport": transport, "gone": self._gone}

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        super().connection_lost(exc)


class _Listener(uvicorn.Server):
    """A server among several: signals are the process's business, not its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Sandbox:
    """All rooms of one sandbox, ready to serve.

    Certificates are made and ports are bound at once, so the addresses are known before it serves.

    Attributes:
        settings, context, board, log, pki: its parts, shared with tests.
        urls: address by listener, for example ``rcs`` → ``https://127.0.0.1:4433``.

    Raises:
        ConfigError: a port is taken, or a setting is wrong.
    """

    def __init__(self, settings: SandboxSettings, faults: Iterable[Fault] = ()) -> None:
        for key in settings.assumptions:
            room(key.partition(".")[0])  # a misspelt vendor must not pass unseen
        state = settings.state_dir.resolve()
        state.mkdir(parents=True, exist_ok=True)
        self._description = state / "sandbox.json"
        self._description.unlink(missing_ok=True)  # whoever waits for it must not read that of an earlier sandbox
        self.settings = settings
        self.context = Context.of(settings)
        self.board = FaultBoard(settings.seed, faults)
        self.log = RequestLog(state / "requests.jsonl")
        self.pki = Pki(state / "pki")
        self.urls: dict[str, str] = {}
        self.customers: dict[str, Any] = {}
        self.pace: dict[str, Any] = {}
        self._listeners: list[tuple[_Listener, socket.socket]] = []
        for name, vendor in rooms(settings.rooms).items():
            self.customers[name] = {key: dict(value) for key, value in vendor.customers(self.context, self.pki).items()}
            self.pace[name] = dict(getattr(vendor, "pace", {}))
            self._listen(name, Layer(vendor, self.context, self.board, self.log), vendor.tls(self.pki), vendor.base_path)
        self._listen(CONTROL, control_app(self.context.clock, self.board, self.log, self.publish), None, "")

    def _listen(self, name: str, app: ASGIApp, tls: ssl.SSLContext | None, base_path: str) -> None:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # without it asyncio leaves Nagle on
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = int(self.settings.ports.get(name, 0))
        try:
            bound.bind((self.settings.host, port))
        except OSError as error:
            bound.close()
            raise ConfigError(
                f"cannot listen on {self.settings.host}:{port}: {error.strerror}",
                where=f"--port {name}=…",
                remedy="choose another port, or 0 for a free one",
            ) from None
        # Quiet: a broken connection is our own doing more often than not.
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
        )
        config.load()
        config.ssl = tls
        scheme = "https" if tls else "http"
        self.urls[name] = f"{scheme}://{self.settings.host}:{bound.getsockname()[1]}{base_path}"
        self._listeners.append((_Listener(config), bound))

    def publish(self) -> None:
        """Write ``sandbox.json``: at the start, and when the clock was moved."""
        write_whole(self._description, json.dumps(self.describe(), indent=2))

    def describe(self) -> dict[str, Any]:
        """Content of ``sandbox.json``."""
        settings, as_of = self.settings, self.context.clock.as_of
        return {
            "pid": os.getpid(),
            "urls": self.urls,
            "seed": settings.seed,
            **{name: getattr(settings, name) for name in SIZES},
            "as_of": as_of.isoformat() if as_of else None,
            "history_start": settings.history_start.isoformat(),
            "assumptions": dict(settings.assumptions),
            "ca": str(self.pki.ca),
            "customers": self.customers,
            "pace": self.pace,
        }

    async def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until ``stop``; calls ``ready`` once every listener answers and ``sandbox.json`` is written."""
        serving = [asyncio.create_task(listener.serve(sockets=[bound])) for listener, bound in self._listeners]
        try:
            while not all(listener.started for listener, _ in self._listeners):
                if any(task.done() for task in serving):
                    break
                await asyncio.sleep(0.005)
            else:
                self.publish()
                ready()
            await asyncio.gather(*serving)
        finally:
            self.log.close()

    def stop(self) -> None:
        """Ask ``serve`` to return; safe from a signal handler or another thread."""
        for listener, _ in self._listeners:
            listener.should_exit = True


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody sees half of it; readable by the owner only."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
