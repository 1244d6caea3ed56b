"""### Fleet model, once a day

Builds schema `fleet` each morning from whatever was loaded since the last build, also where no run could be certified: a
vehicle that its vendor denies fails its account's certificate every day, and must not keep the others from the model. Such
days say `not proven complete` in `fleet.vehicle_day`.

`fleet_model` does the same as soon as a day is certified.
"""

from airflow.sdk import DAG
from fleetlake.operators import ModelOperator, model_dag

with DAG(**model_dag("fleet_model_daily", doc=__doc__, tags=["extra"], at="0 6 * * *")):
    ModelOperator(task_id="build_model")
