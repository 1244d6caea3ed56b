"""### Self-healing: mends holes of the coverage ledger

Every hour, of each account: what was set aside or left half-way is taken up first; then the holes of `ops.hole` become the
fewest requests that read them, within the backfill lane's quota, oldest first; what was read closes them. What stays open is
tried again after twice the pause. After five attempts, or where no repetition can help, it is given up: `ops.hole` says
`person` and why, and one alert is sent. It is taken up again by itself once the vehicle can be read, or its contract changes.

Start it by hand with `again` to try everything that was given up, with `account` for one account only.
"""

from airflow.sdk import DAG, TaskGroup
from fleetlake.operators.heal import HealCloseOperator, HealOperator, HealPlanOperator, all_accounts, heal_dag

with DAG(**heal_dag("fleet_self_heal", doc=__doc__)):
    for account in all_accounts():
        with TaskGroup(account.name, tooltip=f"{account.vendor}, connection {account.conn_id}"):
            at = {"account": account.name, "pool": account.pool}
            plan = HealPlanOperator(task_id="plan_holes", **at)
            heal = HealOperator.partial(task_id="heal_holes", **at).expand(requests=plan.output)
            [plan, heal] >> HealCloseOperator(task_id="close_holes", **at)
