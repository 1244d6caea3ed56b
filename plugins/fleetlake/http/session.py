"""One client for all vendors: a thin layer over ``requests`` that answers wholly or raises an error of ``errors.py``."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.utils
import tenacity
import urllib3.exceptions

from fleetlake.errors import ConfigError, FleetlakeError, RateLimited, Retriable, VendorUnavailable
from fleetlake.http import meter
from fleetlake.http.answers import Answer, judge
from fleetlake.http.rate_gate import LocalGate, RateGate
from fleetlake.http.redaction import Redactor, guard_loggers, release_loggers
from fleetlake.http.transport import TlsAdapter, TlsOptions, transport_error
from fleetlake.reading import Lane

_log = logging.getLogger(__name__)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_CHUNK = 64 * 1024

Query = Mapping[str, Any] | Sequence[tuple[str, Any]]
Judge = Callable[[Answer], FleetlakeError | None]


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """How to talk to one base address.

    Attributes:
        base_url: scheme, host and path prefix; paths of requests are appended to it.
        tls: certificates and lowest TLS version.
        connect_timeout_s, read_timeout_s: time to connect, and between two pieces of an answer.
        answer_timeout_s: time for one whole answer, however steadily it drips.
        max_attempts: sends of one safe request at most.
        retry_budget_s: no new attempt starts later than this after the first.
        backoff_s, max_backoff_s: first and longest pause between attempts; jitter shortens it by up to half.
        max_pause_s: a longer pause asked for (``Retry-After``, rate gate) is not waited for here: the error is raised with
            its ``retry_after``, so that no worker is held.
        max_body_bytes: a longer answer (decompressed) is refused.
    """

    base_url: str
    tls: TlsOptions = field(default_factory=TlsOptions)
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    answer_timeout_s: float = 300.0
    max_attempts: int = 5
    retry_budget_s: float = 120.0
    backoff_s: float = 0.5
    max_backoff_s: float = 30.0
    max_pause_s: float = 60.0
    max_body_bytes: int = 512 * 1024 * 1024


class VendorSession:
    """Sends requests to one vendor account.

    Every send, retries included, first passes the rate gate; a 429 is reported to the gate, so that everybody waits. Only
    safe requests (GET, HEAD, OPTIONS) and those marked ``repeatable`` are repeated. Cookies are kept. Redirects are not
    followed: they would carry credentials to another address.

    Use it from one thread at a time. ``close`` may be called from any thread: it ends pauses at once and makes further
    sends fail.

    Args:
        options: address, TLS, time-outs, retries.
        gate: rate gate of the account; ``None`` = no limit of its own.
        lane: whose requests these are.
        redactor: masks this account's secrets.
        judge: maps an answer to an error or ``None``; the default is the table in ``answers``.
    """

    def __init__(
        self,
        options: SessionOptions,
        *,
        gate: RateGate | None = None,
        lane: Lane = Lane.SCHEDULED,
        redactor: Redactor | None = None,
        judge: Judge = judge,
    ) -> None:
        parts = urlsplit(options.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(
                f"{(redactor or Redactor())(options.base_url)!r} is no base URL",
                where="base_url",
                remedy="write https://host[:port][/path], without query",
            )
        if parts.username or parts.password:
            raise ConfigError("the base URL holds credentials", where="base_url", remedy="put them into their own fields")
        self.options = options
        self.base_url = options.base_url.rstrip("/")
        self.prefix = parts.path.rstrip("/")
        self.redactor = redactor or Redactor()
        self._gate: RateGate = gate or LocalGate(1e6, burst=1e6)
        self._lane = lane
        self._judge = judge
        self._closed = threading.Event()
        self._http = requests.Session()
        # The environment's proxies are honoured, but not its .netrc or CA bundle: they would replace ours silently.
        self._http.trust_env = False
        self._http.proxies = dict(requests.utils.get_environ_proxies(self.base_url))
        self._http.headers.update({"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "fleetlake"})
        if parts.scheme == "https":
            adapter = TlsAdapter(options.tls)
            self._http.mount("https://", adapter)
            self._http.verify = options.tls.ca or True
        self._guard = guard_loggers(self.redactor)

    @property
    def headers(self) -> dict[str, str]:
        """Headers sent with every request."""
        return {key: str(value) for key, value in self._http.headers.items()}

    def set_header(self, name: str, value: str) -> None:
        """Send a header with every request from now on."""
        self._http.headers[name] = value

    def forget_cookies(self) -> None:
        """Drop the session at the vendor on our side."""
        self._http.cookies.clear()

    def get(self, path: str, query: Query = (), **more: Any) -> Answer:
        """``request("GET", …)``."""
        return self.request("GET", path, query, **more)

    def request(
        self,
        method: str,
        path: str,
        query: Query = (),
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        repeatable: bool = False,
        judge: Judge | None = None,
        about_to_send: Callable[[], None] | None = None,
    ) -> Answer:
        """Send a request and return the whole answer.

        Args:
            method: HTTP method.
            path: below the base URL, starting with a slash.
            query: parameters; those that are ``None`` are left out, lists are repeated.
            headers: for this request only.
            form: body as a form.
            json: body as JSON.
            repeatable: this request may be repeated although its method is not safe.
            judge: instead of the session's.
            about_to_send: called when the rate gate has been passed, immediately before the socket is used. When it raises
                nothing is sent.

        Raises:
            FleetlakeError: what the judge says, or VendorUnavailable, ConfigError, CredentialsRejected for transport
                failures. An unsafe request is sent exactly once.
        """
        pairs = [
            (key, value) for key, value in (query.items() if isinstance(query, Mapping) else query) if value is not None
        ]
        prepared = self._http.prepare_request(
            requests.Request(method, self.base_url + path, params=pairs, headers=headers, data=form, json=json)
        )
        may_repeat = repeatable or method in _SAFE
        verdict = judge or self._judge
        if not may_repeat:
            return self._send(prepared, verdict, once=True, about_to_send=about_to_send)
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._is_worth_repeating),
            stop=tenacity.stop_after_attempt(self.options.max_attempts)
            | tenacity.stop_before_delay(self.options.retry_budget_s),
            wait=self._pause,
            sleep=self._sleep,
            before_sleep=self._report,
            reraise=True,
        )
        answer: Answer = attempts(self._send, prepared, verdict, about_to_send=about_to_send)
        return answer

    def close(self) -> None:
        """Give back sockets; may be called twice and from any thread."""
        self._closed.set()
        self._http.close()
        release_loggers(self._guard)

    def _send(
        self,
        prepared: requests.PreparedRequest,
        verdict: Judge,
        *,
        once: bool = False,
        about_to_send: Callable[[], None] | None = None,
    ) -> Answer:
        """One send: gate, answer, verdict."""
        if self._closed.is_set():
            raise ConfigError("the session is closed", where=self._name(prepared), remedy="open a new one")
        asked = time.monotonic()
        self._gate.acquire(self._lane)
        if about_to_send is not None:
            about_to_send()
        sent = time.monotonic()
        answer, error = self._exchange(prepared)
        self._note(sent - asked, time.monotonic() - sent, len(answer.body) if answer is not None else 0)
        if answer is not None:
            error = verdict(answer)
        if isinstance(error, RateLimited):
            self._gate.penalise(error.retry_after if error.retry_after is not None else self.options.backoff_s)
        if error is not None:
            if once and isinstance(error, VendorUnavailable) and error.was_sent:
                error.message += "; whether the request was carried out is unclear, it was not repeated"
            # Vendors echo what they were sent.
            error.message = self.redactor(error.message)
            error.args = (error.message,)
            raise error
        assert answer is not None  # noqa: S101 - either an answer or an error
        return answer

    def _note(self, waited_s: float, answer_s: float, size: int) -> None:
        if (open_meter := meter.current()) is not None:
            open_meter.requests += 1
            open_meter.bytes += size
            open_meter.answer_s += answer_s
            open_meter.waited_s += waited_s
            open_meter.backfill_rate_per_s, open_meter.burst = self._gate.rate(Lane.BACKFILL), self._gate.burst

    def _exchange(self, prepared: requests.PreparedRequest) -> tuple[Answer | None, FleetlakeError | None]:
        """Send and read. Errors are returned, not raised: a raised one would carry the original, secrets and all."""
        try:
            with self._http.send(
                prepared,
                stream=True,
                allow_redirects=False,
                timeout=(self.options.connect_timeout_s, self.options.read_timeout_s),
            ) as response:
                body = self._read(response, time.monotonic() + self.options.answer_timeout_s)
                return Answer(
                    status=response.status_code,
                    headers={key.lower(): value for key, value in response.headers.items()},
                    body=body,
                    request=self._name(prepared),
                    fetched_at=dt.datetime.now(dt.UTC),
                ), None
        except FleetlakeError as error:
            error.where = self._name(prepared)
            return None, error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            return None, transport_error(error, self._name(prepared), self.base_url, self.redactor)

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        """The whole body, decompressed. A body that ends early raises, never comes short."""
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise VendorUnavailable(f"the answer is compressed as {encoding!r}, asked was gzip")
        unzip = zlib.decompressobj(31) if encoding in ("gzip", "x-gzip") else None
        headers = {name.lower() for name in response.headers}
        pieces: list[bytes] = []
        size = 0
        limit = self.options.max_body_bytes
        # `read1` returns what is there; `read` would wait for a full piece and never look at the clock.
        while raw := response.raw.read1(_CHUNK, decode_content=False):
            piece = raw if unzip is None else unzip_piece(unzip, raw, limit - size + 1)
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise ConfigError(f"the answer is larger than {limit} bytes", remedy="ask for less at once")
            if time.monotonic() > deadline:
                raise VendorUnavailable(f"the answer was not whole after {self.options.answer_timeout_s:.0f} s")
        if unzip is not None and pieces and (not unzip.eof or unzip.unused_data):
            raise VendorUnavailable("the compressed answer does not end where it should")
        if not pieces and response.status_code == 200 and not {"content-length", "transfer-encoding"} & headers:
            # Without a stated length the end of the connection ends the answer. JSON shows itself whether it is whole,
            # nothing at all does not.
            raise VendorUnavailable("the connection was lost before the answer began")
        return b"".join(pieces)

    def _name(self, prepared: requests.PreparedRequest) -> str:
        path = (prepared.path_url or "/").removeprefix(self.prefix)
        return self.redactor(f"{prepared.method} {path if path.startswith('/') else '/' + path}")

    def _is_worth_repeating(self, error: BaseException) -> bool:
        return (
            isinstance(error, VendorUnavailable | RateLimited)
            and (error.retry_after or 0.0) <= self.options.max_pause_s
            and not self._closed.is_set()
        )

    def _pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Retriable) and error.retry_after is not None:
            return error.retry_after
        longest = min(self.options.backoff_s * 2 ** (state.attempt_number - 1), self.options.max_backoff_s)
        return tenacity.wait_random(longest / 2, longest)(state)

    def _sleep(self, seconds: float) -> None:
        self._closed.wait(seconds)

    def _report(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        _log.warning("attempt %d failed, next in %.1f s: %s", state.attempt_number, state.upcoming_sleep, error)


def unzip_piece(unzip: Any, raw: bytes, room: int) -> bytes:
    """Decompress one piece into at most ``room`` bytes, so that a small answer cannot fill the memory."""
    try:
        data: bytes = unzip.decompress(raw, max(room, 1))
    except zlib.error as error:
        problem = str(error)
    else:
        return data
    raise VendorUnavailable(f"the compressed answer is broken: {problem}")
