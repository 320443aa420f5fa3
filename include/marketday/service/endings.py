"""How a job ends other than well, in the words that support reads; and what that says about its next attempt."""

from collections.abc import Sequence

from marketday.client import JobStatus
from marketday.errors import JobLost, MarketdayError, OutOfMemory, TimedOut
from marketday.service import limits
from marketday.service.store import Ended
from marketday.settings import Settings, Size, next_larger


def lost(job: JobStatus, why: str, settings: Settings) -> Ended:
    """Return the end of a job that has no result for a reason that lies outside its step."""
    error = JobLost(
        f"{name(job)}: the job was lost: {why}",
        hint="Run it again: a job that was lost has left nothing half-written.",
        evidence=log_url(job, settings),
    )
    return _failed(error)


def timed_out(job: JobStatus, size: Size, settings: Settings) -> Ended:
    """Return the end of a job that outlived the time limit of its class."""
    seconds = settings.resource_classes[size].seconds
    error = TimedOut(
        f"{name(job)} was not done within the step's time limit of {seconds} s (resource class {size})",
        hint="See in the log what takes so long, or give it a larger class in the retailer's `resources`.",
        evidence=log_url(job, settings),
    )
    return _failed(error)


def out_of_memory(job: JobStatus, *, size: Size, own: Size, peak: int, settings: Settings, cause: str = "") -> Ended:
    """Return the end of a job that outgrew class ``size``: its next attempt gets a larger one than ``own``, once."""
    larger = next_larger(size) if size == own else None
    error = limits.out_of_memory(name(job), size, settings.resource_classes, peak, larger=larger, cause=cause)
    error.evidence = log_url(job, settings)
    return _failed(error)


def next_size(own: Size, attempts: Sequence[JobStatus]) -> tuple[Size, str]:
    """Return the resource class of the next attempt at a call and, where it is not the step's ``own``, why.

    ``attempts`` are those before, the latest first. One that was lost, cancelled or too slow says nothing of memory.
    """
    telling = (job for job in attempts if job.status != "dismissed" and _kind(job) not in ("JobLost", "TimedOut"))
    last = next(telling, None)
    larger = next_larger(own)
    if last is None or larger is None or _kind(last) != OutOfMemory.__name__ or last.size != own:
        return own, ""
    return larger, f"Runs in class {larger}, because attempt {last.attempt} ran out of memory in class {own}."


def name(job: JobStatus) -> str:
    """Return what a job is called in messages."""
    block = f"[{job.block}]" if job.block else ""
    return f"{job.process_id}{block} {job.retailer} {job.day}"


def log_url(job: JobStatus, settings: Settings) -> str:
    """Return where the job's log can be read."""
    return f"{settings.service_url}/jobs/{job.job_id}/logs"


def _kind(job: JobStatus) -> str:
    return str((job.error or {}).get("type", ""))


def _failed(error: MarketdayError) -> Ended:
    return Ended("failed", error.message, error=error.to_dict())
