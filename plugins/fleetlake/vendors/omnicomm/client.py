"""Calls of the Omnicomm interface. Times are whole seconds of UTC, but milliseconds in two places, named here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from fleetlake.errors import ConfigError, SessionExpired
from fleetlake.http.answers import Answer
from fleetlake.http.rate_gate import LocalGate, RateGate
from fleetlake.http.session import Judge, Query, VendorSession
from fleetlake.http.tokens import TokenStore
from fleetlake.reading import Lane
from fleetlake.vendors.omnicomm.config import MAX_DAYS, MAX_VEHICLES, OmnicommConfig
from fleetlake.vendors.omnicomm.decode import split
from fleetlake.vendors.omnicomm.login import Login, require_litres
from fleetlake.vendors.omnicomm.verdicts import Verdicts
from fleetlake.window import DAY, Window

REPORTS = "/ls/api/v1/reports"


class OmnicommClient:
    """One Omnicomm account. It logs in when first needed. Use it from one thread at a time; ``close`` may come from any.

    Args:
        config: address and credentials.
        gate: rate gate of the user, shared by all processes; ``None`` = one of this process.
        tokens: the user's token, shared by all processes; ``None`` = one of this process.
        lane: whose requests these are.
    """

    def __init__(
        self,
        config: OmnicommConfig,
        *,
        gate: RateGate | None = None,
        tokens: TokenStore | None = None,
        lane: Lane = Lane.SCHEDULED,
    ) -> None:
        self.config = config
        self._verdicts = Verdicts(config.blocks, config.block_s, config.locked_interval_retry_s)
        self._session = VendorSession(
            config.session_options(),
            gate=gate or LocalGate(config.rate_per_s, burst=config.burst),
            lane=lane,
            redactor=config.redactor(),
        )
        self._login = Login(config, self._session, self._verdicts, tokens)
        self._ended: SessionExpired | None = None

    def request(self, method: str, path: str, query: Query = (), *, judge: Judge | None = None, **more: Any) -> Answer:
        """Send any reading request; the named calls below are made of this.

        A token that the vendor refuses is renewed once, and the request is repeated once.

        Args:
            method: HTTP method; a POST of this interface's reports only reads and is repeated like a GET.
            path: below the base URL.
            query: parameters; ``None`` is left out.
            judge: what the answer means; default: an answer about the whole account.
            more: see ``VendorSession.request``.

        Raises:
            FleetlakeError: what the answer means.
        """

        def send() -> Answer:
            headers = {"Authorization": f"JWT {self._login.token().access}"}
            return self._session.request(
                method, path, query, headers=headers, judge=judge or self._verdicts.fleet, repeatable=True, **more
            )

        if self._ended is None:
            try:
                return send()
            except SessionExpired:
                pass
            self._login.renew()
            try:
                return send()
            except SessionExpired as error:
                # Never in a loop: a new token that does not help will not help the next time either.
                self._ended = error
        raise SessionExpired(
            f"the vendor does not accept a new token either: {self._ended.message}",
            where=self._ended.where,
            remedy="run the task again; if it lasts, ask the vendor whether the user is blocked",
        )

    # --- calls ----------------------------------------------------------------------------------------------------------

    def tree(self) -> Answer:
        """``GET`` the vehicle tree: all groups and their vehicles, unpaged; takes over 30 s for a large fleet."""
        return self.request("GET", self.config.tree_path)

    def profile(self, terminal: str) -> Answer:
        """``GET /ls/api/v1/profile/vehicle/{id}``."""
        return self.request("GET", f"/ls/api/v1/profile/vehicle/{_id(terminal)}", judge=self._verdicts.vehicle)

    def state(self, terminal: str) -> Answer:
        """``GET /ls/api/v1/vehicles/{id}/state``; its fuel is in litres."""
        self._require_litres("states")
        return self.request("GET", f"/ls/api/v1/vehicles/{_id(terminal)}/state", judge=self._verdicts.vehicle)

    def statistics(self, terminals: Sequence[str], window: Window) -> Answer:
        """``GET /ls/api/v1/reports/statistics``: totals per vehicle. A refusal is returned as it came."""
        if "fuel" in self.config.groups:
            self._require_litres("statistics")
        ids = ",".join(str(number) for number in _batch(terminals, window))
        query = {"vehicles": f"[{ids}]", "dataGroups": f"[{','.join(self.config.groups)}]", **_seconds(window)}
        return self.request("GET", f"{REPORTS}/statistics", query, judge=self._verdicts.batch)

    def consolidated(self, terminals: Sequence[str], window: Window) -> Answer:
        """``POST /ls/api/v1/reports/consolidatedReport``: a row per vehicle and UTC day. A refusal is returned as it came."""
        self._require_litres("consolidated")
        body = {"vehicleIds": _batch(terminals, window), **_seconds(window)}
        return self.request("POST", f"{REPORTS}/consolidatedReport", json=body, judge=self._verdicts.batch)

    def geofence_visits(self, terminals: Sequence[str], window: Window) -> Answer:
        """``POST /ls/api/v1/reports/geozones``: visits of all geofences. A refusal is returned as it came."""
        self._require_litres("geofence_visits")
        body = {
            "vehicleIds": _batch(terminals, window),
            "geozonesIds": [],
            **_seconds(window),
            "minDurationTime": self.config.min_visit,
            "outsideGeozones": self.config.outside_geofences,
        }
        return self.request("POST", f"{REPORTS}/geozones", json=body, judge=self._verdicts.batch)

    def track(self, terminal: str, window: Window) -> Answer:
        """``GET /ls/api/v1/reports/track/{id}``."""
        return self.request("GET", f"{REPORTS}/track/{_id(terminal)}", _seconds(window), judge=self._verdicts.vehicle)

    def events(self, terminal: str, window: Window) -> Answer:
        """``GET /ls/api/v1/reports/events/{id}``: the id is the vehicle's (OMN-07)."""
        return self.request("GET", f"{REPORTS}/events/{_id(terminal)}", _seconds(window), judge=self._verdicts.vehicle)

    def fuel_level(self, terminal: str, window: Window) -> Answer:
        """``GET /ls/api/v1/reports/fuellevel``: one vehicle, named ``vehicleID`` here."""
        self._require_litres("fuel_level")
        query = {"vehicleID": _id(terminal), **_seconds(window)}
        return self.request("GET", f"{REPORTS}/fuellevel", query, judge=self._verdicts.vehicle)

    def geofences(self, page: int) -> Answer:
        """``GET /api/service/geozones/geozones``: a page of the geofences, counted from 1."""
        query = {"page": page, "pageSize": self.config.page_size}
        return self.request("GET", "/api/service/geozones/geozones", query)

    def journal(self, terminal: str, window: Window) -> Answer:
        """``POST /ls/api/v1/click/log``: raw packets; seconds, and ``terminalId``."""
        body = {"terminalId": _id(terminal), "dateFrom": _second(window.start), "dateTo": _second(window.end)}
        return self.request("POST", "/ls/api/v1/click/log", json=body, judge=self._verdicts.vehicle)

    def journal_additional(self, terminal: str, window: Window) -> Answer:
        """``POST /ls/api/v1/click/log/additional``: their parameters; **milliseconds**, and ``vehicleId``."""
        start, end = (_second(moment) * 1000 for moment in (window.start, window.end))
        body = {"vehicleId": _id(terminal), "dateFrom": start, "dateTo": end}
        return self.request("POST", "/ls/api/v1/click/log/additional", json=body, judge=self._verdicts.vehicle)

    def unverified(self, feed: str) -> Answer:
        """Lists whose answers nobody has seen (OMN-08): ``users``, ``drivers``, ``video_profiles``, ``video_tasks``.

        Raises:
            ConfigError: they are not switched on.
        """
        if not self.config.unverified_endpoints:
            raise ConfigError(
                f"what {feed!r} answers is not known", where="omnicomm", remedy="set unverified_endpoints to try it"
            )
        path = {
            "users": "/ls/api/v1/users",
            "drivers": "/ls/api/v1/drivers",
            "video_profiles": "/service/ovms/api/profiles",
            "video_tasks": self.config.video_tasks_path,
        }[feed]
        return self.request("GET", path)

    def check(self) -> str:
        """Try the connection step by step.

        Returns:
            What works.

        Raises:
            FleetlakeError: what is wrong, and how to mend it.
        """
        self._login.renew()
        count = len(split("vehicle_tree", "omnicomm.vehicle", self.tree().body))
        return f"Omnicomm accepts the login; {count} vehicles are visible"

    def close(self) -> None:
        """Give back sockets. The token stays good: other processes share it."""
        self._session.close()

    def _require_litres(self, feed: str) -> None:
        require_litres(self._login.claims, feed)


def _batch(terminals: Sequence[str], window: Window) -> list[int]:
    if not 1 <= len(terminals) <= MAX_VEHICLES or window.end - window.start > MAX_DAYS * DAY:
        raise ConfigError(
            f"{len(terminals)} vehicles over {window} in one report",
            where="omnicomm",
            remedy=f"at most {MAX_VEHICLES} vehicles and {MAX_DAYS} days: beyond, the vendor's answer is unknown (OMN-04)",
        )
    return [_id(terminal) for terminal in terminals]


def _id(terminal: str) -> int:
    if not terminal.isdecimal():
        raise ConfigError(f"{terminal!r} is no terminal number", where="omnicomm", remedy="8 to 10 digits")
    return int(terminal)


def _seconds(window: Window) -> dict[str, int]:
    """Whether the end is included nobody says: rows at the end itself are left out when they are read."""
    return {"timeBegin": _second(window.start), "timeEnd": _second(window.end)}


def _second(moment: dt.datetime) -> int:
    return int(moment.timestamp())
