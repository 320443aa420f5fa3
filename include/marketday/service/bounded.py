"""Work on what came from outside, in a process with little memory and time: whatever it does to itself ends with it."""

import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa

from marketday.errors import MarketdayError, ServiceUnavailable, from_dict
from marketday.service import limits
from marketday.service.child import end_with
from marketday.service.process import JobProcess
from marketday.settings import ResourceClass

_LATER_SECONDS = 30.0
"""After which there may be room on the disk again."""

_LOOK_SECONDS = 0.02
"""Between two looks at its memory: it can take about 50 MB meanwhile."""

Work = Callable[..., dict[str, Any]]
"""A function of a module, with arguments that can be pickled, that returns what JSON can say."""


class Ended(Exception):  # noqa: N818  says what became of it
    """The work was more than its process could do; the message goes on from "it"."""


def run(name: str, work: Work, bounds: ResourceClass, **arguments: Any) -> dict[str, Any]:
    """Call ``work(**arguments)`` in a process of its own and return what it returns.

    Raises:
        MarketdayError: what it raised.
        Ended: it needed more memory or time than ``bounds``, or died.
        ServiceUnavailable: no process could be started, or a disk was full or failed.

    """
    try:
        process = JobProcess(name, _main, work=work, bounds=bounds, arguments=arguments)
    except (OSError, EOFError) as error:
        raise ServiceUnavailable(f"{name}: no process could be started: {error}", retry_after=1) from error
    deadline = time.monotonic() + bounds.seconds
    watch = limits.Watch(bounds)
    try:
        while not process.wait(_LOOK_SECONDS):
            watch.sample(process.pids)
            if watch.exceeded:
                raise Ended(f"needed more than {bounds.memory_gib:g} GiB of memory")
            if time.monotonic() > deadline:
                raise Ended(f"took more than {bounds.seconds:g} s")
        report = process.report()
        if report is None:
            raise Ended(process.ending())
    finally:
        process.close(0)
    if "ended" in report:
        raise Ended(report["ended"])
    if "unavailable" in report:
        raise ServiceUnavailable(f"{name}: {report['unavailable']}", retry_after=_LATER_SECONDS)
    if "error" in report:
        raise from_dict(report["error"])
    result: dict[str, Any] = report["result"]
    return result


def _main(*, work: Work, bounds: ResourceClass, arguments: dict[str, Any], service: "Connection[Any, Any]") -> None:
    threading.Thread(target=end_with, args=(service,), daemon=True).start()
    _bind(bounds)
    try:
        report: dict[str, Any] = {"result": work(**arguments)}
    except Exception as error:
        if limits.refused(error):
            report = {"ended": f"needed more than {bounds.memory_gib:g} GiB of memory"}
        elif isinstance(error, MarketdayError):
            report = {"error": error.to_dict()}
        elif isinstance(error, OSError):  # what a file's own content causes is a MarketdayError by now
            report = {"unavailable": os.strerror(error.errno) if error.errno else "a file could not be used"}
        else:
            raise
    service.send_bytes(json.dumps(report).encode())


def _bind(bounds: ResourceClass) -> None:
    """Let this process have ``bounds`` beside what it was forked with; the kernel refuses what asks for more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve far more than they use
    pa.set_cpu_count(bounds.cores)
    pa.set_io_thread_count(1)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    most = int(status["VmData"].split()[0]) * 1024 + int(bounds.memory_gib * limits.GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (bounds.seconds + 1, bounds.seconds + 1))
    os.nice(limits.NICE)
