"""Omnicomm's client against the simulated vendor: tokens that end, limits, faults, vehicles out of reach."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fleetlake.errors import (
    ConfigError,
    CredentialsRejected,
    MalformedAnswer,
    RateLimited,
    ScopeUnavailable,
    VendorUnavailable,
)
from fleetlake.http.rate_gate import LocalGate
from fleetlake.http.tokens import LocalTokens
from fleetlake.reading import FLEET
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import Running, running
from fleetlake.vendors.omnicomm.client import OmnicommClient
from fleetlake.vendors.omnicomm.config import OmnicommConfig
from fleetlake.vendors.omnicomm.decode import page_info, split
from fleetlake.vendors.omnicomm.source import FEEDS, OmnicommSource
from fleetlake.window import Window

NOW = dt.datetime(2026, 11, 15, 12, tzinfo=dt.UTC)
DAY = Window.day("2026-11-11")
TERMINALS = ["202000001", "202000002", "202000003"]
TRACK = "/ls/api/v1/reports/track/202000001"

Start = Callable[..., Running]
Open = Callable[..., OmnicommClient]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a sandbox with these answers to open questions; the same ones share a sandbox."""
    with contextlib.ExitStack() as stack:
        started: dict[str, Running] = {}

        def make(**assumptions: Any) -> Running:
            key = repr(sorted(assumptions.items()))
            if key not in started:
                folder: Path = tmp_path_factory.mktemp("sandbox")
                wanted = {f"omnicomm.{name}": value for name, value in assumptions.items()}
                settings = SandboxSettings(
                    state_dir=folder, vehicles=1, bikes=1, trucks=3, as_of=NOW, rooms=("omnicomm",), assumptions=wanted
                )
                started[key] = stack.enter_context(running(settings))
            started[key].clear_log()
            return started[key]

        yield make


@pytest.fixture
def sandbox(start: Start) -> Running:
    return start(calls_per_minute=0)


@pytest.fixture
def opened() -> Iterator[Open]:
    clients = []

    def make(sandbox: Running, *, tokens: Any = None, **fields: Any) -> OmnicommClient:
        login = sandbox.customers["omnicomm"]["trucks"]
        config = OmnicommConfig.from_mapping({**login, "base_url": sandbox.urls["omnicomm"], "timeout_s": 5, **fields})
        clients.append(OmnicommClient(config, gate=LocalGate(1e6, burst=1e6), tokens=tokens))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(sandbox: Running, opened: Open) -> OmnicommClient:
    return opened(sandbox)


def paths(sandbox: Running, count: int) -> list[str]:
    """Paths asked for; the log is written after the answer, so wait for as many as are expected."""
    deadline = time.monotonic() + 5
    while len(found := sandbox.log("omnicomm")) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return [entry["path"] for entry in found]


# --- tokens and limits --------------------------------------------------------------------------------------------------


def test_short_tokens_are_refreshed_again_and_again_after_one_login(start: Start, opened: Open) -> None:
    sandbox = start(calls_per_minute=0, token_life_s=2)
    client = opened(sandbox)
    deadline = time.monotonic() + 20
    while paths(sandbox, 0).count("/auth/refresh") < 2:
        assert time.monotonic() < deadline, "the token is never refreshed"
        client.geofences(1)
    statuses = {(entry["path"], entry["status"]) for entry in sandbox.log("omnicomm")}
    assert not [item for item in statuses if item[1] == 401], "renewed before it ended"
    assert paths(sandbox, 0).count("/auth/login") == 1


def test_a_token_that_is_gone_is_renewed_once_and_the_call_repeated(sandbox: Running, client: OmnicommClient) -> None:
    client.geofences(1)
    sandbox.clear_log()
    with sandbox.faults("expired:path=/ls/*,count=1"):
        assert split("track", "omnicomm.track_point", client.track(TERMINALS[0], DAY).body)
    assert paths(sandbox, 3) == [TRACK, "/auth/refresh", TRACK]


def test_a_refresh_token_that_has_ended_is_followed_by_a_login(start: Start, opened: Open) -> None:
    sandbox = start(calls_per_minute=0, refresh_life_s=0)
    client = opened(sandbox)
    client.geofences(1)
    with sandbox.faults("expired:path=/ls/*,count=1"):
        client.track(TERMINALS[0], DAY)
    assert paths(sandbox, 6)[-4:] == [TRACK, "/auth/refresh", "/auth/login", TRACK]


def test_wrong_credentials_are_tried_once_and_block_nobody(start: Start, opened: Open) -> None:
    sandbox = start(calls_per_minute=0, failed_logins_per_minute=1)
    wrong = opened(sandbox, password="canary-wrong")
    for _ in range(3):
        with pytest.raises(CredentialsRejected, match="sign-in failed") as caught:
            wrong.tree()
        assert "canary" not in str(caught.value)
    assert paths(sandbox, 1) == ["/auth/login"]
    assert opened(sandbox).geofences(1).status == 200


def test_a_short_block_is_waited_for_and_nothing_is_lost(sandbox: Running, opened: Open) -> None:
    client = opened(sandbox, block_s=0.3)
    begun = time.monotonic()
    with sandbox.faults("429:path=*/geozones,count=2"):
        assert client.geofences(1).status == 200
    assert time.monotonic() - begun > 0.6, "twice as long as the page assumes, for a block does not say how long it lasts"


def test_a_block_that_lasts_is_told_with_the_time_to_wait(start: Start, opened: Open) -> None:
    client = opened(start(calls_per_minute=5, block_s=60), block_s=61)
    with pytest.raises(RateLimited, match="lower rate_per_min") as caught:
        for _ in range(10):
            client.geofences(1)
    assert caught.value.retry_after == 61


def test_workers_share_one_login_and_one_limit(sandbox: Running, opened: Open) -> None:
    tokens = LocalTokens()
    for _ in range(4):
        opened(sandbox, tokens=tokens).geofences(1)
    assert paths(sandbox, 5).count("/auth/login") == 1


# --- vehicles out of reach ----------------------------------------------------------------------------------------------


def test_a_vehicle_out_of_reach_is_refused_alone_in_every_call(start: Start, opened: Open) -> None:
    client = opened(start(calls_per_minute=0, poisoned=TERMINALS[1]))
    for call in (client.profile, client.state):
        with pytest.raises(ScopeUnavailable):
            call(TERMINALS[1])
    for read in (client.track, client.events, client.fuel_level, client.journal, client.journal_additional):
        with pytest.raises(ScopeUnavailable):
            read(TERMINALS[1], DAY)
        assert read(TERMINALS[0], DAY).status == 200


@pytest.mark.parametrize("feed", ["statistics", "consolidated", "geofence_visits"])
def test_a_batch_with_a_vehicle_out_of_reach_gives_the_others(start: Start, opened: Open, feed: str) -> None:
    source = OmnicommSource(opened(start(calls_per_minute=0, poisoned=TERMINALS[1])))
    pages = list(source.batch_pages(feed, scopes=TERMINALS, window=DAY, cursor=None))
    assert [(page.scopes, bool(page.refusal)) for page in pages] == [
        ((TERMINALS[0],), False),
        ((TERMINALS[1],), True),
        ((TERMINALS[2],), False),
    ]
    assert "access denied" in pages[1].refusal
    assert all(page.rows for page in pages if not page.refusal)


def test_a_batch_without_data_is_empty_not_refused(sandbox: Running, client: OmnicommClient) -> None:
    ahead = Window.day("2026-12-24")
    (page,) = OmnicommSource(client).batch_pages("consolidated", scopes=TERMINALS, window=ahead, cursor=None)
    assert (page.rows, page.refusal, page.is_last) == (0, "", True)


# --- requests the vendor refuses ----------------------------------------------------------------------------------------


def test_what_the_client_never_sends_is_refused_clearly(client: OmnicommClient) -> None:
    report = "/ls/api/v1/reports/consolidatedReport"
    seconds = {"timeBegin": 1795132800, "timeEnd": 1795219200}
    for body in (
        {"vehicleIds": list(range(202000001, 202000052)), **seconds},
        {"vehicleIds": [202000001], "timeBegin": 1795132800, "timeEnd": 1795132800 + 32 * 86400},
        {"vehicleIds": [202000001], **{name: value * 1000 for name, value in seconds.items()}},
    ):
        with pytest.raises(ConfigError, match="code 4: bad interval"):
            client.request("POST", report, json=body)
    with pytest.raises(ConfigError, match="timeBegin is required"):
        client.request("GET", "/ls/api/v1/reports/events/202000001")
    with pytest.raises(ConfigError, match="HTTP 400"):
        client.request("GET", "/api/service/geozones/geozones", {"page": 1, "pageSize": 5000})
    with pytest.raises(ConfigError, match="PATH Not found"):
        client.request("GET", "/ls/api/v2/vehicles/202000001/state")


def test_a_missing_parameter_has_the_code_of_a_dead_session_and_leads_to_no_login(
    sandbox: Running, client: OmnicommClient
) -> None:
    with pytest.raises(ConfigError, match="code 3"):
        client.request("GET", "/ls/api/v1/reports/events/202000001")
    assert paths(sandbox, 2) == ["/auth/login", "/ls/api/v1/reports/events/202000001"]


# --- faults -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop", "drop_answer", "drop_body", "503", "html_page"])
def test_a_post_that_only_reads_survives_a_fault(sandbox: Running, client: OmnicommClient, fault: str) -> None:
    client.geofences(1)
    with sandbox.faults(f"{fault}:vendor=omnicomm,path=*/consolidatedReport,count=1"):
        body = client.consolidated(TERMINALS, DAY).body
    assert len(split("consolidated", "omnicomm.consolidated_report", body)) == 3


def test_a_slow_tree_is_waited_for_up_to_the_time_out(sandbox: Running, opened: Open) -> None:
    with sandbox.faults("slow:path=*/tree/vehicle,seconds=1,count=2"):
        assert len(split("vehicle_tree", "omnicomm.vehicle", opened(sandbox, timeout_s=5).tree().body)) == 3
        with pytest.raises(VendorUnavailable):
            opened(sandbox, timeout_s=0.2, max_attempts=1).tree()


def test_a_body_cut_in_the_middle_is_malformed(sandbox: Running, client: OmnicommClient) -> None:
    source = OmnicommSource(client)
    with sandbox.faults("truncated_body:path=*/track/*"), pytest.raises(MalformedAnswer):
        list(source.pages("track", scope=TERMINALS[0], window=DAY, cursor=None))


def test_both_versions_of_the_tree_are_read_alike(sandbox: Running, opened: Open) -> None:
    bodies = [opened(sandbox, tree_path=f"/ls/api/v{version}/tree/vehicle").tree().body for version in (1, 2)]
    assert split("vehicle_tree", "omnicomm.vehicle", bodies[0]) == split("vehicle_tree", "omnicomm.vehicle", bodies[1])


def test_a_403_on_one_resource_concerns_that_vehicle_only(sandbox: Running, client: OmnicommClient) -> None:
    with sandbox.faults("status:path=*/track/202000001,status=403"):
        with pytest.raises(ScopeUnavailable, match="HTTP 403"):
            client.track(TERMINALS[0], DAY)
        assert client.track(TERMINALS[1], DAY).status == 200


# --- reading everything -------------------------------------------------------------------------------------------------


def test_geofences_of_overlapping_pages_are_all_there_once_read(sandbox: Running, opened: Open) -> None:
    pages = list(OmnicommSource(opened(sandbox, page_size=5)).pages("geofences", scope=FLEET, window=None, cursor=None))
    total, _ = page_info(pages[0].body)
    ids = [number for page in pages for number in page_info(page.body)[1]]
    assert len(pages) > 2
    assert len(ids) > total == len(set(ids)), "the overlap is there, and nothing is missing"


def test_every_feed_of_a_vehicle_is_read_to_its_last_page(sandbox: Running, client: OmnicommClient) -> None:
    source = OmnicommSource(client)
    for name, feed in FEEDS.items():
        if name in ("users", "drivers", "video_profiles", "video_tasks"):
            continue
        window = DAY if feed.max_days else None
        if feed.batch > 1:
            pages = list(source.batch_pages(name, scopes=TERMINALS, window=window, cursor=None))
        else:
            scope = TERMINALS[0] if feed.per_scope else FLEET
            pages = list(source.pages(name, scope=scope, window=window, cursor=None))
        assert pages[-1].is_last, name
        assert sum(page.rows for page in pages) > 0, name
        assert all(page.status == 200 and page.fetched_at.tzinfo for page in pages)


def test_check_says_what_works_and_what_is_wrong(sandbox: Running, client: OmnicommClient, opened: Open) -> None:
    assert "3 vehicles are visible" in client.check()
    with pytest.raises(CredentialsRejected, match="check login and password"):
        opened(sandbox, login="nobody").check()
