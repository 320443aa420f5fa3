"""The rows of one origin: what was forecast beside what was then sold, and what scoring must know of each series."""

import datetime as dt

import polars as pl

from marketday.calibration import FAST_FROM, SLOW_BELOW
from marketday.distributions import with_quantiles
from marketday.tables import RECENT_DAYS

PAIR = ["location_id", "product_id"]
KEY = [*PAIR, "day"]
UNLISTED = "unlisted"
"""Mode of a row that nobody forecast, because the product was not known to be on sale then; it counts as zero."""

_WEIGHT_DAYS = 28
"""Days before the origin whose revenue weights a series, as in the M5 competition."""


def joined(
    forecasts: pl.DataFrame,
    sales: pl.DataFrame,
    stock: pl.DataFrame,
    *,
    origin: dt.date,
    horizon: int,
    pairs: pl.DataFrame,
    absent_is_zero: bool,
) -> pl.DataFrame:
    """Return every pair and day of the horizon: the forecast with its quantiles, ``units`` and ``stockout_share``.

    ``forecasts`` are rows of the table `forecasts` (or `predictions`), ``sales`` and ``stock`` those of the days after
    ``origin``, ``pairs`` location x products that must be there although nobody forecast them: their mean, quantiles
    and all else are 0, their mode is `unlisted`. ``units`` is null where no sales are known; with ``absent_is_zero`` a
    listed product without a row sold nothing, if its location reported any sales on that day.
    """
    ahead = with_quantiles(forecasts.filter(pl.col("horizon").is_between(1, horizon)))
    wanted = pl.concat([rows.select(PAIR) for rows in (forecasts, sales, pairs)]).unique()
    days = pl.DataFrame(
        {"day": [origin + dt.timedelta(days=h) for h in range(1, horizon + 1)], "horizon": range(1, horizon + 1)},
        schema_overrides={"horizon": ahead.schema["horizon"]},
    )
    grid = wanted.join(days, how="cross")
    rows = (
        grid.join(ahead.drop("horizon"), on=KEY, how="left")
        .join(sales.select(*KEY, "units"), on=KEY, how="left")
        .join(stock.select(*KEY, "stockout_share"), on=KEY, how="left")
    )
    if absent_is_zero:
        reports = pl.col("units").is_not_null().any().over("location_id", "day")
        sold_nothing = pl.col("units").is_null() & pl.col("mean").is_not_null() & reports
        rows = rows.with_columns(pl.when(sold_nothing).then(0.0).otherwise(pl.col("units")).alias("units"))
    return rows.with_columns(
        pl.lit(origin).alias("origin"),
        pl.col("mode").fill_null(UNLISTED),
        pl.col("model").fill_null("none"),
        pl.col(name for name, kind in ahead.schema.items() if kind.is_float()).fill_null(0.0),
    ).sort(KEY)


def scales(history: pl.DataFrame) -> pl.DataFrame:
    """Return location_id, product_id, ``squared`` and ``absolute`` of every series that has ever sold.

    They are the mean squared and mean absolute difference from one day to the next, from the first sale on: the
    denominators of RMSSE and SPL (Makridakis, Spiliotis and Assimakopoulos, 2022, The M5 competition, eq. 1 and 3).
    Where a day is unknown, neither difference beside it counts.
    """
    sold = history.filter(pl.col("units") > 0).group_by(PAIR).agg(pl.col("day").min().alias("first"))
    since = history.join(sold, on=PAIR).filter(pl.col("day") >= pl.col("first")).sort(KEY)
    next_day = (pl.col("day") - pl.col("day").shift().over(PAIR)) == dt.timedelta(days=1)
    step = (pl.col("units") - pl.col("units").shift()).over(PAIR)
    return (
        since.with_columns(pl.when(next_day).then(step).alias("step"))
        .group_by(PAIR)
        .agg((pl.col("step") ** 2).mean().alias("squared"), pl.col("step").abs().mean().alias("absolute"))
        .sort(PAIR)
    )


def revenue(history: pl.DataFrame, prices: pl.DataFrame, origin: dt.date) -> pl.DataFrame:
    """Return location_id, product_id and ``weight``: the revenue of the 28 days up to ``origin``, as in M5.

    A retailer that delivers no prices at all has units instead.
    """
    recent = history.filter(pl.col("day") > origin - dt.timedelta(days=_WEIGHT_DAYS)).sort("day")
    price = pl.lit(1.0)
    if prices.height:
        recent = recent.join_asof(prices.select(*KEY, "price").sort("day"), on="day", by=PAIR, check_sortedness=False)
        price = pl.col("price").fill_null(0.0)
    return recent.group_by(PAIR).agg((pl.col("units") * price).sum().alias("weight")).sort(PAIR)


def velocities(history: pl.DataFrame, origin: dt.date) -> pl.DataFrame:
    """Return location_id, product_id and ``velocity``: slow, medium or fast by the mean of the last 91 known days.

    It is what was known at the origin. Classed by what was sold afterwards, series that sold more than expected would
    gather in the faster class and pretend a bias.
    """
    recent = history.filter(pl.col("day") > origin - dt.timedelta(days=RECENT_DAYS))
    mean = pl.col("units").mean()
    velocity = pl.when(mean < SLOW_BELOW).then(pl.lit("slow")).when(mean < FAST_FROM).then(pl.lit("medium"))
    return recent.group_by(PAIR).agg(velocity.otherwise(pl.lit("fast")).alias("velocity")).sort(PAIR)


def with_absent_days(history: pl.DataFrame, origin: dt.date) -> pl.DataFrame:
    """Add rows of zero units between a series' first row and ``origin`` on days on which its location sold anything."""
    open_days = history.select("location_id", "day").unique().filter(pl.col("day") <= origin)
    first = history.group_by(PAIR).agg(pl.col("day").min().alias("first"))
    every = first.join(open_days, on="location_id").filter(pl.col("day") >= pl.col("first")).drop("first")
    return every.join(history, on=KEY, how="left").with_columns(pl.col("units").fill_null(0.0)).sort(KEY)
