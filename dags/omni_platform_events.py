"""### OMNI Platform: events

What the cameras of a workspace saw on each day, into `omni_platform.event`; the workspace's cameras, agents, profile groups
and profiles as they are now into `omni_platform.camera`, `agent`, `profile_group` and `profile`.

Events of the last two minutes may still be joined by others: a run at midnight waits for them, as a retry. Agents that were cut off
insert their events later, with the old time of detection, and the vendor can be asked by that time only: so a scheduled run also
reads the days before its own again, as far as the lateness of events has shown to be worth it.
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
