"""The faults, played against both sides. Each function yields one ``Figures`` per side and configuration."""

from __future__ import annotations

import datetime as dt
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleetlake.window import DAY, Window, utc

from .field import FIRST, INCLUDE, Field, Figures, Table, compare, ended

WAYS = ("replace the days read", "upsert by key", "scd2 over the days read")
LIES = ("short_page", "empty_page", "truncated_body", "error_body", "reordered_page", "repeated_page")
TRIPS, POSITIONS = "powunity.trip", "powunity.position"
FEEDS: Mapping[str, dict[str, str]] = {
    TRIPS: {"name": "trips", "path": "/reports/trips", "key": "startTime"},
    POSITIONS: {"name": "positions", "path": "/positions", "key": "id"},
}
TRIP = ("device_id", "start_time", "end_time", "distance_m")
POSITION = ("position_id",)


@dataclass
class Side:
    """One side in one scenario, with stores of its own.

    Attributes:
        field: the playing field.
        name: ``fleetlake`` or ``dlt``.
        way: how it is configured.
        more: further settings of the peer.
        exits: how its processes ended.
        runs: how many were asked for.
        copy_of: start with the stores of another side.
    """

    field: Field
    name: str
    way: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    exits: list[str] = field(default_factory=list)
    runs: int = 0
    copy_of: Side | None = None

    def __post_init__(self) -> None:
        self.stores = self.field.name(self.name)
        self.home = self.field.folder / self.stores
        if self.copy_of is None:
            self.dataset = self.stores
            self.home.mkdir()
            self.warehouse = self.field.database(self.stores)
        else:
            self.dataset = self.copy_of.dataset
            shutil.copytree(self.copy_of.home, self.home)
            self.field.copy(self.copy_of.stores, self.stores)
            self.warehouse = self.field.database(self.stores)
        self.credentials = self.field.peer_credentials(self.stores)

    def copy(self) -> Side:
        """Another one that stands where this one stands now."""
        return Side(self.field, self.name, self.way, self.more, list(self.exits), self.runs, self)

    # --- bikes ----------------------------------------------------------------------------------------------------------

    def bikes(self, tables: Sequence[str], start: dt.date, end: dt.date, *, nightly: bool = False) -> dict[str, Any]:
        """What to say to a process that loads positions or trips of some days."""
        login = self.field.sandbox.customers["powunity"]["north"]
        url = self.field.sandbox.urls["powunity"]
        self.runs += 1
        if self.name == "fleetlake":
            return {
                **self._ours("powunity", "north", start, end),
                "task": "load", "entity": "devices", "feeds": [FEEDS[table]["name"] for table in tables],
                "datasets": list(tables),
                "connection": {"base_url": url, "email": login["email"], "password": login["password"]},
                "mode": "stream" if nightly else "window", "force": not nightly,
            }  # fmt: skip
        return {
            **self._theirs(start, end), "task": "days", "url": url, "email": login["email"], "password": login["password"],
            "tables": [FEEDS[table] for table in tables], "window": not nightly, "lag": 0, **self.more,
        }  # fmt: skip

    def table(self, table: str) -> Table:
        """What its users see."""
        key = 2 if table == TRIPS else 1
        if self.name == "fleetlake":
            columns = ", ".join(TRIP if table == TRIPS else POSITION)
            return self.field.query(self.stores, f"SELECT {columns} FROM {table} WHERE deleted_at IS NULL", key)
        current = ' WHERE "_dlt_valid_to" IS NULL' if self.way.startswith("scd2") else ""
        columns = "device_id, start_time, end_time, distance" if table == TRIPS else "id"
        return self.field.query(self.stores, f'SELECT {columns} FROM "{self.dataset}".{FEEDS[table]["name"]}{current}', key)

    # --- RCS ------------------------------------------------------------------------------------------------------------

    def rcs(self, start: dt.date, end: dt.date, **changes: Any) -> dict[str, Any]:
        """What to say to a process that reads from RCS."""
        url, login = self.field.sandbox.urls["rcs"], self.field.sandbox.customers["rcs"]["main"]
        self.runs += 1
        if self.name == "fleetlake":
            connection = {"base_url": url, **login}
            if "take" in changes:
                connection |= {"take": changes["take"], "max_take": 1000}
            return {
                **self._ours("rcs", "main", start, end),
                "entity": "vehicles", "feeds": ["telemetry"], "datasets": ["rcs.telemetry"], "mode": "window",
                "connection": connection, **changes,
            }  # fmt: skip
        last = utc(end) - dt.timedelta(seconds=1)
        return {
            **self._theirs(start, end), "url": url, "cert": login["cert"], "key_file": login["key"], "ca": login["ca"],
            **changes, "start": f"{start}T00:00:00", "end": f"{last:%Y-%m-%dT%H:%M:%S}", **self.more,
        }  # fmt: skip

    def rows_of(self, ours: str, theirs: str) -> Table:
        """Rows by key."""
        if self.name == "fleetlake":
            return self.field.query(self.stores, ours, 1)
        return self.field.query(self.stores, theirs.replace("rows", f'"{self.dataset}".rows'), 1)

    # --- both -----------------------------------------------------------------------------------------------------------

    def _ours(self, vendor: str, account: str, start: dt.date, end: dt.date) -> dict[str, Any]:
        return {
            "home": str(self.home), "include": str(INCLUDE), "warehouse": self.warehouse, "vendor": vendor, "account": account,
            "run_id": f"run {self.runs}", "start": f"{start}", "end": f"{end}",
        }  # fmt: skip

    def _theirs(self, start: dt.date, end: dt.date) -> dict[str, Any]:
        return {
            "home": str(self.home), "dataset": self.dataset, "postgres": self.credentials, "way": self.way,
            "start": f"{start}", "end": f"{end}",
        }  # fmt: skip

    def run(self, asked: dict[str, Any]) -> None:
        """One run to its end."""
        self.exits.append(self.field.run(self.name, asked))

    def figures(self, scenario: str, vendor: str, truth: Table, found: Table, note: str = "") -> Figures:
        """Count."""
        return Figures(
            scenario, self.name, self.way, self.exits, self.field.requests(vendor), note=note, **compare(truth, found)
        )


def sides(field: Field, ways: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Side]:
    """Ours, then the peer in each configuration."""
    yield Side(field, "fleetlake")
    if field.peer:
        for way, more in ways:
            yield Side(field, "dlt", way, more)


# --- the scenarios --------------------------------------------------------------------------------------------------------


def killed_at_page_60(field: Field, *, pages: int = 100, kill_at: int = 60) -> Iterator[Figures]:
    """A read of a hundred pages by revision, killed at page 60, and run again."""
    end = FIRST + 4 * DAY
    window = Window(utc(end - 7 * DAY), utc(end))
    field.at(end)
    rows = field.truth("rcs.telemetry", window, ("vehicle_id", "revision"), 1)
    [((vehicle,), _)] = Counter(key for key, _ in rows).most_common(1)
    truth = field.truth("rcs.telemetry", window, ("revision",), 1, vehicle_id=vehicle)
    take = math.ceil(len(truth) / (pages - 1)) + 1  # the first row of a page is the last of the one before
    for side in sides(field, [("one run", {"chunk": 0}), ("chunks of 10 pages", {"chunk": 10})]):

        def asked(side: Side = side) -> dict[str, Any]:
            made = side.rcs(end - 7 * DAY, end, task="telemetry", take=take, vehicle=vehicle)
            return made if side.name == "dlt" else {**made, "task": "load", "vehicles": [vehicle], "run_id": "one"}

        def seen() -> int:
            return sum("/telemetry/history/" in entry["path"] for entry in field.sandbox.log("rcs"))

        field.sandbox.clear_log()
        fault = f"slow:vendor=rcs,path=/telemetry/history/*,skip={kill_at},seconds=60,count=1"
        with field.sandbox.faults(fault):
            side.exits.append(field.run_until(side.name, asked(), lambda: seen() >= kill_at))
        side.run(asked())
        found = side.rows_of("SELECT revision FROM rcs.telemetry WHERE deleted_at IS NULL", "SELECT revision FROM rows")
        clean = math.ceil((len(truth) - 1) / (take - 1)) + 1
        note = f"{seen()} pages read, {clean} needed"
        yield side.figures("killed at page 60 of 100, run again", "rcs", truth, found, note)


def late_rows(field: Field, *, nights: int = 5) -> Iterator[Figures]:
    """Ninety positions of three bikes arrive three days late; nightly runs with no knowledge of it."""
    lags = ((0, "no lag"), (1, "lag 1 day"), (7, "lag 7 days"))
    for side in sides(field, [(WAYS[0], {"lag": lag, "label": label}) for lag, label in lags]):
        field.sandbox.clear_log()
        for night in range(nights):
            today = FIRST + (night + 1) * DAY
            field.at(today)
            asked = side.bikes((POSITIONS, TRIPS), today - DAY if side.name == "fleetlake" else FIRST, today, nightly=True)
            side.run({**asked, "now": str(utc(today))})
        window = Window(utc(FIRST), utc(FIRST + nights * DAY))
        for table, columns, key in ((POSITIONS, POSITION, 1), (TRIPS, TRIP, 2)):
            what = f"90 positions three days late, {nights} nights: {FEEDS[table]['name']}"
            figures = side.figures(what, "powunity", field.truth(table, window, columns, key), side.table(table))
            if side.more:
                figures.way = f"{side.way}, {side.more['label']}"
            yield figures


def lies(field: Field, *, kinds: Sequence[str] = LIES) -> Iterator[Figures]:
    """Three days of trips; then three are gone, three new, three changed, and the vendor answers wrongly; then rightly."""
    window = Window(utc(FIRST), utc(FIRST + 3 * DAY))
    for first in sides(field, [(way, {}) for way in WAYS]):
        field.at(FIRST + 3 * DAY)
        first.run(first.bikes((TRIPS,), FIRST, FIRST + 3 * DAY))
        before = {key for key, _ in field.truth(TRIPS, window, TRIP, 2)}
        field.at(FIRST + 4 * DAY)
        truth = field.truth(TRIPS, window, TRIP, 2)
        after = {key for key, _ in truth}
        gone, kept = before - after, before & after
        for kind in (*kinds, ""):
            side = first.copy()
            field.sandbox.clear_log()
            fault = [f"{kind}:vendor=powunity,path=*/reports/trips"] if kind else []
            with field.sandbox.faults(*fault):
                side.run(side.bikes((TRIPS,), FIRST, FIRST + 3 * DAY))
            found = side.table(TRIPS)
            keys = {key for key, _ in found}
            note = f"{len(kept - keys)} wrongly deleted; {len(gone - keys)} of {len(gone)} true deletions seen"
            figures = side.figures(
                f"the vendor lies: {kind}" if kind else "the vendor answers rightly", "powunity", truth, found, note
            )
            figures.exits = figures.exits[1:]
            yield figures


def odd_rows(field: Field) -> Iterator[Figures]:
    """One row in a hundred has a word where a number belongs."""
    window = Window(utc(FIRST), utc(FIRST + 3 * DAY))
    field.at(FIRST + 4 * DAY)
    truth = field.truth(POSITIONS, window, POSITION, 1)
    contract = {"columns": "evolve", "data_type": "discard_row", "tables": "evolve"}
    frozen = {"columns": "evolve", "data_type": "freeze", "tables": "evolve"}
    ways: list[tuple[str, Mapping[str, Any]]] = [
        ("upsert by key", {"label": "schema evolves"}),
        ("upsert by key", {"label": "contract discard_row", "contract": contract}),
        ("upsert by key", {"label": "contract freeze", "contract": frozen}),
    ]
    for side in sides(field, ways):
        # A day without the fault teaches the schema: a contract that is made from the first bad row would be none.
        side.run(side.bikes((POSITIONS,), FIRST - DAY, FIRST))
        field.sandbox.clear_log()
        with field.sandbox.faults("odd_rows:vendor=powunity,path=*/positions"):
            side.run(side.bikes((POSITIONS,), FIRST, FIRST + 3 * DAY))
        found = side.table(POSITIONS)
        keys = {key for key, _ in truth}
        found = type(found)({item: count for item, count in found.items() if item[0] in keys})
        figures = side.figures("1 % of the rows hold a word for a number", "powunity", truth, found, aside(field, side))
        if side.more:
            figures.way = f"{side.way}, {side.more['label']}"
        yield figures


def aside(field: Field, side: Side) -> str:
    """What became of the odd rows."""
    if side.name == "fleetlake":
        [[count]] = sql(field, side, "SELECT count(*) FROM ops.quarantine WHERE resolved_at IS NULL")
        return f"{count} kept aside with reason and bytes, loaded when the contract is mended"
    columns = sql(
        field, side,
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'positions'"
        f" AND table_schema = '{side.dataset}' AND column_name LIKE '%\\_\\_v\\_%'",
    )  # fmt: skip
    if not columns:
        return "none kept"
    [[count]] = sql(field, side, f'SELECT count(*) FROM "{side.dataset}".positions WHERE "{columns[0][0]}" IS NOT NULL')
    return f"{count} values kept in a column of their own, {columns[0][0]}"


def sql(field: Field, side: Side, statement: str) -> list[Any]:
    """Ask a side's database."""
    with field.connect(side.stores) as connection:
        return connection.execute(statement).fetchall()


def repeated(field: Field) -> Iterator[Figures]:
    """The same three days are loaded twice."""
    window = Window(utc(FIRST), utc(FIRST + 3 * DAY))
    field.at(FIRST + 4 * DAY)
    truth = field.truth(TRIPS, window, TRIP, 2)
    for side in sides(field, [(way, {}) for way in WAYS]):
        field.sandbox.clear_log()
        for _ in range(2):
            side.run(side.bikes((TRIPS,), FIRST, FIRST + 3 * DAY))
        yield side.figures("the same days loaded twice", "powunity", truth, side.table(TRIPS))


def two_workers(field: Field, *, rounds: int = 2) -> Iterator[Figures]:
    """Two workers load the same days at the same moment, each from a disk of its own."""
    window = Window(utc(FIRST), utc(FIRST + 3 * DAY))
    field.at(FIRST + 4 * DAY)
    truth = field.truth(TRIPS, window, TRIP, 2)
    for side in sides(field, [(WAYS[0], {}), (WAYS[1], {})]):
        field.sandbox.clear_log()
        for _ in range(rounds):
            asked = side.bikes((TRIPS,), FIRST, FIRST + 3 * DAY)
            second = {**asked, "home": f"{asked['home']}/second"} if side.name == "dlt" else asked
            side.exits += map(ended, [field.start(side.name, asked), field.start(side.name, second)])
        note = f"{side.exits.count('1')} of {len(side.exits)} runs failed"
        yield side.figures("two workers on the same days", "powunity", truth, side.table(TRIPS), note)


def job_killed(field: Field) -> Iterator[Figures]:
    """A report that the vendor prepares; the process is killed after the request, or while it waits."""
    day, end = FIRST, FIRST + 4 * DAY
    field.at(end)
    truth = field.truth("rcs.health_report", Window(utc(day), utc(end)), ("report_id",), 1)
    for moment in ("after the request", "while it waits"):
        for side in sides(field, [("one step", {}), ("two steps", {})]):
            field.sandbox.clear_log()

            def asked(die: str = "", side: Side = side) -> dict[str, Any]:
                return {**side.rcs(day, end, task="job"), "die": die, "run_id": "one"}

            if moment == "after the request":
                side.exits.append(field.run(side.name, asked(moment)))
            else:
                with field.sandbox.faults("slow:vendor=rcs,path=/vehicle-health/reports/*,skip=1,seconds=60,count=1"):
                    side.exits.append(field.run_until(side.name, asked(), lambda: bool(polls(field))))
            side.run(asked())
            posts = sum(entry["method"] == "POST" for entry in field.sandbox.log("rcs"))
            found = side.rows_of("SELECT report_id FROM rcs.health_report", "SELECT report_id FROM rows")
            yield side.figures(f"job killed {moment}", "rcs", truth, found, f"{posts} reports asked for")


def polls(field: Field) -> list[Any]:
    """Polls of reports that were answered."""
    return [
        entry
        for entry in field.sandbox.log("rcs")
        if entry["method"] == "GET" and "/vehicle-health/reports/" in entry["path"]
    ]


SCENARIOS: Mapping[str, Callable[..., Iterator[Figures]]] = {
    "killed": killed_at_page_60,
    "late": late_rows,
    "lies": lies,
    "odd": odd_rows,
    "repeated": repeated,
    "workers": two_workers,
    "job": job_killed,
}
