"""The interface: addresses, parameters and content negotiation of a Traccar 5.12 server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleetlake.sandbox.layer import faults_of
from fleetlake.sandbox.powunity import answers, exports
from fleetlake.sandbox.powunity.answers import ApiError, json_answer, plain
from fleetlake.sandbox.powunity.customers import Bike, Customer, read_event_id, read_position_id
from fleetlake.sandbox.powunity.feed import EVENT_TYPES, Feed
from fleetlake.sandbox.powunity.model import DAY, SECOND, iso_or_none
from fleetlake.sandbox.powunity.query import Query, accepts
from fleetlake.sandbox.powunity.reporting import REPORTS, Report
from fleetlake.sandbox.powunity.sessions import COOKIE, Logins, cookie_of, token_expired
from fleetlake.sandbox.rooms import Context

_WEEK_MS = 7 * DAY
_SERVER: dict[str, Any] = {
    "id": 1,
    "attributes": {},
    "registration": False,
    "readonly": False,
    "deviceReadonly": False,
    "map": None,
    "bingKey": None,
    "mapUrl": None,
    "overlayUrl": None,
    "latitude": 0.0,
    "longitude": 0.0,
    "zoom": 0,
    "twelveHourFormat": False,
    "forceSettings": False,
    "coordinateFormat": None,
    "limitCommands": False,
    "disableReports": False,
    "fixedEmail": False,
    "poiLayer": None,
    "announcement": None,
    "emailEnabled": False,
    "geocoderEnabled": False,
    "textEnabled": False,
    "storageSpace": None,
    "newServer": False,
    "openIdEnabled": False,
    "openIdForce": False,
    "version": "5.12",
}


class Api:
    """Handlers of one sandbox's interface."""

    def __init__(self, context: Context, logins: Logins) -> None:
        self._context = context
        self._logins = logins
        self._feeds = {customer.index: Feed(context, customer) for customer in logins.customers}
        self._lists: dict[str, Callable[[Customer], list[dict[str, Any]]]] = {
            "geofences": Customer.geofences,
            "groups": Customer.groups,
            "drivers": Customer.drivers,
            "maintenance": Customer.maintenance,
            "calendars": lambda _: [],
            "notifications": lambda _: [],
        }

    def app(self) -> ASGIApp:
        """The ASGI application."""

        def route(path: str, handler: Callable[[Request], Response], methods: Sequence[str] = ("GET",)) -> Route:
            return Route(f"/api{path}", handler, methods=list(methods))

        def asked(handler: Callable[[Query, Customer], Response]) -> Callable[[Request], Response]:
            return lambda request: handler(Query(request), self._customer(request))

        routes = [
            route("/session", self._session_get),
            Route("/api/session", self._session_post, methods=["POST"]),
            route("/session", self._session_delete, ("DELETE",)),
            Route("/api/session/token", self._session_token, methods=["POST"]),
            route("/server", lambda request: self._only_json(request, _SERVER)),
            route("/statistics", asked(self._statistics)),
            route("/devices", asked(self._devices)),
            route("/devices/{id}", asked(self._device)),
            route("/positions", asked(self._positions)),
            route("/positions/{kind:str}", asked(self._position_file)),
            route("/events/{id}", asked(self._event)),
            route("/notifications/types", asked(self._notification_types)),
            *(route(f"/reports/{name}", asked(self._report)) for name in REPORTS),
            *(route(f"/reports/{name}/xlsx", asked(self._report_xlsx)) for name in REPORTS if name != "combined"),
            *(route(f"/reports/{name}/mail", asked(self._report_mail)) for name in REPORTS if name != "combined"),
            *(route(f"/{name}", asked(self._list)) for name in self._lists),
            *(route(f"/{name}/{{id}}", asked(self._one)) for name in self._lists),
            *(Route(f"/api/{name}", self._write, methods=["POST"]) for name in ("devices", *self._lists)),
            *(Route(f"/api/{name}/{{id}}", self._write, methods=["PUT", "DELETE"]) for name in ("devices", *self._lists)),
        ]
        handlers: dict[Any, Any] = {
            ApiError: lambda _, error: error.response(),
            404: lambda *_: answers.no_path().response(),
            405: lambda *_: answers.no_method().response(),
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return _Cors(app)

    # Sessions

    def _customer(self, request: Request) -> Customer:
        if "expired" in faults_of(request.scope):
            self._logins.close(cookie_of(request.headers))
        customer = self._logins.of_request(request.headers)
        if customer is None:
            raise answers.unauthorized(request.headers.get("accept", ""))
        return customer

    def _session_get(self, request: Request) -> Response:
        expired = "expired" in faults_of(request.scope)
        token = request.query_params.get("token")
        if token is not None:
            if expired:
                raise token_expired()
            return self._logged_in(self._logins.by_token(token))
        if expired:
            self._logins.close(cookie_of(request.headers))
        customer = self._logins.of_session(cookie_of(request.headers))
        if customer is None:
            raise answers.nobody()
        return json_answer(customer.user(self._logins.token(customer)))

    async def _session_post(self, request: Request) -> Response:
        form = await request.form()
        return self._logged_in(self._logins.by_password(str(form.get("email")), str(form.get("password"))))

    def _logged_in(self, customer: Customer) -> Response:
        response = json_answer(customer.user(self._logins.token(customer)))
        response.headers["set-cookie"] = f"{COOKIE}={self._logins.open(customer)}; Path=/"
        return response

    def _session_delete(self, request: Request) -> Response:
        self._customer(request)
        self._logins.close(cookie_of(request.headers))
        return Response(status_code=204)

    async def _session_token(self, request: Request) -> Response:
        customer = self._customer(request)
        wanted = (await request.form()).get("expiration")
        expires = Query.moment(str(wanted)) if wanted else self._context.clock.now_ms() + _WEEK_MS
        return plain(self._logins.token(customer, expires), answers.JSON)

    # Objects

    def _only_json(self, request: Request, value: Any) -> Response:
        if not accepts(request, answers.JSON):
            raise answers.not_acceptable()
        return json_answer(value)

    def _statistics(self, *_: object) -> Response:
        raise answers.administrator_only()

    def _devices(self, query: Query, customer: Customer) -> Response:
        wanted, unique = query.numbers("id"), query.texts("uniqueId")
        feed = self._feeds[customer.index]
        rows = [
            self._device_json(feed, bike)
            for bike in customer.bikes()
            if (not wanted and not unique) or bike.id in wanted or bike.unique_id in unique
        ]
        return self._only_json(query.request, rows)

    def _device(self, query: Query, customer: Customer) -> Response:
        bike = self._bike(customer, query.path_number("id"))
        return self._only_json(query.request, self._device_json(self._feeds[customer.index], bike))

    def _device_json(self, feed: Feed, bike: Bike) -> dict[str, Any]:
        device = feed.device(bike)
        return device | {"lastUpdate": iso_or_none(device["lastUpdate"])}

    def _bike(self, customer: Customer, device_id: int) -> Bike:
        bike = customer.bike(device_id)
        if bike is None:
            raise answers.denied()
        return bike

    def _list(self, query: Query, customer: Customer) -> Response:
        return self._only_json(query.request, self._lists[query.segment(0)](customer))

    def _one(self, query: Query, customer: Customer) -> Response:
        kind, wanted = query.segment(0), query.path_number("id")
        for item in self._lists[kind](customer):
            if item["id"] == wanted:
                return self._only_json(query.request, item)
        raise answers.denied(kind.rstrip("s").capitalize())

    def _notification_types(self, query: Query, *_: object) -> Response:
        return self._only_json(query.request, [{"type": kind} for kind in EVENT_TYPES])

    async def _write(self, request: Request) -> Response:
        """Accounts of the sandbox may only read; a body is looked at first, as the server does."""
        customer = self._customer(request)
        if request.method != "DELETE" and "devices" in request.url.path:
            try:
                body = json.loads(await request.body())
            except ValueError:
                raise answers.bad_body() from None
            if not isinstance(body, dict):
                raise answers.bad_body()
            known = list(await run_in_threadpool(self._feeds[customer.index].device, customer.bikes()[0]))
            for name in body:
                if name not in known:
                    raise answers.unknown_field(name, known)
        raise answers.read_only()

    # Positions and events

    def _positions(self, query: Query, customer: Customer) -> Response:
        if not accepts(query.request, answers.JSON):
            raise answers.not_acceptable()
        feed = self._feeds[customer.index]
        wanted, device_id = query.numbers("id"), query.number("deviceId")
        start, end = query.time("from"), query.time("to")
        if wanted:
            found = [self._position(customer, position_id) for position_id in wanted]
        elif not device_id:  # from and to mean nothing without a device
            found = [latest for bike in customer.bikes() if (latest := feed.latest(bike))]
        else:
            bike = self._bike(customer, device_id)
            if start is not None and end is not None:
                found = feed.positions(bike, start, end)[: customer.assumptions.max_positions or None]
            else:
                found = [latest] if (latest := feed.latest(bike)) else []
        return json_answer([position.as_json() for position in found])

    def _position(self, customer: Customer, position_id: int) -> Any:
        ordinal, _ = read_position_id(position_id)
        for owner in self._logins.customers:
            bike = owner.bike_of_ordinal(ordinal)
            if bike and (position := self._feeds[owner.index].position(bike, position_id)):
                if owner is not customer:
                    raise answers.denied()
                return position
        raise answers.no_position()

    def _position_file(self, query: Query, customer: Customer) -> Response:
        kinds = {"csv": exports.CSV, "gpx": exports.GPX, "kml": exports.KML}
        kind = query.path_text("kind")
        if kind not in kinds:
            raise answers.no_path()
        if not accepts(query.request, kinds[kind]):
            raise answers.not_acceptable()
        bike = self._bike(customer, query.number("deviceId"))
        start, end = query.window()
        positions = self._feeds[customer.index].positions(bike, start, end)
        if kind == "csv":
            text = exports.csv(positions)
        else:
            text = exports.gpx(bike.name, positions) if kind == "gpx" else exports.kml(bike.name, positions, start, end)
        return plain(text, kinds[kind], headers={"Content-Disposition": f"attachment; filename=positions.{kind}"})

    def _event(self, query: Query, customer: Customer) -> Response:
        event_id = query.path_number("id")
        ordinal, seconds = read_event_id(event_id)
        for owner in self._logins.customers:
            bike = owner.bike_of_ordinal(ordinal)
            near = self._feeds[owner.index].events(bike, seconds * SECOND, (seconds + 1) * SECOND) if bike else []
            for event in near:
                if event.id == event_id:
                    if owner is not customer:
                        raise answers.denied()
                    return self._only_json(query.request, event.as_json())
        raise answers.not_found()

    # Reports

    def _report(self, query: Query, customer: Customer) -> Response:
        """JSON or a spreadsheet: without a clear wish, trips, stops and route give the spreadsheet."""
        name = query.segment(1)
        any_gives_xlsx, has_xlsx = name in ("trips", "stops", "route"), name != "combined"
        if accepts(query.request, answers.JSON, wildcard=not any_gives_xlsx):
            return json_answer(self._rows(query, customer))
        if has_xlsx and accepts(query.request, exports.XLSX):
            return self._report_xlsx(query, customer)
        raise answers.not_acceptable()

    def _report_xlsx(self, query: Query, customer: Customer) -> Response:
        body = exports.spreadsheet(self._rows(query, customer))
        return plain(body, exports.XLSX, headers={"Content-Disposition": "attachment; filename=report.xlsx"})

    def _report_mail(self, query: Query, customer: Customer) -> Response:
        self._rows(query, customer)
        return Response(status_code=204)

    def _rows(self, query: Query, customer: Customer) -> list[dict[str, Any]]:
        name = query.segment(1)
        devices, groups = query.numbers("deviceId"), query.numbers("groupId")
        start, end = query.window()
        limit = customer.assumptions.period_limit_s * SECOND
        if limit and end - start > limit:
            raise answers.too_long()
        bikes = [bike for bike in customer.bikes() if bike.id in devices or (bike.group_id and bike.group_id in groups)]
        # Unknown and forbidden devices are left out in silence; the order of devices is nobody's promise.
        bikes.sort(key=lambda bike: bike.position_id(0x7FFF_FFFF))
        rows = []
        for bike in bikes:
            rows += REPORTS[name](Report(self._feeds[customer.index], customer, bike, query, start, end))
        return rows


class _Cors:
    """CORS headers on every answer, and an answer to OPTIONS."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope)
        origin = request.headers.get("origin", "*")

        async def with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["access-control-allow-headers"] = "origin, content-type, accept, authorization"
                headers["access-control-allow-credentials"] = "true"
                headers["access-control-allow-methods"] = "GET, POST, PUT, DELETE, OPTIONS"
                headers["access-control-allow-origin"] = origin
            await send(message)

        if scope["method"] == "OPTIONS":
            await plain(b"", answers.JSON)(scope, receive, with_cors)
        else:
            await self._app(scope, receive, with_cors)
