"""Run the one-task DAG of `test_report_crashes.py` in this process, and die by SIGKILL at the moment named.

usage: run_report_task.py <moment> <day> [again]
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys

moment, day, again = sys.argv[1], dt.date.fromisoformat(sys.argv[2]), "again" in sys.argv[3:]


def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor
    from fleetlake.operators import RcsHealthReportOperator

    if moment == "the report is asked for, the token is not kept yet":
        TaskStateStoreAccessor.set = die
    elif moment == "the token is kept, the task not deferred yet":
        RcsHealthReportOperator.defer = die
    elif moment == "the report is home, the token not forgotten yet":
        TaskStateStoreAccessor.delete = die
    elif moment != "never":
        raise SystemExit(f"no moment {moment!r}")

    [dag] = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags.values()
    if again:
        return next_try(dag)
    run = dag.test(
        logical_date=dt.datetime.combine(day, dt.time(), dt.UTC),
        run_conf={"window_start": f"{day}", "window_end": f"{day + dt.timedelta(days=1)}"},
    )
    return ended(run.state)


def next_try(dag) -> int:
    """Run the task of an existing run once more: what the scheduler does with a retry, or with a task that was cleared.

    `dag.test` cannot: it makes a new run, whose task has no state yet.
    """
    from airflow.models.taskinstance import TaskInstance
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
        session.commit()
        result = _run_task(ti=ti, task=dag.get_task(ti.task_id), run_triggerer=True)
    return ended(result and result.ti.state)


def ended(state) -> int:
    print(f"ended as {state}")
    return 0 if str(getattr(state, "value", state)) == "success" else 1


sys.exit(main())
