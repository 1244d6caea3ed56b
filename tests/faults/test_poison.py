"""One row in a hundred is odd: the others are in time, and when the contract is mended the odd ones follow by themselves."""

from __future__ import annotations

import http.server
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import requests
import yaml
from fleetlake import cli
from fleetlake.canonical import Digest, canonical_row
from fleetlake.contracts import load_contracts
from fleetlake.errors import BatchHeld
from fleetlake.pipeline.redrive import redrive
from fleetlake.pipeline.verify import verify
from fleetlake.sandbox.rooms import room
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import PowUnityConfig
from fleetlake.vendors.powunity.source import PowUnitySource
from fleetlake.window import Window

DAY = "2026-11-20"
TABLE = "powunity.position"
REDRIVE = """
import json, sys
from dataclasses import replace
from pathlib import Path
from fleetlake.accounts import Account
from fleetlake.pipeline.redrive import redrive
from fleetlake.settings import Settings
account = Account(name="north", vendor="powunity", conn_id="powunity_default")
print("begun", flush=True)
print(json.dumps(redrive(Settings.from_env(), account).as_dict()), flush=True)
"""


class Rewriter:
    """A proxy before the vendor that changes rows of JSON answers on their way: ``change(path, row)``."""

    def __init__(self, target):
        self.change = lambda path, row: row
        self.requests = 0
        rewriter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.relay(None)

            def do_POST(self):
                self.relay(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def relay(self, body):
                rewriter.requests += 1
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
                answer = requests.request(
                    self.command, target + self.path, data=body, headers=headers, timeout=30, allow_redirects=False
                )
                content = answer.content
                if answer.ok and self.command == "GET" and content[:1] == b"[":
                    rows = [rewriter.change(self.path, row) for row in json.loads(content)]
                    content = json.dumps(rows, separators=(",", ":")).encode()
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name.lower() not in ("content-length", "content-encoding", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                """Quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def poisoned(place):
    """The place behind a rewriter: of the positions every hundredth has a negative odometer or a time without zone."""
    rewriter = Rewriter(place.sandbox.urls["powunity"])
    customer = place.sandbox.customers["powunity"]["north"]

    def source():
        config = PowUnityConfig(
            base_url=rewriter.url, email=customer["email"], password=customer["password"], rate_per_s=100, burst=20
        )
        return PowUnitySource(PowUnityClient(config))

    place.powunity_source = source
    place.rewriter = rewriter
    yield place
    rewriter.close()


def is_poisoned(position_id):
    return position_id % 100 == 7


def poison(path, row):
    if "/positions" in path and "fixTime" in row and is_poisoned(row["id"]):
        if row["id"] % 200 == 7:
            row["attributes"]["totalDistance"] = -5.0
        else:
            row["deviceTime"] = row["deviceTime"].partition("+")[0].removesuffix("Z")
    return row


def mended(place, tmp_path, name="mended", version="1.1.0", **changes):
    """The place with a copy of the include folder in which the contract of positions is changed."""
    include = tmp_path / name
    shutil.copytree(place.settings.include, include)
    path = include / "contracts" / f"{TABLE.replace('.', '/')}.yaml"
    data = yaml.safe_load(path.read_text())
    columns = {item["name"]: item for item in data["schema"][0]["properties"]}
    if version:
        data["version"] = version
    for column, edit in changes.items():
        edit(columns[column])
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    place.settings = replace(place.settings, include=include)
    place.contracts = load_contracts(include)
    return include


def allow_negative(column):
    column["logicalTypeOptions"]["minimum"] = -10


def read_naive(column):
    column["customProperties"] = [item for item in column["customProperties"] if item["property"] != "read"]
    column["customProperties"].append({"property": "read", "value": "naive"})


def holds(column):
    column["quality"] = [
        {"type": "custom", "engine": "greatExpectations", "name": "severity of this column's checks", "severity": "critical"}
    ]


def load(place, day=DAY, **changes):
    return place.load("powunity", place.run("powunity", day, **changes), ["positions"], "devices")


def truth(place, window, poisoned=True):
    contract = place.contracts[TABLE]
    names = [column.name for column in contract.columns]
    for row in room("powunity").truth(place.sandbox.context, "position", window, "north"):
        kept = {name: row[name] for name in names}
        if poisoned and is_poisoned(row["position_id"]) and row["position_id"] % 200 == 7:
            kept["odometer_m"] = -5.0
            kept["attributes"] = {**kept["attributes"], "totalDistance": -5.0}
        yield kept


def published(place, window):
    contract = place.contracts[TABLE]
    names = [column.name for column in contract.columns]
    return [
        {name: row[name] for name in names} for row in place.warehouse.rows(contract, window=window) if not row["deleted_at"]
    ]


def count(place, condition="true"):
    return place.sql(f"SELECT count(*) FROM ops.quarantine WHERE dataset = '{TABLE}' AND {condition}")[0][0]


def assert_whole(place, window):
    expected = {row["position_id"]: row for row in truth(place, window)}
    for row in published(place, window):
        assert canonical_row(row) == canonical_row(expected[row["position_id"]])
    assert Digest.of(published(place, window)) == Digest.of(truth(place, window))
    assert verify(place.warehouse, place.lake, place.contracts[TABLE]).is_equal
    assert count(place, "resolved_at IS NULL") == 0


def test_one_percent_poison_leaves_the_rest_in_time_and_follows_when_the_contract_is_mended(poisoned, tmp_path):
    place = poisoned
    place.rewriter.change = poison
    window = Window.day(DAY)
    began = time.monotonic()
    assert load(place)[TABLE]["complete"] == 4  # certified: what the vendor has is here, in a table or in quarantine
    seconds = time.monotonic() - began
    rows = list(truth(place, window))
    bad = {row["position_id"] for row in rows if is_poisoned(row["position_id"])}
    good = [row for row in rows if row["position_id"] not in bad]
    assert Digest.of(published(place, window)) == Digest.of(good)
    assert 0.005 < len(bad) / len(rows) < 0.02
    reasons = place.sql(
        f"SELECT check_name, column_name, count(*) FROM ops.quarantine WHERE dataset = '{TABLE}' GROUP BY 1, 2 ORDER BY 1"
    )
    assert [(check, column) for check, column, _ in reasons] == [("range", "odometer_m"), ("type", "device_time")]
    assert sum(number for *_, number in reasons) == len(bad)

    unchanged = redrive(place.settings, place.accounts["powunity"])
    assert (unchanged.loads, unchanged.still) == (0, 0)  # the same reading: nothing is tried
    asked = place.rewriter.requests
    mended(place, tmp_path, odometer_m=allow_negative)
    half = redrive(place.settings, place.accounts["powunity"])
    assert (half.taken, half.still) == (reasons[0][2], reasons[1][2])
    assert redrive(place.settings, place.accounts["powunity"]).loads == 0  # what failed again rests
    mended(place, tmp_path, "mended again", version=None, device_time=read_naive)
    began = time.monotonic()
    rest = redrive(place.settings, place.accounts["powunity"])
    print(
        f"\n{len(rows)} positions, {len(bad)} of them poison: {len(good)} ({len(good) / len(rows):.1%}) published in"
        f" {seconds:.1f} s, {len(bad)} in quarantine; after the contract was mended twice {half.taken} + {rest.taken} taken by"
        f" themselves in {time.monotonic() - began:.1f} s, 100 %, no request to the vendor"
    )
    assert (rest.taken, rest.still, rest.errors) == (reasons[1][2], 0, [])
    assert place.rewriter.requests == asked
    assert_whole(place, window)
    assert redrive(place.settings, place.accounts["powunity"]).loads == 0
    assert count(place, "resolution = 'taken'") == len(bad)


def test_a_newer_version_of_a_row_is_not_replaced_by_the_older_one_from_quarantine(poisoned, tmp_path):
    place = poisoned
    place.rewriter.change = poison
    load(place)
    first = count(place, "resolved_at IS NULL")

    def better(path, row):
        """Later the vendor sends half of the odd rows well, and with another speed."""
        if "fixTime" in row and is_poisoned(row["id"]) and row["id"] % 200 == 7:
            row["speed"] = 77.0
            return row
        return poison(path, row)

    place.rewriter.change = better
    two_days = Window(Window.day("2026-11-19").start, Window.day(DAY).end)
    load(place, run_id="two days", window=two_days, partition=None, force=True)  # another window: the old entries stay open
    assert count(place, "resolved_at IS NULL") > first / 2
    mended(place, tmp_path, odometer_m=allow_negative, device_time=read_naive)
    report = redrive(place.settings, place.accounts["powunity"])
    assert report.still == 0
    assert count(place, "resolved_at IS NULL") == 0
    speeds = dict(
        place.sql(
            "SELECT position_id, speed_kn FROM powunity.position WHERE odometer_m IS DISTINCT FROM -5 AND position_id % 200 = 7"
        )
    )
    assert len(speeds) > 0
    assert set(speeds.values()) == {77.0}
    assert place.sql("SELECT count(*) FROM powunity.position WHERE position_id % 200 = 7 AND odometer_m = -5") == [(0,)]
    assert verify(place.warehouse, place.lake, place.contracts[TABLE]).is_equal


@pytest.mark.parametrize("version", ["1.1.0", None])
def test_a_held_batch_is_released_when_the_contract_is_mended(poisoned, tmp_path, version):
    place = poisoned
    place.rewriter.change = poison
    original = place.settings
    mended(place, tmp_path, "strict", version=None, odometer_m=holds)
    with pytest.raises(BatchHeld):
        load(place)
    assert place.sql(f"SELECT DISTINCT state FROM ops.coverage WHERE dataset = '{TABLE}'") == [("failed",)]
    assert redrive(place.settings, place.accounts["powunity"]).loads == 0
    place.settings = original
    mended(place, tmp_path, version=version, odometer_m=allow_negative, device_time=read_naive)
    report = redrive(place.settings, place.accounts["powunity"])
    assert report.released == report.loads > 0
    assert_whole(place, Window.day(DAY))
    assert place.sql(f"SELECT DISTINCT state FROM ops.coverage WHERE dataset = '{TABLE}'") == [("complete",)]
    states = {state for (state,) in place.sql(f"SELECT DISTINCT state FROM ops.load WHERE dataset = '{TABLE}'")}
    assert states == ({"published", "superseded"} if version else {"published"})
    assert redrive(place.settings, place.accounts["powunity"]).loads == 0
    with place.pipeline("powunity") as pipeline:
        assert pipeline.certify(place.run("powunity", DAY), datasets=[TABLE])[TABLE] == {"complete": 4, "of": 4}


def test_a_re_drive_killed_anywhere_is_finished_by_the_next_and_two_at_once_are_one(poisoned, tmp_path):
    place = poisoned
    place.rewriter.change = poison
    days = ["2026-11-18", "2026-11-19", DAY]
    for day in days:
        load(place, day)
    mended(place, tmp_path, odometer_m=allow_negative, device_time=read_naive)
    environment = os.environ | {
        "FLEETLAKE_HOME": str(place.settings.home),
        "FLEETLAKE_INCLUDE": str(place.settings.include),
        "FLEETLAKE_WAREHOUSE_URL": place.settings.warehouse_url,
        "FLEETLAKE_LAKE_URL": place.settings.lake_url,
        "FLEETLAKE_RAW_URL": place.settings.raw_url,
    }

    def begin():
        process = subprocess.Popen([sys.executable, "-c", REDRIVE], env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "begun\n"
        return process

    instants = random.Random(8)
    killed = 0
    for _ in range(5):
        process = begin()
        try:
            process.wait(instants.uniform(0.5, 9))
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        process.communicate()
    both = [begin(), begin()]
    reports = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    last = redrive(place.settings, place.accounts["powunity"])
    window = Window(Window.day(days[0]).start, Window.day(days[-1]).end)
    print(
        f"\nkilled {killed} of 5 times, then two at once (busy: {[item['is_busy'] for item in reports]}): nothing lost, nothing twice"
    )
    assert last.still == 0
    assert_whole(place, window)


def test_the_terminal_lists_shows_drops_and_retries(poisoned, tmp_path, monkeypatch, capsys):
    place = poisoned
    place.rewriter.change = poison
    load(place)
    for name in ("warehouse", "lake", "raw"):
        monkeypatch.setenv(f"FLEETLAKE_{name.upper()}_URL", getattr(place.settings, f"{name}_url"))
    monkeypatch.setenv("FLEETLAKE_HOME", str(place.settings.home))

    def ask(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(["quarantine", *arguments])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    groups = [json.loads(line) for line in ask("list", "--json")[1].splitlines()]
    assert {(group["check_name"], group["column_name"], group["state"]) for group in groups} == {
        ("range", "odometer_m", "open"),
        ("type", "device_time", "open"),
    }
    assert "odometer_m" in ask("list", "--dataset", TABLE)[1]
    ids = {}
    for line in ask("list", "--entries", "--json")[1].splitlines():
        entry = json.loads(line)
        ids.setdefault(entry["column_name"], []).append(entry["quarantine_id"])
    one = json.loads(ask("show", ids["odometer_m"][0], "--json")[1])
    assert one["raw_row"]["attributes"]["totalDistance"] == -5
    assert "-5" in one["reason"]
    assert one["run_id"] == f"run {DAY}"
    assert ask("show", "nothing")[0] == 2
    assert ask("list", "--dataset", "powunity.positions")[0] == 2
    assert ask("drop", ids["device_time"][0], "--reason", "  ")[0] == 2
    assert ask("drop", ids["device_time"][0][:20], "--reason", "the device is at the workshop")[0] == 0
    dropped = json.loads(ask("show", ids["device_time"][0], "--json")[1])
    assert (dropped["resolution"], dropped["resolution_reason"]) == ("dropped", "the device is at the workshop")
    assert dropped["resolved_by"]
    # The vendor sends the row again: what a person gave up stays so.
    load(place, run_id="again", force=True)
    assert count(place, "resolution = 'dropped' AND resolved_at IS NOT NULL") == 1

    include = mended(place, tmp_path, odometer_m=allow_negative)
    monkeypatch.setenv("FLEETLAKE_INCLUDE", str(include))
    (entry,) = place.sql(
        "SELECT quarantine_id FROM ops.quarantine WHERE column_name = 'odometer_m' AND resolved_at IS NULL LIMIT 1"
    )
    status, out, err = ask("retry", entry[0], "--json")
    reports = {(item["vendor"], item["account"]): item for item in map(json.loads, out.splitlines())}
    assert (status, reports["powunity", "north"]["loads"]) == (0, 1), err
    assert place.sql(f"SELECT resolution FROM ops.quarantine WHERE quarantine_id = '{entry[0]}'") == [("taken",)]
    assert ask("retry", "--account", "north")[0] == 0
    assert count(place, "column_name = 'odometer_m' AND resolved_at IS NULL") == 0
