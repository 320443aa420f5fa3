"""A process and everything that it has started, to be ended together."""

import contextlib
import os
import time
from collections.abc import Iterable

import psutil

_PAUSE_SECONDS = 0.02


class Tree:
    """The process ``pid``, what descends from it, and what belongs to its session.

    What it starts may leave its group or session, or outlive its parent. So it is looked at again and again
    (:meth:`look`), and what was seen once is known until it ends. A later process of the same id is never meant.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._root: psutil.Process | None = None
        with contextlib.suppress(psutil.NoSuchProcess):
            self._root = psutil.Process(pid)
        self._known: set[psutil.Process] = {self._root} if self._root else set()

    @property
    def pids(self) -> set[int]:
        """Ids of the processes, as they were last looked at."""
        return {process.pid for process in self._known}

    def look(self) -> set[psutil.Process]:
        """Return the living processes, and remember them."""
        living = {process for process in self._known if _lives(process)}
        # Orphans are the root's own children while it lives, if it is their subreaper.
        for process in living & {self._root} or list(living):
            with contextlib.suppress(psutil.NoSuchProcess):
                living.update(process.children(recursive=True))
        self._known = {process for process in living | self._session() if _lives(process)}
        return self._known

    def kill(self, seconds: float) -> set[psutil.Process]:
        """End them all; return those that are left after ``seconds``, which only the kernel can hold up."""
        deadline = time.monotonic() + seconds
        while (left := self.look()) and time.monotonic() < deadline:
            _kill(left)
            time.sleep(_PAUSE_SECONDS)
        return left

    def kill_descendants(self) -> None:
        """End all but the process itself."""
        _kill(process for process in self.look() if process.pid != self._pid)

    def _session(self) -> set[psutil.Process]:
        """Return the processes of the session that the root leads or led."""
        # The system gives an id to another process only when neither a process nor a session has it any more.
        if not (self._root and (self._root.is_running() or not psutil.pid_exists(self._pid))):
            return set()
        members = set()
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getsid(pid) == self._pid:
                    members.add(psutil.Process(pid))
        return members


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
