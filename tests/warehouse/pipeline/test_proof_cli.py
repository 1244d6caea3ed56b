"""``fleetlake verify`` and ``fleetlake why`` at the terminal."""

from __future__ import annotations

import itertools
import json
import shlex
from pathlib import Path

import pytest
from deltalake import DeltaTable
from fleetlake import cli
from fleetlake.errors import ConfigError
from fleetlake.pipeline.giving_up import drop
from fleetlake.pipeline.rowkeys import RowFinder
from fleetlake.sandbox import layer

DAY = "2026-11-20"


@pytest.fixture
def ask(place, monkeypatch, capsys):
    """Run a command against the place; gives exit status, standard output, standard error."""
    for name in ("warehouse", "lake", "raw"):
        monkeypatch.setenv(f"FLEETLAKE_{name.upper()}_URL", getattr(place.settings, f"{name}_url"))
    monkeypatch.setenv("FLEETLAKE_HOME", str(place.settings.home))

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def change(place, statement):
    with place.warehouse.session() as connection:
        connection.execute(statement)
        connection.commit()


def test_verify_tells_equal_tables_and_what_vendors_count(place, ask):
    place.load_cars(DAY)
    status, out, _ = ask("verify", "suivideflotte.vehicle", "suivideflotte.trip", "--json")
    records = {item["table"]: item for item in map(json.loads, out.splitlines())}
    assert status == 0
    assert all(item["equal"] and item["warehouse"] == item["lake"] for item in records.values())
    assert records["suivideflotte.vehicle"]["warehouse"]["rows"] == 6
    assert records["suivideflotte.vehicle"]["vendor_counts"] == {"answers": 1, "wrong": []}
    assert "as 1 answers count them" in ask("verify", "suivideflotte.vehicle")[1]

    change(place, "DELETE FROM suivideflotte.vehicle WHERE vehicle_id = (SELECT min(vehicle_id) FROM suivideflotte.vehicle)")
    status, out, _ = ask("verify", "suivideflotte.vehicle", "--json")
    record = json.loads(out)
    assert (status, record["only_in_lake"], record["differences"][0]["kind"]) == (1, 1, "only in lake")
    (wrong,) = record["vendor_counts"]["wrong"]
    assert (wrong["vendor"], wrong["here"]) == (6, 5)
    status, out, err = ask("verify", "suivideflotte.vehicle")
    assert status == 1
    assert "only in lake: account=france vehicle_id=" in out
    assert "the vendor counts 6 rows, here are 5" in out
    assert "fleetlake rebuild --dataset" in err


def test_verify_names_a_lake_cell_that_is_no_json_any_more(place, ask):
    place.load_cars(DAY)
    contract = place.contracts["suivideflotte.vehicle"]
    ((vehicle,),) = place.sql("SELECT min(vehicle_id) FROM suivideflotte.vehicle")
    DeltaTable(place.lake.uri(contract)).update(updates={"extra": """'{"broken":'"""}, predicate=f"vehicle_id = {vehicle!r}")
    status, out, _ = ask("verify", "suivideflotte.vehicle", "--json")
    (difference,) = json.loads(out)["differences"]
    assert status == 1
    assert difference["key"] == {"account": "france", "vehicle_id": vehicle}
    assert difference["cells"]["extra"]["lake"] == '{"broken":'


def test_a_raw_page_that_is_gone_is_a_wrong_count_and_the_other_tables_are_compared(place, ask):
    place.load_cars(DAY)
    folders = [folder for (folder,) in place.sql("SELECT folder FROM ops.read WHERE dataset = 'suivideflotte.vehicle'")]
    for folder in folders:
        for page in Path(place.settings.raw_url, folder).iterdir():
            page.unlink()
    status, out, _ = ask("verify", "suivideflotte.vehicle", "suivideflotte.trip", "--json")
    records = {item["table"]: item for item in map(json.loads, out.splitlines())}
    assert status == 1
    assert all(item["equal"] for item in records.values())
    (wrong,) = records["suivideflotte.vehicle"]["vendor_counts"]["wrong"]
    assert wrong["read"] in folders
    assert wrong["vendor"] is None
    assert "there is no such raw page" in wrong["problem"]
    assert "cannot be read any more: " in ask("verify", "suivideflotte.vehicle")[1]


@pytest.fixture
def read_spoilt(place, monkeypatch):
    """Reads the list of vehicles with an odd value in a field of its first row, and of no other."""

    def read(field, run_id):
        rows = itertools.count()
        monkeypatch.setattr(layer, "_odd", lambda row: {**row, field: "odd"} if next(rows) == 0 else row)
        with (
            place.sandbox.faults("odd_rows:vendor=suivideflotte,path=*/vehicles"),
            place.pipeline("suivideflotte") as pipeline,
        ):
            run = place.run("suivideflotte", DAY, run_id=run_id, force=True)
            pipeline.plan(run, entity_feed="vehicles", feeds=[])

    return read


VEHICLES = "SELECT count(*) FROM suivideflotte.vehicle"


def vendor_counts(ask):
    """Exit status of a verification of the vehicles, and what it found of the vendor's counts."""
    status, out, _ = ask("verify", "suivideflotte.vehicle", "--json")
    told = json.loads(out)["vendor_counts"]
    return status, told["answers"], [(item["vendor"], item["here"]) for item in told["wrong"]]


@pytest.mark.parametrize("field", ["driver_id", "id"])
def test_a_row_in_quarantine_whose_older_version_is_in_the_table_counts_once(place, ask, read_spoilt, field):
    place.load_cars(DAY)
    for run_id in ("again", "once more"):
        read_spoilt(field, run_id)
        assert place.sql("SELECT count(*) FROM ops.quarantine WHERE resolved_at IS NULL") == [(1,)]
        assert place.sql(VEHICLES) == [(6,)]
        assert vendor_counts(ask) == (0, 1, [])
    [(one,)] = place.sql("SELECT quarantine_id FROM ops.quarantine")
    assert drop(place.settings, place.warehouse, [one], "on the bench", "somebody") == 1
    assert vendor_counts(ask) == (0, 1, [])


@pytest.mark.parametrize("field", ["driver_id", "id"])
def test_a_row_in_quarantine_that_never_was_in_the_table_is_no_missing_row(place, ask, read_spoilt, field):
    read_spoilt(field, "first")
    assert place.sql(VEHICLES) == [(5,)]
    assert vendor_counts(ask) == (0, 1, [])


def test_a_row_in_quarantine_hides_no_row_that_is_missing(place, ask, read_spoilt):
    place.load_cars(DAY)
    read_spoilt("driver_id", "again")
    [(aside,)] = place.sql("SELECT raw_row->>'vehicle_id' FROM ops.quarantine")
    change(
        place,
        f"DELETE FROM suivideflotte.vehicle WHERE vehicle_id = (SELECT min(vehicle_id) FROM"
        f" suivideflotte.vehicle WHERE vehicle_id <> {aside})",
    )
    assert vendor_counts(ask) == (1, 1, [(6, 5)])
    assert "the next run of its DAG reads a list anew" in ask("verify", "suivideflotte.vehicle")[2]


def test_answers_with_rows_outside_their_window_are_compared(place, ask):
    place.load_cars(DAY)
    assert place.sql("SELECT sum(rows_outside_window) > 0 FROM ops.load WHERE dataset = 'suivideflotte.trip'") == [(True,)]
    status, out, _ = ask("verify", "suivideflotte.trip", "--json")
    assert (status, json.loads(out)["vendor_counts"]) == (0, {"answers": 6, "wrong": []})
    change(place, "DELETE FROM suivideflotte.trip WHERE trip_id = (SELECT min(trip_id) FROM suivideflotte.trip)")
    status, out, _ = ask("verify", "suivideflotte.trip", "--json")
    told = json.loads(out)["vendor_counts"]
    assert (status, told["answers"]) == (1, 6)
    (wrong,) = told["wrong"]
    assert wrong["vendor"] == wrong["here"] + 1


def test_verify_refuses_what_it_cannot_compare(ask):
    assert ask("verify", "fleet.trip")[0] == 2
    assert ask("verify", "powunity.trips")[0] == 2
    assert ask("verify", "--from", DAY)[0] == 2


def test_why_leads_from_a_key_to_the_vendors_json(place, ask):
    place.load("powunity", place.run("powunity", DAY), ["trips"], "devices")
    ((device, start, distance),) = place.sql(
        "SELECT device_id, start_time, distance_m FROM powunity.trip ORDER BY distance_m DESC LIMIT 1"
    )
    written = start.isoformat()
    status, out, _ = ask("why", "powunity.trip", str(device), written, "--json")
    answer = json.loads(out)
    assert status == 0
    said = json.loads(answer["vendor_json"])
    assert (said["deviceId"], said["distance"]) == (device, distance)
    assert answer["request"]["request"].startswith("GET /reports/trips")
    assert answer["request"]["status"] == 200
    assert answer["load"]["run_id"] == f"run {DAY}"
    assert answer["contract"]["then"] == answer["contract"]["now"]
    assert answer["replayed"] == "equal"
    cells = {cell["column"]: cell for cell in answer["cells"]}
    assert cells["distance_m"]["source"] == "distance"
    assert cells["max_speed_kmh"]["factor"] == pytest.approx(1.852)
    _, text, _ = ask("why", "powunity.trip", f"device_id={device}", f"start_time={written}", "--account", "north")
    assert f"bytes {answer['page']['start']}-{answer['page']['end']}" in text
    assert f"device_id = {device} <- deviceId = {device}" in text


def test_why_helps_with_the_key(place, ask):
    place.load("powunity", place.run("powunity", DAY), ["trips"], "devices")
    device = place.sql("SELECT min(device_id) FROM powunity.trip")[0][0]
    status, out, _ = ask("why", "powunity.trip")
    assert status == 0
    assert "fleetlake why powunity.trip ACCOUNT DEVICE_ID START_TIME" in out
    assert "for example: fleetlake why powunity.trip north" in out
    status, _, err = ask("why", "powunity.trip", str(device), "2026-11-20T00:00:01Z")
    assert status == 2
    assert f"near it: north {device} 2026-11-20T" in err
    assert ask("why", "powunity.trip", f"device_id={device}")[0] == 2  # several
    assert "the key does not fit" in ask("why", "powunity.trip", "x", "y")[2]
    assert "1 values for 3 key columns" in ask("why", "powunity.trip", "1")[2]
    assert "did you mean powunity.trip" in ask("why", "powunity.trips", "1")[2]
    assert "never built" in ask("why", "fleet.trip", "1")[2]


def test_keys_as_they_are_printed_find_their_rows_whatever_their_texts(place):
    names = ["name=x", "place=7", "kite=7", "-5", "it's", "a b", "$HOME", "", "naem"]
    with place.warehouse.session() as connection:
        connection.execute("CREATE TEMPORARY TABLE odd (account text, place text, name text)")
        for name in names:
            connection.execute("INSERT INTO odd VALUES ('north', %s, %s)", [name, name])
        finder = RowFinder(
            connection, "pg_temp.odd", {"account": "text", "place": "text", "name": "text"}, ["account", "place", "name"]
        )
        for name in names:
            row = {"account": "north", "place": name, "name": name}
            assert finder.find(shlex.split(finder.written(row))) == row
        assert finder.find(["kite=7", "kite=7"])["name"] == "kite=7"
        with pytest.raises(ConfigError, match="no column 'nmae'"):
            finder.find(["kite=7", "nmae=kite=7"])
