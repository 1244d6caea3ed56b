"""The control listener: health, request log, statistics, faults, clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fleetlake.errors import ConfigError
from fleetlake.sandbox.clock import Clock
from fleetlake.sandbox.faults import Fault, FaultBoard
from fleetlake.sandbox.request_log import RequestLog
from fleetlake.window import utc


def control_app(clock: Clock, board: FaultBoard, log: RequestLog, clock_moved: Callable[[], None]) -> Starlette:
    """The application of the control listener; ``clock_moved`` is called after ``PUT /clock``.

    ``GET /health`` · ``GET /log?vendor=&customer=`` · ``DELETE /log`` · ``GET /stats`` · ``GET /faults`` ·
    ``PUT /faults`` (a list; adds) · ``DELETE /faults`` · ``GET /clock`` · ``PUT /clock`` (``{"as_of": "2026-11-22T06:00Z"}``,
    null = the real clock).
    """

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "now": clock.now().isoformat()})

    async def entries(request: Request) -> Response:
        if request.method == "DELETE":
            log.clear()
            return Response(status_code=204)
        return JSONResponse(log.entries(request.query_params.get("vendor"), request.query_params.get("customer")))

    async def stats(_: Request) -> Response:
        return JSONResponse(log.stats())

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            board.clear()
            return Response(status_code=204)
        if request.method == "PUT":
            wanted = await _json(request)
            board.add(*[Fault.of(item) for item in (wanted if isinstance(wanted, list) else [wanted])])
        return JSONResponse(board.listing())

    async def time(request: Request) -> Response:
        if request.method == "PUT":
            wanted = await _json(request)
            as_of = wanted.get("as_of") if isinstance(wanted, dict) else wanted
            clock.set(utc(as_of) if as_of else None)
            clock_moved()
        return JSONResponse({"now": clock.now().isoformat()})

    async def refuse(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, status_code=400)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/log", entries, methods=["GET", "DELETE"]),
            Route("/stats", stats),
            Route("/faults", faults, methods=["GET", "PUT", "DELETE"]),
            Route("/clock", time, methods=["GET", "PUT"]),
        ],
        exception_handlers={ConfigError: refuse},
    )


async def _json(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError:
        raise ConfigError("the body is not JSON") from None
