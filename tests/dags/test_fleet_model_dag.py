"""The DAG of the fleet model: what starts it, how often, and what it hands to the model.

The runs are made by Airflow's own scheduler code from real asset events, in the metadata database of this tier.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import PartitionedAssetTimetable
from fleetlake import fleet
from fleetlake.accounts import load_accounts
from fleetlake.fleet_tables import load_fleet_tables
from fleetlake.operators import ModelOperator
from fleetlake.operators.model import fleet_assets, marker_assets

ROOT = Path(__file__).resolve().parents[2]
TABLES = load_fleet_tables(ROOT / "include")


@pytest.fixture(scope="module")
def bag(airflow_db):
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=ROOT / "dags")


def test_it_listens_to_one_table_of_each_loading_dag_that_feeds_the_model(bag):
    markers = {asset.name for asset in marker_assets(load_accounts(ROOT / "include"))}
    timetable = bag.dags["fleet_model"].timetable
    assert isinstance(timetable, PartitionedAssetTimetable)
    assert {asset.name for asset in timetable.asset_condition.objects} == markers
    sources = {source for table in TABLES.values() for source in table.sources}
    for dag in bag.dags.values():
        announced = {asset.name for task in dag.tasks for asset in task.outlets}
        feeds = {name.partition("@")[0] for name in announced} & sources
        # Lists of vehicles come along with the days: a DAG that loads nothing but those feeds no day.
        if any(name.partition(".")[2] not in ("vehicle", "device") for name in feeds):
            assert len(announced & markers) == 1, dag.dag_id


def test_it_announces_every_table_of_the_schema(bag):
    (task,) = bag.dags["fleet_model"].tasks
    stored = [table.table for table in TABLES.values() if table.grain != "view"]
    assert sorted(asset.name for asset in task.outlets) == sorted(stored)
    assert task.pool == "default_pool"
    assert bag.dags["fleet_model"].max_active_runs == 1


class Scheduler:
    """Airflow's scheduler, asked for asset-triggered runs only."""

    def __init__(self, session: Any) -> None:
        from airflow.executors.local_executor import LocalExecutor
        from airflow.jobs.job import Job
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

        self.session = session
        job = Job()
        session.add(job)
        session.flush()
        self.runner = SchedulerJobRunner(job=job, executors=[LocalExecutor()])

    def announce(self, name: str, key: str | None) -> None:
        from airflow.assets.manager import AssetManager
        from airflow.models.asset import AssetModel
        from sqlalchemy import select

        asset = self.session.scalar(select(AssetModel).where(AssetModel.name == name))
        AssetManager.register_asset_change(asset=asset, session=self.session, partition_key=key)
        self.session.flush()

    def tick(self) -> list[str]:
        """The partition keys of the runs that a pass of the scheduler makes."""
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        def runs() -> dict[int, str]:
            return {
                run.id: run.partition_key
                for run in self.session.scalars(select(DagRun).where(DagRun.dag_id == "fleet_model"))
            }

        before = runs()
        self.runner._create_dagruns_for_partitioned_asset_dags(self.session)
        self.session.flush()
        return sorted(key for number, key in runs().items() if number not in before)


@pytest.fixture
def scheduler(bag):
    from airflow.dag_processing.dagbag import sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        if not session.get(DagBundleModel, "dags"):
            session.add(DagBundleModel(name="dags"))
            session.commit()
        sync_bag_to_db(bag, "dags", None, session=session)
        session.execute(update(DagModel).values(is_paused=False))
        session.commit()
        yield Scheduler(session)
        session.rollback()


def test_one_vendor_is_enough_to_start_it(scheduler):
    scheduler.announce("powunity.trip@north", "2026-03-02")
    assert scheduler.tick() == ["2026-03-02"], "the others may have failed"
    assert scheduler.tick() == []


def test_vendors_that_finish_together_make_one_run_for_a_day(scheduler):
    for name in ("powunity.trip@north", "rcs.telemetry@main", "rcs.health_report@main", "powunity.trip@south"):
        scheduler.announce(name, "2026-03-02")
    scheduler.announce("rcs.telemetry@main", "2026-03-03")
    assert scheduler.tick() == ["2026-03-02", "2026-03-03"]


def test_a_vendor_that_finishes_later_makes_another_run(scheduler):
    scheduler.announce("powunity.trip@north", "2026-03-02")
    assert scheduler.tick() == ["2026-03-02"]
    scheduler.announce("rcs.telemetry@main", "2026-03-02")
    scheduler.announce("powunity.trip@north", "2026-03-02")  # loaded again
    assert scheduler.tick() == ["2026-03-02"]


def test_other_tables_and_events_without_a_day_start_nothing(scheduler):
    scheduler.announce("powunity.stop@north", "2026-03-02")
    scheduler.announce("powunity.trip@north", None)
    assert scheduler.tick() == []


# --- the operator ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [True, False])  # the first build of a warehouse is always full
def test_the_operator_builds_with_the_param_and_returns_numbers(database_url, monkeypatch, full):
    monkeypatch.setenv("FLEETLAKE_WAREHOUSE_URL", database_url)
    operator = ModelOperator(task_id="build_model", outlets=fleet_assets(["fleet.trip"]))
    events: dict[Any, Any] = {operator.outlets[0]: SimpleNamespace(extra={})}
    answer = operator.execute({"params": {"full": full}, "outlet_events": events})
    assert answer["units"] == 0
    assert answer["build_id"] == events[operator.outlets[0]].extra["build_id"]
    assert answer["is_full"] is full
    assert set(answer) == set(fleet.Report.__dataclass_fields__)
    assert all(isinstance(value, bool | int | float) for value in answer.values())
