"""Run a step of ``test_self_heal.py`` in this process, with Airflow's connections.

usage: run_self_heal.py vehicles                      load every account's list of vehicles
       run_self_heal.py dag [JSON]                    run the DAG fleet_self_heal, with these params
       run_self_heal.py die NUMBER [JSON]             the same, and die by SIGKILL before the publication NUMBER
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys


def vehicles() -> int:
    from fleetlake.accounts import load_accounts
    from fleetlake.hooks import hook_for
    from fleetlake.pipeline import Pipeline, Run
    from fleetlake.pipeline.rooms import vendor_room
    from fleetlake.reading import Kind, Lane
    from fleetlake.settings import Settings
    from fleetlake.window import Window

    settings = Settings.from_env()
    for account in load_accounts(settings.include):
        run = Run(account=account, dag_id="lists", run_id="once", window=Window.day("2026-01-01"), lane=Lane.SCHEDULED)
        entity = next(feed.name for feed in vendor_room(account.vendor).feeds.values() if feed.kind is Kind.SNAPSHOT)

        def source(account=account):
            return hook_for(account).get_source(Lane.SCHEDULED)

        with Pipeline(settings, account, source) as pipeline:
            pipeline.plan(run, entity_feed=entity, feeds=[])
    return 0


def dag(params: dict) -> int:
    from airflow.dag_processing.dagbag import DagBag

    found = DagBag(dag_folder=f"{os.environ['AIRFLOW__CORE__DAGS_FOLDER']}/fleet_self_heal.py").dags["fleet_self_heal"]
    run = found.test(logical_date=dt.datetime.now(dt.UTC), run_conf=params)
    states = {f"{ti.task_id}[{ti.map_index}]": str(ti.state) for ti in run.get_task_instances()}
    print(f"ended as {run.state}: {states}")
    return 0 if str(getattr(run.state, "value", run.state)) == "success" else 1


def dying(number: int) -> None:
    """The publication NUMBER of this process is not reached."""
    from fleetlake.pipeline.publish import Publisher

    publish, count = Publisher.publish, iter(range(1_000_000))

    def counted(*arguments, **more):
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return publish(*arguments, **more)

    Publisher.publish = counted


def main() -> int:
    step, *rest = sys.argv[1:]
    if step == "vehicles":
        return vehicles()
    if step == "die":
        dying(int(rest.pop(0)))
    return dag(json.loads(rest[0]) if rest else {})


if __name__ == "__main__":
    sys.exit(main())
