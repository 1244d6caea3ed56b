"""The layer around every room: request log, in-flight count, and faults that need no knowledge of the vendor."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleetlake.sandbox.faults import ROOM_KINDS, Fault, FaultBoard
from fleetlake.sandbox.request_log import RequestLog
from fleetlake.sandbox.rooms import Context, Room

_HTML = b"<html><head><title>%d</title></head><body><center><h1>%d Bad Gateway</h1></center><hr>proxy</body></html>"
_PAGES_KEPT = 500
_ROWS = ("items", "data")
"""Members that hold the rows, in answers that are objects."""

_LOG = logging.getLogger(__name__)


def peer_of(scope: Scope) -> str | None:
    """Common name in the client's verified certificate (``Pki.pair``'s name), ``None`` without one."""
    found: str | None = scope.get("state", {}).get("peer")
    return found


def faults_of(scope: Scope) -> frozenset[str]:
    """Kinds of ``faults.ROOM_KINDS`` that the room shall play on this request."""
    found: frozenset[str] = scope.get("state", {}).get("faults", frozenset())
    return found


class Layer:
    """ASGI application: ``app`` of ``room`` with log and faults around it."""

    def __init__(self, room: Room, context: Context, board: FaultBoard, log: RequestLog) -> None:
        self._room = room
        self._context = context
        self._app: ASGIApp = room.app(context)
        self._board = board
        self._log = log
        self._last: OrderedDict[tuple[str, str], list[Any]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        customer = self._room.customer(self._context, scope)
        with self._log.request(self._room.name, customer, method, path, scope["query_string"].decode("latin-1")) as entry:
            faults = self._board.draw(self._room.name, method, path, customer, scope["query_string"].decode("latin-1"))
            entry.faults = [fault.kind for fault in faults]
            scope.setdefault("state", {})["faults"] = frozenset(entry.faults) & ROOM_KINDS
            for fault in faults:
                if fault.kind == "slow":
                    await asyncio.sleep(fault.seconds)
            answer = await self._answer(scope, receive, faults, customer)
            entry.status, entry.bytes = (answer.status, answer.sent) if answer else (0, 0)
        # Sent after the log has it, so that whoever got an answer finds it there.
        if answer:
            await answer.send(send)
        if answer is None or answer.sent < len(answer.body):
            await _hang_up(scope, flush=answer is not None)

    async def _answer(self, scope: Scope, receive: Receive, faults: list[Fault], customer: str | None) -> _Answer | None:
        for fault in faults:
            if fault.kind == "drop":
                return None
            if fault.kind == "status":
                wait = [] if fault.retry_after is None else [(b"retry-after", f"{fault.retry_after:g}".encode())]
                return _Answer(fault.status, wait, b"")
            if fault.kind == "html_page":
                body = _HTML.replace(b"%d", str(fault.status).encode())
                return _Answer(fault.status, [(b"content-type", b"text/html")], body)
            if fault.kind == "error_body":
                kind, body = self._room.error_body
                return _Answer(200, [(b"content-type", kind.encode())], body)
        try:
            answer = await _collect(self._app, scope, receive)
        except Exception:
            _LOG.exception("%s: %s %s", self._room.name, scope["method"], scope["path"])
            return _Answer(500, [], b"")
        kinds = {fault.kind for fault in faults}
        if "drop_answer" in kinds:
            return None
        is_consistent = any(fault.consistent for fault in faults)
        self._turn_pages(answer, kinds, (customer or "", scope["path"]), is_consistent=is_consistent)
        if "truncated_body" in kinds:
            answer.body = answer.body[: len(answer.body) // 2]
        answer.sent = len(answer.body) // 2 if "drop_body" in kinds else len(answer.body)
        return answer

    def _turn_pages(self, answer: _Answer, kinds: set[str], key: tuple[str, str], *, is_consistent: bool) -> None:
        """Play the faults on rows, and remember this page for ``repeated_page`` while such faults are about."""
        turns: dict[str, Callable[[list[Any]], list[Any]]] = {
            "short_page": lambda rows: rows[: len(rows) // 2],
            "repeated_page": lambda rows: self._last.get(key, rows),
            "empty_page": lambda _: [],
            "reordered_page": lambda rows: rows[::-1],
            "odd_rows": lambda rows: [_odd(row) for row in rows],
        }
        wanted = kinds & turns.keys()
        if answer.status != 200 or not (wanted or any(item["kind"] == "repeated_page" for item in self._board.listing())):
            return
        try:
            value = json.loads(answer.body)
        except ValueError:
            return
        name = next((name for name in _ROWS if name in value), "") if isinstance(value, dict) else ""
        rows = value.get(name) if isinstance(value, dict) else value
        if not isinstance(rows, list):
            return
        turned = rows
        for kind in sorted(wanted):
            turned = turns[kind](turned)
        self._last[key] = rows
        while len(self._last) > _PAGES_KEPT:
            self._last.popitem(last=False)
        if wanted:
            if isinstance(value, dict):
                value = {**value, name: turned, **(_ending_here(value, len(turned)) if is_consistent else {})}
            else:
                value = turned
            answer.body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _ending_here(envelope: dict[str, Any], rows: int) -> dict[str, Any]:
    """Counts of a paginator whose list ends with this page, of so many rows."""
    before = (envelope.get("from") or 1) - 1
    counts = {
        "from": before + 1 if rows else None,
        "to": before + rows if rows else None,
        "total": before + rows,
        "last_page": envelope.get("current_page"),
    }
    return {name: count for name, count in counts.items() if name in envelope}


def _odd(row: Any) -> Any:
    """The row, or if its content says so the row with a word for its last number."""
    text = json.dumps(row, sort_keys=True).encode()
    if not isinstance(row, dict) or int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) % 100:
        return row
    numbers = [name for name, value in row.items() if isinstance(value, int | float) and not isinstance(value, bool)]
    return {**row, numbers[-1]: "unknown"} if numbers else row


class _Answer:
    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.sent = len(body)

    async def send(self, send: Send) -> None:
        headers = [(key, value) for key, value in self.headers if key.lower() != b"content-length"]
        if self.status not in (204, 304):
            headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        whole = self.sent == len(self.body)
        await send({"type": "http.response.body", "body": self.body[: self.sent], "more_body": not whole})


async def _collect(app: ASGIApp, scope: Scope, receive: Receive) -> _Answer:
    answer = _Answer(500, [], b"")
    parts: list[bytes] = []

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message.get("headers", []))
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, keep)
    answer.body = b"".join(parts)
    return answer


async def _hang_up(scope: Scope, *, flush: bool = False) -> None:
    """Close the client's connection; with ``flush`` after everything written has gone out."""
    transport: asyncio.Transport = scope["state"]["transport"]
    if flush:
        transport.close()
    else:
        transport.abort()
    while not scope["state"]["gone"].is_set():
        await asyncio.sleep(0.001)
