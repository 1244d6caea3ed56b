"""The PowUnity room over HTTP: each behaviour of the vendor that surprises a client."""

from __future__ import annotations

import base64
import datetime as dt
import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import Running, running

AS_OF = dt.datetime(2026, 11, 20, 16, 31, 7, tzinfo=dt.UTC)
DAY = {"from": "2026-11-18T00:00:00Z", "to": "2026-11-18T23:59:59.999Z"}
JSON = {"Accept": "application/json"}
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = SandboxSettings(state_dir=tmp_path_factory.mktemp("sandbox"), as_of=AS_OF, bikes=4, vehicles=1)
    with running(settings) as serving:
        yield serving


class Caller:
    """A plain HTTP client of one customer, with Basic unless told otherwise."""

    def __init__(self, sandbox: Running, customer: str = "north", *, basic: bool = True) -> None:
        self.base = sandbox.urls["powunity"]
        self.credentials = sandbox.customers["powunity"][customer]
        self.session = requests.Session()
        self.session.trust_env = False
        if basic:
            self.session.auth = (self.credentials["email"], self.credentials["password"])

    def __call__(self, path: str, method: str = "GET", **options: Any) -> requests.Response:
        headers = {**JSON, **options.pop("headers", {})}
        return self.session.request(method, self.base + path, headers=headers, timeout=20, **options)

    def json(self, path: str, **params: Any) -> Any:
        answer = self(path, params=params)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
        return answer.json()

    def device_ids(self) -> list[int]:
        return [device["id"] for device in self.json("/devices")]


@pytest.fixture
def north(sandbox: Running) -> Caller:
    return Caller(sandbox)


@pytest.fixture
def south(sandbox: Running) -> Caller:
    return Caller(sandbox, "south")


@pytest.fixture
def anyone(sandbox: Running) -> Caller:
    return Caller(sandbox, basic=False)


def _is_labelled_text(answer: requests.Response, status: int) -> None:
    assert (answer.status_code, answer.headers.get("content-type")) == (status, "application/json")
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


# Logging in


def test_form_login_gives_user_and_cookie_until_logout(anyone: Caller) -> None:
    answer = anyone("/session", "POST", data={key: anyone.credentials[key] for key in ("email", "password")})
    assert answer.status_code == 200
    assert answer.headers["set-cookie"].startswith("JSESSIONID=")
    assert answer.headers["set-cookie"].endswith("; Path=/")
    user = answer.json()
    assert user["email"] == anyone.credentials["email"]
    assert user["token"] == anyone.credentials["token"]
    assert len(user) == 27
    assert anyone.json("/session") == user
    assert len(anyone.json("/devices")) == 4
    assert anyone("/session", "DELETE").status_code == 204
    _is_labelled_text(anyone("/devices"), 401)
    _is_labelled_text(anyone("/session"), 404)


def test_token_opens_a_session_and_does_nothing_elsewhere(anyone: Caller) -> None:
    token = anyone.credentials["token"]
    _is_labelled_text(anyone("/devices", params={"token": token}), 401)
    assert anyone("/session", params={"token": token}).json()["name"] == "north"
    assert len(anyone.json("/devices")) == 4


@pytest.mark.parametrize("token", ["nonsense", "", "QUJD", "é", "eyJ1IjoyfQ"])
def test_bad_token_is_400_not_401(anyone: Caller, token: str) -> None:
    _is_labelled_text(anyone("/session", params={"token": token}), 400)
    _is_labelled_text(anyone("/devices"), 401)


def test_wrong_password_is_400_with_a_null_pointer_text(anyone: Caller) -> None:
    by_form = anyone("/session", "POST", data={"email": anyone.credentials["email"], "password": "wrong"})
    _is_labelled_text(by_form, 400)
    assert "NullPointerException" in by_form.text
    _is_labelled_text(anyone("/devices", auth=("nobody@bikes.example", "wrong")), 400)


def test_bearer_is_refused_unless_switched_on(anyone: Caller, tmp_path: Any) -> None:
    bearer = {"Authorization": f"Bearer {anyone.credentials['token']}"}
    _is_labelled_text(anyone("/devices", headers=bearer), 400)
    settings = SandboxSettings(state_dir=tmp_path, as_of=AS_OF, bikes=2, vehicles=1, assumptions={"powunity.bearer": "true"})
    with running(settings) as other:
        assert len(Caller(other, basic=False)("/devices", headers=bearer).json()) == 2


def test_nobody_is_asked_for_a_login_unless_html_is_accepted(anyone: Caller) -> None:
    quiet, asking = anyone("/devices"), anyone("/devices", headers={"Accept": "text/html"})
    _is_labelled_text(quiet, 401)
    assert "www-authenticate" not in quiet.headers
    assert asking.headers["www-authenticate"] == 'Basic realm="api"'


def test_a_made_token_works_until_it_expires(sandbox: Running, north: Caller, anyone: Caller) -> None:
    made = north("/session/token", "POST", data={"expiration": "2026-11-20T17:00:00Z"})
    assert made.status_code == 200
    payload = base64.urlsafe_b64decode(made.text + "=" * (-len(made.text) % 4))
    assert payload[1 + payload[0] :].startswith(b'{"u":2,"e":')
    assert anyone("/session", params={"token": made.text}).status_code == 200
    sandbox.context.clock.set(dt.datetime(2026, 11, 20, 17, 0, 1, tzinfo=dt.UTC))
    try:
        late = anyone("/session", params={"token": made.text})
    finally:
        sandbox.context.clock.set(AS_OF)
    _is_labelled_text(late, 400)
    assert late.text.startswith("Token has expired")


def test_a_session_may_end_at_any_time_and_a_new_login_helps(sandbox: Running, anyone: Caller) -> None:
    login = {"token": anyone.credentials["token"]}
    anyone("/session", params=login)
    with sandbox.faults("expired:vendor=powunity,count=1"):
        _is_labelled_text(anyone("/devices"), 401)
        _is_labelled_text(anyone("/devices"), 401)
        assert anyone("/session", params=login).status_code == 200
        assert len(anyone.json("/devices")) == 4


def test_the_log_knows_who_asked_and_no_secret(sandbox: Running, north: Caller, anyone: Caller) -> None:
    sandbox.clear_log()
    north("/devices")
    anyone("/session", params={"token": anyone.credentials["token"]})
    anyone("/geofences")
    assert [entry["customer"] for entry in sandbox.log("powunity")] == ["north"] * 3
    assert anyone.credentials["token"] not in str(sandbox.log())


# Addresses and objects


def test_errors_of_addresses_have_no_content_type(north: Caller) -> None:
    for path, method, status in (("/nothing", "GET", 404), ("/reports/trips", "POST", 405), ("/positions/kmz", "GET", 404)):
        answer = north(path, method)
        assert (answer.status_code, answer.headers.get("content-type")) == (status, None)
        assert answer.text.startswith(f"HTTP {status} ")


def test_options_answers_without_login_and_every_answer_has_cors_headers(anyone: Caller) -> None:
    answer = anyone("/devices", "OPTIONS")
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (200, "application/json", "")
    assert answer.headers["access-control-allow-origin"] == "*"
    refused = anyone("/devices", headers={"Origin": "https://app.example"})
    assert refused.headers["access-control-allow-origin"] == "https://app.example"


def test_device_fields_nulls_and_filters(north: Caller, south: Caller) -> None:
    devices = north.json("/devices")
    assert list(devices[0]) == [
        *("id", "attributes", "groupId", "calendarId", "name", "uniqueId", "status", "lastUpdate", "positionId", "phone"),
        *("model", "contact", "category", "disabled", "expirationTime"),
    ]
    assert devices[0]["phone"] is None
    assert all(len(device["uniqueId"]) == 10 for device in devices)
    assert all(device["lastUpdate"].endswith("+00:00") for device in devices)
    other = south.device_ids()[0]
    assert north.json("/devices", id=[devices[1]["id"], other, 999]) == [devices[1]]
    assert north.json("/devices", uniqueId=[devices[2]["uniqueId"], "0000000000"]) == [devices[2]]
    assert north.json("/devices", all="true") == devices
    assert north.json(f"/devices/{devices[3]['id']}") == devices[3]


def test_a_forbidden_or_unknown_device_is_400_never_403(north: Caller, south: Caller) -> None:
    for device in (south.device_ids()[0], 999):
        for path in (f"/devices/{device}", f"/positions?deviceId={device}"):
            answer = north(path)
            _is_labelled_text(answer, 400)
            assert answer.text.startswith("Device access denied - SecurityException")


@pytest.mark.parametrize("name", ["geofences", "groups", "drivers", "maintenance", "calendars", "notifications"])
def test_lists_hold_only_what_is_ours(north: Caller, south: Caller, name: str) -> None:
    ours, theirs = north.json(f"/{name}"), south.json(f"/{name}")
    assert not {item["id"] for item in ours} & {item["id"] for item in theirs}
    for item in ours[:1]:
        assert north.json(f"/{name}/{item['id']}") == item
    for item in theirs[:1]:
        assert north(f"/{name}/{item['id']}").status_code == 400


def test_geofence_area_has_latitude_first(north: Caller) -> None:
    area = north.json("/geofences")[0]["area"]
    latitude, longitude = area.removeprefix("CIRCLE (").split(",")[0].split()
    assert 47 < float(latitude) < 54
    assert 6 < float(longitude) < 17


def test_server_needs_no_login_and_statistics_an_administrator(anyone: Caller, north: Caller) -> None:
    assert len(anyone.json("/server")) == 28
    _is_labelled_text(north("/statistics", params=DAY), 400)
    assert {"type": "deviceMoving"} in north.json("/notifications/types")


def test_writes_are_refused_and_an_unknown_field_is_named(north: Caller) -> None:
    device = north.json("/devices")[0]
    unknown = north("/devices", "POST", json={"name": "x", "uniqueId": "1", "foo": 1})
    _is_labelled_text(unknown, 400)
    assert unknown.text.startswith('Unrecognized field "foo" (class org.traccar.model.Device), not marked as ignorable (15')
    _is_labelled_text(north("/devices", "POST", data="{"), 400)
    assert north(f"/devices/{device['id']}", "PUT", json=device).text.startswith("Account is readonly")
    assert north.json("/devices")[0] == device


# Positions and events


def test_positions_range_is_by_fix_time_inclusive_and_ascending(north: Caller) -> None:
    device = north.device_ids()[0]
    rows = north.json("/positions", deviceId=device, **DAY)
    assert 40 < len(rows) < 1000
    times = [row["fixTime"] for row in rows]
    assert times == sorted(times)
    assert len({row["id"] for row in rows}) == len(rows)
    assert [row["id"] for row in rows] != sorted(row["id"] for row in rows)
    first, last = rows[3], rows[9]
    edge = north.json("/positions", deviceId=device, **{"from": first["fixTime"], "to": last["fixTime"]})
    assert edge == rows[3:10]
    assert list(rows[0]) == [
        *(
            "id",
            "attributes",
            "deviceId",
            "protocol",
            "serverTime",
            "deviceTime",
            "fixTime",
            "outdated",
            "valid",
            "latitude",
        ),
        *("longitude", "altitude", "speed", "course", "address", "accuracy", "network", "geofenceIds"),
    ]
    assert rows[0]["address"] is None


def test_positions_without_range_are_the_latest_and_a_range_without_device_is_ignored(north: Caller) -> None:
    latest = north.json("/positions")
    assert [row["deviceId"] for row in latest] == north.device_ids()
    assert north.json("/positions", **DAY) == latest
    assert north.json("/positions", deviceId=latest[1]["deviceId"]) == latest[1:2]
    assert north.json("/positions", deviceId=latest[1]["deviceId"], **{"from": DAY["from"]}) == latest[1:2]
    assert {device["positionId"] for device in north.json("/devices")} == {row["id"] for row in latest}


def test_positions_by_id(north: Caller, south: Caller) -> None:
    rows = north.json("/positions", deviceId=north.device_ids()[0], **DAY)
    assert north.json("/positions", id=[rows[5]["id"], rows[2]["id"]]) == [rows[5], rows[2]]
    missing = north("/positions", params={"id": 99999})
    _is_labelled_text(missing, 400)
    assert "NullPointerException" in missing.text
    _is_labelled_text(north("/positions", params={"id": rows[0]["id"] + 2**53}), 400)
    _is_labelled_text(south("/positions", params={"id": rows[0]["id"]}), 400)


@pytest.mark.parametrize("accept", ["text/csv", "application/gpx+xml"])
def test_positions_know_no_file_formats_by_accept(north: Caller, accept: str) -> None:
    answer = north("/positions", params={"deviceId": north.device_ids()[0], **DAY}, headers={"Accept": accept})
    assert (answer.status_code, answer.headers.get("content-type")) == (406, None)


@pytest.mark.parametrize(
    ("kind", "content_type", "start"),
    [
        ("csv", "text/csv", "id,deviceId,protocol,"),
        ("gpx", "application/gpx+xml", "<?xml"),
        ("kml", "application/vnd.google-earth.kml+xml", "<?xml"),
    ],
)
def test_position_files(north: Caller, kind: str, content_type: str, start: str) -> None:
    answer = north(f"/positions/{kind}", params={"deviceId": north.device_ids()[0], **DAY}, headers={"Accept": "*/*"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert answer.headers["content-disposition"] == f"attachment; filename=positions.{kind}"
    assert answer.text.startswith(start)


def test_events_by_id_and_by_type(north: Caller, south: Caller) -> None:
    devices = north.device_ids()
    events = north.json("/reports/events", deviceId=devices, **DAY)
    assert list(events[0]) == [
        *("id", "attributes", "deviceId", "type", "eventTime", "positionId", "geofenceId", "maintenanceId")
    ]
    assert {"deviceMoving", "deviceStopped", "ignitionOn", "geofenceExit", "driverChanged"} <= {e["type"] for e in events}
    assert north.json(f"/events/{events[0]['id']}") == events[0]
    _is_labelled_text(south(f"/events/{events[0]['id']}"), 400)
    _is_labelled_text(north("/events/1"), 404)
    wanted = ["deviceMoving", "deviceStopped"]
    motion = north.json("/reports/events", deviceId=devices, type=wanted, **DAY)
    assert motion == [event for event in events if event["type"] in wanted]


# Reports


def test_reports_leave_out_forbidden_and_unknown_devices_in_silence(north: Caller, south: Caller) -> None:
    device = north.device_ids()[1]
    alone = north.json("/reports/stops", deviceId=device, **DAY)
    assert alone
    assert north.json("/reports/stops", deviceId=[south.device_ids()[1], 999, device], **DAY) == alone
    assert north.json("/reports/stops", deviceId=south.device_ids()[1], **DAY) == []
    assert north.json("/reports/stops", **DAY) == []


def test_groups_add_their_devices_to_a_report(north: Caller) -> None:
    devices = north.json("/devices")
    group = next(device["groupId"] for device in devices if device["groupId"])
    members = {device["id"] for device in devices if device["groupId"] == group}
    assert {row["deviceId"] for row in north.json("/reports/summary", groupId=group, **DAY)} == members
    loose = next(device["id"] for device in devices if not device["groupId"])
    rows = north.json("/reports/summary", groupId=group, deviceId=loose, **DAY)
    assert {row["deviceId"] for row in rows} == members | {loose}


@pytest.mark.parametrize("report", ["trips", "stops", "summary", "events", "route", "combined"])
def test_missing_dates_are_400_and_unreadable_ones_404(north: Caller, report: str) -> None:
    path, device = f"/reports/{report}", north.device_ids()[0]
    _is_labelled_text(north(path, params={"deviceId": device}), 400)
    _is_labelled_text(north(path, params={"deviceId": device, "from": DAY["from"]}), 400)
    for bad in ("yesterday", "2026-11-18", "2026-11-18T00:00:00", "2026-11-18T00:00:00 01:00", ""):
        _is_labelled_text(north(path, params={**DAY, "deviceId": device, "from": bad}), 404)
    _is_labelled_text(north(path, params={**DAY, "deviceId": "1,2"}), 404)


def test_dates_may_have_any_zone(north: Caller) -> None:
    device = north.device_ids()[0]
    shifted = {"from": "2026-11-18T01:00:00+01:00", "to": "2026-11-19T00:59:59.999+01:00"}
    assert north.json("/reports/trips", deviceId=device, **shifted) == north.json("/reports/trips", deviceId=device, **DAY)


@pytest.mark.parametrize(
    ("report", "any_accept"),
    [("trips", XLSX), ("stops", XLSX), ("route", XLSX), ("summary", "application/json"), ("events", "application/json")],
)
def test_without_a_clear_accept_some_reports_are_spreadsheets(north: Caller, report: str, any_accept: str) -> None:
    params = {"deviceId": north.device_ids()[1], **DAY}
    answer = north(f"/reports/{report}", params=params, headers={"Accept": "*/*"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, any_accept)
    wanted = north(f"/reports/{report}", params=params, headers={"Accept": XLSX})
    by_path = north(f"/reports/{report}/xlsx", params=params)
    assert wanted.content == by_path.content
    assert by_path.headers["content-disposition"] == "attachment; filename=report.xlsx"
    with zipfile.ZipFile(io.BytesIO(by_path.content)) as book:
        assert b"<sheetData>" in book.read("xl/worksheets/sheet1.xml")
    assert north(f"/reports/{report}", params=params, headers={"Accept": "text/html"}).status_code == 406
    assert north(f"/reports/{report}/mail", params=params).status_code == 204


def test_a_report_of_more_than_a_day_is_another_report(north: Caller) -> None:
    devices = north.device_ids()
    exact = north.json("/reports/trips", deviceId=devices, **DAY)
    whole_day = {"from": DAY["from"], "to": "2026-11-19T00:00:00Z"}
    longer = {"from": DAY["from"], "to": "2026-11-19T00:00:01Z"}
    assert north.json("/reports/trips", deviceId=devices, **whole_day) == exact
    fast = north.json("/reports/trips", deviceId=devices, **longer)
    assert fast
    assert all(trip["maxSpeed"] > 0 for trip in exact)
    assert all(trip["maxSpeed"] == 0 for trip in fast)
    starts = {trip["startTime"] for trip in exact}
    assert not starts & {trip["startTime"] for trip in fast}
    stops = [len(north.json("/reports/stops", deviceId=devices, **window)) for window in (whole_day, longer)]
    assert stops[1] < stops[0]


def test_trip_units_and_fields(north: Caller) -> None:
    trips = north.json("/reports/trips", deviceId=north.device_ids(), **DAY)
    assert len(trips) > 3
    for trip in trips:
        assert len(trip) == 21
        start, end = (dt.datetime.fromisoformat(trip[key]) for key in ("startTime", "endTime"))
        assert trip["duration"] == (end - start).total_seconds() * 1000
        assert trip["distance"] == trip["endOdometer"] - trip["startOdometer"]
        assert trip["averageSpeed"] == pytest.approx(trip["distance"] / (end - start).total_seconds() * 1.94384)
        assert trip["driverUniqueId"] is None or isinstance(trip["driverUniqueId"], str)
        assert trip["startAddress"] is None
    assert any(trip["driverName"] for trip in trips)
    stop = north.json("/reports/stops", deviceId=north.device_ids()[0], **DAY)[0]
    assert "latitude" in stop
    assert "lat" not in stop


def test_trips_add_up_to_less_than_the_summary(north: Caller) -> None:
    days = [north.json("/reports/summary", deviceId=device, **DAY)[0] for device in north.device_ids()]
    trips = north.json("/reports/trips", deviceId=north.device_ids(), **DAY)
    assert 0 < sum(trip["distance"] for trip in trips) < sum(day["distance"] for day in days)


def test_daily_summary_has_an_item_per_day(north: Caller) -> None:
    window = {"from": "2026-11-16T00:00:00Z", "to": "2026-11-18T23:59:59.999Z"}
    items = north.json("/reports/summary", deviceId=north.device_ids()[0], daily="true", **window)
    assert [item["startTime"][:10] for item in items] == ["2026-11-16", "2026-11-17", "2026-11-18"]
    assert all(item["maxSpeed"] == 0 for item in items)
    assert len(north.json("/reports/summary", deviceId=north.device_ids()[0], **window)) == 1


def test_combined_has_longitude_first_and_no_moving_events(north: Caller) -> None:
    (item,) = north.json("/reports/combined", deviceId=north.device_ids()[0], **DAY)
    route = north.json("/reports/route", deviceId=north.device_ids()[0], **DAY)
    assert item["route"] == [[row["longitude"], row["latitude"]] for row in route]
    assert "deviceMoving" not in {event["type"] for event in item["events"]}
    assert {event["positionId"] for event in item["events"]} <= {row["id"] for row in item["positions"]}


def test_nothing_before_the_history_starts(north: Caller) -> None:
    window = {"from": "2023-01-01T00:00:00Z", "to": "2023-01-02T00:00:00Z"}
    for report in ("trips", "stops", "summary", "events", "route"):
        assert north.json(f"/reports/{report}", deviceId=north.device_ids()[0], **window) == []


def test_period_limit_applies_to_reports_and_never_to_positions(tmp_path: Any) -> None:
    settings = SandboxSettings(
        state_dir=tmp_path, as_of=AS_OF, bikes=1, vehicles=1, assumptions={"powunity.period_limit_s": "172800"}
    )
    window = {"from": "2026-11-15T00:00:00Z", "to": "2026-11-18T00:00:00Z"}
    with running(settings) as other:
        caller = Caller(other)
        device = caller.device_ids()[0]
        for report in ("trips", "stops", "summary", "route", "events", "combined"):
            answer = caller(f"/reports/{report}", params={"deviceId": device, **window})
            _is_labelled_text(answer, 400)
            assert answer.text.startswith("Time period exceeds the limit")
        assert caller.json("/positions", deviceId=device, **window)
        assert caller.json("/reports/summary", deviceId=device, **DAY)


def test_positions_can_be_cut_at_a_number(sandbox: Running, tmp_path: Any) -> None:
    settings = SandboxSettings(
        state_dir=tmp_path, as_of=AS_OF, bikes=4, vehicles=1, assumptions={"powunity.max_positions": "7"}
    )
    whole = Caller(sandbox)
    device = whole.device_ids()[0]
    with running(settings) as other:
        assert (
            Caller(other).json("/positions", deviceId=device, **DAY) == whole.json("/positions", deviceId=device, **DAY)[:7]
        )


def test_same_seed_same_bytes(sandbox: Running, tmp_path: Any) -> None:
    settings = SandboxSettings(state_dir=tmp_path, as_of=AS_OF, bikes=4, vehicles=1)
    with running(settings) as other:
        one, two = Caller(sandbox), Caller(other)
        assert one.credentials == two.credentials
        ids = one.device_ids()
        for path in ("devices", "geofences", "reports/trips", "reports/stops", "reports/events", "reports/route"):
            params = {"deviceId": ids, **DAY}
            assert one(f"/{path}", params=params).content == two(f"/{path}", params=params).content
