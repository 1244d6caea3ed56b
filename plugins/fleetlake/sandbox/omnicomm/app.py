"""The interface: addresses, login, limits, and which handler answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from fleetlake.sandbox.layer import faults_of
from fleetlake.sandbox.omnicomm.handlers import Handlers
from fleetlake.sandbox.omnicomm.limits import Limits
from fleetlake.sandbox.omnicomm.logins import REFRESH, Logins
from fleetlake.sandbox.omnicomm.model import Model
from fleetlake.sandbox.omnicomm.questions import DENIED, Question, Refused, answer

Handler = Callable[[Question], Response]


class Interface:
    """Routes of one sandbox."""

    def __init__(self, model: Model, logins: Logins) -> None:
        self._logins = logins
        self._assumptions = model.park.assumptions
        self._limits = Limits(self._assumptions)
        self._handlers = Handlers(model)

    def app(self) -> ASGIApp:
        """The ASGI application."""
        do = self._handlers
        get: dict[str, Handler] = {
            "/ls/api/v1/tree/vehicle": do.tree,
            "/ls/api/v2/tree/vehicle": do.tree,
            "/ls/api/v1/tree/vehicle/{group}": do.tree,
            "/ls/api/v2/tree/vehicle/{group}": do.tree,
            "/ls/api/v1/tree/geozone": do.geofence_tree,
            "/ls/api/v1/profile/vehicle/{id}": do.profile,
            "/ls/api/v1/profile/terminals/list": do.terminal_types,
            "/ls/api/v1/vehicles": do.no_right,
            "/ls/api/v1/vehicles/{id}/state": do.state,
            "/ls/api/v1/activity/vehicles": do.activity,
            "/ls/api/v2/activity/vehicles": do.activity,
            "/ls/api/v1/reports": do.catalogue,
            "/ls/api/v1/reports/": do.catalogue,
            "/ls/api/v1/reports/statistics": do.statistics,
            "/ls/api/v1/reports/track/{id}": do.track,
            "/ls/api/v1/reports/events/{id}": do.events,
            "/ls/api/v1/reports/fuellevel": do.fuel_level,
            "/api/service/geozones/geozones": do.geofences,
            "/api/service/geozones/geozone/{uuid}": do.geofence,
        }
        post: dict[str, Handler] = {
            "/ls/api/v1/activity/vehicles": do.positions,
            "/ls/api/v1/reports/consolidatedReport": do.consolidated,
            "/ls/api/v1/reports/geozones": do.visits,
            "/ls/api/v1/click/log": do.journal,
            "/ls/api/v1/click/log/additional": do.journal_additional,
        }
        if self._assumptions.unverified:
            get |= {
                "/ls/api/v1/users": do.users,
                "/ls/api/v1/drivers": do.drivers,
                "/service/ovms/api/profiles": do.video_profiles,
                "/service/ovms/api/tasks": do.video_tasks,
            }
        routes = [
            Route("/auth/login", self._login, methods=["POST"]),
            Route("/auth/refresh", self._refresh, methods=["POST"]),
            *(self._route(path, handler, "GET") for path, handler in get.items()),
            *(self._route(path, handler, "POST") for path, handler in post.items()),
        ]
        app = Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_found})
        app.router.redirect_slashes = False
        return app

    def _route(self, path: str, handler: Handler, method: str) -> Route:
        nested = "/events/" in path

        async def endpoint(request: Request) -> Response:
            try:
                customer = self._customer(request)
                question = Question(request, await request.body(), customer)
                if "task_failed" in faults_of(request.scope):
                    raise Refused(self._assumptions.failure_code, "undefined error")
                return await run_in_threadpool(handler, question)
            except Refused as refused:
                return refused.response(nested=nested)

        return Route(path, endpoint, methods=[method])

    def _customer(self, request: Request, kind: str = "access") -> str:
        """Who asks, after the limits."""
        header = request.headers.get("authorization", "")
        if "expired" in faults_of(request.scope):
            self._logins.revoke(header)
        customer = self._logins.customer_of(header, kind)
        if not self._limits.lets_in(customer, _address(request)):
            raise Refused(None, status=self._assumptions.block_status)
        if customer is None:
            raise Refused(None, status=401)
        return customer

    async def _login(self, request: Request) -> Response:
        if not self._limits.lets_in(None, _address(request)):
            return Response(status_code=self._assumptions.block_status)
        body = await request.body()
        if "json" in request.headers.get("content-type", "json"):
            try:
                given = json.loads(body)
            except ValueError:
                given = None
        else:
            given = dict(parse_qsl(body.decode("utf-8", "replace")))
        given = given if isinstance(given, dict) else {}
        customer = self._logins.by_password(given.get("login"), given.get("password"))
        if customer is None:
            if not self._limits.failed_login(_address(request)):
                return Response(status_code=self._assumptions.block_status)
            return answer({"code": DENIED, "message": "sign-in failed"}, 401)
        return answer(self._logins.pair(customer))

    async def _refresh(self, request: Request) -> Response:
        try:
            return answer(self._logins.pair(self._customer(request, REFRESH)))
        except Refused as refused:
            return refused.response()


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _not_found(*_: object) -> Response:
    return PlainTextResponse("PATH Not found", status_code=404)
