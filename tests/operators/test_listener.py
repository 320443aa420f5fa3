"""The job of a task that somebody ends is cancelled, even if neither a worker nor the triggerer has it."""

import json
from types import SimpleNamespace

import pytest
from airflow import settings as airflow
from airflow.models import import_all_models
from airflow.models.task_state_store import TaskStateStoreModel
from airflow.plugins_manager import AirflowPlugin
from airflow.utils.session import create_session
from fake_service import DAY
from sqlalchemy import delete, text

from marketday.calls import Call
from marketday.client import StepServiceClient
from operators import listener
from operators.step import StepOperator

RUN = SimpleNamespace(dag_id="daily__simulated", run_id="run1")


@pytest.fixture(scope="module", autouse=True)
def _database():
    """Make the table of task states in this session's throw-away Airflow."""
    import_all_models()
    airflow.configure_orm()
    TaskStateStoreModel.__table__.create(airflow.engine, checkfirst=True)


@pytest.fixture
def running(service):
    """Start a job as a task does, and note it in Airflow: ``running("predict", map_index=3)`` returns its id."""
    service.seconds = 30.0

    def start(task_id: str, *, run_id: str = RUN.run_id, map_index: int = -1, url: str = service.url) -> str:
        with StepServiceClient(service.url) as client:
            job_id = client.submit(
                Call(step=task_id, retailer="simulated", day=DAY, block=f"{run_id}{map_index}")
            ).job_id
        with create_session() as session:
            session.execute(text("PRAGMA foreign_keys = OFF"))  # there is no run beside the note
            session.add(
                TaskStateStoreModel(
                    dag_run_id=int(run_id.removeprefix("run")),
                    dag_id=RUN.dag_id,
                    run_id=run_id,
                    task_id=task_id,
                    map_index=map_index,
                    key=StepOperator.external_id_key,
                    value=json.dumps({"job_id": job_id, "url": url, "granted": 3}),
                )
            )
        return job_id

    yield start
    with create_session() as session:
        session.execute(delete(TaskStateStoreModel))


def task(task_id: str, map_index: int = -1) -> SimpleNamespace:
    return SimpleNamespace(**vars(RUN), task_id=task_id, map_index=map_index)


def cancelled(service, job_id: str) -> bool:
    """Wait for the job's end."""
    with StepServiceClient(service.url) as client:
        return client.status(job_id, wait=10.0).status == "dismissed"


def left_running(service) -> set[str]:
    return {job_id for job_id, job in service.jobs.items() if service.status(job)["status"] == "running"}


def test_a_task_that_is_marked_as_failed_takes_its_job_with_it_and_no_other(service, running):
    predict, other_block, clean, other_run = (
        running("predict", map_index=1),
        running("predict", map_index=2),
        running("clean"),
        running("predict", map_index=1, run_id="run2"),
    )
    listener.on_task_instance_failed(None, task("predict", 1), "set by hand")
    assert cancelled(service, predict)
    assert left_running(service) == {other_block, clean, other_run}


def test_a_task_that_is_marked_as_successful_takes_its_job_with_it(service, running):
    job_id = running("clean")
    listener.on_task_instance_success(None, task("clean"))
    assert cancelled(service, job_id)


@pytest.mark.parametrize(
    ("end", "msg"),
    [
        (listener.on_dag_run_failed, "timed_out"),
        (listener.on_dag_run_failed, "Dag Run's state was manually set to `failed`."),
        (listener.on_dag_run_success, "Dag Run's state was manually set to `success`."),
    ],
)
def test_a_run_that_is_ended_takes_all_its_jobs_with_it(service, running, end, msg):
    ours = [running("predict", map_index=1), running("clean")]
    other_run = running("clean", run_id="run2")
    end(RUN, msg)
    assert all(cancelled(service, job_id) for job_id in ours)
    assert left_running(service) == {other_run}


def test_ends_that_tasks_and_runs_come_to_by_themselves_ask_nobody(service, running, monkeypatch):
    monkeypatch.setattr(listener, "cancel_jobs", pytest.fail)
    running("clean")
    listener.on_task_instance_failed("running", task("clean"), "an error")
    listener.on_task_instance_success("running", task("clean"))
    listener.on_dag_run_success(RUN, "success")
    assert len(left_running(service)) == 1


def test_a_service_that_is_away_keeps_no_other_job_from_being_cancelled(service, running, caplog):
    away, job_id = running("clean", url="http://127.0.0.1:9"), running("predict", map_index=1)
    listener.cancel_jobs(**vars(RUN))
    assert left_running(service) == {away}
    assert cancelled(service, job_id)
    assert f"Job {away} could not be cancelled: The step service at http://127.0.0.1:9 does not answer" in caplog.text


def test_airflow_finds_the_listener_among_its_plugins():
    import importlib.util
    from pathlib import Path

    path = Path(__file__).resolve().parents[2] / "plugins" / "jobs.py"
    spec = importlib.util.spec_from_file_location("jobs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert issubclass(module.JobsPlugin, AirflowPlugin)
    assert module.JobsPlugin.listeners == [listener]
