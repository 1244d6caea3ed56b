"""### SuiviDeFlotte: trips, alerts, points of interest, drivers

All that SuiviDeFlotte knows about each vehicle and each day: `suivideflotte.trip` and `alert`, with the vehicles, drivers
and points of interest as they are now: `suivideflotte.vehicle`, `driver`, `poi`.

Trips may still change for 48 hours, so a scheduled run also reads days before its own again, as many as experience says; an
answer replaces what was known about its window. What the customer's lists and fields are called stands in
`include/suivideflotte`.
"""

from airflow.sdk import DAG
from fleetlake.operators import CertifyOperator, LoadOperator, PlanOperator, accounts_of, assets, day_dag

VEHICLES = "vehicles"
FEEDS = ["trips"]
FLEET_FEEDS = ["alerts", "poi", "drivers"]
FLEET = ["_fleet"]
TABLES = [f"suivideflotte.{name}" for name in ("vehicle", "trip", "alert", "poi", "driver")]

for account in accounts_of("suivideflotte"):
    with DAG(**day_dag("suivideflotte_trips", account, doc=__doc__, tags=["trips"])):
        plan = PlanOperator(task_id="plan_vehicles", entity_feed=VEHICLES, feeds=FEEDS)
        trips = LoadOperator.partial(task_id="load_trips", feeds=FEEDS).expand(scopes=plan.output)
        fleet = LoadOperator(task_id="load_fleet", feeds=FLEET_FEEDS, scopes=FLEET)
        certify = CertifyOperator(task_id="certify_trips", datasets=TABLES, outlets=assets(account, TABLES))
        plan >> fleet >> certify
        trips >> certify
