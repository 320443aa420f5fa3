"""Imported once by the fork server, so that a job's process starts with every step and heavy library at hand.

It must only import: a thread or a pool that is started here does not exist in the processes that are forked later.
"""

import gc
import importlib

from marketday.steps.contract import load_all
from marketday.telemetry.jobs import preload

# The imports that steps put off until they need them, and that take longest.
for library in (
    "dask.threaded",
    "great_expectations",
    "lightgbm",
    "marketday.service.child",
    "marketday.service.intake",
):
    importlib.import_module(library)
load_all()
preload()
# What is here stays: the collector need not touch these pages, and the processes go on sharing them.
gc.freeze()
