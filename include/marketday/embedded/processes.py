"""Processes that are started together and end together.

Each is the leader of a session of its own. The session, not the process tree, says what belongs to it: a child whose
parent died stays a member, and a Ctrl-C in the terminal reaches nobody but us.
"""

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from marketday.errors import SettingsError

TAIL_LINES = 20
_PORTS_TRIED = 100
_SAME_START = 10.0
"""Seconds by which two readings of one process's start may differ when the clock is set in between."""
PATIENCE = 20.0
"""Seconds for an orderly end. The scheduler needs 1 s, the API server 2 s, a step service as long as its jobs do."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """One started program with everything that it has started itself."""

    name: str
    pid: int
    created: float
    """When the leader was started, in seconds since the epoch: tells it from a later process of the same id."""
    log: Path
    patience: float = PATIENCE
    """Seconds between being told to stop and being killed."""
    process: "subprocess.Popen[bytes] | None" = field(default=None, compare=False, repr=False)
    """Only where this very process started it; it is who must collect the exit status."""

    def members(self) -> set[psutil.Process]:
        """Return the living processes of the session."""
        if self.process is not None:
            self.process.poll()
        with suppress(psutil.NoSuchProcess):
            if abs(psutil.Process(self.pid).create_time() - self.created) > _SAME_START:
                return set()
        return {process for process in psutil.process_iter() if _lives(process) and _session_of(process) == self.pid}

    def family(self) -> set[psutil.Process]:
        """Return the members and what descends from them: a job of the step service leads a session of its own."""
        members = self.members()
        family = set(members)
        for process in members:
            with suppress(psutil.NoSuchProcess):
                family.update(process.children(recursive=True))
        return {process for process in family if _lives(process)}

    def leads(self) -> bool:
        """Whether the program itself still runs."""
        return any(process.pid == self.pid for process in self.members())


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _session_of(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def launch(name: str, command: list[str], *, env: Mapping[str, str], log: Path, patience: float = PATIENCE) -> Session:
    """Start ``command`` in a session of its own; all that it says goes to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Session(name=name, pid=process.pid, created=time.time(), log=log, patience=patience, process=process)


def stop(sessions: Iterable[Session]) -> None:
    """End the sessions: tell every member to stop, wait until none is left, kill those whose patience is over.

    Returns when all are gone, with all that they had started. Every member is told, because a scheduler that alone is
    told leaves its workers behind.
    """
    stopping = list(sessions)
    left = {session.pid: session.family() for session in stopping}
    for session in stopping:
        _tell(session.members(), signal.SIGTERM)
    began = time.monotonic()
    while any(left.values()):
        time.sleep(0.1)
        for session in stopping:
            left[session.pid] = {process for process in left[session.pid] if _lives(process)} | session.family()
            if time.monotonic() - began > session.patience:
                _tell(left[session.pid], signal.SIGKILL)


def _tell(processes: Iterable[psutil.Process], what: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(what)


def memory(sessions: Iterable[Session]) -> int:
    """Return the bytes that the sessions hold now; what forks share counts once (PSS) where the system can tell."""
    total = 0
    for process in set[psutil.Process]().union(*(session.family() for session in sessions)):
        with suppress(psutil.Error):
            info = process.memory_full_info()
            total += getattr(info, "pss", info.rss)
    return total


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log file, and where it lies."""
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:] if log.exists() else []
    return "\n".join([f"{log} ends with:", *(f"  {line}" for line in text)] if text else [f"{log} is empty"])


@contextmanager
def held_port(url: str) -> Iterator[int]:
    """Hold the port of ``url``, or the next one on loopback that nobody holds or listens on, until the block ends.

    A program that was told its port listens there only seconds later. Until then the UDP port of the same number, which
    nothing here has a use for, keeps another platform's start away; it is free again when its process ends in any way.

    Raises:
        SettingsError: the URL names no port, or the next hundred are taken.

    """
    first = urlsplit(url).port
    if first is None:
        raise SettingsError(f"{url} names no port", hint="Give one, as in http://127.0.0.1:8080.")
    for port in range(first, min(first + _PORTS_TRIED, 65536)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hold:
            if _takes(hold, port) and _is_free(port):
                yield port
                return
    raise SettingsError(
        f"No free port from {first} to {first + _PORTS_TRIED - 1}", hint="Choose another in MARKETDAY_*_URL."
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _takes(probe, port)


def _takes(binding: socket.socket, port: int) -> bool:
    try:
        binding.bind(("127.0.0.1", port))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        return False
    return True
