"""One token for all processes: renewed once, unreadable for others, never lost with the process that renewed it."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from fleetlake.errors import CredentialsRejected, StoreUnavailable
from fleetlake.http.tokens import LocalTokens, PostgresTokens, Token, TokenStore

SECRET = "canary-secret-5d0c"
LATER = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)

_RENEWER = """
import sys
from pathlib import Path
from fleetlake.http.tokens import PostgresTokens, Token
url, key, secret, log, held = sys.argv[1:]
store = PostgresTokens(url, key, secret)
seen = store.current()

def make(known):
    with Path(log).open("a") as calls:
        calls.write("renewed\\n")
    if held == "hold":
        print("renewing", flush=True)
        sys.stdin.readline()
    return Token("new", "refresh-2")

print("ready", flush=True)
sys.stdin.readline()
print(store.renew(seen, make).access, flush=True)
"""


@pytest.fixture(params=["local", "postgres"])
def store(request: pytest.FixtureRequest, database_url: str) -> TokenStore:
    return LocalTokens() if request.param == "local" else PostgresTokens(database_url, request.node.name, SECRET)


def start(url: str, key: str, log: Path, held: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _RENEWER, url, key, SECRET, str(log), held],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert said(process) == "ready"
    return process


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def test_first_user_makes_the_token_and_all_others_find_it(store: TokenStore) -> None:
    assert store.current() is None
    made = store.renew(None, lambda known: Token("first", "refresh-1", LATER) if known is None else Token("wrong"))
    assert store.current() == made == Token("first", "refresh-1", LATER)
    assert store.renew(None, lambda _: Token("second")) == made, "somebody else was first"


def test_token_that_is_no_good_is_renewed_once_with_what_is_known(store: TokenStore) -> None:
    old = store.renew(None, lambda _: Token("old", "refresh-1"))
    known: list[Token | None] = []

    def renew(token: Token | None) -> Token:
        known.append(token)
        return Token("new", "refresh-2")

    assert store.renew(old, renew).access == store.renew(old, renew).access == "new"
    assert known == [old]


def test_threads_renew_once(store: TokenStore) -> None:
    old = store.renew(None, lambda _: Token("old"))
    calls: list[int] = []
    together = threading.Barrier(4)

    def work() -> None:
        together.wait()
        store.renew(old, lambda _: calls.append(1) or Token("new"))  # type: ignore[func-returns-value]

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]


def test_refused_renewal_leaves_what_was_there(store: TokenStore) -> None:
    old = store.renew(None, lambda _: Token("old"))

    def refuse(_: Token | None) -> Token:
        raise CredentialsRejected("no")

    with pytest.raises(CredentialsRejected):
        store.renew(old, refuse)
    assert store.current() == old


def test_eight_processes_renew_once(database_url: str, tmp_path: Path) -> None:
    PostgresTokens(database_url, "eight", SECRET).renew(None, lambda _: Token("old", "refresh-1"))
    log = tmp_path / "calls"
    processes = [start(database_url, "eight", log) for _ in range(8)]
    for process in processes:
        go(process)
    assert {said(process) for process in processes} == {"new"}
    assert [process.wait(30) for process in processes] == [0] * 8
    assert log.read_text().splitlines() == ["renewed"]


def test_process_killed_while_it_renews_holds_nobody_up(database_url: str, tmp_path: Path) -> None:
    key, log = "killed", tmp_path / "calls"
    PostgresTokens(database_url, key, SECRET).renew(None, lambda _: Token("old", "refresh-1"))
    first = start(database_url, key, log, "hold")
    go(first)
    assert said(first) == "renewing"
    second = start(database_url, key, log)
    go(second)
    first.send_signal(signal.SIGKILL)
    first.wait(30)
    assert said(second) == "new"
    assert second.wait(30) == 0
    assert len(log.read_text().splitlines()) == 2, "the first one's answer is lost, so the vendor is asked again"


def test_token_rests_encrypted_and_is_of_no_use_with_another_secret(database_url: str) -> None:
    PostgresTokens(database_url, "sealed", SECRET).renew(None, lambda _: Token("canary-access-77", "canary-refresh-77"))
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        rows = connection.execute("SELECT token::text, encode(sealed, 'escape') FROM ops.token AS token").fetchall()
    assert "canary" not in str(rows)
    other = PostgresTokens(database_url, "sealed", "changed password")
    assert other.current() is None
    assert other.renew(None, lambda known: Token("anew") if known is None else Token("wrong")).access == "anew"


def test_tokens_do_not_show_their_secrets() -> None:
    assert "canary" not in repr(Token("canary-access", "canary-refresh", LATER))


@pytest.mark.parametrize(
    ("seconds", "fresh"), [(3600, True), (30, False), (-1, False)], ids=["long to live", "about to end", "over"]
)
def test_token_is_fresh_until_shortly_before_its_end(seconds: int, fresh: bool) -> None:
    now = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
    assert Token("a", expires_at=now + dt.timedelta(seconds=seconds)).is_fresh(now) is fresh
    assert Token("a").is_fresh(now), "nobody knows its end: the vendor will say"


def test_unreachable_warehouse_is_said_clearly(tmp_path: Path) -> None:
    store = PostgresTokens(f"postgresql+psycopg:///none?host={tmp_path}", "k", SECRET)
    with pytest.raises(StoreUnavailable, match=r"ops\.token"):
        store.current()
