"""The metrics of the step service, all of them: docs/telemetry.md lists the same names, and a test compares the two.

Some are counted by each replica of the service since it started; to add these up over replicas is right. The others
are read from the job store whenever somebody asks: they outlive jobs and services, and every replica says the same.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, get_args

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from marketday import __version__
from marketday.calls import Result
from marketday.client import FINAL, JobStatus
from marketday.telemetry.logs import harmless

# Steps take from a tenth of a second to the two hours of the largest resource class; requests, unless they wait for a
# job to end (a minute at most), some milliseconds.
_JOB_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 900, 1800, 3600, 7200)
_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 60)

Refused = Literal["no_token", "wrong_token", "not_its_own", "too_many", "other_site", "store_away"]
"""Why a request was refused at the door: none of these tells which retailer was asked for."""


class Recorded(NamedTuple):
    """What the job store knows.

    ``successes`` are the last successful job of each retailer, step and block of the step's latest business day, with
    its result; ``unfinished`` are the accepted and running jobs of all replicas.
    """

    successes: Iterable[tuple[JobStatus, Result]]
    unfinished: Iterable[JobStatus]


class Metrics:
    """What one replica of the service measures; the names are stable."""

    def __init__(self, *, stage: str, steps: Iterable[str], recorded: Callable[[], Recorded]) -> None:
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # when a counter began is of no use to Prometheus, and doubles the series
        self.registry = registry = prometheus.CollectorRegistry()
        self._requests = prometheus.Histogram(
            "marketday_http_request_duration_seconds",
            "Time to answer an HTTP request, waiting for a job included.",
            ("route", "method", "status"),
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self._refused_requests = prometheus.Counter(
            "marketday_http_refusals", "Requests that were not let in.", ("reason",), registry=registry
        )
        self._jobs = prometheus.Counter("marketday_jobs", "Jobs that ended.", ("step", "state"), registry=registry)
        self._failures = prometheus.Counter(
            "marketday_job_failures", "Jobs that failed, by the error's type.", ("step", "error"), registry=registry
        )
        self._timeouts = prometheus.Counter(
            "marketday_job_timeouts", "Jobs that outlived their step's time limit.", ("step",), registry=registry
        )
        self._refusals = prometheus.Counter(
            "marketday_job_refusals", "Calls that found no free slot.", ("step",), registry=registry
        )
        self._seconds = prometheus.Histogram(
            "marketday_job_duration_seconds",
            "Wall time of jobs, from their process's start to their end.",
            ("step",),
            buckets=_JOB_SECONDS,
            registry=registry,
        )
        self.running = prometheus.Gauge("marketday_jobs_running", "Jobs that hold a slot.", registry=registry)
        self.slots = prometheus.Gauge("marketday_job_slots", "Jobs that may run at a time.", registry=registry)
        build = prometheus.Gauge(
            "marketday_build_info", "1; the labels say what runs.", ("version", "stage"), registry=registry
        )
        build.labels(__version__, stage).set(1)
        # A counter that appears with its first increment is one whose first increment no rate() sees.
        for reason in get_args(Refused):
            self._refused_requests.labels(reason)
        for step in steps:
            for state in FINAL:
                self._jobs.labels(step, state)
            for metric in (self._timeouts, self._refusals, self._seconds):
                metric.labels(step)
        registry.register(_FromStore(recorded))
        prometheus.ProcessCollector(registry=registry)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered; ``route`` is the route's template, so that labels stay few."""
        self._requests.labels(route, method, str(status)).observe(seconds)

    def refused_request(self, reason: Refused) -> None:
        """Count a request that was not let in."""
        self._refused_requests.labels(reason).inc()

    def refused(self, step: str) -> None:
        """Count a call that found no free slot."""
        self._refusals.labels(step).inc()

    def job_ended(self, job: JobStatus) -> None:
        """Count a job that has come to its end."""
        step = job.process_id
        self._jobs.labels(step, job.status).inc()
        if job.started and job.finished:
            self._seconds.labels(step).observe((job.finished - job.started).total_seconds())
        if job.error is not None:
            self._failures.labels(step, job.error["type"]).inc()
            if job.error["type"] == "TimedOut":
                self._timeouts.labels(step).inc()


class _FromStore(Collector):
    """Asks the job store at each scrape; one that does not answer takes only its own metrics away."""

    def __init__(self, recorded: Callable[[], Recorded]) -> None:
        self._recorded = recorded

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return what the store knows, and whether it answered."""
        answered = False
        with harmless("reading the job store for the metrics"):
            yield from _families(self._recorded())
            answered = True
        yield GaugeMetricFamily("marketday_job_store_up", "Whether the job store answered.", value=int(answered))


def _families(recorded: Recorded) -> list[GaugeMetricFamily]:
    unfinished = GaugeMetricFamily(
        "marketday_jobs_unfinished", "Jobs that are accepted or running.", labels=("step", "state")
    )
    for labels, count in Counter((job.process_id, job.status) for job in recorded.unfinished).items():
        unfinished.add_metric(labels, count)
    success = GaugeMetricFamily(
        "marketday_step_last_success_timestamp_seconds",
        "When the step last succeeded for its latest business day.",
        labels=("retailer", "step"),
    )
    day = GaugeMetricFamily(
        "marketday_step_last_day_timestamp_seconds",
        "Latest business day that the step has succeeded for: its midnight, UTC.",
        labels=("retailer", "step"),
    )
    memory = GaugeMetricFamily(
        "marketday_step_last_peak_memory_bytes",
        "Largest memory of a job of that day.",
        labels=("retailer", "step"),
    )
    rows = GaugeMetricFamily(
        "marketday_step_last_rows", "Rows that the step wrote for that day.", labels=("retailer", "step", "table")
    )
    for (retailer, step), blocks in _by_step(recorded.successes).items():
        jobs = [job for job, _ in blocks]
        midnight = dt.datetime.combine(max(job.day for job in jobs), dt.time(), dt.UTC)
        success.add_metric((retailer, step), max(job.finished.timestamp() for job in jobs if job.finished))
        day.add_metric((retailer, step), midnight.timestamp())
        if peaks := [job.peak_memory for job in jobs if job.peak_memory is not None]:
            memory.add_metric((retailer, step), max(peaks))
        for table in sorted({table for _, result in blocks for table in result.rows}):
            count = sum(result.rows.get(table, 0) for _, result in blocks)
            rows.add_metric((retailer, step, table), count)
    return [unfinished, success, day, memory, rows]


def _by_step(
    successes: Iterable[tuple[JobStatus, Result]],
) -> dict[tuple[str, str], list[tuple[JobStatus, Result]]]:
    grouped: dict[tuple[str, str], list[tuple[JobStatus, Result]]] = {}
    for job, result in successes:
        grouped.setdefault((job.retailer, job.process_id), []).append((job, result))
    return grouped
