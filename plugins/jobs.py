"""Lets Airflow tell `operators.listener` what has become of tasks and runs."""

from airflow.plugins_manager import AirflowPlugin

from operators import listener


class JobsPlugin(AirflowPlugin):
    """Ends the jobs of tasks and runs that somebody has ended."""

    name = "marketday_jobs"
    listeners = [listener]  # noqa: RUF012  Airflow's name and type
