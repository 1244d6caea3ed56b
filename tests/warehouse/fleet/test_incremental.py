"""Builds take up exactly what changed, tell what they restate, and always end where a full build would."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from fleetlake.changes import Deletion

from .house import DAY, House, at, whole


def ride(device: int, start: str, end: str, metres: float, day: int = 0, **more: Any) -> dict[str, Any]:
    return {"device_id": device, "start_time": at(start, day), "end_time": at(end, day), "distance_m": metres, **more}


@pytest.fixture
def fleet_house(house: House) -> House:
    """Three bikes, three days, all proven, built."""
    house.load("powunity.device", *({"device_id": number} for number in (1, 2, 3)))
    rides = [ride(device, "08:00", "08:30", 5000.0, day) for device in (1, 2, 3) for day in range(3)]
    rides += [ride(device, "18:00", "18:30", 5000.0, day) for device in (1, 2, 3) for day in range(3)]
    house.load("powunity.trip", *rides, proven=[(str(number), whole(0, 3)) for number in (1, 2, 3)])
    house.build()
    return house


def assert_equal_to_full(house: House) -> None:
    before = house.everything(built_at=True)
    report = house.build(full=True)
    assert (report.inserted, report.updated, report.deleted, report.restatements) == (0, 0, 0, 0)
    assert house.everything(built_at=True) == before


def test_a_second_build_does_nothing(fleet_house: House) -> None:
    before = fleet_house.everything(built_at=True)
    report = fleet_house.build()
    assert (report.changes, report.units, report.inserted, report.updated, report.deleted) == (0, 0, 0, 0, 0)
    assert fleet_house.everything(built_at=True) == before


def test_a_late_trip_rebuilds_its_day_alone_and_each_changed_cell_is_told(fleet_house: House) -> None:
    before = fleet_house.everything(built_at=True)
    load = fleet_house.load("powunity.trip", ride(2, "12:00", "12:30", 7000.0, day=1))
    report = fleet_house.build()
    after = fleet_house.everything(built_at=True)
    assert report.units == 1
    day = DAY + dt.timedelta(days=1)

    for table in ("fleet.vehicle_day", "fleet.trip", "fleet.stop"):
        touched = {row for row in after[table] if "powunity:north:2" in row and day in row}
        assert set(after[table]) - touched == {r for r in before[table] if not ("powunity:north:2" in r and day in r)}, table

    told = fleet_house.rows("SELECT * FROM ops.restatement ORDER BY restatement_id")
    assert {(row["vehicle_key"], row["day"], row["cause"], tuple(row["load_ids"])) for row in told} == {
        ("powunity:north:2", day, "powunity.trip", (load,))
    }
    assert {row["build_id"] for row in told} == {report.build_id}
    cells = {(row["table_name"], row["kind"], row["column_name"]): (row["before"], row["after"]) for row in told}
    start = "2026-03-03T08:30:00+00:00"
    assert cells["fleet.vehicle_day", "changed", "distance_m"] == (10000, 17000)
    assert cells["fleet.vehicle_day", "changed", "trips"] == (2, 3)
    assert cells["fleet.vehicle_day", "changed", "stops"] == (1, 2)
    assert cells["fleet.vehicle_day", "changed", "moving_time_s"] == (3600, 5400)
    assert cells["fleet.stop", "changed", "end_time"] == ("2026-03-03T18:00:00+00:00", "2026-03-03T12:00:00+00:00")
    assert cells["fleet.trip", "added", None][1]["distance_m"] == 7000
    assert cells["fleet.stop", "added", None][1]["start_time"] == "2026-03-03T12:30:00+00:00"
    assert set(cells) == {
        ("fleet.trip", "added", None), ("fleet.stop", "added", None),
        ("fleet.stop", "changed", "end_time"), ("fleet.stop", "changed", "duration_s"),
        *(("fleet.vehicle_day", "changed", name) for name in ("distance_m", "trips", "stops", "moving_time_s")),
    }  # fmt: skip
    (key,) = [row["row_key"] for row in told if row["table_name"] == "fleet.stop" and row["column_name"] == "end_time"]
    assert key == {"vehicle_key": "powunity:north:2", "start_time": start}
    assert report.restatements == len(told)
    assert_equal_to_full(fleet_house)


def test_every_difference_of_a_published_day_is_among_the_restatements(fleet_house: House) -> None:
    """What the rows say now is what they said before, with the restatements applied."""
    before = {
        name: fleet_house.rows(f"SELECT to_jsonb(t) - 'built_at' AS row FROM {name} t")
        for name in ("fleet.trip", "fleet.vehicle_day")
    }
    fleet_house.load(
        "powunity.trip",
        ride(1, "08:00", "08:30", 5100.0, max_speed_kmh=40.0),
        ride(1, "09:00", "09:10", 300.0),
        delete=Deletion(account="north", scopes=[1], window=whole(), at=at("00:00")),
    )
    fleet_house.build()
    told = fleet_house.rows("SELECT * FROM ops.restatement")
    for name, rows in before.items():
        key = list(told[0]["row_key"]) if name == "fleet.trip" else ["vehicle_key", "day"]
        keys = {row["table_name"]: list(row["row_key"]) for row in told}
        key = keys[name]
        state = {tuple(row["row"][k] for k in key): dict(row["row"]) for row in rows}
        for row in (item for item in told if item["table_name"] == name):
            place = tuple(row["row_key"][k] for k in key)
            if row["kind"] == "removed":
                assert state.pop(place) == row["before"]
            elif row["kind"] == "added":
                assert place not in state
                state[place] = row["after"]
            else:
                assert state[place][row["column_name"]] == row["before"]
                state[place][row["column_name"]] = row["after"]
        now = fleet_house.rows(f"SELECT to_jsonb(t) - 'built_at' AS row FROM {name} t")
        assert state == {tuple(row["row"][k] for k in key): row["row"] for row in now}
    assert {row["kind"] for row in told} == {"added", "removed", "changed"}


def test_a_day_that_was_not_proven_is_completed_without_a_restatement(house: House) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load("powunity.trip", ride(1, "08:00", "08:30", 5000.0))
    house.build()
    house.load("powunity.trip", ride(1, "18:00", "18:30", 5000.0), proven=[("1", whole())])
    report = house.build()
    assert house.one("vehicle_day")["trust_score"] == 100
    assert report.restatements == 0
    house.load("powunity.trip", ride(1, "18:00", "18:30", 5001.0))
    assert house.build().restatements == 3, "distance of trip and day, and its average speed"


def test_the_same_batch_again_restates_nothing(fleet_house: House) -> None:
    fleet_house.load("powunity.trip", ride(1, "08:00", "08:30", 5000.0))
    fleet_house.load("powunity.position", {"device_id": 1, "position_id": 1, "event_time": at("08:00")})
    fleet_house.load("powunity.position", {"device_id": 1, "position_id": 1, "event_time": at("08:00"), "altitude_m": 5.0})
    report = fleet_house.build()
    assert (report.units, report.inserted, report.updated, report.deleted, report.restatements) == (1, 0, 0, 0, 0)


def test_a_trip_that_moves_to_another_day_leaves_the_first(house: House) -> None:
    """Its id stays, its time does not."""
    house.load("suivideflotte.vehicle", {"vehicle_id": 1})
    trip = {"vehicle_id": 1, "trip_id": 5, "distance_m": 9.0}
    house.load("suivideflotte.trip", {**trip, "start_time": at("23:50"), "end_time": at("23:58")})
    house.load("suivideflotte.alert", {"alert_id": 1, "vehicle_id": 1, "event_time": at("23:50")})
    house.build()
    for days in (1, -1, 0):
        moved = {**trip, "start_time": at("00:10", days), "end_time": at("00:20", days)}
        house.load("suivideflotte.trip", moved)
        house.load("suivideflotte.alert", {"alert_id": 1, "vehicle_id": 1, "event_time": at("00:10", days)})
        house.build(batch=1)
        assert house.table("trip", "start_time") == [(at("00:10", days),)]
        assert house.table("event", "event_time", "day") == [(at("00:10", days), at("00:10", days).date())]
        assert house.table("vehicle_day", "day") == [(at("00:10", days).date(),)]
    assert_equal_to_full(house)


def test_changes_of_a_run_that_is_not_over_wait(house: House) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load("powunity.trip", ride(1, "08:00", "08:30", 5000.0), over=False)
    house.load("powunity.position", {"device_id": 1, "position_id": 1, "event_time": at("08:00", 4)})
    report = house.build()
    assert (report.waiting, report.held) == (1, 1), "the device is new, so all its days are queued, this one too"
    assert house.table("vehicle_day", "day") == [(at("00:00", 4).date(),)]
    assert house.build(full=True).held == 1
    with house.warehouse.session() as connection:
        connection.execute("UPDATE ops.change SET changed_at = now() - interval '5 hours 59 minutes'")
        connection.commit()
    assert house.build().waiting == 1
    with house.warehouse.session() as connection:
        connection.execute("UPDATE ops.change SET changed_at = now() - interval '6 hours 1 minute'")
        connection.commit()
    report = house.build()
    assert (report.waiting, report.held) == (0, 0)
    assert len(house.table("vehicle_day", "day")) == 2
    assert house.table("ops.model_unit", "unit_id") == []


def test_a_run_that_ended_incomplete_is_taken_up_too(house: House) -> None:
    house.load("powunity.device", {"device_id": 1})
    house.load("powunity.trip", ride(1, "08:00", "08:30", 5000.0), over=False)
    (run,) = house.rows("SELECT DISTINCT dag_id, run_id FROM ops.change WHERE dataset = 'powunity.trip'")
    house.warehouse.record_run_end(run["dag_id"], run["run_id"], is_complete=False)
    house.build()
    assert house.one("vehicle_day")["trust_notes"] == "not proven complete"


def test_what_no_table_is_made_of_is_taken_up_and_builds_nothing(fleet_house: House) -> None:
    fleet_house.load("powunity.stop", {"device_id": 1, "start_time": at("09:00"), "end_time": at("10:00")})
    report = fleet_house.build()
    assert (report.changes, report.waiting, report.units) == (1, 0, 0)


def test_rows_that_nothing_accounts_for_go_with_a_full_build(fleet_house: House) -> None:
    with fleet_house.warehouse.session() as connection:
        for table in ("trip", "vehicle_day", "stop"):
            connection.execute(
                f"UPDATE fleet.{table} SET vehicle_key = 'ghost', day = '2001-01-01' WHERE day = %s AND vehicle_key = 'powunity:north:1'",
                [DAY],
            )
        connection.commit()
    report = fleet_house.build(full=True)
    assert report.deleted == report.inserted == 4
    assert fleet_house.table("vehicle_day", "vehicle_key", where="vehicle_key = 'ghost'") == []
    assert len(fleet_house.table("vehicle_day", "day")) == 9


def test_a_full_build_of_everything_equals_what_many_small_ones_made(house: House) -> None:
    """All vendors at once, day by day, with corrections in between."""
    vin = "WVWZZZ1JZXW000001"
    house.load("rcs.vehicle", {"vehicle_id": "car-1", "vin": vin})
    house.load("suivideflotte.vehicle", {"vehicle_id": 1, "vin": vin})
    house.load("omnicomm.vehicle", {"terminal_id": 1})
    house.load("powunity.device", {"device_id": 1})
    for day in (2, 0, 1):
        house.load(
            "rcs.telemetry",
            *(
                {"vehicle_id": "car-1", "revision": f"{day}-{m:02}", "event_time": at(f"08:{m:02}", day), "speed_kmh": 40.0,
                 "odometer_m": day * 100_000.0 + m * 700, "fuel_level_l": 60.0 - m / 10 + (20 if m > 30 else 0)}
                for m in range(0, 60, 3)
            ),
        )  # fmt: skip
        house.load(
            "suivideflotte.trip",
            {"vehicle_id": 1, "trip_id": day, "start_time": at("09:00", day), "end_time": at("09:30", day)},
        )
        house.build(batch=1)
        house.load("powunity.trip", ride(1, "23:00", "23:59", 100.0, day), proven=[("1", whole(day))])
        house.load(
            "omnicomm.consolidated_report",
            {"terminal_id": 1, "report_day": at("00:00", day).date(), "report_time": at("00:00", day), "distance_m": 1.0},
        )
        house.load(
            "powunity.event",
            {
                "event_id": day,
                "device_id": 1,
                "event_type": "geofenceEnter",
                "geofence_id": 1,
                "event_time": at("10:00", day),
            },
        )
        house.load(
            "rcs.health_report",
            {
                "report_id": str(day),
                "vehicle_id": "car-1",
                "created_time": at("06:00", day),
                "result": "DONE",
                "severity": "OK",
            },
        )
        house.build()
    house.load("powunity.trip", ride(1, "22:00", "22:30", 100.0, 1))
    house.build()
    counts = {name: len(rows) for name, rows in house.everything().items()}
    assert counts["fleet.vehicle_day"] == 9
    assert counts["fleet.fuel_event"] == 3
    assert_equal_to_full(house)


def test_data_from_before_the_first_build_is_all_built(new_house: House) -> None:
    new_house.load("powunity.device", {"device_id": 1})
    new_house.load("powunity.trip", ride(1, "08:00", "08:30", 5000.0), ride(1, "08:00", "08:30", 1.0, 400))
    new_house.load("powunity.event", {"event_id": 1, "device_id": 404, "event_time": at("08:00", -400)})
    with new_house.warehouse.session() as connection:
        connection.execute("DELETE FROM ops.change")
        connection.commit()
    report = new_house.build()
    assert report.is_full
    assert len(new_house.table("vehicle_day", "day")) == 2
    assert len(new_house.table("event", "day")) == 1
