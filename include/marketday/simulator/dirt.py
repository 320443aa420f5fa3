"""Faults that the simulated grocer's deliveries can have, to see that each is found and what it costs.

Except for those that spoil a whole table, a fault adds bad rows beside the good ones: once they are refused, every
valid series still has its rows.
"""

import datetime as dt
from collections.abc import Callable

import polars as pl

from marketday.errors import RetailerError, listed

Tables = dict[str, pl.DataFrame]

_FEW = 3
_KEY = ["location_id", "product_id", "day"]


def spoil(tables: Tables, faults: tuple[str, ...]) -> Tables:
    """Return the delivery with the named faults, put in in the order of ``FAULTS``.

    Raises:
        RetailerError: there is no fault of that name.

    """
    unknown = [name for name in faults if name not in FAULTS]
    if unknown:
        raise RetailerError(f"There is no fault {listed(unknown)}", hint=f"Use: {listed(FAULTS, most=len(FAULTS))}.")
    for name, fault in FAULTS.items():
        if name in faults:
            tables = {**tables, **fault(tables)}
    return tables


def unknown_product(tables: Tables) -> Tables:
    """Sales of a product that the retailer never announced."""
    return _added(tables, "sales", _sample(tables).with_columns(product_id=pl.lit("P999")).head(1))


def unknown_location(tables: Tables) -> Tables:
    """Sales of a store that does not exist."""
    return _added(tables, "sales", _sample(tables).with_columns(location_id=pl.lit("S99")).head(1))


def negative_price(tables: Tables) -> Tables:
    """Prices below zero, on days on which the price did not change."""
    sold = tables["sales"].join(tables["prices"], on=_KEY, how="anti").sort(_KEY).head(_FEW)
    return _added(tables, "prices", sold.select(_KEY).with_columns(price=pl.lit(-1.99)))


def duplicate_key(tables: Tables) -> Tables:
    """Sales given twice with different figures; both go, so it is the slowest seller that loses a day."""
    slowest = tables["sales"].filter(pl.col("day") == pl.col("day").max()).sort("units", *_KEY).head(1)
    return _added(tables, "sales", slowest.with_columns(pl.col("units") + 5))


def wrong_day(tables: Tables) -> Tables:
    """Sales of a day that is yet to come."""
    return _added(tables, "sales", _sample(tables).with_columns(pl.col("day") + dt.timedelta(days=30)))


def not_a_number(tables: Tables) -> Tables:
    """Sales given as text, some of which says nothing; the unreadable ones are of the day before the delivered ones."""
    sales = tables["sales"]
    day_before = pl.lit(sales["day"].min(), dtype=pl.Date) - dt.timedelta(days=1)
    bad = _sample(tables).with_columns(day=day_before, units=pl.lit("n/a"))
    return {"sales": pl.concat([sales.with_columns(pl.col("units").cast(pl.String)), bad.select(sales.columns)])}


def units_times_100(tables: Tables) -> Tables:
    """All sales in hundredths, as after a lost decimal point."""
    return {"sales": tables["sales"].with_columns(pl.col("units") * 100)}


def truncated(tables: Tables) -> Tables:
    """Only the first half of the sales."""
    return {"sales": tables["sales"].head(tables["sales"].height // 2)}


def empty_table(tables: Tables) -> Tables:
    """Sales without a row."""
    return {"sales": tables["sales"].clear()}


def missing_column(tables: Tables) -> Tables:
    """Sales without their units; such a table is turned away at the door."""
    return {"sales": tables["sales"].drop("units")}


FAULTS: dict[str, Callable[[Tables], Tables]] = {
    fault.__name__: fault
    for fault in (
        empty_table,
        truncated,
        units_times_100,
        unknown_product,
        unknown_location,
        negative_price,
        duplicate_key,
        wrong_day,
        not_a_number,
        missing_column,
    )
}
"""By name; each takes the delivery and returns the tables that it changes. Those that change the columns come last."""


def _sample(tables: Tables) -> pl.DataFrame:
    """Return a few sales of the last day."""
    return tables["sales"].filter(pl.col("day") == pl.col("day").max()).sort(_KEY).head(_FEW)


def _added(tables: Tables, name: str, rows: pl.DataFrame) -> Tables:
    good = tables[name]
    return {name: pl.concat([good, rows.select(good.columns).cast(good.schema)])}
