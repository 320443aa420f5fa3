"""What runs inside a job's own process: the step, its log, and the report to the service."""

import json
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import structlog

from marketday.calls import Call
from marketday.errors import JobFailed, MarketdayError
from marketday.runners import local
from marketday.secrets import redact_all
from marketday.service import limits
from marketday.service.tree import Tree
from marketday.settings import ResourceClass, Settings
from marketday.telemetry import errors
from marketday.telemetry.jobs import carried_out, flush

_log = structlog.stdlib.get_logger(__name__)


def nothing() -> None:
    """Do nothing: the first process that is forked proves that the fork server is up."""


def main(
    *,
    call: Call,
    settings: Settings,
    context: dict[str, str],
    limit: ResourceClass,
    log: Path,
    service: "Connection[Any, Any]",
    traceparent: str = "",
) -> None:
    """Carry out ``call`` within ``limit`` and report ``{"result": …}`` or ``{"error": …}`` as JSON to the service.

    A step that was refused memory is reported as OutOfMemory in the words of whoever asked for it; the service knows
    how much the job had, and what comes next.

    The process leads a session, so that it can be ended with everything that it starts; it ends itself if the service
    goes away. ``context`` is what every line of the log says about the job, ``traceparent`` its span.
    """
    _write_to(log)
    threading.Thread(target=end_with, args=(service,), daemon=True).start()
    limits.apply(limit)
    try:
        with carried_out(settings, context, traceparent):
            _log.info("started", pid=os.getpid(), cores=limit.cores, memory_gib=limit.memory_gib)
            result = local.run(call, settings)
        _log.info("successful", **{f"rows_{table}": count for table, count in result.rows.items()})
        report = {"result": result.model_dump(mode="json")}
    except MarketdayError as error:
        failure = limits.refused(error) or error
        if isinstance(failure, JobFailed):
            failure.evidence = f"{settings.service_url}/jobs/{context['job_id']}/logs"
        _log.exception("failed", error=type(failure).__name__, message=failure.message)
        errors.report(failure, step=call.step, context=context)
        report = {"error": redact_all(failure.to_dict())}
    sys.stdout.flush()
    service.send_bytes(json.dumps(report).encode())
    flush()


def _write_to(log: Path) -> None:
    """Send what this process and its children print, and what C libraries print, into the job's log."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, sys.__stdout__.fileno() if sys.__stdout__ else 1)
    os.dup2(file, sys.__stderr__.fileno() if sys.__stderr__ else 2)
    os.close(file)


def end_with(service: "Connection[Any, Any]") -> None:
    """Wait for the end of the service, and end this process and all that it has started."""
    # The service never sends anything: the connection becomes readable when its other end is gone.
    service.poll(None)
    Tree(os.getpid()).kill_descendants()
    os.killpg(0, signal.SIGKILL)
