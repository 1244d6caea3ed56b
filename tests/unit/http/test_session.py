from __future__ import annotations

import datetime as dt
import email.utils
import gzip
import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fleetlake.errors import (
    AccessDenied,
    ConfigError,
    CredentialsRejected,
    FleetlakeError,
    RateLimited,
    StoreUnavailable,
    VendorUnavailable,
)
from fleetlake.http.redaction import Redactor
from fleetlake.http.session import SessionOptions, VendorSession
from fleetlake.reading import Lane

Open = Callable[..., VendorSession]


class CountingGate:
    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.penalties: list[float] = []

    def acquire(self, lane: Lane) -> None:
        self.lanes.append(lane)

    def penalise(self, seconds: float) -> None:
        self.penalties.append(seconds)


@pytest.fixture
def gate() -> CountingGate:
    return CountingGate()


@pytest.fixture
def open_session(server: Any, gate: CountingGate) -> Iterator[Open]:
    sessions = []

    def opened(path: str = "", **options: Any) -> VendorSession:
        more = {name: options.pop(name) for name in ("redactor", "judge", "lane") if name in options}
        options = {"backoff_s": 0.01, "max_backoff_s": 0.02, "read_timeout_s": 5, **options}
        session = VendorSession(
            SessionOptions(base_url=options.pop("base_url", server.url + path), **options), gate=gate, **more
        )
        sessions.append(session)
        return session

    yield opened
    for session in sessions:
        session.close()


def test_base_path_is_kept_and_parameters_are_repeated(server: Any, open_session: Open, make_reply: Any) -> None:
    server.will(make_reply(body=b"[1]"))
    answer = open_session("/api/v2/").get("/positions", {"id": [1, 2], "from": "2026-01-05T00:00:00Z", "x": None})
    assert server.asked[0].path == "/api/v2/positions?id=1&id=2&from=2026-01-05T00%3A00%3A00Z"
    assert answer.body == b"[1]"
    assert answer.request == "GET /positions?id=1&id=2&from=2026-01-05T00%3A00%3A00Z"
    assert answer.content_type == "application/json"
    assert answer.fetched_at.tzinfo is dt.UTC


def test_json_is_asked_for_compressed(server: Any, open_session: Open, make_reply: Any) -> None:
    body = b"[" + b"1," * 50_000 + b"1]"
    server.will(make_reply(body=gzip.compress(body), Content_Encoding="gzip"))
    assert open_session().get("/").body == body
    assert server.asked[0].headers["accept"] == "application/json"
    assert server.asked[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, ConfigError),
        (302, ConfigError),
        (400, ConfigError),
        (401, CredentialsRejected),
        (403, AccessDenied),
        (404, ConfigError),
        (405, ConfigError),
        (406, ConfigError),
        (410, AccessDenied),
        (413, ConfigError),
        (415, ConfigError),
        (418, ConfigError),
    ],
)
def test_a_refusal_is_never_repeated(
    status: int, error: type[FleetlakeError], server: Any, open_session: Open, make_reply: Any
) -> None:
    server.will(make_reply(status, b"no", Location="http://elsewhere.invalid/"))
    with pytest.raises(error, match=f"HTTP {status}"):
        open_session().get("/x")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_passing_failure_is_repeated_and_each_send_passes_the_gate(
    status: int, server: Any, open_session: Open, gate: CountingGate, make_reply: Any
) -> None:
    server.will(make_reply(status, b""), make_reply(status, b""), make_reply(body=b"[7]"))
    assert open_session(lane=Lane.BACKFILL).get("/x").body == b"[7]"
    assert gate.lanes == [Lane.BACKFILL] * 3


def test_attempts_are_bounded_and_the_last_error_is_raised(server: Any, open_session: Open, make_reply: Any) -> None:
    server.will(make_reply(503, b"maintenance"))
    with pytest.raises(VendorUnavailable, match=r"HTTP 503.*maintenance"):
        open_session(max_attempts=3).get("/x")
    assert len(server.asked) == 3


@pytest.mark.parametrize("header", ["0", "0.05", "date"])
def test_retry_after_is_obeyed_as_seconds_fraction_date_and_zero(
    header: str, server: Any, open_session: Open, gate: CountingGate, make_reply: Any
) -> None:
    if header == "date":
        header = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2), usegmt=True)
    server.will(make_reply(429, b"", Retry_After=header), make_reply())
    began = time.monotonic()
    # The back-off would be far longer than any of these.
    open_session(backoff_s=20, max_backoff_s=20).get("/x")
    assert time.monotonic() - began < 5
    expected = {"0": 0.0, "0.05": 0.05}.get(header, pytest.approx(1.5, abs=0.6))
    assert gate.penalties == [expected]


def test_a_long_retry_after_is_raised_instead_of_holding_the_worker(
    server: Any, open_session: Open, gate: CountingGate, make_reply: Any
) -> None:
    server.will(make_reply(429, b"", Retry_After="3600"))
    with pytest.raises(RateLimited) as caught:
        open_session().get("/x")
    assert caught.value.retry_after == 3600
    assert gate.penalties == [3600]
    assert len(server.asked) == 1


def test_a_429_without_retry_after_is_told_to_the_gate(
    server: Any, open_session: Open, gate: CountingGate, make_reply: Any
) -> None:
    server.will(make_reply(429, b"", Retry_After="soon"), make_reply())
    open_session(backoff_s=0.01).get("/x")
    assert gate.penalties == [0.01]


def silence() -> tuple[threading.Event, Callable[[Any, socket.socket], None]]:
    """An answer that does not come before the event."""
    release = threading.Event()

    def wait(asked: Any, connection: socket.socket) -> None:
        release.wait(20)

    return release, wait


@pytest.mark.parametrize("failure", ["500", "drop", "slow", "429"])
def test_a_post_is_sent_once_whatever_happens(failure: str, server: Any, open_session: Open, make_reply: Any) -> None:
    release, wait = silence()
    server.will(
        {
            "500": make_reply(500, b""),
            "429": make_reply(429, b""),
            "drop": lambda asked, connection: None,
            "slow": wait,
        }[failure]
    )
    with pytest.raises((VendorUnavailable, RateLimited)) as caught:
        open_session(read_timeout_s=0.3).request("POST", "/reports", json={"a": 1})
    release.set()
    assert len(server.asked) == 1
    assert server.asked[0].body == b'{"a": 1}'
    if failure != "429":
        assert "unclear" in str(caught.value)


def test_a_post_marked_repeatable_is_repeated(server: Any, open_session: Open, make_reply: Any) -> None:
    server.will(make_reply(500, b""), make_reply(body=b"{}"))
    open_session().request("POST", "/session", form={"email": "a@b"}, repeatable=True)
    assert [asked.body for asked in server.asked] == [b"email=a%40b"] * 2


HALF = gzip.compress(b"[" + b"1234567," * 5000 + b"1]")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n[1,2]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n[1,2]\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n[1,",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n[1,2]\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (len(HALF) // 2)
        + HALF[: len(HALF) // 2],
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\nConnection: close\r\n\r\n[1,2]",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 5\r\nConnection: close\r\n\r\n[1,2]",
        b"HTTP/1.1 200 OK\r\nContent-Le",
    ],
    ids=["length", "no-last-chunk", "half-chunk", "chunk-size", "half-gzip", "no-gzip", "unknown-encoding", "half-head"],
)
def test_a_truncated_answer_is_an_error_never_a_short_one(data: bytes, server: Any, open_session: Open) -> None:
    server.will(data)
    with pytest.raises(VendorUnavailable):
        open_session(max_attempts=1).get("/x")


def test_a_truncated_answer_is_asked_for_again(server: Any, open_session: Open, make_reply: Any) -> None:
    server.will(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n[1", make_reply(body=b"[1,2]"))
    assert open_session().get("/x").body == b"[1,2]"


def test_a_lost_connection_is_tried_again(server: Any, open_session: Open, make_reply: Any) -> None:
    def reset(asked: Any, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    server.will(reset, lambda asked, connection: None, make_reply(body=b"[9]"))
    assert open_session().get("/x").body == b"[9]"


def test_chunks_are_joined(server: Any, open_session: Open) -> None:
    server.will(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n")
    session = open_session()
    assert [session.get("/x").body for _ in range(3)] == [b"[1,2]"] * 3
    assert server.connections == 1


def test_a_silent_server_is_left_after_the_read_time_out(server: Any, open_session: Open) -> None:
    release, wait = silence()
    server.will(wait)
    with pytest.raises(VendorUnavailable, match="no answer within the time-out"):
        open_session(read_timeout_s=0.2, max_attempts=1).get("/x")
    release.set()


def test_a_dripping_server_is_left_when_the_answer_takes_too_long(server: Any, open_session: Open) -> None:
    release = threading.Event()

    def drip(asked: Any, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not release.wait(0.02):
            connection.sendall(b"1")

    server.will(drip)
    began = time.monotonic()
    with pytest.raises(VendorUnavailable, match="not whole after"):
        open_session(answer_timeout_s=0.5, max_attempts=1).get("/x")
    release.set()
    assert time.monotonic() - began < 4


def test_a_huge_answer_is_refused_even_when_compressed(server: Any, open_session: Open, make_reply: Any) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = bomb.compress(b"0" * 20_000_000) + bomb.flush()
    server.will(make_reply(body=data, Content_Encoding="gzip"))
    with pytest.raises(ConfigError, match="larger than 1000000 bytes"):
        open_session(max_body_bytes=1_000_000).get("/x")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [200, 403, 404, 502])
def test_a_proxys_page_is_a_passing_failure_whatever_its_status(
    status: int, server: Any, open_session: Open, make_reply: Any
) -> None:
    page = make_reply(status, b"<!DOCTYPE html><html><h1>Gateway</h1></html>", Content_Type="text/html")
    server.will(page, make_reply(body=b"[1]"))
    assert open_session().get("/x").body == b"[1]"
    server.will(page)
    with pytest.raises(VendorUnavailable, match="Gateway"):
        open_session(max_attempts=1).get("/x")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1:9/x", "refused"),
        ("http://does-not-exist.invalid", "resolved"),
    ],
)
def test_an_unreachable_host_is_named(url: str, text: str, open_session: Open) -> None:
    with pytest.raises(VendorUnavailable, match=text):
        open_session(base_url=url, max_attempts=1).get("/x")


@pytest.mark.parametrize("url", ["ftp://h", "host/path", "http://", "https://h/api?x=1", "http://user:hunter22@h/api"])
def test_a_wrong_base_url_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        VendorSession(SessionOptions(base_url=url))
    assert "hunter22" not in str(caught.value)
    assert "base_url" in str(caught.value)


def test_cookies_are_kept_for_bare_addresses_and_can_be_forgotten(server: Any, open_session: Open, make_reply: Any) -> None:
    server.will(make_reply(Set_Cookie="JSESSIONID=node0abc; Path=/"))
    session = open_session("/api")
    session.get("/session")
    session.get("/devices")
    session.forget_cookies()
    session.get("/devices")
    assert [asked.headers.get("cookie") for asked in server.asked] == [None, "JSESSIONID=node0abc", None]


def test_netrc_and_bundle_of_the_environment_do_not_replace_ours(
    server: Any, open_session: Open, make_reply: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login thief password thief\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.will(make_reply())
    session = open_session()
    session.set_header("Authorization", "Basic b3VyczpvdXJz")
    session.get("/x")
    assert server.asked[0].headers["authorization"] == "Basic b3VyczpvdXJz"


def test_close_from_another_thread_ends_a_pause_at_once(server: Any, open_session: Open, make_reply: Any) -> None:
    server.will(make_reply(503, b"", Retry_After="50"))
    session = open_session()
    failures: list[FleetlakeError] = []

    def read() -> None:
        try:
            session.get("/x")
        except FleetlakeError as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    deadline = time.monotonic() + 5
    while not server.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    session.close()
    reader.join(5)
    assert not reader.is_alive()
    assert len(failures) == 1
    assert len(server.asked) == 1
    with pytest.raises(ConfigError, match="closed"):
        session.get("/x")


CANARY = "c4nary-S3cret/+x"


@pytest.mark.parametrize("failure", ["refused", "500", "drop", "400"])
def test_no_secret_reaches_logs_or_errors(
    failure: str, server: Any, open_session: Open, make_reply: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    redactor = Redactor([CANARY], [("fleet@example.org", CANARY)])
    url = "http://127.0.0.1:9/api" if failure == "refused" else None
    body = f"bad token {CANARY}".encode()
    server.will({"500": make_reply(500, body), "400": make_reply(400, body)}.get(failure, lambda asked, connection: None))
    options = {"base_url": url} if url else {}
    session = open_session(redactor=redactor, max_attempts=2, **options)
    session.set_header("Authorization", f"Bearer {CANARY}")
    with pytest.raises(FleetlakeError) as caught:
        session.get("/session", {"token": CANARY})
    import traceback

    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(caught.value.__dict__)
    shown += repr(caught.value.__cause__) + repr(caught.value.__context__)
    assert "c4nary" not in shown
    assert "GET /session" in str(caught.value)


def test_who_is_told_just_before_the_request_can_keep_it_from_being_sent(
    server: Any, open_session: Open, make_reply: Any
) -> None:
    told: list[int] = []
    server.will(make_reply())
    open_session().request("POST", "/jobs", about_to_send=lambda: told.append(len(server.asked)))
    assert (told, len(server.asked)) == ([0], 1)

    def refuse() -> None:
        raise StoreUnavailable("cannot be noted")

    with pytest.raises(StoreUnavailable):
        open_session().request("POST", "/jobs", about_to_send=refuse)
    assert len(server.asked) == 1


def test_a_request_for_which_no_connection_came_about_is_known_not_to_have_been_sent(
    server: Any, open_session: Open
) -> None:
    with pytest.raises(VendorUnavailable, match="refused") as refused:
        open_session(base_url="http://127.0.0.1:9").request("POST", "/jobs")
    assert not refused.value.was_sent
    assert "unclear" not in str(refused.value)
    server.will(lambda asked, connection: None)
    with pytest.raises(VendorUnavailable) as lost:
        open_session().request("POST", "/jobs")
    assert lost.value.was_sent
