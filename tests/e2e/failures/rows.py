"""A row of the matrix: one task on a day of its own, to which something happens, and what must hold at its end."""

import datetime as dt
import html
import itertools
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import polars as pl
from deltalake import DeltaTable

from failures.machine import Machine, wait_until
from marketday import tables
from marketday.cli.airflow_api import ENDED, Airflow, Run, Task
from marketday.client import JobStatus
from marketday.errors import ServiceError
from marketday.service.store import JobStore
from marketday.warehouse import Warehouse

RETAILER = "simulated"
PATIENCE = 240.0
"""Seconds for a task to come to its end, with all retries that a row asks for."""


class Support(Airflow):
    """What a person does and sees in Airflow's pages."""

    def process_of(self, run: Run, task: Task) -> int:
        return self._send("GET", f"{self._path(run)}/taskInstances/{task.task_id}")["pid"]

    def lines(self, run: Run, task: Task) -> list[str]:
        """Return what the task's log says; nothing of a try that Airflow has not kept, as after a power cut."""
        try:
            events = self.log(run, task)
        except ServiceError as error:
            if "TaskInstance not found" not in str(error):
                raise
            return []
        return [text for event in events for text in _texts(event)]

    def mark_failed(self, run: Run, task: Task) -> None:
        self._send("PATCH", f"{self._path(run)}/taskInstances/{task.task_id}", json={"new_state": "failed"})

    def mark_run_failed(self, run: Run) -> None:
        self._send("PATCH", self._path(run), json={"state": "failed"})


def _texts(event: dict[str, Any]) -> list[str]:
    """Return what a line of a task's log says, with the messages of the errors that it shows."""
    return [str(event["event"]), *(str(error["exc_value"]) for error in event.get("error_detail") or ())]


class World:
    """A machine with its Airflow, its job store and its warehouse."""

    def __init__(self, machine: Machine, airflow: Support) -> None:
        self.machine = machine
        self.settings = machine.settings
        self.airflow = airflow
        self.store = JobStore(machine.settings.jobs_database)
        self._days = (dt.date(2025, 1, 1) + dt.timedelta(n) for n in itertools.count())

    def begin(self, step: str, *, deferrable: bool = True) -> "Row":
        """Trigger a run of the step's DAG for a day that no other row has."""
        dag_id = f"{step}__{'deferred' if deferrable else 'synchronous'}"
        day = next(self._days)
        self.airflow.wait_for_dag(dag_id)
        self.airflow.unpause(dag_id)
        return Row(self, step, day, self.airflow.trigger(dag_id, f"{RETAILER}|{day}"))

    def page(self, job: JobStatus) -> str:
        """Return the text of the job's page, to which the task has a link."""
        page = httpx.get(f"{self.settings.service_url}/jobs/{job.job_id}", params={"f": "html"}, trust_env=False)
        return html.unescape(page.text)

    def hold(self, *, deferrable: bool = True) -> "Row":
        """Begin a row whose job is in mid-step, and whose task waits for it."""
        row = self.begin("holds", deferrable=deferrable)
        row.wait_for_execution(1)
        row.wait_for_task("deferred" if deferrable else "running")
        if deferrable:
            wait_until(lambda: f"{row.task.task_id}/-1/1 (ID" in row.log, why=row.story)
        return row


class Row:
    """One task of one day."""

    def __init__(self, world: World, step: str, day: dt.date, run: Run) -> None:
        self.world = world
        self.step = step
        self.day = day
        self.run = run
        self._place = world.settings.home / "probes" / str(day)

    @property
    def task(self) -> Task:
        (task,) = self.world.airflow.tasks(self.run)
        return task

    @property
    def jobs(self) -> list[JobStatus]:
        """The attempts at the task's call, the first one first."""
        found = self.world.store.search(retailer=RETAILER, limit=1000)
        return sorted((job for job in found if job.day == self.day), key=lambda job: job.attempt)

    @property
    def log(self) -> str:
        """The task's log, over all of its tries."""
        task = self.task
        tries = [task.model_copy(update={"try_number": number}) for number in range(1, task.try_number + 1)]
        return "\n".join(line for each in tries for line in self.world.airflow.lines(self.run, each))

    def wait_for_execution(self, times: int) -> None:
        """Wait until the step has begun so many times."""
        wait_until((self._place / f"begun-{times}").exists, 120, why=self.story)

    def wait_for_task(self, *states: str, seconds: float = 60.0) -> None:
        wait_until(lambda: self.task.state in states, seconds, why=self.story)

    def wait_for_try(self, number: int) -> None:
        """Wait until the task is in its ``number``-th try and has looked at the job of the one before."""
        wait_until(lambda: self.task.try_number == number and "The job of an earlier try" in self.log, 60, self.story)

    def kill_worker(self) -> None:
        """SIGKILL the process in a worker that carries the task out."""
        assert self.task.state == "running", self.story()
        os.kill(self.world.airflow.process_of(self.run, self.task), signal.SIGKILL)

    def clear(self) -> None:
        """Clear the task, as support does to have it carried out again."""
        assert self.world.airflow.clear(self.run, [self.task.task_id]) == [self.task.task_id]

    def mark_failed(self) -> None:
        self.world.airflow.mark_failed(self.run, self.task)

    def mark_run_failed(self) -> None:
        self.world.airflow.mark_run_failed(self.run)

    def let_go(self) -> None:
        self._place.mkdir(parents=True, exist_ok=True)
        (self._place / "released").touch()

    def ends(self, state: str) -> None:
        """Wait until the run has ended, and see that it has ended so."""
        deadline = time.monotonic() + PATIENCE
        while (run := self.world.airflow.run(self.run)).state not in ENDED:
            assert time.monotonic() < deadline, self.story()
            time.sleep(0.2)
        assert run.state == state, self.story()

    def is_cancelled_within(self, seconds: float) -> None:
        """See that the one job is dismissed in time and that nothing of it is left, neither process nor effect."""
        wait_until(
            lambda: self.jobs[-1].status == "dismissed" and not self.world.machine.orphans(), seconds, why=self.story
        )
        assert self.rows().is_empty()

    def has_its_effect_once(self, *words: str, attempts: int) -> None:
        """See that the task succeeds, that its effect is there once and nothing is left over, and that support is told.

        ``attempts`` is how many jobs it took; ``words`` stand in the task's log or on the page of one of its jobs.
        """
        self.ends("success")
        assert self.rows().select("day", "name").rows() == [(self.day, self.step)]
        assert self._commits() == 1
        assert [job.status == "successful" for job in self.jobs] == [False] * (attempts - 1) + [True], self.story()
        assert self.world.store.search(state="running") == self.world.store.search(state="accepted") == []
        assert self.world.machine.orphans() == []
        told = "\n".join([self.log, *map(self.world.page, self.jobs)])
        assert [text for text in words if text not in told] == [], told

    def rows(self) -> pl.DataFrame:
        """Return what the step has left in its table."""
        written = Warehouse.from_settings(self.world.settings).scan(RETAILER, tables.EVENTS)
        return written.filter(pl.col("run_day") == self.day).collect()

    def _commits(self) -> int:
        table = DeltaTable(str(Path(self.world.settings.warehouse_url) / RETAILER / tables.EVENTS.name))
        return sum(commit.get("run_day") == str(self.day) for commit in table.history())

    def story(self) -> str:
        task = self.task
        jobs = [(job.attempt, job.status, job.message) for job in self.jobs]
        return f"{self.step} {self.day}: {task.state}, try {task.try_number}; jobs {jobs}; log:\n{self.log}"
