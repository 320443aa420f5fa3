"""The lifecycle of one step as an Airflow task: submit, wait without a worker, fetch the result, fail with advice."""

import datetime as dt
import time
from collections.abc import Callable
from typing import Any, Literal

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, ExceptionRetryPolicy, ResumableJobMixin
from airflow.sdk.exceptions import TaskDeferralTimeout

from marketday import settings
from marketday.calls import Call, Result, StepVersion
from marketday.errors import JobLost, MarketdayError, ServiceError, ServiceUnavailable
from operators import links
from operators.calls import call_of, cleared
from operators.hook import StepServiceHook
from operators.lineage import Lineage
from operators.retries import RETRY_POLICY, jittered
from operators.returned import returned
from operators.timeouts import http_call, task_limit
from operators.triggers import LONG_POLL, JobTrigger, Reason

PATIENCE = 3.0
"""Seconds to wait with the worker: to defer and come back takes about as long, and most steps of a small retailer end
within them."""

PAUSE = 10.0
"""Seconds until a service that does not answer is asked again."""

LEAST_PAUSE = 5.0
"""Seconds that a task without a worker waits at least, whatever the service says; see `triggers.SETTLES`."""

_GONE = {Reason.LOST: "is lost", Reason.DISMISSED: "was cancelled"}


class StepOperator(Lineage, ResumableJobMixin, BaseOperator):
    """Carry out one step of a retailer's business day; children name the step, or ``step`` does.

    The step reads the table versions that the tasks directly before it have left behind, and the returned XCom says
    which versions there are now. A retry joins the job that is running; clearing the task cancels it and starts over;
    whoever kills the task or fails its run cancels it too. While the job runs, the task waits in the triggerer, or with
    ``deferrable=False`` in its worker.

    Raises:
        MarketdayError: what the step raised, or why the step service could not carry it out.

    """

    step: str = ""
    external_id_key = "marketday_job"
    template_fields = ("block", "parameters")
    operator_extra_links = (links.JobLink(), links.LogLink(), links.ReportLink())

    def __init__(
        self,
        *,
        retailer: str,
        step: str = "",
        parameters: dict[str, Any] | None = None,
        block: str | None = None,
        version: StepVersion = 1,
        service: str = "",
        runner: Literal["service", "local"] = "service",
        deferrable: bool = True,
        retry_policy: ExceptionRetryPolicy = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.step = step or self.step
        if not self.step:
            raise TypeError(f"{type(self).__name__} names no step: set it in the class, or give step=…")
        self.retailer = retailer
        self.parameters = parameters
        self.block = block
        self.version = version
        self.service = service
        self.runner = runner
        self.deferrable = deferrable
        self.job_id = ""
        self.killed = False
        self.result: Result | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        """Carry the step out here, or have the step service do it."""
        with task_limit(self.step, self._limit):
            if self.runner == "local":
                return self._run_here(context)
            return self.join(context, give_up_at=time.time() + self._limit.total_seconds())

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Go on after the triggerer; a wait that has outlived the task's limit ends the job."""
        with task_limit(self.step, self._limit):
            try:
                return super().resume_execution(next_method, next_kwargs, context)
            except TaskDeferralTimeout:
                self.job_id = (context["task_state_store"].get(self.external_id_key) or {}).get("job_id", "")
                self.on_kill()
                raise

    def join(self, context: Any, event: object = None, *, give_up_at: float) -> dict[str, Any]:  # noqa: ARG002  Airflow's
        """Start the job or join it; while the service is full or away, ask again without using up a retry."""
        while True:
            try:
                done: dict[str, Any] = self.execute_resumable(context)
            except ServiceUnavailable as away:
                pause = jittered(max(away.retry_after or PAUSE, LEAST_PAUSE if self.deferrable else 0.0))
                if time.time() + pause > give_up_at:
                    raise
                self.log.info("%s; asking again in %.1f s", away.message, pause)
            else:
                return done
            if self.deferrable:
                trigger = TimeDeltaTrigger(dt.timedelta(seconds=pause))
                self.defer(trigger=trigger, method_name="join", kwargs={"give_up_at": give_up_at})
            time.sleep(pause)

    def submit_job(self, context: Any) -> dict[str, Any]:
        """Have the step service start the call's job, or join the one that runs; return what a retry needs to know."""
        call, force = self._call(context), cleared(context)
        with self._hook.get_conn() as client, http_call("submit"):
            job = client.submit(call, force, run_id=context["run_id"])
            url = client.url
        self.job_id = job.job_id
        self.log.info("%s: job %s, class %s%s", call, job.job_id, job.size, ", carried out anew" if force else "")
        if self.killed:  # while the service was answering
            self.on_kill()
        return {"job_id": job.job_id, "url": url, "granted": context["ti"].max_tries}

    def get_job_status(self, external_id: Any, context: Any) -> str:
        """Return the state of an earlier try's job; if the task was cleared since, the job is cancelled."""
        with self._hook.get_conn() as client:
            try:
                if external_id["granted"] != context["ti"].max_tries:
                    with http_call("cancel"):
                        client.cancel(external_id["job_id"])
                    return "cleared"
                with http_call("status"):
                    job = client.status(external_id["job_id"])
            except ServiceUnavailable:
                raise
            except ServiceError as unknown:
                self.log.info("%s", unknown)
                return "unknown"
        # The log of a try whose worker was killed ends without a reason; this one is where people look.
        why = f": {job.message}" if job.message else ""
        self.log.info("The job of an earlier try, %s, is %s%s", job.job_id, job.status, why)
        return job.status

    def is_job_active(self, status: str) -> bool:
        """Whether a job in this state can be joined."""
        return status in {"accepted", "running"}

    def is_job_succeeded(self, status: str) -> bool:
        """Whether a job in this state has a result."""
        return status == Reason.SUCCESSFUL

    def poll_until_complete(self, external_id: Any, context: Any) -> dict[str, Any]:
        """Wait for the job's end, first for a moment in the worker, and return its result."""
        self.job_id = external_id["job_id"]
        with self._hook.get_conn() as client:
            links.push_job(context, client.url, self.job_id)
            with http_call("status"):
                job = client.status(self.job_id, wait=PATIENCE)
            if job.message:
                self.log.info("Job %s: %s", self.job_id, job.message)
            if not job.final and self.deferrable:
                trigger = JobTrigger(url=client.url, job_id=self.job_id)
                self.defer(trigger=trigger, method_name="finish", timeout=self._limit)
            while not job.final:
                with http_call("status"):
                    job = client.status(self.job_id, wait=LONG_POLL)
        return self.finish(context, {"job_id": self.job_id, "status": job.status, "message": job.message})

    def finish(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """Fetch the result of the job that has ended, or raise the step's own error."""
        reason = Reason(event["status"])
        if reason is Reason.UNREACHABLE:
            raise ServiceUnavailable(event["message"])
        if reason in _GONE:
            raise JobLost(f"Job {event['job_id']} of {self.task_id} {_GONE[reason]}: {event['message']}".rstrip(": "))
        return self.get_job_result(event, context)

    def get_job_result(self, external_id: Any, context: Any) -> dict[str, Any]:
        """Return the result of a job that has ended; asked for once, however often Airflow asks."""
        if self.result is None:
            with self._hook.get_conn() as client, http_call("result"):
                self.result = self._reported(context, lambda: client.result(external_id["job_id"]))
        return returned(self.result)

    def on_kill(self) -> None:
        """Cancel the job; once the task waits in the triggerer, its trigger does."""
        self.killed = True
        if self.job_id:
            try:
                with self._hook.get_conn() as client, http_call("cancel"):
                    client.cancel(self.job_id)
            except ServiceError as error:  # must not hide why the task is being ended
                self.log.warning("Job %s could not be cancelled: %s", self.job_id, error)

    def reads(self) -> list[str]:
        """Return the names of the tables that the step declares to read, in the version that the service has."""
        if self.runner == "local":
            return super().reads()
        with self._hook.get_conn() as client, http_call("process"):
            return client.process(self.step).reads

    @property
    def _hook(self) -> StepServiceHook:
        return StepServiceHook(url=self.service)

    @property
    def _limit(self) -> dt.timedelta:
        classes = settings.load().resource_classes.values()
        return self.execution_timeout or dt.timedelta(seconds=max(size.seconds for size in classes))

    def _call(self, context: Any) -> Call:
        return call_of(
            context,
            step=self.step,
            version=self.version,
            retailer=self.retailer,
            block=self.block,
            parameters=self.parameters,
        )

    def _run_here(self, context: Any) -> dict[str, Any]:
        from marketday.runners import local  # noqa: PLC0415  the library's heavy part, needed in this process only now

        # A task's process must not start the processes of a Dask cluster: Airflow's own entry point would run in them.
        here = settings.load().model_copy(update={"dask_scheduler": "threads"})
        self.result = self._reported(context, lambda: local.run(self._call(context), here))
        return returned(self.result)

    def _reported(self, context: Any, carry_out: Callable[[], Result]) -> Result:
        """Return the step's result; either way, link to the page that it has made for people."""
        try:
            result = carry_out()
        except MarketdayError as error:
            if error.evidence and not isinstance(error, ServiceError):  # the job's log has a link of its own
                links.push_report(context, error.evidence)
            raise
        for title, address in result.links.items():
            self.log.info("%s: %s", title, address)
            links.push_report(context, address)
        self.log.info("rows written: %s; facts: %s", result.rows, result.facts)
        return result
