"""### RCS: cold telemetry

Every signal record of every connected vehicle, into `rcs.telemetry`; the vehicles themselves into `rcs.vehicle`.

A scheduled run continues each vehicle where the last one stopped, by the vendor's revision: records that a vehicle uploads
late arrive by themselves, whatever day they are about. A backfill, or a run started by hand, reads exactly its window.
"""

from airflow.sdk import DAG
from fleetlake.operators import CertifyOperator, LoadOperator, PlanOperator, accounts_of, assets, day_dag

VEHICLES = "vehicles"
FEEDS = ["telemetry"]
TABLES = ["rcs.vehicle", "rcs.telemetry"]

for account in accounts_of("rcs"):
    with DAG(**day_dag("rcs_telemetry", account, doc=__doc__, tags=["telemetry"])):
        plan = PlanOperator(task_id="plan_vehicles", entity_feed=VEHICLES, feeds=FEEDS)
        load = LoadOperator.partial(task_id="load_telemetry", feeds=FEEDS).expand(scopes=plan.output)
        load >> CertifyOperator(task_id="certify_telemetry", datasets=TABLES, outlets=assets(account, TABLES))
