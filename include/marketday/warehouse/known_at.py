"""Which version of a table was there at a time, or was a run's: the way back to what was known.

Asked for by a version (`3`), a time (`2025-03-04T06:00`: the last version committed by then) or a run
(`run:2025-03-04`, `run:2025-03-04/clean`: what that morning, or one step of it, left or else read).
"""

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl

from marketday.errors import WarehouseError, listed
from marketday.tables import RUN_DAY, RUNS, Table
from marketday.warehouse.log import FOLDER
from marketday.warehouse.objects import objects, read_all
from marketday.warehouse.store import Warehouse
from marketday.warehouse.writing import NOTHING_YET

_RUN = re.compile(r"run:(?P<day>\d{4}-\d{2}-\d{2})(/(?P<step>[a-z][a-z0-9_]*))?")


class Run(NamedTuple):
    """A morning, or one step of it."""

    day: dt.date
    step: str = ""


AsOf = int | dt.datetime | Run
"""A version, an instant, or a run."""


class Entry(NamedTuple):
    """One entry of a table's log."""

    version: int
    at: dt.datetime
    """By the writer's clock."""
    metadata: Mapping[str, Any]
    """What the writer said of it, such as step and run_day, and what the format says itself."""


def parse(text: str, zone: dt.tzinfo) -> AsOf:
    """Read what a person writes; a time without an offset is in ``zone``, a day alone is its beginning.

    Raises:
        WarehouseError: it is neither a version nor a time nor a run.

    """
    try:
        if text.isdecimal():
            return int(text)
        if run := _RUN.fullmatch(text):
            return Run(dt.date.fromisoformat(run["day"]), run["step"] or "")
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise WarehouseError(
            f"{text!r} is neither a version, nor a time, nor a run",
            hint="Write for example 3, 2025-03-04T06:00, run:2025-03-04 or run:2025-03-04/clean.",
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def version(warehouse: Warehouse, retailer: str, table: Table, as_of: AsOf) -> int:
    """Return the version of ``table`` that ``as_of`` stands for.

    Raises:
        WarehouseError: there was none: no such version, nothing written by then, or not touched by that run.

    """
    if isinstance(as_of, Run):
        return _of_run(warehouse, retailer, table, as_of)
    latest = warehouse.version(retailer, table)
    if isinstance(as_of, dt.datetime):
        found = at(warehouse, retailer, table, as_of)
        if found == NOTHING_YET:
            first = entries(warehouse, retailer, table, [0])[0].at if latest != NOTHING_YET else None
            raise WarehouseError(
                f"{retailer}/{table.name}: nothing was written by {as_of:%Y-%m-%d %H:%M:%S %Z}",
                hint=f"The first version is of {first:%Y-%m-%d %H:%M:%S} UTC." if first else "It was never written.",
            )
        return found
    if as_of > latest:
        raise WarehouseError(
            f"{retailer}/{table.name}@{as_of}: there is no such version",
            hint=f"The latest is {latest}." if latest != NOTHING_YET else "The table was never written.",
        )
    return as_of


def entries(warehouse: Warehouse, retailer: str, table: Table, versions: Iterable[int]) -> list[Entry]:
    """Return what the table's log says of these versions, in their order.

    Raises:
        WarehouseError: the log has no such version any more.

    """
    # Delta's own history begins at the latest version, however old the one is that was opened.
    paths = [f"{retailer}/{table.name}/{FOLDER}/{version:020}.json" for version in versions]
    try:
        contents = list(read_all(objects(warehouse.url, warehouse.storage_options), paths))
    except FileNotFoundError as error:
        raise WarehouseError(
            f"The log of {retailer}/{table.name} has lost a version: {error}",
            hint=f"`marketday fsck {retailer}` says what else is missing; restore it from a backup.",
        ) from error
    return [_entry(version, content) for version, content in zip(versions, contents, strict=True)]


def _entry(version: int, content: bytes) -> Entry:
    actions = [json.loads(line) for line in content.splitlines() if line.strip()]
    [info] = [action["commitInfo"] for action in actions if "commitInfo" in action]
    return Entry(version, dt.datetime.fromtimestamp(info["timestamp"] / 1000, dt.UTC), info)


def at(warehouse: Warehouse, retailer: str, table: Table, moment: dt.datetime) -> int:
    """Return the last version committed at ``moment`` or before, by the times in the log; or ``NOTHING_YET``.

    The times are the writers' own, so clocks that disagree blur the answer by as much.
    """
    before, after = NOTHING_YET, warehouse.version(retailer, table) + 1
    while after - before > 1:
        middle = (before + after) // 2
        if entries(warehouse, retailer, table, [middle])[0].at <= moment:
            before = middle
        else:
            after = middle
    return before


def _of_run(warehouse: Warehouse, retailer: str, table: Table, run: Run) -> int:
    executions = warehouse.scan(retailer, RUNS).filter(pl.col(RUN_DAY) == run.day).sort("started").collect()
    named = f"{retailer} {run.day}" + (f", step {run.step}" if run.step else "")
    if run.step:
        executions = executions.filter(pl.col("step").str.starts_with(f"{run.step}@"))
    if executions.is_empty():
        raise WarehouseError(f"No run of {named} is recorded", hint=f"`marketday status {retailer}` shows the last.")
    written, read = (
        {name: number for text in executions[column] for name, number in json.loads(text).items()}
        for column in ("written", "inputs")
    )
    touched: dict[str, int] = {name: number for name, number in {**read, **written}.items() if number != NOTHING_YET}
    if table.name not in touched:
        raise WarehouseError(
            f"The run of {named} neither wrote nor read {table.name}",
            hint=f"It wrote or read: {listed(sorted(touched), most=len(touched))}.",
        )
    return touched[table.name]
