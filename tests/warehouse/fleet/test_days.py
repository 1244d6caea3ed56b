"""fleet.vehicle_day and fleet.fuel_event: each figure from its best source, each penalty from its cause."""

from __future__ import annotations

from typing import Any

import pytest
from fleetlake.stack.report import QUERIES
from fleetlake.window import Window

from .house import DAY, House, at, whole

VIN = "WVWZZZ1JZXW000001"


def record(clock: str, **more: Any) -> dict[str, Any]:
    """A record of RCS, standing."""
    revision = more.pop("revision", f"r{clock}")
    return {"vehicle_id": "car-1", "event_time": at(clock), "revision": revision, "speed_kmh": 0.0, **more}


def report(**more: Any) -> dict[str, Any]:
    """The daily report of terminal 1."""
    return {"terminal_id": 1, "report_day": DAY, "report_time": at("00:00"), **more}


def level(clock: str, litres: float, tank: int = 1) -> dict[str, Any]:
    return {"terminal_id": 1, "tank": tank, "event_time": at(clock), "fuel_level_l": litres}


def point(clock: str, speed: float) -> dict[str, Any]:
    return {
        "terminal_id": 1, "event_time": at(clock), "speed_kmh": speed, "latitude_deg": 48.0, "longitude_deg": 16.0,
        "is_valid": True,
    }  # fmt: skip


@pytest.fixture
def car(house: House) -> House:
    house.load("rcs.vehicle", {"vehicle_id": "car-1", "vin": VIN})
    return house


@pytest.fixture
def truck(house: House) -> House:
    house.load("omnicomm.vehicle", {"terminal_id": 1, "name": "Truck"})
    return house


def test_the_daily_report_is_believed_before_all_else(truck: House) -> None:
    truck.load("rcs.vehicle", {"vehicle_id": "car-1", "vin": VIN})
    truck.load("omnicomm.vehicle_profile", {"terminal_id": 1, "vin": VIN})
    truck.load(
        "rcs.telemetry",
        record("08:00", odometer_m=1000.0, fuel_level_l=50.0, is_ignition_on=True),
        record("08:01", odometer_m=2000.0, fuel_level_l=49.0, is_ignition_on=True),
    )
    truck.load("omnicomm.track_point", *(point(clock, 50.0) for clock in ("08:00", "08:01")))
    figures = {
        "distance_m": 5000.0, "moving_time_s": 900.0, "engine_run_time_s": 1200.0, "idle_time_s": 250.0, "fuel_used_l": 7.0,
        "fuel_refuelled_l": 30.0, "fuel_drained_l": 0.5, "max_speed_kmh": 90.0,
    }  # fmt: skip
    truck.load(
        "omnicomm.consolidated_report",
        report(odometer_start_m=9.0, odometer_end_m=5009.0, **figures),
        proven=[("1", whole())],
    )
    truck.prove("rcs", "car-1", whole())
    truck.build()
    day = truck.one("vehicle_day")
    # The speed is that of the trips, the odometer that of the readings: the report has neither as well as they do.
    assert {name: day[name] for name in figures} == {**figures, "max_speed_kmh": 50.0}
    assert (day["odometer_start_m"], day["odometer_end_m"]) == (1000.0, 2000.0)
    assert day["sources"] == "omnicomm/north/1, rcs/north/car-1"
    assert day["trust_notes"] == "trips differ from daily report; odometer differs from distance"
    assert day["trust_score"] == 60


def test_a_report_alone_makes_a_day(truck: House) -> None:
    truck.load(
        "omnicomm.consolidated_report",
        report(distance_m=0.0, odometer_start_m=9.0, odometer_end_m=9.0),
        proven=[("1", whole())],
    )
    truck.build()
    day = truck.one("vehicle_day")
    assert (day["trips"], day["stops"], day["distance_m"], day["moving_time_s"]) == (0, 0, 0.0, 0.0)
    assert (day["odometer_start_m"], day["odometer_end_m"]) == (9.0, 9.0)
    assert day["engine_run_time_s"] is day["idle_time_s"] is day["fuel_used_l"] is day["max_speed_kmh"] is None
    assert (day["trust_score"], day["trust_notes"]) == (100, "")


def test_engine_time_of_rcs_is_the_gaps_after_records_with_the_engine_on(car: House) -> None:
    car.load(
        "rcs.telemetry",
        record("08:00:00", is_ignition_on=True),
        record("08:01:00", is_ignition_on=True, is_engine_started=False),  # the engine itself knows better
        record("08:02:00", is_engine_started=True),
        record("08:04:00", is_engine_started=True),  # 120 s: still running
        record("08:06:01", is_engine_started=True),  # 121 s: unknown
        record("08:06:31"),
    )
    car.build()
    day = car.one("vehicle_day")
    assert day["engine_run_time_s"] == 60 + 120 + 30
    assert day["idle_time_s"] == 210.0
    assert day["trips"] == 0


def test_engine_time_of_powunity_is_its_summary(house: House) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load("powunity.trip", {"device_id": 1, "start_time": at("08:00"), "end_time": at("08:10"), "distance_m": 100.0})
    house.load(
        "powunity.summary", {"device_id": 1, "summary_day": DAY, "start_time": at("00:00"), "engine_run_time_s": 400.0}
    )
    house.build()
    day = house.one("vehicle_day")
    assert (day["engine_run_time_s"], day["moving_time_s"], day["idle_time_s"]) == (400.0, 600.0, 0.0)


def test_fuel_of_rcs_is_first_minus_last_plus_refuelled_minus_drained(car: House) -> None:
    clocks = ["08:00", "09:00", "09:10", "09:20", "10:00", "10:05", "10:10", "11:00"]
    levels = [50.0, 45.0, 60.0, 70.0, 66.0, 56.0, 50.0, 48.0]
    car.load(
        "rcs.telemetry",
        *(record(clock, fuel_level_l=litres) for clock, litres in zip(clocks, levels, strict=True)),
        record("12:00"),
    )
    car.build()
    assert car.table(
        "fuel_event", "kind", "begin_time", "event_time", "volume_l", "level_before_l", "level_after_l", "tank"
    ) == [
        ("drain", at("10:00"), at("10:10"), 16.0, 66.0, 50.0, 1),
        ("refuel", at("09:00"), at("09:20"), 25.0, 45.0, 70.0, 1),
    ]
    day = car.one("vehicle_day")
    assert (day["fuel_used_l"], day["fuel_refuelled_l"], day["fuel_drained_l"]) == (11.0, 25.0, 16.0)


def test_fuel_of_the_day_is_that_of_the_devices_whose_levels_it_compares(car: House) -> None:
    """From noon a better device tells the levels: what it saw filled in did not go between the morning's."""
    car.load("omnicomm.vehicle", {"terminal_id": 1})
    car.map_vehicles(
        {"id": "truck", "devices": [
            {"vendor": "rcs", "account": "north", "id": "car-1"},
            {"vendor": "omnicomm", "account": "north", "id": 1, "from": at("12:00").isoformat()},
        ]}
    )  # fmt: skip
    morning = [("06:00", 60.0), ("08:00", 56.0), ("08:05", 76.0), ("11:00", 70.0), ("13:00", 95.0)]
    car.load("rcs.telemetry", *(record(clock, fuel_level_l=litres) for clock, litres in morning))
    car.load("omnicomm.fuel_level", level("13:00", 60.0), level("13:05", 100.0), level("18:00", 90.0))
    car.build()
    assert car.table("fuel_event", "vendor", "volume_l") == [("omnicomm", 40.0), ("rcs", 20.0)]
    day = car.one("vehicle_day")
    assert (day["fuel_used_l"], day["fuel_refuelled_l"], day["fuel_drained_l"]) == (10.0, 20.0, 0.0)


@pytest.mark.parametrize("speed", [None, 60.0])
def test_what_is_unknown_is_not_nothing(car: House, speed: float | None) -> None:
    """Records with places alone: whether it moved, how far and with which engine is open."""
    clocks = [f"08:{minute:02}" for minute in range(10)]
    car.load(
        "rcs.telemetry",
        *(record(clock, speed_kmh=speed, latitude_deg=48.0) for clock in clocks),
        proven=[("car-1", whole())],
    )
    car.build()
    day = car.one("vehicle_day")
    assert day["distance_m"] is day["engine_run_time_s"] is day["idle_time_s"] is None
    notes = "distance unknown" if speed else "distance unknown; speed unknown"
    assert (day["moving_time_s"], day["trips"]) == ((540.0, 1) if speed else (None, 0))
    assert (day["trust_score"], day["trust_notes"]) == (80 if speed else 60, notes)


def test_engine_time_comes_from_the_device_that_knows_the_engine(car: House) -> None:
    car.load("powunity.device", {"device_id": 2})
    car.map_vehicles(
        {"id": "v", "devices": [
            {"vendor": "rcs", "account": "north", "id": "car-1"}, {"vendor": "powunity", "account": "north", "id": 2},
        ]}
    )  # fmt: skip
    car.load("rcs.telemetry", record("08:00"), record("08:01"))
    car.load("powunity.summary", {"device_id": 2, "summary_day": DAY, "start_time": at("00:00"), "engine_run_time_s": 400.0})
    car.build()
    assert car.one("vehicle_day")["engine_run_time_s"] == 400.0


def test_a_day_that_is_proven_empty_is_a_day_of_zeros(house: House) -> None:
    house.load("suivideflotte.vehicle", {"vehicle_id": 1}, {"vehicle_id": 2})
    house.prove("suivideflotte", "1", whole(0, 2))
    house.prove("suivideflotte", "2", Window(at("00:00"), at("23:00")))
    for full in (False, True):
        house.build(full=full)
        days = house.rows("SELECT * FROM fleet.vehicle_day ORDER BY day")
        assert [(row["vehicle_key"], row["day"]) for row in days] == [
            ("suivideflotte:north:1", DAY), ("suivideflotte:north:1", at("00:00", 1).date()),
        ]  # fmt: skip
        for row in days:
            assert (row["distance_m"], row["moving_time_s"], row["trips"], row["stops"]) == (0.0, 0.0, 0, 0)
            assert (row["sources"], row["trust_score"], row["trust_notes"]) == ("", 100, "")
            assert row["engine_run_time_s"] is row["fuel_used_l"] is row["odometer_start_m"] is None


def test_an_empty_day_follows_its_device_to_another_vehicle(house: House) -> None:
    house.load("suivideflotte.vehicle", {"vehicle_id": 1})
    house.prove("suivideflotte", "1", whole())
    house.build()
    house.map_vehicles({"id": "van", "devices": [{"vendor": "suivideflotte", "account": "north", "id": 1}]})
    house.build()
    assert house.table("vehicle_day", "vehicle_key") == [("van",)]


def test_one_fuel_level_says_nothing_about_fuel(car: House) -> None:
    car.load("rcs.telemetry", record("08:00", fuel_level_l=50.0))
    car.build()
    day = car.one("vehicle_day")
    assert day["fuel_used_l"] is day["fuel_refuelled_l"] is day["fuel_drained_l"] is None


@pytest.mark.parametrize(
    ("levels", "found"),
    [
        ([("08:00", 40.0), ("08:01", 45.0)], [("refuel", 5.0)]),
        ([("08:00", 40.0), ("08:01", 44.9)], []),
        ([("08:00", 40.0), ("08:01", 43.0), ("08:02", 43.9), ("08:03", 46.0)], []),  # a small step ends a rise
        ([("08:00", 40.1), ("14:00", 41.1), ("20:00", 45.1)], [("refuel", 5.0)]),  # however long it takes
        ([("08:00", 40.0), ("08:10", 30.0)], [("drain", 10.0)]),
        ([("08:00", 40.0), ("08:10:01", 29.0)], []),  # too long ago to be one drain
        ([("08:00", 40.0), ("08:05", 31.0)], []),
        ([("08:00", 40.0), ("08:09", 31.5), ("08:10", 29.5)], []),  # less than a litre per minute is driving
        ([("08:00", 40.0), ("08:05", 34.0), ("08:10", 29.0), ("08:20", 28.5)], [("drain", 11.0)]),
        ([("08:00", 40.0), ("08:01", 60.0), ("08:02", 45.0)], [("drain", 15.0), ("refuel", 20.0)]),
    ],
)
def test_rises_are_refuellings_and_quick_falls_are_drains(truck: House, levels: Any, found: Any) -> None:
    truck.load("omnicomm.fuel_level", *(level(clock, litres) for clock, litres in levels))
    truck.load("omnicomm.fuel_level", *(level(clock, 70.0, tank=2) for clock, _ in levels))
    truck.build()
    assert truck.table("fuel_event", "kind", "volume_l") == found


def test_fuel_levels_of_a_worse_device_make_no_second_event(car: House) -> None:
    car.load("omnicomm.vehicle", {"terminal_id": 1})
    car.load("omnicomm.vehicle_profile", {"terminal_id": 1, "vin": VIN})
    for dataset, rows in (
        ("omnicomm.fuel_level", [level("08:00", 40.0), level("08:05", 80.0)]),
        ("rcs.telemetry", [record("08:01", fuel_level_l=40.0), record("08:06", fuel_level_l=79.0)]),
    ):
        car.load(dataset, *rows)
    car.build()
    assert car.table("fuel_event", "vendor", "volume_l") == [("omnicomm", 40.0)]


@pytest.mark.parametrize(
    ("figures", "note"),
    [
        ({"distance_m": 8_999.0}, "trips differ from daily report"),
        ({"distance_m": 9_000.0}, ""),
        ({"distance_m": 100_000.0}, "trips differ from daily report"),
        ({"odometer_start_m": 0.0, "odometer_end_m": 11_001.0}, "odometer differs from distance"),
        ({"odometer_start_m": 0.0, "odometer_end_m": 11_000.0}, ""),
        ({"odometer_start_m": 0.0}, ""),
        ({"fuel_used_l": -0.1}, "negative fuel"),
    ],
)
def test_figures_that_contradict_each_other_cost_trust(house: House, figures: dict[str, float], note: str) -> None:
    """The trips say 10 km: a metre more than 1,000 m apart is too much."""
    house.load("omnicomm.vehicle", {"terminal_id": 1})
    house.load("omnicomm.vehicle_profile", {"terminal_id": 1, "vin": VIN})
    house.load("suivideflotte.vehicle", {"vehicle_id": 2, "vin": VIN})
    house.load(
        "suivideflotte.trip",
        {"vehicle_id": 2, "trip_id": 1, "start_time": at("08:00"), "end_time": at("09:00"), "distance_m": 1e4},
    )
    house.load("omnicomm.consolidated_report", report(**{"distance_m": 10_000.0, **figures}), proven=[("1", whole())])
    house.prove("suivideflotte", "2", whole())
    house.build()
    day = house.one("vehicle_day")
    assert (day["trust_notes"], day["trust_score"]) == (note, 80 if note else 100)


def test_ten_percent_count_where_they_are_more_than_a_kilometre(house: House) -> None:
    house.load("omnicomm.vehicle", {"terminal_id": 1})
    house.load("omnicomm.consolidated_report", report(distance_m=50_000.0, odometer_start_m=0.0, odometer_end_m=54_999.0))
    house.build()
    assert "odometer" not in house.one("vehicle_day")["trust_notes"]


@pytest.mark.parametrize(("speed", "note"), [(200.0, ""), (200.1, "implausible speed")])
def test_a_speed_beyond_200_costs_trust(house: House, speed: float, note: str) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load(
        "powunity.trip",
        {"device_id": 1, "start_time": at("08:00"), "end_time": at("08:10"), "distance_m": 1.0, "max_speed_kmh": speed},
        proven=[("1", whole())],
    )
    house.build()
    assert house.one("vehicle_day")["trust_notes"] == note


@pytest.mark.parametrize(
    ("proven", "is_proven"),
    [
        ([], False),
        ([whole()], True),
        ([whole(-3, 9)], True),
        ([Window(at("00:00"), at("12:00"))], False),
        ([Window(at("00:00"), at("12:00")), Window(at("12:00"), at("00:00", 1))], True),
        ([Window(at("00:00"), at("12:00")), Window(at("12:00:01"), at("00:00", 1))], False),
    ],
)
def test_a_day_without_proof_is_not_trusted(house: House, proven: list[Window], is_proven: bool) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load("powunity.trip", {"device_id": 1, "start_time": at("08:00"), "end_time": at("08:10"), "distance_m": 1.0})
    for window in proven:
        house.prove("powunity", "1", window)
    house.build()
    day = house.one("vehicle_day", f"day = '{DAY}'")
    assert (day["trust_notes"], day["trust_score"]) == (("", 100) if is_proven else ("not proven complete", 50))


def test_each_device_of_the_vehicle_needs_its_proof(car: House) -> None:
    car.load("suivideflotte.vehicle", {"vehicle_id": 2, "vin": VIN})
    car.load("rcs.telemetry", record("08:00"), proven=[("car-1", whole())])
    car.build()
    assert car.one("vehicle_day")["trust_notes"] == "not proven complete"
    car.prove("suivideflotte", "2", whole())
    car.build()
    assert car.one("vehicle_day")["trust_notes"] == ""


def test_penalties_add_up_but_not_below_nothing(truck: House) -> None:
    truck.load(
        "omnicomm.consolidated_report",
        report(distance_m=90_000.0, odometer_start_m=0.0, odometer_end_m=1.0, max_speed_kmh=300.0, fuel_used_l=-5.0),
    )
    truck.build()
    day = truck.one("vehicle_day")
    assert day["trust_score"] == 0
    assert day["trust_notes"].count(";") == 4


def test_a_trip_of_the_day_is_first_and_last(house: House) -> None:
    house.load("powunity.device", {"device_id": 1})
    rides = [("08:00", "08:10"), ("12:00", "12:05"), ("18:00", "18:30")]
    house.load(
        "powunity.trip",
        *({"device_id": 1, "start_time": at(start), "end_time": at(end), "distance_m": 1500.5} for start, end in rides),
    )
    house.build()
    day = house.one("vehicle_day")
    assert (day["first_trip_time"], day["last_trip_time"]) == (at("08:00"), at("18:30"))
    assert (day["trips"], day["stops"], day["distance_m"], day["moving_time_s"]) == (3, 2, 4501.5, 45 * 60)


def test_the_demo_divides_fuel_by_the_distance_of_the_days_that_know_it(car: House) -> None:
    """The second day drives ten times as far, and tells no fuel."""
    for day, metres, levels in ((0, 50_000.0, (50.0, 45.0)), (1, 500_000.0, (None, None))):
        car.load(
            "rcs.telemetry",
            *(
                {"vehicle_id": "car-1", "revision": f"{day} {clock}", "event_time": at(clock, day), "speed_kmh": 60.0,
                 "odometer_m": part * metres, "fuel_level_l": litres}
                for part, (clock, litres) in enumerate(zip(("08:00", "08:05"), levels, strict=True))
            ),
        )  # fmt: skip
    car.build()
    (query,) = (query for title, query in QUERIES if title == "Which vehicles were busiest?")
    (row,) = car.rows(query)
    assert (float(row["km"]), float(row["l_per_100km"])) == (550.0, 10.0)
