"""The heartbeat: what shows the other services that this one lives, and this one what they have decided.

Services that share a job store know of each other by nothing else. Each renews the leases of its own jobs about every
second. One that dies, or cannot reach the store for as long as a lease, loses its jobs: it ends them itself shortly
before (:func:`.running.lease_ends`), and whoever finds their leases over ends them in the store. So the next attempt
does not meet the one before; only after a host was suspended it does, for a moment. Leases are told by each host's own
clock in UTC: the clocks of the hosts must agree to within a fifth of a lease.
"""

import threading

import structlog

from marketday.client import JobStatus
from marketday.errors import ServiceUnavailable
from marketday.service import endings
from marketday.service.running import lease_ends
from marketday.service.slots import Slots
from marketday.service.store import JobStore
from marketday.settings import Settings

_BEAT_SECONDS = 1.0
_STOP_SECONDS = 30.0
"""A beat that waits for a store that does not answer takes less."""

_log = structlog.stdlib.get_logger(__name__)


class Heartbeat:
    """Renews leases and carries out what other services have decided; an actor of the supervisor."""

    name = "heartbeat"

    def __init__(self, settings: Settings, store: JobStore, slots: Slots) -> None:
        self._settings = settings
        self._store = store
        self._slots = slots
        self._pause = min(_BEAT_SECONDS, settings.lease / 3)
        self._stop = threading.Event()
        self._thread = threading.Thread()

    def start(self) -> None:
        """Let it beat."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def healthy(self) -> str | None:
        """Return why it does not beat, or None. A store that does not answer is no fault of the heartbeat."""
        return None if self._thread.is_alive() else "its thread has ended"

    def stop(self) -> None:
        """Let it beat no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def beat(self) -> None:
        """Renew our leases, let go of jobs that are ours no more, and end those that died with their service.

        Raises:
            ServiceUnavailable: the store does not answer.

        """
        held = self._slots.held()
        runs_until = lease_ends(self._settings.lease)
        if held:
            renewed = self._store.renew(held, self._settings.lease)
            self._slots.renewed(renewed, runs_until)
            for job_id in set(held) - renewed:
                self._slots.abandon(job_id)
        for job in self._store.expired():
            self._lose(job, if_expired=True)

    def end_jobs_of(self, dead: str) -> None:
        """End the jobs of a service that is known to be dead, without waiting for their leases."""
        for job in self._store.unfinished_of(dead):
            self._lose(job)

    def _lose(self, job: JobStatus, *, if_expired: bool = False) -> None:
        if job.service == self._slots.service:
            why = "its end could not be recorded"
        else:
            why = f"the step service {job.service or 'of an earlier release'} was gone while it ran"
        lost = endings.lost(job, why, self._settings)
        if self._store.end(job.job_id, lost, if_expired=if_expired) and (ended := self._store.get(job.job_id)):
            self._slots.telemetry.ended(ended)

    def _run(self) -> None:
        silent = False
        while not self._stop.is_set():
            try:
                self.beat()
                silent = False
            except ServiceUnavailable as error:
                if not silent:
                    _log.warning("no heartbeat", why=error.message)
                silent = True
            self._stop.wait(self._pause)
