"""The context that Airflow gives to a task, as far as operators use it."""

from collections.abc import Callable
from types import SimpleNamespace

from airflow.sdk import BaseOperator


class TaskInstance:
    """The part of Airflow's task instance that operators use."""

    stats_tags: dict[str, str] = {}  # noqa: RUF012  as Airflow's

    def __init__(self, returned: dict[str, list], max_tries: int) -> None:
        self.returned = returned
        self.max_tries = max_tries
        self.pushed: dict[str, object] = {}

    def xcom_pull(self, task_ids: list[str]) -> list:
        return [value for task_id in task_ids for value in self.returned.get(task_id, [None])]

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value


class TaskStateStore(dict):
    """What a task instance's tries tell each other; Airflow keeps it when the task is cleared, too."""

    def set(self, key: str, value: object) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


def contexts() -> Callable[..., dict]:
    """Return what makes the context of a task's try: ``make(task, returned={"upstream": [its return values]})``."""
    stores: dict[str, TaskStateStore] = {}

    def make(
        task: BaseOperator, *, key: str | None = "simulated|2025-03-03", conf=None, returned=None, cleared=False
    ) -> dict:
        # Airflow grants a task its retries; clearing it after its first try grants them on top of that one.
        max_tries = task.retries + (1 if cleared else 0)
        return {
            "dag_run": SimpleNamespace(partition_key=key, conf=conf),
            "run_id": "run1",
            "task": task,
            "task_state_store": stores.setdefault(task.task_id, TaskStateStore()),
            "ti": TaskInstance(returned or {}, max_tries),
        }

    return make
