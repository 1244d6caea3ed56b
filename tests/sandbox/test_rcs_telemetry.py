"""Telemetry by revision: trap 9 of the vendor page, and the clock."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from fleetlake.sandbox.rcs.park import Park

FROM, TO = "2026-11-14T00:00:00", "2026-11-17T23:59:59"


def history(rcs: Any, vehicle: str, **query: Any) -> list[dict[str, Any]]:
    return rcs.rows(f"/telemetry/history/{vehicle}", **query)  # type: ignore[no-any-return]


def read_all(rcs: Any, vehicle: str, *, inclusive: bool = True, take: int = 500, **query: Any) -> list[dict[str, Any]]:
    """The plainest paging loop there is."""
    found: dict[str, dict[str, Any]] = {}
    cursor: dict[str, str] = {}
    while True:
        page = history(rcs, vehicle, take=take, **cursor, **query)
        new = [row for row in page if row["revision"] not in found]
        if not inclusive:
            assert len(new) == len(page)
        if not new:
            return list(found.values())
        found |= {row["revision"]: row for row in new}
        cursor = {"min_revision": max(found)}


def vehicles(rcs: Any, count: int = 6) -> list[str]:
    return [car.id for car in Park(rcs.sandbox.context).readable("main")][:count]


def test_records_are_ordered_by_receipt_while_device_time_runs_backwards(rcs: Any) -> None:
    backwards = 0
    for vehicle in vehicles(rcs)[:4]:
        rows = history(rcs, vehicle, from_=FROM, to=TO, take=1000)
        revisions = [row["revision"] for row in rows]
        assert all(re.fullmatch("[0-9a-f]{16}", revision) for revision in revisions)
        assert revisions == sorted(set(revisions))
        received = [row["server_time"] for row in rows]
        assert received == sorted(received)
        devices = [row["device_time"] for row in rows if "device_time" in row]
        backwards += devices != sorted(devices)
    assert backwards


def test_revisions_are_unique_in_the_fleet_and_grow_with_receipt(rcs: Any) -> None:
    rows = [row for vehicle in vehicles(rcs) for row in history(rcs, vehicle, from_=FROM, to=TO, take=1000)]
    assert len({row["revision"] for row in rows}) == len(rows)
    rows.sort(key=lambda row: row["revision"])
    received = [row["server_time"] for row in rows]
    assert received == sorted(received)


def test_paging_gives_the_same_rows_whatever_take_is(rcs: Any) -> None:
    vehicle = vehicles(rcs)[2]
    whole = read_all(rcs, vehicle, take=1000, from_=FROM, to=TO)
    assert len(whole) > 600
    assert read_all(rcs, vehicle, take=37, from_=FROM, to=TO) == whole
    assert len(history(rcs, vehicle, from_=FROM)) == 100, "default take"


def test_an_inclusive_cursor_with_take_1_stands_still(rcs: Any) -> None:
    vehicle = vehicles(rcs)[0]
    first = history(rcs, vehicle, take=1, from_=FROM)
    assert history(rcs, vehicle, take=1, from_=FROM, min_revision=first[0]["revision"]) == first


def test_an_exclusive_cursor_skips_what_is_known(start: Callable[..., Any], rcs_client: Any, rcs: Any) -> None:
    exclusive = rcs_client(start(**{"rcs.cursor_inclusive": False}))
    vehicle = vehicles(rcs)[0]
    query = {"from_": FROM, "to": "2026-11-15T23:59:59"}
    assert read_all(exclusive, vehicle, inclusive=False, **query) == read_all(rcs, vehicle, **query)


def test_a_revision_is_understood_in_any_case(rcs: Any) -> None:
    vehicle = vehicles(rcs)[0]
    rows = history(rcs, vehicle, take=20, from_=FROM)
    revision = next(row["revision"] for row in rows if re.search("[a-f]", row["revision"]))
    assert history(rcs, vehicle, take=5, min_revision=revision.upper()) == history(
        rcs, vehicle, take=5, min_revision=revision
    )


def test_both_ends_of_the_window_are_inclusive_and_filter_on_event_time(rcs: Any, start: Any, rcs_client: Any) -> None:
    vehicle = vehicles(rcs)[1]
    rows = history(rcs, vehicle, take=1000, from_=FROM, to=TO)
    event = sorted(row.get("device_time") or row["server_time"] for row in rows)
    low, high = event[10], event[200]
    inside = history(rcs, vehicle, take=1000, from_=low, to=high)
    expected = [row for row in rows if low <= (row.get("device_time") or row["server_time"]) <= high]
    assert inside == expected
    half_open = rcs_client(start(**{"rcs.time_end_inclusive": False}))
    assert high not in [row.get("device_time") for row in history(half_open, vehicle, take=1000, from_=low, to=high)]


def test_some_records_have_no_device_time(rcs: Any) -> None:
    rows = read_all(rcs, vehicles(rcs)[0], from_=FROM, to=TO)
    share = sum("device_time" not in row for row in rows) / len(rows)
    assert 0.001 < share < 0.1


def test_records_are_sparse_and_locations_are_sometimes_hidden(rcs: Any) -> None:
    rows = [
        row
        for vehicle in vehicles(rcs)
        for row in read_all(rcs, vehicle, take=1000, from_="2026-11-12T00:00:00", to="2026-11-16T00:00:00")
    ]
    hidden = [row for row in rows if row.get("telemetry_tracking_mode") == "HIDE_LOCATION"]
    assert hidden
    assert all(row.get("latitude") is None and row.get("longitude") is None for row in hidden)
    assert any("latitude" in row and row["latitude"] is None for row in hidden), "null as well as absent"
    for name in ("speed", "mileage", "fuel_liters", "coolant_temperature", "tire_status_front_left"):
        known = sum(row.get(name) is not None for row in rows)
        assert 0 < known < len(rows), name


def test_the_volume_is_that_of_a_real_fleet(rcs: Any) -> None:
    counts = [len(read_all(rcs, vehicle, take=1000, from_=FROM, to=TO)) / 4 for vehicle in vehicles(rcs)]
    assert 250 < sum(counts) / len(counts) < 600


def test_times_have_no_zone_and_whole_seconds(rcs: Any) -> None:
    for row in history(rcs, vehicles(rcs)[0], from_=FROM):
        for name in ("server_time", "device_time", "processed_time"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", row.get(name, "2026-11-14T00:00:00"))


def test_what_arrives_after_now_is_not_there_yet(start: Callable[..., Any], rcs_client: Any, rcs: Any) -> None:
    vehicle = vehicles(rcs)[3]
    window = {"from_": "2026-11-15T00:00:00", "to": "2026-11-15T23:59:59"}
    early = rcs_client(start(as_of=dt.datetime(2026, 11, 15, 18, tzinfo=dt.UTC)))
    seen = read_all(early, vehicle, **window)
    assert 0 < len(seen) < len(read_all(rcs, vehicle, **window))
    assert max(row["server_time"] for row in seen) <= "2026-11-15T18:00:00"
    early.sandbox.context.clock.set(dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC))
    cursor = max(row["revision"] for row in seen)
    later = (
        read_all(early, vehicle, min_revision_="", **window)
        if False
        else history(early, vehicle, take=1000, min_revision=cursor, **window)
    )
    assert {row["revision"] for row in seen + later} == {row["revision"] for row in read_all(rcs, vehicle, **window)}


def test_late_uploads_come_after_the_cursor(rcs: Any) -> None:
    """What a stream reads from a cursor on holds rows of days that were long read."""
    old = 0
    for vehicle in vehicles(rcs):
        rows = read_all(rcs, vehicle, take=1000, from_="2026-11-13T00:00:00", to="2026-11-14T23:59:59")
        cursor = max(row["revision"] for row in rows if row["server_time"] < "2026-11-15")
        stream = history(rcs, vehicle, take=1000, min_revision=cursor)
        old += sum(row.get("device_time", "9") < "2026-11-14T12:00:00" for row in stream)
    assert old


def test_the_other_envelope_holds_the_same_rows(start: Callable[..., Any], rcs_client: Any, rcs: Any) -> None:
    other = rcs_client(start(**{"rcs.envelope": "items"}))
    vehicle = vehicles(rcs)[0]
    assert set(other.get(f"/telemetry/history/{vehicle}", from_=FROM).json()) == {"items"}
    assert history(other, vehicle, from_=FROM) == history(rcs, vehicle, from_=FROM)


def test_a_second_sandbox_gives_the_same_bytes(start: Callable[..., Any], rcs_client: Any, rcs: Any) -> None:
    other = rcs_client(start())
    paths = [f"/telemetry/history/{vehicle}?from={FROM}&take=300" for vehicle in vehicles(rcs)[:3]]
    paths += ["/vehicles", f"/vehicles/{vehicles(rcs)[0]}/health-reports?from={FROM}&to={TO}"]
    expected = {path: rcs.get(path).content for path in paths}
    assert {path: other.get(path).content for path in reversed(paths)} == expected


def test_a_page_of_a_thousand_records_is_served_fast(start: Callable[..., Any], rcs_client: Any) -> None:
    rcs = rcs_client(start(vehicles=5000))
    seconds = []
    for index in (17, 234, 1321):
        car = next(islice(Park(rcs.sandbox.context).readable("main"), index, None))
        rcs.get("/parameters")
        begun = time.perf_counter()
        assert len(history(rcs, car.id, from_="2025-06-01T00:00:00", take=1000)) == 1000
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 0.25, "cold, on a busy machine"
