"""The M5 competition's scores of 3,080 series, the same for this project and its peer."""

import datetime as dt
from pathlib import Path
from typing import NamedTuple

import polars as pl

from marketday.adapters.m5 import M5
from marketday.backtest.rows import KEY, PAIR, revenue, scales
from marketday.distributions import QUANTILE_LEVELS

HORIZON = 28


class Scores(NamedTuple):
    """Weighted root mean squared scaled error, weighted scaled pinball loss, and bias: forecast over sales, less 1."""

    wrmsse: float
    wspl: float
    bias: float


def scored(forecasts: pl.DataFrame, data: Path, origin: dt.date) -> Scores:
    """Score rows of location_id, product_id, day, mean and the nine quantiles.

    A series without a forecast on a day, since it was not on sale at the origin, has 0 there.
    """
    customer, day = M5(data, HORIZON), dt.timedelta(days=1)
    known = customer.deliver(origin + day, since=None)
    pairs = pl.read_parquet(data / "series_manifest.parquet").select(location_id="store_id", product_id="item_id")
    days = pl.DataFrame({"day": pl.date_range(origin + day, origin + HORIZON * day, eager=True)})
    outcome = customer.deliver(origin + (HORIZON + 1) * day, since=origin + day)["sales"]
    figures = ["mean", *QUANTILE_LEVELS]
    units, error = pl.col("units"), pl.col("mean") - pl.col("units")
    losses = [
        pl.max_horizontal(u * (units - pl.col(q)), (u - 1) * (units - pl.col(q))) for q, u in QUANTILE_LEVELS.items()
    ]
    rows = (
        pairs.join(days, how="cross")
        .join(forecasts.select(*KEY, *figures), on=KEY, how="left")
        .join(outcome.select(*KEY, "units"), on=KEY, how="left")
        .with_columns(pl.col(*figures, "units").fill_null(0.0))
    )
    series = (
        rows.group_by(PAIR)
        .agg((error**2).mean().alias("error"), pl.mean_horizontal(losses).mean().alias("loss"))
        .join(scales(known["sales"]), on=PAIR)
        .join(revenue(known["sales"], known["prices"], origin), on=PAIR)
        .filter(pl.col("squared") > 0)
    )
    weight = pl.col("weight") / pl.col("weight").sum()
    wrmsse, wspl = series.select(
        (weight * (pl.col("error") / pl.col("squared")).sqrt()).sum(),
        (weight * pl.col("loss") / pl.col("absolute")).sum().alias("wspl"),
    ).row(0)
    return Scores(wrmsse, wspl, rows["mean"].sum() / rows["units"].sum() - 1)
