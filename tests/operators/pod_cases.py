"""What tests of steps as pods share: the documentation, tasks, and how Airflow carries them out."""

import asyncio
import datetime as dt
import json
import re
from pathlib import Path

import pytest
import yaml
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.module_loading import import_string

from marketday.calls import Result
from operators.pod import PodStepOperator

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "registry.example/marketday:1.4.2"
DAY = dt.date(2025, 3, 3)
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
OBJECTS = [
    manifest for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) for manifest in yaml.safe_load_all(block)
]
DONE = Result(snapshots={"sales": 2}, rows={"sales": 9}, facts={"n": 1}, links={"Data Docs": "http://docs/1"})


def documented(kind: str) -> dict:
    [found] = [manifest for manifest in OBJECTS if manifest["kind"] == kind]
    return found


def step_task(step: str = "clean", **kwargs) -> PodStepOperator:
    """Make the task of one try, or of one part of it: each has a process, and so an operator, of its own."""
    quick = {"poll_interval": 0.02, "startup_check_interval_seconds": 0.02}
    defaults = {"task_id": step, "step": step, "retailer": "simulated", "size": "M", "retries": 3}
    return PodStepOperator(**(defaults | quick | kwargs))


def deferred(task, context) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as waiting:
        task.execute(context)
    return waiting.value


def fired(trigger) -> dict:
    """Run a trigger in a triggerer of its own, from what it serializes to, and return its event."""

    async def events() -> list:
        path, arguments = trigger.serialize()
        return [event.payload async for event in import_string(path)(**arguments).run()]

    [event] = asyncio.run(events())
    return event


def carried_out(make, context, *, deferrable: bool = True) -> dict:
    """Carry a task out to its end: its worker, the triggerer, and a worker again."""
    task = make(deferrable=deferrable)
    if not deferrable:
        return task.execute(context)
    waiting = deferred(task, context)
    return getattr(make(), waiting.method_name)(context, fired(waiting.trigger))


def report(result: Result) -> str:
    return json.dumps({"result": result.model_dump(mode="json")})
