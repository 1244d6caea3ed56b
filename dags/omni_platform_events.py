"""### OMNI Platform: events

What the cameras of a workspace saw on each day, into `omni_platform.event`; the workspace's cameras, agents, profile groups
and profiles as they are now into `omni_platform.camera`, `agent`, `profile_group` and `profile`.

Events of the last two minutes may still be joined by others: a run at midnight waits for them, as a retry. Events that agents
deliver later than that are brought by `omni_platform_rescan`.
"""

from airflow.sdk import DAG
from fleetlake.operators import CertifyOperator, LoadOperator, PlanOperator, accounts_of, assets, day_dag

CAMERAS = "cameras"
LISTS = ["agents", "profile_groups", "profiles"]
FLEET = ["_fleet"]
TABLES = [f"omni_platform.{name}" for name in ("camera", "agent", "profile_group", "profile", "event")]

for account in accounts_of("omni_platform"):
    with DAG(**day_dag("omni_platform_events", account, doc=__doc__, tags=["events"])):
        cameras = PlanOperator(task_id="load_cameras", entity_feed=CAMERAS, feeds=[])
        lists = LoadOperator(task_id="load_lists", feeds=LISTS, scopes=FLEET)
        events = LoadOperator(task_id="load_events", feeds=["events"], scopes=FLEET)
        certify = CertifyOperator(task_id="certify_events", datasets=TABLES, outlets=assets(account, TABLES))
        cameras >> [lists, events] >> certify
