"""What runs inside a job's own process: the step, its log, and the report to the service."""

import json
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import dask
import structlog

from marketday.calls import Call
from marketday.errors import JobFailed, MarketdayError
from marketday.runners import local
from marketday.service.telemetry import configure_logging
from marketday.settings import Settings

_log = structlog.stdlib.get_logger(__name__)


def nothing() -> None:
    """Do nothing: the first process that is forked proves that the fork server is up."""


def main(
    *, call: Call, settings: Settings, context: dict[str, str], threads: int, log: Path, service: "Connection[Any, Any]"
) -> None:
    """Carry out ``call`` and report ``{"result": …}`` or ``{"error": …}`` as JSON to the service.

    The process leads a group of its own, so that it can be ended with everything that it starts; it ends itself if
    the service goes away. ``context`` is what every line of the log says: run, retailer, day, step and job.
    """
    os.setsid()
    _write_to(log)
    configure_logging(settings.log_level)
    structlog.contextvars.bind_contextvars(**context)
    threading.Thread(target=_end_with, args=(service,), daemon=True).start()
    dask.config.set(num_workers=threads)
    _log.info("started", pid=os.getpid(), threads=threads)
    try:
        result = local.run(call, settings)
        _log.info("successful", **{f"rows_{table}": count for table, count in result.rows.items()})
        report = {"result": result.model_dump(mode="json")}
    except MarketdayError as error:
        if isinstance(error, JobFailed):
            error.evidence = f"{settings.service_url}/jobs/{context['job_id']}/log"
        traceback.print_exception(error)
        _log.error("failed", error=type(error).__name__, message=error.message)
        report = {"error": error.to_dict()}
    sys.stdout.flush()
    service.send_bytes(json.dumps(report).encode())


def _write_to(log: Path) -> None:
    """Send what this process and its children print, and what C libraries print, into the job's log."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, sys.__stdout__.fileno() if sys.__stdout__ else 1)
    os.dup2(file, sys.__stderr__.fileno() if sys.__stderr__ else 2)
    os.close(file)


def _end_with(service: "Connection[Any, Any]") -> None:
    # The service never sends anything: the connection becomes readable when its other end is gone.
    service.poll(None)
    os.killpg(0, signal.SIGKILL)
