"""Mornings made up for what looks after a warehouse: a few rows per day, recorded and published as steps do it."""

import datetime as dt
import json
from typing import Any

import polars as pl
import pyarrow as pa

from marketday import tables
from marketday.tables import FORECASTS, PUBLICATIONS, RUNS, SALES, Table
from marketday.warehouse import Warehouse, Written

SHOP = "shop"
FIRST = dt.date(2025, 1, 20)
_FILLED = {pa.string(): "", pa.date32(): FIRST, pa.int32(): 1, pa.int64(): 1, pa.float64(): 0.5}


def row(table: Table, /, **values: Any) -> pl.DataFrame:
    """Return a row of a table, filled up with whatever fits its columns' types."""
    filled = {c.name: _FILLED.get(c.type, dt.datetime(2025, 1, 1, tzinfo=dt.UTC)) for c in table.columns}
    return pl.DataFrame([{**filled, **values}], schema=pl.Schema(table.delivered_schema))


def sell(warehouse: Warehouse, day: dt.date, units: float = 1.0, *, retailer: str = SHOP) -> Written:
    """Write what two products sold on the day before ``day``."""
    facts = {"location_id": "s1", "day": day - dt.timedelta(days=1)}
    sold = [row(SALES, **facts, product_id=product, units=units + i) for i, product in enumerate("ab")]
    return warehouse.write(retailer, SALES, pl.concat(sold), run_day=day)


def predict(warehouse: Warehouse, day: dt.date, mean: float = 1.0) -> Written:
    """Write a day's forecast, of one row."""
    return warehouse.write(SHOP, FORECASTS, row(FORECASTS, location_id="s1", product_id="a", mean=mean), run_day=day)


def record(warehouse: Warehouse, day: dt.date, step: str, inputs: dict[str, int], written: dict[str, int]) -> None:
    """Record that a step has read and written some versions."""
    run = row(RUNS, step=f"{step}@1", block=step, inputs=json.dumps(inputs), written=json.dumps(written))
    warehouse.write(SHOP, RUNS, run, run_day=day, block=step)


def publish(warehouse: Warehouse, day: dt.date, written: Written) -> None:
    """Put a day's forecast into force."""
    entry = {"table": "forecasts", "of_day": day, "version": written.version, "content_hash": written.content_hash}
    warehouse.write(SHOP, PUBLICATIONS, row(PUBLICATIONS, **entry), run_day=day)


def morning(warehouse: Warehouse, day: dt.date, *, published: bool = True) -> None:
    """Carry out a whole small morning."""
    sold = sell(warehouse, day)
    made = predict(warehouse, day)
    record(warehouse, day, "calibrate", {"sales": sold.version}, {"forecasts": made.version})
    if published:
        publish(warehouse, day, made)


def contents(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """Return all rows of every table, in the order of their key."""
    names = ("sales", "forecasts", "runs", "publications")
    return {
        name: warehouse.scan(SHOP, tables.get(name)).collect().sort("run_day", *tables.get(name).key) for name in names
    }
