"""Ends the jobs of tasks and runs that somebody has ended, or that have outlived their time.

The trigger of a waiting task cancels its job, and so does the worker of a running one. Neither would if the triggerer
has not taken the task over yet or is down, or if the task waits for its next try while its job runs on. Airflow calls
these functions in the API server, when a person marks a task or a run, and in the scheduler, when a run ends; they hold
up neither.
"""

import json
import logging
import threading
from typing import Any

from pluggy import HookimplMarker

from marketday.errors import MarketdayError
from operators.hook import StepServiceHook
from operators.step import StepOperator

hookimpl = HookimplMarker("airflow")
"""What airflow.listeners.hookimpl is, with its types."""

_log = logging.getLogger(__name__)


@hookimpl
def on_task_instance_failed(previous_state: object, task_instance: Any, error: object) -> None:  # noqa: ARG001  Airflow's
    """Cancel the job of a task that a person has marked as failed."""
    _marked(previous_state, task_instance)


@hookimpl
def on_task_instance_success(previous_state: object, task_instance: Any) -> None:
    """Cancel the job of a task that a person has marked as successful."""
    _marked(previous_state, task_instance)


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:  # noqa: ARG001  Airflow's
    """Cancel what a failed run has left running."""
    _cancel_jobs(dag_id=dag_run.dag_id, run_id=dag_run.run_id)


@hookimpl
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """Cancel what a run has left running that a person has marked as successful."""
    if msg != "success":  # which is what Airflow says of a run that has come to this end by itself
        _cancel_jobs(dag_id=dag_run.dag_id, run_id=dag_run.run_id)


def _marked(previous_state: object, task: Any) -> None:
    # Airflow names no state before when a person marks a task, and names one when the task itself has come to an end.
    if previous_state is None:
        _cancel_jobs(dag_id=task.dag_id, run_id=task.run_id, task_id=task.task_id, map_index=task.map_index)


def _cancel_jobs(**of: object) -> None:
    threading.Thread(target=cancel_jobs, kwargs=of, daemon=True).start()


def cancel_jobs(**of: object) -> None:
    """Cancel the jobs that tasks have noted in Airflow's task states with these ``dag_id``, ``run_id`` and so on.

    A job that has ended stays what it is.
    """
    for job in _jobs(of):
        try:
            with StepServiceHook(url=job["url"]).get_conn() as client:
                client.cancel(job["job_id"])
        except MarketdayError as error:
            _log.warning("Job %s could not be cancelled: %s", job["job_id"], error)


def _jobs(of: dict[str, object]) -> list[dict[str, Any]]:
    from airflow.models.task_state_store import TaskStateStoreModel  # noqa: PLC0415  not for workers, who import this
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    noted = select(TaskStateStoreModel.value).filter_by(**of, key=StepOperator.external_id_key)
    with create_session() as session:
        return [json.loads(value) for value in session.scalars(noted)]
