from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest
from fleetlake.errors import ConfigError, MalformedAnswer
from fleetlake.reading import FLEET, Page
from fleetlake.sandbox.rooms import room
from fleetlake.sandbox.testing import Running
from fleetlake.vendors.rcs import decode
from fleetlake.vendors.rcs.source import FEEDS, RcsSource
from fleetlake.window import Window, utc

Open = Callable[..., RcsSource]
Logged = Callable[..., list[dict[str, Any]]]
WINDOW = Window.parse("2026-11-11T06:00Z", "2026-11-11T12:00Z")


def rows(feed: str, dataset: str, pages: list[Page]) -> list[dict[str, Any]]:
    return [json.loads(bytes(row)) for page in pages for row in decode.split(feed, dataset, page.body)]


def read(source: RcsSource, feed: str, scope: str = FLEET, window: Window | None = WINDOW, **more: Any) -> list[Page]:
    return list(source.pages(feed, scope=scope, window=window, cursor=more.pop("cursor", None), **more))


def cars(source: RcsSource) -> list[str]:
    return [row["id"] for row in rows("vehicles", "rcs.vehicle", read(source, "vehicles", window=None))]


def true_revisions(sandbox: Running, car: str, window: Window = WINDOW) -> list[str]:
    found = room("rcs").truth(sandbox.context, "telemetry", window, "main")
    return sorted(row["revision"] for row in found if row["vehicle_id"] == car)


def inside(found: list[dict[str, Any]], window: Window = WINDOW) -> set[str]:
    times = {row["revision"].lower(): utc((row.get("device_time") or row["server_time"]) + "Z") for row in found}
    return {revision for revision, time in times.items() if time in window}


def busy_car(source: RcsSource, sandbox: Running) -> str:
    return max(cars(source), key=lambda car: len(true_revisions(sandbox, car)))


def test_vehicles_are_one_last_page(rcs_source: Open) -> None:
    pages = read(rcs_source(), "vehicles", window=None)
    assert [(page.rows, page.is_last, page.cursor, page.status) for page in pages] == [(5, True, None, 200)]
    assert pages[0].request == "GET /vehicles"
    assert pages[0].content_type == "application/json"


VARIANTS = [
    {},
    {"rcs.cursor_inclusive": "false"},
    {"rcs.envelope": "items", "rcs.time_end_inclusive": "false"},
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("take", [7, 1000])
def test_a_window_of_telemetry_is_read_whole_for_both_readings_of_minimum(
    variant: dict[str, str], take: int, rcs_source: Open, start_sandbox: Callable[..., Running]
) -> None:
    place = start_sandbox(variant)
    source = rcs_source(place, take=take)
    car = busy_car(source, place)
    window = WINDOW if take == 7 else Window.parse("2026-11-10", "2026-11-12")
    pages = read(source, "telemetry", car, window)
    found = rows("telemetry", "rcs.telemetry", pages)
    assert inside(found, window) == set(true_revisions(place, car, window))
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert sum(page.rows for page in pages) == len(found)
    cursors = [page.cursor for page in pages]
    assert cursors == sorted(cursors, key=str)
    assert pages[-1].cursor == max(row["revision"].lower() for row in found)


def test_a_window_is_asked_for_in_utc_seconds_without_zone(rcs_source: Open, sandbox: Running, logged: Logged) -> None:
    source = rcs_source(take=1000)
    window = Window(utc("2026-11-10T01:02:03Z"), utc("2026-11-10T02:00:00.5Z"))
    read(source, "telemetry", cars(source)[0], window)
    assert (
        logged(sandbox, 1, path="/telemetry/*")[0]["query"]
        == "from=2026-11-10T01%3A02%3A03&to=2026-11-10T02%3A00%3A01&take=1000"
    )


def test_a_stopped_chain_goes_on_after_its_last_page(rcs_source: Open, sandbox: Running) -> None:
    source = rcs_source(take=20)
    car = busy_car(source, sandbox)
    whole = read(source, "telemetry", car)
    kept = whole[:2]
    rest = read(rcs_source(take=20), "telemetry", car, cursor=kept[-1].cursor)
    assert inside(rows("telemetry", "rcs.telemetry", kept + rest)) == set(true_revisions(sandbox, car))
    assert len(rest) < len(whole)


def test_a_stream_goes_on_by_revision_and_brings_late_rows(rcs_source: Open, sandbox: Running, logged: Logged) -> None:
    source = rcs_source()
    car = busy_car(source, sandbox)
    window = Window.parse("2026-11-10", "2026-11-11")
    everything = rows("telemetry", "rcs.telemetry", read(source, "telemetry", car, window, stream=True))
    revisions = sorted(row["revision"] for row in everything)
    cursor = revisions[len(revisions) // 2]
    later = read(source, "telemetry", car, window, cursor=cursor, stream=True)
    found = {row["revision"] for row in rows("telemetry", "rcs.telemetry", later)}
    assert {revision for revision in revisions if revision > cursor} <= found
    assert logged(sandbox, 1, query=f"take=1000&min_revision={cursor}")


def test_a_stream_without_revision_starts_at_the_windows_start_and_has_no_end(
    rcs_source: Open, sandbox: Running, logged: Logged
) -> None:
    source = rcs_source()
    car = busy_car(source, sandbox)
    window = Window.parse("2026-11-15", "2026-11-15T01:00Z")
    found = rows("telemetry", "rcs.telemetry", read(source, "telemetry", car, window, stream=True))
    assert logged(sandbox, 1, query="from=2026-11-15T00%3A00%3A00&take=1000")
    since = Window.parse("2026-11-15", "2026-11-20")
    assert set(true_revisions(sandbox, car, since)) <= {row["revision"] for row in found}
    with pytest.raises(ConfigError, match="needs a window, or a revision"):
        read(source, "telemetry", car, None, stream=True)


@pytest.mark.parametrize(
    "fault",
    [
        "repeated_page:skip=1,count=1",
        "repeated_page:skip=2,count=1",
        "repeated_page:skip=2",
        "short_page:count=1",
        "reordered_page",
        "empty_page:skip=2,count=1",
        "drop_body:skip=1,count=1",
        "429:skip=1,count=1",
    ],
)
def test_a_faulty_page_loses_no_row(fault: str, rcs_source: Open, sandbox: Running) -> None:
    source = rcs_source(take=30)
    car = busy_car(source, sandbox)
    kind, _, rest = fault.partition(":")
    with sandbox.faults(f"{kind}:vendor=rcs,path=/telemetry/*" + (f",{rest}" if rest else "")):
        pages = read(source, "telemetry", car)
    assert inside(rows("telemetry", "rcs.telemetry", pages)) == set(true_revisions(sandbox, car))
    assert [page.is_last for page in pages].count(True) == 1


@pytest.mark.parametrize("fault", ["error_body", "truncated_body"])
def test_a_malformed_page_is_distrusted_and_the_pages_before_stay(fault: str, rcs_source: Open, sandbox: Running) -> None:
    source = rcs_source(take=30)
    car = busy_car(source, sandbox)
    kept: list[Page] = []
    with (
        sandbox.faults(f"{fault}:vendor=rcs,path=/telemetry/*,skip=2"),
        pytest.raises(MalformedAnswer),
    ):
        kept.extend(source.pages("telemetry", scope=car, window=WINDOW, cursor=None))
    assert len(kept) == 2
    kept += source.pages("telemetry", scope=car, window=WINDOW, cursor=kept[-1].cursor)
    assert inside(rows("telemetry", "rcs.telemetry", kept)) == set(true_revisions(sandbox, car))


def test_health_reports_are_read_in_pieces_of_seven_dates(rcs_source: Open, sandbox: Running, logged: Logged) -> None:
    source = rcs_source()
    car = cars(source)[0]
    pages = read(source, "health_reports", car, Window.parse("2026-10-20", "2026-11-06"))
    entries = logged(sandbox, 3, path="*/health-reports")
    assert [entry["query"].replace("%3A", ":") for entry in entries] == [
        "from=2026-10-20T00:00:00&to=2026-10-26T23:59:59",
        "from=2026-10-27T00:00:00&to=2026-11-02T23:59:59",
        "from=2026-11-03T00:00:00&to=2026-11-05T23:59:59",
    ]
    assert [page.is_last for page in pages] == [False, False, True]
    assert [page.cursor for page in pages] == [
        "2026-10-27T00:00:00+00:00",
        "2026-11-03T00:00:00+00:00",
        "2026-11-06T00:00:00+00:00",
    ]
    resumed = read(source, "health_reports", car, Window.parse("2026-10-20", "2026-11-06"), cursor=pages[0].cursor)
    assert [page.body for page in resumed] == [page.body for page in pages[1:]]


def test_health_reports_and_troubles_are_those_of_the_truth(rcs_source: Open, sandbox: Running) -> None:
    source = rcs_source()
    window = Window.parse("2026-10-20", "2026-11-06")
    pages = [page for car in cars(source) for page in read(source, "health_reports", car, window)]
    for dataset, key in (("health_report", ("id",)), ("trouble", ("report_id", "dtc"))):
        found = sorted(tuple(row[name] for name in key) for row in rows("health_reports", f"rcs.{dataset}", pages))
        names = ("report_id", *key[1:])
        truth = room("rcs").truth(sandbox.context, dataset, window, "main")
        assert found == sorted(tuple(row[name] for name in names) for row in truth)
        assert found


def test_an_overview_of_more_than_seven_dates_is_refused_unsent(rcs_source: Open, sandbox: Running, logged: Logged) -> None:
    source = rcs_source()
    for window in (Window.parse("2026-11-01", "2026-11-09"), Window.parse("2026-11-01T12:00Z", "2026-11-08T06:00Z")):
        with pytest.raises(ConfigError, match="at most 7 calendar days"):
            source.submit("health_overview", window)
    assert source.submit("health_overview", Window.parse("2026-11-01", "2026-11-08"))
    assert len(logged(sandbox, 1, method="POST")) == 1


def test_feeds_are_told_apart(rcs_source: Open) -> None:
    source = rcs_source()
    with pytest.raises(ConfigError, match="submit it, then poll"):
        read(source, "health_overview")
    with pytest.raises(ConfigError, match="no feed 'telemtry'"):
        read(source, "telemtry")
    with pytest.raises(ConfigError, match="needs a window"):
        read(source, "health_reports", "x", None)
    with pytest.raises(ConfigError, match="is no report"):
        source.submit("vehicles", WINDOW)
    with pytest.raises(ConfigError, match="is no report"):
        source.poll("vehicles", "t")
    assert {feed.max_days for feed in FEEDS.values()} == {None, 7}
    assert dt.timedelta(days=7) >= max(piece.end - piece.start for piece in WINDOW.split(7))


@pytest.mark.parametrize(("feed", "dataset"), [("users", "app_user"), ("client_notifications", "client_notification")])
@pytest.mark.parametrize("variant", [{}, {"rcs.envelope": "items", "rcs.time_end_inclusive": "false"}])
def test_users_and_notifications_of_a_window_are_one_page_and_the_truth(
    feed: str, dataset: str, variant: dict[str, str], rcs_source: Open, start_sandbox: Callable[..., Running]
) -> None:
    place = start_sandbox(variant)
    window = Window.parse("2026-11-01", "2026-11-15")
    pages = [page for week in window.split(7) for page in read(rcs_source(place), feed, FLEET, week)]
    assert [page.is_last for page in pages] == [True, True]
    found = [row["id"].lower() for row in rows(feed, f"rcs.{dataset}", pages)]
    key = {"app_user": "user_id", "client_notification": "notification_id"}[dataset]
    truth = [row[key] for row in room("rcs").truth(place.context, dataset, window, "main")]
    assert truth
    assert sorted(found) == sorted(truth)


def test_users_are_asked_for_up_to_the_end_of_the_window_whether_it_belongs_to_it_or_not(
    rcs_source: Open, sandbox: Running, logged: Logged
) -> None:
    read(rcs_source(), "users", FLEET, Window.day("2026-11-10"))
    (entry,) = logged(sandbox, 1, path="/users")
    assert entry["query"].replace("%3A", ":") == "from=2026-11-10T00:00:00&to=2026-11-11T00:00:00"
    with pytest.raises(ConfigError, match="needs a window"):
        read(rcs_source(), "client_notifications", FLEET, None)
