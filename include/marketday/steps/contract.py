"""What a step is: the decorator, the registry, and what a step's function is given and gives back."""

import datetime as dt
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from marketday import discovery
from marketday.calls import Call, StepVersion
from marketday.errors import StepError, listed
from marketday.retailers import Retailer
from marketday.settings import Size
from marketday.tables import Table
from marketday.warehouse import Rows, Warehouse, as_known

_MODULES = discovery.modules("marketday.steps", but=("contract", "execution"))
"""Modules that register steps: a new one is found by itself."""

MORNING = (
    "ingest",
    "replay",
    "clean",
    "gate_clean",
    "load",
    "train",
    "features",
    "predict",
    "calibrate",
    "gate_forecast",
    "orders",
    "gate_orders",
    "publish",
    "verify",
)
"""Steps in the order in which a morning takes them."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a step may look at."""

    call: Call
    retailer: Retailer
    warehouse: Warehouse
    versions: Mapping[str, int]
    """Version of every table that the step declared to read, fixed before it started."""
    deliveries: str
    """Root of the accepted deliveries, a folder or an object store URL."""
    reports: Path
    """Folder of the pages that people read; see :meth:`report`."""
    reports_url: str
    """Where the step service shows that folder."""
    dask_scheduler: str = "threads"
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    """When the execution began, for what is about the stored files rather than about the business day."""

    def scan(self, table: Table) -> pl.LazyFrame:
        """Return the rows of the table's snapshot with their ``run_day``, unfiltered.

        Raises:
            StepError: the step did not declare that it reads the table.

        """
        return self.warehouse.scan(self.call.retailer, table, version=self._version(table))

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

    def stored(self, table: Table) -> Rows:
        """Return the rows that this day's run wrote, all blocks of them, for another table that is to have them too.

        Raises:
            StepError: the step did not declare that it reads the table.

        """
        return self.warehouse.stored_day(self.call.retailer, table, self.call.day, self._version(table))

    def known(self, table: Table) -> pl.LazyFrame:
        """Return the rows as known on the morning of the day: per key the latest, nothing withdrawn or from later."""
        return as_known(self.scan(table), table, self.call.day)

    def _version(self, table: Table) -> int:
        if table.name not in self.versions:
            raise StepError(
                f"Step {self.call.step} reads {table.name} but declares only: {listed(self.versions)}",
                hint="Add the table to reads=(…) of the step.",
            )
        return self.versions[table.name]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a step gives back: rows per table, small facts for people and later steps, links to pages."""

    tables: Mapping[str, Rows] = field(default_factory=dict)
    """By table name; a declared table that is left out is left as it is, an empty frame clears the day. What does not
    fit into memory is an iterator of frames in key order; the tables are asked for theirs in the order given here."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Read after the tables are committed."""
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
    upkeep: bool
    """Whether it looks after what is stored: it works on the warehouse itself, changes no row of any version that can
    be read, and its facts say what it has done. All other steps touch nothing but what they declare."""
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
    upkeep: bool = False,
) -> Callable[[Function], Function]:
    """Register a function as a step; its docstring's first line is the step's description.

    Raises:
        StepError: another function is a step of that name.

    """

    def register(function: Function) -> Function:
        known = _REGISTRY[name].function if name in _REGISTRY else function
        if (known.__module__, known.__qualname__) != (function.__module__, function.__qualname__):
            raise StepError(
                f"Two steps are called {name}: {known.__module__}.{known.__qualname__} and "
                f"{function.__module__}.{function.__qualname__}",
                hint="Rename one of them.",
            )
        _REGISTRY[name] = Step(
            name=name,
            version=version,
            reads=reads,
            latest=latest,
            writes=writes,
            size=size,
            repeatable=repeatable,
            upkeep=upkeep,
            function=function,
            description=(function.__doc__ or "").strip().split("\n")[0],
        )
        return function

    return register


def names() -> list[str]:
    """Return the names of all steps: the morning's in their order, then all others by name."""
    load_all()
    others = sorted(set(_REGISTRY) - set(MORNING))
    return [name for name in (*MORNING, *others) if name in _REGISTRY]


def get(name: str, version: StepVersion = "latest") -> Step:
    """Return the step of that name; ``latest`` is the version that is here.

    Raises:
        StepError: there is none, or not in that version.

    """
    load_all()
    if name not in _REGISTRY:
        raise StepError(f"There is no step {name!r}", hint=f"Use one of: {listed(_REGISTRY, most=50)}.")
    found = _REGISTRY[name]
    if version not in ("latest", found.version):
        raise StepError(
            f"Step {name} is here in version {found.version}, not {version}", hint=f"Call {name}@{found.version}."
        )
    return found


def load_all(extra: Iterable[str] = ()) -> None:
    """Import every module that registers steps: this package's own and ``extra`` ones, by full name.

    Raises:
        StepError: one of them cannot be imported.

    """
    discovery.load((*extra, *_MODULES))
