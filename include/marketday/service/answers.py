"""Answers to submissions: while nothing changes, the last one to the same request stands.

Whoever was away comes back with the calls that he had made before, often many at once. Asking the store about each, in
a thread, costs ten times what all the rest of such a request does.
"""

from typing import NamedTuple

from fastapi import Response
from fastapi.concurrency import run_in_threadpool

from marketday import retailers
from marketday.calls import Call
from marketday.client import JobStatus
from marketday.retailers import Retailer
from marketday.service.slots import Slots
from marketday.steps import get

_MOST = 10_000
"""Answers that are remembered; one has about 4 kB."""


class Answer(NamedTuple):
    """A call's job that was there before, as it was then, and the response that says so."""

    job: JobStatus
    response: Response
    retailer: Retailer


class Answers:
    """Submits calls for the coroutines of one event loop. A request is its step, its body, and whether it is forced."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._revision: int | None = None
        self._known: dict[tuple[str, bytes, bool], Answer] = {}

    def standing(self, step: str, body: bytes, *, force: bool) -> Answer | None:
        """Return the last answer to the same request if it still stands; this waits for nobody."""
        revision = self._slots.store.revision()
        if revision != self._revision or len(self._known) > _MOST:
            self._revision = revision
            self._known.clear()
        known = self._known.get((step, body, force))
        if known is None:
            return None
        if known.job.final:
            same = retailers.load(known.job.retailer, self._slots.settings.retailers) is known.retailer
            return known if same else None
        return known if self._slots.is_held(known.job) else None

    async def submit(self, call: Call, body: bytes, *, force: bool, run_id: str) -> tuple[JobStatus, bool]:
        """Return what :meth:`Slots.submit` returns, and remember it."""
        revision = self._slots.store.revision()
        retailer = retailers.load(call.retailer, self._slots.settings.retailers)
        job, new = await run_in_threadpool(self._slots.submit, call, force=force, run_id=run_id)
        # What was read before a change must not stand after it.
        if not new and revision is not None and revision == self._revision and _told_by_store(job, call):
            self._known[call.step, body, force] = Answer(job, response(job), retailer)
        return job, new


def response(job: JobStatus, status: int = 200) -> Response:
    """Return the HTTP response that tells of a job."""
    return Response(job.model_dump_json(), status, {"Location": f"/jobs/{job.job_id}"}, media_type="application/json")


def _told_by_store(job: JobStatus, call: Call) -> bool:
    """Whether nothing but the store and the retailer's definition says that this job is the answer to the call."""
    step = get(call.step)
    return not job.final or not (step.reads or step.writes)
