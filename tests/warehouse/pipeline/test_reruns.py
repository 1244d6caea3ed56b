"""The same work twice, retries, repetitions and skips: what is asked of the vendor, and what changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fleetlake.errors import (
    ConfigError,
    FleetlakeError,
    IncompleteAnswer,
    ScopeUnavailable,
    UnknownVehicle,
    VendorUnavailable,
)
from fleetlake.reading import Lane
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import PowUnityConfig
from fleetlake.vendors.powunity.source import PowUnitySource
from fleetlake.window import Window

DAY = "2026-11-20"
TABLES = ["powunity.device", "powunity.position", "powunity.event", "powunity.trip", "powunity.stop", "powunity.summary"]
OPS = "SELECT dataset, state, count(*) FROM ops.load GROUP BY 1, 2 ORDER BY 1, 2"


def test_repeated_run_asks_anew_and_changes_no_row(place):
    place.load_bikes(DAY)
    before = [place.all_rows(table) for table in TABLES]
    asked = place.requests("powunity")
    place.sandbox.clear_log()
    place.load_bikes(DAY, force=True)
    assert place.requests("powunity") == asked
    assert [place.all_rows(table) for table in TABLES] == before


def test_lake_and_warehouse_hold_the_same_rows_with_provenance(place):
    place.load_bikes(DAY)
    for table in TABLES:
        warehouse, lake = place.all_rows(table)
        assert warehouse == lake, table


def test_retry_goes_on_where_the_first_try_broke(place):
    run = place.run("powunity", DAY)
    with place.pipeline("powunity") as pipeline:
        (chunk,) = pipeline.plan(run, entity_feed="devices", feeds=["trips"])
        with (
            place.sandbox.faults("drop:vendor=powunity,path=*/reports/trips,skip=2,count=20"),
            pytest.raises(VendorUnavailable),
        ):
            pipeline.load(run, feeds=["trips"], scopes=chunk)
    done = place.sql("SELECT count(DISTINCT scope) FROM ops.read WHERE feed = 'trips' AND is_complete")[0][0]
    assert 0 < done < len(chunk), "what came home before the fault is published"
    place.sandbox.clear_log()
    with place.pipeline("powunity") as pipeline:
        pipeline.load(run, feeds=["trips"], scopes=chunk)
    assert len([entry for entry in place.sandbox.log("powunity") if "/reports/trips" in entry["path"]]) == len(chunk) - done
    place.assert_true("powunity.trip", Window.day(DAY))


def gives_up_at_once(place):
    """The bikes' source, sending each request once."""
    customer = place.sandbox.customers["powunity"]["north"]
    login = {"email": customer["email"], "password": customer["password"], "base_url": place.sandbox.urls["powunity"]}
    return PowUnitySource(PowUnityClient(PowUnityConfig(**login, rate_per_s=100, burst=20, max_attempts=1)))


def test_bikes_that_cannot_be_read_keep_no_other_from_being_read_by_the_next_try(place):
    place.powunity_source = lambda: gives_up_at_once(place)
    run = place.run("powunity", DAY)
    with place.pipeline("powunity") as pipeline:
        (chunk,) = pipeline.plan(run, entity_feed="devices", feeds=["trips"])
        *odd, healthy = chunk
        faults = [f"drop:vendor=powunity,path=*/reports/trips*,query=*deviceId={bike}*,count=1000" for bike in odd]
        with place.sandbox.faults(*faults):
            with pytest.raises(VendorUnavailable):
                pipeline.load(run, feeds=["trips"], scopes=chunk)
            with pytest.raises(IncompleteAnswer, match="not complete"):
                pipeline.certify(run, datasets=["powunity.trip"])
            unread = place.sql("SELECT scope, proof, next_by FROM ops.hole WHERE proof LIKE 'unread%'")
            assert unread == [(healthy, "unread: the run that was to read it never asked", "self-heal")]
            assert [row[0] for row in place.sql("SELECT scope FROM ops.hole ORDER BY 1")] == sorted(chunk)
            with pytest.raises(VendorUnavailable):
                pipeline.load(run, feeds=["trips"], scopes=chunk)
    assert [row[0] for row in place.sql("SELECT scope FROM ops.hole ORDER BY 1")] == sorted(odd)


TRIPS, STOPS = ("trips", "/reports/trips"), ("stops", "/reports/stops")
PROFILES, EVENTS = ("profiles", "/profile"), ("events", "/reports/events/")


@pytest.mark.parametrize(
    ("vendor", "entity", "first", "second", "look_back_days"),
    [
        pytest.param("powunity", ("devices", "/api/devices"), TRIPS, STOPS, 0, id="fixed"),
        pytest.param("powunity", ("devices", "/api/devices"), TRIPS, STOPS, None, id="learned"),
        pytest.param("omnicomm", ("vehicle_tree", "/tree/vehicle"), PROFILES, EVENTS, None, id="fixed then learned"),
        pytest.param("omnicomm", ("vehicle_tree", "/tree/vehicle"), EVENTS, PROFILES, None, id="learned then fixed"),
    ],
)
def test_neither_a_retry_nor_clearing_a_failed_run_repeats_a_feed_that_is_read(
    place, vendor, entity, first, second, look_back_days
):
    """A worker may die after its last page was published and before anybody knows: its retry has nothing to do."""
    place.accounts[vendor] = replace(place.accounts[vendor], look_back_days=look_back_days)
    run = place.run(vendor, DAY, mode="stream")

    def load(**changes):
        place.sandbox.clear_log()
        again = replace(run, **changes)
        with place.pipeline(vendor) as pipeline:
            chunks = pipeline.plan(again, entity_feed=entity[0], feeds=[])
            pipeline.load(again, feeds=[first[0], second[0]], scopes=[scope for chunk in chunks for scope in chunk])

    def load_in_vain(**changes):
        with place.sandbox.faults(f"truncated_body:vendor={vendor},path=*{second[1]}*"), pytest.raises(FleetlakeError):
            load(**changes)

    def asked():
        paths = [entry["path"] for entry in place.sandbox.log(vendor)]
        found = {name: sum(part in path for path in paths) for name, part in (entity, first, second)}
        return {name: count for name, count in found.items() if count}

    load_in_vain()
    vehicles = asked()[first[0]]
    load()
    assert asked() == {second[0]: vehicles}, "the list and the first feed were published by the first try"
    load()
    assert asked() == {}
    whole = {entity[0]: 1, first[0]: vehicles, second[0]: vehicles}
    load(clears=1)
    assert asked() == whole, "a finished run is cleared to have all of it read again"
    load(clears=1)
    assert asked() == {}
    load_in_vain(clears=2)
    load_in_vain(clears=2)
    assert first[0] not in asked()
    load(clears=3)
    assert asked() == {entity[0]: 1, second[0]: vehicles}, "the list is a task of its own"
    load(clears=3)
    assert asked() == {}
    load(clears=4)
    assert asked() == whole


def test_clearing_a_finished_run_asks_anew_for_all_although_a_vehicle_is_refused(place, monkeypatch):
    run = place.run("powunity", DAY)
    with place.pipeline("powunity") as pipeline:
        (chunk,) = pipeline.plan(run, entity_feed="devices", feeds=["trips"])
    original, asked = PowUnityClient.trips, []

    def trips(client, device, window):
        asked.append(device)
        if device == chunk[0]:
            raise ScopeUnavailable("no access")
        return original(client, device, window)

    monkeypatch.setattr(PowUnityClient, "trips", trips)
    for clears, wanted in [(0, chunk), (0, chunk[:1]), (1, chunk), (1, chunk[:1]), (2, chunk)]:
        asked.clear()
        with place.pipeline("powunity") as pipeline:
            pipeline.load(replace(run, clears=clears), feeds=["trips"], scopes=chunk)
        assert sorted(asked) == sorted(wanted), clears


def test_a_retry_of_a_finished_stream_asks_for_nothing(place):
    place.load_telemetry("2026-11-21", mode="stream")
    scopes = [row[0] for row in place.sql("SELECT vehicle_id FROM rcs.vehicle ORDER BY 1")]
    place.sandbox.clear_log()
    for clears, wanted in [(0, 0), (1, len(scopes)), (1, 0)]:
        place.sandbox.clear_log()
        run = place.run("rcs", "2026-11-21", mode="stream", clears=clears)
        with place.pipeline("rcs") as pipeline:
            pipeline.load(run, feeds=["telemetry"], scopes=scopes)
        asked = {entry["path"] for entry in place.sandbox.log("rcs") if "/telemetry/" in entry["path"]}
        assert len(asked) == wanted


def test_certificate_names_what_is_missing(place):
    run = place.run("powunity", DAY)
    with place.pipeline("powunity") as pipeline:
        (chunk,) = pipeline.plan(run, entity_feed="devices", feeds=["trips"])
        pipeline.load(run, feeds=["trips"], scopes=chunk[:3])
        with pytest.raises(IncompleteAnswer, match=rf"powunity.trip: 1 of 4 not complete \({chunk[3]}\)"):
            pipeline.certify(run, datasets=["powunity.trip"])


def test_explicit_window_skips_what_is_complete_unless_forced(place):
    place.load_bikes(DAY)
    manual = {"run_id": "manual", "partition": None}
    run = place.run("powunity", DAY, **manual)
    with place.pipeline("powunity") as pipeline:
        assert pipeline.plan(run, entity_feed="devices", feeds=["trips"]) == []
        forced = place.run("powunity", DAY, force=True, **manual)
        assert len(pipeline.plan(forced, entity_feed="devices", feeds=["trips"])[0]) == 4


def test_reprocessed_partition_asks_anew(place):
    """Airflow makes a new run beside the old one: somebody asked for it, so nothing is skipped."""
    place.load_bikes(DAY)
    with place.pipeline("powunity") as pipeline:
        again = place.run("powunity", DAY, run_id="reprocess")
        assert len(pipeline.plan(again, entity_feed="devices", feeds=["trips"])[0]) == 4


def test_vehicles_are_chosen_by_any_identity_and_unknown_ones_are_named(place):
    place.load_telemetry("2026-11-21")
    vehicle_id, vin = place.sql("SELECT vehicle_id, vin FROM rcs.vehicle ORDER BY vin LIMIT 1")[0]
    with place.pipeline("rcs") as pipeline:
        run = place.run("rcs", DAY, vehicles=(vin.lower(),))
        assert pipeline.plan(run, entity_feed="vehicles", feeds=["telemetry"]) == [[vehicle_id]]
        with pytest.raises(UnknownVehicle, match=f"did you mean '{vin.lower()}'"):
            pipeline.plan(place.run("rcs", DAY, vehicles=(vin[:-1],)), entity_feed="vehicles", feeds=["telemetry"])


def test_a_run_about_one_table_reads_only_its_feed_and_is_certified_for_it(place):
    place.sandbox.clear_log()
    place.load_bikes(DAY, datasets=("powunity.trip",))
    paths = {entry["path"].rpartition("/api")[2] for entry in place.sandbox.log("powunity")}
    assert any(path.endswith("/reports/trips") for path in paths)
    assert not any("positions" in path or "events" in path or "stops" in path for path in paths)
    assert place.sql("SELECT DISTINCT dataset FROM ops.coverage") == [("powunity.trip",)]


def test_a_table_that_the_vendor_has_not_is_named(place):
    with pytest.raises(ConfigError, match=r"no table 'powunity.trips'.*powunity.trip"):
        place.load_bikes(DAY, datasets=("powunity.trips",))


def test_a_backfill_reads_only_what_is_missing_although_another_run_loaded_the_day(place):
    place.load_bikes(DAY)
    place.sandbox.clear_log()
    place.load_bikes(DAY, lane=Lane.BACKFILL, run_id="backfill")
    assert not [entry for entry in place.sandbox.log("powunity") if "/reports/" in entry["path"]]


def test_number_of_chunks_is_bounded_whatever_the_fleet(place):
    with place.pipeline("rcs") as pipeline:
        chunks = pipeline._parts.chunks([str(number) for number in range(10_000)])
    assert len(chunks) == place.accounts["rcs"].max_chunks
    assert sorted(scope for chunk in chunks for scope in chunk) == sorted(str(number) for number in range(10_000))


def test_crash_between_lake_and_warehouse_is_healed_by_publishing_again(place, monkeypatch):
    from fleetlake.warehouse import Publication

    class Crash(BaseException):
        pass

    def crash(*_args):
        raise Crash

    run = place.run("powunity", DAY)
    with place.pipeline("powunity") as pipeline:
        (chunk,) = pipeline.plan(run, entity_feed="devices", feeds=["trips"])
        with monkeypatch.context() as patch:
            patch.setattr(Publication, "upsert", crash)
            with pytest.raises(Crash):
                pipeline.load(run, feeds=["trips"], scopes=chunk)
    warehouse, lake = place.all_rows("powunity.trip")
    assert (len(warehouse), len(lake) > 0) == (0, True)
    place.sandbox.clear_log()
    with place.pipeline("powunity") as pipeline:
        pipeline.load(run, feeds=["trips"], scopes=chunk)
    assert not [entry for entry in place.sandbox.log("powunity") if "/reports/" in entry["path"]], "raw had it all"
    warehouse, lake = place.all_rows("powunity.trip")
    assert warehouse == lake
    place.assert_true("powunity.trip", Window.day(DAY))


def test_two_workers_on_the_same_task_give_one_result(place):
    run = place.run("powunity", DAY)
    with place.pipeline("powunity") as pipeline:
        (chunk,) = pipeline.plan(run, entity_feed="devices", feeds=["trips", "stops"])

    def work(_):
        with place.pipeline("powunity") as pipeline:
            return pipeline.load(run, feeds=["trips", "stops"], scopes=chunk)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    for table in ("powunity.trip", "powunity.stop"):
        place.assert_true(table, Window.day(DAY))
        warehouse, lake = place.all_rows(table)
        assert warehouse == lake, table
