"""What a step is: the decorator, the registry, and what a step's function is given and gives back."""

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from marketday.calls import Call
from marketday.errors import StepError, listed
from marketday.retailers import Retailer
from marketday.settings import Size
from marketday.tables import Table
from marketday.warehouse import Warehouse, as_known

_MODULES = (
    "ingest",
    "clean",
    "gates",
    "load",
    "train",
    "features",
    "predict",
    "calibrate",
    "orders",
    "publish",
    "verify",
)
"""Modules of this package that register steps; a new step is a new module and its name here."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a step may look at."""

    call: Call
    retailer: Retailer
    warehouse: Warehouse
    versions: Mapping[str, int]
    """Version of every table that the step declared to read, fixed before it started."""
    deliveries: Path
    """Folder of accepted deliveries; only `ingest` looks there."""
    reports: Path
    """Folder of the pages that people read; see :meth:`report`."""
    reports_url: str
    """Where the step service shows that folder."""
    dask_scheduler: str = "threads"

    def scan(self, table: Table) -> pl.LazyFrame:
        """Return the rows of the table's snapshot with their ``run_day``, unfiltered.

        Raises:
            StepError: the step did not declare that it reads the table.

        """
        if table.name not in self.versions:
            raise StepError(
                f"Step {self.call.step} reads {table.name} but declares only: {listed(self.versions)}",
                hint="Add the table to reads=(…) of the step.",
            )
        return self.warehouse.scan(self.call.retailer, table, version=self.versions[table.name])

    def report(self, page: str) -> str:
        """Write the HTML page of this step's day, whole or not at all, and return its address."""
        place = f"{self.call.retailer}/{self.call.day.isoformat()}/{self.call.step}"
        folder = self.reports / place
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{os.getpid()}.part"
        part.write_text(page, encoding="utf-8")
        part.replace(folder / "index.html")
        return f"{self.reports_url}/{place}/index.html"

    def today(self, table: Table) -> pl.LazyFrame:
        """Return the rows that this day's run wrote; those of the call's block, if it and the table have one."""
        rows = self.scan(table).filter(pl.col("run_day") == self.call.day)
        return rows.filter(pl.col("block") == self.call.block) if table.blocked and self.call.block else rows

    def known(self, table: Table) -> pl.LazyFrame:
        """Return the rows as known on the morning of the day: per key the latest, nothing withdrawn or from later."""
        return as_known(self.scan(table), table, self.call.day)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a step gives back: rows per table, small facts for people and later steps, links to pages."""

    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """By table name; a declared table that is left out is left as it is, an empty frame clears the day."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    error: StepError | None = None
    """Raised after the tables are committed: how a gate publishes its evidence first and decides then."""


Function = Callable[[Context], Outputs]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A registered step."""

    name: str
    version: int
    reads: tuple[Table, ...]
    latest: tuple[Table, ...]
    """Those of ``reads`` whose newest version counts, even where a call pins an older one."""
    writes: tuple[Table, ...]
    size: Size
    repeatable: bool
    """Whether equal calls give equal results, so that a recorded result may stand for a second execution."""
    function: Function
    description: str

    def unpinned(self, call: Call) -> list[Table]:
        """Return the tables that the step reads at their newest version when it is called so."""
        return [table for table in self.reads if table in self.latest or table.name not in call.inputs]


_REGISTRY: dict[str, Step] = {}


def step(
    name: str,
    *,
    version: int = 1,
    reads: tuple[Table, ...] = (),
    latest: tuple[Table, ...] = (),
    writes: tuple[Table, ...] = (),
    size: Size = "S",
    repeatable: bool = True,
) -> Callable[[Function], Function]:
    """Register a function as a step; its docstring's first line is the step's description."""

    def register(function: Function) -> Function:
        _REGISTRY[name] = Step(
            name=name,
            version=version,
            reads=reads,
            latest=latest,
            writes=writes,
            size=size,
            repeatable=repeatable,
            function=function,
            description=(function.__doc__ or "").strip().split("\n")[0],
        )
        return function

    return register


def names() -> list[str]:
    """Return the names of all steps, in the order of the morning."""
    load_all()
    return list(_REGISTRY)


def get(name: str, version: int | None = None) -> Step:
    """Return the step of that name.

    Raises:
        StepError: there is none, or not in that version.

    """
    load_all()
    if name not in _REGISTRY:
        raise StepError(f"There is no step {name!r}", hint=f"Use one of: {listed(_REGISTRY, most=50)}.")
    found = _REGISTRY[name]
    if version not in (None, found.version):
        raise StepError(
            f"Step {name} is here in version {found.version}, not {version}", hint=f"Call {name}@{found.version}."
        )
    return found


def load_all(extra: Iterable[str] = ()) -> None:
    """Import every module that registers steps: this package's own and ``extra`` ones, by full name."""
    for module in (*extra, *(f"marketday.steps.{own}" for own in _MODULES)):
        importlib.import_module(module)
