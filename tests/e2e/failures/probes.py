"""Steps that misbehave on purpose. Each ends, sooner or later, by writing the one row that :func:`effect` describes.

What they leave and look for below the folder that their call names is the way in which a test talks to them.
"""

import time
from pathlib import Path

import polars as pl

from marketday import tables
from marketday.steps import Context, Outputs, step

SWOLLEN = 1 << 30
"""Bytes: more than class S has in these tests, less than class M."""


@step("holds", writes=(tables.EVENTS,), size="M")
def holds(context: Context) -> Outputs:
    """Write once a test lets it go."""
    _begin(context)
    while not released(context).exists():
        time.sleep(0.05)
    return effect(context)


@step("outgrows", writes=(tables.EVENTS,))
def outgrows(context: Context) -> Outputs:
    """Need more memory than its own class has."""
    _begin(context)
    swollen = bytearray(SWOLLEN)
    swollen[:: 1 << 12] = b"x" * len(swollen[:: 1 << 12])  # touched, page by page
    time.sleep(1.0)
    return effect(context)


@step("hangs_once", writes=(tables.EVENTS,))
def hangs_once(context: Context) -> Outputs:
    """Hang for ever the first time."""
    if _begin(context) == 1:
        time.sleep(3600)
    return effect(context)


def effect(context: Context) -> Outputs:
    """Return the row that the step leaves behind, the same each time."""
    row = {"location_id": "*", "day": context.call.day, "name": context.call.step, "kind": "local"}
    return Outputs(tables={"events": pl.DataFrame([row])})


def released(context: Context) -> Path:
    return _place(context) / "released"


def _begin(context: Context) -> int:
    """Leave a mark that the step has begun, and return how many-th time it has."""
    place = _place(context)
    place.mkdir(parents=True, exist_ok=True)
    times = 1
    while True:
        try:
            (place / f"begun-{times}").touch(exist_ok=False)
        except FileExistsError:
            times += 1
        else:
            return times


def _place(context: Context) -> Path:
    return Path(context.call.params["folder"]) / str(context.call.day)
