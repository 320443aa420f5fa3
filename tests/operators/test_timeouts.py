"""Every limit has a counter and a histogram, and a message that names it."""

import datetime as dt
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralTimeout
from airflow.sdk.execution_time.timeout import timeout

from marketday.client import StepServiceClient
from marketday.errors import ServiceUnavailable
from operators.stages import CleanOperator
from operators.timeouts import http_call, run_failed, task_limit


class Recorded:
    """Keeps what is reported through Airflow's statistics."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, dict]] = []
        self.timed: list[tuple[str, dict]] = []

    def incr(self, stat: str, tags: dict) -> None:
        self.counted.append((stat, tags))

    def timing(self, stat: str, dt: dt.timedelta, tags: dict) -> None:
        assert dt >= type(dt)(0)
        self.timed.append((stat, tags))


@pytest.fixture
def recorded(monkeypatch) -> Recorded:
    recorded = Recorded()
    monkeypatch.setattr("airflow.sdk._shared.observability.metrics.stats._backend", recorded)
    return recorded


@pytest.fixture
def deaf() -> Iterator[str]:
    """A service that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_call_that_is_not_answered_in_time_is_counted_and_timed(recorded, deaf):
    with (
        pytest.raises(ServiceUnavailable, match=r"HTTP call GET .* was not answered within its limit of 0.1 s"),
        StepServiceClient(deaf, timeout=0.1) as client,
        http_call("status"),
    ):
        client.status("job0")
    assert recorded.counted == [("marketday.http_call_timeouts", {"call": "status"})]
    assert recorded.timed == [("marketday.http_call", {"call": "status"})]


def test_a_call_that_is_refused_is_timed_and_no_timeout(recorded):
    with (
        pytest.raises(ServiceUnavailable),
        StepServiceClient("http://127.0.0.1:9") as client,
        http_call("status"),
    ):
        client.status("job0")
    assert (recorded.counted, len(recorded.timed)) == ([], 1)


@pytest.mark.parametrize("kind", [AirflowTaskTimeout, TaskDeferralTimeout])
def test_a_tasks_timeout_is_counted_and_says_that_it_was_the_task(recorded, kind):
    with (
        pytest.raises(kind, match="Timeout of the task: clean was ended after 0:25:00"),
        task_limit("clean", dt.timedelta(minutes=25)),
    ):
        raise kind("Timeout, PID: 1")
    assert recorded.counted == [("marketday.task_timeouts", {"step": "clean"})]


def test_a_task_that_outlives_its_limit_in_its_worker_says_so(recorded, service, context):
    service.seconds = 30.0
    task = CleanOperator(
        task_id="clean", retailer="simulated", deferrable=False, execution_timeout=dt.timedelta(seconds=0.3)
    )
    with pytest.raises(AirflowTaskTimeout, match="Timeout of the task: clean"), timeout(0.3):
        task.execute(context(task))
    task.on_kill()  # as Airflow does then
    assert service.status(service.jobs["job0"])["status"] == "dismissed"
    assert ("marketday.task_timeouts", {"step": "clean"}) in recorded.counted


@pytest.mark.parametrize(("reason", "counted"), [("timed_out", 1), ("task_failure", 0)])
def test_a_run_that_outlives_its_limit_is_counted_and_one_that_fails_is_not(recorded, caplog, reason, counted):
    dag = SimpleNamespace(dag_id="daily__simulated", dagrun_timeout=dt.timedelta(hours=20))
    run_failed({"reason": reason, "dag": dag, "run_id": "run1"})
    assert recorded.counted == [("marketday.run_timeouts", {"dag_id": "daily__simulated"})] * counted
    assert caplog.messages == ["Timeout of the run: daily__simulated run1 has not ended within 20:00:00"] * counted


def test_without_statistics_nothing_is_reported_and_nothing_fails():
    with http_call("status"):
        pass
