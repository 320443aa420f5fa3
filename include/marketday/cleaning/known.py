"""What delivered rows are compared with: the dimensions, closed days, and what a product usually sells and costs.

Everything here is small: a row per product, or per product and location, of the last weeks.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from marketday.retailers import Checks, Retailer
from marketday.tables import EVENTS, LOCATIONS, PRICES, PRODUCTS, RUN_DAY, SALES, SUPPLIERS, Table
from marketday.warehouse import as_known, empty

READS = (SUPPLIERS, PRODUCTS, LOCATIONS, EVENTS, SALES, PRICES)
"""Tables that :func:`known_on` looks at."""

DIMENSIONS = (SUPPLIERS, PRODUCTS, LOCATIONS)

SALES_DAYS = 91
"""Days whose sales say what is usual: 13 weeks, enough for slow movers and short enough to follow the season."""

PRICE_DAYS = 371
"""Days whose prices do: 53 weeks, since many prices stay for months."""

LEAST_SALES = 8
"""Days on which a product was sold in a location before its units are compared."""


def _none_of(table: Table, *columns: str) -> Callable[[], pl.DataFrame]:
    return lambda: empty(table).select(columns)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What delivered rows are compared with."""

    last_day: dt.date
    """Last day that an observed fact may be of: the origin."""
    first_day: dt.date | None = None
    """First such day; None: any, as in a retailer's first delivery."""
    keys: Mapping[str, pl.Series] = field(default_factory=dict)
    """By dimension: every key that may be referred to."""
    products: pl.DataFrame = field(default_factory=_none_of(PRODUCTS, "product_id", "unit", "launched", "delisted"))
    """How each known product is sold, and from when until when."""
    closed: pl.DataFrame = field(default_factory=_none_of(EVENTS, "location_id", "day"))
    """Days on which a location, or ``*`` for all, was closed."""
    usual_units: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(
            schema={"location_id": pl.String, "product_id": pl.String, "log_units": pl.Float64, "spread": pl.Float64}
        )
    )
    """Per product and location with enough sales: mean and standard deviation of log units, where any were sold."""
    usual_prices: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema={"product_id": pl.String, "log_price": pl.Float64})
    )
    """Per product: mean of its log prices."""
    checks: Checks = field(default_factory=Checks)
    """Which checks hold."""

    def after(self, table: Table, accepted: pl.DataFrame) -> "Known":
        """Return what is known once the rows of a table were accepted: what they bring may be referred to."""
        known = self
        if table.name in {dimension.name for dimension in DIMENSIONS}:
            key = table.key[0]
            keys = (
                pl.concat([self.keys[table.name], accepted[key]]).unique() if table.name in self.keys else accepted[key]
            )
            known = replace(known, keys={**self.keys, table.name: keys})
        if table.name == PRODUCTS.name:
            products = pl.concat([self.products, accepted.select(self.products.columns)])
            known = replace(known, products=products.unique("product_id", keep="last", maintain_order=True))
        if table.name == EVENTS.name:
            known = replace(known, closed=pl.concat([self.closed, _closed(accepted)]).unique())
        return known


def known_on(scan: Callable[[Table], pl.LazyFrame], retailer: Retailer, day: dt.date) -> Known:
    """Return what the delivery of the morning of ``day`` is compared with.

    ``scan`` gives all rows of each of ``READS`` with their ``run_day``. What the run of ``day`` itself wrote is left
    out: a second run after a corrected delivery must not be compared with the first one's rows.
    """
    origin = day - dt.timedelta(days=1)

    def known(table: Table) -> pl.LazyFrame:
        return as_known(scan(table), table, origin)

    sales, prices = (scan(table).filter(pl.col(RUN_DAY) < day) for table in (SALES, PRICES))
    products = known(PRODUCTS).select("product_id", "unit", "launched", "delisted").collect()
    return Known(
        last_day=origin,
        first_day=_first_day(sales, retailer, origin),
        keys={
            PRODUCTS.name: products["product_id"],
            **{t.name: known(t).select(t.key).collect().to_series() for t in (SUPPLIERS, LOCATIONS)},
        },
        products=products,
        closed=_closed(known(EVENTS).collect()),
        usual_units=usual_units(sales.filter(_within(SALES_DAYS, origin))).collect(engine="streaming"),
        usual_prices=usual_prices(prices.filter(_within(PRICE_DAYS, origin))).collect(engine="streaming"),
        checks=retailer.checks,
    )


def usual_units(sales: pl.LazyFrame) -> pl.LazyFrame:
    """Return ``Known.usual_units`` of rows with ``location_id``, ``product_id`` and ``units``."""
    units = pl.col("units").log()
    return (
        sales.filter(pl.col("units") > 0)
        .group_by("location_id", "product_id")
        .agg(units.mean().alias("log_units"), units.std().alias("spread"), pl.len().alias("days"))
        .filter(pl.col("days") >= LEAST_SALES)
        .drop("days")
    )


def usual_prices(prices: pl.LazyFrame) -> pl.LazyFrame:
    """Return ``Known.usual_prices`` of rows with ``product_id`` and ``price``."""
    return prices.group_by("product_id").agg(pl.col("price").log().mean().alias("log_price"))


def _first_day(sales: pl.LazyFrame, retailer: Retailer, origin: dt.date) -> dt.date | None:
    """First day that observed facts may be of; None in a retailer's first delivery, which brings the whole history.

    Days after the last known sales are never too late: however long an outage was, it can be made up.
    """
    last_known: dt.date | None = sales.select(pl.col("day").max()).collect(engine="streaming").item()
    if last_known is None:
        return None
    late = dt.timedelta(days=retailer.late_days)
    return min(origin - late, last_known + dt.timedelta(days=1))


def _closed(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(pl.col("kind") == "closed").select("location_id", "day").unique()


def _within(days: int, origin: dt.date) -> pl.Expr:
    return pl.col("day").is_between(origin - dt.timedelta(days=days - 1), origin)
