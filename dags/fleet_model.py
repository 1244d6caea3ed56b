"""### Fleet model: one set of tables for all vendors

Vehicles and their devices, trips, stops, days with a trust score, fuel events, trouble codes, visits of zones, events,
identifications and drivers: schema `fleet`, made in SQL from the vendors' tables.

A run starts for each day that a loading DAG has certified. It builds what has changed since the last build, whatever day that
is about, and writes what it restates into `ops.restatement`. What a run has not loaded to its end waits. Start it by hand with
`full` to build everything anew.
"""

from airflow.sdk import DAG
from fleetlake.operators import ModelOperator, model_dag
from fleetlake.operators.model import fleet_assets

TABLES = [
    f"fleet.{name}"
    for name in (
        "driver",
        "event",
        "fuel_event",
        "geofence_visit",
        "identification",
        "stop",
        "trip",
        "trouble",
        "vehicle",
        "vehicle_conflict",
        "vehicle_day",
        "vehicle_identity",
    )
]

with DAG(**model_dag("fleet_model", doc=__doc__, tags=["model"])):
    ModelOperator(task_id="build_model", outlets=fleet_assets(TABLES))
