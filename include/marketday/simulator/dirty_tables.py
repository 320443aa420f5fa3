"""Faults of whole tables: what a delivery says of a day is wrong although each of its rows could be right."""

import datetime as dt

import polars as pl

from marketday.simulator.dirt_contract import KEY, Tables

_LIMITS = (1_000_000, 100_000, 65_536, 10_000, 1_000)
"""Rows that tools write at most, as a simulated export does."""

_ONE = dt.timedelta(days=1)


def empty_table(tables: Tables) -> Tables:
    """Sales without a row."""
    return {"sales": tables["sales"].clear()}


def short_history(tables: Tables) -> Tables:
    """History of five days."""
    since = pl.lit(tables["sales"]["day"].max(), dtype=pl.Date) - dt.timedelta(days=4)
    return {name: tables[name].filter(pl.col("day") >= since) for name in ("sales", "stock")}


def truncated(tables: Tables) -> Tables:
    """Sales in the order of their key, cut at the largest round number of rows, or in the middle of a small table."""
    sales = tables["sales"].sort(KEY)
    rows = next((limit for limit in _LIMITS if limit < sales.height), sales.height // 2)
    return {"sales": sales.head(rows)}


def units_over_10(tables: Tables) -> Tables:
    """Tenth of all sales, as of one till of ten."""
    return {"sales": tables["sales"].with_columns((pl.col("units") / 10).floor())}


def units_times_100(tables: Tables) -> Tables:
    """All sales in hundredths, as after a lost decimal point."""
    return {"sales": tables["sales"].with_columns(pl.col("units") * 100)}


def missing_stores(tables: Tables) -> Tables:
    """Sales of the first store and the last one only."""
    ends = tables["sales"].select(pl.col("location_id").min().alias("first"), pl.col("location_id").max().alias("last"))
    return {"sales": tables["sales"].filter(pl.col("location_id").is_in(list(ends.row(0))))}


def old_day_as_new(tables: Tables) -> Tables:
    """Last day with the sales of the same weekday a week before."""
    day, last = pl.col("day"), pl.col("day").max()
    week_before = tables["sales"].filter(day == last - 7 * _ONE).with_columns(day + 7 * _ONE)
    return {"sales": pl.concat([tables["sales"].filter(day < last), week_before])}


def old_delivery_again(tables: Tables) -> Tables:
    """Sales of the last delivery again, and none of the last day."""
    return {"sales": tables["sales"].filter(pl.col("day") < pl.col("day").max())}


def days_shifted(tables: Tables) -> Tables:
    """Sales dated one day too early, as by a clock that is behind."""
    return {"sales": tables["sales"].with_columns(pl.col("day") - _ONE)}


def other_currency(tables: Tables) -> Tables:
    """Prices in another currency, all that are new."""
    return {"prices": tables["prices"].with_columns(pl.col("price") * 7)}


def empty_cells(tables: Tables) -> Tables:
    """Tenth of the sales without their units."""
    tenth = pl.int_range(pl.len()) % 10 == 0
    return {"sales": tables["sales"].with_columns(units=pl.when(~tenth).then("units"))}


def missing_column(tables: Tables) -> Tables:
    """Sales without their units; such a table is turned away at the door."""
    return {"sales": tables["sales"].drop("units")}
