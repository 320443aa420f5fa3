"""Four time limits, one inside the other, each with a counter and a histogram; a message names the one that was hit.

=========  ============================================  ==============================  =============================
limit      how long                                      counter                         histogram
=========  ============================================  ==============================  =============================
HTTP call  the client's timeout                          marketday.http_call_timeouts    marketday.http_call
step       its resource class's seconds                  the step service's              the step service's
task       the next larger class's seconds, and slack    marketday.task_timeouts         Airflow's task.duration
run        20 hours                                      marketday.run_timeouts          Airflow's dagrun.duration
=========  ============================================  ==============================  =============================

They are counted through Airflow's own statistics (StatsD or OpenTelemetry); without those, nowhere.
"""

import datetime as dt
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralTimeout
from airflow.sdk.observability import stats

from marketday.errors import ServiceUnavailable

_log = logging.getLogger(__name__)


@contextmanager
def http_call(name: str) -> Iterator[None]:
    """Time one call to the step service, and count it if it ran into its timeout."""
    began = time.monotonic()
    try:
        yield
    except ServiceUnavailable as error:
        if isinstance(error.__cause__, httpx.TimeoutException):
            stats.incr("marketday.http_call_timeouts", tags={"call": name})
        raise
    finally:
        stats.timing("marketday.http_call", dt.timedelta(seconds=time.monotonic() - began), tags={"call": name})


@contextmanager
def task_limit(step: str, limit: dt.timedelta) -> Iterator[None]:
    """Count a task that has outlived its limit, in its worker or in the triggerer, and say that it was the task's."""
    try:
        yield
    except (AirflowTaskTimeout, TaskDeferralTimeout) as timeout:
        stats.incr("marketday.task_timeouts", tags={"step": step})
        raise type(timeout)(
            f"Timeout of the task: {step} was ended after {limit}, which is longer than the step itself may take. "
            "What to do: nothing while it is tried again; then see whether the step service is overloaded."
        ) from timeout


def run_failed(context: Mapping[str, Any]) -> None:
    """Count a run that has outlived its limit; Airflow calls this whenever a run has failed."""
    if context.get("reason") != "timed_out":
        return
    dag = context["dag"]
    stats.incr("marketday.run_timeouts", tags={"dag_id": dag.dag_id})
    _log.error("Timeout of the run: %s %s has not ended within %s", dag.dag_id, context["run_id"], dag.dagrun_timeout)
