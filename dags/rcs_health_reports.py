"""### RCS: health reports and trouble codes

Asks RCS for an overview of the day's health reports, waits for it in the triggerer, then reads the full reports of the
vehicles it names, with their diagnostic trouble codes: `rcs.health_report` and `rcs.trouble`.

If a worker or the triggerer dies while RCS prepares the overview, the next try attaches to the same report. A run that is
cleared after it succeeded asks anew.
"""

from airflow.sdk import DAG
from fleetlake.operators import (
    CertifyOperator,
    LoadOperator,
    PlanOperator,
    RcsHealthReportOperator,
    accounts_of,
    assets,
    day_dag,
)

VEHICLES = "vehicles"
DETAILS = "health_reports"
TABLES = ["rcs.vehicle", "rcs.health_report", "rcs.trouble"]

for account in accounts_of("rcs"):
    with DAG(**day_dag("rcs_health_reports", account, doc=__doc__, tags=["health"])):
        vehicles = PlanOperator(task_id="load_vehicles", entity_feed=VEHICLES, feeds=[])
        overview = RcsHealthReportOperator(task_id="fetch_overview")
        reports = LoadOperator.partial(task_id="load_reports", feeds=[DETAILS]).expand(scopes=overview.output)
        certify = CertifyOperator(task_id="certify_reports", datasets=TABLES, outlets=assets(account, TABLES))
        vehicles >> overview >> reports >> certify
