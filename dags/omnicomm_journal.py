"""### Omnicomm: journal of raw packets

What the terminals sent, packet by packet (`omnicomm.journal`), and the parameters of CAN bus, Modbus and users that came along
(`omnicomm.journal_parameter`). Heavy: some 315 fields a packet, a few hours of one vehicle per request. So this DAG is paused
until somebody wants it; name the vehicles in `vehicles`.
"""

from airflow.sdk import DAG
from fleetlake.operators import CertifyOperator, LoadOperator, PlanOperator, accounts_of, assets, day_dag

VEHICLES = "vehicle_tree"
FEEDS = ["journal", "journal_additional"]
TABLES = [f"omnicomm.{name}" for name in ("vehicle", "journal", "journal_parameter")]

for account in accounts_of("omnicomm"):
    with DAG(**day_dag("omnicomm_journal", account, doc=__doc__, tags=["journal", "extra"]), is_paused_upon_creation=True):
        plan = PlanOperator(task_id="plan_vehicles", entity_feed=VEHICLES, feeds=FEEDS)
        load = LoadOperator.partial(task_id="load_journal", feeds=FEEDS).expand(scopes=plan.output)
        load >> CertifyOperator(task_id="certify_journal", datasets=TABLES, outlets=assets(account, TABLES))
