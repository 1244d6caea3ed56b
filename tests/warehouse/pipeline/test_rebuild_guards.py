"""What a rebuild must not lose: rows that the journal does not tell of, and what people decided."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from fleetlake import cli
from fleetlake.errors import BatchHeld, DataError
from fleetlake.lake import Lake
from fleetlake.lake.replacing import loads_of
from fleetlake.pipeline.giving_up import drop
from fleetlake.pipeline.rebuild import rebuild
from fleetlake.pipeline.redrive import redrive
from fleetlake.raw import EntryName, Journal
from fleetlake.warehouse import Warehouse

DAYS = ("2026-11-19", "2026-11-20")
TRIP = "powunity.trip"
TABLE = "omnicomm.fuel_level"

pytestmark = pytest.mark.timeout(600)


def load_trips(place, day):
    return place.load("powunity", place.run("powunity", day), ["trips"], "devices")


def entries(settings, vendor="powunity"):
    return sorted((Path(settings.raw_url) / "_journal" / vendor).rglob("*.json"))


def files(folder):
    """Every file of a lake, with its content."""
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def ask(settings, monkeypatch, capsys, *arguments):
    """Exit status, standard output and standard error of ``fleetlake rebuild``."""
    for name in ("warehouse", "lake", "raw"):
        monkeypatch.setenv(f"FLEETLAKE_{name.upper()}_URL", getattr(settings, f"{name}_url"))
    monkeypatch.setenv("FLEETLAKE_HOME", str(settings.home))
    try:
        cli.main(["rebuild", "--yes", *arguments])
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def select(settings, query):
    with Warehouse(settings.warehouse_url) as warehouse:
        return list(warehouse.query(query)[1])


# --- rows that nothing tells of -----------------------------------------------------------------------------------------


def test_an_empty_warehouse_and_no_journal_leave_the_lake_as_it_is(place, make_database, monkeypatch, capsys):
    load_trips(place, DAYS[1])
    rows = sum(number for _, number in loads_of(place.lake, place.contracts[TRIP]))
    bare = replace(place.settings, warehouse_url=make_database())
    shutil.rmtree(Path(bare.raw_url) / "_journal")
    before = files(bare.lake_url)
    status, _, error = ask(bare, monkeypatch, capsys)
    assert status == 1
    assert f"{TRIP}: {rows} rows of 1 loads in the lake" in error
    assert "_journal" in error
    assert "--accept-loss" in error
    assert files(bare.lake_url) == before

    status, out, _ = ask(bare, monkeypatch, capsys, "--accept-loss", "--json", "--dataset", TRIP)
    assert (status, json.loads(out)["lake"][TRIP]["rows"]) == (0, 0)
    assert list(place.lake.rows(place.contracts[TRIP])) == []


def test_one_lost_file_of_the_journal_is_found_by_the_rows_of_the_lake(place, make_database, tmp_path):
    for day in DAYS:
        load_trips(place, day)
    lost = [path for path in entries(place.settings) if EntryName.parse(_place(path)).dataset == TRIP][-1]
    load = EntryName.parse(_place(lost)).load
    known = sorted(map(repr, place.lake.rows(place.contracts[TRIP])))
    kept = tmp_path / "kept.json"
    shutil.move(lost, kept)
    bare = replace(place.settings, warehouse_url=make_database())
    before = files(bare.lake_url)
    with pytest.raises(DataError, match=rf"does not know 1 loads.*{TRIP}: \d+ rows.*example load {load}"):
        rebuild(bare, [TRIP])
    assert files(bare.lake_url) == before
    shutil.move(kept, lost)
    report = rebuild(bare, [TRIP])
    assert (report.lake[TRIP].parts, report.skipped) == (0, [])
    assert sorted(map(repr, place.lake.rows(place.contracts[TRIP]))) == known


def test_pages_of_a_vendor_without_any_entry_are_told_when_both_stores_are_lost(place, make_database, tmp_path):
    load_trips(place, DAYS[1])
    shutil.rmtree(Path(place.settings.raw_url) / "_journal")
    bare = replace(place.settings, warehouse_url=make_database(), lake_url=str(tmp_path / "new"))
    with pytest.raises(DataError, match=r"raw holds pages of powunity.*journal tells nothing.*--accept-loss"):
        rebuild(bare)


def test_a_lost_page_leaves_the_lake_as_it_is_when_the_warehouse_is_empty(place, make_database):
    load_trips(place, DAYS[1])
    page = next((Path(place.settings.raw_url) / "powunity" / "north" / "trips").rglob("*.page"))
    page.unlink()
    bare = replace(place.settings, warehouse_url=make_database())
    known = sorted(map(repr, place.lake.rows(place.contracts[TRIP])))
    with pytest.raises(DataError, match=page.parent.name.replace(".", r"\.")):
        rebuild(bare, [TRIP])
    assert sorted(map(repr, place.lake.rows(place.contracts[TRIP]))) == known


# --- an entry that cannot be published ----------------------------------------------------------------------------------


def test_an_entry_that_fails_for_good_is_skipped_and_told(place, make_database, monkeypatch, capsys):
    load_trips(place, DAYS[1])
    journal = Journal(place.settings.raw_url)
    [good] = [name for name in journal.names("powunity", [TRIP]) if journal.read(name)["kind"] == "batch"]
    content = journal.read(good)
    content["reads"] = [{**item, "read": f"{item['read']}x", "pages": [0, 1]} for item in content["reads"]]
    head = {name: content.pop(name) for name in ("version", "dataset", "load_id", "clock")}
    with place.warehouse.publishing(place.contracts[TRIP]) as tx:
        journal.write(TRIP, tx.moment, "never", content, clock={"started_at": head["clock"]["started_at"]})
    known = sorted(map(repr, place.lake.rows(place.contracts[TRIP])))
    for url in (place.settings.warehouse_url, make_database()):
        settings = replace(place.settings, warehouse_url=url)
        status, out, error = ask(settings, monkeypatch, capsys, "--json", "--dataset", TRIP)
        [skipped] = json.loads(out)["skipped"]
        assert (status, skipped["table"], skipped["load"]) == (1, TRIP, "never")
        assert f"{TRIP}: load never was skipped: " in error
        assert select(settings, f"SELECT count(*) FROM {TRIP}") == [(len(known),)]
        assert sorted(map(repr, place.lake.rows(place.contracts[TRIP]))) == known


# --- a contract that holds what was published ---------------------------------------------------------------------------


def contract_that_holds(settings, home):
    """The settings with contracts by which no batch of trips passes."""
    include = home / "include"
    shutil.copytree(settings.include, include)
    path = include / "contracts" / "powunity" / "trip.yaml"
    data = yaml.safe_load(path.read_text())
    columns = {item["name"]: item for item in data["schema"][0]["properties"]}
    columns["distance_m"].setdefault("logicalTypeOptions", {})["maximum"] = 0.001
    columns["distance_m"]["quality"] = [
        {"type": "custom", "engine": "greatExpectations", "name": "x", "severity": "critical"}
    ]
    path.write_text(yaml.safe_dump(data))
    return replace(settings, include=include)


def in_use(place):
    """Trips of both stores, and what is known about their completeness."""
    return (
        place.sql(f"SELECT * FROM {TRIP} ORDER BY 1, 2, 3"),
        sorted(map(repr, place.lake.rows(place.contracts[TRIP]))),
        place.sql(f"SELECT * FROM ops.coverage WHERE dataset = '{TRIP}' ORDER BY scope, window_start"),
        place.sql(f"SELECT load_id, state FROM ops.load WHERE dataset = '{TRIP}' ORDER BY 1"),
    )


@pytest.mark.parametrize("warehouse", ["kept", "lost"])
def test_a_contract_that_holds_what_was_published_empties_no_store(place, make_database, tmp_path, warehouse):
    load_trips(place, DAYS[1])
    known = in_use(place)
    url = place.settings.warehouse_url if warehouse == "kept" else make_database()
    strict = contract_that_holds(replace(place.settings, warehouse_url=url), tmp_path / "strict")
    with pytest.raises(DataError) as refused:
        rebuild(strict, [TRIP])
    said = str(refused.value)
    assert f"{TRIP}: {len(known[0])} rows of 1 loads in the lake" in said
    assert (f"{TRIP}: {len(known[0])} rows of 1 loads in the warehouse" in said) is (warehouse == "kept")
    assert "distance_m" in said.partition("for example load")[2].partition("mend")[0], said
    assert "mend the contract" in said
    assert "--accept-loss" in said
    assert in_use(place) == known
    assert rebuild(replace(place.settings, warehouse_url=url), [TRIP]).held_today == []
    assert in_use(place) == known


def test_what_today_s_contract_holds_goes_when_that_is_accepted_and_is_told(place, tmp_path, monkeypatch, capsys):
    load_trips(place, DAYS[1])
    strict = contract_that_holds(place.settings, tmp_path / "strict")
    monkeypatch.setenv("FLEETLAKE_INCLUDE", str(strict.include))
    assert ask(strict, monkeypatch, capsys, "--dataset", TRIP)[0] == 1
    status, out, error = ask(strict, monkeypatch, capsys, "--accept-loss", "--json", "--dataset", TRIP)
    report = json.loads(out)
    assert (status, report["is_resumed"], report["held"]) == (1, True, 1)
    assert [(item["dataset"], item["loads"]) for item in report["held_today"]] == [(TRIP, 1)]
    assert f"{TRIP}: 1 loads that were published once are held by today's contract" in error
    assert in_use(place)[0] == []


def test_a_batch_that_was_held_then_and_is_held_now_stops_nothing(place, tmp_path, monkeypatch, capsys):
    strict = contract_that_holds(place.settings, tmp_path / "strict")
    place.settings = strict
    with pytest.raises(BatchHeld):
        load_trips(place, DAYS[1])
    known = in_use(place)
    assert [state for _, state in known[3]] == ["held"]
    monkeypatch.setenv("FLEETLAKE_INCLUDE", str(strict.include))
    status, out, _ = ask(strict, monkeypatch, capsys, "--json", "--dataset", TRIP)
    assert (status, json.loads(out)["held"], json.loads(out)["held_today"]) == (0, 1, [])
    assert in_use(place) == known


# --- what people decided ------------------------------------------------------------------------------------------------


@pytest.fixture
def settled(place):
    """Rows that were set aside for an unknown vehicle: one was given up, the others were taken when it was known."""
    run = place.run("omnicomm", DAYS[1])
    with place.pipeline("omnicomm") as pipeline:
        (scopes,) = pipeline.plan(run, entity_feed="vehicle_tree", feeds=[])
    with place.warehouse.session() as connection:
        connection.execute("DELETE FROM omnicomm.vehicle WHERE terminal_id = %s", [scopes[0]])
        connection.commit()
    with place.pipeline("omnicomm") as pipeline:
        pipeline.load(run, feeds=["fuel_level"], scopes=scopes)
    [(one,)] = place.sql("SELECT min(quarantine_id) FROM ops.quarantine")
    assert drop(place.settings, place.warehouse, [one], "on the bench", "somebody") == 1
    assert drop(place.settings, place.warehouse, [one], "once more", "somebody") == 0
    with place.pipeline("omnicomm") as pipeline:
        pipeline.plan(replace(run, run_id="next"), entity_feed="vehicle_tree", feeds=[])
    assert redrive(place.settings, place.accounts["omnicomm"]).taken > 0
    return place


DECISIONS = "SELECT * FROM ops.quarantine ORDER BY quarantine_id"
STATES = "SELECT resolution, resolution_reason, resolved_by, count(*) > 0 FROM ops.quarantine GROUP BY 1, 2, 3 ORDER BY 1"


@pytest.mark.parametrize("warehouse", ["kept", "lost"])
def test_what_was_given_up_or_taken_stays_so(settled, make_database, warehouse):
    place = settled
    known = place.sql(DECISIONS)
    assert place.sql(STATES) == [("dropped", "on the bench", "somebody", True), ("taken", None, None, True)]
    settings = place.settings if warehouse == "kept" else replace(place.settings, warehouse_url=make_database())
    report = rebuild(settings)
    assert select(settings, DECISIONS) == known
    if warehouse == "kept":
        [difference] = [item for item in report.ledger if item.table == "ops.quarantine"]
        assert difference.is_equal
    with closing(Warehouse(settings.warehouse_url)) as stored:
        assert len(list(stored.rows(place.contracts[TABLE]))) == len(
            list(Lake(settings.lake_url).rows(place.contracts[TABLE]))
        )


def test_decisions_that_no_journal_tells_of_are_kept_while_the_warehouse_has_them(settled):
    """As from before drops were journalled: the entry is not there."""
    place = settled
    for path in entries(place.settings, "omnicomm"):
        if "-decision-" in path.name:
            path.unlink()
    with place.warehouse.session() as connection:
        # Settled, and not found any more by today's contract: what happened stays to be read.
        connection.execute(
            "INSERT INTO ops.quarantine (quarantine_id, account, dataset, stage, check_name, reason, severity, raw_page, raw_index,"
            " load_id, contract_version, resolved_at, resolution) SELECT 'old', account, dataset, stage, check_name, reason,"
            " severity, raw_page, raw_index, load_id, contract_version, now(), 'superseded' FROM ops.quarantine LIMIT 1"
        )
        connection.commit()
    known = place.sql(DECISIONS)
    rebuild(place.settings)
    assert place.sql(DECISIONS) == known


def test_an_open_entry_that_raw_does_not_bear_out_goes(settled):
    place = settled
    with place.warehouse.session() as connection:
        connection.execute(
            "INSERT INTO ops.quarantine (quarantine_id, account, dataset, stage, check_name, reason, severity, raw_page, raw_index,"
            " load_id, contract_version) SELECT 'invented', account, dataset, stage, check_name, reason, severity, raw_page,"
            " raw_index, load_id, contract_version FROM ops.quarantine LIMIT 1"
        )
        connection.commit()
    rebuild(place.settings, [TABLE])
    assert place.sql("SELECT count(*) FROM ops.quarantine WHERE quarantine_id = 'invented'") == [(0,)]


def _place(path):
    return "/".join(path.parts[-4:])
