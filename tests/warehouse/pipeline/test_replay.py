"""What the journal names is published once more, from raw alone."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import yaml
from fleetlake.errors import FleetlakeError
from fleetlake.pipeline.replay import Replayer
from fleetlake.settings import Settings
from fleetlake.window import Window

from .conftest import INCLUDE, Place

DAY = "2026-11-20"
NEXT = "2026-11-21"
OPS = ["load", "read", "coverage", "coverage_attempt", "cursor", "quality_result", "quarantine", "publication"]
VENDORS = ["rcs", "powunity"]


def ops(place, names=OPS):
    """Every column of every row, clocks included."""
    return {name: sorted(map(repr, place.sql(f"SELECT * FROM ops.{name}"))) for name in names}


def tables(place):
    """Every column of every row in both stores; in the warehouse also when it was loaded."""
    found = {}
    for table, contract in place.contracts.items():
        if contract.vendor in VENDORS:
            found[table] = (place.all_rows(table), sorted(map(repr, place.sql(f"SELECT * FROM {table}"))))
    return found


def replay(settings, vendors=VENDORS, **options):
    how = {"as_then": options.pop("as_then", False)}
    summaries = {}
    for vendor in vendors:
        with Replayer(settings, vendor, **how) as replayer:
            summaries |= replayer.replay(replayer.entries(**options)).as_dict()
    return summaries


def entries(place):
    return sorted(str(path) for path in (place.settings.home / "raw" / "_journal").rglob("*.json"))


@pytest.fixture(scope="module")
def loaded(sandbox, make_database, tmp_path_factory):
    """Streams, windows, a report, a reading that failed, another that brought nothing, and rows marked deleted."""
    home = tmp_path_factory.mktemp("loaded")
    settings = Settings(
        home=home,
        include=INCLUDE,
        warehouse_url=make_database(migrated=True),
        lake_url=str(home / "lake"),
        raw_url=str(home / "raw"),
    )
    place = Place(sandbox, settings)
    place.load_telemetry(DAY, mode="stream")
    with place.sandbox.faults("drop:vendor=rcs,path=*/telemetry/*,count=6"), pytest.raises(FleetlakeError):
        place.load_telemetry(NEXT, mode="stream", run_id="fails")
    place.load_telemetry(NEXT, mode="stream")
    place.load_health(DAY)
    place.load_bikes(DAY)
    with place.sandbox.faults("empty_page:vendor=powunity,path=*/trips*,count=50"):
        place.load_bikes(DAY, run_id="lies", force=True)
    place.load_bikes(DAY, run_id="again", force=True)
    yield place
    place.warehouse.close()


@pytest.fixture(scope="module", autouse=True)
def known(loaded):
    """The ledger as loading left it: a replay into the stores in use is a publication too."""
    return ops(loaded)


def test_replaying_everything_into_the_stores_in_use_changes_nothing(loaded):
    rows, known, names = tables(loaded), ops(loaded, [*OPS[:-1], "change"]), entries(loaded)
    asked = [loaded.requests(vendor) for vendor in VENDORS]
    summaries = replay(loaded.settings)
    assert tables(loaded) == rows
    assert ops(loaded, [*OPS[:-1], "change"]) == known
    assert entries(loaded) == names
    assert [loaded.requests(vendor) for vendor in VENDORS] == asked
    for counts in summaries.values():
        assert counts["batches"] > 0
        assert (counts["inserted"], counts["updated"], counts["deleted"]) == (0, 0, 0)


def test_replaying_everything_into_empty_stores_makes_them_anew_clocks_included(loaded, known, make_database, tmp_path):
    fresh = Place(
        loaded.sandbox,
        replace(loaded.settings, warehouse_url=make_database(migrated=True), lake_url=str(tmp_path / "lake-2")),
    )
    names = entries(loaded)
    try:
        replay(fresh.settings, as_then=True)
        made = tables(fresh)
        for table, rows in tables(loaded).items():
            assert made[table] == rows, table
        for name, rows in known.items():
            found = ops(fresh, [name])[name]
            assert (sorted({*found} - {*rows}), sorted({*rows} - {*found})) == ([], []), name
            assert found == rows, name
    finally:
        fresh.warehouse.close()
    assert entries(loaded) == names


def test_loads_are_replayed_by_their_names(loaded):
    [(load_id,)] = loaded.sql(
        "SELECT load_id FROM ops.load WHERE dataset = 'powunity.trip' AND rows_inserted > 0 ORDER BY published_at LIMIT 1"
    )
    with Replayer(loaded.settings, "powunity") as replayer:
        [entry] = replayer.of_loads([load_id, "unknown"])
        assert (entry.load_id, entry.name.dataset) == (load_id, "powunity.trip")
        assert replayer.replay([entry]).as_dict()["powunity.trip"]["batches"] == 1


def test_entries_are_chosen_by_table_account_time_and_vehicle(loaded):
    vehicle = loaded.sql("SELECT min(device_id)::text FROM powunity.device")[0][0]
    day, other = Window.day(DAY), Window.day("2026-01-01")
    with Replayer(loaded.settings, "powunity") as replayer:
        everything = list(replayer.entries())
        assert [item.name.moment for item in everything] == sorted(item.name.moment for item in everything)

        def datasets(**options):
            return {item.name.dataset for item in replayer.entries(**options)}

        assert datasets(datasets={"powunity.stop"}) == {"powunity.stop"}
        assert datasets(accounts={"nobody"}) == set()
        assert datasets(window=other) == {"powunity.device"}, "a list is about now, whatever the day"
        assert "powunity.trip" in datasets(window=day, scopes={vehicle}, accounts={"north"})
        assert "powunity.trip" not in datasets(scopes={"nobody"})
    with Replayer(loaded.settings, "rcs") as replayer:
        later = {item.name.dataset for item in replayer.entries(window=Window.day("2026-11-19"))}
    assert "rcs.telemetry" in later, "a stream may bring rows about days before"


def test_a_new_column_is_filled_from_raw(loaded, tmp_path):
    include = tmp_path / "include"
    shutil.copytree(loaded.settings.include, include)
    path = include / "contracts" / "powunity" / "trip.yaml"
    data = yaml.safe_load(path.read_text())
    columns = data["schema"][0]["properties"]
    twin = next(item for item in columns if item["name"] == "distance_m")
    columns.append({**twin, "name": "distance_again_m", "required": False})
    data["version"] = "99.0.0"
    path.write_text(yaml.safe_dump(data))
    summaries = replay(replace(loaded.settings, include=include), ["powunity"], datasets={"powunity.trip"})
    assert set(summaries) == {"powunity.trip"}
    assert loaded.sql("SELECT count(*) FROM powunity.trip WHERE distance_again_m IS DISTINCT FROM distance_m") == [(0,)]
    assert loaded.sql("SELECT count(*) > 0, count(*) FILTER (WHERE deleted_at IS NULL) > 0 FROM powunity.trip") == [
        (True, True)
    ]
    loaded.assert_true("powunity.trip", Window.day(DAY))
    versions = loaded.sql("SELECT DISTINCT contract_version FROM ops.load JOIN powunity.trip USING (load_id)")
    assert versions == [("99.0.0",)]
