"""Carry out one call: fix its snapshots, run the step's function, commit what it returns, record the run."""

import datetime as dt
import json
import platform
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

import polars as pl

from marketday import retailers
from marketday.calls import Call, Result
from marketday.errors import MarketdayError, StepError, listed
from marketday.retailers import Retailer
from marketday.secrets import redact
from marketday.settings import Settings
from marketday.steps.contract import Context, Outputs, Step, get, load_all
from marketday.tables import RUNS
from marketday.warehouse import Warehouse


def execute(call: Call, settings: Settings) -> Result:
    """Run the step that ``call`` names and return what it left behind.

    Every table is committed in one transaction; a step that dies before leaves nothing of it, and a second execution
    leaves what one leaves. Success and failure are both recorded in the table `runs`.

    Raises:
        MarketdayError: what the step raised, or a call that names no known step, retailer or version.

    """
    load_all(settings.step_modules.split())
    step = get(call.step, call.version)
    retailer = retailers.load(call.retailer, settings.retailers)
    warehouse = Warehouse.from_settings(settings)
    versions = {table.name: call.inputs[table.name] for table in step.reads if table.name in call.inputs}
    versions |= {table.name: warehouse.version(call.retailer, table) for table in step.unpinned(call)}
    context = context_of(call, retailer, warehouse, versions, settings)
    started, clock = dt.datetime.now(dt.UTC), time.monotonic()
    message, result = "interrupted", Result()
    try:
        outputs = step.function(context)
        result = _commit(step, context, outputs)
        if outputs.error is not None:
            raise outputs.error  # noqa: TRY301  only after its tables are committed
        message = ""
    except MarketdayError as error:
        message = error.message
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        raise
    finally:
        _record(step, context, result, message=message, started=started, seconds=time.monotonic() - clock)
    return result


def context_of(
    call: Call, retailer: Retailer, warehouse: Warehouse, versions: Mapping[str, int], settings: Settings
) -> Context:
    """Return what the step of ``call`` may look at: these versions, and the places that the environment names."""
    return Context(
        call=call,
        retailer=retailer,
        warehouse=warehouse,
        versions=versions,
        deliveries=settings.deliveries_url,
        reports=settings.reports_path,
        reports_url=settings.reports_url,
        dask_scheduler=settings.dask_scheduler,
    )


@cache
def release() -> str:
    """Return what results here depend on besides their inputs: this release, its libraries, the processor's kind."""
    libraries = ("marketday", "polars", "numpy", "scipy", "lightgbm")
    python = f"python {platform.python_version()} on {platform.machine()}"
    return ", ".join([*(f"{name} {version(name)}" for name in libraries), python])


def _commit(step: Step, context: Context, outputs: Outputs) -> Result:
    declared = {table.name: table for table in step.writes}
    if not set(outputs.tables) <= set(declared):
        raise StepError(
            f"Step {step.name} returned [{listed(sorted(outputs.tables))}]",
            hint=f"It declares to write only [{listed(sorted(declared))}]; add to writes=(…) or leave it out.",
        )
    call = context.call
    snapshots, hashes, rows = {**call.inputs, **{k: v for k, v in context.versions.items() if v >= 0}}, {}, {}
    for name, frame in outputs.tables.items():
        table = declared[name]
        block = (call.block or step.name) if table.blocked else None
        metadata = {"step": f"{step.name}@{step.version}", "run_day": call.day.isoformat(), "key": call.key}
        written = context.warehouse.write(call.retailer, table, frame, run_day=call.day, block=block, metadata=metadata)
        snapshots[name], hashes[name], rows[name] = written.version, written.content_hash, written.rows
    return Result(snapshots=snapshots, hashes=hashes, rows=rows, facts=dict(outputs.facts), links=dict(outputs.links))


def _record(
    step: Step, context: Context, result: Result, *, message: str, started: dt.datetime, seconds: float
) -> None:
    call = context.call
    block = f"{step.name}/{call.block}" if call.block else step.name
    row = {
        "step": f"{step.name}@{step.version}",
        "state": "failed" if message else "successful",
        "key": call.key,
        "call": call.model_dump_json(),
        "definition": context.retailer.model_dump_json(),
        "release": release(),
        "inputs": json.dumps(dict(context.versions), sort_keys=True),
        "outputs": json.dumps(result.hashes, sort_keys=True),
        "written": json.dumps({table: result.snapshots[table] for table in result.hashes}, sort_keys=True),
        "message": redact(message),
        "started": started,
        "seconds": seconds,
        "block": block,
    }
    metadata = {"step": f"{step.name}@{step.version}", "run_day": call.day.isoformat(), "key": call.key}
    context.warehouse.write(call.retailer, RUNS, pl.DataFrame([row]), run_day=call.day, block=block, metadata=metadata)
