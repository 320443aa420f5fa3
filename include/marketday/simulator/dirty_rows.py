"""Faults of single rows.

Most add bad rows beside the good ones: once they are refused, every valid series still has its rows.
"""

import datetime as dt

import polars as pl

from marketday.simulator.dirt_contract import KEY, Tables, last_day

_FEW = 3


def empty_cell(tables: Tables) -> Tables:
    """Sales without their units."""
    return _added(tables, "sales", _sample(tables).with_columns(units=pl.lit(None, pl.Float64)))


def wrong_encoding(tables: Tables) -> Tables:
    """Sales of a store whose name went through the wrong encoding."""
    return _added(tables, "sales", _sample(tables).with_columns(location_id=pl.lit("MÃ¼nchen")))


def returns(tables: Tables) -> Tables:
    """Goods that came back, booked as sales."""
    return _added(tables, "sales", _sample(tables).with_columns(units=pl.lit(-2.0)))


def zero_price(tables: Tables) -> Tables:
    """Prices of 0, on days on which the price did not change."""
    return _added(tables, "prices", _unpriced(tables).with_columns(price=pl.lit(0.0)))


def negative_price(tables: Tables) -> Tables:
    """Prices below zero, on days on which the price did not change."""
    return _added(tables, "prices", _unpriced(tables).with_columns(price=pl.lit(-1.99)))


def unheard_of_kind(tables: Tables) -> Tables:
    """Promotion of a kind that nobody agreed upon."""
    coupon = _sample(tables).select(*KEY, kind=pl.lit("coupon"), discount=pl.lit(0.1)).head(1)
    return _added(tables, "promotions", coupon)


def weekdays_in_words(tables: Tables) -> Tables:
    """Offer new terms for all products; for one of them, the days of arrival are words."""
    terms = {"cost": 1.0, "pack_size": 6.0, "minimum_packs": 1, "lead_time": 1}
    weekdays = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("Mo, We")).otherwise(pl.lit("13"))
    offers = tables["products"].select(
        "supplier_id",
        "product_id",
        day=pl.lit(tables["sales"]["day"].max(), pl.Date),
        delivery_weekdays=weekdays,
        **{name: pl.lit(value) for name, value in terms.items()},
    )
    return _added(tables, "offers", offers)


def unknown_supplier(tables: Tables) -> Tables:
    """Product of a supplier that the retailer never announced."""
    new = tables["products"].head(1).with_columns(product_id=pl.lit("P998"), supplier_id=pl.lit("V99"))
    return _added(tables, "products", new)


def unknown_product(tables: Tables) -> Tables:
    """Sales of a product that the retailer never announced."""
    return _added(tables, "sales", _sample(tables).with_columns(product_id=pl.lit("P999")).head(1))


def unknown_location(tables: Tables) -> Tables:
    """Sales of a store that does not exist."""
    return _added(tables, "sales", _sample(tables).with_columns(location_id=pl.lit("S99")).head(1))


def clock_ahead(tables: Tables) -> Tables:
    """Sales of the late evening, dated the next day by a clock in another time zone."""
    return _added(tables, "sales", _sample(tables).with_columns(pl.col("day") + dt.timedelta(days=1)))


def wrong_day(tables: Tables) -> Tables:
    """Sales of a day that is yet to come."""
    return _added(tables, "sales", _sample(tables).with_columns(pl.col("day") + dt.timedelta(days=30)))


def half_a_piece(tables: Tables) -> Tables:
    """Half a piece of what is sold in pieces."""
    pieces = tables["products"].filter(unit="pieces").select("product_id")
    return _added(tables, "sales", last_day(tables).join(pieces, on="product_id").head(1).with_columns(units=0.5))


def grams(tables: Tables) -> Tables:
    """Sales of the largest sellers in thousandths of their unit."""
    largest = last_day(tables).sort("units", descending=True).head(_FEW)
    return _added(tables, "sales", largest.with_columns(pl.col("units") * 1000))


def cents(tables: Tables) -> Tables:
    """Prices in cents, a few of the new ones."""
    return _added(tables, "prices", tables["prices"].sort(KEY).head(_FEW).with_columns(pl.col("price") * 100))


def closed_store(tables: Tables) -> Tables:
    """Sales of a store on a day on which it was closed; the rest of its sales is not there."""
    last = last_day(tables)
    at_store = pl.col("location_id") == last["location_id"].min()
    sold = last.filter(at_store, pl.col("units") > 0).head(_FEW)
    others = tables["sales"].join(last.filter(at_store), on=KEY, how="anti")
    closed = sold.head(1).select("location_id", "day", name=pl.lit("Stocktaking"), kind=pl.lit("closed"))
    return {"sales": pl.concat([others, sold.select(others.columns)]), **_added(tables, "events", closed)}


def before_launch(tables: Tables) -> Tables:
    """Product that was sold before it is launched."""
    return _redated(tables, launched=pl.lit(tables["sales"]["day"].max(), pl.Date) + dt.timedelta(days=1))


def after_delisting(tables: Tables) -> Tables:
    """Product that was sold after it was delisted."""
    return _redated(tables, delisted=pl.lit(tables["sales"]["day"].max(), pl.Date))


def duplicate_key(tables: Tables) -> Tables:
    """Sales given twice with different figures; both go, so it is the slowest seller that loses a day."""
    slowest = last_day(tables).sort("units", *KEY).head(1)
    return _added(tables, "sales", slowest.with_columns(pl.col("units") + 5))


def garbled_name(tables: Tables) -> Tables:
    """Product whose name went through the wrong encoding."""
    products = tables["products"].with_row_index()
    garbled = pl.when(pl.col("index") == 0).then(pl.lit("MÃ¼sli")).otherwise("name")
    return {"products": products.with_columns(name=garbled).drop("index")}


def decimal_comma(tables: Tables) -> Tables:
    """Sales with a comma where a point should be, where that can be understood."""
    units = pl.col("units").cast(pl.String)
    clear = units.str.contains(r"\.\d{1,2}$")
    return {"sales": tables["sales"].with_columns(pl.when(clear).then(units.str.replace(r"\.", ",")).otherwise(units))}


def not_a_number(tables: Tables) -> Tables:
    """Sales given as text, some of which says nothing; the unreadable ones are of the day before the delivered ones."""
    sales = tables["sales"].with_columns(pl.col("units").cast(pl.String))
    day_before = pl.lit(sales["day"].min(), dtype=pl.Date) - dt.timedelta(days=1)
    bad = _sample(tables).with_columns(day=day_before, units=pl.lit("n/a"))
    return {"sales": pl.concat([sales, bad.select(sales.columns)])}


def _sample(tables: Tables) -> pl.DataFrame:
    """Return a few sales of the last day."""
    return last_day(tables).head(_FEW)


def _unpriced(tables: Tables) -> pl.DataFrame:
    """Return the keys of a few sales of days on which no price changed."""
    return tables["sales"].join(tables["prices"], on=KEY, how="anti").sort(KEY).head(_FEW).select(KEY)


def _redated(tables: Tables, **column: pl.Expr) -> Tables:
    """Return the products with another date for the one that sold least of those that sold."""
    sold = last_day(tables).filter(pl.col("units") > 0).group_by("product_id").agg(pl.col("units").sum())
    least = pl.col("product_id").is_in(sold.sort("units", "product_id")["product_id"].head(1).implode())
    dates = [pl.when(least).then(to).otherwise(name).alias(name) for name, to in column.items()]
    return {"products": tables["products"].with_columns(dates)}


def _added(tables: Tables, name: str, rows: pl.DataFrame) -> Tables:
    good = tables[name]
    return {name: pl.concat([good, rows.select(good.columns).cast(good.schema)])}
