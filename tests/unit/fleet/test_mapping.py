"""include/fleet/vehicles.yaml: what it may say, and how a mistake is told."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from fleetlake.errors import ConfigError
from fleetlake.fleet.mapping import BEGINNING, VENDORS, VehicleFile, read_vehicle_file

CHECKOUT = Path(__file__).resolve().parents[3]


def read(folder: Path, text: str) -> VehicleFile:
    (folder / "fleet").mkdir(exist_ok=True)
    (folder / "fleet" / "vehicles.yaml").write_text(text)
    return read_vehicle_file(folder)


def test_the_file_of_the_checkout_maps_nothing() -> None:
    assert read_vehicle_file(CHECKOUT / "include") == VehicleFile()


def test_without_a_file_nothing_is_mapped(tmp_path: Path) -> None:
    assert read_vehicle_file(tmp_path).vehicles == ()
    assert read(tmp_path, "").priority == VENDORS


def test_everything_a_vehicle_can_say_is_read(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        """
        priority: [powunity]
        vehicles:
          - id: bike-7
            name: Cargo bike 7
            vin: wvwzzz1jzxw000001
            plate: W-123
            devices:
              - {vendor: powunity, account: north, id: 12, to: 2026-03-01}
              - {vendor: powunity, account: north, id: '31', from: 2026-03-01T10:00+01:00, odometer_m: 8123000}
              - {vendor: rcs, account: main, id: abc, from: '2026-03-01T09:00', to: 2026-04-01T00:00Z}
        """,
    )
    assert file.priority == ("powunity", "omnicomm", "rcs", "suivideflotte")
    assert (file.rank("powunity"), file.rank("omnicomm")) == (1, 2)
    (vehicle,) = file.vehicles
    assert (vehicle.id, vehicle.name, vehicle.vin, vehicle.plate) == ("bike-7", "Cargo bike 7", "wvwzzz1jzxw000001", "W-123")
    nine = dt.datetime(2026, 3, 1, 9, tzinfo=dt.UTC)
    assert [(d.id, d.valid_from, d.valid_to, d.odometer_m) for d in vehicle.devices] == [
        ("12", BEGINNING, dt.datetime(2026, 3, 1, tzinfo=dt.UTC), None),
        ("31", nine, None, 8123000.0),
        ("abc", nine, dt.datetime(2026, 4, 1, tzinfo=dt.UTC), None),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vehicles: [", "not YAML"),
        ("vehicle: []", "did you mean 'vehicles'?"),
        ("priority: [rsc]", "did you mean 'rcs'?"),
        ("priority: [rcs, rcs]", "twice"),
        ("vehicles: [7]", "a mapping is expected"),
        ("vehicles: [{name: a}]", "id is None"),
        ("vehicles: [{id: 'a b'}]", "id is 'a b'"),
        ("vehicles: [{id: a}, {id: a}]", "two vehicles have the id 'a'"),
        ("vehicles: [{id: a, vin: WVWZZZ1JZXW000001}, {id: b, vin: wvwzzz1jzxw000001}]", "two vehicles have the vin"),
        ("vehicles: [{id: a, vin: '123'}]", "17 letters and digits"),
        ("vehicles: [{id: a, plates: x}]", "did you mean 'plate'?"),
        ("vehicles: [{id: a, devices: [{vendor: rcs, id: 1}]}]", "account is missing"),
        ("vehicles: [{id: a, devices: [{vendor: rcs, account: main}]}]", "id is missing"),
        ("vehicles: [{id: a, devices: [{vendor: omni_platform, account: x, id: 1}]}]", "with vehicles"),
        ("vehicles: [{id: a, devices: [{vendor: rcs, account: x, id: 1, from: soon}]}]", "'soon' is no moment"),
        ("vehicles: [{id: a, devices: [{vendor: rcs, account: x, id: 1, from: 2026-03-02, to: 2026-03-02}]}]", "not after"),
        ("vehicles: [{id: a, devices: [{vendor: rcs, account: x, id: 1, odometer_m: far}]}]", "odometer_m is 'far'"),
        ("vehicles: [{id: a, devices: [{vendor: rcs, account: x, id: 1, odometer_m: -1}]}]", "odometer_m is -1"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert says in str(caught.value)
    assert "vehicles.yaml" in str(caught.value)
