"""The terminal's answers: formats, exit status, and no way to change data."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pytest
from fleetlake import cli

DAY = "2026-11-20"


@pytest.fixture
def ask(place, monkeypatch, capsys):
    """Run a command against the place; gives exit status, standard output, standard error."""
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", place.settings.warehouse_url)
    monkeypatch.setenv("FLEETLAKE_LAKE_URL", place.settings.lake_url)
    monkeypatch.setenv("FLEETLAKE_RAW_URL", place.settings.raw_url)
    monkeypatch.setenv("FLEETLAKE_HOME", str(place.settings.home))

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def load_trips(place):
    place.load("powunity", place.run("powunity", DAY), ["trips"], "devices")


def test_sql_answers_in_each_format(place, ask):
    load_trips(place)
    query = "SELECT device_id, start_time, distance_m, driver_name FROM powunity.trip ORDER BY 1, 2"
    rows = place.sql(query)
    status, out, _ = ask("sql", query, "--format", "json")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [record["device_id"] for record in records] == [row[0] for row in rows]
    assert records[0]["start_time"].endswith("+00:00")
    _, out, _ = ask("sql", query, "--format", "csv")
    lines = list(csv.reader(io.StringIO(out)))
    assert lines[0] == ["device_id", "start_time", "distance_m", "driver_name"]
    assert len(lines) == len(rows) + 1
    _, out, err = ask("sql", query, "--limit", "2")
    assert "device_id" in out
    assert str(rows[0][0]) in out
    assert "only the first 2 rows" in err


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("DELETE FROM powunity.trip", "would change data"),
        ("SELECT * FROM powunity.trips", "does not exist"),
        ("SELECT 1; SELECT 2", "one SELECT"),
    ],
)
def test_wrong_or_writing_query_is_refused_with_status_2(ask, query, message):
    status, out, err = ask("sql", query)
    assert (status, out) == (2, "")
    assert message in err


def test_digest_is_equal_after_a_load_and_names_the_table_that_differs(place, ask):
    load_trips(place)
    status, out, _ = ask("digest", "powunity.trip", "powunity.device", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert all(record["equal"] and record["lake"]["rows"] > 0 for record in records)
    shutil.rmtree(place.settings.lake_url)
    status, out, _ = ask("digest", "powunity.trip", "powunity.device")
    assert status == 1
    assert out.count("DIFFERENT") == 2


def test_unknown_table_lists_the_known_ones(ask):
    status, _, err = ask("digest", "powunity.trips")
    assert status == 2
    assert "powunity.trip" in err


def test_migrate_says_what_it_did_and_may_run_again(ask):
    for _ in range(2):
        status, _, err = ask("migrate")
        assert status == 0
        assert "tables are as their contracts say" in err


def test_help_names_every_command(ask):
    _, out, _ = ask("--help")
    for command in ("sql", "digest", "migrate", "dictionary", "sandbox", "up", "down", "demo", "status", "backfill"):
        assert f" {command} " in out
