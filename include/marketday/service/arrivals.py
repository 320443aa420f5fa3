"""Waiting for a delivery without holding a thread, whichever replica of the service accepts it."""

import asyncio
import datetime as dt
from collections import defaultdict

import structlog
from fastapi.concurrency import run_in_threadpool

from marketday import deliveries
from marketday.errors import ServiceUnavailable

LOOK_SECONDS = 2.0
"""How often the store is asked for the deliveries that other replicas accept."""

_Awaited = tuple[str, dt.date]
_log = structlog.stdlib.get_logger(__name__)


class Arrivals:
    """Tells the coroutines of one event loop of accepted deliveries."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._awaited: defaultdict[_Awaited, set[asyncio.Event]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None

    def tell(self, retailer: str, day: dt.date) -> None:
        """Wake whoever waits for this delivery: it is accepted."""
        for arrived in self._awaited.get((retailer, day), ()):
            arrived.set()

    async def wait(self, retailer: str, day: dt.date, seconds: float) -> None:
        """Return as soon as the day has a delivery, or ``seconds`` are over.

        One that this replica accepts is seen at once; that of another by asking the store, once for all who wait for
        it. A store that does not answer tells of none.
        """
        arrived = asyncio.Event()
        self._awaited[retailer, day].add(arrived)
        if self._looking is None or self._looking.done() or self._looking.get_loop() is not asyncio.get_running_loop():
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                await arrived.wait()
        except TimeoutError:
            pass
        finally:
            self._awaited[retailer, day].discard(arrived)
            if not self._awaited[retailer, day]:
                del self._awaited[retailer, day]

    async def _look(self) -> None:
        while self._awaited:
            await asyncio.sleep(LOOK_SECONDS)
            for retailer, day in list(self._awaited):
                try:
                    there = await run_in_threadpool(deliveries.latest, self._root, retailer, day)
                except ServiceUnavailable as error:
                    _log.warning("whether another replica has a delivery is not known", why=error.message)
                    continue
                if there is not None:
                    self.tell(retailer, day)
