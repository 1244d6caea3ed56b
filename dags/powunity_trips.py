"""### PowUnity: positions, events, trips, stops, summaries

All that PowUnity knows about each bike and each day: `powunity.device`, `position`, `event`, `trip`, `stop`, `summary`.

Trips and stops may still change after the day has ended, so a scheduled run also reads days before its own again, as many as
experience says; an answer replaces what was known about its window.
"""

from airflow.sdk import DAG
from fleetlake.operators import CertifyOperator, LoadOperator, PlanOperator, accounts_of, assets, day_dag

DEVICES = "devices"
FEEDS = ["positions", "events", "trips", "stops", "summary"]
TABLES = [f"powunity.{name}" for name in ("device", "position", "event", "trip", "stop", "summary")]

for account in accounts_of("powunity"):
    with DAG(**day_dag("powunity_trips", account, doc=__doc__, tags=["trips"])):
        plan = PlanOperator(task_id="plan_devices", entity_feed=DEVICES, feeds=FEEDS)
        load = LoadOperator.partial(task_id="load_devices", feeds=FEEDS).expand(scopes=plan.output)
        load >> CertifyOperator(task_id="certify_trips", datasets=TABLES, outlets=assets(account, TABLES))
