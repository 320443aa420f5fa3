"""Steps whose telemetry is looked at: one whose work is done in Dask tasks, and one that tells secrets."""

import logging
import os
import warnings

import dask

from marketday.errors import StepError
from marketday.features.build import compute
from marketday.steps import Context, Outputs, step


@step("scatter")
def scatter(context: Context) -> Outputs:
    """Add up what three Dask tasks return."""
    tasks = [dask.delayed(part)(number, fails=context.call.params.get("fails", False)) for number in range(3)]
    return Outputs(facts={"total": sum(compute(tasks, context.dask_scheduler))})


def part(number: int, *, fails: bool) -> int:
    logging.getLogger("telemetry_steps").info("part %d", number)
    if fails:
        raise ValueError(f"part {number} fails")
    return number


@step("indiscreet")
def indiscreet(context: Context) -> Outputs:
    """Tell every secret that the environment knows, in every way there is, and fail with them."""
    names = context.call.params["variables"]
    told = " and ".join(f"{name} is {os.environ[name]}" for name in names)
    logging.getLogger("telemetry_steps").info(told)
    warnings.warn(told, stacklevel=1)
    if context.call.params.get("kindly"):
        raise StepError(told, hint=told, evidence=told)
    raise ValueError(told)
