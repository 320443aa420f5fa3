"""What a task returns: its step's result as data, small enough for Airflow's database."""

import json
from typing import Any

from marketday.calls import Result
from marketday.errors import StepError

MOST = 4096
"""Bytes of JSON that a task may return; rows belong in tables."""

_DISPENSABLE = ("hashes", "rows")
"""What no later task reads, the first to go first; the job's result keeps it, and the table `runs` the hashes."""


def returned(result: Result) -> dict[str, Any]:
    """Return the result as data of at most 4 KiB, without hashes or row counts if it would be larger with them.

    Raises:
        StepError: the facts, links and table versions alone are larger.

    """
    data = result.model_dump(mode="json")
    for name in _DISPENSABLE:
        if _size(data) > MOST:
            data[name] = {}
    if _size(data) > MOST:
        sizes = ", ".join(f"{name} {_size(value)}" for name, value in data.items() if value)
        raise StepError(
            f"The step's result is too large to be handed on: {_size(data)} bytes of {MOST} ({sizes})",
            hint="Have the step write lists to a table and return only what later steps need among its facts.",
        )
    return data


def _size(value: object) -> int:
    return len(json.dumps(value).encode())
