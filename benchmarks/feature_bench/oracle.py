"""The slow, obvious version in pandas, for a sample of series: what every other one is compared with."""

from pathlib import Path

import numpy as np
import pandas as pd
from feature_bench.columns import ALL, DAYS, FIRST, LAGS, SHIFTS, WIDTHS, sampled


def oracle(data: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return the 33 columns of the sampled series, by series and column."""
    days = pd.date_range(FIRST, periods=DAYS)
    columns = ["store_id", "item_id", "date", "units", "sell_price"]
    sold = pd.concat([pd.read_parquet(file, columns=columns) for file in sorted(data.glob("sales_*.parquet"))])
    sold["date"] = pd.to_datetime(sold["date"])
    by_store = sold.groupby(["store_id", "date"])["units"].sum()
    by_item = sold.groupby(["item_id", "date"])["units"].sum()
    calendar = pd.read_parquet(data / "calendar.parquet").sort_values("date").reset_index(drop=True)
    names = sorted(calendar["event_name_1"].dropna().unique())
    event = calendar["event_name_1"].map({name: code for code, name in enumerate(names)}).fillna(-1)
    found = {}
    for store, of_store in sold.groupby("store_id"):
        for item in sampled(sorted(of_store["item_id"].unique())):
            own = of_store[of_store["item_id"] == item].set_index("date").reindex(days)
            made = {**_demand(own["units"]), **_price(own["sell_price"].ffill())}
            made |= _total("location", by_store[store].reindex(days)) | _total("product", by_item[item].reindex(days))
            made |= {
                "weekday": days.dayofweek + 1,
                "day_of_month": days.day,
                "week": days.isocalendar().week,
                "month": days.month,
                "year": days.year,
                "payday": calendar[f"snap_{store[:2]}"][:DAYS],
                "event": event[:DAYS],
                "event_tomorrow": event.shift(-1).fillna(-1)[:DAYS],
            }
            found[f"{store}/{item}"] = {name: np.asarray(made[name], dtype=float) for name in ALL}
    return found


def _demand(units: pd.Series) -> dict[str, pd.Series]:
    made = {f"lag_{lag}": units.shift(lag) for lag in LAGS}
    for shift in SHIFTS:
        for width in WIDTHS:
            window = units.shift(shift).rolling(width, min_periods=1)
            made[f"mean_{width}_back_{shift - 1}"] = window.mean()
            made[f"std_{width}_back_{shift - 1}"] = window.std()
    return made


def _price(price: pd.Series) -> dict[str, pd.Series]:
    return {
        "price_mean_28": price.rolling(28, min_periods=1).mean(),
        "price_relative": price / price.shift(1).rolling(91, min_periods=1).mean(),
    }


def _total(name: str, daily: pd.Series) -> dict[str, pd.Series]:
    return {
        f"{name}_total_lag_1": daily.shift(1),
        f"{name}_total_lag_28": daily.shift(28),
        f"{name}_total_mean_28": daily.shift(1).rolling(28, min_periods=1).mean(),
    }
