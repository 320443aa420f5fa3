"""The step API: processes and jobs, after OGC API - Processes."""

import asyncio
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from marketday import steps
from marketday.calls import Call, Result
from marketday.client import MAX_WAIT, JobStatus, Link, State
from marketday.errors import ServiceError, StepError, from_dict
from marketday.service.executor import Executor
from marketday.service.problems import NO_SUCH_JOB, NO_SUCH_PROCESS, RESULT_NOT_READY, Problem
from marketday.settings import Size

_LOG_TAIL = 1 << 20
"""Bytes of a job's log that are answered with: its end, where the reason stands."""

router = APIRouter()


class Process(BaseModel):
    """A step, as the API shows it."""

    id: str
    version: str
    title: str
    description: str
    jobControlOptions: list[str] = ["async-execute", "dismiss"]  # noqa: N815  OGC's name
    size: Size
    repeatable: bool
    reads: list[str]
    writes: list[str]
    links: list[Link]


class ProcessList(BaseModel):
    """All steps, in the order of the morning."""

    processes: list[Process]
    links: list[Link]


class JobList(BaseModel):
    """Jobs, the latest first."""

    jobs: list[JobStatus]
    links: list[Link]


async def executor_of(request: Request) -> Executor:
    """Return what carries out this app's jobs."""
    executor: Executor = request.app.state.executor
    return executor


Jobs = Annotated[Executor, Depends(executor_of)]


@router.get("/processes")
def processes() -> ProcessList:
    """List the steps."""
    return ProcessList(
        processes=[_process(name) for name in steps.names()], links=[Link(href="/processes", rel="self")]
    )


@router.get("/processes/{step}")
def process(step: str) -> Process:
    """Describe one step."""
    return _process(step)


@router.post("/processes/{step}/execution", status_code=201)
def execute(
    *,
    jobs: Jobs,
    response: Response,
    step: str,
    call: Call,
    force: bool = False,
    idempotency_key: Annotated[str, Header()] = "",
    x_run_id: Annotated[str, Header()] = "",
) -> JobStatus:
    """Start a job (201), or return the running or recorded one of the same key (200); 503 if no slot is free."""
    _process(step)
    if call.step != step:
        raise StepError(f"The call is for step {call.step!r}, the address for {step!r}")
    if idempotency_key not in ("", call.key):
        raise ServiceError(
            f"Idempotency-Key {idempotency_key} is not the call's key {call.key}",
            hint="Leave the header out, or send the SHA-256 of the call's canonical JSON (Call.key).",
        )
    job, new = jobs.submit(call, force=force, run_id=x_run_id)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/jobs/{job.job_id}"
    return job


@router.get("/jobs")
def list_jobs(
    jobs: Jobs,
    retailer: str | None = None,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JobList:
    """List jobs, the latest first."""
    found = jobs.store.search(retailer=retailer, state=state, limit=limit)
    return JobList(jobs=found, links=[Link(href="/jobs", rel="self")])


@router.get("/jobs/{job_id}")
async def job(jobs: Jobs, job_id: str, wait: Annotated[float, Query(ge=0.0, le=MAX_WAIT)] = 0.0) -> JobStatus:
    """Return a job's state, as soon as it is final or ``wait`` seconds are over."""
    end = jobs.end_of(job_id)
    if wait and end is not None:
        await asyncio.wait([asyncio.wrap_future(end)], timeout=wait)
    return await run_in_threadpool(_job, jobs, job_id)


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


@router.get("/jobs/{job_id}/log", response_class=PlainTextResponse)
def log(jobs: Jobs, job_id: str) -> str:
    """Return the end of a job's log, 1 MiB at most."""
    _job(jobs, job_id)
    return _tail(jobs.log_path(job_id))


def _process(name: str) -> Process:
    try:
        step = steps.get(name)
    except StepError as error:
        raise Problem(404, error, NO_SUCH_PROCESS) from error
    return Process(
        id=step.name,
        version=str(step.version),
        title=step.name,
        description=step.description,
        size=step.size,
        repeatable=step.repeatable,
        reads=[table.name for table in step.reads],
        writes=[table.name for table in step.writes],
        links=[
            Link(href=f"/processes/{step.name}", rel="self"),
            Link(href=f"/processes/{step.name}/execution", rel="http://www.opengis.net/def/rel/ogc/1.0/execute"),
        ],
    )


def _job(jobs: Executor, job_id: str) -> JobStatus:
    found = jobs.store.get(job_id)
    if found is None:
        raise Problem(404, ServiceError(f"There is no job {job_id!r}", hint="GET /jobs lists them."), NO_SUCH_JOB)
    return found


def _tail(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_TAIL))
        return file.read(_LOG_TAIL).decode(errors="replace")
