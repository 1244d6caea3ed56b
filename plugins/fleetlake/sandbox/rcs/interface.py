"""The Third-Party API of RCS: who may ask, what is asked, what is answered."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from fleetlake.sandbox.layer import faults_of, peer_of
from fleetlake.sandbox.rate_limit import RateLimit
from fleetlake.sandbox.rcs import checks, diagnostics, people
from fleetlake.sandbox.rcs.checks import Refused
from fleetlake.sandbox.rcs.park import CUSTOMERS, Car, Park, is_guid
from fleetlake.sandbox.rcs.tasks import Task
from fleetlake.sandbox.rcs.telemetry import Telemetry, naive

_ORDER = tuple(CUSTOMERS)
_BY_PEER = {certificate: customer for customer, certificate in CUSTOMERS.items()}
_MANY_CARS = 200

Handler = Callable[[Request], Awaitable[Response]]


def customer_of(scope: Scope) -> str | None:
    """The customer whose certificate the connection shows."""
    return _BY_PEER.get(peer_of(scope) or "")


class Interface:
    """ASGI application of the room."""

    def __init__(self, park: Park) -> None:
        self._park = park
        self._assumptions = park.assumptions
        self._context = park.context
        self._telemetry = Telemetry(park)
        self._limit = RateLimit(self._assumptions.requests_per_second)
        prefix = self._assumptions.base_path
        app = Starlette(
            routes=[
                Route(f"{prefix}/", self._endpoint(self._root, anonymous=True)),
                Route(f"{prefix}/parameters", self._endpoint(self._parameters)),
                Route(f"{prefix}/users", self._endpoint(self._users)),
                Route(f"{prefix}/client-notifications", self._endpoint(self._notifications)),
                Route(f"{prefix}/vehicles", self._endpoint(self._vehicles, retired=True)),
                Route(f"{prefix}/vehicles/{{vehicle}}", self._endpoint(self._vehicle, retired=True)),
                Route(f"{prefix}/vehicles/{{vehicle}}/health-reports", self._endpoint(self._reports, retired=True)),
                Route(f"{prefix}/vehicle-health/reports", self._endpoint(self._start_task, retired=True), methods=["POST"]),
                Route(f"{prefix}/vehicle-health/reports/{{token}}", self._endpoint(self._task, retired=True)),
                Route(f"{prefix}/telemetry/history/{{vehicle}}", self._endpoint(self._history, retired=True)),
            ],
            exception_handlers={HTTPException: _no_body, Refused: _refuse},
        )
        app.router.redirect_slashes = False
        self._app: ASGIApp = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: first who asks and how often, then what."""
        try:
            self._admit(scope)
        except Refused as refused:
            await refused.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        peer, anonymous = peer_of(scope), scope["path"] == f"{self._assumptions.base_path}/"
        if customer_of(scope) is None and not (anonymous and peer is None):
            raise Refused(401)
        address = (scope.get("client") or ("",))[0]
        keys = {"certificate": peer or address, "ip": address, "subscription": customer_of(scope) or address}
        if not self._limit.passes(keys[self._assumptions.rate_limit_by]):
            raise Refused(429)

    def _endpoint(self, handler: Handler, *, anonymous: bool = False, retired: bool = False) -> Handler:
        async def checked(request: Request) -> Response:
            body = await self._body(request)
            checks.check_headers(request, self._assumptions, version_required=not anonymous, has_body=bool(body))
            if retired and self._assumptions.retired_since_2021_07_01:
                raise Refused(self._assumptions.retired_status)
            return await handler(request)

        return checked

    async def _body(self, request: Request) -> bytes:
        limit, size, parts = self._assumptions.max_body_bytes, 0, []
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise Refused(413)
            parts.append(part)
        return b"".join(parts)

    async def _root(self, _: Request) -> Response:
        return _json({"name": "RCS", "versions": checks.versions(self._assumptions)})

    async def _parameters(self, _: Request) -> Response:
        ttl, queues = self._assumptions.realtime_ttl, self._assumptions.realtime_max_queues
        return _json({"realtime_ttl": ttl, "realtime_max_queues": queues})

    async def _vehicles(self, request: Request) -> Response:
        customer, now_ms = customer_of(request.scope) or "", self._context.clock.now_ms()
        listed = self._park.bound if self._assumptions.rightless_listed else self._park.readable

        def build() -> Response:
            return self._rows(msgspec.json.encode(self._describe(car, now_ms)) for car in listed(customer))

        return await self._maybe_threaded(build)

    async def _vehicle(self, request: Request) -> Response:
        return _json(self._describe(self._car(request), self._context.clock.now_ms()))

    async def _users(self, request: Request) -> Response:
        start, end = self._interval(request)
        found = people.users(self._park, customer_of(request.scope) or "", start, end, self._now())
        return self._rows(msgspec.json.encode(self._user(user)) for user in found)

    async def _notifications(self, request: Request) -> Response:
        start, end = self._interval(request)
        found = people.notifications(self._park, customer_of(request.scope) or "", start, end, self._now())
        return self._rows(msgspec.json.encode(self._notification(offer)) for offer in found)

    def _interval(self, request: Request) -> tuple[int, int]:
        """``from`` and ``to``, both optional and of any length, as ``[start, end)``."""
        start = checks.a_datetime(request, "from", required=False)
        end = checks.a_datetime(request, "to", required=False)
        if start is not None and end is not None and end < start:
            raise Refused(400, "OUT_OF_RANGE", "to", "before `from`")
        last = self._now() if end is None else end
        return start or 0, last + (end is None or self._assumptions.time_end_inclusive)

    async def _history(self, request: Request) -> Response:
        start = checks.a_datetime(request, "from", required=False)
        end = checks.a_datetime(request, "to", required=False)
        take = checks.a_positive_integer(
            request, "take", default=self._assumptions.take_default, maximum=self._assumptions.take_max
        )
        minimum = request.query_params.get(self._assumptions.cursor_parameter)
        if minimum == "":
            raise Refused(400, "INVALID_LENGTH", self._assumptions.cursor_parameter, "empty")
        if start is not None and end is not None and end < start:
            raise Refused(400, "OUT_OF_RANGE", "to", "before `from`")
        car = self._car(request)
        if end is not None and not self._assumptions.time_end_inclusive:
            end -= 1
        records = self._telemetry.page(
            car,
            start=start,
            end=end,
            minimum=minimum.lower() if minimum else None,
            take=take,
            now_ms=self._context.clock.now_ms(),
        )
        return self._rows(record.body for record in records)

    async def _reports(self, request: Request) -> Response:
        start, end = checks.report_window(request, self._assumptions)
        severity = checks.one_of(request, "severity", checks.SEVERITIES)
        found = diagnostics.reports(self._park, self._car(request), start, end + 1, self._now())
        wanted = (report for report in found if severity in (None, report.severity))
        return self._rows(msgspec.json.encode(self._full(report)) for report in wanted)

    async def _start_task(self, request: Request) -> Response:
        start, end = checks.report_window(request, self._assumptions)
        severity = checks.one_of(request, "severity", checks.SEVERITIES)
        customer = _ORDER.index(customer_of(request.scope) or "")
        fails = "task_failed" in faults_of(request.scope)
        task = Task(time.time(), self._now(), start, end, severity, fails, customer)
        location = f"/vehicle-health/reports/{task.token(self._context.settings.seed)}"
        return Response(status_code=202, headers={"Location": location})

    async def _task(self, request: Request) -> Response:
        task = Task.of(request.path_params["token"], self._context.settings.seed)
        customer = customer_of(request.scope) or ""
        faults = faults_of(request.scope)
        if task is None or _ORDER[task.customer] != customer or "expired" in faults:
            raise Refused(404)
        age, takes = task.age(), self._assumptions.task_seconds
        if age > self._assumptions.task_lifetime_s:
            raise Refused(404)
        status = "SUCCEEDED" if age >= takes else "EXECUTING" if age >= takes / 4 else "PENDING"
        if "task_failed" in faults or (task.fails and status == "SUCCEEDED"):
            status = "FAILED"
        done = status in ("SUCCEEDED", "FAILED")
        state: dict[str, Any] = {
            "task": {
                "token": request.path_params["token"],
                "status": status,
                "created_at": naive(task.now),
                "completed_at": naive(task.now + takes) if done else None,
                "error": {"code": "INTERNAL", "message": "the report could not be built"} if status == "FAILED" else None,
            },
            "report": None,
        }

        def build() -> Response:
            if status == "SUCCEEDED":
                state["report"] = self._overview(task, customer)
            return _json(state)

        return await self._maybe_threaded(build)

    async def _maybe_threaded(self, build: Callable[[], Response]) -> Response:
        # Only a large fleet takes long enough to keep other clients waiting.
        if self._context.settings.vehicles < _MANY_CARS:
            return build()
        return await run_in_threadpool(build)

    def _overview(self, task: Task, customer: str) -> dict[str, Any]:
        found = [
            {
                "vehicle_id": self._written(report.car),
                "vin": report.car.vin,
                "report_id": report.id,
                "created_at": naive(report.created),
                "severity": report.severity,
                "initiator": report.initiator,
            }
            for car in self._park.readable(customer)
            for report in diagnostics.reports(self._park, car, task.start, task.end + 1, task.now)
            if task.severity in (None, report.severity)
        ]
        return {"from": naive(task.start), "to": naive(task.end), "vehicles": found}

    def _full(self, report: diagnostics.Report) -> dict[str, Any]:
        body: dict[str, Any] = {
            "id": report.id,
            "vehicle_id": self._written(report.car),
            "created_at": naive(report.created),
            "completed_at": naive(report.completed) if report.completed is not None else None,
            "initiator": report.initiator,
            "severity": report.severity,
            "result": report.result,
            "troubles": [self._trouble(trouble) for trouble in report.troubles],
        }
        if report.indicators is not None:
            body["indicators"] = report.indicators
        return body

    def _trouble(self, trouble: diagnostics.Trouble) -> dict[str, Any]:
        status: int | str | None = trouble.status
        if self._assumptions.status_as_hex and trouble.status is not None:
            status = f"0x{trouble.status:02X}"
        body: dict[str, Any] = {"dtc": trouble.dtc, "status": status, "maturity": trouble.maturity}
        given = {"ecu": trouble.ecu, "ecu_id": trouble.ecu_id, "description": trouble.description}
        return body | {key: value for key, value in given.items() if value is not None}

    def _describe(self, car: Car, now_ms: int) -> dict[str, Any]:
        given = {"source_id": car.source_id, "registration_plate": car.plate}
        return {
            "id": car.id,
            "vin": car.vin,
            **{key: value for key, value in given.items() if value is not None},
            "brand": car.brand,
            "model": car.model,
            "year": car.year,
            "device": {"number": car.device.upper(), "firmware": car.firmware},
            "last_state": self._telemetry.latest(car, now_ms) if car.readable else None,
        }

    @staticmethod
    def _user(user: people.User) -> dict[str, Any]:
        body = {
            "id": user.id.upper() if user.registered % 2 else user.id,
            "source_id": user.source_id,
            "registered_at": naive(user.registered),
            "updated_at": naive(user.updated),
            "phone": user.phone,
            "first_name": user.first_name,
            "last_name": user.last_name,
            "middle_name": user.middle_name,
            "email": user.email,
            "city": user.city,
            "locale": user.locale,
            "dealer_network": user.dealer_network,
            "vehicle_ids": user.vehicle_ids,
        }
        return {key: value for key, value in body.items() if value is not None}

    @staticmethod
    def _notification(offer: people.Notification) -> dict[str, Any]:
        body = {
            "id": offer.id,
            "type": offer.kind,
            "created_at": naive(offer.created),
            "planned_at": naive(offer.planned),
            "sent_at": naive(offer.sent),
            "title": offer.title,
            "text": offer.text,
            "dealer_network": offer.dealer_network,
            "vehicle_ids": offer.vehicle_ids,
            "user_phones": offer.user_phones,
            "recipients_count": offer.recipients,
        }
        return {key: value for key, value in body.items() if value is not None}

    @staticmethod
    def _written(car: Car) -> str:
        """The id as reports write it: letters in either case, as the vendor allows itself."""
        return car.id.upper() if car.slot % 2 else car.id

    def _car(self, request: Request) -> Car:
        identity = request.path_params["vehicle"]
        if not is_guid(identity):
            raise Refused(400, "INVALID_FORMAT", "vehicleId", "a GUID is expected")
        car = self._park.find(identity)
        if car is None or car.customer != customer_of(request.scope):
            raise Refused(404)
        if not car.readable:
            raise Refused(404 if self._assumptions.mask_forbidden else 403)
        return car

    def _rows(self, rows: Iterable[bytes]) -> Response:
        body = b"[" + b",".join(rows) + b"]"
        if self._assumptions.envelope == "items":
            body = b'{"items":' + body + b"}"
        return Response(body, media_type="application/json")

    def _now(self) -> int:
        return self._context.clock.now_ms() // 1000


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


async def _no_body(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  (registered for it)
    allowed = {key: value for key, value in (error.headers or {}).items() if re.fullmatch("allow", key, re.IGNORECASE)}
    return Response(status_code=error.status_code, headers=allowed)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101  (registered for it)
    return error.response()
