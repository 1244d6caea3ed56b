"""### OMNI Platform: late events

Reads the last 48 hours of `omni_platform.event` again. Agents that were cut off insert their events later, with the old time of
detection, and the vendor can be asked by that time only.
"""

from airflow.sdk import DAG
from fleetlake.operators import CertifyOperator, LoadOperator, PlanOperator, accounts_of, assets, day_dag

CAMERAS = "cameras"
FLEET = ["_fleet"]
TABLES = ["omni_platform.event"]

for account in accounts_of("omni_platform"):
    with DAG(**day_dag("omni_platform_rescan", account, doc=__doc__, tags=["events", "extra"])):
        cameras = PlanOperator(task_id="load_cameras", entity_feed=CAMERAS, feeds=[])
        events = LoadOperator(task_id="load_late_events", feeds=["events"], scopes=FLEET, again_days=1)
        certify = CertifyOperator(task_id="certify_events", datasets=TABLES, outlets=assets(account, TABLES))
        cameras >> events >> certify
