"""Calibration: the recent bias, measured per segment and taken out of the mean.

A segment is velocity class x location x kind of model. Past mornings' predictions are held against what was then sold,
and the ratio corrects this morning's mean. Dispersion, zero share and common part, which are relative to the mean, are
kept.
"""

import datetime as dt

import polars as pl

from marketday.retailers import Calibration

SERIES = ("location_id", "product_id")
COMPARED_HORIZONS = 7
"""Longest horizon that is compared: one whole week, so that no weekday weighs more than another."""

SLOW_BELOW, FAST_FROM = 0.5, 5.0
"""Units per day that bound the velocity classes slow, medium and fast; our choice: below 0.5 most days sell nothing,
from 5 on a normal distribution would nearly do."""

_STEPS_PER_UNIT = 1_000_000
# Sums are taken in whole millionths of a unit. Adding integers gives the same sum in any order, so threads cannot
# change a factor's last digit and with it the content hash.


def segments(predictions: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``segment`` to predictions of any number of mornings (``run_day``): ``velocity|location|kind of model``.

    The velocity of a series is the mean of its own morning's predictions over the horizon. A past morning is classed by
    what it predicted itself: classed by what was learnt later, series that sold more than predicted would gather in
    the faster class and pretend a bias.
    """
    ahead = pl.when(pl.col("horizon") >= 1).then(_whole(pl.col("mean")))
    per_day = (
        predictions.group_by("run_day", *SERIES).agg((ahead.sum() / ahead.count() / _STEPS_PER_UNIT).alias("velocity"))
    ).with_columns(
        pl.when(pl.col("velocity") < SLOW_BELOW)
        .then(pl.lit("slow"))
        .when(pl.col("velocity") < FAST_FROM)
        .then(pl.lit("medium"))
        .otherwise(pl.lit("fast"))
        .alias("velocity")
    )
    kind = pl.col("model").str.split("@").list.first()
    return (
        predictions.join(per_day, on=["run_day", *SERIES])
        .with_columns(pl.concat_str("velocity", "location_id", kind, separator="|").alias("segment"))
        .drop("velocity")
    )


def window(data_until: dt.date, rules: Calibration) -> tuple[dt.date, dt.date]:
    """Return the first and last day whose sales are compared."""
    return data_until - dt.timedelta(days=rules.window_days - 1), data_until


def known_demand(
    sales: pl.LazyFrame, stock: pl.LazyFrame, listed: pl.LazyFrame, *, absent_is_zero: bool
) -> pl.LazyFrame:
    """Return the uncensored sales: location_id, product_id, day, units; where stock ran out the row is left out.

    ``listed`` are the location x product x days that were predicted. With ``absent_is_zero`` one without a sales row
    sold nothing, if its location reported any sales on that day.
    """
    key = [*SERIES, "day"]
    units = sales.select(*key, "units")
    if absent_is_zero:
        reporting = sales.select("location_id", "day").unique()
        expected = listed.select(key).unique().join(reporting, on=["location_id", "day"], how="semi")
        units = expected.join(units, on=key, how="left").with_columns(pl.col("units").fill_null(0.0))
    censored = stock.filter(pl.col("stockout_share") > 0).select(key)
    return units.join(censored, on=key, how="anti")


def compare(past: pl.LazyFrame, sold: pl.LazyFrame) -> pl.DataFrame:
    """Sum up per segment what was sold and what had been predicted for it.

    ``past`` are earlier mornings' predictions with ``segment``; ``sold`` is :func:`known_demand`. A location, product
    and day counts once per segment, against the mean of its predictions of horizons 1 to 7. Returns segment,
    observations, actual, predicted.
    """
    near = past.filter(pl.col("horizon").is_between(1, COMPARED_HORIZONS))
    per_day = (
        near.join(sold, on=[*SERIES, "day"])
        .group_by("segment", *SERIES, "day")
        .agg(
            (_whole(pl.col("mean")).sum() // pl.len()).alias("predicted"),
            _whole(pl.col("units")).first().alias("actual"),
        )
    )
    return (
        per_day.group_by("segment")
        .agg(pl.len().cast(pl.Int32).alias("observations"), pl.col("actual", "predicted").sum() / _STEPS_PER_UNIT)
        .collect(engine="streaming")
        .sort("segment")
    )


def factors(today: pl.DataFrame, compared: pl.DataFrame, rules: Calibration) -> pl.DataFrame:
    """Return the table `calibration`: one row per segment of ``today``.

    factor = (actual + prior_units) / (predicted + prior_units), bounded to [lower, upper]: the mean of a gamma-Poisson
    model whose prior has weight ``prior_units`` around 1. A segment without history gets 1.
    """
    prior = rules.prior_units
    nothing = {"observations": 0, "actual": 0.0, "predicted": 0.0}
    shrunk = (pl.col("actual") + prior) / (pl.col("predicted") + prior)
    return (
        today.select(pl.col("segment").unique().sort())
        .join(compared, on="segment", how="left", maintain_order="left")
        .with_columns(pl.col(name).fill_null(value) for name, value in nothing.items())
        .with_columns(
            pl.when(pl.col("predicted") > 0).then(pl.col("actual") / pl.col("predicted")).alias("raw_factor"),
            pl.when(pl.col("observations") > 0)
            .then(pl.when(shrunk.is_nan()).then(1.0).otherwise(shrunk).clip(rules.lower, rules.upper))
            .otherwise(1.0)
            .alias("factor"),
        )
    )


def apply(today: pl.DataFrame, by_segment: pl.DataFrame) -> pl.DataFrame:
    """Multiply the mean of ``today``'s predictions by the factor of their segment; all else is kept."""
    return (
        today.join(by_segment.select("segment", "factor"), on="segment", validate="m:1", maintain_order="left")
        .with_columns(pl.col("mean") * pl.col("factor"))
        .drop("segment", "factor")
    )


def _whole(units: pl.Expr) -> pl.Expr:
    return (units * _STEPS_PER_UNIT).round().cast(pl.Int64)
