"""The supervisor: starts the parts of a service, keeps them healthy, and stops them when it is told to."""

import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

import structlog

from marketday.errors import ServiceError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = structlog.stdlib.get_logger(__name__)


class Actor(Protocol):
    """A part of a service that runs by itself, in threads or processes of its own."""

    name: str

    def start(self) -> None:
        """Begin, also once more after a stop; return when it has begun, raise if it cannot."""

    def stop(self) -> None:
        """End and return when it has, also where it had ended by itself or never begun."""

    def healthy(self) -> str | None:
        """Return None while it does its work, else what is wrong, in words for the log."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a supervisor puts up with an actor; times are in seconds."""

    look: float = 1.0
    """Pause between looks at the actors' health."""
    pause: float = 0.5
    """Pause before an actor is started again; doubled with every further failure in a row."""
    failures: int = 5
    """Failures in a row after which everything is stopped."""
    calm: float = 60.0
    """An actor that was healthy for so long since its last start has made good its failures."""


@dataclass
class _Watched:
    actor: Actor
    failures: int = 0
    started: float = 0.0
    start_at: float | None = None
    """When it is to be started again; None while it runs."""


class Supervisor:
    """Runs actors: starts them in order, restarts one that is not healthy, stops them in reverse order.

    ``hurry`` is set by a second signal: whatever an actor's stop waits for out of kindness, it should wait for no more.
    """

    def __init__(self, actors: Sequence[Actor], hurry: threading.Event, patience: Patience = Patience()) -> None:
        self._watched = [_Watched(actor) for actor in actors]
        self._hurry = hurry
        self._patience = patience

    def run(self) -> None:
        """Run the actors until SIGTERM or SIGINT. Call it from the main thread, the only one that gets signals.

        A second signal hurries the stop, and a third ends the process there and then.

        Raises:
            ServiceError: an actor was not healthy too often in a row; all are stopped.
            Exception: what an actor raised at its first start; those before it are stopped.

        """
        with _signals() as received:
            started: list[_Watched] = []
            try:
                for watched in self._watched:
                    started.append(watched)
                    self._start(watched)
                self._watch(received)
            finally:
                # In a thread, so that this one goes on hearing signals.
                stopping = threading.Thread(target=self._stop, args=(started,), name="stop")
                stopping.start()
                while stopping.is_alive():
                    self._hear(received)
                    stopping.join(self._patience.look / 10)

    def _watch(self, received: "queue.SimpleQueue[int]") -> None:
        while True:
            try:
                told = received.get(timeout=self._patience.look)
            except queue.Empty:
                for watched in self._watched:
                    self._look_after(watched)
            else:
                _log.info("stopping", signal=signal.Signals(told).name)
                return

    def _hear(self, received: "queue.SimpleQueue[int]") -> None:
        while not received.empty():
            _log.warning("stopping at once", signal=signal.Signals(received.get()).name)
            self._hurry.set()
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)

    def _look_after(self, watched: _Watched) -> None:
        now = time.monotonic()
        if watched.start_at is None:
            if (reason := watched.actor.healthy()) is not None:
                self._take_down(watched, reason)
            elif now - watched.started > self._patience.calm:
                watched.failures = 0
        elif now >= watched.start_at:
            try:
                self._start(watched)
            except Exception as error:  # noqa: BLE001  whatever it is, it is counted, and too many end the process
                self._take_down(watched, f"it does not start: {type(error).__name__}: {error}")

    def _start(self, watched: _Watched) -> None:
        watched.start_at = None
        watched.started = time.monotonic()
        watched.actor.start()

    def _take_down(self, watched: _Watched, reason: str) -> None:
        watched.failures += 1
        name = watched.actor.name
        if watched.failures > self._patience.failures:
            raise ServiceError(
                f"The step service ends: its {name} failed {watched.failures} times in a row, at last because {reason}",
                hint="The log says how each failure came about. Whatever keeps the service running will start it anew.",
            )
        pause = self._patience.pause * 2 ** (watched.failures - 1)
        _log.error("restarting", actor=name, why=reason, failures=watched.failures, pause=pause)
        _stopped(watched.actor)
        watched.start_at = time.monotonic() + pause

    def _stop(self, started: Sequence[_Watched]) -> None:
        for watched in reversed(started):
            _stopped(watched.actor)


def _stopped(actor: Actor) -> None:
    try:
        actor.stop()
    except Exception:  # noqa: BLE001  the others are to be stopped all the same
        _log.exception("an actor does not stop", actor=actor.name)


@contextmanager
def _signals() -> Iterator["queue.SimpleQueue[int]"]:
    """Give a queue of the signals that arrive; an event could not be set safely from a signal's handler."""
    received: queue.SimpleQueue[int] = queue.SimpleQueue()

    def note(number: int, _: FrameType | None) -> None:
        received.put(number)

    before = {each: signal.signal(each, note) for each in _SIGNALS}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
