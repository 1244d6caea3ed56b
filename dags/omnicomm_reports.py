"""### Omnicomm: vehicles, daily reports, tracks, events, fuel, geofences

All that Omnicomm knows about each vehicle and each UTC day: the daily report and the statistics (`omnicomm.consolidated_report`,
`statistics`), the track (`track_point`), events, fuel levels and visits of geofences; and what it knows now: vehicles and their
groups, profiles, states, geofences.

The vendor recomputes past days, so a scheduled run also reads days before its own again, as many as experience says; an answer
replaces what was known about its window. A vehicle the vendor denies is reported; the others of its batch are loaded.
"""

from airflow.sdk import DAG
from fleetlake.operators import CertifyOperator, LoadOperator, PlanOperator, accounts_of, assets, day_dag

VEHICLES = "vehicle_tree"
NOW = ["profiles", "states"]
REPORTS = ["consolidated", "statistics", "track", "events", "fuel_level", "geofence_visits"]
TABLES = [
    f"omnicomm.{name}"
    for name in (
        "vehicle",
        "vehicle_group",
        "vehicle_profile",
        "vehicle_state",
        "consolidated_report",
        "statistics",
        "track_point",
        "event",
        "fuel_level",
        "geofence",
        "geofence_visit",
    )
]

for account in accounts_of("omnicomm"):
    with DAG(**day_dag("omnicomm_reports", account, doc=__doc__, tags=["trips", "fuel"])):
        plan = PlanOperator(task_id="plan_vehicles", entity_feed=VEHICLES, feeds=REPORTS)
        geofences = LoadOperator(task_id="load_geofences", feeds=["geofences"], scopes=["_fleet"])
        load = LoadOperator.partial(task_id="load_vehicles", feeds=[*NOW, *REPORTS]).expand(scopes=plan.output)
        certify = CertifyOperator(task_id="certify_reports", datasets=TABLES, outlets=assets(account, TABLES))
        [load, geofences] >> certify
