"""Carries out jobs: one child process each, a fixed number at a time, none waiting in memory."""

import contextlib
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import structlog

from marketday import __version__, retailers
from marketday.calls import Call
from marketday.client import JobStatus
from marketday.errors import JobLost, ServiceUnavailable, StepError
from marketday.retailers import Retailer
from marketday.service import child
from marketday.service.jobs import UNFINISHED, Ended, JobStore
from marketday.service.telemetry import Metrics
from marketday.settings import RESOURCE_CLASSES, ResourceClass, Settings
from marketday.steps import Step, get
from marketday.warehouse import NOTHING_YET, Warehouse

RETRY_AFTER_SECONDS = 2
"""What a refused caller is told to wait: about as long as a small step, and as a task needs to come back."""

PRELOAD = ("marketday.service.preload",)
"""Modules that the fork server imports before the first job."""

_EXIT_SECONDS = 5.0
"""A process that has reported may take this long to end by itself, one that was killed to be gone."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class _Running:
    """A job that holds a slot."""

    job: JobStatus
    call: Call
    limit: ResourceClass
    process: BaseProcess
    connection: "multiprocessing.connection.Connection[Any, Any]"


class Executor:
    """Jobs of one service."""

    def __init__(self, settings: Settings, store: JobStore, metrics: Metrics) -> None:
        self.settings = settings
        self.store = store
        self.metrics = metrics
        self.ready = False
        self._logs = settings.home.resolve() / "logs" / "jobs"
        self._context = multiprocessing.get_context("forkserver")
        self._supervisors = ThreadPoolExecutor(settings.service_slots, thread_name_prefix="job")
        self._running: dict[str, _Running] = {}
        self._ends: dict[str, Future[None]] = {}
        # Held while a slot is taken or given back, and whenever a process is started or asked for its exit code:
        # multiprocessing lets only one thread at a time do that.
        self._lock = threading.Lock()
        metrics.slots.set(settings.service_slots)

    def start(self) -> None:
        """Give up what a dead service left unfinished, and start the fork server."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for state in UNFINISHED:
            for job in self.store.search(state=state, limit=10_000):
                self.store.end(job.job_id, self._lost(job, "the step service was gone while it ran"))
        _limit_threads()
        self._context.set_forkserver_preload([*PRELOAD, *self.settings.step_modules.split()])
        first = self._context.Process(target=child.nothing)
        first.start()
        first.join()
        self.ready = True

    def stop(self) -> None:
        """End every job; they are lost, and may be submitted again to another service."""
        with self._lock:
            self.ready = False
            for running in self._running.values():
                self.store.end(running.job.job_id, self._lost(running.job, "the step service was stopped"))
                _kill(running.process)
            ends = list(self._ends.values())
        wait(ends, timeout=_EXIT_SECONDS)
        self._supervisors.shutdown(wait=False)

    def submit(self, call: Call, *, force: bool, run_id: str) -> tuple[JobStatus, bool]:
        """Return the call's job and whether it is new: it may be running already, or be recorded as successful.

        Raises:
            StepError: there is no such step, or not in that version.
            RetailerError: the retailer is not defined.
            ServiceUnavailable: no slot is free.

        """
        step = get(call.step, call.version)
        retailer = retailers.load(call.retailer, self.settings.retailers)
        size = retailer.resources.get(step.name, step.size)
        # Looked up before the lock: a warehouse that answers slowly must not hold up the other jobs.
        recorded = self._recorded(call, step, retailer) if step.repeatable and not force else None
        with self._lock:
            known = self._unfinished(call.key) or recorded
            if known is not None:
                return known, False
            if not self.ready:
                raise ServiceUnavailable(f"{call}: the step service is stopping", retry_after=RETRY_AFTER_SECONDS)
            if len(self._running) >= self.settings.service_slots:
                self.metrics.refusals.labels(step.name).inc()
                raise ServiceUnavailable(
                    f"{call}: all {self.settings.service_slots} slots of the step service are taken",
                    hint="Submit it again later; MARKETDAY_SERVICE_SLOTS says how many jobs run at a time.",
                    retry_after=RETRY_AFTER_SECONDS,
                )
            job = self.store.create(call, run_id, _definition(retailer))
            self._launch(job, call, RESOURCE_CLASSES[size])
        return self.store.get(job.job_id) or job, True

    def _unfinished(self, key: str) -> JobStatus | None:
        """Return the job of that key that is under way, or None.

        One that the store calls unfinished and that holds no slot is lost: its end could not be written down.
        """
        known = self.store.unfinished(key)
        if known is None or known.job_id in self._running:
            return known
        self.store.end(known.job_id, self._lost(known, "its end could not be recorded"))
        return None

    def _recorded(self, call: Call, step: Step, retailer: Retailer) -> JobStatus | None:
        """Return the recorded job whose result would come about again: what it read and wrote is there as it was."""
        job = self.store.recorded(call.key, _definition(retailer))
        result = self.store.result(job.job_id) if job else None
        if result is None:
            return None
        warehouse = Warehouse.from_settings(self.settings)
        now = {table.name: warehouse.version(call.retailer, table) for table in {*step.reads, *step.writes}}
        then = {name: result.snapshots.get(name, NOTHING_YET) for name in now}
        unchanged = all(now[table.name] == then[table.name] for table in step.unpinned(call))
        there = all(now[name] >= then[name] for name in result.hashes)
        return job if unchanged and there else None

    def log_path(self, job_id: str) -> Path:
        """Return where the job's log is."""
        return self._logs / f"{job_id}.log"

    def end_of(self, job_id: str) -> "Future[None] | None":
        """Return what is done as soon as the job has ended, or None if it has."""
        return self._ends.get(job_id)

    def cancel(self, job_id: str) -> None:
        """End the job and everything that it started; nothing changes if it has ended already."""
        with self._lock:
            running = self._running.get(job_id)
            end = self._ends.get(job_id)
            if self.store.end(job_id, Ended("dismissed", "Cancelled on request.")) and running:
                _kill(running.process)
        if end is not None:
            wait([end], timeout=_EXIT_SECONDS)

    def _launch(self, job: JobStatus, call: Call, limit: ResourceClass) -> None:
        ours, theirs = self._context.Pipe()
        arguments = {
            "call": call,
            "settings": self.settings,
            "context": _about(job),
            "threads": limit.cores,
            "log": self.log_path(job.job_id),
            "service": theirs,
        }
        process = self._context.Process(target=child.main, kwargs=arguments, name=str(call))
        try:
            process.start()
        except (OSError, EOFError) as error:
            self.store.end(job.job_id, self._lost(job, f"its process did not start: {error}"))
            raise ServiceUnavailable(f"{call}: no process could be started: {error}") from error
        finally:
            theirs.close()
        self.store.begin(job.job_id)
        self._running[job.job_id] = running = _Running(job, call, limit, process, ours)
        self.metrics.running.set(len(self._running))
        self._ends[job.job_id] = self._supervisors.submit(self._supervise, running)

    def _supervise(self, running: _Running) -> None:
        job_id, process = running.job.job_id, running.process
        how = self._outcome(running)
        # What the step started may still be there; the slot is free only when nothing of the job is left.
        _kill(process)
        multiprocessing.connection.wait([process.sentinel], _EXIT_SECONDS)
        running.connection.close()
        with self._lock:
            try:
                self.store.end(job_id, how)
            finally:
                del self._running[job_id], self._ends[job_id]
                self.metrics.running.set(len(self._running))
        if (job := self.store.get(job_id)) and job.started and job.finished:
            seconds = (job.finished - job.started).total_seconds()
            self.metrics.jobs.labels(job.process_id, job.status).inc()
            self.metrics.seconds.labels(job.process_id).observe(seconds)
            reason = {"message": job.message} if job.message else {}
            _log.info(f"job {job.status}", **_about(job), seconds=round(seconds, 3), **reason)

    def _outcome(self, running: _Running) -> Ended:
        """Wait for the job's report, its death or its time limit, whichever comes first."""
        job, process, connection = running.job, running.process, running.connection
        if not multiprocessing.connection.wait([connection, process.sentinel], running.limit.seconds):
            error = StepError(
                f"{running.call} was not done within the step's time limit of {running.limit.seconds} s",
                hint="See in the log what takes so long, or give it a larger class in the retailer's `resources`.",
                evidence=f"{self.settings.service_url}/jobs/{job.job_id}/log",
            )
            return Ended("failed", error.message, error=error.to_dict())
        with contextlib.suppress(EOFError, OSError):  # A process that died leaves no report, or half of one.
            report = json.loads(connection.recv_bytes())
            multiprocessing.connection.wait([process.sentinel], _EXIT_SECONDS)
            if "result" in report:
                return Ended("successful", result=report["result"])
            return Ended("failed", report["error"]["message"], error=report["error"])
        multiprocessing.connection.wait([process.sentinel], _EXIT_SECONDS)
        with self._lock:
            code = process.exitcode
        return self._lost(job, f"its process {_ending(code)} and left no result")

    def _lost(self, job: JobStatus, why: str) -> Ended:
        error = JobLost(
            f"{job.process_id} {job.retailer} {job.day}: the job was lost: {why}",
            hint="Run it again: a job that was lost has left nothing half-written.",
            evidence=f"{self.settings.service_url}/jobs/{job.job_id}/log",
        )
        return Ended("failed", error.message, error=error.to_dict())


def _definition(retailer: Retailer) -> str:
    """Return a hash of what a step's result depends on beside its call: the retailer's definition and our version."""
    return hashlib.sha256(f"{__version__} {retailer.fingerprint}".encode()).hexdigest()


def _about(job: JobStatus) -> dict[str, str]:
    """Return what every line of a log says about its job."""
    run = {"run_id": job.run_id} if job.run_id else {}
    return run | {"retailer": job.retailer, "day": str(job.day), "step": job.process_id, "job_id": job.job_id}


def _ending(code: int | None) -> str:
    """Say how a process ended, from its exit code."""
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL), most likely because the machine ran out of memory,"
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _kill(process: BaseProcess) -> None:
    """End the process, if it has not ended, and whatever is left of its group."""
    pid = process.pid
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if not multiprocessing.connection.wait([process.sentinel], 0):
        with contextlib.suppress(ProcessLookupError):  # It does not lead a group yet, and so has no children.
            os.kill(pid, signal.SIGKILL)


def _limit_threads() -> None:
    """Bound the thread pools of the libraries, which read this when the fork server imports them."""
    threads = min(len(os.sched_getaffinity(0)), max(limit.cores for limit in RESOURCE_CLASSES.values()))
    for variable in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, str(threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts these threads at import, before it is forked
