"""The buttons on a task: its job, the job's log, and the page that the step has made for people."""

from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom


class _PushedLink(BaseOperatorLink):
    """A link whose address the operator pushes as soon as it knows it."""

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002  Airflow's signature
        """Return the address, or nothing if there is none."""
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""


class JobLink(_PushedLink):
    """The job's page on the step service: state, attempt, resource class, memory, error."""

    name = "Job"


class LogLink(_PushedLink):
    """The job's log on the step service."""

    name = "Log"


class ReportLink(_PushedLink):
    """The page that the step has made for people, such as a gate's evidence."""

    name = "Report"


def push_job(context: Any, url: str, job_id: str) -> None:
    """Link the task to its job of the step service at ``url``, before its end is waited for."""
    context["ti"].xcom_push(JobLink().xcom_key, f"{url}/jobs/{job_id}?f=html")
    context["ti"].xcom_push(LogLink().xcom_key, f"{url}/jobs/{job_id}/logs")


def push_report(context: Any, address: str) -> None:
    """Link the task to what the step has made for people."""
    context["ti"].xcom_push(ReportLink().xcom_key, address)
