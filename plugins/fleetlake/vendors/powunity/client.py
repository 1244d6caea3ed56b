"""Calls of the PowUnity (Traccar) interface, the session behind them, and what its errors mean."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from fleetlake.errors import (
    AccessDenied,
    ConfigError,
    CredentialsRejected,
    FleetlakeError,
    MalformedAnswer,
    ScopeUnavailable,
    SessionExpired,
)
from fleetlake.http.answers import Answer, judge
from fleetlake.http.rate_gate import LocalGate, RateGate
from fleetlake.http.session import Query, VendorSession
from fleetlake.reading import Lane
from fleetlake.vendors.powunity.config import Auth, PowUnityConfig
from fleetlake.vendors.powunity.decode import rows, to_vendor_time
from fleetlake.window import Window

_MILLISECOND = dt.timedelta(milliseconds=1)
_FAST_REPORTS = frozenset({"trips", "stops", "summary", "combined"})
_FILES = ("csv", "gpx", "kml")


class PowUnityClient:
    """One PowUnity account. It logs in when first needed. Use it from one thread at a time; ``close`` may come from any.

    Args:
        config: address and credentials.
        gate: rate gate of the account, shared by all processes; ``None`` = one of this process.
        lane: whose requests these are.
    """

    def __init__(self, config: PowUnityConfig, *, gate: RateGate | None = None, lane: Lane = Lane.SCHEDULED) -> None:
        self.config = config
        self._session = VendorSession(
            config.session_options(),
            gate=gate or LocalGate(config.rate_per_s, burst=config.burst),
            lane=lane,
            redactor=config.redactor(),
            judge=judge_call,
        )
        self._is_logged_in = False

    # --- session --------------------------------------------------------------------------------------------------------

    def login(self) -> None:
        """Open a session at the vendor (or, with Basic and Bearer, try the credentials on a small request).

        Raises:
            CredentialsRejected: wrong, expired or disabled; the server says 400, 401 or 404 here.
        """
        config, session = self.config, self._session
        session.forget_cookies()
        if config.way is Auth.TOKEN:
            session.get("/session", {"token": config.token}, judge=judge_login)
        elif config.way is Auth.PASSWORD:
            form = {"email": config.email or "", "password": config.password or ""}
            session.request("POST", "/session", form=form, repeatable=True, judge=judge_login)
        else:
            login = f"{config.email}:{config.password}".encode()
            basic = f"Basic {base64.b64encode(login).decode()}"
            session.set_header("Authorization", f"Bearer {config.token}" if config.way is Auth.BEARER else basic)
            # The smallest list there is. A 400 to it can only be about the credentials.
            session.get("/groups", judge=judge_login)
        self._is_logged_in = True

    def logout(self) -> None:
        """``DELETE /session``, where one was opened."""
        if self._is_logged_in and self.config.way in (Auth.TOKEN, Auth.PASSWORD):
            self._session.request("DELETE", "/session", repeatable=True)
        self._session.forget_cookies()
        self._is_logged_in = False

    def request(self, method: str, path: str, query: Query = (), *, login: bool = True, **more: Any) -> Answer:
        """Send any request; the named calls below are made of this.

        Args:
            method: HTTP method. Only safe ones are repeated.
            path: below the base URL.
            query: parameters; lists are repeated, ``None`` is left out.
            login: log in first if needed; a session that the vendor ended meanwhile is renewed once.
            more: see ``VendorSession.request``.

        Raises:
            FleetlakeError: what the answer means.
        """
        if not login:
            return self._session.request(method, path, query, judge=judge_anonymous, **more)
        if not self._is_logged_in:
            self.login()
        try:
            return self._session.request(method, path, query, **more)
        except SessionExpired:
            self._is_logged_in = False
        # Once, never in a loop: a login that succeeds and does not help will not help the next time either.
        self.login()
        return self._session.request(method, path, query, **more)

    def get(self, path: str, query: Query = (), *, login: bool = True, **more: Any) -> Answer:
        """``request("GET", …)``."""
        return self.request("GET", path, query, login=login, **more)

    # --- calls ----------------------------------------------------------------------------------------------------------

    def server(self) -> dict[str, Any]:
        """``GET /server``, without login: version and settings of the server."""
        return _object(self.get("/server", login=False))

    def session(self) -> dict[str, Any]:
        """``GET /session``: the user behind the session cookie."""
        return _object(self.request("GET", "/session", judge=judge_login))

    def devices(self, *, device_ids: list[str] | None = None, unique_ids: list[str] | None = None) -> Answer:
        """``GET /devices``: the account's devices, all or those named."""
        return self.get("/devices", {"id": device_ids, "uniqueId": unique_ids})

    def device(self, device_id: str) -> dict[str, Any]:
        """``GET /devices/{id}``.

        Raises:
            ScopeUnavailable: there is none, or it is not ours.
        """
        return _object(self.get(f"/devices/{quote(device_id, safe='')}"))

    def latest_positions(self, device_id: str | None = None) -> Answer:
        """``GET /positions``: the latest of every device, or of one."""
        return self.get("/positions", {"deviceId": device_id})

    def positions_by_id(self, position_ids: list[str]) -> Answer:
        """``GET /positions?id=…``."""
        return self.get("/positions", {"id": position_ids})

    def positions(self, device_id: str, window: Window) -> Answer:
        """``GET /positions``: positions of a device whose fix time is in the window, ascending."""
        return self.get("/positions", {"deviceId": device_id, **_range(window)})

    def positions_file(self, device_id: str, window: Window, kind: str) -> Answer:
        """``GET /positions/{csv,gpx,kml}``: the same as a file."""
        if kind not in _FILES:
            raise ConfigError(f"no position file {kind!r}", where="powunity", remedy=f"one of {', '.join(_FILES)}")
        headers = {"Accept": "text/csv" if kind == "csv" else "*/*"}
        return self.get(f"/positions/{kind}", {"deviceId": device_id, **_range(window)}, headers=headers)

    def trips(self, device_id: str, window: Window) -> Answer:
        """``GET /reports/trips``, recomputed from positions: the window is at most 24 h."""
        return self._report("trips", device_id, window)

    def stops(self, device_id: str, window: Window) -> Answer:
        """``GET /reports/stops``; at most 24 h as for trips."""
        return self._report("stops", device_id, window)

    def summary(self, device_id: str, window: Window) -> Answer:
        """``GET /reports/summary``; at most 24 h as for trips."""
        return self._report("summary", device_id, window)

    def combined(self, device_id: str, window: Window) -> Answer:
        """``GET /reports/combined``: track, events and their positions; at most 24 h."""
        return self._report("combined", device_id, window)

    def events(self, device_id: str, window: Window, *, types: list[str] | None = None) -> Answer:
        """``GET /reports/events``: events of the window, all types or those named."""
        return self._report("events", device_id, window, {"type": types})

    def route(self, device_id: str, window: Window) -> Answer:
        """``GET /reports/route``: the positions of the window, as a report."""
        return self._report("route", device_id, window)

    def event(self, event_id: str) -> dict[str, Any]:
        """``GET /events/{id}``."""
        return _object(self.get(f"/events/{quote(event_id, safe='')}"))

    def geofences(self) -> Answer:
        """``GET /geofences``: areas are WKT-like, latitude first."""
        return self.get("/geofences")

    def drivers(self) -> Answer:
        """``GET /drivers``."""
        return self.get("/drivers")

    def groups(self) -> Answer:
        """``GET /groups``."""
        return self.get("/groups")

    def notification_types(self) -> Answer:
        """``GET /notifications/types``: event types the server knows."""
        return self.get("/notifications/types")

    def statistics(self, window: Window) -> Answer:
        """``GET /statistics``, for administrators."""
        return self.get("/statistics", _range(window))

    def check(self) -> str:
        """Try the connection step by step.

        Returns:
            What works.

        Raises:
            FleetlakeError: what is wrong, and how to mend it.
        """
        version = self.server().get("version")
        if not version:
            raise MalformedAnswer(
                "the server answers, but not as Traccar does", where="GET /server", remedy="check base_url: it ends in /api"
            )
        self.login()
        count = len(rows(self.devices().body))
        return f"Traccar {version} accepts the login by {self.config.way.value}; {count} devices are visible"

    def close(self) -> None:
        """Give back sockets. The session at the vendor ends by itself; other processes may share the login."""
        self._session.close()

    def _report(self, name: str, device_id: str, window: Window, more: Mapping[str, Any] | None = None) -> Answer:
        span = window.end - _MILLISECOND - window.start
        if name in _FAST_REPORTS and span > self.config.longest_report:
            raise ConfigError(
                f"a {name} report of {window} is longer than {self.config.fast_report_s} s: the server would rebuild it from"
                " stored events, with other bounds and no top speed",
                where=name,
                remedy="cut the window at UTC days",
            )
        return self.get(f"/reports/{name}", {"deviceId": device_id, **_range(window), **(more or {})})


# --- what answers mean --------------------------------------------------------------------------------------------------


def judge_login(answer: Answer) -> FleetlakeError | None:
    """An answer to a login: 5.12 says 400 to a wrong password or token, 4.12 says 404 to a wrong token.

    An unknown address is a 404 too, but not labelled as JSON.
    """
    is_refusal = answer.status in (400, 401) or (answer.status == 404 and "json" in answer.content_type)
    if not is_refusal or answer.is_html:
        return judge_call(answer)
    if answer.headers.get("www-authenticate", "").upper().startswith("TOTP"):
        return CredentialsRejected(
            "the account wants a one-time code", where=answer.request, remedy="use the account's token instead"
        )
    words = answer.first_line()
    # Java's text about a null pointer is how 5.12 says "wrong password": it would only confuse.
    reason = f": {words}" if words and "NullPointer" not in words and "Cannot invoke" not in words else ""
    return CredentialsRejected(
        f"the vendor does not accept the login (HTTP {answer.status}){reason}",
        where=answer.request,
        remedy="check token, or e-mail and password; the user may also be disabled or expired",
    )


def judge_anonymous(answer: Answer) -> FleetlakeError | None:
    """An answer to a request that was sent without login."""
    nobody = answer.status == 404 and answer.request == "GET /session" and "json" in answer.content_type
    if answer.status == 401 or nobody:
        return CredentialsRejected(
            f"nobody is logged in (HTTP {answer.status})", where=answer.request, remedy="log in before this call"
        )
    return judge_call(answer)


def judge_call(answer: Answer) -> FleetlakeError | None:
    """An answer to a call with a session. Error bodies are plain text, whatever their label."""
    words = answer.first_line()
    if answer.is_html and answer.status != 404:
        return judge(answer)
    if answer.status == 401:
        return SessionExpired("the vendor ended the session (HTTP 401)", where=answer.request, remedy="log in again")
    if answer.status == 400:
        return _refusal(words, answer)
    if answer.status == 404:
        return _not_found(words, answer)
    return judge(answer)


def _refusal(words: str, answer: Answer) -> FleetlakeError:
    """A 400: missing rights and mistakes look alike, only the text tells."""
    message = f"the vendor refused the request (HTTP 400): {words}"
    if "SecurityException" in words or "ccess denied" in words or "access required" in words:
        if words.startswith("Device") or "deviceId=" in answer.request or "/devices/" in answer.request:
            return ScopeUnavailable(
                message,
                where=answer.request,
                remedy="the device is not in this account (any more); ask its owner to share it",
            )
        return AccessDenied(message, where=answer.request, remedy="ask the owner of the account for the right")
    remedy = "cut the window" if "period exceeds" in words else "mend the parameter"
    return ConfigError(message, where=answer.request, remedy=remedy)


def _not_found(words: str, answer: Answer) -> FleetlakeError | None:
    if "DateTimeParseException" in words or "could not be parsed" in words:
        return ConfigError(
            f"the vendor cannot read a time (HTTP 404): {words}", where=answer.request, remedy="ISO 8601 with zone"
        )
    is_entity = any(f"/{kind}/" in answer.request for kind in ("devices", "events"))
    if is_entity and ("json" in answer.content_type or "NotFoundException" not in words):
        return ScopeUnavailable(f"the vendor has no such object (HTTP 404): {words}", where=answer.request)
    if answer.is_html:
        return judge(answer)
    return ConfigError(
        f"the vendor does not know this address (HTTP 404): {words}",
        where=answer.request,
        remedy="check the path of base_url: it ends in /api",
    )


def _range(window: Window) -> dict[str, str]:
    """Both ends of the server's ranges are included; ours are half-open, and the server counts in milliseconds."""
    return {"from": to_vendor_time(window.start), "to": to_vendor_time(window.end - _MILLISECOND)}


def _object(answer: Answer) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        problem = answer.first_line(80)
    raise MalformedAnswer(f"the answer is no JSON object: {problem!r}", where=answer.request, remedy="check base_url")
