"""The lifecycle of one step as an Airflow task: submit, wait without a worker, fetch the result, fail with advice."""

import datetime as dt
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, BaseOperatorLink, ExceptionRetryPolicy
from airflow.sdk.execution_time.xcom import XCom

from marketday import settings
from marketday.calls import Call, Result
from marketday.errors import JobLost, MarketdayError, ServiceUnavailable
from marketday.settings import RESOURCE_CLASSES
from operators.business_day import business_day
from operators.hook import StepServiceHook
from operators.retries import RETRY_POLICY
from operators.triggers import LONG_POLL, JobTrigger, Reason

PATIENCE = 3.0
"""Seconds to wait with the worker: to defer and come back takes about as long, and most steps of a small retailer end
within them."""


PAUSE = 10.0
"""Seconds until a service that does not answer is asked again."""


class _PushedLink(BaseOperatorLink):
    """A link whose address the operator pushes as soon as it knows it."""

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002  Airflow's signature
        """Return the address, or nothing if there is none."""
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""


class JobLink(_PushedLink):
    """The job's log on the step service."""

    name = "Job"


class ReportLink(_PushedLink):
    """The page that the step has made for people, such as a gate's evidence."""

    name = "Report"


class StepOperator(BaseOperator):
    """Carry out one step of a retailer's business day; children name the step.

    The step reads the table versions that the tasks directly before it have left behind, and the returned XCom says
    which versions there are now. Clearing the task carries the step out anew; a retry joins the job still running.
    """

    step: str
    template_fields = ("block", "parameters")
    operator_extra_links = (JobLink(), ReportLink())

    def __init__(
        self,
        *,
        retailer: str,
        parameters: dict[str, Any] | None = None,
        block: str | None = None,
        runner: Literal["service", "local"] = "service",
        deferrable: bool = True,
        retry_policy: ExceptionRetryPolicy = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.retailer = retailer
        self.parameters = parameters
        self.block = block
        self.runner = runner
        self.deferrable = deferrable
        self.job_id = ""

    def execute(self, context: Any) -> dict[str, Any]:
        """Carry the step out here, or have the step service do it."""
        if self.runner == "local":
            return self._run_here(context)
        return self.submit(context, give_up_at=time.time() + self._limit.total_seconds())

    def submit(self, context: Any, event: object = None, *, give_up_at: float) -> dict[str, Any]:  # noqa: ARG002  Airflow's
        """Have the step service start the job; while it is full or away, come back later without using up a retry."""
        call, force = self._call(context), cleared(context)
        with StepServiceHook().get_conn() as client:
            try:
                job = client.submit(call, force, run_id=context["run_id"])
            except ServiceUnavailable as away:
                pause = away.retry_after or PAUSE
                if time.time() + pause > give_up_at:
                    raise
                self.log.info("%s; asking again in %g s", away.message, pause)
                self.defer(
                    trigger=TimeDeltaTrigger(dt.timedelta(seconds=pause)),
                    method_name="submit",
                    kwargs={"give_up_at": give_up_at},
                )
            self.job_id = job.job_id
            self.log.info("%s: job %s%s", call, job.job_id, ", carried out anew" if force else "")
            context["ti"].xcom_push(JobLink().xcom_key, f"{client.url}/jobs/{job.job_id}/log")
            if not job.final:
                job = client.status(job.job_id, wait=PATIENCE)
            if not job.final and self.deferrable:
                self.defer(
                    trigger=JobTrigger(url=client.url, job_id=job.job_id), method_name="finish", timeout=self._limit
                )
            while not job.final:
                job = client.status(job.job_id, wait=LONG_POLL)
        return self.finish(context, {"job_id": job.job_id, "status": job.status, "message": job.message})

    def finish(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """Fetch the result of the job that has ended, or raise the step's own error."""
        reason = Reason(event["status"])
        if reason is Reason.UNREACHABLE:
            raise ServiceUnavailable(event["message"])
        if reason in {Reason.LOST, Reason.DISMISSED}:
            raise JobLost(f"Job {event['job_id']} of {self.task_id} is gone ({reason.value}): {event['message']}")
        with StepServiceHook().get_conn() as client:
            return self._outcome(context, lambda: client.result(event["job_id"]))

    def on_kill(self) -> None:
        """Cancel the job; once the task waits in the triggerer, its trigger does."""
        if self.job_id:
            with StepServiceHook().get_conn() as client:
                client.cancel(self.job_id)

    @property
    def _limit(self) -> dt.timedelta:
        return self.execution_timeout or dt.timedelta(seconds=max(size.seconds for size in RESOURCE_CLASSES.values()))

    def _call(self, context: Any) -> Call:
        before = context["ti"].xcom_pull(task_ids=sorted(self.upstream_task_ids)) if self.upstream_task_ids else []
        return Call(
            step=self.step,
            retailer=self.retailer,
            day=business_day(context, self.retailer),
            block=self.block,
            inputs=merged_snapshots(before),
            params=self.parameters or {},
        )

    def _run_here(self, context: Any) -> dict[str, Any]:
        from marketday.runners import local  # noqa: PLC0415  the library's heavy part, needed in this process only now

        # A task's process must not start the processes of a Dask cluster: Airflow's own entry point would run in them.
        here = settings.load().model_copy(update={"dask_scheduler": "threads"})
        return self._outcome(context, lambda: local.run(self._call(context), here))

    def _outcome(self, context: Any, carry_out: Callable[[], Result]) -> dict[str, Any]:
        """Return the step's result as data; either way, link to the page that it has made for people."""
        try:
            result = carry_out()
        except MarketdayError as error:
            if error.evidence:
                context["ti"].xcom_push(ReportLink().xcom_key, error.evidence)
            raise
        for title, address in result.links.items():
            self.log.info("%s: %s", title, address)
            context["ti"].xcom_push(ReportLink().xcom_key, address)
        self.log.info("rows written: %s; facts: %s", result.rows, result.facts)
        return result.model_dump(mode="json")


def merged_snapshots(returned: Iterable[object]) -> dict[str, int]:
    """Return the latest version of each table among what tasks have returned; only steps' results have snapshots."""
    merged: dict[str, int] = {}
    for value in returned:
        snapshots = value.get("snapshots", {}) if isinstance(value, Mapping) else {}
        for table, version in snapshots.items():
            merged[table] = max(version, merged.get(table, version))
    return merged


def cleared(context: Any) -> bool:
    """Whether somebody has cleared the task: Airflow then grants it its retries anew, on top of the tries so far.

    This holds for the retries of a cleared task too. A running job is joined all the same; what must not happen is
    that the job's loss brings back the result that the clearing was to replace.
    """
    return bool(context["ti"].max_tries > context["task"].retries)
