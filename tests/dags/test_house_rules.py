"""House rules of every DAG, as tests."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import CronPartitionTimetable
from fleetlake.accounts import load_accounts
from fleetlake.contracts import load_contracts
from fleetlake.operators.retries import FleetRetryPolicy

ROOT = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
HEAVY = {"pandas", "numpy", "pyarrow", "great_expectations", "deltalake", "psycopg", "requests", "duckdb"}
OURS_AT_RUN_TIME = tuple(
    f"fleetlake.{room}" for room in ("pipeline", "vendors", "warehouse", "lake", "quality", "fleet", "fleet_tables")
)


@pytest.fixture(scope="module")
def bag(airflow_db):
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=ROOT / "dags")


@pytest.fixture(scope="module")
def loading(bag):
    """The DAGs that load an account."""
    return [dag for dag in bag.dags.values() if not dag.dag_id.startswith("fleet_")]


@pytest.fixture(scope="module")
def tasks(bag):
    return [(f"{dag.dag_id}.{task.task_id}", task) for dag in bag.dags.values() for task in dag.tasks]


def test_every_file_imports(bag):
    assert bag.import_errors == {}


def test_the_first_account_of_a_vendor_has_the_plain_dag_ids(bag):
    assert {"powunity_trips", "powunity_trips__south", "rcs_health_reports", "rcs_telemetry", "rcs_users"} <= set(bag.dags)


def test_every_account_has_dags_and_every_dag_an_account(loading):
    accounts = {account.name: account for account in load_accounts(ROOT / "include")}
    assert {dag.default_args["account"] for dag in loading} == set(accounts)
    for dag in loading:
        account = accounts[dag.default_args["account"]]
        assert {account.vendor, account.name} <= dag.tags


def test_dags_are_partitioned_by_the_day_before(loading):
    for dag in loading:
        timetable = dag.timetable
        assert isinstance(timetable, CronPartitionTimetable), dag.dag_id
        assert (timetable.run_offset, timetable.key_format, str(timetable.timezone)) == (-1, "%Y-%m-%d", "UTC")
        assert timetable.expression == "0 0 * * *", "a partition date that is no midnight would shift every window"
        assert dag.catchup is False
        assert 1 <= dag.max_active_runs <= 4
        assert dag.start_date.tzinfo is not None


def test_a_scheduled_run_loads_the_whole_day_before(bag):
    import pendulum
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    timetable = coerce_to_core_timetable(bag.dags["rcs_telemetry"].timetable)
    now = pendulum.now("UTC")
    restriction = TimeRestriction(earliest=now.subtract(days=3), latest=None, catchup=False)
    info = timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=restriction)
    assert info.partition_date == info.run_after.subtract(days=1)
    assert info.partition_date == info.partition_date.start_of("day")
    assert info.partition_key == info.partition_date.to_date_string()


def test_dags_say_what_they_are(bag):
    for dag in bag.dags.values():
        assert dag.doc_md and dag.doc_md.startswith("### "), dag.dag_id
        assert dag.default_args.get("account", "") in dag.doc_md
        assert dag.owner == "fleetlake"
        assert Path(dag.fileloc).parent == ROOT / "dags", "the UI shows the code of the file that wires the DAG"


def test_params_are_those_of_every_dag_and_are_checked(loading):
    for dag in loading:
        assert set(dag.params) == {"vehicles", "datasets", "force", "believe", "window_start", "window_end"}
        dag.params.validate()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vehicles", "WVWZZZ1"),
        ("vehicles", [7]),
        ("vehicles", [""]),
        ("datasets", "powunity.trip"),
        ("force", "yes"),
        ("believe", "yes"),
        ("window_start", "yesterday"),
        ("window_start", "05.01.2026"),
        ("window_end", 20260105),
    ],
)
def test_a_param_of_the_wrong_form_is_refused(bag, name, value):
    from airflow.sdk.exceptions import ParamValidationError

    params = bag.dags["rcs_telemetry"].params
    with pytest.raises(ParamValidationError):
        params.get_param(name).resolve(value)


@pytest.mark.parametrize(
    "value", [None, "2026-01-05", "2026-01-05T06:00Z", "2026-01-05 06:00:00+02:00", "2026-01-05T06:00:00.5Z"]
)
def test_moments_as_people_type_them_are_accepted(bag, value):
    assert bag.dags["rcs_telemetry"].params.get_param("window_start").resolve(value) == value


def test_every_task_retries_by_the_error_groups(tasks):
    for name, task in tasks:
        if not name.endswith(".take_up_aside"):  # the next hour's run is its retry: it keeps no hole waiting
            assert task.retries >= 3, name
        assert isinstance(task.retry_policy, FleetRetryPolicy), name
        assert task.on_failure_callback, name
        assert task.execution_timeout and task.execution_timeout <= timedelta(hours=6), name
        assert task.depends_on_past is False, name


def test_tasks_that_ask_a_vendor_share_the_accounts_pool(loading):
    accounts = {account.name: account for account in load_accounts(ROOT / "include")}
    for dag in loading:
        pool = accounts[dag.default_args["account"]].pool
        for task in dag.tasks:
            expected = "default_pool" if task.task_id.startswith("certify_") else pool
            assert task.pool == expected, f"{dag.dag_id}.{task.task_id}"


def test_the_last_task_announces_one_asset_per_table(loading):
    seen = {}
    for dag in loading:
        *others, last = dag.topological_sort()
        assert not any(task.outlets for task in others)
        assert last.task_type == "CertifyOperator"
        assert last.trigger_rule == "none_failed", "a day with nothing to load is certified too"
        account = dag.default_args["account"]
        assert [asset.name for asset in last.outlets] == [f"{table}@{account}" for table in last.datasets]
        for asset in last.outlets:
            seen.setdefault(asset.name, set()).add(asset.uri)
    assert all(len(uris) == 1 for uris in seen.values())


def test_mapped_tasks_are_named_after_their_vehicles(bag):
    for dag in bag.dags.values():
        mapped = [task for task in dag.tasks if getattr(task, "is_mapped", False)]
        assert {task.operator_class.__name__ for task in mapped} <= {"LoadOperator", "HealOperator"}
        assert all(task.partial_kwargs["map_index_template"] for task in mapped)


def test_dags_survive_serialization(bag):
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in bag.dags.values():
        stored = json.loads(json.dumps(DagSerialization.serialize_dag(dag)))
        again = DagSerialization.deserialize_dag(stored)
        assert sorted(again.task_dict) == sorted(dag.task_dict)
        for task in again.tasks:
            assert task.has_retry_policy, task.task_id
        # Nothing that changes from parse to parse: each change would be a new version of the DAG.
        assert json.dumps(DagSerialization.serialize_dag(dag)) == json.dumps(DagSerialization.serialize_dag(dag))


def test_each_file_parses_in_under_half_a_second(bag):
    # The first file pays the imports that all share: parse again.
    bag.collect_dags(dag_folder=ROOT / "dags", only_if_updated=False)
    slow = {stat.file: stat.duration for stat in bag.dagbag_stats if stat.duration >= timedelta(seconds=0.5)}
    assert len(bag.dagbag_stats) == len(DAG_FILES)
    assert slow == {}


_PARSE_ALONE = """
import json, runpy, socket, sys
import airflow.sdk, airflow.triggers.base, airflow.sdk.exceptions
before = set(sys.modules)
opened = []
sys.addaudithook(lambda event, args: opened.append(event) if event.startswith("socket.") else None)
runpy.run_path(sys.argv[1])
print(json.dumps({"imported": sorted(set(sys.modules) - before), "opened": opened}))
"""


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_parsing_opens_no_socket_and_imports_nothing_heavy(path):
    done = subprocess.run([sys.executable, "-c", _PARSE_ALONE, path], capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["opened"] == []
    imported = set(seen["imported"])
    assert {name.partition(".")[0] for name in imported} & HEAVY == set()
    assert [name for name in imported if name.startswith(OURS_AT_RUN_TIME)] == []


def test_the_plugin_loader_leaves_the_package_alone():
    # Without .airflowignore Airflow would run every module of the package a second time, as a top-level module: two copies
    # of every exception class, and a module called like a library would take its place.
    from airflow import plugins_manager

    plugins_manager.ensure_plugins_loaded()
    assert plugins_manager.get_import_errors() == {}
    package = str(ROOT / "plugins" / "fleetlake")
    twice = [
        name
        for name, module in sys.modules.items()
        if str(getattr(module, "__file__", None)).startswith(package) and name.partition(".")[0] != "fleetlake"
    ]
    assert twice == []
    assert "fleetlake/" in (ROOT / "plugins" / ".airflowignore").read_text().split()


def test_no_module_is_named_like_a_library():
    import importlib.metadata

    taken = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    stems = {path.stem for folder in ("plugins", "dags") for path in (ROOT / folder).rglob("*.py")}
    assert stems & taken == set()


def test_a_contract_names_the_dag_that_certifies_its_table(loading):
    accounts = {account.name: account for account in load_accounts(ROOT / "include")}
    certified: dict[str, set[str]] = {}
    for dag in loading:
        if accounts[dag.default_args["account"]].is_first:
            for task in dag.tasks:
                for table in getattr(task, "datasets", ()):
                    certified.setdefault(table, set()).add(dag.dag_id)
    contracts = load_contracts(ROOT / "include")
    assert {table for table, contract in contracts.items() if contract.loaded_by} == set(certified)
    for table, dags in certified.items():
        assert contracts[table].loaded_by in dags
