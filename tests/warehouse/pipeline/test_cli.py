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


def test_a_table_shows_values_as_they_are(ask):
    """Keys of the fleet have colons, and a name may have brackets: neither is markup."""
    _, out, _ = ask("sql", "SELECT 'suivideflotte:france:7006' AS driver_key, '[bold] van' AS name")
    assert "suivideflotte:france:7006" in out
    assert "[bold] van" in out


VALUES = [
    ("'7e57d004-2b97-0e7a-b45f-5387367791cd'::uuid", "7e57d004-2b97-0e7a-b45f-5387367791cd"),
    ("interval '1 month 2 days 03:00'", "1 mon 2 days 03:00:00"),
    ("time '10:00'", "10:00:00"),
    ("time '24:00'", "24:00:00"),
    ("'\\xff00'::bytea", "\\xff00"),
    ("1.50::numeric", 1.5),
    ("12::numeric", 12),
    ("12345678901234567890.123::numeric", "12345678901234567890.123"),
    ("1e400::numeric", "1" + "0" * 400),
    ("1e-9::float8", 1e-9),
    ("1e300::float8", 1e300),
    ("'NaN'::float8", "NaN"),
    ("'NaN'::numeric", "NaN"),
    ("'-Infinity'::float8", "-Infinity"),
    ("'Infinity'::numeric", "Infinity"),
    ("array[1, null, 3]", [1, None, 3]),
    ("array[interval '1 day']", ["1 day"]),
    ("array['infinity'::timestamptz]", ["infinity"]),
    ("int4range(1, 5)", "[1,5)"),
    ("inet '127.0.0.1/8'", "127.0.0.1/8"),
    ("'infinity'::timestamptz", "infinity"),
    ("'-infinity'::date", "-infinity"),
    ("timestamptz '2026-11-20 08:00+01'", "2026-11-20T07:00:00.000000+00:00"),
    ("timestamp '2026-11-20 08:00'", "2026-11-20T08:00:00.000000"),
    ("date '2026-11-20'", "2026-11-20"),
    ('\'{"a": [1, "x"]}\'::jsonb', {"a": [1, "x"]}),
    ("null", None),
]


def test_sql_answers_for_every_ordinary_type_in_every_format(ask):
    query = "SELECT " + ", ".join(f"{text} AS c{number}" for number, (text, _) in enumerate(VALUES))

    def no_constant(text):
        raise AssertionError(f"{text} is no JSON")

    status, out, err = ask("sql", query, "--format", "json")
    assert (status, err) == (0, "")
    assert list(json.loads(out, parse_constant=no_constant).values()) == [value for _, value in VALUES]
    status, out, _ = ask("sql", query, "--format", "csv")
    (_, cells) = csv.reader(io.StringIO(out))
    assert status == 0
    assert cells[0] == VALUES[0][1]
    assert cells[-2:] == ['{"a": [1, "x"]}', ""]
    for text, value in VALUES:
        status, out, _ = ask("sql", f"SELECT {text} AS only")
        assert status == 0
        assert "only" in out
        assert not isinstance(value, str) or len(value) > 50 or value[:10] in out


def test_columns_of_one_name_are_all_printed(ask):
    query = "SELECT 1 a, 2 a, 3 a_2, 4 a"
    _, out, _ = ask("sql", query, "--format", "json")
    assert json.loads(out) == {"a": 1, "a_3": 2, "a_2": 3, "a_4": 4}
    _, out, _ = ask("sql", query, "--format", "csv")
    assert out.splitlines() == ["a,a_3,a_2,a_4", "1,2,3,4"]
    _, out, _ = ask("sql", "SELECT 1 a, 2 a", "--format", "json")
    assert json.loads(out) == {"a": 1, "a_2": 2}


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
