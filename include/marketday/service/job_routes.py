"""The step API's jobs, after OGC API - Processes, with pages for people and logs."""

from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel

from marketday.calls import Result
from marketday.client import MAX_WAIT, JobStatus, Link, State
from marketday.errors import ServiceError, from_dict
from marketday.service import job_log
from marketday.service.job_page import job_page, list_page
from marketday.service.problems import NO_SUCH_JOB, RESULT_NOT_READY, Problem
from marketday.service.slots import Slots
from marketday.service.waiting import Ends

router = APIRouter()


class JobList(BaseModel):
    """Jobs, the latest first."""

    jobs: list[JobStatus]
    links: list[Link]


async def slots_of(request: Request) -> Slots:
    """Return the slots of this app's jobs."""
    slots: Slots = request.app.state.slots
    return slots


async def ends_of(request: Request) -> Ends:
    """Return what tells of the ends of jobs."""
    ends: Ends = request.app.state.ends
    return ends


Jobs = Annotated[Slots, Depends(slots_of)]
JobEnds = Annotated[Ends, Depends(ends_of)]
Format = Literal["json", "html"]


@router.get("/jobs", response_model=JobList)
def list_jobs(
    jobs: Jobs,
    retailer: str | None = None,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    f: Format = "json",
) -> JobList | Response:
    """List jobs, the latest first; ``f=html`` is a page for people."""
    found = jobs.store.search(retailer=retailer, state=state, limit=limit)
    if f == "html":
        return list_page(found)
    page = Link(href="/jobs?f=html", rel="alternate", type="text/html", title="Page")
    return JobList(jobs=found, links=[Link(href="/jobs", rel="self"), page])


@router.get("/jobs/{job_id}", response_model=JobStatus)
async def job(
    *,
    jobs: Jobs,
    ends: JobEnds,
    job_id: str,
    wait: Annotated[float, Query(ge=0.0, le=MAX_WAIT)] = 0.0,
    f: Format = "json",
) -> JobStatus | Response:
    """Return a job's state, as soon as it is final or ``wait`` seconds are over; ``f=html`` is a page for people."""
    found = await run_in_threadpool(_job, jobs, job_id)
    if wait and not found.final:
        await ends.wait(job_id, wait)
        found = await run_in_threadpool(_job, jobs, job_id)
    return await run_in_threadpool(_page, jobs, found) if f == "html" else found


@router.delete("/jobs/{job_id}")
def dismiss(jobs: Jobs, job_id: str) -> JobStatus:
    """End a job and everything that it started; a job that has ended stays what it is."""
    _job(jobs, job_id)
    jobs.cancel(job_id)
    return _job(jobs, job_id)


@router.get("/jobs/{job_id}/results")
def results(jobs: Jobs, job_id: str) -> Result:
    """Return a successful job's result; 409 if there is none (yet), 500 with the step's own error if it failed."""
    found = _job(jobs, job_id)
    if found.error is not None:
        raise Problem(500, from_dict(found.error))
    result = jobs.store.result(job_id)
    if result is None:
        raise Problem(409, ServiceError(f"Job {job_id} is {found.status} and has no result"), RESULT_NOT_READY)
    return result


@router.get("/jobs/{job_id}/logs", response_class=PlainTextResponse)
async def logs(*, jobs: Jobs, ends: JobEnds, job_id: str, follow: bool = False) -> Response:
    """Return the end of a job's log, 1 MiB at most; ``follow`` adds what the job logs from now on until it ends."""
    path = await run_in_threadpool(_log_path, jobs, job_id)
    headers = {"X-Content-Type-Options": "nosniff"}
    if not follow:
        return PlainTextResponse(await run_in_threadpool(job_log.tail, path), headers=headers)

    async def ended(seconds: float) -> bool:
        await ends.wait(job_id, seconds)
        return (await run_in_threadpool(_job, jobs, job_id)).final

    return StreamingResponse(job_log.follow(path, ended), headers=headers, media_type="text/plain")


def _log_path(jobs: Slots, job_id: str) -> Path:
    """Return where the job's log is, or will be.

    Raises:
        Problem: there is no such job, or another replica has its log.

    """
    job, path = _job(jobs, job_id), jobs.log_path(job_id)
    if job.service != jobs.service and not path.exists():
        error = ServiceError(
            f"The log of job {job_id} lies on the replica {job.service or 'that ran it'}, not on {jobs.service}",
            hint="Ask that replica, or look into logs/jobs of its MARKETDAY_HOME; /jobs has all jobs on every replica.",
        )
        raise Problem(404, error)
    return path


def _page(jobs: Slots, job: JobStatus) -> Response:
    size = jobs.settings.resource_classes[job.size] if job.size else None
    return job_page(job, jobs.store.call(job.job_id), jobs.store.result(job.job_id), size)


def _job(jobs: Slots, job_id: str) -> JobStatus:
    found = jobs.store.get(job_id)
    if found is None:
        raise Problem(404, ServiceError(f"There is no job {job_id!r}", hint="GET /jobs lists them."), NO_SUCH_JOB)
    return found
