"""mlforecast: lags, windows and calendar, 22 columns, with the fastest of its settings.

    python mlforecast_22.py DATA names|numbers OUT.json

float32, polars instead of pandas and two threads each make it faster. So does a number in the place of a series' name,
which is no setting of mlforecast: whoever passes numbers keeps the names elsewhere. Both are measured.
"""

import sys
from pathlib import Path

import polars as pl
from columns import DATE_COLUMNS, LAG_COLUMNS, LAGS, SHIFTS, WIDTHS, WINDOW_COLUMNS, Clock, report, sampled
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean, RollingStd

DATES = dict(zip(DATE_COLUMNS, ("weekday", "day", "week", "month", "year"), strict=True))


def main() -> None:
    """Time one run from the files to the matrix."""
    data, ids, out = Path(sys.argv[1]) / "m5", sys.argv[2], Path(sys.argv[3])
    clock = Clock()
    stores = [
        pl.scan_parquet(file).select("store_id", "item_id", ds="date", y=pl.col("units").cast(pl.Float32))
        for file in sorted(data.glob("sales_*.parquet"))
    ]
    names = pl.concat(stores).collect()
    name = pl.concat_str("store_id", "item_id", separator="/")
    number = pl.struct("store_id", "item_id").rle_id()
    rows = names.select(unique_id=name if ids == "names" else number, ds="ds", y="y")
    windows = [kind(width, min_samples=1) for kind in (RollingMean, RollingStd) for width in WIDTHS]
    forecast = MLForecast(
        models=[],
        freq="1d",
        lags=list(LAGS),
        lag_transforms=dict.fromkeys(SHIFTS, windows),
        date_features=list(DATES.values()),
        num_threads=2,
    )
    made = forecast.preprocess(rows, static_features=[], dropna=False)
    took = clock.stop()

    columns = [*LAG_COLUMNS, *WINDOW_COLUMNS, *DATE_COLUMNS]
    named = dict(zip(made.columns[3:], columns, strict=True))
    every = (
        names.select("store_id", "item_id")
        .unique()
        .sort("store_id", "item_id")
        .group_by("store_id", maintain_order=True)
    )
    checked = {}
    for (store,), items in every:
        for item in sampled(items["item_id"].to_list()):
            mine = (names["store_id"] == store) & (names["item_id"] == item)
            values = made.filter(mine).rename(named)
            checked[f"{store}/{item}"] = {name: values[name].to_numpy() for name in columns}
    report(out, took, checked, columns=len(columns))


if __name__ == "__main__":
    main()
