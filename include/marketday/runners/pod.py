"""What runs inside a pod: one step, whose end is reported through a file of at most 4096 bytes.

That is what Kubernetes keeps of a container's termination message in the pod's status. Result and error reach Airflow
there: no volume, no sidecar, and no way from the pod to Airflow is needed.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import structlog

from marketday import secrets
from marketday.calls import Call, Result
from marketday.errors import JobLost, MarketdayError, StepError, from_dict
from marketday.settings import Settings

LIMIT = 4096
"""Bytes of a report: Kubernetes cuts a termination message that is longer."""

LOST = 128 + signal.SIGTERM
"""Exit code of a step that was ended from outside, as a shell counts."""

_TEXTS = ("message", "hint", "evidence")

_NO_SIGNAL = b"\0"

_log = structlog.stdlib.get_logger(__name__)


def threads(cores: int) -> dict[str, str]:
    """Return the environment in which polars, Arrow, BLAS, LightGBM and Dask use ``cores`` threads each.

    They read it when they are imported.
    """
    names = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_IO_THREADS", "DASK_NUM_WORKERS")
    return dict.fromkeys(names, str(cores))


def run(
    call: Call,
    settings: Settings,
    *,
    context: Mapping[str, str] | None = None,
    traceparent: str = "",
    report: Path | None = None,
) -> Result:
    """Carry out ``call`` in this process, which SIGTERM ends at once, and with it the step, as lost.

    However it ends, ``report`` says so, for :func:`read`; a result that would not fit goes without hashes or row
    counts. ``context`` is what lines of the log say beside retailer, day and step; ``traceparent`` is the span above.

    Raises:
        MarketdayError: what the step raised.
        StepError: facts, links and table versions do not fit into the report; what the step has written stays.

    """
    context = {"retailer": call.retailer, "day": str(call.day), "step": call.step, **(context or {})}
    end = _End(report)
    with _on_sigterm(lambda: end.as_lost(call)):
        from marketday.runners import local  # noqa: PLC0415  its libraries must find the environment of `threads`
        from marketday.telemetry import errors, jobs  # noqa: PLC0415  as above

        try:
            with jobs.carried_out(settings, context, traceparent):
                _log.info("started", pid=os.getpid())
                result = local.run(call, settings)
            end.say(_result(result) if report else b"")
        except MarketdayError as error:
            _log.exception("failed", error=type(error).__name__, message=error.message)
            end.say(_error(error))
            errors.report(error, step=call.step, context=context)
            raise
        else:
            _log.info("successful", **{f"rows_{table}": count for table, count in result.rows.items()})
            return result
        finally:
            jobs.flush()


def refused(error: MarketdayError, report: Path) -> None:
    """Report a call that could not even be begun."""
    _End(report).say(_error(error))


def read(report: str) -> Result | MarketdayError | None:
    """Return what a report says; None for a text that is none, as of a process that died."""
    try:
        said = json.loads(report)
        return from_dict(said["error"]) if "error" in said else Result.model_validate(said["result"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


class _End:
    """The one report of a step's end; what comes later changes nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._said = False
        self._lock = threading.Lock()

    def say(self, how: bytes) -> bool:
        """Write the report; False if there is one already."""
        with self._lock:
            if self._said:
                return False
            self._said = True
            if self.path:
                # In place: the termination message is a mount of its own, and no other file can take its name.
                self.path.write_bytes(how)
        return True

    def as_lost(self, call: Call) -> None:
        """End this process and its children, unless the step has come to its end."""
        error = JobLost(
            f"{call}: ended from outside (SIGTERM) before the step was done",
            hint="Run it again: a step that was ended has left nothing half-written.",
        )
        if not self.say(_error(error)):
            return
        _log.error("lost", message=error.message)
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        sys.stdout.flush()
        os._exit(LOST)


@contextmanager
def _on_sigterm(end: Callable[[], None]) -> Iterator[None]:
    """Call ``end`` in a thread of its own as soon as SIGTERM comes.

    Python runs a signal's handler only between two steps of the interpreter, and a step may be in native code for
    minutes. The byte that announces the signal is written at once.
    """
    announced, announce = os.pipe()
    os.set_blocking(announce, False)

    def listen() -> None:
        while (byte := os.read(announced, 1)) != _NO_SIGNAL:
            if byte[0] == signal.SIGTERM:
                end()

    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    wakeup = signal.set_wakeup_fd(announce, warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGTERM, handler)
        os.write(announce, _NO_SIGNAL)
        listener.join()
        os.close(announce)
        os.close(announced)


def _result(result: Result) -> bytes:
    """Return the report of a result; what no later step reads goes first.

    Raises:
        StepError: the rest is still too large.

    """
    data = result.model_dump(mode="json")
    for dispensable in ("hashes", "rows"):
        if len(_text({"result": data})) > LIMIT:
            data[dispensable] = {}
    text = _text({"result": data})
    if len(text) > LIMIT:
        raise StepError(
            f"The step's result has {len(text)} bytes; a pod can hand over {LIMIT}",
            hint="Have the step write lists to a table and return only what later steps need among its facts.",
        )
    return text


def _error(error: MarketdayError) -> bytes:
    """Return the report of an error, without secrets; its longest texts are cut until it fits."""
    data = secrets.redact_all(error.to_dict())
    while len(text := _text({"error": data})) > LIMIT:
        longest = max(_TEXTS, key=lambda name: len(data[name]))
        data[longest] = data[longest][: len(data[longest]) // 2] + " …"
    return text


def _text(report: dict[str, Any]) -> bytes:
    return json.dumps(report, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
