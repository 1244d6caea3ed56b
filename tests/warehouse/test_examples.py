"""Ready-made analyses: each runs against a loaded warehouse, and its answer is what the generator knows."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
from fleetlake import cli
from fleetlake.errors import ConfigError
from fleetlake.examples import example, examples
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.settings import Settings
from fleetlake.window import Window, utc

from .loaded import ASSUMPTIONS, INCLUDE, FleetPlace

DAYS = Window.parse("2026-11-12", "2026-11-14")
NAMES = (
    "fuel_per_100_km",
    "late_vehicles",
    "open_faults",
    "trips_by_driver",
    "utilisation_by_day",
    "utilisation_by_week",
    "utilisation_plot",
)

pytestmark = pytest.mark.timeout(600)  # one load serves all tests of this file, and counts for the first


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_database):
    """Two days of every vendor; of one tracker a day more."""
    home = tmp_path_factory.mktemp("examples")
    sandbox_settings = SandboxSettings(
        state_dir=home / "sandbox",
        as_of=utc("2026-11-20"),
        vehicles=4,
        bikes=3,
        trucks=4,
        cars=7,
        cameras=1,
        assumptions=ASSUMPTIONS,
    )
    settings = Settings(
        home=home,
        include=INCLUDE,
        warehouse_url=make_database(migrated=True),
        lake_url=str(home / "lake"),
        raw_url=str(home / "raw"),
    )
    with running(sandbox_settings) as sandbox:
        place = FleetPlace(sandbox, settings)
        place.load_days(DAYS)
        next_day = place.run("powunity", "2026-11-14", vehicles=("10000",))
        with place.pipeline("powunity") as pipeline:
            for chunk in pipeline.plan(next_day, entity_feed="devices", feeds=["trips"]):
                pipeline.load(next_day, feeds=["trips"], scopes=chunk)
            pipeline.warehouse.record_run_end(next_day.dag_id, next_day.run_id, is_complete=True)
        place.build()
        yield place
        place.warehouse.close()


@pytest.fixture
def ask(place, monkeypatch, capsys):
    """Run `fleetlake examples …`; gives exit status and standard output."""
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", place.settings.warehouse_url)
    monkeypatch.setenv("FLEETLAKE_HOME", str(place.settings.home))

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(["examples", *arguments])
        captured = capsys.readouterr()
        assert ended.value.code == 0, captured.err
        return captured.out

    return run


@pytest.fixture
def answer(ask):
    """Rows of an example."""
    return lambda name: [json.loads(line) for line in ask("run", name, "--format", "json").splitlines()]


@pytest.fixture(scope="module")
def days(place):
    """True vehicle-days of the two whole days, by vehicle."""
    found = defaultdict(list)
    for row in place.truth(DAYS).rows("vehicle_day"):
        found[row["vehicle_key"]].append(row)
    return found


@pytest.fixture(scope="module")
def names(place):
    return {row["vehicle_key"]: row["name"] for row in place.truth(DAYS).rows("vehicle")}


def test_examples_are_listed_with_their_questions(ask):
    listed = [json.loads(line) for line in ask("--json").splitlines()]
    assert tuple(item["name"] for item in listed) == NAMES
    assert all(item["question"].endswith("?") for item in listed)
    table = ask()
    assert all(name in table for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_example_says_how_to_read_it_and_what_it_does_not_say(ask, name):
    found = example(INCLUDE / "examples", name)
    assert min(len(found.question), len(found.how_to_read), len(found.limits)) > 30
    assert ask("show", name) == found.text


def test_utilisation_by_day_equals_truth(answer, days, names):
    rows = [row for row in answer("utilisation_by_day") if row["day"] < "2026-11-14"]
    found = {(row["vehicle"], row["day"]): row for row in rows}
    true = [(names[key], day) for key, of_vehicle in days.items() for day in of_vehicle]
    assert len(found) == len(rows) == len(true)
    for name, day in true:
        row = found[name, day["day"].isoformat()]
        assert (row["trips"], row["trust"], row["note"]) == (day["trips"], day["trust_score"], day["trust_notes"])
        assert row["distance_km"] == pytest.approx(day["distance_m"] / 1000, abs=0.0501)
    assert all(row["used"] == (row["trips"] > 0) for row in rows)
    assert all(row["use_pct"] == pytest.approx(row["driving_h"] / 0.24, abs=0.1) for row in rows)


def test_utilisation_by_week_sums_up_the_days(answer, days, names):
    found = {row["vehicle"]: row for row in answer("utilisation_by_week") if row["days_with_data"] <= 2}
    assert {row["week"] for row in found.values()} == {"2026-11-09"}
    for key, of_vehicle in days.items():
        if key == "powunity:north:10000":
            continue  # it has a day more
        row = found[names[key]]
        assert row["days_with_data"] == len(of_vehicle)
        assert row["used_days"] == sum(day["trips"] > 0 for day in of_vehicle)
        assert row["distance_km"] == pytest.approx(sum(day["distance_m"] for day in of_vehicle) / 1000, abs=0.051)
        assert row["trips"] == sum(day["trips"] for day in of_vehicle)


def test_fuel_per_100_km_equals_truth_and_lists_who_has_fuel(answer, days, names):
    found = {row["vehicle"]: row for row in answer("fuel_per_100_km")}
    known = {names[key] for key, of_vehicle in days.items() if any(day["fuel_used_l"] is not None for day in of_vehicle)}
    assert set(found) == known
    assert 2 < len(known) < len(days)
    far = [row for row in found.values() if row["distance_km"] >= 100]
    assert far
    for row in far:
        assert row["l_per_100_km"] == pytest.approx(100 * row["litres"] / row["distance_km"], rel=0.01)
        assert 3 < row["l_per_100_km"] < 50
    assert all(row["l_per_100_km"] is None for row in found.values() if row["distance_km"] < 100)
    assert sum(row["drained_l"] for row in found.values()) > 10, "a truck was robbed in these days"


def test_open_faults_are_those_of_truth_and_the_worst_comes_first(answer, place):
    found = answer("open_faults")
    expected = [row for row in place.truth(DAYS).rows("trouble") if row["is_open"]]
    assert len(found) == len(expected) > 0
    assert {row["dtc"] for row in found} == {row["dtc"] for row in expected}
    order = [(not row["lamp"], not row["confirmed"], row["opened_at"]) for row in found]
    assert order == sorted(order)
    assert all(row["known_until"] >= row["last_seen_at"] for row in found)


def test_late_vehicles_are_those_whose_tracker_was_not_read_like_the_others(answer):
    found = [row for row in answer("late_vehicles") if row["behind_h"]]
    assert {row["vendor_vehicle_id"] for row in found} == {"10016", "10032"}
    assert {(row["table"], row["behind_h"]) for row in found} == {("powunity.trip", 24)}


def test_trips_by_driver_share_out_all_kilometres(answer, place):
    found = answer("trips_by_driver")
    trips = [row for row in place.truth(DAYS).rows("trip") if not row["is_private"]]
    by_driver = defaultdict(float)
    for trip in trips:
        by_driver[trip["driver_key"]] += trip["distance_m"] or 0.0
    more = {row["driver_key"] for row in found if row["distance_km"] != round(by_driver[row["driver_key"]] / 1000, 1)}
    assert len(more) <= 2, "only riders of the tracker that has a day more"
    assert set(by_driver) <= {row["driver_key"] for row in found}
    assert sum(row["share_pct"] for row in found) == pytest.approx(100, abs=1)
    assert [row["driver"] for row in found if row["driver_key"] is None] == ["(driver unknown)"]
    assert all(row["driver"] for row in found)


def test_answers_as_csv_and_as_a_table(ask, answer):
    rows = list(csv.DictReader(io.StringIO(ask("run", "utilisation_by_week", "--format", "csv"))))
    assert [row["vehicle"] for row in rows] == [row["vehicle"] for row in answer("utilisation_by_week")]
    assert "km_per_used_day" in ask("run", "utilisation_by_week", "--limit", "1")


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_plot_is_drawn(place, tmp_path, ending):
    target = tmp_path / f"utilisation.{ending}"
    command = [sys.executable, "-m", "fleetlake.cli", "examples", "run", "utilisation_plot", "--output", str(target)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env={"FLEETLAKE_WAREHOUSE_URL": place.settings.warehouse_url, "FLEETLAKE_HOME": str(place.settings.home)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(target)
    if ending == "svg":
        text = target.read_text()
        assert text.startswith("<?xml")
        return
    import matplotlib.image

    picture = matplotlib.image.imread(target)
    assert min(picture.shape[:2]) > 500
    assert len(np.unique((picture[..., :3] * 255).astype(np.uint8).reshape(-1, 3), axis=0)) > 50


def test_a_query_takes_no_options_of_a_script_and_a_wrong_name_gets_a_hint(place, monkeypatch):
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", place.settings.warehouse_url)
    with pytest.raises(ConfigError, match="did you mean 'open_faults'"):
        example(INCLUDE / "examples", "open_fault")
    with pytest.raises(SystemExit) as ended:
        cli.main(["examples", "run", "open_faults", "--output", "x.png"])
    assert ended.value.code == 2


def test_a_file_without_its_header_is_named(tmp_path):
    (tmp_path / "some.sql").write_text("-- Question: What?\n-- Limits: Many.\nSELECT 1\n")
    with pytest.raises(ConfigError, match=r"lacks 'Read it:'.*some\.sql"):
        examples(tmp_path)
