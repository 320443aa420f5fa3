"""What a step costs as a task of Airflow, and what many that are waited for cost the triggerer."""

import datetime as dt
import time
from collections.abc import Iterator
from itertools import count

from psutil import NoSuchProcess
from rich.console import Console

from marketday.cli.airflow_api import ENDED, Airflow, Run
from marketday.embedded import Platform
from marketday.embedded.processes import Session

_DAYS = (dt.date(2025, 1, 1) + dt.timedelta(n) for n in count())
_POLL_SECONDS = 0.2
_WAIT_SECONDS = 900.0


def overheads(airflow: Airflow, console: Console, *, tasks: int) -> dict[str, list[float]]:
    """Run a task of either kind in turn: seconds from the trigger of its run to its end, under "plain" and "step"."""
    took: dict[str, list[float]] = {"plain": [], "step": []}
    for dag_id in took:
        airflow.wait_for_dag(dag_id)
        airflow.unpause(dag_id)
        _seconds(airflow, dag_id)  # the first of its kind also warms up Airflow
    with console.status("tasks …") as status:
        for number in range(tasks):
            status.update(f"task {number + 1} of {tasks} …")
            for dag_id, seconds in took.items():
                seconds.append(_seconds(airflow, dag_id))
    return took


def triggerer_share(
    airflow: Airflow, platform: Platform, console: Console, *, runs: int, jobs: int, seconds: float
) -> float:
    """Let ``runs`` times ``jobs`` tasks wait for jobs; return the share of a core that the triggerer takes meanwhile.

    Each task waits for itself, and asks for itself. Those of different runs wait for the same job, as a task does that
    was cleared or asked for twice: so many jobs would be so many processes, which say nothing of the triggerer.
    """
    airflow.wait_for_dag("waiting")
    airflow.unpause("waiting")
    day = next(_DAYS)
    started = [airflow.trigger("waiting", f"simulated|{day}") for _ in range(runs)]
    deadline = time.monotonic() + _WAIT_SECONDS
    with console.status("tasks begin to wait …") as status:
        while (waiting := sum(_deferred(airflow, run) for run in started)) < runs * jobs:
            if time.monotonic() > deadline:
                raise SystemExit(f"Only {waiting} of {runs * jobs} tasks wait after {_WAIT_SECONDS:g} s")
            status.update(f"{waiting} of {runs * jobs} tasks wait …")
            time.sleep(2.0)
        status.update(f"watching the triggerer for {seconds:g} s …")
        (triggerer,) = (session for session in platform.sessions if session.name == "airflow-triggerer")
        before, began = _cpu(triggerer), time.perf_counter()
        time.sleep(seconds)
        return (_cpu(triggerer) - before) / (time.perf_counter() - began)


def _seconds(airflow: Airflow, dag_id: str) -> float:
    triggered = dt.datetime.now(dt.UTC)
    run = airflow.trigger(dag_id, f"simulated|{next(_DAYS)}")
    while (run := airflow.run(run)).state not in ENDED:
        time.sleep(_POLL_SECONDS)
    (task,) = airflow.tasks(run)
    if run.state != "success" or task.end_date is None:
        raise SystemExit(f"A task of {dag_id} failed: {airflow.error(run, task)}")
    return (task.end_date - triggered).total_seconds()


def _deferred(airflow: Airflow, run: Run) -> int:
    return sum(task.state == "deferred" for task in airflow.tasks(run))


def _cpu(session: Session) -> float:
    """Return the CPU seconds that the session's processes have taken since each was started."""
    return sum(_times(session))


def _times(session: Session) -> Iterator[float]:
    for process in session.family():
        try:
            times = process.cpu_times()
        except NoSuchProcess:
            continue
        yield times.user + times.system
