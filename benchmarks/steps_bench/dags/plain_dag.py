"""The callable as a plain task, in a file that knows nothing of steps."""

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, CronPartitionTimetable
from steps_bench.nothing import nothing

NEW_YEAR = CronPartitionTimetable("0 0 1 1 *", timezone="UTC", key_format="simulated|%Y-%m-%d")

with DAG("plain", schedule=NEW_YEAR, catchup=False):
    PythonOperator(task_id="work", python_callable=nothing)
