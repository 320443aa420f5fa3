"""A process of its own for a job or a delivered file: forked from a server that has everything, watched, and ended."""

import contextlib
import ctypes
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, cast

from marketday.service import child
from marketday.service.tree import Tree

EXIT_SECONDS = 5.0
"""A process that has reported may take this long to end by itself, one that was killed to be gone."""

_CONTEXT = multiprocessing.get_context("forkserver")
_TURN = threading.Lock()
"""Held whenever a process is started or asked for its exit code: multiprocessing lets one thread at a time do that."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PR_SET_CHILD_SUBREAPER = 36


class JobProcess:
    """A running process that carries out ``main``, a job unless told otherwise, and whatever it starts.

    Only the thread that supervises it may use it.

    Raises:
        OSError, EOFError: no process could be started.

    """

    def __init__(self, name: str, main: Callable[..., None] = child.main, **arguments: Any) -> None:
        self._connection, theirs = _CONTEXT.Pipe()
        try:
            self._process = _start(main, {**arguments, "service": theirs}, name)
        except BaseException:
            self._connection.close()
            raise
        finally:
            theirs.close()
        self.pid = cast("int", self._process.pid)
        self._tree = Tree(self.pid)

    @property
    def pids(self) -> set[int]:
        """Ids of all its processes, as they were last looked at."""
        return self._tree.pids

    def wait(self, seconds: float) -> bool:
        """Wait until it has reported or died, for at most ``seconds``; return whether it has."""
        self._tree.look()
        return bool(multiprocessing.connection.wait([self._connection, self._process.sentinel], seconds))

    def report(self) -> dict[str, Any] | None:
        """Return what the process has reported, or None if it died before it could."""
        self._tree.look()  # of what its process leaves behind when it ends, in a moment
        if not self._connection.poll():
            return None
        # A process that dies while it reports leaves half of it.
        with contextlib.suppress(EOFError, OSError):
            report: dict[str, Any] = json.loads(self._connection.recv_bytes())
            return report
        return None

    def ending(self) -> str:
        """Say how the process has ended by itself."""
        multiprocessing.connection.wait([self._process.sentinel], EXIT_SECONDS)
        self._tree.look()
        if self.pid in self.pids:
            return "was cut off, because the server that it was forked from died,"
        with _TURN:
            code = self._process.exitcode
        if code == -signal.SIGKILL:
            return "was killed (SIGKILL), most likely because the machine ran out of memory,"
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def close(self, patience: float) -> list[int]:
        """Give the process ``patience`` seconds to end by itself, then end all; return the ids of what is left."""
        multiprocessing.connection.wait([self._process.sentinel], patience)
        left = self._tree.kill(EXIT_SECONDS)
        self._connection.close()
        return sorted(process.pid for process in left)


def start_fork_server(preload: Sequence[str], *, threads: int) -> None:
    """Start the server that processes are forked from, with modules imported, and wait until it is up.

    ``threads`` is how many any of them may have in a library's pool.

    Raises:
        OSError, EOFError: it cannot be started.

    """
    _limit_threads(min(threads, len(os.sched_getaffinity(0))))
    _CONTEXT.set_forkserver_preload([*preload, __name__])
    first = _start(child.nothing, {}, "first")
    multiprocessing.connection.wait([first.sentinel])


def _limit_threads(threads: int) -> None:
    """Bound the thread pools of the libraries, which read this when the fork server imports them."""
    for variable in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, str(threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts these threads at import, before it is forked


def _start(target: Callable[..., None], arguments: dict[str, Any], name: str) -> BaseProcess:
    process = _CONTEXT.Process(target=_run, args=(target, arguments), name=name)
    with _TURN:
        resource_tracker.ensure_running()  # now, because it takes signals again when it starts its own process
        with _held(_SIGNALS):
            process.start()
    return process


@contextlib.contextmanager
def _held(signals: Sequence[signal.Signals]) -> Iterator[None]:
    """Start processes with signals held back.

    Who ends a service may well tell all of its processes. Jobs have a grace period, so what they are forked from must
    stay, and goes with the service itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(target: Callable[..., None], arguments: dict[str, Any]) -> None:
    """Be a job's process: lead a session, take signals again, and be the parent of whatever loses its own."""
    os.setsid()
    for each in _SIGNALS:
        # What was sent to the service's group while this process still belonged to it was not meant for the job.
        signal.signal(each, signal.signal(each, signal.SIG_IGN))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    target(**arguments)
