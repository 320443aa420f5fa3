"""Waiting without a worker: for a job of the step service, and for a delivery.

Both triggers outlive short outages of the service, end every branch in one event with status, message and what was
waited for, and decide nothing: failing is the operator's business, so that its retries count.
"""

import asyncio
import datetime as dt
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from marketday.client import MAX_WAIT, StepServiceClient
from marketday.errors import MarketdayError, ServiceUnavailable
from operators.hook import StepServiceHook
from operators.retries import jittered
from operators.timeouts import http_call

LONG_POLL = MAX_WAIT
"""Seconds that the service may hold one status call open; a finished job is seen at once all the same."""

AWAY = 5.0
"""How much less often a service is asked that does not answer."""

SETTLES = 2.0
"""Least seconds that a task waits in the triggerer. The scheduler takes a task that is back at work before it has heard
that its worker let go of it for one that was killed, and uses up a retry (Airflow 3.3)."""

_Key = tuple[asyncio.AbstractEventLoop, str]
_clients: dict[_Key, asyncio.Task[StepServiceClient]] = {}
_users: Counter[_Key] = Counter()


@asynccontextmanager
async def shared_client(url: str) -> AsyncIterator[StepServiceClient]:
    """Lend out the one client that all triggers of this process have for a service; the last to leave closes it.

    Several hundred wait in one triggerer: a client each would cost a core for nothing but making them.
    """
    key = (asyncio.get_running_loop(), url)
    if key not in _clients:
        _clients[key] = asyncio.create_task(StepServiceHook(url=url).aget_conn())
    making = _clients[key]
    _users[key] += 1
    try:
        yield await asyncio.shield(making)  # whoever is cancelled meanwhile does not take it from the others
    finally:
        _users[key] -= 1
        if not _users[key]:
            del _users[key], _clients[key]
            if making.done() and not making.cancelled() and making.exception() is None:
                await making.result().aclose()


@asynccontextmanager
async def _settling() -> AsyncIterator[None]:
    """Leave the block ``SETTLES`` seconds after it was entered at the soonest."""
    began = time.monotonic()
    yield
    await asyncio.sleep(max(0.0, began + SETTLES - time.monotonic()))


class Reason(StrEnum):
    """Why a trigger fired."""

    SUCCESSFUL = "successful"
    FAILED = "failed"
    DISMISSED = "dismissed"
    LOST = "lost"
    UNREACHABLE = "unreachable"
    DELIVERED = "delivered"
    CUT_OFF = "cut_off"


class JobTrigger(BaseTrigger):
    """Waits until a job has ended. When a person kills the waiting task or fails its run, the job is cancelled too.

    ``patience`` is how many seconds the service may be away without interruption before the trigger gives up, ``pause``
    how many lie between two questions to a service that does not hold the call open. One that is away is asked less
    often: hundreds of triggers ask.
    """

    def __init__(self, *, url: str, job_id: str, patience: float = 600.0, pause: float = 1.0) -> None:
        super().__init__()
        self.url = url
        self.job_id = job_id
        self.patience = patience
        self.pause = pause

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, for another process to go on with."""
        arguments = {"url": self.url, "job_id": self.job_id, "patience": self.patience, "pause": self.pause}
        return "operators.triggers.JobTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until the job is final, unknown, or the service has been away for too long."""
        async with _settling(), shared_client(self.url) as client:
            event = await self._wait(client)
        yield event

    async def _wait(self, client: StepServiceClient) -> TriggerEvent:
        answered = time.monotonic()
        while True:
            pause = self.pause
            try:
                with http_call("status"):
                    job = await client.astatus(self.job_id, wait=LONG_POLL)
            except ServiceUnavailable as error:
                if time.monotonic() - answered > self.patience:
                    return self._event(Reason.UNREACHABLE, str(error))
                pause *= AWAY
            except MarketdayError as error:
                return self._event(Reason.LOST, str(error))
            else:
                answered = time.monotonic()
                if job.final:
                    return self._event(Reason(job.status), job.message)
            await asyncio.sleep(jittered(pause))

    def _event(self, status: Reason, message: str) -> TriggerEvent:
        return TriggerEvent({"status": status.value, "message": message, "job_id": self.job_id})

    async def on_kill(self) -> None:
        """Cancel the job: somebody has cleared the waiting task or set its state, or its run is over."""
        async with shared_client(self.url) as client:
            with http_call("cancel"):
                await client.acancel(self.job_id)


class DeliveryTrigger(BaseTrigger):
    """Waits until the day's delivery is there, at most until ``cut_off`` (ISO 8601 with offset).

    The service holds the question open, so that a delivery is seen at once; ``pause`` is how many seconds lie between
    two questions.
    """

    def __init__(self, *, url: str, retailer: str, day: str, cut_off: str, pause: float = 1.0) -> None:
        super().__init__()
        self.url = url
        self.retailer = retailer
        self.day = day
        self.cut_off = cut_off
        self.pause = pause

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, for another process to go on with."""
        arguments = {
            "url": self.url,
            "retailer": self.retailer,
            "day": self.day,
            "cut_off": self.cut_off,
            "pause": self.pause,
        }
        return "operators.triggers.DeliveryTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until there is a delivery or it is too late."""
        async with _settling(), shared_client(self.url) as client:
            event = await self._wait(client)
        yield event

    async def _wait(self, client: StepServiceClient) -> TriggerEvent:
        cut_off = dt.datetime.fromisoformat(self.cut_off)
        left = (cut_off - dt.datetime.now(dt.UTC)).total_seconds()
        while True:
            pause = self.pause
            try:
                with http_call("delivery"):
                    wait = max(0.0, min(LONG_POLL, left))
                    receipt = await client.adelivery(self.retailer, dt.date.fromisoformat(self.day), wait)
                message = "no delivery yet"
            except MarketdayError as error:
                receipt, message = None, str(error)
                pause *= AWAY
            if receipt:
                return self._event(Reason.DELIVERED, f"delivery {receipt['id']} is there")
            left = (cut_off - dt.datetime.now(dt.UTC)).total_seconds()
            if left <= 0:
                return self._event(Reason.CUT_OFF, message)
            self.log.info("%s %s: %s; the run goes on at %s", self.retailer, self.day, message, self.cut_off)
            await asyncio.sleep(min(jittered(pause), left))

    def _event(self, status: Reason, message: str) -> TriggerEvent:
        return TriggerEvent({"status": status.value, "message": message, "retailer": self.retailer, "day": self.day})
