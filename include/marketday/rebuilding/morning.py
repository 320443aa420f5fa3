"""What is recorded of a past morning: the executions that its publication rests on, in their order.

The table `runs` holds the latest execution of each step of a day. A step that was carried out again later has taken the
place of the one that mattered, so `runs` itself is read as it was when the day was published.
"""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import ValidationError

from marketday.calls import Call
from marketday.errors import WarehouseError
from marketday.retailers import Retailer
from marketday.steps import contract
from marketday.tables import FEATURES, FORECASTS, PUBLICATIONS, RUN_DAY, RUNS
from marketday.warehouse import NOTHING_YET, Warehouse, content_hash, known_at

_CLOCKS_APART = dt.timedelta(minutes=5)
"""How much the clocks of the machines may disagree that steps run on."""
_READ_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One execution of a step, as recorded."""

    step: str
    version: int
    call: Call
    retailer: Retailer
    """The definition as it was then."""
    release: str
    failed: str
    """Why it failed, or empty."""
    read: Mapping[str, int]
    """Table → version."""
    hashes: Mapping[str, str]
    """Table → content hash of the part that it wrote."""
    written: Mapping[str, int]
    """Table → version that holds that part."""

    @property
    def name(self) -> str:
        """The step, its version and its block, as people know them."""
        return f"{self.step}@{self.version}" + (f" [{self.call.block}]" if self.call.block else "")


@dataclass(frozen=True, kw_only=True)
class Morning:
    """A past morning."""

    retailer: str
    day: dt.date
    runs_version: int
    executions: tuple[Execution, ...]
    published: pl.DataFrame
    """The day's own publications; none if a gate stopped it."""

    def execution(self, step: str) -> Execution | None:
        """Return the execution of a step that is not mapped over blocks, or None."""
        return next((each for each in self.executions if each.step == step), None)


def recorded(warehouse: Warehouse, retailer: str, day: dt.date) -> Morning:
    """Return what is recorded of the morning of ``day``: as published; if it was not, its latest executions.

    Of the steps of the daily run, that is: others, such as those that maintain the warehouse, are no part of it.

    Raises:
        WarehouseError: nothing is recorded of it, or not how its publication came about, or not so that this release
            can read it.

    """
    published = (
        warehouse.scan(retailer, PUBLICATIONS)
        .filter(pl.col(RUN_DAY) == day, pl.col("of_day") == day, pl.col("reason") == "")
        .sort("table")
        .collect()
    )
    at = _published_by(warehouse, retailer, day, published) if published.height else warehouse.version(retailer, RUNS)
    rows = warehouse.scan(retailer, RUNS, version=at).filter(pl.col(RUN_DAY) == day).collect()
    order = {name: place for place, name in enumerate(contract.MORNING)}
    executions = [_execution(row) for row in rows.iter_rows(named=True) if row["step"].partition("@")[0] in order]
    if not executions:
        known = warehouse.scan(retailer, RUNS).select(pl.col(RUN_DAY).min().alias("first"), pl.col(RUN_DAY).max())
        first, last = known.collect().row(0)
        raise WarehouseError(
            f"No morning of {retailer} is recorded for {day}",
            hint=f"Mornings are recorded from {first} to {last}." if first else "None was run yet.",
        )
    executions.sort(key=lambda each: (order[each.step], each.call.block or ""))
    return Morning(
        retailer=retailer,
        day=day,
        runs_version=at,
        executions=tuple(_of_its_blocks(warehouse, executions)),
        published=published,
    )


def _published_by(warehouse: Warehouse, retailer: str, day: dt.date, published: pl.DataFrame) -> int:
    """Return the first version of `runs` in which `publish` has written just these publications."""
    digest = content_hash(published, PUBLICATIONS)
    forecasts: int = published.filter(pl.col("table") == FORECASTS.name)["version"].item()
    made = known_at.entries(warehouse, retailer, FORECASTS, [forecasts])[0].at
    latest = warehouse.version(retailer, RUNS)
    first = max(known_at.at(warehouse, retailer, RUNS, made - _CLOCKS_APART), 0)
    for start in range(first, latest + 1, _READ_AT_ONCE):
        versions = range(start, min(start + _READ_AT_ONCE, latest + 1))
        for entry in known_at.entries(warehouse, retailer, RUNS, versions):
            if _is_of(entry.metadata, "publish", day) and _wrote(warehouse, retailer, day, entry.version, digest):
                return entry.version
    raise WarehouseError(
        f"{retailer} {day}: no execution of publish is recorded that wrote what is published",
        hint=f"Clear the task publish of that day: what is published stays, and `runs` has its execution. `marketday "
        f"fsck {retailer}` says whether files are missing.",
    )


def _is_of(metadata: Mapping[str, Any], step: str, day: dt.date) -> bool:
    named = str(metadata.get("step", "")).partition("@")[0]
    return named == step and metadata.get("run_day") == day.isoformat()


def _wrote(warehouse: Warehouse, retailer: str, day: dt.date, version: int, digest: str) -> bool:
    rows = warehouse.scan(retailer, RUNS, version=version).filter(pl.col(RUN_DAY) == day, pl.col("block") == "publish")
    outputs = rows.select("outputs").collect()["outputs"].to_list()
    return [json.loads(text).get(PUBLICATIONS.name) for text in outputs] == [digest]


def _execution(row: Mapping[str, Any]) -> Execution:
    step, _, version = row["step"].partition("@")
    try:
        call = Call.model_validate_json(row["call"])
        retailer = Retailer.model_validate_json(row["definition"])
    except ValidationError as error:
        first = error.errors()[0]
        raise WarehouseError(
            f"{row['step']} of {row[RUN_DAY]} was called in a way that this release does not know: "
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            hint=f"Rebuild that morning with the release that made it: {row['release']}.",
        ) from error
    return Execution(
        step=step,
        version=int(version),
        call=call,
        retailer=retailer,
        release=row["release"],
        failed=row["message"],
        read=json.loads(row["inputs"]),
        hashes=json.loads(row["outputs"]),
        written=json.loads(row["written"]),
    )


def _of_its_blocks(warehouse: Warehouse, executions: list[Execution]) -> list[Execution]:
    """Leave out blocks that the morning's features no longer have, after a corrected delivery or another block size."""
    calibrate = next((each for each in executions if each.step == "calibrate"), None)
    if calibrate is None or calibrate.read.get(FEATURES.name, NOTHING_YET) == NOTHING_YET:
        return executions
    call = calibrate.call
    features = warehouse.scan(call.retailer, FEATURES, version=calibrate.read[FEATURES.name])
    blocks = set(features.filter(pl.col(RUN_DAY) == call.day).select("block").unique().collect()["block"])
    return [each for each in executions if each.call.block is None or each.call.block in blocks]
