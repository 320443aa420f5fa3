"""Results of jobs that may stand for another execution of the same call."""

import hashlib

from marketday import __version__
from marketday.calls import Call
from marketday.client import JobStatus
from marketday.retailers import Retailer
from marketday.service.store import JobStore
from marketday.settings import Settings
from marketday.steps import Step
from marketday.warehouse import NOTHING_YET, Warehouse


def definition(step: Step, retailer: Retailer) -> str:
    """Return a hash of what a result depends on beside its call: the retailer's definition, and which code it was."""
    return hashlib.sha256(f"{__version__} {step.version} {retailer.fingerprint}".encode()).hexdigest()


def find(call: Call, step: Step, retailer: Retailer, *, store: JobStore, settings: Settings) -> JobStatus | None:
    """Return the last successful job whose result would come about again: what it read and wrote is there as it was."""
    job = store.recorded(call.key, definition(step, retailer)) if step.repeatable else None
    result = store.result(job.job_id) if job else None
    if result is None:
        return None
    warehouse = Warehouse.from_settings(settings)
    now = {table.name: warehouse.version(call.retailer, table) for table in {*step.reads, *step.writes}}
    then = {name: result.snapshots.get(name, NOTHING_YET) for name in now}
    unchanged = all(now[table.name] == then[table.name] for table in step.unpinned(call))
    there = all(now[name] >= then[name] for name in result.hashes)
    return job if unchanged and there else None
