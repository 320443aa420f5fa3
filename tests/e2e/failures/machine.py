"""The machine that everything runs on: each of the platform's programs can be killed, kept away and started again."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from marketday import embedded
from marketday.embedded import Platform
from marketday.embedded.processes import Session, launch, stop
from marketday.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
SERVICE, SCHEDULER, TRIGGERER = "step-service", "airflow-scheduler", "airflow-triggerer"


class Machine:
    """The embedded platform of one home, whose programs fail one by one or all at once.

    Its ``environment`` is that of its programs alone: other tests of this process have platforms of their own.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        with self._surroundings():
            self.settings = Settings()
        self.programs: dict[str, Session] = {}
        self._ever: list[Session] = []
        self._platform: Platform
        self._close = ExitStack()
        self._how: dict[str, tuple[list[str], dict[str, str]]] = {}

    def start(self) -> None:
        """Start everything."""
        with self._surroundings():
            self._platform = self._close.enter_context(embedded.started(self.settings, lambda *_: None))
        self.programs = {session.name: session for session in self._platform.sessions}
        self._ever += self._platform.sessions
        for name, session in self.programs.items():
            program = psutil.Process(session.pid)
            self._how[name] = (program.cmdline(), program.environ())

    def stop(self) -> None:
        """Stop what runs, in good order."""
        stop(self.programs.values())
        self._close.close()

    def power_cut(self) -> None:
        """Kill every process at once."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(lambda: not self.processes())
        self._close.close()

    def kill(self, name: str) -> None:
        """SIGKILL one program; what it has started is left to itself."""
        session = self.programs[name]
        os.kill(session.pid, signal.SIGKILL)
        wait_until(lambda: not session.leads())

    def start_again(self, name: str) -> None:
        """Start a program that is gone, and wait until everything answers."""
        command, env = self._how[name]
        before = self.programs[name]
        log = before.log.with_name(f"{name}-{time.time_ns()}.log")
        self.programs[name] = launch(name, command, env=env, log=log, patience=before.patience)
        self._ever.append(self.programs[name])
        wait_until(lambda: not self._platform.missing(), seconds=90)

    def restart(self, name: str) -> None:
        """Stop a program with all that it has started, and start it again, as a service manager does."""
        stop([self.programs[name]])
        self.start_again(name)

    @contextmanager
    def without(self, name: str, seconds: float = 0.0) -> Iterator[None]:
        """Kill a program and start it again ``seconds`` later, or after the block if that takes longer."""
        if self.programs[name].leads():
            self.kill(name)
        back_at = time.monotonic() + seconds
        try:
            yield
            time.sleep(max(0.0, back_at - time.monotonic()))
        finally:
            self.start_again(name)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Keep a program from doing anything until the block ends."""
        os.kill(self.programs[name].pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.programs[name].pid, signal.SIGCONT)

    def processes(self) -> set[psutil.Process]:
        """Return every process that belongs to the platform.

        Its home is in their environment, or one of its programs has led their session: Airflow's workers write their
        titles over their environment.
        """
        home = str(self.settings.home.resolve())
        told = {process for process in psutil.process_iter() if _home(process) == home}
        return told.union(*(session.members() for session in self._ever))

    def orphans(self) -> list[str]:
        """Return what belongs to the platform and to the session of none of its programs: jobs, too."""
        sessions = {session.pid for session in self.programs.values()}
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getsid(process.pid) not in sessions:
                    found.append(f"{process.pid}: {' '.join(process.cmdline())}")
        return found

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            for name, value in self._environment.items():
                patch.setenv(name, value)
            yield


def wait_until(condition: Callable[[], object], seconds: float = 30.0, why: Callable[[], object] = lambda: "") -> None:
    """Wait for something that must come about within ``seconds``; ``why`` says what there is instead."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come about within {seconds:g} s: {why()}"
        time.sleep(0.1)


def _home(process: psutil.Process) -> str | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.environ().get("MARKETDAY_HOME")
    except psutil.Error:
        return None
