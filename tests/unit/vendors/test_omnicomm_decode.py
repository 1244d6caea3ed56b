"""Omnicomm's answers become rows: a shape per report, three units of volume, seconds and milliseconds."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import pytest
from fleetlake.contracts import Contract
from fleetlake.errors import ConfigError, MalformedAnswer
from fleetlake.pipeline.decode import Decoded, decode_rows
from fleetlake.reading import Asked
from fleetlake.vendors.omnicomm.decode import page_info, split
from fleetlake.vendors.omnicomm.mapping import DERIVATIONS, salvage
from fleetlake.vendors.omnicomm.source import FEEDS
from fleetlake.window import Window

DAY = Window.day("2026-11-20")
ASKED = Asked("trucks", "202000001", DAY)


@pytest.fixture
def decoded(contracts: Mapping[str, Contract]) -> Any:
    """Typed rows of an answer, and what could not be typed."""

    def typed(feed: str, answer: Any, dataset: str | None = None) -> Decoded:
        table = dataset or FEEDS[feed].datasets[0]
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return decode_rows(contracts[table], split(feed, table, body, ASKED), DERIVATIONS.get(table))

    return typed


@pytest.fixture
def rows(decoded: Any) -> Any:
    """Rows without their nulls; nothing may be rejected."""

    def told(*args: Any) -> list[dict[str, Any]]:
        found = decoded(*args)
        assert found.rejects == []
        return [{name: value for name, value in row.items() if value is not None} for row in found.table.to_pylist()]

    return told


def truck(number: int = 1, **more: Any) -> dict[str, Any]:
    uuid = f"00000000-0000-3000-8000-00000000000{number}"
    return {"uuid": uuid, "name": f"TRUCK 0{number}", "terminal_type": "FAS", "terminal_id": 202000000 + number, **more}


# --- tree ---------------------------------------------------------------------------------------------------------------

TREE = {
    "id": 4101, "parentGroupId": None, "name": "Fleet A", "autocheck_id": 4101,
    "objects": [truck(1, receive_data=1)],
    "children": [
        {"id": 5662, "parentGroupId": 4101, "name": "Depot 2", "objects": [truck(2, receive_data=0)], "children": [
            {"id": 5663, "parentGroupId": 5662, "name": "Night", "objects": [truck(3, receive_data=True)]},
            {"id": 5664, "parentGroupId": 5662, "name": "Empty", "objects": [], "children": []},
        ]},
        {"id": 5670, "parentGroupId": 4101, "name": "Fleet A/Depot 2/", "children": [
            {"id": 5671, "parentGroupId": 5670, "name": "Depot 2", "objects": [truck(2, name="renamed"), truck(4)]},
        ]},
    ],
}  # fmt: skip


def test_a_vehicle_repeated_in_groups_and_saved_views_is_one_row(rows: Any) -> None:
    found = {row["terminal_id"]: row for row in rows("vehicle_tree", TREE)}
    assert list(found) == [202000001, 202000002, 202000003, 202000004]
    assert found[202000002]["group_ids"] == "[5662,5671]"
    assert found[202000002]["group_names"] == '["Depot 2","Depot 2"]'
    assert found[202000002]["name"] == "TRUCK 02", "the first one counts"


def test_receive_data_is_a_number_a_boolean_or_absent(rows: Any) -> None:
    states = {row["terminal_id"]: row.get("is_receiving_data") for row in rows("vehicle_tree", TREE)}
    assert states == {202000001: True, 202000002: False, 202000003: True, 202000004: None}
    assert all("receive_data" not in row.get("extra", "") for row in rows("vehicle_tree", TREE))


def test_a_tanker_is_a_vehicle_whose_type_says_so(rows: Any) -> None:
    found = rows(
        "vehicle_tree", {"id": 1, "objects": [truck(1), truck(2, terminal_type="FTC"), truck(3, terminal_type="NEW")]}
    )
    assert [row["terminal_type"] for row in found] == ["FAS", "FTC", "NEW"]


def test_groups_may_lack_vehicles_and_children(rows: Any) -> None:
    found = rows("vehicle_tree", TREE, "omnicomm.vehicle_group")
    assert [(row["group_id"], row.get("parent_group_id"), row["vehicles_count"]) for row in found] == [
        (4101, None, 1), (5662, 4101, 1), (5663, 5662, 1), (5664, 5662, 0), (5670, 4101, 0), (5671, 5670, 2)
    ]  # fmt: skip


def test_a_tree_of_any_depth_is_walked_and_one_without_end_is_malformed(rows: Any) -> None:
    deep: dict[str, Any] = {"id": 0, "objects": [truck(1)]}
    for number in range(1, 200):
        deep = {"id": number, "children": [deep]}
    assert len(rows("vehicle_tree", deep)) == 1
    with pytest.raises(MalformedAnswer):
        split("vehicle_tree", "omnicomm.vehicle", b'{"children":[' * 100_000)


def test_vehicles_without_a_number_are_shown_to_the_audit_each_by_itself(decoded: Any) -> None:
    table = decoded("vehicle_tree", {"id": 1, "objects": [{"name": "a"}, {"name": "b"}, truck(1)]}).table
    assert table["terminal_id"].to_pylist() == [None, None, 202000001]


# --- profiles and states ------------------------------------------------------------------------------------------------


def test_blocks_of_a_profile_may_be_lists_or_null(rows: Any) -> None:
    profile = {
        "terminal": {"terminalId": 202000001, "uuid": "ABC"},
        "vehicle": {"vin": "ABCDEFGH123456789", "licencePlate": "A001AT 77", "manufactureYear": 2020.0},
        "mainTank": [{"fillThreshold": 10}, {"fillThreshold": 20}],
        "engine": [],
        "movement": None,
        "univInputs": [{"univInputNumber": 1}],
        "newBlock": {"a": 1},
    }
    (row,) = rows("profiles", profile)
    assert (row["terminal_id"], row["vin"], row["registration_plate"]) == (202000001, "ABCDEFGH123456789", "A001AT 77")
    assert (row["model_year"], row["refuel_threshold"]) == (2020, 10)
    assert row["universal_inputs"] == '[{"univInputNumber":1}]'
    assert json.loads(row["extra"])["newBlock"] == {"a": 1}
    assert json.loads(row["extra"])["_all_mainTank"][1] == {"fillThreshold": 20}


def test_state_counts_fuel_in_litres_and_any_field_may_be_missing(rows: Any) -> None:
    state = {"status": True, "lastDataDate": 1763596800, "currentFuel": 412, "lastGPS": {"latitude": 45.1}, "voltage": 27.6}
    (row,) = rows("states", state)
    assert (row["fuel_level_l"], row["battery_v"], row["latitude_deg"]) == (412.0, 27.6, 45.1)
    assert row["last_data_time"] == dt.datetime(2025, 11, 20, tzinfo=dt.UTC)
    assert rows("states", {"currentFuel": None, "lastGPS": None}) == [{"terminal_id": 202000001}]


# --- reports ------------------------------------------------------------------------------------------------------------

FUEL = {
    "startVolume": 4000, "endVolume": 3900, "fuelConsumption": 600, "refuelling": 500, "draining": 0, "deviation": 6000,
    "delivery": 250, "fuelCons100": 400.0, "normCons100": 38, "deviationWorkNormIdleLoad": 2.2, "co2Emission": 158.4,
}  # fmt: skip


def test_statistics_and_consolidated_report_differ_in_shape_and_agree_in_columns(rows: Any) -> None:
    moved = {"mileage": 150.0, "worked": 27000, "layUp": 16200, "maxSpeed": 82.0}
    statistics = {"code": 0, "message": "OK", "data": {"totalMw": {}, "vehicleDataList": [
        {"vehicleID": 202000001, "name": "TRUCK 01", "mw": moved, "fuel": FUEL},
    ]}}  # fmt: skip
    report = {"code": 0, "items": [{"consolidatedReport": {
        "vehicleId": 202000001, "date": 1780099200, "mv": moved, "fuel": FUEL, "ccan": {"spn245": 12.3}, "canmt": {},
    }}]}  # fmt: skip
    (total,), (day,) = rows("statistics", statistics), rows("consolidated", report)
    shared = set(total) & set(day) - {"extra"}
    assert {name: total[name] for name in shared} == {name: day[name] for name in shared}
    assert {"terminal_id", "distance_m", "engine_run_time_s", "engine_off_time_s", "fuel_used_l", "co2_kg"} <= shared
    assert (total["vehicle_name"], total["interval_start"], total["interval_end"]) == ("TRUCK 01", DAY.start, DAY.end)
    assert (day["report_day"], day["can_total_distance_m"]) == (dt.date(2026, 5, 30), 12300.0)
    assert "vehicle_name" not in day


def test_decilitres_centilitres_and_litres_side_by_side_become_litres(rows: Any) -> None:
    (row,) = rows("statistics", {"code": 0, "data": {"vehicleDataList": [{"vehicleID": 1, "fuel": FUEL}]}})
    litres = ("fuel_start_l", "fuel_used_l", "fuel_deviation_l", "fuel_delivered_l", "norm_fuel_rate_l_per_100km")
    assert [row[name] for name in litres] == [400.0, 60.0, 60.0, 2.5, 38.0]
    assert (row["fuel_rate_l_per_100km"], row["fuel_used_idling_rpm_l"]) == (40.0, 2.2)


@pytest.mark.parametrize("name", ["items", "data", "rows", "result"])
def test_rows_of_the_consolidated_report_are_found_under_any_name(rows: Any, name: str) -> None:
    row = {"vehicleId": 1, "date": 1780099200}
    assert len(rows("consolidated", {"code": 0, name: [{"consolidatedReport": row}, row]})) == 2
    assert rows("consolidated", {"code": 0, name: []}) == []
    assert len(rows("consolidated", [row])) == 1


def test_dirty_values_are_kept_as_told(decoded: Any) -> None:
    values = {"vehicleID": 1, "mw": {"mileage": 58, "movement": 20, "layUp": None}, "fuel": {"fuelConsumption": -51}}
    row = decoded("statistics", {"code": 0, "data": {"vehicleDataList": [values]}}).table.to_pylist()[0]
    assert (row["distance_m"], row["moving_time_s"], row["engine_off_time_s"]) == (58000.0, 20.0, None)
    assert row["fuel_used_l"] == -5.1


def test_points_without_satellites_and_spikes_are_kept_and_marked(rows: Any) -> None:
    points = [(9, 60.0), (4, 250.0), (3, 60.0), (0, 0.4), (9, 655.0), (None, 60.0), (9, None)]
    track = [
        {"date": 1780099200 + number, "latitude": 45, "longitude": 68.2, "speed": speed, "satellitesCount": satellites}
        for number, (satellites, speed) in enumerate(points)
    ]
    assert [row["is_valid"] for row in rows("track", {"track": track})] == [True, True] + [False] * 5


def test_events_without_an_id_are_numbered_within_their_second(rows: Any) -> None:
    same = {"type": 43, "timestamp": 1700000900, "parameters": ["60", "900"]}
    answer = {"status": {"code": 0, "message": "OK"}, "events": [same, {**same, "type": 98}, same, {**same, "timestamp": 1}]}
    assert [(row["type_code"], row["occurrence"]) for row in rows("events", answer)] == [(43, 0), (98, 0), (43, 1), (43, 0)]


def test_parameters_of_events_are_texts_in_places_that_depend_on_the_kind(rows: Any) -> None:
    kinds = [
        (43, ["60", "900"]), (98, ["300", "1e3"]), (14, ["90", "97", "35"]), (94, ["50", "0", "61", "20"]), (33, ["60", "210"]),
        (43, ["60"]), (43, ["nan", "x"]), (43, None),
    ]  # fmt: skip
    events = [{"type": kind, "timestamp": number, "parameters": told} for number, (kind, told) in enumerate(kinds)]
    found = rows("events", {"status": {"code": 0}, "events": events})
    names = ("event_type", "threshold_s", "duration_s", "allowed_speed_kmh", "average_speed_kmh")
    assert [tuple(row.get(name) for name in names) for row in found] == [
        ("stop_over_threshold", 60, 900, None, None),
        ("parking_over_threshold", 300, 1000, None, None),
        ("speeding", None, 35, 90, 97),
        ("speeding_in_geofence", None, 20, 50, 61),
        ("type_33", None, None, None, None),
        ("stop_over_threshold", 60, None, None, None),
        ("stop_over_threshold", None, None, None, None),
        ("stop_over_threshold", None, None, None, None),
    ]
    assert found[4]["parameters"] == '["60","210"]'


def test_fuel_levels_of_several_tanks_raw_and_smoothed(rows: Any) -> None:
    answer = {
        "tankData": [{"data": [{"eD": 5, "rV": 4012, "aV": 4000}]}, {"data": [{"eD": 5, "rV": 8, "aV": None}]}, {"data": []}]
    }
    found = rows("fuel_level", answer)
    assert [(row["tank"], row["fuel_level_raw_l"], row.get("fuel_level_l")) for row in found] == [
        (1, 401.2, 400.0),
        (2, 0.8, None),
    ]


def test_fuel_levels_in_the_shape_of_unknown_origin_are_not_guessed(decoded: Any) -> None:
    with pytest.raises(MalformedAnswer, match="tankData"):
        decoded("fuel_level", {"values": {"1": [0]}, "tanks": [{"tankNumb": 1}]})


def test_stays_outside_all_geofences_have_a_key_of_their_own(rows: Any) -> None:
    visit = {"vehicleId": 1, "geoInfo": {"startDate": 1700000000, "endDate": 1700000600, "duration": 600}}
    told = {**visit, "geozoneId": 77, "mv": {"mileage": 1.2, "mileageSpeeding": 0.3}, "fuel": {"fuelConsumption": 12}}
    inside, outside = rows("geofence_visits", [told, {**visit, "geozoneId": None}])
    assert (inside["geofence_key"], inside["geofence_id"], outside["geofence_key"]) == ("77", 77, "-")
    assert (inside["distance_m"], inside["speeding_distance_m"], inside["fuel_used_l"]) == (1200.0, 300.0, 1.2)
    assert "geofence_id" not in outside


# --- geofences ----------------------------------------------------------------------------------------------------------


def test_geofences_may_have_no_shape_and_either_spelling_of_point_ids(rows: Any) -> None:
    answer = {"total": 2, "page": 1, "pageSize": 200, "rows": [
        {"id": 77, "name": "Pit road 50 km/h", "geometryTypeName": "LineString", "lineWidth": 50, "points": [
            {"pointID": 1, "latitude": 45.25, "longitude": 68.92}, {"pointId": 2, "latitude": 45.26, "longitude": 68.92}]},
        {"id": 78, "geometryTypeName": None, "lineWidth": None, "points": None, "allowedSpeed": 60},
    ]}  # fmt: skip
    line, junk = rows("geofences", answer)
    assert (line["points_count"], line["line_width_m"]) == (2, 50.0)
    assert junk == {"geofence_id": 78, "allowed_speed_kmh": 60.0}


def test_page_info_tells_the_total_and_rows_apart() -> None:
    assert page_info(b'{"total":3,"rows":[{"id":77},{"id":77},{"name":"no id"}]}') == (3, [77, 77, b'{"name":"no id"}'])
    assert page_info(b'[{"id":77}]') == (None, [77])


# --- journal ------------------------------------------------------------------------------------------------------------


def test_packets_of_the_journal_in_their_own_units(rows: Any) -> None:
    packet = {
        "EVENT_DATE": 1782140000, "U_BOARD": 276, "U_BOARD_PRESENT": 1, "LATITUDE": 450000000, "LONGITUDE": 680000000,
        "SATELLITES_NMB": 9, "SATELLITES_NMB_PRESENT": 1, "LLS_CODE": [700, 3, 0], "LLS_CODE_PRESENT": [1, 0],
        "IS_IGNITION_ON": 1, "IS_EXTERNAL_SUPPLY_BROKEN": 0, "DRIVER_CODE": "", "AMTR_X": 5,
    }  # fmt: skip
    first, second = rows("journal", {"columns": [packet, {**packet, "U_BOARD_PRESENT": 0, "SATELLITES_NMB_PRESENT": 0}]})
    assert (first["latitude_deg"], first["longitude_deg"], first["battery_v"], first["satellites"]) == (45.0, 68.0, 27.6, 9)
    assert (first["is_ignition_on"], first["is_external_supply_broken"]) == (True, False)
    assert first["level_sensor_codes"] == "[700,null,0]"
    assert json.loads(first["extra"])["AMTR_X"] == 5
    assert (second["occurrence"], second.get("battery_v"), second.get("satellites")) == (1, None, None)


@pytest.mark.parametrize("third", ["userParams", "userParametersData"])
def test_parameters_of_the_journal_and_both_names_of_the_third_list(rows: Any, third: str) -> None:
    item = {"eventDate": 1782140000, "jsonData": '{"SPN245, km": "12,3", "b": "2"}'}
    found = rows("journal_additional", {"exCanData": [item, item], "modbusData": [], third: [item]})
    assert [(row["source"], row["occurrence"]) for row in found] == [("exCanData", 0), ("exCanData", 1), ("userParams", 0)]
    assert found[0]["parameters"] == '{"SPN245, km":"12,3","b":"2"}'


@pytest.mark.parametrize(
    ("text", "pairs", "is_cut"),
    [
        ('{"a, km": "1", "b": "2"}', {"a, km": "1", "b": "2"}, False),
        ('{"a, km": "1", "b, l/h": "2,', {"a, km": "1"}, True),
        ('{"a, km": "1", "b', {"a, km": "1"}, True),
        ('{"a, k', {}, True),
        ("", {}, True),
        ("[1]", None, None),
        (None, None, None),
    ],
)
def test_what_stands_before_the_cut_of_a_truncated_text_is_saved(text: Any, pairs: Any, is_cut: Any) -> None:
    assert salvage(text) == (pairs, is_cut)


# --- errors and shapes --------------------------------------------------------------------------------------------------


def test_no_data_is_an_empty_answer_and_other_codes_are_no_data_at_all() -> None:
    assert split("consolidated", "omnicomm.consolidated_report", b'{"code":10,"message":"no data found"}') == []
    assert split("events", "omnicomm.event", b'{"status":{"code":10}}', ASKED) == []
    with pytest.raises(MalformedAnswer, match="code 14: undefined error"):
        split("consolidated", "omnicomm.consolidated_report", b'{"code":14,"message":"undefined error"}')


@pytest.mark.parametrize(
    "feed", [feed for feed in FEEDS if feed not in ("users", "drivers", "video_profiles", "video_tasks")]
)
@pytest.mark.parametrize(
    "body", [b"", b'{"code":0,"items":[{"a"', b"<html>busy</html>", b"PATH Not found", b'"text"', b"\xff"]
)
def test_an_answer_of_another_shape_is_malformed(feed: str, body: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        split(feed, FEEDS[feed].datasets[0], body, ASKED)


def test_an_answer_without_its_list_is_malformed_not_empty() -> None:
    for feed in ("track", "events", "fuel_level", "geofences", "statistics", "consolidated", "journal"):
        with pytest.raises(MalformedAnswer):
            split(feed, FEEDS[feed].datasets[0], b"{}", ASKED)


@pytest.mark.parametrize(
    ("feed", "body"),
    [
        ("consolidated", b'{"code":0,"items":null}'),
        ("consolidated", b'{"code":0,"data":null,"items":null}'),
        ("consolidated", b'{"code":0,"data":{"items":null}}'),
        ("geofence_visits", b'{"items":null}'),
        ("geofence_visits", b"null"),
        ("statistics", b'{"code":0,"data":null}'),
        ("statistics", b'{"code":0,"data":{}}'),
        ("statistics", b'{"code":0,"data":{"vehicleDataList":null}}'),
        ("track", b'{"track":null}'),
        ("events", b'{"status":{"code":0},"events":null}'),
        ("fuel_level", b'{"tankData":null}'),
        ("fuel_level", b'{"tankData":[{"data":null}]}'),
        ("fuel_level", b'{"tankData":[{}]}'),
        ("fuel_level", b'{"tankData":[null]}'),
        ("geofences", b'{"total":0,"rows":null}'),
        ("journal", b'{"columns":null}'),
        ("journal_additional", b"{}"),
        ("journal_additional", b'{"exCanData":null,"modbusData":[]}'),
        ("vehicle_tree", b"null"),
        ("users", b'{"users":null}'),
    ],
)
def test_null_where_a_list_is_promised_is_no_proof_of_nothing(feed: str, body: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        split(feed, FEEDS[feed].datasets[0], body, ASKED)


def test_a_feed_fills_only_its_own_tables() -> None:
    with pytest.raises(ConfigError, match="holds no rows"):
        split("track", "omnicomm.event", b"[]")


@pytest.mark.parametrize("feed", ["users", "drivers", "video_profiles", "video_tasks"])
def test_entries_of_lists_of_unknown_shape_are_kept_whole_under_the_best_name_they_have(rows: Any, feed: str) -> None:
    entries = [{"uuid": "u", "id": 1}, {"id": 4, "login": "x"}, {"login": "ann"}, {"other": [1]}]
    for answer in (entries, {"code": 0, "data": entries}, {"items": entries}):
        found = rows(feed, answer)
        assert [row["item_key"] for row in found] == ["u", "4", "ann", "3"]
        assert json.loads(found[3]["extra"]) == {"other": [1]}


def test_every_feed_names_tables_that_have_a_contract(contracts: Mapping[str, Contract]) -> None:
    named = {table: name for name, feed in FEEDS.items() for table in feed.datasets}
    own = {table: contract.feed for table, contract in contracts.items() if contract.vendor == "omnicomm"}
    assert own == named
    assert all(contracts[table].kind is FEEDS[name].kind for table, name in own.items())
