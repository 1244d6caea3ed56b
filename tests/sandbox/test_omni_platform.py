"""The simulated OMNI Platform, asked as plainly as possible."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError
from fleetlake.sandbox.rooms import Context, room
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import Running, running
from fleetlake.window import Window

AS_OF = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
DAY = Window.day("2026-11-19")
EVENTS, PLATFORM = "/event-service/graphql", "/api/v2/"
ROOM = room("omni_platform")

Ask = Callable[..., Any]


class Server:
    """A sandbox and a plain way to ask it."""

    def __init__(self, sandbox: Running) -> None:
        self.sandbox = sandbox
        self.context = sandbox.context

    def post(self, path: str, body: Any, token: str | None = "depot", **headers: str) -> requests.Response:
        known = self.sandbox.customers["omni_platform"]
        given = {} if token is None else {"token": known[token]["token"] if token in known else token}
        url = self.sandbox.urls["omni_platform"] + path
        return requests.post(url, json=body, headers={**given, **headers}, timeout=10)

    def ask(self, path: str, query: str, token: str = "depot", **variables: Any) -> Any:
        return self.post(path, {"query": query, "variables": variables}, token).json()

    def events(self, arguments: str, fields: str = "id date type", token: str = "depot") -> Any:
        body = self.ask(EVENTS, f"{{ events({arguments}) {{ totalCount collectionItems {{ {fields} }} }} }}", token)
        assert "errors" not in body, body
        return body["data"]["events"]

    def truth(self, dataset: str = "event", window: Window | None = DAY, customer: str | None = None) -> list[Any]:
        return list(ROOM.truth(self.context, dataset, window, customer))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    with ExitStack() as stack:
        known: dict[str, Server] = {}

        def begin(**assumptions: Any) -> Server:
            key = json.dumps(assumptions)
            if key not in known:
                settings = SandboxSettings(
                    state_dir=tmp_path_factory.mktemp("sandbox"),
                    as_of=AS_OF,
                    rooms=("omni_platform",),
                    assumptions={f"omni_platform.{name}": value for name, value in assumptions.items()},
                )
                known[key] = Server(stack.enter_context(running(settings)))
            known[key].context.clock.set(AS_OF)
            return known[key]

        yield begin


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    return start()


def between(window: Window, more: str = "") -> str:
    start, end = window.start.isoformat(), window.end.isoformat()
    return f'filters: {{date: {{gte: "{start}", lt: "{end}"}} {more}}}'


# --- services -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [EVENTS, PLATFORM])
@pytest.mark.parametrize(("refusal", "status"), [("graphql", 200), ("401", 401), ("403", 403)])
def test_without_a_good_token_nothing_is_told(path: str, refusal: str, status: int, start: Callable[..., Server]) -> None:
    server = start(refusal=refusal)
    for token in (None, "wrong"):
        answer = server.post(path, {"query": "{ __typename }"}, token)
        assert answer.status_code == status
        assert answer.json() == {"errors": [{"message": "Access denied"}], "data": None}
    assert server.post(
        path, {"query": "{ __typename }"}, None, TOKEN=server.sandbox.customers["omni_platform"]["depot"]["token"]
    ).ok


def test_the_token_is_an_access_of_the_user(server: Server) -> None:
    me = server.ask(PLATFORM, "{ me { username workspaces { id accesses { id } } } }")["data"]["me"]
    assert me["workspaces"][0]["accesses"] == [{"id": server.sandbox.customers["omni_platform"]["depot"]["token"]}]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("{ events { collectionItems { cameraTitle } } }", "Cannot query field 'cameraTitle'"),
        ('{ events(filters: {camera: "x"}) { totalCount } }', "unknown field 'camera'"),
        ('{ events(filters: {creationDate: {gte: "x"}}) { totalCount } }', "unknown field 'creationDate'"),
        ("query Q($f: String!) { events(filters: {date: {gte: $f}}) { totalCount } }", "expecting type 'DateTime'"),
        ('{ events(filters: {date: {gte: "yesterday"}}) { totalCount } }', "not a valid date"),
        ("{ events(filters: {type: {exact: identification}}) { totalCount } }", "does not exist in 'EventType' enum"),
        ("{ endpoints(pagination: {offset: -1}) { totalCount } }", "must not be negative"),
        ("{ events", "Syntax Error"),
    ],
)
def test_errors_come_inside_an_http_200(query: str, words: str, server: Server) -> None:
    answer = server.post(EVENTS, {"query": query})
    assert answer.status_code == 200
    assert words in answer.json()["errors"][0]["message"]
    assert answer.json()["data"] is None


def test_a_body_without_a_query_is_refused(server: Server) -> None:
    assert server.post(EVENTS, {"variables": {}}).status_code == 400
    assert server.post(EVENTS, ["x"]).status_code == 400


def test_the_schema_can_be_asked_for_unless_it_is_switched_off(server: Server, start: Callable[..., Server]) -> None:
    probe = '{ __type(name: "DateFilter") { inputFields { name type { name } } } }'
    names = {item["type"]["name"] for item in server.ask(EVENTS, probe)["data"]["__type"]["inputFields"]}
    assert names == {"DateTime"}
    assert "introspection" in start(introspection=False).ask(EVENTS, probe)["errors"][0]["message"]


def test_a_right_can_be_taken_away(start: Callable[..., Server]) -> None:
    server = start(denied="profiles,agents")
    assert server.ask(PLATFORM, "{ profiles { totalCount } }")["errors"][0]["message"] == "Access denied"
    assert server.ask(PLATFORM, "{ cameras { totalCount } }")["data"]["cameras"]["totalCount"] == 4


# --- events -------------------------------------------------------------------------------------------------------------


def test_events_are_deterministic_and_tens_to_hundreds_per_camera_and_day(server: Server) -> None:
    again = Context.of(SandboxSettings(state_dir=Path("unused"), as_of=AS_OF))
    truth = server.truth()
    assert sorted(map(repr, truth)) == sorted(map(repr, ROOM.truth(again, "event", DAY, None)))
    other = Context.of(SandboxSettings(state_dir=Path("unused"), as_of=AS_OF, seed=8))
    assert {row["event_id"] for row in truth}.isdisjoint(row["event_id"] for row in ROOM.truth(other, "event", DAY, None))
    counts = [sum(row["camera_id"] == camera for row in truth) for camera in {row["camera_id"] for row in truth}]
    assert len(counts) == 4
    assert all(20 <= count <= 300 for count in counts)
    assert len({row["event_id"] for row in truth}) == len(truth)


def test_truth_has_the_columns_of_the_contracts(server: Server) -> None:
    contracts = load_contracts(Path(__file__).parents[2] / "include", "omni_platform")
    assert set(ROOM.datasets) == {contract.name for contract in contracts.values()}
    for contract in contracts.values():
        row = server.truth(contract.name)[0]
        assert set(row) == {column.name for column in contract.columns}


def test_the_interface_tells_what_is_true(server: Server) -> None:
    answer = server.events(f"{between(DAY)}, order: {{date: ASC}}, pagination: {{limit: 1000}}", "id date type creationDate")
    found = answer["collectionItems"]
    truth = {row["event_id"]: row for row in server.truth()}
    assert answer["totalCount"] == len(found) == len(truth)
    assert {item["id"] for item in found} == set(truth)
    dates = [dt.datetime.fromisoformat(item["date"]) for item in found]
    assert dates == sorted(dates)
    assert dates == [truth[item["id"]]["event_time"] for item in found]
    assert all(item["type"] == item["type"].upper() for item in found)


def test_pages_have_a_default_size_and_a_silent_cap(server: Server, start: Callable[..., Server]) -> None:
    """OPL-04."""
    assert len(server.events(between(DAY))["collectionItems"]) == 100
    capped = start(limit_max=7)
    assert len(capped.events(f"{between(DAY)}, pagination: {{limit: 50}}")["collectionItems"]) == 7
    whole = [
        item["id"]
        for item in server.events(f"{between(DAY)}, order: {{date: ASC}}, pagination: {{limit: 30}}")["collectionItems"]
    ]
    part = server.events(f"{between(DAY)}, order: {{date: ASC}}, pagination: {{offset: 20, limit: 10}}")["collectionItems"]
    assert [item["id"] for item in part] == whole[20:]
    down = server.events(f"{between(DAY)}, order: {{date: DESC}}, pagination: {{limit: 1}}")["collectionItems"]
    assert down[0]["date"] > part[-1]["date"]


@pytest.mark.parametrize("name", ["gt", "gte", "lt", "lte", "exact"])
def test_dates_are_compared_as_their_names_say(name: str, server: Server) -> None:
    rows = sorted(server.truth(), key=lambda row: row["event_time"])
    moment = rows[len(rows) // 2]["event_time"]
    compare = {
        "gt": lambda time: time > moment,
        "gte": lambda time: time >= moment,
        "lt": lambda time: time < moment,
        "lte": lambda time: time <= moment,
        "exact": lambda time: time == moment,
    }[name]
    day = " ".join(f'{key}: "{end.isoformat()}"' for key, end in (("gte", DAY.start), ("lt", DAY.end)) if key != name)
    found = server.events(f'filters: {{date: {{{day} {name}: "{moment.isoformat()}"}}}}')
    assert found["totalCount"] == sum(compare(row["event_time"]) for row in rows)


def test_filters_by_id_type_activity_and_profile(server: Server) -> None:
    rows = server.truth()
    one = next(row for row in rows if row["candidates"])
    by_id = server.events(f'filters: {{id: {{exact: "{one["event_id"]}"}}}}')
    assert [item["id"] for item in by_id["collectionItems"]] == [one["event_id"]]
    by_activity = server.events(f'filters: {{activityId: {{exact: "{one["activity_id"]}"}}}}')
    assert {item["id"] for item in by_activity["collectionItems"]} == {
        row["event_id"] for row in rows if row["activity_id"] == one["activity_id"]
    }
    by_type = server.events(between(DAY, "type: {exact: HAR}"))
    assert by_type["totalCount"] == sum(row["event_type"] == "har" for row in rows) > 0
    person = one["candidates"][0]["profile_id"]
    by_profile = server.events(between(DAY, f'dataIdentificationDataProfileId: {{exact: "{person}"}}'))
    assert by_profile["totalCount"] == sum(
        any(item["profile_id"] == person for item in row["candidates"] or ()) for row in rows
    )
    assert server.events('filters: {id: {exact: "nonsense"}}')["totalCount"] == 0
    assert server.events(f'filters: {{id: {{exact: "{one["event_id"]}"}}}}', token="other")["totalCount"] == 0


def test_data_has_the_agents_shape(server: Server) -> None:
    """OPL-01: `$` keys for binary objects, a blank in the date, candidates only for identifications, sometimes none."""
    found = server.events(f"{between(DAY)}, pagination: {{limit: 1000}}", "id type data")["collectionItems"]
    for item in found:
        data = item["data"]
        assert data["$image"]["id"] and data["$original_image"]["id"]
        assert data["type"] == item["type"].lower()
        assert data["date"][10] == " "
        assert ("identification_data" in data) == (item["type"] == "IDENTIFICATION")
    sizes = {len(item["data"].get("identification_data", "???")) for item in found}
    assert sizes >= {0, 1, 2}
    assert {item["type"] for item in found} <= {
        "IDENTIFICATION",
        "NON_IDENTIFICATION",
        "HAR",
        "ROI",
        "CROSSING",
        "FACE_HIDE_CONTROL",
    }


def test_dates_are_spelled_in_two_ways_and_types_may_be_new(start: Callable[..., Server]) -> None:
    server = start(blank_dates=True, newer_type=True)
    found = server.events(f"{between(DAY)}, pagination: {{limit: 1000}}")["collectionItems"]
    assert all(item["date"][10] == " " and item["date"].endswith("+00:00") for item in found)
    assert "FALL_DETECTION" in {item["type"] for item in found}


def test_the_activity_of_an_event_is_told_or_refused(server: Server, start: Callable[..., Server]) -> None:
    """OPL-11."""
    assert server.events(between(DAY), "id activityId")["collectionItems"][0]["activityId"]
    refusing = start(activity_id_output=False)
    answer = refusing.ask(EVENTS, f"{{ events({between(DAY)}) {{ collectionItems {{ id activityId }} }} }}")
    assert "Cannot query field 'activityId'" in answer["errors"][0]["message"]
    assert {row["activity_id"] for row in refusing.truth()} == {None}


def test_paging_may_stand_inside_the_order(start: Callable[..., Server]) -> None:
    """OPL-10."""
    server = start(pagination_in_order=True, date_scalar="String")
    assert len(server.events(f"{between(DAY)}, order: {{date: ASC, pagination: {{limit: 3}}}}")["collectionItems"]) == 3
    top = server.ask(EVENTS, "{ events(pagination: {limit: 3}) { totalCount } }")
    assert "Unknown argument 'pagination'" in top["errors"][0]["message"]


def test_nothing_is_seen_before_it_has_arrived(start: Callable[..., Server]) -> None:
    """Late inserts: an old date, a later creation date."""
    server = start(late_share=1.0)
    rows = server.truth()
    late = [row for row in rows if row["created_time"] - row["event_time"] > dt.timedelta(minutes=30)]
    assert late
    assert all(row["created_time"] - row["event_time"] < dt.timedelta(hours=24) for row in late)
    first = min(late, key=lambda row: row["created_time"])
    server.context.clock.set(first["created_time"] - dt.timedelta(milliseconds=1))
    seen = {row["event_id"] for row in server.truth()}
    assert first["event_id"] not in seen
    assert any(row["event_time"] > first["event_time"] for row in server.truth()), "later ones are there already"
    assert server.events(between(DAY))["totalCount"] == len(seen)
    server.context.clock.set(first["created_time"])
    assert first["event_id"] in {row["event_id"] for row in server.truth()}


def test_events_expire(start: Callable[..., Server]) -> None:
    server = start(activity_ttl=2, ttl_unit_s=86_400)
    config = server.ask(PLATFORM, "{ workspaceInfo { config } }")["data"]["workspaceInfo"]["config"]
    assert config["activity_ttl"] == 2
    assert server.events(between(Window.day("2026-11-17")))["totalCount"] == 0
    half = Window.day("2026-11-18")
    assert min(row["event_time"] for row in server.truth(window=half)) > AS_OF - dt.timedelta(days=2)
    assert server.events(between(half))["totalCount"] == len(server.truth(window=half)) > 0


def test_a_long_list_moves_between_its_pages(start: Callable[..., Server]) -> None:
    server = start(insertions=2, ghosts=1)
    true = {row["event_id"] for row in server.truth()}
    answers = [server.events(f"{between(DAY)}, pagination: {{limit: 1000}}, order: {{date: ASC}}") for _ in range(4)]
    assert [answer["totalCount"] for answer in answers] == [len(true)] * 4, "it fits into one page"
    window = Window(DAY.start, DAY.end - dt.timedelta(milliseconds=1))
    totals = []
    for offset in range(0, 200, 50):
        answer = server.events(f"{between(window)}, pagination: {{offset: {offset}, limit: 50}}, order: {{date: ASC}}")
        totals.append(answer["totalCount"] - len(true))
    assert totals == [-1, -1, 0, 0], "two are hidden and one is a ghost; one comes and the ghost goes; the other comes"


# --- the rest -----------------------------------------------------------------------------------------------------------


def test_agents_tell_their_secret_and_archived_ones_when_asked(server: Server) -> None:
    def agents(arguments: str) -> list[Any]:
        query = f"{{ agents{arguments} {{ collectionItems {{ id token camerasIds archived }} }} }}"
        return list(server.ask(PLATFORM, query)["data"]["agents"]["collectionItems"])

    assert [len(agents(text)) for text in ("", '(withArchived: "all")', '(withArchived: "archived")')] == [2, 3, 1]
    assert all(agent["token"] for agent in agents(""))
    cameras = server.ask(PLATFORM, "{ cameras { collectionItems { id title stream agentId } } }")["data"]["cameras"]
    assert sorted(camera["id"] for camera in cameras["collectionItems"]) == sorted(
        camera for agent in agents("") for camera in agent["camerasIds"]
    )
    assert any("viewer:" in camera["title"] for camera in cameras["collectionItems"])
    assert all("viewer:" in camera["stream"] for camera in cameras["collectionItems"])


def test_a_deleted_profile_is_not_listed_but_still_named_by_events(server: Server) -> None:
    query = "{ profiles(limit: 1000) { collectionItems { id info profileGroups { id title } } } }"
    listed = {item["id"] for item in server.ask(PLATFORM, query)["data"]["profiles"]["collectionItems"]}
    named = {item["profile_id"] for row in server.truth() for item in row["candidates"] or ()}
    assert len(listed) == 27
    assert named - listed
    assert named & listed


def test_older_lists_take_ids_limit_offset_and_order(server: Server) -> None:
    def groups(arguments: str) -> list[str]:
        query = f"{{ profileGroups({arguments}) {{ totalCount collectionItems {{ id }} }} }}"
        return [item["id"] for item in server.ask(PLATFORM, query)["data"]["profileGroups"]["collectionItems"]]

    every = groups('order: ["creation_date"]')
    assert groups('order: ["-creation_date"]') == every[::-1]
    assert groups('order: ["creation_date"], limit: 1, offset: 1') == every[1:2]
    assert groups(f'ids: ["{every[2]}"]') == every[2:]


def test_activities_are_found_by_lookups(server: Server) -> None:
    def activities(filters: str) -> Any:
        query = (
            f"{{ activities(filters: {{{filters}}}) {{ totalCount collectionItems {{ id cameraId profileId status }} }} }}"
        )
        return server.ask(PLATFORM, query)["data"]["activities"]

    one = next(row for row in server.truth() if row["candidates"])
    found = activities(f'id: {{exact: "{one["activity_id"]}"}}')["collectionItems"]
    assert [(item["cameraId"], item["status"]) for item in found] == [(one["camera_id"], "FINALIZED")]
    assert activities("profileId: {isNull: true}")["totalCount"] > 0
    window = f'creationDate: {{gte: "{DAY.start.isoformat()}", lt: "{DAY.end.isoformat()}"}}'
    assert activities(window)["totalCount"] == len({row["activity_id"] for row in server.truth()})


def test_filters_and_endpoints_can_be_listed(server: Server) -> None:
    query = "{ eventsFilters { totalCount collectionItems { name meta endpoints { id type } } } endpoints(filters: {type: WEB_HOOK}) { totalCount } }"
    data = server.ask(EVENTS, query)["data"]
    assert data["eventsFilters"]["collectionItems"][0]["endpoints"][0]["type"] == "WEB_SOCKET"
    assert data["endpoints"]["totalCount"] == 0


def test_workspaces_do_not_see_each_other(server: Server) -> None:
    mine = {item["id"] for item in server.events(f"{between(DAY)}, pagination: {{limit: 1000}}")["collectionItems"]}
    others = server.events(f"{between(DAY)}, pagination: {{limit: 1000}}", token="other")["collectionItems"]
    assert others
    assert mine.isdisjoint(item["id"] for item in others)
    assert len(others) == len(server.truth(customer="other"))


def test_truth_masks_people_unless_told_otherwise(start: Callable[..., Server]) -> None:
    masked, kept = start().truth("profile"), start(truth_personal_data="keep").truth("profile")
    assert {row["name"] for row in masked} == {None}
    assert all(row["name"] and row["gender"] in ("female", "male") for row in kept)
    assert [row["profile_id"] for row in masked] == [row["profile_id"] for row in kept]
    titles = [row["title"] for row in start().truth("camera")]
    assert titles[1] == "rtsp://***@192.0.2.11/stream"


def test_the_room_knows_its_names(server: Server) -> None:
    with pytest.raises(ConfigError, match="no dataset 'events'"):
        server.truth("events")
    with pytest.raises(ConfigError, match="no customer 'depo'"):
        server.truth(customer="depo")


def test_an_expired_token_can_be_played(server: Server) -> None:
    with server.sandbox.faults("expired:vendor=omni_platform,count=1"):
        body = server.ask(PLATFORM, "{ me { username } }")
    assert body == {"errors": [{"message": "Access denied"}], "data": None}
    assert server.ask(PLATFORM, "{ me { username } }")["data"]["me"]["username"] == "depot"
