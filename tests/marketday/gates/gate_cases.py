"""A small retailer for the gates: two months of sales in six stores, and what the gates leave behind."""

import datetime as dt
from typing import Any

import polars as pl

from marketday import tables
from marketday.warehouse import Warehouse

DAY = dt.date(2025, 3, 10)
ORIGIN = DAY - dt.timedelta(days=1)
BEFORE = DAY - dt.timedelta(days=1)
STORES = [f"store_{n}" for n in range(1, 7)]
PRODUCTS = ["apple", "milk"]
HORIZON = 14
PAIRS = pl.DataFrame({"location_id": STORES}).join(pl.DataFrame({"product_id": PRODUCTS}), how="cross")


def days(first: dt.date, last: dt.date) -> pl.DataFrame:
    return pl.date_range(first, last, eager=True).alias("day").to_frame()


def sales_of(first: dt.date, last: dt.date, units: float = 10.0) -> pl.DataFrame:
    return PAIRS.join(days(first, last), how="cross").with_columns(units=pl.lit(units))


HISTORY = sales_of(ORIGIN - dt.timedelta(days=70), ORIGIN - dt.timedelta(days=1))
TODAYS = sales_of(ORIGIN, ORIGIN)
PUBLISHED = pl.DataFrame(
    {
        "table": ["forecasts", "orders"],
        "of_day": [BEFORE] * 2,
        "reason": [""] * 2,
        "version": [7, 8],
        "content_hash": ["f00d", "cafe"],
        "rows": [84, 12],
        "mode": ["fresh"] * 2,
    }
)


def verdicts(warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    rows = warehouse.scan("simulated", tables.VERDICTS).filter(pl.col("run_day") == DAY).collect()
    return {row["subject"]: row for row in rows.to_dicts()}


def unmet(warehouse: Warehouse) -> dict[str, str]:
    return {subject: row["severity"] for subject, row in verdicts(warehouse).items() if not row["passed"]}


def publications(warehouse: Warehouse) -> list[dict[str, Any]]:
    return warehouse.scan("simulated", tables.PUBLICATIONS).filter(pl.col("run_day") == DAY).collect().to_dicts()


HORIZONS = days(DAY, DAY + dt.timedelta(days=HORIZON - 1)).with_row_index("horizon", offset=1)
FORECASTS = PAIRS.join(HORIZONS, how="cross").with_columns(
    mean=pl.lit(10.0),
    dispersion=pl.lit(0.2),
    zero_share=pl.lit(0.1),
    common_dispersion=pl.lit(0.05),
    family=pl.lit("negative_binomial"),
    model=pl.lit("lightgbm@1"),
    mode=pl.lit("fresh"),
)
