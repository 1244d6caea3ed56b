"""### Self-healing: mends holes of the coverage ledger

Every hour, of each account: what was set aside or held and passes by now is taken up from raw; then, whatever came of that,
the holes of `ops.hole` become the fewest requests that read them, within the backfill lane's quota, oldest first; what was
read closes them. What stays open is tried again after twice the pause. After five attempts, or where no repetition can help,
it is given up: `ops.hole` says `person` and why, and one alert is sent. It is taken up again by itself, once, when the
vehicle can be read, and when its contract changes. Times of more than 31 days that nobody ever asked for are left to people,
who know what they cost.

Start it by hand with `again` to try everything that was given up, with `account` for one account only.
"""

from typing import Any

from airflow.sdk import DAG, TaskGroup
from fleetlake.operators.heal import (
    HealCloseOperator,
    HealOperator,
    HealPlanOperator,
    HealRedriveOperator,
    all_accounts,
    heal_dag,
)

with DAG(**heal_dag("fleet_self_heal", doc=__doc__)):
    for account in all_accounts():
        with TaskGroup(account.name, tooltip=f"{account.vendor}, connection {account.conn_id}"):
            at: dict[str, Any] = {"account": account.name, "pool": account.pool}
            # The next hour is its retry: holes do not wait for it.
            redrive = HealRedriveOperator(task_id="take_up_aside", retries=0, **at)
            plan = HealPlanOperator(task_id="plan_holes", **at)
            heal = HealOperator.partial(task_id="heal_holes", **at).expand(requests=plan.output)
            redrive >> plan
            [plan, heal] >> HealCloseOperator(task_id="close_holes", **at)
