"""The job slots: a fixed number of jobs at a time, one child process each, none waiting in memory."""

import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import NoReturn

from marketday import retailers
from marketday.calls import Call
from marketday.client import JobStatus
from marketday.errors import ServiceUnavailable
from marketday.service import endings, recorded
from marketday.service.process import EXIT_SECONDS, start_fork_server
from marketday.service.running import RunningJob, ended, lease_ends
from marketday.service.store import Ended, JobStore
from marketday.settings import Settings, Size
from marketday.steps import get
from marketday.telemetry.jobs import JobTelemetry
from marketday.telemetry.metrics import Metrics
from marketday.telemetry.tracing import Span

RETRY_AFTER_SECONDS = 2
"""What a refused caller is told to wait: about as long as a small step, and as a task needs to come back."""

PRELOAD = ("marketday.service.preload",)
"""Modules that the fork server imports before the first job."""

_DRAIN_SECONDS = 0.1
"""How often a service that stops looks whether its jobs have ended, or are to."""
_FAILED_STARTS = 3
"""Processes in a row that could not be started, after which the slots start anew."""


class Slots:
    """Jobs of one service, which the store knows as ``service``; an actor of the supervisor.

    Stopping takes no new jobs and lets those that run end for `service_grace` seconds, or until ``hurry`` is set.
    """

    name = "job slots"

    def __init__(
        self, settings: Settings, store: JobStore, metrics: Metrics, *, service: str, hurry: threading.Event
    ) -> None:
        self.settings = settings
        self.store = store
        self.metrics = metrics
        self.service = service
        self.ready = False
        self._hurry = hurry
        self._logs = settings.home.resolve() / "logs" / "jobs"
        self._running: dict[str, RunningJob] = {}
        # Held by the one submission that is decided about, also while it waits for the store.
        self._admission = threading.Lock()
        self._failed_starts = 0
        self._why_not_started = ""
        self.telemetry = JobTelemetry(metrics)
        metrics.slots.set(settings.service_slots)

    def start(self) -> None:
        """Start what jobs are forked from, and take jobs."""
        self._logs.mkdir(parents=True, exist_ok=True)
        threads = max(limit.cores for limit in self.settings.resource_classes.values())
        start_fork_server([*PRELOAD, *self.settings.step_modules.split()], threads=threads)
        self._failed_starts = 0
        self.telemetry.stopping = False
        self.ready = True

    def healthy(self) -> str | None:
        """Return why no job can run, or None."""
        if self._failed_starts < _FAILED_STARTS:
            return None
        return f"{self._failed_starts} processes in a row could not be started: {self._why_not_started}"

    def stop(self) -> None:
        """Take no more jobs, wait for those that run, and end as lost what still runs after the grace period."""
        self.ready = False
        self.telemetry.stopping = True
        with self._admission:  # a submission that was under way has its process now
            deadline = time.monotonic() + self.settings.service_grace
        while self._running and time.monotonic() < deadline and not self._hurry.is_set():
            ended(self._jobs(), _DRAIN_SECONDS)
        for job in self._jobs():
            job.end_as(endings.lost(job.job, "the step service was stopped", self.settings))
        ended(self._jobs(), EXIT_SECONDS)
        for job in self._jobs():
            job.give_up()

    def submit(self, call: Call, *, force: bool, run_id: str) -> tuple[JobStatus, bool]:
        """Return the call's job and whether it is new: it may be under way already, or be recorded as successful.

        A new job runs in the step's resource class, or in the next larger one if the attempt before it ran out of
        memory there.

        Raises:
            StepError: there is no such step, or not in that version.
            RetailerError: the retailer is not defined.
            ServiceUnavailable: no slot is free, the service is stopping, or the job store does not answer.

        """
        step = get(call.step, call.version)
        retailer = retailers.load(call.retailer, self.settings.retailers)
        known = self.store.unfinished(call.key)
        if known and self.is_held(known):
            return known, False
        # Looked up before the lock: a warehouse that answers slowly must not hold up the other jobs.
        if not force and (job := recorded.find(call, step, retailer, store=self.store, settings=self.settings)):
            return job, False
        with self._admission:
            attempts = self.store.attempts(call.key)
            if attempts and (known := self._under_way(attempts[0])):
                return known, False
            self._admit(call)
            own = retailer.resources.get(step.name, step.size)
            size, why = endings.next_size(own, attempts)
            runs_until = lease_ends(self.settings.lease)
            job, new = self.store.create(
                call,
                definition=recorded.definition(step, retailer),
                size=size,
                service=self.service,
                lease=self.settings.lease,
                run_id=run_id,
                message=why,
            )
            return (self._launch(job, call, own, runs_until), True) if new else (job, False)

    def cancel(self, job_id: str) -> None:
        """End the job and everything that it started; nothing changes if it has ended already.

        What a job of another service has started is gone within a heartbeat of that service.
        """
        cancelled = Ended("dismissed", "Cancelled on request.")
        if self.store.end(job_id, cancelled) and (job := self._running.get(job_id)):
            job.end_as(cancelled)
            ended([job], EXIT_SECONDS)

    def log_path(self, job_id: str) -> Path:
        """Return where the log of a job of this service is."""
        return self._logs / f"{job_id}.log"

    def end_of(self, job_id: str) -> "Future[None] | None":
        """Return what is done as soon as a job of this service has ended; None if it has, or is another's."""
        job = self._running.get(job_id)
        return job.ended if job else None

    def held(self) -> list[str]:
        """Return the ids of the jobs that hold a slot."""
        return list(self._running)

    def renewed(self, job_ids: set[str], runs_until: float) -> None:
        """Note that the leases of these jobs let them run until a time on the monotonic clock."""
        for job in self._jobs():
            if job.job.job_id in job_ids:
                job.runs_until = runs_until

    def abandon(self, job_id: str) -> None:
        """End what is left of a job that the store does not call unfinished any more."""
        if job := self._running.get(job_id):
            job.end_as(Ended("dismissed", "It was ended through another service."))

    def _jobs(self) -> list[RunningJob]:
        return list(self._running.values())

    def is_held(self, job: JobStatus) -> bool:
        """Whether somebody carries out an unfinished job, as far as can be known."""
        return job.service != self.service or job.job_id in self._running

    def _under_way(self, job: JobStatus) -> JobStatus | None:
        """Return the latest job of a key if it is under way, else None.

        One of ours that the store calls unfinished and that holds no slot is lost: its end could not be written down.
        """
        if job.final:
            return None
        if self.is_held(job):
            return job
        if self.store.end(job.job_id, endings.lost(job, "its end could not be recorded", self.settings)):
            return None
        return self.store.get(job.job_id)  # it has ended this very moment

    def _admit(self, call: Call) -> None:
        if not self.ready:
            raise ServiceUnavailable(
                f"{call}: the step service is starting or stopping", retry_after=RETRY_AFTER_SECONDS
            )
        if len(self._running) >= self.settings.service_slots:
            self.metrics.refused(call.step)
            raise ServiceUnavailable(
                f"{call}: all {self.settings.service_slots} slots of the step service are taken",
                hint="Submit it again later; MARKETDAY_SERVICE_SLOTS says how many jobs run at a time.",
                retry_after=RETRY_AFTER_SECONDS,
            )

    def _launch(self, job: JobStatus, call: Call, own: Size, runs_until: float) -> JobStatus:
        span = self.telemetry.started(job)
        try:
            running = RunningJob(
                job,
                call,
                self.settings,
                self.store,
                own=own,
                log=self.log_path(job.job_id),
                runs_until=runs_until,
                traceparent=span.traceparent,
            )
        except (OSError, EOFError) as error:
            self._not_started(job, span, error)
        self._failed_starts = 0
        self._running[job.job_id] = running
        self.metrics.running.set(len(self._running))
        threading.Thread(target=self._carry_out, args=(running, span), name=f"job {job.job_id}", daemon=True).start()
        return self.store.begin(job.job_id) or job

    def _not_started(self, job: JobStatus, span: Span, error: Exception) -> NoReturn:
        self._failed_starts += 1
        self._why_not_started = f"{type(error).__name__} {error}"
        lost = endings.lost(job, f"its process did not start: {error}", self.settings)
        if self.store.end(job.job_id, lost) and (final := self.store.get(job.job_id)):
            self.telemetry.ended(final, span)
        raise ServiceUnavailable(f"{endings.name(job)}: no process could be started: {error}") from error

    def _carry_out(self, running: RunningJob, span: Span) -> None:
        try:
            if job := running.supervise():
                self.telemetry.ended(job, span)
        finally:
            # In this order: whoever waited for the end finds the slot free.
            del self._running[running.job.job_id]
            self.metrics.running.set(len(self._running))
            running.ended.set_result(None)
