"""A small made-up retailer: facts as they lie in the warehouse, with a weekly rhythm that a model can learn."""

import datetime as dt

import numpy as np
import polars as pl

DAY = dt.date(2026, 3, 2)
"""Business day of the tests; the origin is the day before."""
ORIGIN = DAY - dt.timedelta(days=1)
HISTORY = 150
LOCATIONS = ("north", "south", "west")
PRODUCTS = ("apples", "bread", "cheese", "dates")


def facts(days: int = HISTORY, *, until: dt.date = ORIGIN, seed: int = 7) -> dict[str, pl.DataFrame]:
    """Return the tables of ``days`` days up to ``until``, with prices, promotions and events planned beyond."""
    random = np.random.default_rng(seed)
    span = [until - dt.timedelta(days=d) for d in range(days - 1, -1, -1)]
    ahead = [until + dt.timedelta(days=d) for d in range(1, 31)]
    rows = [(shop, product, day) for shop in LOCATIONS for product in PRODUCTS for day in span]
    rhythm = np.array([4.0, 4.0, 5.0, 6.0, 9.0, 14.0, 1.0])
    level = np.array([LOCATIONS.index(s) + 1 + 2 * PRODUCTS.index(p) for s, p, _ in rows]) / 4
    means = level * np.array([rhythm[day.weekday()] for _, _, day in rows])
    pair = {"location_id": [r[0] for r in rows], "product_id": [r[1] for r in rows], "day": [r[2] for r in rows]}
    sales = pl.DataFrame({**pair, "units": random.poisson(means).astype(float)})
    first = span[0]
    listed = [(s, p) for s in LOCATIONS for p in PRODUCTS]
    prices = pl.DataFrame(
        [(s, p, first, 2.0) for s, p in listed]
        + [(s, "bread", first + dt.timedelta(days=60), 1.5) for s in LOCATIONS]
        + [(s, "bread", ahead[2], 3.0) for s in LOCATIONS],
        schema=["location_id", "product_id", "day", "price"],
        orient="row",
    )
    weather = [(s, d, 10.0 + d.day, 1.0, "observed") for s in LOCATIONS for d in span]
    weather += [(s, d, 5.0, 0.0, "forecast") for s in LOCATIONS for d in ahead]
    return {
        "products": pl.DataFrame(
            {
                "product_id": PRODUCTS,
                "name": PRODUCTS,
                "category": ["food"] * 4,
                "department": ["fruit", "bakery", "dairy", "fruit"],
                "unit": ["pieces", "pieces", "weight", "pieces"],
                "supplier_id": [None] * 4,
                "launched": [None] * 4,
                "delisted": [None] * 4,
                "shelf_life": [None] * 4,
            },
            schema_overrides={
                "supplier_id": pl.String,
                "launched": pl.Date,
                "delisted": pl.Date,
                "shelf_life": pl.Int32,
            },
        ),
        "locations": pl.DataFrame({"location_id": LOCATIONS, "name": LOCATIONS, "region": ["upper", "lower", "lower"]}),
        "sales": sales,
        "stock": sales.select("location_id", "product_id", "day").with_columns(
            on_hand=pl.lit(20.0), on_order=pl.lit(0.0), stockout_share=pl.lit(0.0)
        ),
        "prices": prices,
        "promotions": pl.DataFrame(
            [("north", "apples", ahead[1], "leaflet", 0.0), ("north", "apples", ahead[2], "price", 0.25)],
            schema=["location_id", "product_id", "day", "kind", "discount"],
            orient="row",
        ),
        "weather": pl.DataFrame(
            weather, schema=["location_id", "day", "temperature", "precipitation", "source"], orient="row"
        ),
        "events": pl.DataFrame(
            [("*", ahead[3], "Spring day", "national"), ("south", ahead[4], "Wages", "payday")],
            schema=["location_id", "day", "name", "kind"],
            orient="row",
        ),
    }


def change(table: pl.DataFrame, where: pl.Expr, **values: pl.Expr) -> pl.DataFrame:
    """Return the table with other values in the rows where ``where`` holds."""
    return table.with_columns(pl.when(where).then(value).otherwise(pl.col(n)).alias(n) for n, value in values.items())
