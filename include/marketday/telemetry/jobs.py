"""What is told about a job: by the service that owns it, and by the process that carries it out."""

import importlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from marketday.client import JobStatus
from marketday.settings import Settings
from marketday.telemetry import dask_tasks, errors, tracing
from marketday.telemetry.logs import about, configure_logging, harmless
from marketday.telemetry.metrics import Metrics

_FLUSH_SECONDS = 2.0
"""What spans and reports get to leave a process that has done its work."""

_log = structlog.stdlib.get_logger(__name__)


class JobTelemetry:
    """What a service tells about its jobs. No method raises."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.stopping = False
        """Whether the service is to stop: a job that is lost now is none that anybody must look into."""

    def started(self, job: JobStatus) -> tracing.Span:
        """Begin the job's span, below that of the request that is being answered."""
        with harmless("tracing a job"):
            return tracing.begin(f"job {job.process_id}", attributes=_attributes(about(job)))
        return tracing.Span(None)

    def ended(self, job: JobStatus, span: tracing.Span | None = None) -> None:
        """Log and count the end of a job, end its span, and report it if it is a failure that somebody must mend."""
        error = job.error or {}
        with harmless("telling the end of a job"):
            seconds = (job.finished - job.started).total_seconds() if job.finished and job.started else None
            facts = {"seconds": seconds, "peak_memory": job.peak_memory, "message": job.message or None}
            known = {name: value for name, value in facts.items() if value is not None}
            _log.info(f"job {job.status}", **about(job), **known)
            self.metrics.job_ended(job)
            if span and error:
                span.fail(error["type"], error["message"])
            if span:
                span.end()
        if not (self.stopping and error.get("type") == "JobLost"):
            errors.report_job(job)


@contextmanager
def carried_out(settings: Settings, context: Mapping[str, str], traceparent: str = "") -> Iterator[None]:
    """Make this process the one that carries out a job: its logs, its spans and those of its Dask tasks.

    ``context`` is what every line says about the job (:func:`.logs.about`); ``traceparent`` is the job's span.
    """
    match traceparent.split("-"):
        case [_, trace, _, _]:
            context = {**context, "trace_id": trace}
    configure_logging(settings, lambda: context)
    errors.configure(settings)
    tracing.configure(settings)
    with (
        tracing.span(f"step {context['step']}", parent=traceparent, attributes=_attributes(context)) as span,
        dask_tasks.watched(context, span),
    ):
        yield


def preload() -> None:
    """Import what a job's process will need, in the one that it is forked from; nothing of it starts a thread."""
    if tracing.wanted():
        importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    if os.environ.get("MARKETDAY_SENTRY_DSN"):
        importlib.import_module("sentry_sdk")


def flush() -> None:
    """Send what a process has not sent yet; a receiver that is away holds it up for some seconds at most."""
    deadline = time.monotonic() + _FLUSH_SECONDS
    with harmless("sending the last spans and reports"):
        tracing.flush(_FLUSH_SECONDS)
        errors.flush(max(0.0, deadline - time.monotonic()))


def _attributes(context: Mapping[str, str]) -> dict[str, str]:
    return {f"marketday.{name}": value for name, value in context.items() if name != "trace_id"}
