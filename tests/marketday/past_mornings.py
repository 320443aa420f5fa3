"""Mornings of a small simulated retailer, step by step without Airflow: two stores of the simulated grocer."""

import datetime as dt
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from marketday import deliveries, tables
from marketday.calls import Call, Result
from marketday.settings import Settings
from marketday.simulator import Grocer
from marketday.steps import contract
from marketday.steps.execution import execute
from marketday.warehouse import Warehouse

NAME = "corner"
DAY = dt.date(2025, 3, 3)
STORES = ("S01", "S06")
DEFINITION = """\
title: Corner shops
time_zone: Europe/Berlin
horizon: 7
block_size: 1
late_days: 40
training: {rounds: 20, leaves: 8, history_days: 120}
orders: {service_level: 0.95}
"""
HISTORY = 110
"""Days of the first delivery."""
STEPS = tuple(step for step in contract.MORNING if not step.startswith("gate"))
"""A morning without its gates, which take seconds and change no row."""


class Shops:
    """The retailer, its deliveries and its warehouse, below one folder."""

    def __init__(self, home: Path) -> None:
        (home / "retailers").mkdir(parents=True)
        self.definition = home / "retailers" / f"{NAME}.yaml"
        self.definition.write_text(DEFINITION, encoding="utf-8")
        self.settings = Settings(home=home, retailers=home / "retailers", dask_scheduler="synchronous")
        self.warehouse = Warehouse.from_settings(self.settings)
        self._grocer = Grocer(horizon=7)

    def delivered(self, day: dt.date, days: int = 1) -> dict[str, pl.DataFrame]:
        """Return what the grocer delivers for ``day`` of the ``days`` before."""
        given = self._grocer.deliver(day, since=day - dt.timedelta(days=days))
        here = pl.col("location_id").is_in([*STORES, "*"])
        return {name: rows.filter(here) if "location_id" in rows.columns else rows for name, rows in given.items()}

    def deliver(self, day: dt.date, given: Mapping[str, pl.DataFrame], kind: deliveries.Kind = "daily") -> None:
        """Have a delivery accepted."""
        for name, rows in given.items():
            content = io.BytesIO()
            rows.write_parquet(content)
            deliveries.put_table(self.settings.deliveries_url, NAME, day, name, content.getvalue())
        early = dt.datetime.combine(day, dt.time(4), tzinfo=dt.UTC)
        deliveries.complete(self.settings.deliveries_url, NAME, day, kind, early)

    def run(self, day: dt.date, steps: Iterable[str] = STEPS) -> dict[str, Result]:
        """Carry out steps of a morning as its DAG does: what one has left is what the next reads."""
        results: dict[str, Result] = {}
        inputs: dict[str, int] = {}
        blocks = [f"{number:03}" for number in range(len(STORES))]
        for step in steps:
            for block in blocks if step == "predict" else [None]:
                params = {"only_if_missing": True} if step == "train" else {}
                call = Call(step=step, retailer=NAME, day=day, block=block, inputs=inputs, params=params)
                results[step] = execute(call, self.settings)
                inputs = inputs | results[step].snapshots
        return results

    def first_morning(self, steps: Iterable[str] = STEPS) -> None:
        """Deliver the history and carry out the first morning."""
        self.deliver(DAY, self.delivered(DAY, HISTORY), "history")
        self.run(DAY, steps)

    def next_morning(self, number: int, corrections: pl.DataFrame | None = None, steps: Iterable[str] = STEPS) -> None:
        """Carry out the morning ``number`` days after DAY, whose delivery may bring corrected sales of earlier days."""
        day = DAY + dt.timedelta(days=number)
        given = self.delivered(day)
        if corrections is not None:
            given["sales"] = pl.concat([given["sales"], corrections])
        self.deliver(day, given)
        self.run(day, steps)

    def versions(self) -> dict[str, int]:
        """Return the version of every table: nothing was written if none changes."""
        return {name: self.warehouse.version(NAME, table) for name, table in tables.ALL.items()}


def corrected_sales(given: pl.DataFrame, *, day: dt.date, store: str, factor: float = 3.0) -> pl.DataFrame:
    """Return the store's sales of one day as a multiple of what was delivered first."""
    rows = given.filter(pl.col("day") == day, pl.col("location_id") == store)
    assert rows.height
    return rows.with_columns((pl.col("units") * factor).round(0))
