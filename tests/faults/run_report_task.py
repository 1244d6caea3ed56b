"""Run the one-task DAG of `test_report_crashes.py` in this process, and die by SIGKILL at the moment named.

usage: run_report_task.py <moment> <day> [again | cleared]
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys

moment, day, how = sys.argv[1], dt.date.fromisoformat(sys.argv[2]), sys.argv[3:]


def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def dies_after(kind, name):
    real = getattr(kind, name)

    def call(*args, **kwargs):
        real(*args, **kwargs)
        die()

    setattr(kind, name, call)


def plant():
    """Where the process dies."""
    from fleetlake.operators import RcsHealthReportOperator
    from fleetlake.pipeline.job_table import Desk
    from fleetlake.pipeline.jobs import Jobs
    from fleetlake.vendors.rcs.source import RcsSource

    if moment == "before the intent":
        Desk.intend = die
    elif moment == "intended, not sent":
        Desk.sending = die
    elif moment == "sent, token not stored":
        Desk.asked = die
    elif moment == "token stored, not deferred":
        RcsHealthReportOperator.defer = die
    elif moment == "the trigger polls":
        dies_after(RcsSource, "poll")
    elif moment == "home, not published":
        Jobs._publish = die
    elif moment == "collected, Airflow not told":
        dies_after(RcsHealthReportOperator, "collect")
    elif moment != "never":
        raise SystemExit(f"no moment {moment!r}")


def main() -> int:
    from airflow.dag_processing.dagbag import DagBag

    plant()
    [dag] = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags.values()
    if how:
        return next_try(dag)
    run = dag.test(
        logical_date=dt.datetime.combine(day, dt.time(), dt.UTC),
        run_conf={"window_start": f"{day}", "window_end": f"{day + dt.timedelta(days=1)}"},
    )
    return ended(run.state)


def next_try(dag) -> int:
    """Run the task of an existing run once more: what the scheduler does with a retry, or with a task that was cleared.

    `dag.test` cannot: it makes a new run.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.sdk.definitions.dag import _run_task
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select
    from sqlalchemy.orm import joinedload

    with create_session() as session:
        query = select(TaskInstance).options(joinedload(TaskInstance.dag_run))
        [ti] = [ti for ti in session.scalars(query) if ti.dag_run.logical_date.date() == day and ti.dag_id == dag.dag_id]
        ti.state = TaskInstanceState.SCHEDULED
        ti.try_number += 1
        ti.clear_next_method_args()
        if how == ["cleared"]:
            ti.dag_run.clear_number += 1  # what clearing does, and what a retry does not
        session.commit()
        task_id, run_id = ti.task_id, ti.run_id
        result = _run_task(ti=ti, task=dag.get_task(task_id), run_triggerer=True)
        query = select(XComModel.value).where(XComModel.task_id == task_id, XComModel.run_id == run_id)
        print(f"returned {session.scalars(query.where(XComModel.key == 'return_value')).all()}")
    return ended(result and result.ti.state)


def ended(state) -> int:
    print(f"ended as {state}")
    return 0 if str(getattr(state, "value", state)) == "success" else 1


sys.exit(main())
