"""mlforecast with LightGBM, recursive, from Parquet files to nine quantiles per series and day.

    python mlforecast_job.py M5_FOLDER ORIGIN small|large FORECASTS.parquet OUT.json

small: 364 days, no item id. large: 730 days and the item id. Quantiles are those of a negative binomial with one
dispersion per series, from the residuals in the sample.
"""

import datetime as dt
import json
import sys
import time
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean
from scipy import stats

DAYS = {"small": 364, "large": 730}
HORIZON = 28
LOOKBACK = 28 + 28
"""Days before the first that is learnt from: the rolling mean of 28 days on lag 28."""
LEVELS = {"q005": 0.005, "q025": 0.025, "q165": 0.165, "q250": 0.25, "q500": 0.5,
          "q750": 0.75, "q835": 0.835, "q975": 0.975, "q995": 0.995}  # fmt: skip
STATIC = ["store_id", "dept_id", "cat_id", "state_id"]
PLANNED = ["price", "snap", "event", "event_type"]


def rows(data: Path, origin: dt.date, days: int) -> pl.DataFrame:
    """Return every series' last ``days`` up to the origin and the days ahead, from release on."""
    first, last = origin - dt.timedelta(days=days + LOOKBACK - 1), origin + dt.timedelta(days=HORIZON)
    sold = pl.scan_parquet(data / "sales_*.parquet").filter(pl.col("date").is_between(first, origin))
    series = sold.select("item_id", *STATIC).unique()
    calendar = pl.scan_parquet(data / "calendar.parquet").filter(pl.col("date").is_between(first, last))
    snap = pl.when(pl.col("state_id") == "CA").then("snap_CA")
    snap = snap.when(pl.col("state_id") == "TX").then("snap_TX").otherwise("snap_WI")
    return (
        series.join(calendar, how="cross")
        .join(pl.scan_parquet(data / "sell_prices.parquet"), on=["store_id", "item_id", "wm_yr_wk"])
        .join(sold.select("store_id", "item_id", "date", "units"), on=["store_id", "item_id", "date"], how="left")
        .select(
            pl.concat_str("store_id", "item_id", separator="/").alias("unique_id"),
            pl.col("date").alias("ds"),
            pl.col("units").cast(pl.Float32).alias("y"),
            *(pl.col(name).cast(pl.Categorical) for name in ("item_id", *STATIC)),
            pl.col("sell_price").cast(pl.Float32).alias("price"),
            snap.cast(pl.Int8).alias("snap"),
            pl.col("event_name_1").fill_null("none").cast(pl.Categorical).alias("event"),
            pl.col("event_type_1").fill_null("none").cast(pl.Categorical).alias("event_type"),
        )
        .sort("unique_id", "ds")
        .collect()
    )


def quantiles(mean: np.ndarray, dispersion: np.ndarray) -> dict[str, np.ndarray]:
    """Return the quantiles of a negative binomial, Poisson where the dispersion is 0."""
    size = 1.0 / np.maximum(dispersion, 1e-9)
    return {name: stats.nbinom.ppf(level, size, size / (size + mean)) for name, level in LEVELS.items()}


def main() -> None:
    """Time one job."""
    data, origin, size, forecasts, out = sys.argv[1:]
    last = dt.date.fromisoformat(origin)
    clock, took = [time.perf_counter(), time.process_time()], {}

    def lap(name: str) -> None:
        now = [time.perf_counter(), time.process_time()]
        took[name] = {"seconds": now[0] - clock[0], "cpu": now[1] - clock[1]}
        clock[:] = now

    frame = rows(Path(data), last, DAYS[size]).to_pandas()
    static = [*STATIC, "item_id"] if size == "large" else STATIC
    frame = frame[["unique_id", "ds", "y", *static, *PLANNED]]
    past, ahead = frame[frame["ds"] <= pd.Timestamp(last)], frame[frame["ds"] > pd.Timestamp(last)]
    # Those that are first sold after the origin have no past to be forecast from.
    ahead = ahead.loc[ahead["unique_id"].isin(past["unique_id"].unique()), ["unique_id", "ds", *PLANNED]]
    lap("read")
    means = [RollingMean(7), RollingMean(28)]
    model = lightgbm.LGBMRegressor(
        objective="tweedie",
        tweedie_variance_power=1.1,
        learning_rate=0.075,
        num_leaves=63,
        n_estimators=150,
        n_jobs=2,
        random_state=1,
        verbosity=-1,
    )
    forecast = MLForecast(
        models={"mean": model},
        freq="D",
        lags=[7, 14, 28],
        lag_transforms=dict.fromkeys((1, 7, 28), means),
        date_features=["dayofweek", "day", "week", "month", "year"],
        num_threads=2,
    )
    made = forecast.preprocess(past, static_features=static)
    inputs = made.drop(columns=["unique_id", "ds", "y"])
    lap("features")
    forecast.fit_models(inputs, made["y"])
    lap("train")
    predicted = forecast.predict(HORIZON, X_df=ahead)
    lap("predict")
    fitted = np.maximum(forecast.models_["mean"].predict(inputs), 1e-9)
    moments = pd.DataFrame({"over": (made["y"] - fitted) ** 2 - fitted, "square": fitted**2})
    sums = moments.groupby(made["unique_id"]).sum()
    dispersion = (sums["over"] / sums["square"]).clip(lower=0.0)
    mean = np.maximum(predicted["mean"].to_numpy(dtype=float), 1e-9)
    found = quantiles(mean, dispersion.reindex(predicted["unique_id"]).fillna(dispersion.mean()).to_numpy())
    place = predicted["unique_id"].str.split("/", n=1, expand=True)
    columns = {"location_id": place[0], "product_id": place[1], "day": predicted["ds"], "mean": mean, **found}
    pl.DataFrame(columns).with_columns(pl.col("day").cast(pl.Date)).write_parquet(forecasts)
    lap("quantiles")
    Path(out).write_text(json.dumps(took), encoding="utf-8")


if __name__ == "__main__":
    main()
