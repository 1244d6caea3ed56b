from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError, IncompleteAnswer, MalformedAnswer, OutOfRetention, ScopeUnavailable
from fleetlake.reading import FLEET, Page
from fleetlake.sandbox.rooms import room
from fleetlake.sandbox.testing import Running
from fleetlake.vendors.powunity import decode, mapping
from fleetlake.vendors.powunity.source import FEEDS, PowUnitySource
from fleetlake.window import Window, utc

Open = Callable[..., PowUnitySource]
Logged = Callable[..., list[dict[str, Any]]]
THREE_DAYS = Window.parse("2026-11-10", "2026-11-13")
INCLUDE = Path(__file__).parents[3] / "include"


def rows(feed: str, pages: list[Page]) -> list[dict[str, Any]]:
    dataset = FEEDS[feed].datasets[0]
    return [json.loads(bytes(row)) for page in pages for row in decode.split(feed, dataset, page.body)]


def read(
    source: PowUnitySource, feed: str, scope: str = FLEET, window: Window | None = THREE_DAYS, **more: Any
) -> list[Page]:
    return list(source.pages(feed, scope=scope, window=window, cursor=more.pop("cursor", None), **more))


def devices(source: PowUnitySource) -> list[str]:
    return [str(row["id"]) for row in rows("devices", read(source, "devices", window=None))]


def test_devices_are_one_last_page(powunity_source: Open) -> None:
    page = read(powunity_source(), "devices", window=None)[0]
    assert (page.rows, page.is_last, page.cursor, page.status, page.request) == (3, True, None, 200, "GET /devices")


@pytest.mark.parametrize("feed", ["positions", "events", "trips", "stops", "summary"])
def test_one_page_per_device_and_day_whose_rows_are_the_truth(feed: str, powunity_source: Open, sandbox: Running) -> None:
    source = powunity_source()
    pages = [page for device in devices(source) for page in read(source, feed, device)]
    assert len(pages) == 9
    assert [page.is_last for page in pages] == [False, False, True] * 3
    assert [page.cursor for page in pages[:3]] == [f"2026-11-{day}T00:00:00+00:00" for day in (11, 12, 13)]
    found = rows(feed, pages)
    assert sum(page.rows for page in pages) == len(found)
    time = {"positions": "fixTime", "events": "eventTime"}.get(feed, "startTime")
    column = "event_time" if feed in ("positions", "events") else "start_time"
    dataset = FEEDS[feed].datasets[0].removeprefix("powunity.")
    truth = list(room("powunity").truth(sandbox.context, dataset, THREE_DAYS, "north"))
    assert truth
    assert sorted((str(row["deviceId"]), utc(row[time])) for row in found) == sorted(
        (str(row["device_id"]), utc(row[column])) for row in truth
    )


def test_a_report_never_uses_the_fast_mode(powunity_source: Open) -> None:
    source = powunity_source()
    trips = [row for device in devices(source) for row in rows("trips", read(source, "trips", device))]
    assert trips
    assert all(trip["maxSpeed"] > 0 for trip in trips)


def test_a_stopped_read_goes_on_with_the_next_day(powunity_source: Open, sandbox: Running, logged: Logged) -> None:
    source = powunity_source()
    device = devices(source)[0]
    whole = read(source, "positions", device)
    sandbox.clear_log()
    rest = read(source, "positions", device, cursor=whole[0].cursor)
    assert [page.body for page in rest] == [page.body for page in whole[1:]]
    assert rest[-1].is_last


def test_a_partial_day_is_asked_for_as_it_is(powunity_source: Open) -> None:
    source = powunity_source()
    window = Window.parse("2026-11-10T12:00Z", "2026-11-11T06:00Z")
    pages = read(source, "positions", devices(source)[0], window)
    assert [page.request.split("&", 1)[1].replace("%3A", ":") for page in pages] == [
        "from=2026-11-10T12:00:00Z&to=2026-11-10T23:59:59.999Z",
        "from=2026-11-11T00:00:00Z&to=2026-11-11T05:59:59.999Z",
    ]


@pytest.mark.parametrize("fault", ["truncated_body", "error_body"])
def test_a_malformed_answer_yields_no_page(fault: str, powunity_source: Open, sandbox: Running) -> None:
    source = powunity_source()
    device = devices(source)[0]
    pages: list[Page] = []
    with sandbox.faults(f"{fault}:path=/api/positions,skip=1"), pytest.raises(MalformedAnswer):
        pages.extend(source.pages("positions", scope=device, window=THREE_DAYS, cursor=None))
    assert [page.is_last for page in pages] == [False]


def test_days_the_server_has_dropped_are_not_taken_for_deleted(powunity_source: Open) -> None:
    today = Window.day(dt.datetime.now(dt.UTC).date().isoformat()).start
    old, young = (Window(start, start + dt.timedelta(hours=1)) for start in (today - dt.timedelta(days=31), today))
    source = powunity_source(history_days=30)
    assert len(read(source, "positions", devices(source)[0], young)) == 1
    for feed in ("positions", "events", "trips", "stops", "summary"):
        with pytest.raises(OutOfRetention, match=r"keeps 30 days.*raise history_days") as gone:
            read(source, feed, "1", old)
        assert gone.value.since == old.end
    assert len(read(powunity_source(), "positions", devices(source)[0], old)) == 1
    with pytest.raises(ConfigError, match="history_days is -1"):
        powunity_source(history_days=-1)


def test_the_days_still_kept_are_read_before_it_is_said_that_others_are_gone(powunity_source: Open) -> None:
    today = Window.day(dt.datetime.now(dt.UTC).date().isoformat()).start
    window = Window(today - dt.timedelta(days=3), today - dt.timedelta(days=1))
    source = powunity_source(history_days=3)
    pages: list[Page] = []
    with pytest.raises(OutOfRetention) as gone:
        pages.extend(source.pages("trips", scope=devices(source)[0], window=window, cursor=None))
    assert [page.is_last for page in pages] == [False], "of a day that is kept in part nothing is read"
    assert gone.value.since == today - dt.timedelta(days=2)


def test_a_day_at_the_server_s_cap_is_read_in_pieces_below_it(powunity_source: Open, sandbox: Running) -> None:
    whole, capped = powunity_source(), powunity_source(max_positions=40)
    device = devices(whole)[0]
    window = Window.day("2026-11-11")
    truth = [bytes(row) for row in decode.rows(read(whole, "positions", device, window)[0].body)]
    pages = read(capped, "positions", device, window)
    assert len(truth) > 80
    assert [bytes(row) for page in pages for row in decode.rows(page.body)] == truth
    assert max(page.rows for page in pages) < 40
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    half = pages[len(pages) // 2].cursor
    resumed = read(capped, "positions", device, window, cursor=half)
    assert [bytes(row) for page in resumed for row in decode.rows(page.body)] == [
        bytes(row) for page in pages[len(pages) // 2 + 1 :] for row in decode.rows(page.body)
    ]
    with pytest.raises(IncompleteAnswer, match="the vendor gives no more"):
        read(powunity_source(max_positions=1), "positions", device, window)


def test_a_device_of_another_account_is_skippable(powunity_source: Open) -> None:
    with pytest.raises(ScopeUnavailable):
        read(powunity_source(), "positions", "1")


def test_feeds_are_told_apart(powunity_source: Open) -> None:
    source = powunity_source()
    with pytest.raises(ConfigError, match="no feed 'trip'"):
        read(source, "trip", "1")
    with pytest.raises(ConfigError, match="reads windows only"):
        read(source, "trips", "1", None)
    with pytest.raises(ConfigError, match="reads windows only"):
        read(source, "trips", "1", stream=True)
    assert source.check().startswith("Traccar 5.12")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "empty"),
        (b"<html>Bad Gateway</html>", "web page"),
        (b"Connection is not available - SQLTransientConnectionException", "a text: 'Connection is not"),
        (b'{"servlet":"x","message":"Not Found","status":"404"}', "object"),
        (b'[{"id":1},{"id', "truncated"),
        (b"null", "a text"),
    ],
)
def test_anything_but_a_whole_array_is_malformed(body: bytes, text: str) -> None:
    with pytest.raises(MalformedAnswer, match=text):
        decode.split("trips", "powunity.trip", body)


def test_rows_keep_the_vendors_bytes() -> None:
    body = b'[{"id":1,"speed":5.50,"attributes":{"batteryLevel":90.0}}]'
    assert bytes(decode.split("positions", "powunity.position", body)[0]) == body[1:-1]
    with pytest.raises(ConfigError):
        decode.split("trips", "powunity.stop", b"[]")


def test_the_event_time_of_old_servers_is_read() -> None:
    old = b'[{"id":1,"type":"alarm","serverTime":"2026-01-05T00:00:00.000+00:00"}]'
    assert (
        json.loads(bytes(decode.split("events", "powunity.event", old)[0]))["eventTime"] == "2026-01-05T00:00:00.000+00:00"
    )
    new = b'[{"id":1,"eventTime":"2026-01-05T00:00:00.000+00:00","serverTime":"x"}]'
    assert bytes(decode.split("events", "powunity.event", new)[0]) == new[1:-1]


def test_every_column_without_source_is_derived() -> None:
    for table, contract in load_contracts(INCLUDE, "powunity").items():
        odd = {column.name for column in contract.columns if column.source is None}
        derivation = mapping.DERIVATIONS.get(table)
        for size in (0, 2):
            columns = {column.name: pa.nulls(size, column.arrow_type) for column in contract.columns if column.source}
            made = derivation.make({}, columns) if derivation else {}
            assert set(made) == odd
            assert all(len(values) == size for values in made.values())


def test_the_day_of_a_summary_is_that_of_its_first_position_in_utc() -> None:
    moment = utc("2026-11-11T23:59:59+00:00")
    times = pa.array([moment, None], pa.timestamp("us", tz="UTC"))
    days = mapping.DERIVATIONS["powunity.summary"].make({}, {"start_time": times})["summary_day"]
    assert [str(day) for day in days.to_pylist()] == ["2026-11-11", "None"]
