"""``fleetlake plan --sample``: some vehicle-days are read for real, through Airflow, so that there is a history."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from fleetlake.commands.connect import connected
from fleetlake.errors import IncompleteAnswer, StoreUnavailable
from fleetlake.reading import FLEET
from fleetlake.window import DAY

if TYPE_CHECKING:
    from fleetlake.pipeline.estimate import Wish
    from fleetlake.pipeline.plan import Plan
    from fleetlake.settings import Settings
    from fleetlake.stack.airflow_api import AirflowApi
    from fleetlake.warehouse import Warehouse

_DATES = 3
"""Days a sample is spread over."""

_POLL_S = 2.0
_TIMEOUT_S = 3600.0


def take_sample(settings: Settings, warehouse: Warehouse, wish: Wish, plans: Sequence[Plan], size: int) -> list[Plan]:
    """Read about ``size`` vehicle-days of each plan that has no history, and plan again.

    Raises:
        IncompleteAnswer: a run of the sample failed.
        StoreUnavailable: a DAG is paused, or its run did not end in time.
    """
    from fleetlake.pipeline.plan import make_plans

    api = connected(settings)
    empty = [plan for plan in plans if not plan.vehicles]
    for plan in empty:
        # Which vehicles there are is not known yet: a run about none of the wanted tables reads only the list.
        _run(api, plan, str(plan.wish.first), {"datasets": [plan.entity]})
    if empty:
        plans = make_plans(settings, warehouse, wish)
    for plan in plans:
        if plan.is_guess:
            for day, vehicles in choose(plan, size):
                conf = {"datasets": list(plan.datasets), **({"vehicles": vehicles} if vehicles else {})}
                _run(api, plan, day, conf)
    return make_plans(settings, warehouse, wish)


def choose(plan: Plan, size: int) -> list[tuple[str, list[str]]]:
    """Days of a plan, and vehicles to read on each: spread over what is missing. No vehicles: a table of the whole fleet."""
    if plan.days is None:
        return []
    first, runs = plan.days[0], plan.runs
    dates = sorted({first + DAY * (runs * (2 * number + 1) // (2 * _DATES)) for number in range(min(_DATES, size))})
    scopes = sorted({scope for standing in plan.standings for scope, _ in standing.holes} - {FLEET})
    each = -(-size // len(dates))
    chosen = []
    for number, date in enumerate(dates):
        start = number * each
        picked = (
            [scopes[(start + place) * max(1, len(scopes) // size) % len(scopes)] for place in range(each)] if scopes else []
        )
        chosen.append((str(date), sorted(set(picked))))
    return chosen


def _run(api: AirflowApi, plan: Plan, day: str, conf: dict[str, Any]) -> None:
    vehicles = len(conf.get("vehicles", ()))
    typer.echo(f"{plan.dag_id}: reading {f'{vehicles} vehicles of {day}' if vehicles else day} as a sample", err=True)
    if any(entry["dag_id"] == plan.dag_id and entry["is_paused"] for entry in api.dags()):
        raise StoreUnavailable(
            f"{plan.dag_id} is paused: a sample would wait", remedy="unpause it, or plan without --sample"
        )
    run_id = api.trigger(plan.dag_id, day, conf)
    deadline = time.monotonic() + _TIMEOUT_S
    while (state := api.run(plan.dag_id, run_id)["state"]) not in ("success", "failed"):
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"run {run_id} is {state} after {_TIMEOUT_S:.0f} s", where=plan.dag_id)
        time.sleep(_POLL_S)
    if state == "failed":
        raise IncompleteAnswer(f"the sample's run {run_id} failed", where=plan.dag_id, remedy="see its log in Airflow")
