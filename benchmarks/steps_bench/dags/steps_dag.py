"""The callable as a step, and jobs that are waited for."""

import os

from airflow.sdk import DAG, CronPartitionTimetable

from operators.step import StepOperator

NEW_YEAR = CronPartitionTimetable("0 0 1 1 *", timezone="UTC", key_format="simulated|%Y-%m-%d")

with DAG("step", schedule=NEW_YEAR, catchup=False):
    StepOperator(task_id="work", step="noop", retailer="simulated")

with DAG("waiting", schedule=NEW_YEAR, catchup=False):
    blocks = [str(number) for number in range(int(os.environ["BENCH_JOBS"]))]
    StepOperator.partial(task_id="wait", step="sleeps", retailer="simulated", parameters={"seconds": 3600}).expand(
        block=blocks
    )
