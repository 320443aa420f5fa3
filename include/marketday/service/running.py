"""One job that runs: its process is watched until it reports, dies, is too slow or too large, or is to be ended."""

import threading
import time
from concurrent.futures import Future, wait
from pathlib import Path

import structlog

from marketday.calls import Call
from marketday.client import JobStatus
from marketday.errors import OutOfMemory, ServiceUnavailable
from marketday.service import endings, limits
from marketday.service.limits import Watch
from marketday.service.process import EXIT_SECONDS, JobProcess
from marketday.service.store import Ended, JobStore
from marketday.settings import Settings, Size
from marketday.telemetry.logs import about

_SAMPLE_SECONDS = 0.25
"""How often a job is looked at: its memory, its time, and whether it is to be ended."""
_LEASE_SHARE = 0.8
"""Of a lease that is not renewed, after which a job is ended."""
_RECORD_SECONDS = 1.0
"""Pause before a job's end is written again to a store that did not answer."""

_log = structlog.stdlib.get_logger(__name__)


class RunningJob:
    """A job that holds a slot, from the start of its process until nothing of it is left and its end is recorded.

    Whoever wants it to end says how (:meth:`end_as`); only the thread that supervises the job touches its process.
    ``own`` is the step's own resource class; the job's is a larger one if the attempt before ran out of memory.

    Raises:
        OSError, EOFError: its process could not be started.

    """

    def __init__(
        self,
        job: JobStatus,
        call: Call,
        settings: Settings,
        store: JobStore,
        *,
        own: Size,
        log: Path,
        runs_until: float,
        traceparent: str = "",
    ) -> None:
        self.job = job
        self.ended: Future[None] = Future()
        """Done as soon as the slot is free again."""
        self.runs_until = runs_until
        """On the monotonic clock; see :func:`lease_ends`."""
        self._size: Size = job.size or own
        self._own = own
        self._settings = settings
        self._store = store
        self._log = log
        self._doom: Ended | None = None
        self._given_up = threading.Event()
        limit = settings.resource_classes[self._size]
        self._process = JobProcess(
            str(call),
            call=call,
            settings=settings,
            context=about(job),
            limit=limit,
            log=log,
            traceparent=traceparent,
        )
        self._watch = Watch(limit)

    def end_as(self, how: Ended) -> None:
        """Let the job end so, with everything that it has started, unless it ends by itself first."""
        self._doom = self._doom or how

    def give_up(self) -> None:
        """Do not wait any longer for a store that does not take the job's end; its lease will tell the others."""
        self._given_up.set()

    def supervise(self) -> JobStatus | None:
        """Wait for the job's end, whichever way it comes, leave nothing of it behind, and record it.

        Return the job as it is in the store then; None if the store does not answer and nobody waits for it any more.
        """
        try:
            how = self._outcome()
        finally:
            if left := self._process.close(patience=0.0 if self._doom else EXIT_SECONDS):
                _log.error("processes cannot be ended", **about(self.job), pids=left)
        return self._record(how._replace(peak_memory=self._watch.peak or None))

    def _outcome(self) -> Ended:
        deadline = time.monotonic() + self._settings.resource_classes[self._size].seconds
        pause = 0.0  # a job that ends within the first pause has had memory too
        while not self._process.wait(pause):
            pause = _SAMPLE_SECONDS
            self._watch.sample(self._process.pids)
            if how := self._doom or self._trespass(deadline):
                self._doom = how
                return how
        self._watch.sample(self._process.pids)
        report = self._process.report()
        if report is None:
            return self._doom or self._died()
        if "result" in report:
            return Ended("successful", result=report["result"])
        if report["error"]["type"] == OutOfMemory.__name__:
            return self._out_of_memory(report["error"]["message"])
        return Ended("failed", report["error"]["message"], error=report["error"])

    def _trespass(self, deadline: float) -> Ended | None:
        """Return how the job must end now, if it must."""
        if self._watch.exceeded:
            return self._out_of_memory()
        if time.monotonic() > deadline:
            return endings.timed_out(self.job, self._size, self._settings)
        if time.monotonic() > self.runs_until:
            why = f"its lease of {self._settings.lease:g} s could not be renewed, because the job store did not answer"
            return endings.lost(self.job, why, self._settings)
        return None

    def _died(self) -> Ended:
        if cause := limits.refused_in(self._log):
            return self._out_of_memory(cause)
        return endings.lost(self.job, f"its process {self._process.ending()} and left no result", self._settings)

    def _out_of_memory(self, cause: str = "") -> Ended:
        return endings.out_of_memory(
            self.job, size=self._size, own=self._own, peak=self._watch.peak, settings=self._settings, cause=cause
        )

    def _record(self, how: Ended) -> JobStatus | None:
        while True:
            try:
                self._store.end(self.job.job_id, how)
                return self._store.get(self.job.job_id)
            except ServiceUnavailable as error:
                _log.warning("the job's end is not recorded yet", **about(self.job), why=error.message)
                if self._given_up.wait(_RECORD_SECONDS):
                    return None


def lease_ends(lease: float) -> float:
    """Return until when, on the monotonic clock, a job may run whose lease of so many seconds is being renewed now.

    Earlier than it is over for others, so that its processes are gone when the next attempt begins.
    """
    return time.monotonic() + _LEASE_SHARE * lease


def ended(jobs: "list[RunningJob]", seconds: float) -> bool:
    """Wait for the end of all jobs, for at most ``seconds``; return whether they have ended."""
    return not wait([job.ended for job in jobs], timeout=seconds).not_done
