"""Throw-away warehouses whose facts are there before the clock starts: M5 as it is, and M5 many times over."""

import datetime as dt
import math
from pathlib import Path

import polars as pl

from marketday import settings, tables
from marketday.adapters.contract import Customer
from marketday.settings import Settings
from marketday.warehouse import Warehouse, empty

PAIR = ["location_id", "product_id"]


def variables(home: Path) -> dict[str, str]:
    """Return the environment of a process whose warehouse and all else lie in ``home``."""
    folders = {"WAREHOUSE": "", "RETAILERS": str(settings.load().retailers.resolve())}
    return {"MARKETDAY_HOME": str(home), **{f"MARKETDAY_{name}": value for name, value in folders.items()}}


def opened(home: Path) -> Warehouse:
    """Return the warehouse in ``home``."""
    return Warehouse.from_settings(Settings(home=home, warehouse=""))


def delivered(home: Path, retailer: str, customer: Customer, day: dt.date) -> None:
    """Write all that a customer delivers by the morning of ``day`` straight into the facts and dimensions."""
    for name, rows in customer.deliver(day, since=None).items():
        write(opened(home), retailer, name, rows, day)


def tiled(home: Path, retailer: str, customer: Customer, day: dt.date, series: int) -> None:
    """Write a delivery as if its locations were there several times, until there are ``series`` series.

    A copy of a location has an id of its own and the same products, prices and sales; the last one is cut. Sales come
    month by month, as one delivery a day leaves them, so that no more than a month's rows are in memory twice.
    """
    warehouse, given = opened(home), customer.deliver(day, since=None)
    pairs = given["sales"].select(PAIR).unique().sort(PAIR)
    copies = pl.DataFrame({"copy": range(math.ceil(series / pairs.height))})
    named = pl.format("{}_{}", "location_id", "copy").alias("named")
    kept = copies.join(pairs, how="cross").head(series).select(*PAIR, named)
    for name, rows in given.items():
        on = [column for column in PAIR if column in rows.columns]
        if "location_id" not in on:
            write(warehouse, retailer, name, rows, day)
            continue
        own = kept.select(*on, "named").unique()
        everywhere = rows.filter(pl.col("location_id") == "*")
        for part in monthly(rows) if name == "sales" else [rows]:
            copied = part.join(own, on=on).with_columns(location_id="named").drop("named")
            told = part["day"].max() + dt.timedelta(days=1) if name == "sales" else day
            write(warehouse, retailer, name, pl.concat([copied, everywhere]), told)


def monthly(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the rows of each month."""
    month = pl.col("day").dt.truncate("1mo").alias("month")
    return rows.with_columns(month).sort("month").partition_by("month", include_key=False, maintain_order=True)


def write(warehouse: Warehouse, retailer: str, name: str, rows: pl.DataFrame, day: dt.date) -> None:
    """Write a delivered table as known from ``day`` on."""
    table = tables.get(name)
    whole = pl.concat([empty(table).drop(tables.RUN_DAY), rows], how="diagonal_relaxed")
    warehouse.write(retailer, table, whole, run_day=day)
