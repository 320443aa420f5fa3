"""Logs as logfmt on stdout, and the metrics."""

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_KEYS = ("ts", "level", "msg", "run_id", "retailer", "day", "step", "job_id")
# Steps take from a tenth of a second to the two hours of the largest resource class.
_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 900, 1800, 3600, 7200)


def configure_logging(level: str) -> None:
    """Send this process's logs, also those of libraries, to stdout: one line of logfmt each."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("msg"),
    ]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.LogfmtRenderer(key_order=_KEYS, drop_missing=True),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # its INFO tells what it reads from nowhere
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


class Metrics:
    """What the service counts; the names are stable."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs = Counter("marketday_jobs", "Jobs that ended.", ("step", "state"), registry=self.registry)
        self.refusals = Counter(
            "marketday_job_refusals", "Calls that found no free slot.", ("step",), registry=self.registry
        )
        self.running = Gauge("marketday_jobs_running", "Jobs that hold a slot.", registry=self.registry)
        self.slots = Gauge("marketday_job_slots", "Jobs that may run at a time.", registry=self.registry)
        self.seconds = Histogram(
            "marketday_job_seconds", "Wall time of jobs.", ("step",), buckets=_SECONDS, registry=self.registry
        )
