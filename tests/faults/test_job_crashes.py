"""A process that asks for a report is killed (SIGKILL) at each moment: one request at the vendor, nothing left behind.

Without Airflow; `test_report_crashes.py` kills Airflow's worker and trigger at the same moments.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fleetlake.accounts import Account
from fleetlake.canonical import Digest
from fleetlake.contracts import load_contracts
from fleetlake.lake import Lake
from fleetlake.pipeline import Pipeline, Run
from fleetlake.pipeline.job_table import OPEN
from fleetlake.reading import Lane
from fleetlake.sandbox.rooms import room
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.testing import running
from fleetlake.settings import Settings
from fleetlake.vendors.rcs.client import RcsClient
from fleetlake.vendors.rcs.config import RcsConfig
from fleetlake.vendors.rcs.source import RcsSource
from fleetlake.warehouse import Warehouse
from fleetlake.window import Window

pytestmark = pytest.mark.timeout(600)

SCRIPT = Path(__file__).with_name("run_health_report.py")
AS_OF = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
TABLES = ["rcs.health_report", "rcs.trouble"]

# The six moments of a report's life; the last two at several places each. How often the vendor is asked in all.
MOMENTS = {
    "before the intent": 1,
    "intended, not sent": 1,
    "sent, token not stored": 1,
    "token stored, nobody waits": 1,
    "during a poll": 1,
    "home, not published": 1,
    "in the lake, not in the warehouse": 1,
    "published, job not closed": 1,
    "job closed, nobody told": 1,
}


class Place:
    """A sandbox, a warehouse, and processes that work on them."""

    def __init__(self, folder, sandbox, warehouse_url):
        self.sandbox = sandbox
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "FLEETLAKE"))}
        config = {"base_url": sandbox.urls["rcs"], **sandbox.customers["rcs"]["main"]}
        self.env = clean | {
            "FLEETLAKE_HOME": str(folder / "fleetlake"),
            "FLEETLAKE_WAREHOUSE_URL": warehouse_url,
            "RCS_CONFIG": json.dumps(config),
        }
        self.settings = Settings.from_env(self.env)
        self.warehouse = Warehouse(warehouse_url)
        self.lake = Lake(self.settings.lake_url)
        self.contracts = load_contracts(self.settings.include)
        account = Account(name="main", vendor="rcs", conn_id="rcs_default")
        run = Run(account=account, dag_id="vehicles", run_id="once", window=Window.day("2026-11-01"), lane=Lane.SCHEDULED)
        with Pipeline(self.settings, account, lambda: RcsSource(RcsClient(RcsConfig(**config)))) as pipeline:
            pipeline.plan(run, entity_feed="vehicles", feeds=[])

    def start(self, day, moment="never"):
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), moment, str(day)],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, day, moment="never"):
        process = self.start(day, moment)
        out, err = process.communicate(timeout=200)
        return process.returncode, out, err

    def succeed(self, day):
        code, out, err = self.run(day)
        assert code == 0, err[-6000:]
        return json.loads(out.splitlines()[-1])

    def posts(self, day):
        """Reports asked for about a day, by the sandbox's log."""
        return [
            entry
            for entry in self.sandbox.log("rcs")
            if entry["method"] == "POST" and f"from={day}T" in entry["query"].replace("%3A", ":")
        ]

    def sql(self, query):
        return list(self.warehouse.query(query)[1])

    def jobs(self, day):
        return self.sql(f"SELECT state, posts, token IS NOT NULL FROM ops.job WHERE window_start = '{day}' ORDER BY job_id")

    def assert_whole(self, day, *, without_report=False):
        """Truth is in both stores, both tables are proven, no job is open, no report is fetched and not published."""
        window = Window.day(day)
        for table in TABLES:
            contract = self.contracts[table]
            # The VIN of a report's vehicle is told by the overview only; `rcs.vehicle` has it all the same.
            names = [column.name for column in contract.columns if not (without_report and column.name == "vin")]
            truth = [
                {name: row[name] for name in names}
                for row in room("rcs").truth(self.sandbox.context, contract.name, window, "main")
            ]
            assert truth, "a day without rows proves nothing"
            for store in (self.warehouse, self.lake):
                rows = [{name: row[name] for name in names} for row in store.rows(contract, window=window)]
                assert Digest.of(rows) == Digest.of(truth), (table, store)
        vehicles = [row[0] for row in self.sql("SELECT vehicle_id::text FROM rcs.vehicle WHERE deleted_at IS NULL")]
        assert not self.warehouse.missing("main", "rcs.health_report", ["_fleet"], window)
        assert not self.warehouse.missing("main", "rcs.trouble", vehicles, window)
        states = ", ".join(f"'{stage.value}'" for stage in OPEN)
        assert self.sql(f"SELECT count(*) FROM ops.job WHERE window_start = '{day}' AND state IN ({states})") == [(0,)]
        home = {key for key in self.reports_at_home() if f"{day:%Y%m%d}" in key or str(day) in key}
        published = {
            row[0] for row in self.sql("SELECT folder FROM ops.read WHERE feed = 'health_overview' AND is_complete")
        }
        assert home <= published

    def reports_at_home(self):
        """Folders of the raw store that hold an overview."""
        root = Path(self.settings.raw_url)
        pages = [path for path in root.rglob("*.page") if "health_overview" in str(path)]
        return {str(path.parent.relative_to(root)) for path in pages}


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_database):
    folder = tmp_path_factory.mktemp("jobs")
    settings = SandboxSettings(
        state_dir=folder / "sandbox",
        as_of=AS_OF,
        vehicles=6,
        assumptions={"rcs.requests_per_second": 0, "rcs.task_seconds": 0.3},
        rooms=("rcs",),
    )
    with running(settings) as sandbox:
        made = Place(folder, sandbox, make_database(migrated=True))
        yield made
        made.warehouse.close()


@pytest.mark.parametrize(("number", "moment"), list(enumerate(MOMENTS, 1)), ids=list(MOMENTS))
def test_killed_at_a_moment_of_the_reports_life_the_vendor_is_asked_once(place, number, moment):
    day = dt.date(2026, 11, number)
    code, _, err = place.run(day, moment)
    assert code == -signal.SIGKILL, err[-3000:]
    place.succeed(day)
    print(f"\nkilled {moment!r}: {len(place.posts(day))} POST, job {place.jobs(day)}")
    assert len(place.posts(day)) == MOMENTS[moment]
    is_unknown = moment == "sent, token not stored"
    assert place.jobs(day) == [("abandoned", 1, False) if is_unknown else ("collected", 1, True)]
    place.assert_whole(day, without_report=is_unknown)


def test_killed_between_the_note_that_it_is_sending_and_the_request_the_vendor_is_not_asked_at_all(place):
    # Indistinguishable from a request whose answer was lost, so it is treated as one: better no request than two.
    day = dt.date(2026, 11, 10)
    code, _, err = place.run(day, "about to send")
    assert code == -signal.SIGKILL, err[-3000:]
    place.succeed(day)
    assert place.posts(day) == []
    assert place.jobs(day) == [("abandoned", 1, False)]
    place.assert_whole(day, without_report=True)


def test_two_processes_on_the_same_run_ask_once(place):
    day = dt.date(2026, 11, 11)
    with place.sandbox.faults("slow:vendor=rcs,method=POST,seconds=2"):
        processes = [place.start(day) for _ in range(2)]
        for process in processes:
            _, err = process.communicate(timeout=200)
            assert process.returncode == 0, err[-6000:]
    assert len(place.posts(day)) == 1
    assert place.jobs(day) == [("collected", 1, True)]
    place.assert_whole(day)


def test_killed_again_and_again_through_a_whole_life_the_vendor_is_asked_once(place):
    day = dt.date(2026, 11, 12)
    for moment in ("intended, not sent", "during a poll", "in the lake, not in the warehouse", "job closed, nobody told"):
        code, _, err = place.run(day, moment)
        assert code == -signal.SIGKILL, err[-3000:]
    place.succeed(day)
    assert len(place.posts(day)) == 1
    assert place.jobs(day) == [("collected", 1, True)]
    place.assert_whole(day)


def test_a_job_nobody_comes_back_for_is_reaped_and_its_report_published_or_its_window_a_hole(place):
    home, asked, sending = dt.date(2026, 11, 15), dt.date(2026, 11, 16), dt.date(2026, 11, 17)
    for day, moment in (
        (home, "home, not published"),
        (asked, "token stored, nobody waits"),
        (sending, "sent, token not stored"),
    ):
        assert place.run(day, moment)[0] == -signal.SIGKILL
    account = Account(name="main", vendor="rcs", conn_id="rcs_default")
    config = RcsConfig(**json.loads(place.env["RCS_CONFIG"]))
    with Pipeline(place.settings, account, lambda: RcsSource(RcsClient(config))) as pipeline:
        assert pipeline.reap_jobs() == [], "they are young: somebody may still come back"
        with place.warehouse.session() as connection:
            connection.execute(
                "UPDATE ops.job SET intended_at = intended_at - interval '1 hour', sending_at = sending_at - interval '1 hour',"
                " asked_at = asked_at - interval '1 hour' WHERE ended_at IS NULL"
            )
            connection.commit()
        reaped = pipeline.reap_jobs()
        assert [job.stage.value for job in reaped] == ["collected", "lost", "abandoned"]
        assert pipeline.reap_jobs() == []
    holes = place.sql(
        "SELECT DISTINCT window_start::date, dataset FROM ops.coverage WHERE state = 'failed' AND dataset LIKE 'rcs.%'"
    )
    assert set(holes) == {(day, table) for day in (asked, sending) for table in TABLES}
    assert not place.warehouse.missing("main", "rcs.health_report", ["_fleet"], Window.day(home))
    for day in (home, asked, sending):  # the run goes on all the same, if somebody clears or retries it
        place.succeed(day)
        place.assert_whole(day, without_report=day == sending)
