"""Waiting for the end of a job without holding a thread, whichever replica of the service carries it out."""

import asyncio
from collections import defaultdict
from concurrent.futures import Future

import structlog
from fastapi.concurrency import run_in_threadpool

from marketday.errors import ServiceUnavailable
from marketday.service.slots import Slots

LOOK_SECONDS = 0.5
"""How often the store is asked for the jobs of other replicas."""

_log = structlog.stdlib.get_logger(__name__)


class Ends:
    """Tells the coroutines of one event loop of the ends of jobs."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._loop: asyncio.AbstractEventLoop | None = None
        self._own: dict[str, asyncio.Event] = {}
        self._others: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, job_id: str, seconds: float) -> None:
        """Return as soon as the job has ended, or ``seconds`` are over.

        The end of one of this replica's own jobs is seen at once; that of another's by asking the store, for all that
        are awaited together. A store that does not answer tells of no end.
        """
        if self._loop is not asyncio.get_running_loop():  # the HTTP server was started anew
            self._loop = asyncio.get_running_loop()
            self._own.clear()
            self._others.clear()
        try:
            async with asyncio.timeout(seconds):
                if end := self._slots.end_of(job_id):
                    await self._end_of_own(job_id, end, self._loop).wait()
                else:
                    await self._end_of_another(job_id)
        except TimeoutError:
            pass

    def _end_of_own(self, job_id: str, end: "Future[None]", loop: asyncio.AbstractEventLoop) -> asyncio.Event:
        """Return what is set when the job ends: one for all who wait for it, however often they come."""
        event = self._own.get(job_id)
        if event is None:
            event = self._own[job_id] = asyncio.Event()

            def tell(_: "Future[None]", event: asyncio.Event = event) -> None:
                self._own.pop(job_id, None)
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)

            end.add_done_callback(tell)
        return event

    async def _end_of_another(self, job_id: str) -> None:
        ended = asyncio.Event()
        self._others[job_id].add(ended)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await ended.wait()
        finally:
            self._others[job_id].discard(ended)
            if not self._others[job_id]:
                del self._others[job_id]

    async def _look(self) -> None:
        while self._others:
            await asyncio.sleep(LOOK_SECONDS)
            asked = list(self._others)
            try:
                unfinished = await run_in_threadpool(self._slots.store.unfinished_among, asked)
            except ServiceUnavailable as error:
                _log.warning("the ends of other replicas' jobs are not known", why=error.message)
                continue
            for job_id in set(asked) - unfinished:
                for ended in self._others.get(job_id, ()):
                    ended.set()
