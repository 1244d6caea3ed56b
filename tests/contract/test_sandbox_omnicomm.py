"""The Omnicomm sandbox answers in the shapes, units and codes of the vendor page (sections 1 and 2)."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import requests
from fleetlake.sandbox.omnicomm.park import Park
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import Running, running

AS_OF = dt.datetime(2026, 11, 20, 12, 0, 0, tzinfo=dt.UTC)
DAY = 86_400
START = int(dt.datetime(2026, 11, 17, tzinfo=dt.UTC).timestamp())
V1 = "/ls/api/v1"
IDS = list(range(202_000_001, 202_000_009))
POISONED = 202_000_005


class Reader:
    """A plain client: logs in once, nothing clever."""

    def __init__(self, sandbox: Running, customer: str = "trucks") -> None:
        self.url = sandbox.urls["omnicomm"]
        self.session = requests.Session()
        self.session.trust_env = False
        self.credentials = sandbox.customers["omnicomm"][customer]
        self.tokens = self.login().json()
        self.session.headers["Authorization"] = f"JWT {self.tokens['jwt']}"

    def login(self, **changes: str) -> requests.Response:
        body = {**self.credentials, **changes}
        return self.session.post(f"{self.url}/auth/login?jwt=1", json=body, timeout=10)

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.session.get(self.url + path, params=query, timeout=20)

    def post(self, path: str, body: Any) -> requests.Response:
        return self.session.post(self.url + path, json=body, timeout=20)

    def read(self, path: str, **query: Any) -> Any:
        response = self.get(path, **query)
        assert response.status_code == 200, (response.status_code, response.text)
        return response.json()

    def ask(self, path: str, body: Any) -> Any:
        response = self.post(path, body)
        assert response.status_code == 200, (response.status_code, response.text)
        return response.json()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = SandboxSettings(
        state_dir=tmp_path_factory.mktemp("omnicomm"),
        as_of=AS_OF,
        rooms=("omnicomm",),
        assumptions={
            "omnicomm.calls_per_minute": 0,
            "omnicomm.unauthorised_per_minute": 0,
            "omnicomm.failed_logins_per_minute": 0,
            "omnicomm.poisoned": str(POISONED),
        },
    )
    with running(settings) as started:
        yield started


@pytest.fixture(scope="module")
def reader(sandbox: Running) -> Reader:
    return Reader(sandbox)


def day(number: int = 0, length: int = 1) -> dict[str, int]:
    return {"timeBegin": START + number * DAY, "timeEnd": START + (number + length) * DAY}


def claims(token: str) -> dict[str, Any]:
    assert "=" not in token
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


# --- login --------------------------------------------------------------------------------------------------------------


def test_login_takes_json_and_form_and_gives_two_tokens_and_nothing_else(reader: Reader) -> None:
    form = requests.post(f"{reader.url}/auth/login?jwt=1", data=reader.credentials, timeout=10)
    with_service = reader.login(service="omnicomm")
    for response in (form, with_service):
        assert response.status_code == 200
        assert set(response.json()) == {"jwt", "refresh"}


def test_access_token_lives_3600_seconds_and_has_the_claims_that_were_seen(reader: Reader) -> None:
    head = json.loads(base64.urlsafe_b64decode(reader.tokens["jwt"].split(".")[0] + "=="))
    assert head == {"alg": "HS256", "typ": "JWT"}
    found = claims(reader.tokens["jwt"])
    assert found["exp"] - found["iat"] == 3600
    assert found["aud"] == "ase"
    assert found["server"]["volume_units"] == "L"
    assert found["login"] == reader.credentials["login"]
    assert found["usergroup_id"] is None
    assert {"id", "uuid", "autocheck_id", "permissions", "max_report_period", "roles", "wl", "server_name"} <= found.keys()
    assert {"drivergroup_id", "vehiclegroup_id", "geozonegroup_id", "routegroup_id"} <= found.keys()


def test_wrong_password_is_401_with_code_1(reader: Reader) -> None:
    response = reader.login(password="wrong")
    assert response.status_code == 401
    assert response.json()["code"] == 1


@pytest.mark.parametrize("header", ["", "Bearer {jwt}", "{jwt}", "JWT {jwt}x", "jwt {jwt}", "JWT {refresh}"])
def test_any_other_scheme_or_token_is_401_without_body(reader: Reader, header: str) -> None:
    headers = {"Authorization": header.format(**reader.tokens)} if header else {}
    response = requests.get(f"{reader.url}{V1}/tree/vehicle", headers=headers, timeout=10)
    assert response.status_code == 401
    assert response.content == b""


@pytest.mark.parametrize("header", ["JWT {refresh}", "{refresh}"])
def test_refresh_gives_a_new_pair_with_and_without_the_scheme_and_the_old_one_stays_good(
    reader: Reader, header: str
) -> None:
    seen = {reader.tokens["jwt"], reader.tokens["refresh"]}
    for _ in range(2):
        headers = {"Authorization": header.format(**reader.tokens)}
        response = requests.post(f"{reader.url}/auth/refresh", headers=headers, timeout=10)
        assert response.status_code == 200
        assert set(response.json()) == {"jwt", "refresh"}
        assert not seen & set(response.json().values())
        seen |= set(response.json().values())


def test_access_token_is_no_refresh_token(reader: Reader) -> None:
    headers = {"Authorization": f"JWT {reader.tokens['jwt']}"}
    assert requests.post(f"{reader.url}/auth/refresh", headers=headers, timeout=10).status_code == 401


# --- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/ls/api/v2/vehicles/202000001/state",
        "/ls/api/v2/reports/events/",
        f"{V1}/users",
        f"{V1}/drivers",
        "/service/ovms/api/profiles",
        f"{V1}/reports/rpms",
    ],
)
def test_unknown_and_unverified_paths_are_404_with_a_text(reader: Reader, path: str) -> None:
    response = reader.get(path)
    assert (response.status_code, response.text) == (404, "PATH Not found")


def test_resource_without_right_is_403(reader: Reader) -> None:
    assert reader.get(f"{V1}/vehicles").status_code == 403


def test_missing_parameter_is_http_200_with_code_3(reader: Reader) -> None:
    body = reader.read(f"{V1}/reports/events/{IDS[0]}")
    assert body["status"] == {"code": 3, "message": "timeBegin is required"}
    assert reader.read(f"{V1}/reports/track/{IDS[0]}", timeEnd=START)["code"] == 3
    assert reader.ask(f"{V1}/reports/consolidatedReport", day())["code"] == 3


def test_malformed_parameter_is_code_13_and_milliseconds_are_a_bad_interval(reader: Reader) -> None:
    track = f"{V1}/reports/track/{IDS[0]}"
    assert reader.read(track, timeBegin="soon", timeEnd=START)["code"] == 13
    assert reader.read(track, timeBegin=START * 1000, timeEnd=(START + DAY) * 1000)["code"] == 4
    assert reader.read(track, timeBegin=START, timeEnd=START)["code"] == 4
    assert reader.post(f"{V1}/reports/geozones", "no object").json()["code"] == 13


def test_vehicle_of_another_customer_is_403_and_one_that_is_none_is_code_5(sandbox: Running, reader: Reader) -> None:
    other = Park(sandbox.context).trucks("other")[0]
    for path in (f"{V1}/vehicles/{other.terminal_id}/state", f"{V1}/profile/vehicle/{other.uuid}"):
        response = reader.get(path)
        assert (response.status_code, response.content) == (403, b"")
    assert reader.read(f"{V1}/vehicles/123456789/state")["code"] == 5
    assert Reader(sandbox, "other").read(f"{V1}/vehicles/{other.terminal_id}/state")["status"] is True


# --- fleet --------------------------------------------------------------------------------------------------------------


def test_tree_repeats_vehicles_has_an_empty_group_a_saved_view_and_missing_lists(reader: Reader) -> None:
    for version in ("v1", "v2"):
        root = reader.read(f"/ls/api/{version}/tree/vehicle")
        groups: list[dict[str, Any]] = []
        todo = [root]
        while todo:
            group = todo.pop()
            groups.append(group)
            todo += group.get("children", [])
        found = [item["terminal_id"] for group in groups for item in group.get("objects", [])]
        assert set(found) == set(IDS)
        assert len(found) > len(set(found))
        assert root["parentGroupId"] is None
        assert {"id", "parentGroupId", "name", "autocheck_id"} <= root.keys()
        assert any(group.get("objects") == [] and group.get("children") == [] for group in groups)
        assert any("children" not in group for group in groups)
        assert any("objects" not in group for group in groups)
        assert len([group for group in groups if group["name"] == "Depot 2"]) == 2, "a saved view looks like a group"
    receiving = {item["terminal_id"]: item["receive_data"] for group in groups for item in group.get("objects", [])}
    assert receiving[IDS[7]] == 0
    assert receiving[IDS[3]] is True, "once it was seen as a boolean"


def test_tree_of_one_group(reader: Reader) -> None:
    child = reader.read("/ls/api/v2/tree/vehicle")["children"][0]
    assert reader.read(f"/ls/api/v2/tree/vehicle/{child['id']}") == child


def test_profile_answers_to_both_ids_and_its_blocks_may_be_lists_or_null(sandbox: Running, reader: Reader) -> None:
    truck = Park(sandbox.context).truck(2)
    profile = reader.read(f"{V1}/profile/vehicle/{truck.terminal_id}")
    assert profile == reader.read(f"{V1}/profile/vehicle/{truck.uuid}")
    assert profile["vehicle"]["vin"] == truck.vin
    assert len(truck.vin) == 17
    assert not set(truck.vin) & set("IOQ")
    assert profile["vehicle"]["licencePlate"] == truck.plate
    assert (profile["movement"]["standingDuration"], profile["movement"]["stoppingDuration"]) == (300, 60)
    assert isinstance(profile["mainTank"], list)
    assert profile["engine"] is None


def test_state_is_in_litres_while_reports_are_in_decilitres(reader: Reader) -> None:
    state = reader.read(f"{V1}/vehicles/{IDS[0]}/state")
    end = state["lastDataDate"]
    assert end < 100_000_000_000, "seconds"
    tank = reader.read(f"{V1}/reports/fuellevel", vehicleID=IDS[0], timeBegin=end - 3600, timeEnd=end)["tankData"][0]["data"]
    assert tank[-1]["eD"] == end
    assert tank[-1]["aV"] == round(state["currentFuel"] * 10)
    assert state["lastGPS"].keys() == {"latitude", "longitude"}
    assert state["voltage"] in (24.9, 27.6)


def test_state_of_a_mothballed_vehicle_has_nulls_and_gaps(reader: Reader) -> None:
    state = reader.read(f"{V1}/vehicles/{IDS[7]}/state")
    assert (state["status"], state["lastDataDate"], state["currentFuel"]) == (False, None, None)
    assert "voltage" not in state


def test_activity_is_in_milliseconds_and_ignores_filters(reader: Reader) -> None:
    rows = reader.read(f"{V1}/activity/vehicles", ids=IDS[0])
    assert rows == reader.read("/ls/api/v2/activity/vehicles")
    assert [row["id"] for row in rows] == IDS
    state = reader.read(f"{V1}/vehicles/{IDS[0]}/state")
    assert rows[0]["dateID"] == state["lastDataDate"] * 1000
    found = reader.ask(f"{V1}/activity/vehicles", {"ids": IDS[:2], "parseAddress": False})
    assert [row["terminal_id"] for row in found] == IDS[:2]
    assert found[0].keys() == {"latitude", "longitude", "direction", "ignition", "uuid", "regNum", "terminal_id"}


# --- totals -------------------------------------------------------------------------------------------------------------


def statistics(reader: Reader, ids: list[int], **changes: Any) -> Any:
    query = {"vehicles": json.dumps(ids), "dataGroups": "[mw,fuel]", **day(0, 2), **changes}
    return reader.read(f"{V1}/reports/statistics", **query)


READABLE = [number for number in IDS if number != POISONED]


def test_statistics_has_the_envelope_and_keys_of_the_page(reader: Reader) -> None:
    body = statistics(reader, READABLE)
    assert (body["code"], body["message"]) == (0, "OK")
    rows = body["data"]["vehicleDataList"]
    assert [row["vehicleID"] for row in rows] == READABLE
    assert rows[0].keys() == {"vehicleID", "name", "mw", "fuel"}
    assert body["data"].keys() == {"totalMw", "totalFuel", "vehicleDataList"}
    assert len(body["data"]["totalMw"]) == 27
    assert len(body["data"]["totalFuel"]) == 23
    assert len(rows[0]["mw"]) == 19
    assert len(rows[0]["fuel"]) == 32
    assert isinstance(rows[0]["mw"]["mileage"], float)
    assert isinstance(rows[0]["mw"]["movement"], int)


def test_statistics_identities_hold_for_every_vehicle(reader: Reader) -> None:
    length, checked = 2 * DAY, 0
    for row in statistics(reader, READABLE)["data"]["vehicleDataList"]:
        mw, fuel = row["mw"], row["fuel"]
        assert mw["worked"] == mw["workedOnMovement"] + mw["workedNoMovement"]
        assert mw["movementPercent"] == round(mw["movement"] / length * 100, 2)
        assert mw["workedNoMovementPercent"] == round(mw["workedNoMovement"] / length * 100, 2)
        if mw["idlingRPMPercent"] is not None:
            assert mw["worked"] == mw["idlingRPM"] + mw["normalRPM"] + mw["excessRPM"]
            assert mw["idlingRPMPercent"] == round(mw["idlingRPM"] / mw["worked"] * 100, 2)
        if fuel["fuelConsumption"] is None:
            continue
        checked += 1
        assert mw["layUp"] == length - mw["worked"]
        used = fuel["fuelConsumption"]
        assert used == fuel["startVolume"] + fuel["refuelling"] - fuel["draining"] - fuel["endVolume"]
        assert used == fuel["fuelConsumptionOnMove"] + fuel["fuelConsumptionWOMovement"]
        assert fuel["fuelCons100"] == pytest.approx(used / mw["mileage"] * 100, abs=0.051)
        assert fuel["fuelConsPerMotorhour"] == pytest.approx(used / (mw["worked"] / 3600), abs=0.051)
        assert fuel["fuelConsMH"] == pytest.approx(fuel["fuelConsumptionOnWorked"] / (mw["worked"] / 3600), abs=0.051)
        assert fuel["co2Emission"] == pytest.approx(used / 10 * 2.64)
        assert fuel["deviation"] in (used * 10, 0)
        parts = fuel["fuelConsumptionOnMoveIdle"] + fuel["fuelConsumptionNotMoveIdle"]
        assert fuel["deviationWorkNormIdleLoad"] == pytest.approx(parts / 10)
        assert fuel["minVolume"] <= min(fuel["startVolume"], fuel["endVolume"]) <= fuel["maxVolume"]
        assert isinstance(used, int)
    assert checked >= 4


def test_statistics_totals_are_sums_and_averages_over_all_vehicles(reader: Reader) -> None:
    data = statistics(reader, READABLE)["data"]
    rows, count = data["vehicleDataList"], len(READABLE)
    mw, fuel = data["totalMw"], data["totalFuel"]
    assert mw["totalMileage"] == pytest.approx(sum(row["mw"]["mileage"] for row in rows))
    assert mw["averageMileage"] == pytest.approx(mw["totalMileage"] / count, abs=0.001)
    assert mw["totalMoveTimePercent"] == round(mw["totalMoveTime"] / (count * 2 * DAY) * 100, 2)
    assert mw["averageSpeed"] == pytest.approx(mw["totalMovementMileage"] / (mw["totalMoveTime"] / 3600), abs=0.051)
    assert fuel["totalConsumption"] == sum(row["fuel"]["fuelConsumption"] or 0 for row in rows)
    assert fuel["totalConsumption"] == fuel["totalConsumptionOnMove"] + fuel["totalConsumptionWOMovement"]
    assert fuel["consPerMHEngineOn"] == pytest.approx(fuel["totalConsumption"] / (mw["totalWorked"] / 3600), abs=0.051)
    assert fuel["averageConsumptionMHMovement"] == pytest.approx(fuel["totalFuelConsumptionMHMovement"] / count, abs=0.06)


def test_statistics_of_a_vehicle_without_data_have_nulls(reader: Reader) -> None:
    row = statistics(reader, [IDS[7]])["data"]["vehicleDataList"][0]
    assert set(row["fuel"].values()) == {None}
    assert row["mw"]["layUp"] is None
    assert row["mw"]["mileage"] == 0


def test_statistics_tolerates_blanks_and_tells_only_the_groups_asked_for(reader: Reader) -> None:
    body = statistics(reader, IDS[:2], vehicles=f"[{IDS[0]}, {IDS[1]} ]", dataGroups="[mw, ccan]", versionNumber=1)
    assert body["data"].keys() == {"totalMw", "vehicleDataList"}
    assert body["data"]["vehicleDataList"][0].keys() == {"vehicleID", "name", "mw", "ccan"}


def test_one_inaccessible_vehicle_turns_the_whole_batch_into_code_1(reader: Reader) -> None:
    assert statistics(reader, IDS)["code"] == 1
    assert "data" not in statistics(reader, [POISONED])
    for name in ("consolidatedReport", "geozones"):
        body = reader.ask(f"{V1}/reports/{name}", {"vehicleIds": IDS, **day()})
        assert body["code"] == 1
    foreign = reader.ask(f"{V1}/reports/consolidatedReport", {"vehicleIds": [202_500_001], **day()})
    assert foreign["code"] == 1
    assert reader.get(f"{V1}/reports/track/{POISONED}", **day()).status_code == 403
    assert reader.read(f"{V1}/reports/events/{POISONED}", **day())["status"]["code"] == 1


def test_consolidated_rows_are_utc_days_without_a_name(reader: Reader) -> None:
    body = reader.ask(f"{V1}/reports/consolidatedReport", {"vehicleIds": READABLE, **day(0, 2)})
    assert body["code"] == 0
    rows = [item["consolidatedReport"] for item in body["items"]]
    assert len(rows) == 2 * 6, "the mothballed vehicle has none"
    for row in rows:
        assert row["date"] % DAY == 0
        assert "name" not in row
        assert row.keys() == {"vehicleId", "date", "mv", "fuel", "fueladd", "can", "ccan", "canmt", "uniDataList"}
        assert row["mv"]["mileageAtPeriodEnd"] >= row["mv"]["mileageAtPeriodBegin"]


def test_statistics_and_consolidated_report_tell_the_same_day_in_two_shapes(reader: Reader) -> None:
    daily = reader.ask(f"{V1}/reports/consolidatedReport", {"vehicleIds": IDS[:4], **day()})["items"]
    totals = statistics(reader, IDS[:4], **day())["data"]["vehicleDataList"]
    for item, row in zip(daily, totals, strict=True):
        report = item["consolidatedReport"]
        assert report["vehicleId"] == row["vehicleID"]
        for name in ("mileage", "movement", "worked", "layUp", "maxSpeed", "mileageSpeeding", "idlingRPM"):
            assert report["mv"][name] == row["mw"][name], name
        for name in ("startVolume", "endVolume", "fuelConsumption", "refuelling", "draining", "deviation"):
            assert report["fuel"][name] == (
                row["fuel"][name] or report["fuel"][name] if name == "deviation" else row["fuel"][name]
            )


def test_more_than_50_vehicles_or_31_days_is_code_4(reader: Reader) -> None:
    for name in ("consolidatedReport", "geozones"):
        path = f"{V1}/reports/{name}"
        assert reader.ask(path, {"vehicleIds": [IDS[0]] * 51, **day()})["code"] == 4
        assert reader.ask(path, {"vehicleIds": IDS[:1], **day(-31, 32)})["code"] == 4
        assert isinstance(reader.ask(path, {"vehicleIds": IDS[:1], **day(-3, 3)}), dict if name[0] == "c" else list)
    assert len(statistics(reader, [IDS[0]] * 60)["data"]["vehicleDataList"]) == 60, "statistics has no such cap"


# --- one vehicle --------------------------------------------------------------------------------------------------------


def test_track_has_parked_jitter_points_without_satellites_and_absurd_spikes(reader: Reader) -> None:
    points = []
    for number in (0, 1, 2, 3, 5):
        track = reader.read(f"{V1}/reports/track/{IDS[number]}", **day(0, 3))["track"]
        times = [point["date"] for point in track]
        assert times == sorted(set(times)), "whole seconds, unique, in order"
        points += track
    assert points[0].keys() == {"date", "latitude", "longitude", "speed", "direction", "satellitesCount"}
    assert any(point["speed"] > 250 for point in points)
    assert max(point["speed"] for point in points) <= 655.35
    assert any(point["satellitesCount"] == 0 and point["speed"] > 2 for point in points)
    parked = [point for point in points if 0.4 <= point["speed"] <= 1]
    assert len(parked) > 100
    assert any(point["satellitesCount"] == 0 for point in parked)
    assert len({(point["latitude"], point["longitude"]) for point in parked}) > 50
    assert any(isinstance(point["speed"], int) for point in points)
    assert any(isinstance(point["speed"], float) for point in points)


def test_track_answers_to_uuid_and_includes_its_end(sandbox: Running, reader: Reader) -> None:
    track = reader.read(f"{V1}/reports/track/{IDS[0]}", **day())["track"]
    uuid = Park(sandbox.context).truck(0).uuid
    cut = reader.read(f"{V1}/reports/track/{uuid}", timeBegin=START, timeEnd=track[9]["date"])["track"]
    assert cut == track[:10]


def test_events_have_their_own_envelope_and_parameters_are_texts(reader: Reader) -> None:
    body = reader.read(f"{V1}/reports/events/{IDS[0]}", Parameter=1, **day(0, 3))
    assert body["status"] == {"code": 0, "message": "OK"}
    events = body["events"]
    assert {43, 98, 14} <= {event["type"] for event in events}
    for event in events:
        assert event.keys() == {"type", "latitude", "longitude", "parameters", "timestamp", "eventAddress"}
        assert all(isinstance(value, str) for value in event["parameters"])
        assert START <= event["timestamp"] <= START + 3 * DAY
        if event["type"] == 98:
            assert event["parameters"][0] == "300"
            assert int(event["parameters"][1]) > 300


def test_some_events_are_told_twice(reader: Reader) -> None:
    found = [reader.read(f"{V1}/reports/events/{number}", **day(0, 3))["events"] for number in READABLE]
    assert any(first == second for events in found for first, second in pairwise(events))


def test_events_of_a_wrong_id_are_an_empty_list(reader: Reader) -> None:
    for wrong in (43, 202_500_001):
        assert reader.read(f"{V1}/reports/events/{wrong}", **day())["events"] == []


def test_fuel_level_has_an_entry_per_tank_and_two_curves(reader: Reader) -> None:
    for number, tanks in ((0, 1), (1, 2)):
        data = reader.read(f"{V1}/reports/fuellevel", vehicleID=IDS[number], **day())["tankData"]
        assert len(data) == tanks
        rows = data[0]["data"]
        assert rows[0].keys() == {"eD", "rV", "aV"}
        assert any(row["rV"] != row["aV"] for row in rows)
        assert all(abs(row["rV"] - row["aV"]) <= 15 for row in rows)


# --- geofences ----------------------------------------------------------------------------------------------------------


def test_visits_are_a_bare_array_and_outside_ones_have_no_zone(reader: Reader) -> None:
    body = {"vehicleIds": READABLE, "geozonesIds": [], "minDurationTime": 300, "outsideGeozones": True, **day(0, 2)}
    rows = reader.ask(f"{V1}/reports/geozones", body)
    assert isinstance(rows, list)
    assert {row["geozoneId"] for row in rows} > {None}
    for row in rows:
        info = row["geoInfo"]
        assert info["duration"] == info["endDate"] - info["startDate"] >= 300
        assert START <= info["startDate"] < START + 2 * DAY
        assert (row["geozoneId"] is None) == (row["geozoneName"] is None)
    without = reader.ask(f"{V1}/reports/geozones", {"vehicleIds": READABLE, "minDurationTime": 300, **day(0, 2)})
    assert without == [row for row in rows if row["geozoneId"] is not None]
    one = without[0]["geozoneId"]
    only = reader.ask(
        f"{V1}/reports/geozones", {"vehicleIds": READABLE, "geozonesIds": [one], "minDurationTime": 300, **day(0, 2)}
    )
    assert only == [row for row in without if row["geozoneId"] == one]
    longer = reader.ask(f"{V1}/reports/geozones", {**body, "minDurationTime": 3600})
    assert 0 < len(longer) < len(rows)


def test_visits_lie_where_the_polygon_says(reader: Reader) -> None:
    zones = {zone["id"]: zone for zone in reader.read("/api/service/geozones/geozones", pageSize=1000)["rows"]}
    rows = reader.ask(f"{V1}/reports/geozones", {"vehicleIds": IDS[:1], **day(0, 2)})
    assert rows
    for row in rows:
        info, corners = row["geoInfo"], zones[row["geozoneId"]]["points"]
        query = {"timeBegin": info["startDate"], "timeEnd": info["endDate"] - 1}
        for point in reader.read(f"{V1}/reports/track/{row['vehicleId']}", **query)["track"]:
            if point["satellitesCount"] >= 4 and point["speed"] <= 250:
                assert corners[0]["latitude"] <= point["latitude"] <= corners[2]["latitude"]
                assert corners[0]["longitude"] <= point["longitude"] <= corners[2]["longitude"]


def test_geofence_pages_start_at_1_and_overlap(reader: Reader) -> None:
    path = "/api/service/geozones/geozones"
    whole = reader.read(path)
    assert (whole["page"], whole["pageSize"]) == (1, 200)
    assert len(whole["rows"]) == whole["total"]
    pages = [reader.read(path, page=number, pageSize=5)["rows"] for number in range(1, 8)]
    assert all(len(page) == 5 for page in pages[:5])
    assert pages[0][-1] == pages[1][0]
    assert {row["id"] for page in pages for row in page} == {row["id"] for row in whole["rows"]}
    shapes = {row["geometryTypeName"] for row in whole["rows"]}
    assert shapes == {"Polygon", "LineString", None}
    for row in whole["rows"]:
        assert (row["lineWidth"] is None) == (row["geometryTypeName"] != "LineString")
        assert bool(row["points"]) == (row["geometryTypeName"] is not None)
    assert {key for row in whole["rows"] for point in row["points"] for key in point} >= {"pointID", "pointId"}
    assert reader.read(f"/api/service/geozones/geozone/{whole['rows'][0]['uuid']}")["id"] == whole["rows"][0]["id"]


def test_geofence_page_above_1000_is_400(reader: Reader) -> None:
    path = "/api/service/geozones/geozones"
    assert reader.get(path, pageSize=5000).status_code == 400
    assert reader.get(path, pageSize=1000).status_code == 200


# --- journal ------------------------------------------------------------------------------------------------------------


def test_journal_rows_are_under_columns_and_times_may_be_texts(reader: Reader) -> None:
    body = {"terminalId": IDS[0], "dateFrom": str(START), "dateTo": str(START + 6 * 3600)}
    rows = reader.ask(f"{V1}/click/log", body)["columns"]
    assert len(rows) > 30
    row = rows[0]
    point = reader.read(f"{V1}/reports/track/{IDS[0]}", **day())["track"][0]
    assert row["EVENT_DATE"] == point["date"]
    assert row["LATITUDE"] == round(point["latitude"] * 1e7)
    assert 240 <= row["U_BOARD"] <= 290 or row["U_BOARD_PRESENT"] == 0
    assert len(row["LLS_CODE"]) == len(row["LLS_CODE_PRESENT"]) == 6


def test_additional_journal_is_in_milliseconds_and_holds_json_as_text(reader: Reader) -> None:
    path, window = f"{V1}/click/log/additional", (START * 1000, (START + DAY) * 1000)
    body = reader.ask(path, {"vehicleId": IDS[0], "dateFrom": window[0], "dateTo": window[1]})
    assert body.keys() == {"exCanData", "modbusData", "userParams"}
    assert body["exCanData"]
    for row in body["exCanData"]:
        assert START <= row["eventDate"] <= START + DAY
        assert all(isinstance(value, str) for value in json.loads(row["jsonData"]).values())
    assert reader.ask(path, {"vehicleId": IDS[0], "dateFrom": START, "dateTo": START + DAY})["code"] == 4


def test_catalogue_of_reports_and_tree_of_geofences(reader: Reader) -> None:
    for path in (f"{V1}/reports", f"{V1}/reports/"):
        assert {item["code"] for item in reader.read(path)} >= {"consolidatedreport"}
    root = reader.read(f"{V1}/tree/geozone")
    assert len(root["children"][0]["objects"]) == reader.read("/api/service/geozones/geozones")["total"]
