"""Who is who: devices matched to vehicles by the file, by VIN, by plate, and what stays in doubt."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import time
from typing import Any

import pytest
from fleetlake.fleet.identity import Conflict, Entity, Resolution, resolve
from fleetlake.fleet.mapping import BEGINNING, MappedDevice, MappedVehicle, VehicleFile

VIN = "WVWZZZ1JZXW000001"
OTHER_VIN = "WVWZZZ1JZXW000002"


def entity(vendor: str, number: str = "1", account: str = "main", **more: Any) -> Entity:
    return Entity(vendor=vendor, account=account, id=number, **more)


def device(vendor: str, number: str = "1", start: int | None = None, end: int | None = None, **more: Any) -> MappedDevice:
    """A device of the file, from one day of March to another."""
    if start is not None:
        more["valid_from"] = march(start)
    return MappedDevice(vendor=vendor, account="main", id=number, valid_to=march(end) if end else None, **more)


def march(day: int) -> dt.datetime:
    return dt.datetime(2026, 3, day, tzinfo=dt.UTC)


def keys(found: Resolution) -> dict[str, tuple[str, str]]:
    """Vehicle and way of finding it, by device."""
    return {":".join(item.device): (item.vehicle_key, item.matched_by) for item in found.identities}


def test_entities_with_one_vin_are_one_vehicle_however_it_is_written() -> None:
    found = resolve(
        [entity("rcs", vin=VIN), entity("omnicomm", vin=VIN.lower()), entity("suivideflotte", vin=f" {VIN[:3]}-{VIN[3:]} ")],
        VehicleFile(),
    )
    assert set(keys(found).values()) == {(f"vin:{VIN}", "vin")}
    assert [vehicle.device_count for vehicle in found.vehicles] == [3]
    assert not found.conflicts


@pytest.mark.parametrize("vin", ["", "123", VIN + "0", "-" * 17, None])
def test_what_is_no_vin_matches_nothing(vin: str | None) -> None:
    found = resolve([entity("rcs", "1", vin=vin), entity("rcs", "2", vin=vin)], VehicleFile())
    assert keys(found) == {"rcs:main:1": ("rcs:main:1", "alone"), "rcs:main:2": ("rcs:main:2", "alone")}
    assert {vehicle.vin for vehicle in found.vehicles} == {None}


def test_an_entity_without_vin_joins_the_only_vehicle_with_its_plate() -> None:
    found = resolve(
        [entity("omnicomm", vin=VIN, plate="W-123 AB"), entity("suivideflotte", plate="w123ab"), entity("powunity")],
        VehicleFile(),
    )
    assert keys(found) == {
        "omnicomm:main:1": (f"vin:{VIN}", "vin"),
        "suivideflotte:main:1": (f"vin:{VIN}", "plate"),
        "powunity:main:1": ("powunity:main:1", "alone"),
    }


def test_entities_without_vin_and_with_one_plate_are_one_vehicle() -> None:
    found = resolve(
        [entity("rcs", plate="W 1"), entity("suivideflotte", plate="w1"), entity("rcs", "2", plate="W2")], VehicleFile()
    )
    assert keys(found) == {
        "rcs:main:1": ("plate:W1", "plate"),
        "suivideflotte:main:1": ("plate:W1", "plate"),
        "rcs:main:2": ("plate:W2", "plate"),
    }


def test_two_vins_with_one_plate_stay_two_vehicles_and_are_reported() -> None:
    found = resolve(
        [entity("omnicomm", vin=OTHER_VIN, plate="W1"), entity("suivideflotte", vin=VIN, plate="W-1")], VehicleFile()
    )
    assert {key for key, _ in keys(found).values()} == {f"vin:{VIN}", f"vin:{OTHER_VIN}"}
    assert found.conflicts == [Conflict(kind="same_plate_different_vin", subject="W1", details=f"{VIN}, {OTHER_VIN}")]


def test_a_plate_of_two_vehicles_is_ambiguous_for_an_entity_without_vin() -> None:
    found = resolve(
        [
            entity("omnicomm", vin=VIN, plate="W1"),
            entity("rcs", vin=OTHER_VIN, plate="W1"),
            entity("suivideflotte", plate="W1"),
        ],
        VehicleFile(),
    )
    assert keys(found)["suivideflotte:main:1"] == ("suivideflotte:main:1", "alone")
    assert [(item.kind, item.subject, item.details) for item in found.conflicts] == [
        ("ambiguous_plate", "suivideflotte:main:1", f"vin:{VIN}, vin:{OTHER_VIN}"),
        ("same_plate_different_vin", "W1", f"{VIN}, {OTHER_VIN}"),
    ]


def test_a_vehicle_with_several_plates_is_joined_by_each() -> None:
    """Two vendors know the vehicle by two plates: one of them was changed."""
    found = resolve(
        [
            entity("omnicomm", vin=VIN, plate="OLD1"), entity("rcs", vin=VIN, plate="NEW1"),
            entity("suivideflotte", "1", plate="OLD1"), entity("suivideflotte", "2", plate="NEW1"),
        ],
        VehicleFile(),
    )  # fmt: skip
    assert {key for key, _ in keys(found).values()} == {f"vin:{VIN}"}
    assert not found.conflicts


def test_attributes_are_the_best_ranked_known_ones() -> None:
    found = resolve(
        [
            entity("omnicomm", vin=VIN, brand="", model_year=2020),
            entity("rcs", "2", vin=VIN, plate="w 2", brand="VW", model="Golf"),
            entity("rcs", "1", vin=VIN, plate="w-1", brand=None, model="Polo"),
            entity("suivideflotte", vin=VIN, name="Service car", plate="w 3", brand="Skoda"),
        ],
        VehicleFile(),
    )
    (vehicle,) = found.vehicles
    assert (vehicle.name, vehicle.vin, vehicle.registration_plate) == ("Service car", VIN, "W1")
    assert (vehicle.brand, vehicle.model, vehicle.model_year) == ("VW", "Polo", 2020)


def test_another_order_of_vendors_changes_rank_and_attributes() -> None:
    file = VehicleFile(priority=("powunity", "suivideflotte", "rcs", "omnicomm"))
    found = resolve([entity("rcs", vin=VIN, brand="VW"), entity("suivideflotte", vin=VIN, brand="Skoda")], file)
    assert {item.vendor: item.rank for item in found.identities} == {"rcs": 3, "suivideflotte": 2}
    assert found.vehicles[0].brand == "Skoda"


@pytest.mark.parametrize(
    ("more", "name"),
    [({"name": "Bike", "plate": "W1"}, "Bike"), ({"plate": "w-1"}, "W1"), ({"vin": VIN}, VIN), ({}, "rcs:main:1")],
)
def test_a_vehicle_without_a_name_is_called_by_plate_vin_or_key(more: dict[str, Any], name: str) -> None:
    (vehicle,) = resolve([entity("rcs", **more)], VehicleFile()).vehicles
    assert vehicle.name == name


def test_a_tracker_that_was_moved_belongs_to_each_vehicle_in_its_time_and_to_nobody_between() -> None:
    file = VehicleFile(
        vehicles=(
            MappedVehicle(id="bike-a", devices=(device("powunity", end=5),)),
            MappedVehicle(id="bike-b", name="B", devices=(device("powunity", start=7, odometer_m=5.0),)),
        )
    )
    found = resolve([entity("powunity", name="Tracker")], file)
    assert [(i.vehicle_key, i.valid_from, i.valid_to, i.odometer_m) for i in found.identities] == [
        ("bike-a", BEGINNING, march(5), None),
        ("bike-b", march(7), None, 5.0),
    ]
    assert [(v.vehicle_key, v.name, v.device_count) for v in found.vehicles] == [
        ("bike-a", "Tracker", 0),
        ("bike-b", "B", 1),
    ]


@pytest.mark.parametrize(
    ("first", "second", "is_conflict"),
    [
        ((None, 5), (5, None), False),
        ((None, 5), (4, None), True),
        ((None, None), (4, 5), True),
        ((4, 5), (None, None), True),
        ((4, 5), (None, 4), False),
    ],
)
def test_of_overlapping_assignments_the_first_listed_counts(first: Any, second: Any, is_conflict: bool) -> None:
    file = VehicleFile(
        vehicles=(
            MappedVehicle(id="b", devices=(device("powunity", start=first[0], end=first[1]),)),
            MappedVehicle(id="a", devices=(device("powunity", start=second[0], end=second[1]),)),
        )
    )
    found = resolve([entity("powunity")], file)
    assert {item.vehicle_key for item in found.identities} == ({"b"} if is_conflict else {"a", "b"})
    assert found.conflicts == (
        [Conflict(kind="overlapping_assignment", subject="powunity:main:1", details="a, b")] if is_conflict else []
    )


def test_a_listed_device_that_no_vendor_knows_is_reported_and_its_vehicle_stays() -> None:
    file = VehicleFile(vehicles=(MappedVehicle(id="bike", devices=(device("powunity", "404"),)),))
    found = resolve([], file)
    assert found.identities == []
    assert [vehicle.vehicle_key for vehicle in found.vehicles] == ["bike"]
    assert found.conflicts == [Conflict(kind="unknown_device", subject="powunity:main:404", details="bike")]


def test_a_vehicle_of_the_file_takes_part_with_its_own_vin_and_plate() -> None:
    file = VehicleFile(
        vehicles=(
            MappedVehicle(id="truck", vin=VIN),
            MappedVehicle(id="van", plate="W-2"),
            MappedVehicle(id="bus", plate="W3"),
        )
    )
    found = resolve(
        [entity("rcs", vin=VIN), entity("suivideflotte", plate="w2"), entity("omnicomm", vin=OTHER_VIN, plate="w 3")], file
    )
    assert keys(found) == {
        "rcs:main:1": ("truck", "vin"),
        "suivideflotte:main:1": ("van", "plate"),
        "omnicomm:main:1": ("bus", "vin"),
    }
    assert len(found.vehicles) == 3


def test_a_vehicle_of_the_file_has_the_vin_of_its_device() -> None:
    file = VehicleFile(vehicles=(MappedVehicle(id="truck", devices=(device("omnicomm"),)),))
    found = resolve(
        [entity("omnicomm", vin=VIN, plate="W1"), entity("rcs", vin=VIN), entity("suivideflotte", plate="W1")], file
    )
    assert keys(found) == {
        "omnicomm:main:1": ("truck", "file"),
        "rcs:main:1": ("truck", "vin"),
        "suivideflotte:main:1": ("truck", "plate"),
    }


def test_a_device_of_two_vehicles_lends_its_plate_to_neither() -> None:
    file = VehicleFile(
        vehicles=(
            MappedVehicle(id="a", devices=(device("omnicomm", end=5),)),
            MappedVehicle(id="b", devices=(device("omnicomm", start=5),)),
        )
    )
    found = resolve(
        [entity("omnicomm", vin=VIN, plate="W1"), entity("rcs", vin=VIN), entity("suivideflotte", plate="W1")], file
    )
    assert keys(found)["rcs:main:1"] == (f"vin:{VIN}", "vin")
    assert keys(found)["suivideflotte:main:1"] == ("plate:W1", "plate")


def test_the_same_id_at_two_accounts_is_two_devices() -> None:
    found = resolve([entity("powunity", account="north"), entity("powunity", account="south")], VehicleFile())
    assert {vehicle.vehicle_key for vehicle in found.vehicles} == {"powunity:north:1", "powunity:south:1"}


def test_the_order_of_the_entities_changes_nothing() -> None:
    entities = [
        entity(vendor, str(number), vin=vin, plate=plate)
        for number, (vendor, vin, plate) in enumerate(
            itertools.product(("rcs", "omnicomm", "suivideflotte"), (VIN, OTHER_VIN, None), ("W1", "W2", None))
        )
    ]
    expected = resolve(entities, VehicleFile())
    dice = random.Random(7)
    for _ in range(20):
        dice.shuffle(entities)
        assert resolve(entities, VehicleFile()) == expected


def test_keys_stay_when_another_vendor_starts_to_tell_of_the_vehicle() -> None:
    alone = resolve([entity("rcs", vin=VIN, plate="W1")], VehicleFile())
    more = resolve(
        [entity("rcs", vin=VIN, plate="W1"), entity("omnicomm", plate="W1"), entity("suivideflotte", vin=VIN)], VehicleFile()
    )
    assert {item.vehicle_key for item in more.identities} == {item.vehicle_key for item in alone.identities}


def test_ten_thousand_vehicles_are_matched_at_once() -> None:
    entities = [entity("rcs", str(n), vin=f"W{n:016d}", plate=f"P{n}") for n in range(10_000)]
    entities += [entity("suivideflotte", str(n), plate=f"P{n}") for n in range(10_000)]
    started = time.process_time()
    found = resolve(entities, VehicleFile())
    assert len(found.vehicles) == 10_000
    assert time.process_time() - started < 5, "a second of a quiet machine, whatever else runs on it"
