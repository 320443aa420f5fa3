"""A table of many daily versions, and 60 days of one block of it, read by a process that knows nothing of it.

python versions.py WAREHOUSE write VERSIONS
python versions.py WAREHOUSE read OUT.json
"""

import datetime as dt
import json
import sys
import time
from pathlib import Path

import polars as pl

from marketday.tables import SALES
from marketday.warehouse import Warehouse

RETAILER = "daily"
FIRST = dt.date(2020, 1, 1)
LOCATIONS, PRODUCTS = 10, 100
BLOCK, DAYS = ("S00", "S01"), 60


def write(warehouse: Warehouse, versions: int) -> None:
    """Write a day per version: 1,000 rows of sales."""
    series = pl.DataFrame({"location_id": [f"S{n:02d}" for n in range(LOCATIONS)]}).join(
        pl.DataFrame({"product_id": [f"P{n:03d}" for n in range(PRODUCTS)]}), how="cross"
    )
    for number in range(versions):
        day = FIRST + dt.timedelta(days=number)
        rows = series.with_columns(day=pl.lit(day), units=pl.int_range(pl.len()).cast(pl.Float64))
        warehouse.write(RETAILER, SALES, rows, run_day=day + dt.timedelta(days=1))


def read(warehouse: Warehouse) -> dict[str, float]:
    """Time the opening of the table and the reading of one block's last days."""
    begun = time.perf_counter()
    delta = warehouse.delta(RETAILER, SALES)
    if delta is None:
        raise SystemExit(f"{warehouse.url}: nothing was written")
    last = FIRST + dt.timedelta(days=delta.version() - 1)
    rows = warehouse.scan(RETAILER, SALES).filter(
        pl.col("location_id").is_between(pl.lit(BLOCK[0]), pl.lit(BLOCK[1])),
        pl.col("run_day") > last + dt.timedelta(days=1 - DAYS),
    )
    height = rows.collect().height
    seconds = time.perf_counter() - begun
    if height != DAYS * len(BLOCK) * PRODUCTS:
        raise SystemExit(f"{height} rows were read, and {DAYS * len(BLOCK) * PRODUCTS} are there")
    return {"seconds": seconds, "rows": height}


def main() -> None:
    """Write the table, or time one reading."""
    root, what, argument = sys.argv[1:]
    if what == "write":
        write(Warehouse(root), int(argument))
    else:
        Path(argument).write_text(json.dumps(read(Warehouse(root))), encoding="utf-8")


if __name__ == "__main__":
    main()
