"""### RCS: app users and notifications

The users of the mobile app who registered on the day, and the offers that were sent to users as planned for the day:
`rcs.app_user` and `rcs.client_notification`. Names, phone numbers and e-mail addresses are masked unless the account's
file below `include/rcs` says otherwise.
"""

from airflow.sdk import DAG
from fleetlake.operators import CertifyOperator, LoadOperator, PlanOperator, accounts_of, assets, day_dag

VEHICLES = "vehicles"
FEEDS = ["users", "client_notifications"]
FLEET = ["_fleet"]
TABLES = ["rcs.app_user", "rcs.client_notification"]

for account in accounts_of("rcs"):
    with DAG(**day_dag("rcs_users", account, doc=__doc__, tags=["users"])):
        vehicles = PlanOperator(task_id="load_vehicles", entity_feed=VEHICLES, feeds=[])
        users = LoadOperator(task_id="load_users", feeds=FEEDS, scopes=FLEET)
        certify = CertifyOperator(task_id="certify_users", datasets=TABLES, outlets=assets(account, TABLES))
        vehicles >> users >> certify
