"""Airflow's REST API, as far as the command line and the end-to-end tests need it."""

import datetime as dt
import time
from collections.abc import Sequence
from typing import Any, Literal, Self, cast
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from marketday.errors import ServiceError, ServiceUnavailable, listed

RunState = Literal["queued", "running", "success", "failed"]
ENDED: frozenset[RunState] = frozenset({"success", "failed"})

_POLL_SECONDS = 0.5
_GRACE_SECONDS = 15.0
_PAGE = 100
_TRIES = 3
_LAST = dt.datetime.max.replace(tzinfo=dt.UTC)


class Run(BaseModel):
    """One run of a DAG."""

    dag_id: str
    dag_run_id: str
    partition_key: str | None
    state: RunState


class Task(BaseModel):
    """One task of a run; ``map_index`` is -1 unless it is one of several blocks."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    start_date: dt.datetime | None
    end_date: dt.datetime | None
    rendered_map_index: str | None = None

    @property
    def name(self) -> str:
        """Name for people: the task, and which of its blocks."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.rendered_map_index or self.map_index}]"

    def seconds(self, now: dt.datetime) -> float:
        """Return the time since the task's start until its end, or until ``now``."""
        return ((self.end_date or now) - self.start_date).total_seconds() if self.start_date else 0.0


class Airflow:
    """Calls to one Airflow. Each failure is a ServiceError that says what Airflow answered."""

    def __init__(self, url: str, user: str, password: str, *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        # Loopback, or a machine of our own: a proxy for the outside world would not find it.
        self._client = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)
        token = self._send("POST", "/auth/token", json={"username": user, "password": password})["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def wait_for_dag(self, dag_id: str, seconds: float = 90.0) -> None:
        """Wait until the DAG processor has read the DAG.

        Raises:
            ServiceError: it does not appear in time; names the files that could not be read.

        """
        began = time.monotonic()
        while not self._known(dag_id):
            waited = time.monotonic() - began
            errors = self.import_errors()
            # An error may be another file's, and ours not read yet.
            if waited > seconds or (errors and waited > _GRACE_SECONDS):
                raise ServiceError(
                    f"Airflow has no DAG {dag_id}",
                    hint="Mend the file that cannot be read." if errors else "Look whether the retailer is defined.",
                    evidence="\n".join(errors),
                )
            time.sleep(_POLL_SECONDS)

    def import_errors(self) -> list[str]:
        """Return what could not be read among the DAG files: the file and its error, one text each."""
        found = self._send("GET", "/api/v2/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in found]

    def unpause(self, dag_id: str) -> None:
        """Let the DAG's runs be carried out; a new DAG is paused."""
        self._send("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, partition_key: str) -> Run:
        """Start a run for the partition key. There may be several for one; each is a run of its own."""
        body = {"logical_date": None, "partition_key": partition_key}
        return Run.model_validate(self._send("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body))

    def runs(self, dag_id: str, partition_key: str) -> list[Run]:
        """Return the runs for the partition key, the latest first."""
        params: dict[str, Any] = {"partition_key_pattern": partition_key, "order_by": "-run_after", "limit": _PAGE}
        found = self._send("GET", f"/api/v2/dags/{dag_id}/dagRuns", params=params)["dag_runs"]
        # The pattern is SQL's LIKE, which takes an underscore for any character.
        return [Run.model_validate(run) for run in found if run["partition_key"] == partition_key]

    def run(self, run: Run) -> Run:
        """Return the run as it is now."""
        return Run.model_validate(self._send("GET", self._path(run)))

    def tasks(self, run: Run) -> list[Task]:
        """Return the run's tasks, in the order in which they started."""
        tasks: list[Task] = []
        while True:
            params: dict[str, Any] = {"limit": _PAGE, "offset": len(tasks)}
            page = self._send("GET", f"{self._path(run)}/taskInstances", params=params)
            tasks += [Task.model_validate(task) for task in page["task_instances"]]
            if not page["task_instances"] or len(tasks) >= page["total_entries"]:
                break
        return sorted(tasks, key=lambda task: (task.start_date or _LAST, task.map_index))

    def log(self, run: Run, task: Task) -> list[dict[str, Any]]:
        """Return the events that the task's last try has logged; an error's has ``error_detail``."""
        path = f"{self._path(run)}/taskInstances/{quote(task.task_id)}/logs/{task.try_number}"
        answer = self._send("GET", path, params={"map_index": task.map_index}, headers={"Accept": "application/json"})
        return [event for event in answer["content"] if isinstance(event, dict)]

    def error(self, run: Run, task: Task) -> str:
        """Return the message of the exception that ended the task's last try, or its last error message."""
        for event in reversed(self.log(run, task)):
            if details := event.get("error_detail"):
                return str(details[-1]["exc_value"])
            if event.get("level") in {"error", "critical"}:
                return str(event["event"])
        return "Its log holds no error."

    def clear(self, run: Run, task_ids: Sequence[str], *, downstream: bool = True) -> list[str]:
        """Have tasks carried out again, and all that follow from them unless told not to; return what was cleared."""
        body = {
            "dag_run_id": run.dag_run_id,
            "task_ids": list(task_ids),
            "include_downstream": downstream,
            "dry_run": False,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        answer = self._send("POST", f"/api/v2/dags/{run.dag_id}/clearTaskInstances", json=body)
        return [task["task_id"] for task in answer["task_instances"]]

    def page(self, run: Run, task: Task | None = None) -> str:
        """Return the address of the run's (or the task's) page."""
        page = f"{self.url}/dags/{run.dag_id}/runs/{quote(run.dag_run_id)}"
        if task is None:
            return page
        return f"{page}/tasks/{task.task_id}" + (f"/mapped/{task.map_index}" if task.map_index >= 0 else "")

    def _path(self, run: Run) -> str:
        return f"/api/v2/dags/{run.dag_id}/dagRuns/{quote(run.dag_run_id)}"

    def _known(self, dag_id: str) -> bool:
        found = self._send("GET", "/api/v2/dags", params={"dag_id_pattern": dag_id, "limit": _PAGE})["dags"]
        return any(dag["dag_id"] == dag_id for dag in found)

    def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        tries = 1
        while _was_locked(answer := self._answer(method, path, **options)) and tries < _TRIES:
            tries += 1
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise ServiceError(
                f"Airflow at {self.url} refuses the login",
                hint="Set MARKETDAY_AIRFLOW_USER and MARKETDAY_AIRFLOW_PASSWORD.",
            )
        if not answer.is_success:
            raise ServiceError(f"{method} {answer.url}: {answer.status_code}: {listed(answer.text.splitlines())}")
        return cast("dict[str, Any]", answer.json())

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise ServiceUnavailable(
                f"Airflow at {self.url} does not answer: {type(error).__name__} {error}".rstrip(),
                hint="Start it with `marketday up`, or add --embedded, or set MARKETDAY_AIRFLOW_URL to where it runs.",
            ) from error


def _was_locked(answer: httpx.Response) -> bool:
    """Whether Airflow could not write to its database, and so has done nothing.

    Its API server may wait for a lock of SQLite that another of its own requests holds, until it gives up after 5 s.
    """
    return answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and '"Database error"' in answer.text
