"""Our SuiviDeFlotte client and the simulated vendor, written apart from one page: they agree, trap by trap."""

from __future__ import annotations

import collections
import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from fleetlake.canonical import Digest
from fleetlake.contracts import load_contracts
from fleetlake.errors import AccessDenied, ConfigError, CredentialsRejected, SessionExpired, UnsupportedVersion
from fleetlake.http.rate_gate import LocalGate
from fleetlake.http.tokens import LocalTokens, Token
from fleetlake.pipeline.decode import decode_rows
from fleetlake.reading import FLEET, Asked, Kind
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.suivideflotte import ROOM
from fleetlake.sandbox.testing import Running, running
from fleetlake.vendors.suivideflotte.client import SuiviDeFlotteClient
from fleetlake.vendors.suivideflotte.config import SuiviDeFlotteConfig
from fleetlake.vendors.suivideflotte.decode import split
from fleetlake.vendors.suivideflotte.fieldmap import load_fieldmap
from fleetlake.vendors.suivideflotte.source import FEEDS, SuiviDeFlotteSource
from fleetlake.window import Window

AS_OF = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
TWO_DAYS = Window.parse("2026-11-17", "2026-11-19")
INCLUDE = Path(__file__).parents[2] / "include"
CONTRACTS = load_contracts(INCLUDE, "suivideflotte")
GRANT = ("client_id", "client_secret", "username", "password")
Start = Callable[..., Running]
Open = Callable[..., SuiviDeFlotteSource]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a sandbox with these assumptions; the same ones share a sandbox."""
    with ExitStack() as stack:
        started: dict[str, Running] = {}

        def begin(**wishes: Any) -> Running:
            sizes = {name: wishes.pop(name) for name in ("cars", "as_of") if name in wishes}
            assumptions = {f"suivideflotte.{name}": value for name, value in {"requests_per_minute": 0, **wishes}.items()}
            key = repr((sizes, assumptions))
            if key not in started:
                settings = SandboxSettings(
                    **{"state_dir": tmp_path_factory.mktemp("sandbox"), "as_of": AS_OF, "cars": 4, **sizes},
                    rooms=("suivideflotte",),
                    assumptions=assumptions,
                )
                started[key] = stack.enter_context(running(settings))
            started[key].clear_log()
            return started[key]

        yield begin


@pytest.fixture
def source() -> Iterator[Open]:
    """Open a source of a sandbox: with the persistent token, or ``by="application"``."""
    opened = []

    def make(sandbox: Running, *, by: str = "token", tokens: Any = None, gate: Any = None, **fields: Any) -> Any:
        keys = sandbox.customers["suivideflotte"]["france"]
        key = {name: keys[name] for name in (GRANT if by == "application" else ("token",))}
        config = SuiviDeFlotteConfig.from_mapping(
            {"base_url": sandbox.urls["suivideflotte"], "history_days": 0, **key, **fields}
        )
        client = SuiviDeFlotteClient(config, gate=gate or LocalGate(1e6, burst=1e6), tokens=tokens)
        opened.append(SuiviDeFlotteSource(client, load_fieldmap("france")))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def rows(
    source: SuiviDeFlotteSource, feed: str, window: Window = TWO_DAYS, scopes: list[str] | None = None
) -> list[dict[str, Any]]:
    """Typed rows of a feed as the pipeline would keep them: once by key, and inside the window."""
    contract = CONTRACTS[FEEDS[feed].datasets[0]]
    asked_window = None if FEEDS[feed].kind is Kind.SNAPSHOT else window
    if FEEDS[feed].per_scope and scopes is None:
        scopes = [str(row["vehicle_id"]) for row in rows(source, "vehicles")]
    found: dict[Any, dict[str, Any]] = {}
    for scope in scopes or [FLEET]:
        for page in source.pages(feed, scope=scope, window=asked_window, cursor=None):
            decoded = decode_rows(contract, split(feed, contract.table, page.body, Asked("france", scope, asked_window)))
            assert decoded.rejects == []
            for row in decoded.table.to_pylist():
                row |= {"extra": row["extra"] and json.loads(row["extra"])}
                if asked_window is None or row[contract.time_column] in asked_window:
                    found[row[contract.key[1]]] = row
    return list(found.values())


def truth(sandbox: Running, feed: str, window: Window = TWO_DAYS) -> Digest:
    contract = CONTRACTS[FEEDS[feed].datasets[0]]
    inside = None if FEEDS[feed].kind is Kind.SNAPSHOT else window
    return Digest.of(ROOM.truth(sandbox.context, contract.name, inside, "france"))


def calls(sandbox: Running, count: int = 0) -> list[str]:
    """Paths asked for so far; the log is written after the answer, so wait for as many as are expected."""
    deadline = time.monotonic() + 5
    while len(sandbox.log("suivideflotte")) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return [entry["path"] for entry in sandbox.log("suivideflotte")]


# --- all feeds, whatever the vendor's open questions turn out to be -----------------------------------------------------


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"envelope": "paginator55", "page_past_end": "422"},
        {"envelope": "array", "perpage_max": 15, "pois": 40},
        {"envelope": "array", "page_past_end": "422", "perpage_max": 15, "pois": 45},
        {"date_format": "iso", "to_inclusive": False},
        {"perpage_max": 20, "pois": 61, "private_share": 0.5},
    ],
    ids=lambda wishes: ",".join(f"{name}={value}" for name, value in wishes.items()) or "as the page assumes",
)
def test_every_feed_equals_the_truth(wishes: dict[str, Any], start: Start, source: Open) -> None:
    sandbox = start(**wishes)
    one = source(sandbox)
    for feed in FEEDS:
        found = rows(one, feed)
        assert found, feed
        assert Digest.of(found) == truth(sandbox, feed), feed


@pytest.mark.parametrize("day", ["2026-10-25", "2026-03-29"])
@pytest.mark.parametrize("date_format", ["local", "iso"])
def test_days_of_clock_changes_equal_the_truth(day: str, date_format: str, start: Start, source: Open) -> None:
    """Trips and alerts wholly inside the hour that autumn repeats cannot be told apart in local times: they are left out."""
    sandbox = start(date_format=date_format, cars=12)
    window = Window.day(day)
    one = source(sandbox)
    for feed in ("trips", "alerts"):
        contract = CONTRACTS[FEEDS[feed].datasets[0]]
        true = list(ROOM.truth(sandbox.context, contract.name, window, "france"))
        found = rows(one, feed, window)
        assert len(found) == len(true) > 0
        if date_format == "local" and day == "2026-10-25":
            true, found = ([row for row in side if not _is_unclear(row)] for side in (true, found))
        assert Digest.of(found) == Digest.of(true)


def _is_unclear(row: dict[str, Any]) -> bool:
    twice = Window.parse("2026-10-25T00:00Z", "2026-10-25T02:00Z")
    return all(row[name] in twice for name in ("start_time", "end_time", "event_time") if name in row)


def test_a_distance_in_metres_is_a_setting(
    start: Start, source: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "contracts").symlink_to(INCLUDE / "contracts")
    (tmp_path / "suivideflotte").mkdir()
    text = (INCLUDE / "suivideflotte" / "default.yaml").read_text()
    (tmp_path / "suivideflotte" / "france.yaml").write_text(text.replace("distance_unit: km", "distance_unit: m"))
    monkeypatch.setenv("FLEETLAKE_INCLUDE", str(tmp_path))
    sandbox = start(distance_unit="m", timezone="Indian/Reunion")
    with pytest.raises(AssertionError):
        assert Digest.of(rows(source(sandbox), "trips")) == truth(sandbox, "trips")
    (tmp_path / "suivideflotte" / "france.yaml").write_text(
        text.replace("distance_unit: km", "distance_unit: m").replace("Europe/Paris ", "Indian/Reunion ")
    )
    assert Digest.of(rows(source(sandbox), "trips")) == truth(sandbox, "trips")


def test_private_trips_keep_their_times_and_lose_their_places(start: Start, source: Open) -> None:
    found = rows(source(start(private_share=0.5)), "trips")
    private = [row for row in found if row["is_private"]]
    assert private and len(private) < len(found)
    assert all(row["start_time"] and row["end_time"] for row in private)
    assert all(row["start_latitude_deg"] is None and row["end_address"] is None for row in private)


def test_trips_that_change_for_two_days_are_read_as_they_are_now(start: Start, source: Open) -> None:
    window = Window.parse("2026-11-19", "2026-11-20")
    provisional = start(settling_h=48.0)
    final = start(settling_h=0.0)
    first, second = (rows(source(sandbox), "trips", window) for sandbox in (provisional, final))
    assert Digest.of(first) == truth(provisional, "trips", window)
    changed = {row["trip_id"] for row in first} & {row["trip_id"] for row in second}
    assert changed
    assert Digest.of(first) != Digest.of(second)


# --- keys ---------------------------------------------------------------------------------------------------------------


def test_an_application_key_logs_in_once_for_any_number_of_calls(start: Start, source: Open) -> None:
    sandbox = start()
    one = source(sandbox, by="application")
    for feed in ("vehicles", "poi", "drivers"):
        assert Digest.of(rows(one, feed)) == truth(sandbox, feed)
    assert calls(sandbox, 4).count("/oauth2") == 1


def test_a_token_that_ends_is_refreshed_before_it_is_refused(start: Start, source: Open) -> None:
    """A minute before its end a token counts as ended: with a life of one minute every call renews it, by rotation."""
    sandbox = start(token_life_s=60.0)
    one = source(sandbox, by="application")
    for _ in range(3):
        rows(one, "vehicles")
    assert collections.Counter(calls(sandbox, 6)) == {"/oauth2": 1, "/oauth2/refresh": 2, "/vehicles": 3}
    assert {entry["status"] for entry in sandbox.log("suivideflotte")} == {200}


def test_a_token_the_vendor_has_forgotten_is_refreshed_once(start: Start, source: Open) -> None:
    sandbox = start()
    one = source(sandbox, by="application")
    with sandbox.faults("expired:vendor=suivideflotte,path=/vehicles,count=1"):
        assert rows(one, "vehicles")
    assert calls(sandbox, 4) == ["/oauth2", "/vehicles", "/oauth2/refresh", "/vehicles"]


def test_a_token_that_is_never_accepted_is_an_error_and_no_loop(start: Start, source: Open) -> None:
    sandbox = start()
    with sandbox.faults("expired:vendor=suivideflotte,path=/vehicles"), pytest.raises(SessionExpired):
        rows(source(sandbox, by="application"), "vehicles")
    assert len(calls(sandbox, 4)) == 4


@pytest.mark.parametrize("refresh", ["spent", "AAAA"])
def test_a_refresh_token_of_no_use_ends_in_a_login(refresh: str, start: Start, source: Open) -> None:
    """A process that died after the vendor had rotated leaves a spent refresh token behind: nobody is locked out."""
    sandbox = start()
    tokens = LocalTokens()
    one = source(sandbox, by="application", tokens=tokens)
    rows(one, "vehicles")
    known = tokens.current()
    assert known is not None
    if refresh == "spent":
        one.client._make_token(known)  # and dies here: the new token is kept nowhere
        refresh = str(known.refresh)
    left = LocalTokens()
    left.renew(None, lambda _: Token(known.access, refresh, dt.datetime.now(dt.UTC)))
    sandbox.clear_log()
    assert rows(source(sandbox, by="application", tokens=left), "vehicles")
    assert calls(sandbox, 3) == ["/oauth2/refresh", "/oauth2", "/vehicles"]


def test_eight_threads_at_the_end_of_a_token_refresh_it_once(start: Start, source: Open) -> None:
    sandbox = start()
    tokens = LocalTokens()
    first = source(sandbox, by="application", tokens=tokens)
    rows(first, "vehicles")
    known = tokens.current()
    assert known is not None
    tokens.renew(known, lambda _: Token(known.access, known.refresh, dt.datetime.now(dt.UTC)))
    sandbox.clear_log()
    together = threading.Barrier(8)
    results: list[int] = []

    def work(one: SuiviDeFlotteSource) -> None:
        together.wait()
        results.append(len(rows(one, "vehicles")))

    threads = [threading.Thread(target=work, args=(source(sandbox, by="application", tokens=tokens),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [4] * 8
    assert collections.Counter(calls(sandbox, 9)) == {"/oauth2/refresh": 1, "/vehicles": 8}


def test_wrong_credentials_and_an_expired_persistent_token_stop_at_once(start: Start, source: Open) -> None:
    sandbox = start()
    for wrong in ({"password": "no"}, {"client_secret": "no"}, {"client_id": "4711"}):
        with pytest.raises(CredentialsRejected, match="HTTP 401"):
            rows(source(sandbox, by="application", **wrong), "vehicles")
    assert len(calls(sandbox, 3)) == 3
    old = start(token_issued="2021-01-01")
    with pytest.raises(CredentialsRejected, match="five years are over"):
        rows(source(old), "vehicles")


def test_a_missing_scope_is_told_as_a_missing_right(start: Start, source: Open) -> None:
    sandbox = start(scopes="vehicles:read")
    one = source(sandbox)
    assert rows(one, "vehicles")
    with pytest.raises(AccessDenied, match="Invalid scope"):
        rows(one, "poi")
    assert "/oauth2" not in calls(sandbox)


def test_an_unknown_version_is_named(start: Start, source: Open) -> None:
    with pytest.raises(UnsupportedVersion, match="check api_version"):
        rows(source(start(), api_version="2"), "vehicles")


# --- the minute, filters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit_json", [True, False])
def test_a_minute_that_others_have_used_up_is_waited_for(limit_json: bool, start: Start, source: Open) -> None:
    sandbox = start(requests_per_minute=5, limit_window_s=1.0, limit_json=limit_json)
    token = sandbox.customers["suivideflotte"]["france"]["token"]
    for _ in range(5):
        address = f"{sandbox.urls['suivideflotte']}/drivers"
        requests.get(address, headers={"Authorization": f"Bearer {token}"}, timeout=5).raise_for_status()
    assert rows(source(sandbox), "vehicles")
    calls(sandbox, 7)
    assert [entry["status"] for entry in sandbox.log("suivideflotte")][5:] == [429, 200]


def test_the_minute_is_obeyed_before_a_429_happens(start: Start, source: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clients of one user, each seeing half of the calls, and a window of a second in place of the minute."""
    monkeypatch.setattr("fleetlake.vendors.suivideflotte.quota.WINDOW_S", 1.5)
    sandbox = start(requests_per_minute=6, limit_window_s=1.0)
    gate = LocalGate(1e6, burst=1)
    clients = [source(sandbox, gate=gate, reserve=2) for _ in range(2)]
    for number in range(14):
        rows(clients[number % 2], "vehicles")
    assert [entry["status"] for entry in sandbox.log("suivideflotte")].count(429) == 0
    assert len(calls(sandbox, 14)) == 14


def test_the_largest_page_is_found_once(start: Start, source: Open) -> None:
    sandbox = start(perpage_max=20, pois=61)
    one = source(sandbox)
    assert len(rows(one, "poi")) == 61
    queries = [entry["query"] for entry in sandbox.log("suivideflotte")]
    assert [query.partition("perpage=")[2] for query in queries[:2]] == ["100", "15"]
    assert all(query.endswith("perpage=15") for query in queries[1:])
    assert [entry["status"] for entry in sandbox.log("suivideflotte")].count(422) == 1


def test_a_wrong_name_in_the_mapping_file_is_told_with_the_vendors_words(start: Start, source: Open, tmp_path: Path) -> None:
    (tmp_path / "contracts").symlink_to(INCLUDE / "contracts")
    (tmp_path / "suivideflotte").mkdir()
    text = (INCLUDE / "suivideflotte" / "default.yaml").read_text()
    sandbox = start()

    def pages(old: str, new: str) -> Any:
        (tmp_path / "suivideflotte" / "france.yaml").write_text(text.replace(old, new, 1))
        fieldmap = load_fieldmap("france", tmp_path)
        return SuiviDeFlotteSource(source(sandbox).client, fieldmap).pages("vehicles", scope=FLEET, window=None, cursor=None)

    with pytest.raises(ConfigError, match=r"sort: The field nr does not exist.*resources\.vehicles"):
        list(pages("sort: id", "sort: nr"))
    with pytest.raises(ConfigError, match=r"HTTP 404.*resources\.vehicles.*check the path"):
        list(pages("path: /vehicles", "path: /vehicules"))
    with pytest.raises(ConfigError, match=r"fields: The field regplate does not exist"):
        list(
            pages(
                "    sort: id\n    fields:\n      vehicle_id: id\n      name: name\n      registration_plate: reg_plate",
                "    sort: id\n    only_fields: true\n    fields:\n      vehicle_id: id\n      name: name\n      registration_plate: regplate",
            )
        )


@pytest.mark.parametrize("fault", ["truncated_body", "error_body", "html_page", "short_page", "empty_page", "drop_body"])
def test_a_faulty_page_never_passes_for_a_whole_list(fault: str, start: Start, source: Open) -> None:
    sandbox = start(pois=61, perpage_max=20)
    one = source(sandbox)
    with sandbox.faults(f"{fault}:vendor=suivideflotte,path=/poi,skip=2,count=1"):
        try:
            found = rows(one, "poi")
        except Exception as error:
            assert type(error).__name__ in ("MalformedAnswer", "IncompleteAnswer", "CursorStuck")
        else:
            assert Digest.of(found) == truth(sandbox, "poi"), json.dumps(len(found))
    assert Digest.of(rows(one, "poi")) == truth(sandbox, "poi")
