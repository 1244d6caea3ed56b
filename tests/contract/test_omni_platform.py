"""The OMNI Platform client against the simulated vendor: its two services, its open questions, its traps."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fleetlake.errors import (
    AccessDenied,
    ConfigError,
    CredentialsRejected,
    IncompleteAnswer,
    MalformedAnswer,
    OutOfRetention,
    Retriable,
    ScopeUnavailable,
)
from fleetlake.reading import FLEET, Page
from fleetlake.sandbox.rooms import room
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import Running, running
from fleetlake.vendors.omni_platform import decode
from fleetlake.vendors.omni_platform.client import OmniClient
from fleetlake.vendors.omni_platform.config import OmniConfig
from fleetlake.vendors.omni_platform.source import FEEDS, OmniSource
from fleetlake.window import Window, utc

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
DAY = Window.day("2026-11-19")
MORNING = Window.parse("2026-11-19T06:00Z", "2026-11-19T09:00Z")

Start = Callable[..., Running]
Open = Callable[..., OmniSource]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """A sandbox with these assumptions; the same ones share one, at ``NOW``."""
    with ExitStack() as stack:
        known: dict[str, Running] = {}

        def begin(**assumptions: Any) -> Running:
            key = json.dumps(assumptions, sort_keys=True)
            if key not in known:
                settings = SandboxSettings(
                    state_dir=tmp_path_factory.mktemp("sandbox"),
                    as_of=NOW,
                    rooms=("omni_platform",),
                    assumptions={f"omni_platform.{name}": value for name, value in assumptions.items()},
                )
                known[key] = stack.enter_context(running(settings))
            known[key].context.clock.set(NOW)
            known[key].clear_log()
            return known[key]

        yield begin


@pytest.fixture
def opened() -> Iterator[Open]:
    """A source on a sandbox; fields of ``OmniConfig`` by name."""
    clients = []

    def begin(sandbox: Running, **fields: Any) -> OmniSource:
        values = {
            "base_url": sandbox.urls["omni_platform"],
            "token": sandbox.customers["omni_platform"]["depot"]["token"],
            "page_size": 12,
            "rate_per_s": 1000,
            "burst": 1000,
            "timeout_s": 5,
            "max_attempts": 1,
            **fields,
        }
        clients.append(OmniClient(OmniConfig.from_mapping(values)))
        return OmniSource(clients[-1], now=sandbox.context.clock.now)

    yield begin
    for client in clients:
        client.close()


def read(source: OmniSource, feed: str = "events", window: Window | None = DAY, cursor: str | None = None) -> list[Page]:
    return list(source.pages(feed, scope=FLEET, window=window, cursor=cursor))


def rows(pages: list[Page], feed: str = "events") -> list[dict[str, Any]]:
    return [json.loads(bytes(row)) for page in pages for row in decode.split(feed, FEEDS[feed].datasets[0], page.body)]


def ids(pages: list[Page]) -> set[str]:
    return {row["id"] for row in rows(pages)}


def truth(sandbox: Running, window: Window = DAY) -> set[str]:
    return {row["event_id"] for row in room("omni_platform").truth(sandbox.context, "event", window, "depot")}


def paths(sandbox: Running, part: str) -> int:
    return sum(part in entry["path"] for entry in sandbox.log("omni_platform"))


# --- token and errors (page 1) ------------------------------------------------------------------------------------------


def test_check_says_who_the_token_belongs_to(start: Start, opened: Open) -> None:
    assert opened(start()).check().startswith("OMNI Platform answers: user depot")


@pytest.mark.parametrize("refusal", ["graphql", "401", "403"])
@pytest.mark.parametrize("feed", ["events", "cameras"])
def test_a_bad_token_is_rejected_however_the_vendor_says_so(refusal: str, feed: str, start: Start, opened: Open) -> None:
    source = opened(start(refusal=refusal), token="00000000-0000-4000-8000-00000000dead")
    with pytest.raises(CredentialsRejected) as raised:
        read(source, feed)
    assert "dead" not in str(raised.value)
    with pytest.raises(CredentialsRejected):
        source.check()


def test_a_missing_right_is_no_bad_token(start: Start, opened: Open) -> None:
    source = opened(start(denied="profiles"))
    assert rows(read(source, "agents", None), "agents")
    with pytest.raises(AccessDenied, match="Access denied"):
        read(source, "profiles", None)


def test_an_error_inside_an_http_200_is_no_empty_answer(start: Start, opened: Open) -> None:
    sandbox = start()
    with sandbox.faults("error_body:path=/event-service/*"), pytest.raises(MalformedAnswer, match="Internal server error"):
        read(opened(sandbox))


@pytest.mark.parametrize("fault", ["truncated_body", "html_page:status=200"])
def test_a_broken_answer_yields_no_page(fault: str, start: Start, opened: Open) -> None:
    sandbox = start()
    source = opened(sandbox)
    source.client.activity_ttl()
    kind, _, more = fault.partition(":")
    with sandbox.faults(f"{kind}:path=/event-service/*,{more}".rstrip(",")), pytest.raises((MalformedAnswer, Retriable)):
        read(source)


def test_a_query_is_repeated_although_it_is_a_post(start: Start, opened: Open) -> None:
    sandbox = start()
    with sandbox.faults("503:path=/event-service/*,count=1"):
        assert ids(read(opened(sandbox, max_attempts=3), window=MORNING)) == truth(sandbox, MORNING)


def test_another_workspace_is_not_seen(start: Start, opened: Open) -> None:
    sandbox = start()
    other = opened(sandbox, token=sandbox.customers["omni_platform"]["other"]["token"])
    assert ids(read(other))
    assert not ids(read(other)) & truth(sandbox)


def test_secrets_reach_no_page_log_or_error(start: Start, opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    """The account's token, and the agents' tokens, which are never asked for."""
    caplog.set_level(logging.DEBUG)
    sandbox = start()
    source = opened(sandbox)
    pages = [page for feed in FEEDS for page in read(source, feed, MORNING if feed == "events" else None)]
    token = sandbox.customers["omni_platform"]["depot"]["token"]
    texts = [caplog.text, repr(source.client.config), *(page.body.decode() + page.request for page in pages)]
    assert not [text for text in texts if token in text]
    agents = rows(read(source, "agents", None), "agents")
    assert len(agents) == 3
    assert all("token" not in agent for agent in agents)


# --- events (page 2.1, 5) -----------------------------------------------------------------------------------------------


def test_a_day_of_events_is_the_truth_in_closed_hours(start: Start, opened: Open) -> None:
    sandbox = start()
    pages = read(opened(sandbox))
    assert ids(pages) == truth(sandbox)
    assert len(truth(sandbox)) > 100
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    pieces = {page.request.split()[3].rstrip(",") for page in pages}
    assert len(pieces) == 24
    assert all(page.rows <= 13 for page in pages)
    assert pages[-1].cursor == "2026-11-20T00:00:00+00:00"


def test_the_end_of_a_window_is_not_part_of_it(start: Start, opened: Open) -> None:
    sandbox = start()
    first = min(room("omni_platform").truth(sandbox.context, "event", DAY, "depot"), key=lambda row: row["event_time"])
    moment = first["event_time"]
    second = dt.timedelta(seconds=1)
    assert first["event_id"] not in ids(read(opened(sandbox), window=Window(moment - second, moment)))
    assert first["event_id"] in ids(read(opened(sandbox), window=Window(moment, moment + second)))


@pytest.mark.parametrize(
    "assumptions",
    [
        {"date_scalar": "String"},
        {"date_scalar": "DateTime"},
        {"pagination_in_order": True},
        {"introspection": False},
        {"validation_status": 400, "activity_id_output": False, "introspection": False},
        {"blank_dates": True},
        {"limit_max": 7},
        {"newer_type": True},
    ],
    ids=lambda value: ",".join(f"{name}={item}" for name, item in value.items()),
)
def test_open_questions_may_be_answered_either_way(assumptions: dict[str, Any], start: Start, opened: Open) -> None:
    """OPL-04, OPL-10, OPL-11: scalars of dates, place of paging, no introspection, a cap, another spelling, a new type."""
    sandbox = start(**assumptions)
    half = Window.parse("2026-11-19T06:00Z", "2026-11-19T12:00Z")
    found = rows(read(opened(sandbox), window=half))
    assert {row["id"] for row in found} == truth(sandbox, half)
    assert any("FALL" in row["type"] for row in found) == bool(assumptions.get("newer_type"))


def test_paging_inside_order_is_used_without_introspection_when_it_is_configured(start: Start, opened: Open) -> None:
    sandbox = start(introspection=False, pagination_in_order=True)
    assert ids(read(opened(sandbox, pagination_in_order=True), window=MORNING)) == truth(sandbox, MORNING)
    with pytest.raises(ConfigError, match="refuses the query"):
        read(opened(sandbox), window=MORNING)


def test_an_activity_the_schema_refuses_is_asked_for_once_only(start: Start, opened: Open) -> None:
    """OPL-11."""
    sandbox = start(activity_id_output=False)
    source = opened(sandbox)
    pages = read(source, window=MORNING)
    assert ids(pages) == truth(sandbox, MORNING)
    assert all("activityId" not in row for row in rows(pages))
    assert paths(sandbox, "event-service") == len(pages) + 2, "one for the schema, one refused"
    with_it = rows(read(opened(start()), window=MORNING))
    assert all(row["activityId"] for row in with_it)


@pytest.mark.parametrize("assumptions", [{"insertions": 1}, {"insertions": 2, "ghosts": 1}, {"ghosts": 1}])
def test_a_list_that_moves_is_listed_again(assumptions: dict[str, Any], start: Start, opened: Open) -> None:
    sandbox = start(**assumptions)
    pages = read(opened(sandbox, page_size=5), window=MORNING)
    assert ids(pages) == truth(sandbox, MORNING)
    assert sum(page.rows for page in pages) < len(truth(sandbox, MORNING)) * 1.4, "no page of an abandoned pass"


def test_a_list_that_shifts_under_an_unchanged_count_is_listed_again(start: Start, opened: Open) -> None:
    """One event goes, another comes: ``totalCount`` does not tell, the row that pages share does."""
    sandbox = start(insertions=1, ghosts=1)
    assert ids(read(opened(sandbox, page_size=2), window=MORNING)) - truth(sandbox, MORNING) == set()


def test_a_list_that_never_stands_still_is_given_up(start: Start, opened: Open) -> None:
    sandbox = start(insertions=40)
    with pytest.raises(Retriable, match="totalCount went from") as raised:
        read(opened(sandbox, page_size=2, max_restarts=2))
    assert raised.value.retry_after


def test_events_of_one_moment_in_changing_order_are_not_lost(start: Start, opened: Open) -> None:
    sandbox = start(unstable_ties=True)
    assert ids(read(opened(sandbox, page_size=6, max_restarts=50), window=MORNING)) == truth(sandbox, MORNING)


def test_a_stopped_read_begins_its_hour_anew_and_no_earlier_one(start: Start, opened: Open) -> None:
    sandbox = start()
    source = opened(sandbox, page_size=5)
    whole = read(source, window=MORNING)
    inside = next(index for index, page in enumerate(whole) if page.cursor and " " in page.cursor)
    sandbox.clear_log()
    rest = read(source, window=MORNING, cursor=whole[inside].cursor)
    assert [page.body for page in rest] == [page.body for page in whole[inside:]]
    assert paths(sandbox, "event-service") == len(rest)
    assert rest[-1].is_last


def test_events_of_the_last_two_minutes_are_left_to_the_retry(start: Start, opened: Open) -> None:
    sandbox = start()
    midnight = utc("2026-11-20")
    sandbox.context.clock.set(midnight + dt.timedelta(seconds=30))
    pages: list[Page] = []
    source = opened(sandbox)
    with pytest.raises(Retriable, match="may still be joined") as raised:
        pages.extend(source.pages("events", scope=FLEET, window=DAY, cursor=None))
    assert raised.value.retry_after == pytest.approx(91, abs=2)
    sandbox.context.clock.set(midnight + dt.timedelta(seconds=130))
    assert read(source)[-1].is_last


def test_the_future_is_not_asked_for(start: Start, opened: Open) -> None:
    sandbox = start()
    pages: list[Page] = []
    with pytest.raises(IncompleteAnswer, match="into the future"):
        pages.extend(opened(sandbox).pages("events", scope=FLEET, window=Window.day("2026-11-20"), cursor=None))
    assert ids(pages) == truth(sandbox, Window.parse("2026-11-20", "2026-11-20T11:58Z"))
    assert not any(page.is_last for page in pages)


def test_a_late_insert_is_seen_once_it_is_there(start: Start, opened: Open) -> None:
    """An old ``date`` with a later ``creationDate``: no filter finds it but its old time."""
    sandbox = start(late_share=1.0)
    source = opened(sandbox)
    late = [
        row
        for row in room("omni_platform").truth(sandbox.context, "event", DAY, "depot")
        if row["created_time"] - row["event_time"] > dt.timedelta(minutes=30)
    ]
    one = max(late, key=lambda row: row["created_time"])
    hour = one["event_time"].replace(minute=0, second=0, microsecond=0)
    window = Window(hour, hour + dt.timedelta(hours=1))
    sandbox.context.clock.set(one["created_time"] - dt.timedelta(milliseconds=1))
    before = ids(read(source, window=window))
    sandbox.context.clock.set(one["created_time"])
    assert ids(read(source, window=window)) - before == {one["event_id"]}


def test_what_the_vendor_no_longer_keeps_is_not_called_complete(start: Start, opened: Open) -> None:
    sandbox = start(activity_ttl=2, ttl_unit_s=86_400)
    source = opened(sandbox, activity_ttl_unit_s=86_400)
    pages: list[Page] = []
    with pytest.raises(OutOfRetention, match="keeps events for 2 days") as kept:
        pages.extend(source.pages("events", scope=FLEET, window=Window.day("2026-11-18"), cursor=None))
    assert ids(pages) == truth(sandbox, Window.day("2026-11-18"))
    assert not any(page.is_last for page in pages)
    assert kept.value.since is not None
    assert Window.day("2026-11-18").start < kept.value.since <= Window.day("2026-11-18").end
    with pytest.raises(OutOfRetention) as gone:
        read(source, window=Window.day("2026-11-01"))
    assert gone.value.since == Window.day("2026-11-01").end
    assert read(source)[-1].is_last


def test_a_workspace_that_hides_its_retention_is_read_all_the_same(start: Start, opened: Open) -> None:
    sandbox = start(denied="workspaceInfo")
    pages = read(opened(sandbox), window=MORNING)
    assert ids(pages) == truth(sandbox, MORNING)
    assert pages[-1].is_last


def test_an_old_window_proves_nothing_where_the_retention_is_unknown(start: Start, opened: Open) -> None:
    sandbox = start(denied="workspaceInfo")
    old = Window.day("2026-11-16")
    pages: list[Page] = []
    with pytest.raises(ScopeUnavailable, match="does not say how long it keeps events"):
        pages.extend(opened(sandbox).pages("events", scope=FLEET, window=old, cursor=None))
    assert ids(pages) == truth(sandbox, old), "what is still there is loaded"
    assert not any(page.is_last for page in pages)
    with pytest.raises(ScopeUnavailable):
        read(opened(sandbox), window=old, cursor=pages[-1].cursor)
    assert read(opened(sandbox, trusted_history_h=24 * 30), window=old, cursor=pages[-1].cursor)[-1].is_last


# --- reference data (page 2.4) ------------------------------------------------------------------------------------------


def test_archived_agents_are_listed_too(start: Start, opened: Open) -> None:
    agents = rows(read(opened(start()), "agents", None), "agents")
    assert sorted(agent["archived"] for agent in agents) == [False, False, True]


def test_titles_lose_their_login_and_streams_are_not_asked_for(start: Start, opened: Open) -> None:
    cameras = rows(read(opened(start()), "cameras", None), "cameras")
    assert [camera["title"] for camera in cameras][:2] == ["rtsp://192.0.2.10/stream", "rtsp://***@192.0.2.11/stream"]
    assert all("stream" not in camera for camera in cameras)


def test_lists_are_paged_to_their_end(start: Start, opened: Open) -> None:
    sandbox = start(limit_max=8)
    source = opened(sandbox)
    pages = read(source, "profiles", None)
    assert len(pages) > 3
    assert len({row["id"] for row in rows(pages, "profiles")}) == 27
    rest = read(source, "profiles", None, pages[0].cursor)
    assert [page.rows for page in rest] == [page.rows for page in pages], "a broken read begins anew"


def test_people_are_not_even_asked_for_unless_they_are_kept(start: Start, opened: Open) -> None:
    sandbox = start()
    masked = read(opened(sandbox), "profiles", None)
    assert not [page for page in masked if b'"info"' in page.body]
    kept = rows(read(opened(sandbox, personal_data="keep"), "profiles", None), "profiles")
    assert all(row["info"]["name"] for row in kept)


def test_people_in_events_are_masked_unless_they_are_kept(start: Start, opened: Open) -> None:
    sandbox = start()

    def people(**fields: Any) -> set[Any]:
        found = rows(read(opened(sandbox, **fields), window=MORNING))
        return {item.get("gender") for row in found for item in row["data"].get("identification_data", ())}

    assert people() == {None}
    assert people(personal_data="keep") == {"FEMALE", "MALE"}


def test_feeds_are_told_apart(start: Start, opened: Open) -> None:
    source = opened(start())
    with pytest.raises(ConfigError, match="no feed 'event'"):
        read(source, "event")
    with pytest.raises(ConfigError, match="reads windows only"):
        read(source, "events", None)
    with pytest.raises(ConfigError, match="reads windows only"):
        list(source.pages("events", scope=FLEET, window=DAY, cursor=None, stream=True))
    with pytest.raises(ConfigError, match="no cursor of events"):
        read(source, cursor="yesterday")
