"""One DAG of one task for each misbehaving step, waiting in the triggerer or in its worker."""

import datetime as dt
import os

from airflow.sdk import DAG, CronPartitionTimetable

from operators.pipeline import DEFAULTS
from operators.step import StepOperator

# Runs have a day as their key, as every morning has; the tests trigger them.
NEW_YEAR = CronPartitionTimetable("0 0 1 1 *", timezone="UTC", key_format="simulated|%Y-%m-%d")

for step in ("holds", "outgrows", "hangs_once"):
    for waits, deferrable in (("deferred", True), ("synchronous", False)):
        with DAG(f"{step}__{waits}", schedule=NEW_YEAR, catchup=False, default_args=DEFAULTS):
            StepOperator(
                task_id="work",
                step=step,
                retailer="simulated",
                parameters={"folder": f"{os.environ['MARKETDAY_HOME']}/probes"},
                deferrable=deferrable,
                execution_timeout=dt.timedelta(minutes=10),
            )
