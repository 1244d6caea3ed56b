"""The REST interface: who asks and how often, what is asked, what is answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from fleetlake.sandbox.layer import faults_of
from fleetlake.sandbox.suivideflotte import objects, trips
from fleetlake.sandbox.suivideflotte.answers import ApiError, OauthError, Times, answer
from fleetlake.sandbox.suivideflotte.filters import Asked
from fleetlake.sandbox.suivideflotte.keys import Key, Keys
from fleetlake.sandbox.suivideflotte.limiter import FixedWindow, Verdict
from fleetlake.sandbox.suivideflotte.objects import Row, Writer
from fleetlake.sandbox.suivideflotte.park import Car, Park
from fleetlake.sandbox.world import DAY_S

COOKIE = "refresh_token"
_VERSION = "1"
_ZONES_S = DAY_S
"""Wall clock and UTC are never further apart."""

Handler = Callable[[Request, str], Response]


class Interface:
    """ASGI application of the room."""

    def __init__(self, park: Park) -> None:
        self._park = park
        self._assumptions = park.assumptions
        self._keys = Keys(park)
        self._limiter = FixedWindow(self._assumptions.requests_per_minute, self._assumptions.limit_window_s)
        self._times = Times(self._assumptions.timezone, self._assumptions.date_format)
        self._writer = Writer(park, self._times)
        app = Starlette(
            routes=[
                Route("/oauth2", self._login, methods=["POST"]),
                Route("/oauth2/refresh", self._refresh, methods=["POST"]),
                Route("/vehicles", self._read("vehicles:read", self._vehicles)),
                Route("/vehicles/{id}", self._read("vehicles:read", self._vehicle)),
                Route("/vehicles/{id}/trips", self._read("trips:read", self._vehicle_trips)),
                Route("/trips", self._read("trips:read", self._trips)),
                Route("/poi", self._read("poi:read", self._pois)),
                Route("/drivers", self._read("vehicles:read", self._drivers)),
                Route("/alerts", self._read("vehicles:read", self._alerts)),
            ],
            exception_handlers={HTTPException: _no_such, ApiError: _refuse, OauthError: _refuse},
        )
        app.router.redirect_slashes = False
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: count it, check its version, execute it; the limiter's headers are on every answer."""
        headers = Headers(scope=scope)
        key = self._keys.of(headers.get("authorization", ""))
        if "expired" in faults_of(scope):
            key = None
        scope.setdefault("state", {})["key"] = key
        verdict = self._limiter.count(self._counted(scope, key))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(verdict.headers)
            await send(message)

        if not verdict.passed:
            await self._too_many(verdict)(scope, receive, with_headers)
        elif self._assumptions.version_checked and headers.get("x-version", _VERSION) != _VERSION:
            await ApiError(400, "Unknown API version.").response()(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)

    def _counted(self, scope: Scope, key: Key | None) -> str:
        """Whose calls are counted together: the user's, and those of strangers by address."""
        if key is None:
            return f"address {(scope.get('client') or ('',))[0]}"
        return f"key {key.id}" if self._assumptions.limit_by == "key" else f"user {key.customer}"

    def _too_many(self, _: Verdict) -> Response:
        if self._assumptions.limit_json:
            return answer({"code": 429, "message": "Too Many Attempts"}, 429)
        return PlainTextResponse("Too Many Attempts.", 429, media_type="text/html")

    # Keys

    async def _login(self, request: Request) -> Response:
        return self._logged_in(self._keys.login(await _body(request)))

    async def _refresh(self, request: Request) -> Response:
        cookie = request.cookies.get(COOKIE)
        expired = "expired" in faults_of(request.scope)
        issued = self._keys.refresh(await _body(request), unquote(cookie) if cookie else None, expired=expired)
        return self._logged_in(issued)

    @staticmethod
    def _logged_in(issued: dict[str, Any]) -> Response:
        response = answer(issued)
        response.headers["set-cookie"] = f"{COOKIE}={quote(issued['refresh_token'], safe='')}; Path=/oauth2; HttpOnly"
        return response

    def _read(self, scope: str, handler: Handler) -> Callable[[Request], Response]:
        """An endpoint for whoever has a key with ``scope``. Not async, so that a long list keeps nobody waiting."""

        def checked(request: Request) -> Response:
            key: Key | None = request.scope["state"]["key"]
            if key is None:
                raise ApiError(401, "Unauthenticated.")
            if not key.allows(scope):
                raise ApiError(403, "Invalid scope(s) provided.")
            return handler(request, key.customer)

        return checked

    # Resources

    def _vehicles(self, request: Request, customer: str) -> Response:
        now_ms = self._park.context.clock.now_ms()
        return self._list(
            request, objects.VEHICLE, lambda _: (self._writer.vehicle(car, now_ms) for car in self._park.cars(customer))
        )

    def _vehicle(self, request: Request, customer: str) -> Response:
        known = objects.fields(objects.VEHICLE, self._assumptions)
        asked = Asked.read(request.query_params, known, self._assumptions)
        row = self._writer.vehicle(self._car(request, customer), self._park.context.clock.now_ms())
        return answer(asked.cut(row))

    def _vehicle_trips(self, request: Request, customer: str) -> Response:
        return self._trips_of(request, [self._car(request, customer)])

    def _trips(self, request: Request, customer: str) -> Response:
        return self._trips_of(request, self._park.cars(customer))

    def _trips_of(self, request: Request, cars: Sequence[Car]) -> Response:
        first, last, holds = self._window(request)

        def rows(asked: Asked) -> Iterable[Row]:
            for car in cars:
                if asked.equals.get("vehicle_id", str(car.id)) == str(car.id):  # only to save work
                    for trip in trips.trips(self._park, car, first, last, self._now()):
                        if holds(trip.start):
                            yield self._writer.trip(trip)

        return self._list(request, objects.TRIP, rows)

    def _pois(self, request: Request, customer: str) -> Response:
        return self._list(request, objects.POI, lambda _: map(self._writer.poi, self._park.pois(customer)))

    def _drivers(self, request: Request, customer: str) -> Response:
        return self._list(request, objects.DRIVER, lambda _: map(self._writer.driver, self._park.drivers(customer)))

    def _alerts(self, request: Request, customer: str) -> Response:
        first, last, holds = self._window(request)
        return self._list(
            request,
            objects.ALERT,
            lambda _: (
                self._writer.alert(alert)
                for car in self._park.cars(customer)
                for alert in trips.alerts(self._park, car, first, last, self._now())
                if holds(alert.time)
            ),
        )

    def _list(self, request: Request, named: tuple[str, ...], rows: Callable[[Asked], Iterable[Row]]) -> Response:
        asked = Asked.read(request.query_params, objects.fields(named, self._assumptions), self._assumptions)
        found = asked.select(list(rows(asked)))
        return answer(asked.envelope(found, request.url.path, self._assumptions))

    def _car(self, request: Request, customer: str) -> Car:
        text = request.path_params["id"]
        car = self._park.find(customer, int(text)) if text.isdecimal() and len(text) < 19 else None
        if car is None:
            raise ApiError(404, "No query results for model [Vehicle].")
        return car

    def _window(self, request: Request) -> tuple[int, int, Callable[[int], bool]]:
        """``from`` and ``to``, both optional: UTC seconds that hold it all, and whether a second belongs to it."""
        bounds: dict[str, int] = {}
        for name in ("from", "to"):
            text = request.query_params.get(name)
            if text is not None:
                bound = self._times.read(text)
                if bound is None:
                    raise ApiError(422, {name: [f"The {name} is not a valid date."]})
                bounds[name] = bound
        start, end = bounds.get("from", 0), bounds.get("to", self._now() + 2 * _ZONES_S)
        if end < start:
            raise ApiError(422, {"to": ["The to must be a date after or equal to from."]})
        end += self._assumptions.to_inclusive

        def holds(second: int) -> bool:
            return start <= self._times.wall(second) < end

        return start - _ZONES_S, end + _ZONES_S, holds

    def _now(self) -> int:
        return self._park.context.clock.now_ms() // 1000


async def _body(request: Request) -> Any:
    """The body as JSON, whatever its content type; ``None`` if it is none."""
    try:
        return json.loads(await request.body())
    except ValueError:
        return None


async def _no_such(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  (registered for it)
    response = ApiError(error.status_code, error.detail).response()
    response.headers.update(error.headers or {})
    return response


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError | OauthError)  # noqa: S101  (registered for it)
    return error.response()
