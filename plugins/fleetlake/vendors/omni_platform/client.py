"""Queries to the two GraphQL services: what is asked for, and what is left out when the vendor's schema lacks it."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from fleetlake.errors import AccessDenied, FleetlakeError
from fleetlake.http.answers import Answer
from fleetlake.http.rate_gate import LocalGate, RateGate
from fleetlake.http.session import VendorSession
from fleetlake.reading import Lane
from fleetlake.vendors.omni_platform.config import OmniConfig
from fleetlake.vendors.omni_platform.listings import EVENTS, KEPT_MARK, LISTS, Listing
from fleetlake.vendors.omni_platform.verdicts import SchemaRefused, judge_graphql, rejected
from fleetlake.window import Window

log = logging.getLogger(__name__)

_PROBE = """query Probe { __schema {
  queryType { fields { name args { name type { ...T } } } }
  types { name inputFields { name type { ...T } } }
} }
fragment T on __Type { name ofType { name ofType { name ofType { name } } } }"""


@dataclass(frozen=True)
class EventsShape:
    """How ``events`` wants to be asked (OPL-10).

    Attributes:
        date_type: type of a date filter's values; ``None`` = not known: literals are written into the query.
        in_order: ``pagination`` is a field of ``order``.
    """

    date_type: str | None
    in_order: bool


class OmniClient:
    """One OMNI Platform workspace. Use it from one thread at a time; ``close`` may come from any.

    Args:
        config: address and token.
        gate: rate gate of the account, shared by all processes; ``None`` = one of this process.
        lane: whose requests these are.
    """

    def __init__(self, config: OmniConfig, *, gate: RateGate | None = None, lane: Lane = Lane.SCHEDULED) -> None:
        self.config = config
        self._session = VendorSession(
            config.session_options(),
            gate=gate or LocalGate(config.rate_per_s, burst=config.burst),
            lane=lane,
            redactor=config.redactor(),
            judge=judge_graphql,
        )
        self._session.set_header("Token", config.token)
        self._shape: EventsShape | None = None
        self._dropped: dict[str, set[str]] = defaultdict(set)

    # --- calls ----------------------------------------------------------------------------------------------------------

    def events(self, window: Window, *, offset: int, limit: int) -> Answer:
        """Events detected in a window, by time, one page.

        Raises:
            FleetlakeError: what the answer means.
        """
        shape = self._events_shape()
        start, end = (moment.isoformat(timespec="microseconds") for moment in (window.start, window.end))
        variables: dict[str, Any] = {}
        declared = ""
        if shape.date_type is None:
            dates, paging = f'gte: "{start}", lt: "{end}"', f"offset: {offset}, limit: {limit}"
        else:
            declared = f"query Events($from: {shape.date_type}!, $to: {shape.date_type}!, $offset: Int!, $limit: Int!) "
            dates, paging = "gte: $from, lt: $to", "offset: $offset, limit: $limit"
            variables = {"from": start, "to": end, "offset": offset, "limit": limit}
        pagination = f"pagination: {{{paging}}}"
        order = f"order: {{date: ASC, {pagination}}}" if shape.in_order else f"order: {{date: ASC}}, {pagination}"
        arguments = f"filters: {{date: {{{dates}}}}}, {order}"
        return self._list(self.config.event_path, EVENTS, arguments, declared, variables)

    def listed(self, name: str, *, offset: int, limit: int) -> Answer:
        """One page of a list of ``LISTS``."""
        return self._list(self.config.platform_path, LISTS[name], f"limit: {limit}, offset: {offset}", "", {})

    def me(self) -> dict[str, Any]:
        """Who the token belongs to.

        Raises:
            CredentialsRejected: nobody.
        """
        # Not `accesses`: their ids are tokens.
        try:
            answer = self._ask(self.config.platform_path, "{ me { username workspaces { id } } }", verify=False)
        except AccessDenied as error:
            problem: FleetlakeError = error
        else:
            found: dict[str, Any] = msgspec.json.decode(answer.body)["data"]["me"] or {}
            return found
        raise rejected(problem)

    def activity_ttl(self) -> dt.timedelta | None:
        """How long the workspace keeps its history; ``None`` = it does not say, or for ever."""
        try:
            answer = self._ask(self.config.platform_path, "{ workspaceInfo { id config } }")
        except (AccessDenied, SchemaRefused) as error:
            log.info("the workspace does not tell how long it keeps events: %s", error)
            return None
        info = msgspec.json.decode(answer.body)["data"].get("workspaceInfo") or {}
        settings = info.get("config") if isinstance(info, dict) else None
        ttl = settings.get("activity_ttl") if isinstance(settings, dict) else None
        if isinstance(ttl, bool) or not isinstance(ttl, int | float) or ttl <= 0:
            return None
        try:
            return dt.timedelta(seconds=ttl * self.config.activity_ttl_unit_s)
        except OverflowError:
            return None

    def check(self) -> str:
        """Try the connection step by step.

        Returns:
            What works.

        Raises:
            FleetlakeError: what is wrong, and how to mend it.
        """
        user = self.me().get("username")
        self.listed("cameras", offset=0, limit=1)
        now = dt.datetime.now(dt.UTC)
        answer = self.events(Window(now - self.config.longest_window, now), offset=0, limit=1)
        total = msgspec.json.decode(answer.body)["data"]["events"]["totalCount"]
        return f"OMNI Platform answers: user {user}, {total} events in the last {self.config.window_minutes} minutes"

    def close(self) -> None:
        """Give back sockets."""
        self._session.close()

    # --- parts ----------------------------------------------------------------------------------------------------------

    def _events_shape(self) -> EventsShape:
        if self._shape is None:
            try:
                answer = self._ask(self.config.event_path, _PROBE)
            except (SchemaRefused, AccessDenied) as error:
                log.info("OPL-10: the schema may not be asked for, literals are used: %s", error)
                self._shape = EventsShape(None, self.config.pagination_in_order)
            else:
                self._shape = _shape_of(msgspec.json.decode(answer.body), self.config.pagination_in_order)
                log.info("OPL-10: %s", self._shape)
        return self._shape

    def _list(self, path: str, listing: Listing, arguments: str, declared: str, variables: Mapping[str, Any]) -> Answer:
        """Ask for a list; what the schema refuses is left out, from then on."""
        keeps = self.config.keeps_personal_data
        optional = {**listing.optional, **(listing.personal if keeps else {})}
        dropped = self._dropped[listing.query]
        while True:
            fields = [*listing.required, *(text for name, text in optional.items() if name not in dropped)]
            more = "".join(f", {name}: {text}" for name, text in listing.arguments.items() if name not in dropped)
            mark = f" {KEPT_MARK}: __typename" if keeps else ""
            query = (
                f"{declared}{{ {listing.query}({arguments}{more}) "
                f"{{ totalCount collectionItems {{ {' '.join(fields)} }} }}{mark} }}"
            )
            try:
                return self._ask(path, query, variables)
            except SchemaRefused as error:
                named = {name for name in (*optional, *listing.arguments) if re.search(rf"\b{name}\b", error.message)}
                if not named - dropped:
                    raise
                log.info("%s is asked for without %s: %s", listing.query, ", ".join(sorted(named - dropped)), error)
                dropped |= named

    def _ask(self, path: str, query: str, variables: Mapping[str, Any] | None = None, *, verify: bool = True) -> Answer:
        try:
            # A query changes nothing, so it may be sent again although it is a POST.
            return self._session.request(
                "POST", path, json={"query": query, "variables": dict(variables or {})}, repeatable=True
            )
        except AccessDenied as error:
            denied = error
        if verify:
            self.me()  # the same words stand for a bad token and for a missing right: a bad one is refused here, too
        raise denied


def _shape_of(body: Any, in_order: bool) -> EventsShape:
    """Read the probe's answer defensively: what it does not tell is taken as configured."""
    schema = (body.get("data") or {}).get("__schema") or {}
    inputs = {
        item["name"]: {one["name"]: _name(one["type"]) for one in item["inputFields"]}
        for item in schema.get("types") or ()
        if item.get("inputFields")
    }
    queries = (schema.get("queryType") or {}).get("fields") or ()
    arguments = {one["name"]: _name(one["type"]) for query in queries if query["name"] == "events" for one in query["args"]}
    filters = inputs.get(arguments.get("filters") or "", {})
    dates = inputs.get(filters.get("date") or "", {})
    order = inputs.get(arguments.get("order") or "", {})
    same = {dates.get("gte"), dates.get("lt")}
    date_type = same.pop() if len(same) == 1 else None
    if "pagination" in arguments:
        in_order = False
    elif "pagination" in order:
        in_order = True
    return EventsShape(date_type, in_order)


def _name(reference: Any) -> str | None:
    """Name of a type below any lists and non-nulls."""
    while reference:
        if reference.get("name"):
            return str(reference["name"])
        reference = reference.get("ofType")
    return None
