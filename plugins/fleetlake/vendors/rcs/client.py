"""Calls of the RCS Third-Party API, each one request, and what its errors mean."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec

from fleetlake.errors import (
    AccessDenied,
    ConfigError,
    CredentialsRejected,
    FleetlakeError,
    MalformedAnswer,
    ScopeUnavailable,
    UnsupportedVersion,
    VendorUnavailable,
)
from fleetlake.http.answers import Answer, judge
from fleetlake.http.rate_gate import LocalGate, RateGate
from fleetlake.http.session import VendorSession
from fleetlake.reading import JobState, JobStatus, Lane, Page
from fleetlake.vendors.rcs import decode
from fleetlake.vendors.rcs.config import RcsConfig
from fleetlake.window import Window

_REPORTS = "/vehicle-health/reports"
_SUCCEEDED, _FAILED = "SUCCEEDED", "FAILED"


class Root(msgspec.Struct):
    """Answer of ``GET /``: who serves, and the newest minor of each supported major version (RCS-02)."""

    name: str = ""
    versions: list[str] = []


class RcsClient:
    """One RCS account. Use it from one thread at a time; ``close`` may come from any.

    Args:
        config: address, certificate, open questions.
        gate: rate gate of the account, shared by all processes; ``None`` = one of this process.
        lane: whose requests these are.
    """

    def __init__(self, config: RcsConfig, *, gate: RateGate | None = None, lane: Lane = Lane.SCHEDULED) -> None:
        self.config = config
        self._session = VendorSession(
            config.session_options(),
            gate=gate or LocalGate(config.rate_per_s, burst=config.burst),
            lane=lane,
            judge=judge_fleet,
        )
        self._session.set_header("X-API-Version", config.api_version)

    def root(self) -> Root:
        """``GET /``: anonymous and without version."""
        answer = self._session.get("/", headers={"X-API-Version": None})
        try:
            root = msgspec.json.decode(answer.body, type=Root)
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise MalformedAnswer(
                f"this is not RCS: {answer.first_line(80)!r}", where=answer.request, remedy="check base_url"
            ) from None
        return root

    def parameters(self) -> dict[str, Any]:
        """``GET /parameters``: protocol parameters; needs certificate and version."""
        answer = self._session.get("/parameters")
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise MalformedAnswer("the parameters are no JSON object", where=answer.request) from None

    def vehicles(self) -> Answer:
        """``GET /vehicles``: the account's connected vehicles."""
        return self._session.get("/vehicles")

    def vehicle(self, vehicle_id: str) -> Answer:
        """``GET /vehicles/{id}``.

        Raises:
            ScopeUnavailable: it does not exist for this account, or may not be read.
        """
        return self._scoped(vehicle_id, f"/vehicles/{_segment(vehicle_id)}")

    def telemetry(
        self,
        vehicle_id: str,
        *,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        min_revision: str | None = None,
        take: int | None = None,
    ) -> Answer:
        """``GET /telemetry/history/{vehicleId}``: one page of cold telemetry, in order of receipt.

        Args:
            vehicle_id: vendor id.
            start: first moment.
            end: last moment, rounded up to the second.
            min_revision: nothing older than this; whether itself included is open (RCS-01).
            take: rows at most.
        """
        query = {
            "from": start and decode.to_vendor_time(start),
            "to": end and decode.to_vendor_time(_round_up(end)),
            "take": take or self.config.take,
            self.config.min_revision_param: min_revision,
        }
        return self._scoped(vehicle_id, f"/telemetry/history/{_segment(vehicle_id)}", query)

    def health_reports(self, vehicle_id: str, start: dt.datetime, last: dt.datetime) -> Answer:
        """``GET /vehicles/{id}/health-reports``: reports of one vehicle with their trouble codes.

        Args:
            vehicle_id: vendor id.
            start: first second.
            last: last second, included; at most 7 calendar days in all.
        """
        query = {**_range(start, last), "severity": self.config.severity}
        return self._scoped(vehicle_id, f"/vehicles/{_segment(vehicle_id)}/health-reports", query)

    def users(self, window: Window) -> Answer:
        """``GET /users``: app users by the time of their registration. Names of the parameters are an assumption."""
        return self._session.get("/users", _range(window.start, _round_up(window.end)))

    def client_notifications(self, window: Window) -> Answer:
        """``GET /client-notifications``: offers already sent, by planned time. Names of the parameters are an assumption."""
        return self._session.get("/client-notifications", _range(window.start, _round_up(window.end)))

    def submit_overview(self, start: dt.datetime, last: dt.datetime, about_to_send: Callable[[], None] | None = None) -> str:
        """``POST /vehicle-health/reports``: start an overview of the fleet; returns the task's token.

        One request is sent, whatever happens: when its outcome is unclear the error says so.

        Args:
            start: first second.
            last: last second, included.
            about_to_send: called immediately before; when it raises nothing is sent.
        """
        answer = self._session.request("POST", _REPORTS, _range(start, last), about_to_send=about_to_send)
        # The location is relative to the host: resolving it would lose a path prefix. Its last segment is the token.
        path = urlsplit(answer.headers.get("location", "")).path.rstrip("/")
        token = unquote(path.rsplit("/", 1)[-1])
        if not token:
            raise MalformedAnswer(
                f"the report was accepted (HTTP {answer.status}) but no token came back",
                where=answer.request,
                remedy="the report cannot be found again; tell the vendor if this lasts",
            )
        return token

    def poll_overview(self, token: str) -> JobStatus:
        """``GET /vehicle-health/reports/{token}``: ask once. A status we do not know means "still running" (RCS-03)."""
        answer = self._session.get(f"{_REPORTS}/{_segment(token)}", judge=_judge_poll)
        if answer.status == 404:
            return JobStatus(JobState.LOST, "the vendor does not know the report (any more)")
        answered = decode.overview(answer.body)
        status = answered.task.status.upper()
        if status == _FAILED:
            error = answered.task.error
            words = f"{error.get('code', '')} {error.get('message') or ''}" if isinstance(error, Mapping) else error or ""
            return JobStatus(JobState.FAILED, str(words).strip())
        if status != _SUCCEEDED:
            return JobStatus(JobState.RUNNING, answered.task.status)
        if answered.report is None:
            raise MalformedAnswer("the report is said to be ready but is missing", where=answer.request)
        return JobStatus(JobState.SUCCEEDED, "", page_of(answer, rows=len(decode.overview_rows(answer.body))))

    def check(self) -> str:
        """Try the connection step by step.

        Returns:
            What works.

        Raises:
            FleetlakeError: what is wrong, and how to mend it.
        """
        try:
            root = self.root()
        except VendorUnavailable as error:
            if self.config.cert:
                # In TLS 1.3 a refusal comes after the handshake, and some servers hang up without a word.
                error.remedy = (
                    f"{error.remedy}; a server may also hang up on a certificate it does not trust: check cert and key"
                )
            raise
        if not root.versions:
            raise MalformedAnswer("the server names no API version: is this RCS?", where="GET /", remedy="check base_url")
        if not supports(root.versions, self.config.api_version):
            raise UnsupportedVersion(
                f"the server supports {', '.join(root.versions)}, not {self.config.api_version}",
                where="api_version",
                remedy="set api_version to a listed version or an older minor of it",
            )
        if not self.config.cert:
            raise CredentialsRejected(
                "no client certificate is set; anonymous callers see only the version list",
                where="cert",
                remedy="set cert and key to the PEM files that the vendor issued",
            )
        self.parameters()
        return f"{root.name or 'RCS'} answers in version {self.config.api_version}; the client certificate is accepted"

    def close(self) -> None:
        """Give back sockets."""
        self._session.close()

    def _scoped(self, vehicle_id: str, path: str, query: Mapping[str, Any] | None = None) -> Answer:
        return self._session.get(path, query or {}, judge=functools.partial(judge_vehicle, vehicle_id))


def supports(listed: list[str], wanted: str) -> bool:
    """Whether a server that lists these versions speaks ``wanted``.

    ``X.Y`` stands for every ``X.Z`` with ``Z <= Y``; below major 1 nothing is compatible, only the version itself counts.
    """
    major, _, minor = wanted.partition(".")
    for version in listed:
        its_major, _, its_minor = version.partition(".")
        if version == wanted:
            return True
        if its_major == major != "0" and its_minor.isdigit() and minor.isdigit() and int(minor) <= int(its_minor):
            return True
    return False


def page_of(answer: Answer, *, rows: int, cursor: str | None = None, is_last: bool = True) -> Page:
    """The answer as a raw page."""
    return Page(
        body=answer.body,
        request=answer.request,
        status=answer.status,
        content_type=answer.content_type,
        fetched_at=answer.fetched_at,
        rows=rows,
        cursor=cursor,
        is_last=is_last,
    )


def judge_fleet(answer: Answer) -> FleetlakeError | None:
    """What an answer about the whole account means."""
    if answer.status == 400 and (error := decode.error_of(answer.body)):
        return _refusal(error, answer)
    if answer.status == 401:
        return CredentialsRejected(
            "the vendor does not accept the client certificate (HTTP 401)",
            where=answer.request,
            remedy="set cert and key to the PEM files that the vendor issued, and check that they are still valid",
        )
    if answer.status == 404 and not answer.is_html:
        return ConfigError(
            "the vendor does not know this address (HTTP 404)",
            where=answer.request,
            remedy="check the path of base_url; the vendor may also have closed this operation for the account",
        )
    return judge(answer)


def judge_vehicle(vehicle_id: str, answer: Answer) -> FleetlakeError | None:
    """What an answer about one vehicle means: its absence or missing rights concern it alone."""
    if answer.status in (403, 404) and not answer.is_html:
        what = "is not bound to this account, or unknown" if answer.status == 404 else "may not be read: a right is missing"
        return ScopeUnavailable(
            f"vehicle {vehicle_id} {what} (HTTP {answer.status})",
            where=answer.request,
            remedy="ask the vendor to bind the vehicle and to grant the operation",
        )
    return judge_fleet(answer)


def _judge_poll(answer: Answer) -> FleetlakeError | None:
    return None if answer.status == 404 and not answer.is_html else judge_fleet(answer)


def _refusal(error: Mapping[str, Any], answer: Answer) -> FleetlakeError:
    code, source = str(error.get("code", "")).upper(), error.get("source")
    message = f"the vendor refused the request: {code} {error.get('message') or ''}".rstrip()
    if source:
        message += f" ({source})"
    if code == "UNSUPPORTED_VERSION" or (code == "VALUE_REQUIRED" and str(source).lower() == "x-api-version"):
        return UnsupportedVersion(
            message, where=answer.request, remedy="set api_version to one that GET / lists; run the connection test"
        )
    if code == "ILLEGAL_VEHICLE_ID":
        return ScopeUnavailable(message, where=answer.request, remedy="ask the vendor to bind the vehicle")
    if code == "ACCESS_DENIED":
        return AccessDenied(message, where=answer.request, remedy="ask the vendor for the right")
    return ConfigError(message, where=answer.request, remedy="mend the parameter named")


def _range(start: dt.datetime, last: dt.datetime) -> dict[str, str]:
    return {"from": decode.to_vendor_time(start), "to": decode.to_vendor_time(last)}


def _round_up(moment: dt.datetime) -> dt.datetime:
    return moment if moment.microsecond == 0 else moment.replace(microsecond=0) + dt.timedelta(seconds=1)


def _segment(text: str) -> str:
    """One path segment: whatever it holds stays inside it."""
    return quote(text, safe="")
