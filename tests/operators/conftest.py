"""A fake step service, and the context that Airflow gives to a task."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from airflow.sdk import BaseOperator
from fake_service import FakeService, serving


class TaskInstance:
    """The part of Airflow's task instance that operators use."""

    def __init__(self, returned: dict[str, list], max_tries: int) -> None:
        self.returned = returned
        self.max_tries = max_tries
        self.pushed: dict[str, object] = {}

    def xcom_pull(self, task_ids: list[str]) -> list:
        return [value for task_id in task_ids for value in self.returned.get(task_id, [None])]

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    with serving(FakeService()) as service:
        monkeypatch.setenv("MARKETDAY_SERVICE_URL", service.url)
        yield service


@pytest.fixture
def context() -> Callable[..., dict]:
    """Make a task's context: ``context(task, returned={"upstream": [its return values]})``."""

    def make(
        task: BaseOperator, *, key: str | None = "simulated|2025-03-03", conf=None, returned=None, cleared=False
    ) -> dict:
        # Airflow grants a task its retries; clearing it after its first try grants them on top of that one.
        max_tries = task.retries + (1 if cleared else 0)
        run = SimpleNamespace(partition_key=key, conf=conf)
        return {"dag_run": run, "run_id": "run1", "task": task, "ti": TaskInstance(returned or {}, max_tries)}

    return make
