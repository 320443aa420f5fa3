"""One store as a block: read, its totals, its 33 columns, by this project's own functions."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from columns import ALL, DAYS, FIRST, sampled

from marketday.features import grid
from marketday.features.declare import get
from marketday.features.evaluate import Inputs, dense
from marketday.features.inputs import calendar_arrays, total_arrays
from marketday.features.totals import Totals, add, by_location, by_product

FEATURES = [get(name) for name in ALL]
PARQUET = {"use_dictionary": False, "compression": "lz4", "write_statistics": False, "data_page_version": "2.0"}


class Store(NamedTuple):
    """One store's sales as dense arrays, series x days."""

    name: str
    product: np.ndarray
    demand: np.ndarray
    price: np.ndarray
    totals: Totals
    """Pass one: the store's demand per item and day."""


class Names(NamedTuple):
    """What all stores share: the items and events that codes stand for, and the calendar."""

    items: list[str]
    events: list[str]
    calendar: pl.DataFrame


def names(data: Path) -> Names:
    """Read what all stores share."""
    items = pl.read_parquet(data / "series_manifest.parquet", columns=["item_id"])["item_id"]
    calendar = pl.read_parquet(data / "calendar.parquet").sort("date")
    events = calendar["event_name_1"].drop_nulls().unique().sort()
    return Names(items.unique().sort().to_list(), events.to_list(), calendar)


def read(file: Path, shared: Names) -> Store:
    """Read a store's rows into arrays; the price of the last known day holds for the days ahead."""
    rows = pl.read_parquet(file, columns=["item_id", "date", "units", "sell_price"])
    key = grid.codes(rows["item_id"], shared.items)
    pairs = grid.Pairs(key, len(shared.items))
    place = (pairs.rows(key), grid.Axis(FIRST, DAYS).columns(rows["date"]))
    demand, price = (
        grid.scatter(*place, rows[name].to_numpy(), (len(pairs), DAYS)) for name in ("units", "sell_price")
    )
    totals = by_product(demand, np.zeros_like(pairs.product), pairs.product)
    return Store(file.stem.removeprefix("sales_"), pairs.product, demand, grid.forward_fill(price), totals)


def added(stores: list[Store]) -> Totals:
    """Add the stores' totals up."""
    return add([store.totals for store in stores])


def inputs(store: Store, products: Totals, shared: Names) -> Inputs:
    """Return what the features of a store read."""
    place = np.zeros_like(store.product)
    calendar = shared.calendar
    code = grid.codes(calendar["event_name_1"], shared.events)[None, : DAYS + 1]
    tomorrow = np.append(code[:, 1:], np.full((1, 1 + DAYS - code.shape[1]), -1), axis=1)
    arrays = {
        ("series", "demand"): store.demand,
        ("series", "price"): store.price,
        ("location", "payday"): calendar[f"snap_{store.name[:2]}"].to_numpy()[None, :DAYS].astype(np.float32),
        ("location", "event"): code[:, :DAYS],
        ("location", "event_tomorrow"): tomorrow[:, :DAYS],
        **calendar_arrays(FIRST, DAYS),
        **total_arrays({"location": by_location(store.demand, place, 1), "product": products.of(store.product)}),
    }
    return Inputs(
        arrays=arrays, row={"location": place, "product": np.arange(len(place))}, series=len(place), days=DAYS
    )


def matrix(store: Store, products: Totals, shared: Names) -> dict[str, np.ndarray]:
    """Pass two: the 33 columns, each series x days; the origin is the day before."""
    return dense(inputs(store, products, shared), FEATURES, ahead=1, groups_ahead=1)


def copied(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return every column as a contiguous array of its own."""
    return {name: column.copy() for name, column in columns.items()}


def write(columns: dict[str, np.ndarray], store: Store, folder: Path) -> int:
    """Write a store's columns as one Parquet file; returns its size."""
    file = folder / f"{store.name}.parquet"
    pq.write_table(pa.table({name: column.reshape(-1) for name, column in columns.items()}), file, **PARQUET)
    return file.stat().st_size


def checked(columns: dict[str, np.ndarray], store: Store, shared: Names) -> dict[str, dict[str, np.ndarray]]:
    """Return the store's series that are compared with the oracle."""
    own = [shared.items[product] for product in store.product]
    return {
        f"{store.name}/{item}": {name: column[own.index(item)] for name, column in columns.items()}
        for item in sampled(own)
    }
