"""What the retailer of the benchmark delivers: the sample of M5, repeated under other names of locations."""

import datetime as dt
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from warehouse_bench.names import DAY

from marketday.adapters.m5 import M5

KEY = ["location_id", "product_id", "day"]
_SCHEMA = pa.schema({"location_id": pa.string(), "product_id": pa.string(), "day": pa.date32(), "units": pa.float64()})
_GROUP_ROWS = 1 << 20


def history(data: Path, folder: Path, rows: int) -> int:
    """Write a history of at least ``rows`` rows of sales, in the order of its key; returns how many there are."""
    folder.mkdir(parents=True)
    tables = M5(data / "m5", horizon=28).deliver(DAY, since=None)
    sales = tables["sales"].sort(KEY)
    tiles = -(-rows // sales.height)
    with pq.ParquetWriter(folder / "sales.parquet", _SCHEMA) as file:
        for tile in range(tiles):
            file.write_table(_named(sales, tile).to_arrow().cast(_SCHEMA), row_group_size=_GROUP_ROWS)
    tables["products"].write_parquet(folder / "products.parquet")
    pl.concat([_named(tables["locations"], tile) for tile in range(tiles)]).write_parquet(folder / "locations.parquet")
    return tiles * sales.height


def mornings(data: Path, folder: Path, *, series: int, past: int, days: int) -> None:
    """Write `history` of ``past`` days of so many series, and a folder for each of ``days`` mornings after it.

    A morning brings the sales and the stock of the day before, one row per series.
    """
    tables = M5(data / "m5", horizon=28).deliver(DAY, since=DAY - dt.timedelta(days=past + days))
    pairs = tables["sales"].select(KEY[:2]).unique().sort(KEY[:2])
    tiles = -(-series // pairs.height)
    wanted = pl.concat([_named(pairs, tile) for tile in range(tiles)]).head(series)
    sales = pl.concat([_named(tables["sales"], tile) for tile in range(tiles)]).join(wanted, on=KEY[:2], how="semi")
    locations = pl.concat([_named(tables["locations"], tile) for tile in range(tiles)])
    start = DAY - dt.timedelta(days=days)
    past_sales = sales.filter(pl.col("day") < start).sort(KEY)
    _write(folder / "history", products=tables["products"], locations=locations, sales=past_sales)
    for number in range(days):
        day = start + dt.timedelta(days=number)
        sold = sales.filter(pl.col("day") == day)
        every = (
            wanted.with_columns(day=pl.lit(day))
            .join(sold, on=KEY, how="left")
            .with_columns(pl.col("units").fill_null(0.0))
        )
        stock = every.select(*KEY, on_hand=pl.col("units") + 5.0, stockout_share=pl.lit(0.0))
        _write(folder / str(day + dt.timedelta(days=1)), sales=every, stock=stock)


def _named(rows: pl.DataFrame, tile: int) -> pl.DataFrame:
    return rows.with_columns(location_id=pl.lit(f"T{tile:03d}_") + pl.col("location_id"))


def _write(folder: Path, **tables: pl.DataFrame) -> None:
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        rows.write_parquet(folder / f"{name}.parquet")
