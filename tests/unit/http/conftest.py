"""A real HTTP server on loopback that answers what a test tells it to, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

Script = Callable[["Asked", socket.socket], bytes | None]


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    url: str
    asked: list[Asked] = field(default_factory=list)
    script: list[bytes | Script] = field(default_factory=list)
    connections: int = 0

    def will(self, *answers: bytes | Script) -> None:
        """What to answer, one after the other; the last one again and again."""
        self.script = list(answers)


def reply(status: int = 200, body: bytes = b"[]", **headers: str) -> bytes:
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


def _read_request(stream: object) -> Asked | None:
    line = stream.readline().decode("latin-1")  # type: ignore[attr-defined]
    if not line.strip():
        return None
    method, path, *_ = [*line.split(" "), ""]
    headers = {}
    while (line := stream.readline().decode("latin-1").strip()) != "":  # type: ignore[attr-defined]
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))  # type: ignore[attr-defined]
    return Asked(method, path, headers, body)


def _talk(server: Server, connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
        while (asked := _read_request(stream)) is not None:
            server.asked.append(asked)
            answer = server.script[0] if len(server.script) == 1 else server.script.pop(0)
            data = answer if isinstance(answer, bytes) else answer(asked, connection)
            if data is None:
                return
            connection.sendall(data)
            head = data.split(b"\r\n\r\n")[0].lower()
            if b"connection: close" in head or (b"content-length" not in head and b"chunked" not in head):
                return


@contextlib.contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        scheme = "https" if context else "http"
        server = Server(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                server.connections += 1

                def serve(connection: socket.socket = connection) -> None:
                    with contextlib.suppress(OSError):
                        wrapped = context.wrap_socket(connection, server_side=True) if context else connection
                        _talk(server, wrapped)

                threading.Thread(target=serve, daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.fixture
def server() -> Iterator[Server]:
    with listening() as found:
        yield found


@pytest.fixture
def make_reply() -> Callable[..., bytes]:
    return reply


@pytest.fixture
def tls_listening() -> Callable[[ssl.SSLContext], contextlib.AbstractContextManager[Server]]:
    return listening
