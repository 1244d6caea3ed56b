"""The mapping file of a SuiviDeFlotte account is checked as a whole before anything is asked."""

from __future__ import annotations

import datetime as dt
import os
import re
from pathlib import Path

import pytest
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError
from fleetlake.vendors.suivideflotte import mapping
from fleetlake.vendors.suivideflotte.fieldmap import TABLES, FieldMap, load_fieldmap
from fleetlake.vendors.suivideflotte.source import FEEDS

INCLUDE = Path(__file__).parents[3] / "include"
DEFAULT = (INCLUDE / "suivideflotte" / "default.yaml").read_text()


@pytest.fixture
def include(tmp_path: Path) -> Path:
    (tmp_path / "contracts").symlink_to(INCLUDE / "contracts")
    (tmp_path / "suivideflotte").mkdir()
    return tmp_path


def edited(include: Path, pattern: str, text: str, account: str = "france") -> FieldMap:
    """The default file with one passage changed."""
    changed, count = re.subn(pattern, text, DEFAULT, count=1)
    assert count == 1, pattern
    (include / "suivideflotte" / f"{account}.yaml").write_text(changed)
    return load_fieldmap(account, include)


def test_the_default_file_describes_every_feed_and_every_column() -> None:
    fieldmap = load_fieldmap("nobody")
    assert fieldmap.path.name == "default.yaml"
    assert set(fieldmap.resources) == set(FEEDS) == set(TABLES)
    for resource in fieldmap.resources.values():
        columns = {column.name for column in resource.contract.columns if column.source}
        assert {item.column.name for item in resource.fields} == columns
    trips = fieldmap.resource("trips")
    assert (str(fieldmap.zone), trips.path, trips.margin) == (
        "Europe/Paris",
        "/vehicles/{scope}/trips",
        dt.timedelta(hours=12),
    )
    assert trips.top_fields[:3] == ["id", "vehicle_id", "driver_id"]


def test_every_column_comes_from_the_mapping_file_and_is_called_like_its_source() -> None:
    assert mapping.DERIVATIONS == {}
    for contract in load_contracts(INCLUDE, "suivideflotte").values():
        assert contract.table in TABLES.values()
        assert {column.name for column in contract.columns if column.source is None} <= {"extra"}
        assert all(column.source in (None, column.name) for column in contract.columns)


def test_an_account_with_a_file_of_its_own_does_not_use_the_default(include: Path) -> None:
    (include / "suivideflotte" / "default.yaml").write_text(DEFAULT)
    mine = edited(include, "path: /vehicles\n", "path: /parc/vehicules\n")
    assert mine.resource("vehicles").path == "/parc/vehicules"
    assert load_fieldmap("other", include).resource("vehicles").path == "/vehicles"


def test_a_changed_file_is_read_again(include: Path) -> None:
    assert str(edited(include, "Europe/Paris ", "Europe/Paris ").zone) == "Europe/Paris"
    edited(include, "Europe/Paris ", "Indian/Reunion ")
    os.utime(include / "suivideflotte" / "france.yaml", (1, 1))
    assert str(load_fieldmap("france", include).zone) == "Indian/Reunion"


def test_the_alternative_list_of_trips_names_the_vehicle_in_a_filter(include: Path) -> None:
    fieldmap = edited(include, r"path: /vehicles/\{scope\}/trips", 'path: /trips\n    equals: {vehicle_id: "{scope}"}')
    assert (fieldmap.resource("trips").path, fieldmap.resource("trips").equals) == ("/trips", {"vehicle_id": "{scope}"})


@pytest.mark.parametrize(
    ("pattern", "text", "said"),
    [
        ("timezone:", "time_zone:", "unknown key 'time_zone'.*did you mean 'timezone'"),
        ("Europe/Paris", "Europe/Pariss", "timezone is 'Europe/Pariss'.*did you mean 'Europe/Paris'"),
        ('"%Y-%m-%d %H:%M:%S"', '"%Y-%m-%d"', "date_format is '%Y-%m-%d'.*hours and minutes"),
        ("distance_unit: km", "distance_unit: miles", "distance_unit is 'miles'.*one of km, m"),
        ("duration_unit: s", "duration_unit: h", "duration_unit is 'h'.*one of s, min, ms"),
        ("  trips:\n", "  trip:\n", "unknown key 'trip'.*did you mean 'trips'"),
        ("distance_m: distance", "distance_km: distance", "unknown key 'distance_km'.*did you mean 'distance_m'"),
        ("trip_id: id", "# nothing", "column 'trip_id' has no field"),
        ("start_time: start_dt", "# nothing", "column 'start_time' has no field"),
        ("last_position.dt", "last_position..dt", r"last_event_time is 'last_position\.\.dt'"),
        ("margin_hours: 12", "margin_hours: -1", "margin_hours is -1.*0 to 168"),
        ("from: from", "from: page", "from is 'page', the name of a filter"),
        ("path: /poi", "path: poi", "path is 'poi'"),
        (r"/vehicles/\{scope\}/trips", "/trips", "must name its vehicle"),
        ("path: /alerts", "path: /vehicles/{scope}/alerts", "about the whole fleet"),
        ("path: /drivers", "path: /drivers\n    only_fields: perhaps", "only_fields cannot be read"),
        ("resources:", "resources: 4\nx:", "unknown key 'x'"),
        ("timezone:", "{", "not YAML"),
    ],
)
def test_a_wrong_entry_is_named_with_its_file_and_a_near_match(pattern: str, text: str, said: str, include: Path) -> None:
    with pytest.raises(ConfigError, match=f"(?s){said}") as caught:
        edited(include, pattern, text)
    assert "france.yaml" in str(caught.value.where)


def test_a_resource_that_is_not_described_and_a_missing_file_are_named(include: Path) -> None:
    (include / "suivideflotte" / "france.yaml").write_text(DEFAULT[: DEFAULT.index("  drivers:")])
    with pytest.raises(ConfigError, match=r"'drivers' is not described.*described are vehicles"):
        load_fieldmap("france", include).resource("drivers")
    with pytest.raises(ConfigError, match="account 'other' has no mapping file"):
        load_fieldmap("other", include)
