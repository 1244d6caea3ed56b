"""Truth equals what a plain reader gets through the contracts, and has their columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from fleetlake.canonical import canonical_row
from fleetlake.contracts import Column, Contract, load_contracts
from fleetlake.errors import ConfigError
from fleetlake.sandbox.omnicomm import ROOM
from fleetlake.sandbox.omnicomm.park import Park
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import Running, running
from fleetlake.sandbox.world import DAY_S, moment
from fleetlake.window import Window

INCLUDE = Path(__file__).parents[2] / "include"
AS_OF = dt.datetime(2026, 11, 20, 12, 0, 0, tzinfo=dt.UTC)
TWO_DAYS = Window.parse("2026-11-17", "2026-11-19")
ONE_DAY = Window.day("2026-11-17")
V1 = "/ls/api/v1"
UNVERIFIED = {"account_user", "driver", "video_profile", "video_task"}


def _settings(folder: Path, **changes: Any) -> SandboxSettings:
    assumptions = {"calls_per_minute": 0, "unverified": True, "truncate_json": True} | changes.pop("assume", {})
    named = {f"omnicomm.{key}": value for key, value in assumptions.items()}
    return SandboxSettings(
        **{"state_dir": folder, "trucks": 3, "as_of": AS_OF, "rooms": ("omnicomm",), **changes}, assumptions=named
    )


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(_settings(tmp_path_factory.mktemp("omnicomm"))) as started:
        yield started


def truth(context: Context, dataset: str, window: Window | None = TWO_DAYS, customer: str | None = None) -> list[Any]:
    return list(ROOM.truth(context, dataset, window, customer))


def window_of(dataset: str) -> Window:
    """Dense streams are compared on one day."""
    return ONE_DAY if dataset in ("track_point", "fuel_level", "journal") else TWO_DAYS


# --- a plain reader: the contracts' source paths and factors, nothing else ----------------------------------------------


class Reader:
    def __init__(self, sandbox: Running) -> None:
        self.url, self.session = sandbox.urls["omnicomm"], requests.Session()
        self.session.trust_env = False
        credentials = sandbox.customers["omnicomm"]["trucks"]
        token = self.session.post(f"{self.url}/auth/login?jwt=1", json=credentials, timeout=10).json()["jwt"]
        self.session.headers["Authorization"] = f"JWT {token}"
        self.ids = [truck.terminal_id for truck in Park(sandbox.context).trucks("trucks")]

    def get(self, path: str, **query: Any) -> Any:
        response = self.session.get(self.url + path, params=query, timeout=20)
        assert response.status_code == 200
        return response.json()

    def post(self, path: str, **body: Any) -> Any:
        response = self.session.post(self.url + path, json=body, timeout=20)
        assert response.status_code == 200
        return response.json()

    def rows(self, dataset: str) -> list[dict[str, Any]]:
        """Vendor rows of some days, with the names that only the question knows."""
        window = window_of(dataset)
        start, end = int(window.start.timestamp()), int(window.end.timestamp())
        both = {"timeBegin": start, "timeEnd": end - 1}
        reports = f"{V1}/reports"

        def each(path: str, list_: str) -> list[dict[str, Any]]:
            return [
                {**row, "_terminal_id": number}
                for number in self.ids
                for row in self.get(f"{reports}/{path}/{number}", **both)[list_]
            ]

        if dataset == "statistics":
            found = []
            for begin in range(start, end, DAY_S):
                query = {"vehicles": str(self.ids), "timeBegin": begin, "timeEnd": begin + DAY_S, "dataGroups": "[mw,fuel]"}
                rows = self.get(f"{reports}/statistics", **query)["data"]["vehicleDataList"]
                found += [{**row, "_from": begin, "_to": begin + DAY_S} for row in rows]
            return found
        if dataset == "consolidated_report":
            items = self.post(f"{reports}/consolidatedReport", vehicleIds=self.ids, **both)["items"]
            return [item["consolidatedReport"] for item in items]
        if dataset == "geofence_visit":
            more = {"minDurationTime": 300, "outsideGeozones": True}
            return self.post(f"{reports}/geozones", vehicleIds=self.ids, **both, **more)
        if dataset == "fuel_level":
            return [
                {**row, "_terminal_id": number, "_tank": tank}
                for number in self.ids
                for tank, entry in enumerate(self.get(f"{reports}/fuellevel", vehicleID=number, **both)["tankData"], 1)
                for row in entry["data"]
            ]
        if dataset == "journal":
            return [
                {**row, "_terminal_id": number}
                for number in self.ids
                for row in self.post(f"{V1}/click/log", terminalId=number, dateFrom=start, dateTo=end - 1)["columns"]
            ]
        if dataset == "geofence":
            return self.get("/api/service/geozones/geozones")["rows"]
        if dataset == "vehicle_state":
            return [{**self.get(f"{V1}/vehicles/{number}/state"), "_terminal_id": number} for number in self.ids]
        if dataset == "vehicle_profile":
            found = [{**self.get(f"{V1}/profile/vehicle/{number}"), "_terminal_id": number} for number in self.ids]
            return [
                {**row, "mainTank": row["mainTank"][0] if isinstance(row["mainTank"], list) else row["mainTank"]}
                for row in found
            ]
        return each("track", "track") if dataset == "track_point" else each("events", "events")


def told(column: Column, row: Any) -> Any:
    value = row
    for part in (column.source or "").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return None
    if column.read == "unix_s":
        return moment(value).date() if column.type == "date" else moment(value)
    return value * column.factor if column.factor else value


def columns_of(contract: Contract) -> list[Column]:
    """Columns that stand in the vendor's row as they are."""
    return [column for column in contract.columns if column.source]


READ = (
    "vehicle_profile",
    "vehicle_state",
    "statistics",
    "consolidated_report",
    "track_point",
    "event",
    "fuel_level",
    "geofence_visit",
    "geofence",
    "journal",
)


@pytest.mark.parametrize("dataset", READ)
def test_truth_is_what_a_plain_reader_gets(sandbox: Running, dataset: str) -> None:
    contract = load_contracts(INCLUDE, "omnicomm")[f"omnicomm.{dataset}"]
    columns = columns_of(contract)
    read = [{column.name: told(column, row) for column in columns} for row in Reader(sandbox).rows(dataset)]
    window = window_of(dataset) if contract.time_column else None
    true = [{column.name: row[column.name] for column in columns} for row in truth(sandbox.context, dataset, window)]
    assert sorted(map(canonical_row, true)) == sorted(map(canonical_row, read))
    assert len(true) >= 3


@pytest.mark.parametrize("dataset", ROOM.datasets)
def test_truth_has_exactly_the_columns_and_types_of_the_contract(sandbox: Running, dataset: str) -> None:
    contract = load_contracts(INCLUDE, "omnicomm")[f"omnicomm.{dataset}"]
    rows = truth(sandbox.context, dataset, ONE_DAY if contract.time_column else None)
    assert len(rows) >= 2
    kinds: dict[str, Any] = {
        "text": str,
        "bigint": int,
        "integer": int,
        "double precision": (int, float),
        "boolean": bool,
        "timestamptz": dt.datetime,
        "date": dt.date,
        "jsonb": (dict, list, int),
    }
    for row in rows:
        assert row.keys() == {column.name for column in contract.columns}
        for column in contract.columns:
            value = row[column.name]
            if value is None:
                assert not column.required, column.name
                continue
            assert isinstance(value, kinds[column.type]), (column.name, value)
            if column.type in ("bigint", "double precision", "integer"):
                assert not isinstance(value, bool), column.name
            if column.type == "double precision":
                assert round(value, 6) == pytest.approx(value, rel=1e-12), column.name
            if column.maximum is not None:
                assert value <= column.maximum, column.name
            if column.minimum is not None:
                assert value >= column.minimum, column.name
    keys = [tuple(str(row[column.name]) for column in contract.columns if column.is_key) for row in rows]
    assert len(set(keys)) == len(keys)
    if contract.time_column:
        assert all(row[contract.time_column] in ONE_DAY for row in rows)


def test_tree_is_flattened_to_one_row_per_vehicle_with_all_its_groups(tmp_path: Path) -> None:
    context = Context.of(_settings(tmp_path, trucks=8))
    rows = {row["terminal_id"]: row for row in truth(context, "vehicle", None)}
    assert len(rows) == 8
    assert rows[202_000_001]["group_names"] == ["Fleet A", "Depot 1"]
    assert rows[202_000_008]["group_names"] == ["Depot 2", "Depot 2"]
    assert len(set(rows[202_000_008]["group_ids"])) == 2
    assert not rows[202_000_008]["is_receiving_data"]
    groups = {row["group_id"]: row for row in truth(context, "vehicle_group", None)}
    for row in rows.values():
        assert [groups[number]["name"] for number in row["group_ids"]] == row["group_names"]
    empty = next(row for row in groups.values() if row["name"] == "Empty yard")
    assert empty["vehicles_count"] == 0


def test_windows_add_up_to_the_whole_for_events_visits_and_days(sandbox: Running) -> None:
    for dataset in ("event", "geofence_visit", "consolidated_report"):
        parts = [row for day in TWO_DAYS.days() for row in truth(sandbox.context, dataset, day)]
        assert sorted(map(canonical_row, parts)) == sorted(map(canonical_row, truth(sandbox.context, dataset))), dataset


def test_second_customer_has_its_own_vehicles_and_data(sandbox: Running) -> None:
    rows = truth(sandbox.context, "vehicle", None, "other")
    assert [row["terminal_id"] for row in rows] == [202_500_001, 202_500_002, 202_500_003]
    assert {row["terminal_id"] for row in truth(sandbox.context, "track_point", customer="other")} == {
        row["terminal_id"] for row in rows
    }


def test_poisoned_vehicles_are_in_the_tree_and_in_no_report(tmp_path: Path) -> None:
    context = Context.of(_settings(tmp_path, assume={"poisoned": "202000002, 202000003"}))
    assert len(truth(context, "vehicle", None)) == 3
    for dataset in ("consolidated_report", "statistics", "track_point", "event", "fuel_level", "vehicle_state"):
        assert {row["terminal_id"] for row in truth(context, dataset, ONE_DAY)} == {202_000_001}, dataset


def test_unverified_lists_are_empty_by_default(tmp_path: Path) -> None:
    context = Context.of(_settings(tmp_path, assume={"unverified": False}))
    assert all(truth(context, dataset) == [] for dataset in UNVERIFIED)


def test_recalculation_changes_a_past_report_and_nothing_else(tmp_path: Path) -> None:
    before = Context.of(_settings(tmp_path, trucks=1))
    after = Context.of(_settings(tmp_path, trucks=1, assume={"recalculated_until": "2026-11-18"}))
    old, new = truth(before, "consolidated_report"), truth(after, "consolidated_report")
    grown = [(a["report_day"].day, b["distance_m"] - a["distance_m"]) for a, b in zip(old, new, strict=True)]
    assert all(change > 0 for day, change in grown if day == 17)
    assert all(change == 0 for day, change in grown if day == 18)
    assert [row["fuel_used_l"] for row in old] == [row["fuel_used_l"] for row in new]


def test_what_is_uploaded_late_appears_when_it_is_received_and_completes_the_report(tmp_path: Path) -> None:
    trucks = Park(Context.of(_settings(tmp_path))).trucks("trucks")
    truck, late, day = next(
        (truck, late, day)
        for day in range(20_775, 20_600, -1)
        for truck in trucks
        if (late := truck.vehicle.late(day)) and late.received > (day + 1) * DAY_S
    )
    window = Window(moment(day * DAY_S), moment((day + 1) * DAY_S))
    points, reports = [], []
    for now in (late.received - 30, late.received + 120):
        context = Context.of(_settings(tmp_path, as_of=moment(now)))
        for rows, dataset in ((points, "track_point"), (reports, "consolidated_report")):
            rows.append([row for row in truth(context, dataset, window) if row["terminal_id"] == truck.terminal_id])
    assert len(points[0]) < len(points[1])
    (early,), (final,) = reports
    assert early["moving_time_s"] < final["moving_time_s"]
    assert early["engine_run_time_s"] + early["engine_off_time_s"] < DAY_S
    assert final["engine_run_time_s"] + final["engine_off_time_s"] == DAY_S
    assert early["distance_m"] <= final["distance_m"]


def test_nothing_is_true_that_lies_after_the_clock(tmp_path: Path) -> None:
    context = Context.of(_settings(tmp_path, trucks=2, as_of=dt.datetime(2026, 11, 18, 9, tzinfo=dt.UTC)))
    now = context.clock.now()
    for dataset, column in (("track_point", "event_time"), ("event", "event_time"), ("fuel_level", "event_time")):
        assert max(row[column] for row in truth(context, dataset)) <= now
    today = [row for row in truth(context, "consolidated_report") if row["report_day"].day == 18]
    assert all(row["engine_run_time_s"] + row["engine_off_time_s"] <= 9 * 3600 for row in today)


def test_unknown_dataset_and_customer_are_named(sandbox: Running) -> None:
    with pytest.raises(ConfigError, match="no Omnicomm dataset 'tracks'"):
        ROOM.truth(sandbox.context, "tracks", None, None)
    with pytest.raises(ConfigError, match="no Omnicomm customer 'nobody'"):
        ROOM.truth(sandbox.context, "vehicle", None, "nobody")


def test_same_seed_same_rows_and_another_seed_others(tmp_path: Path) -> None:
    first = truth(Context.of(_settings(tmp_path, trucks=1)), "fuel_level")
    again = truth(Context.of(_settings(tmp_path, trucks=1)), "fuel_level")
    other = truth(Context.of(_settings(tmp_path, trucks=1, seed=8)), "fuel_level")
    assert first == again
    assert first != other
