"""The same 33 columns in polars, by window expressions over each series.

python with_polars.py DATA OUT.json
"""

import sys
from pathlib import Path

import polars as pl
from columns import ALL, DAYS, FIRST, LAGS, SHIFTS, WIDTHS, Clock, report, sampled

SERIES = ["store_id", "item_id"]


def rows(data: Path) -> pl.DataFrame:
    """Return one row per series and day, with the days ahead, sorted; ``series`` numbers the series."""
    sold = pl.concat(
        [
            pl.scan_parquet(file).select(*SERIES, "date", pl.col("units").cast(pl.Float32), "sell_price")
            for file in sorted(data.glob("sales_*.parquet"))
        ]
    )
    ahead = pl.LazyFrame().select(
        date=pl.date_range(FIRST, FIRST + pl.duration(days=DAYS - 1)).filter(
            pl.date_range(FIRST, FIRST + pl.duration(days=DAYS - 1))
            > sold.select(pl.col("date").max()).collect().item()
        )
    )
    coming = sold.select(SERIES).unique().join(ahead, how="cross")
    return (
        pl.concat([sold, coming], how="diagonal")
        .sort(*SERIES, "date")
        .with_columns(series=pl.struct(SERIES).rle_id())
        .with_columns(pl.col("sell_price").forward_fill().over("series"))
        .collect()
    )


def totals(frame: pl.DataFrame, key: str, name: str) -> pl.DataFrame:
    """Return a group's daily totals: lagged by 1 and 28 days, and their mean over 28 days."""
    known = pl.col("units").is_not_null().any()
    daily = frame.group_by(key, "date").agg(total=pl.when(known).then(pl.col("units").sum())).sort(key, "date")
    total = pl.col("total")
    return daily.select(
        key,
        "date",
        total.shift(1).over(key).alias(f"{name}_total_lag_1"),
        total.shift(28).over(key).alias(f"{name}_total_lag_28"),
        total.shift(1).rolling_mean(28, min_samples=1).over(key).alias(f"{name}_total_mean_28"),
    )


def calendar(data: Path) -> pl.DataFrame:
    """Return the day's event and the next day's as codes, and the SNAP days of the states."""
    days = pl.read_parquet(data / "calendar.parquet").sort("date")
    names = days["event_name_1"].drop_nulls().unique().sort()
    code = pl.col("event_name_1").cast(pl.Enum(names)).to_physical().cast(pl.Int16)
    return days.select(
        "date",
        code.fill_null(-1).alias("event"),
        code.shift(-1).fill_null(-1).alias("event_tomorrow"),
        *(pl.col(f"snap_{state}").cast(pl.Float32) for state in ("CA", "TX", "WI")),
    )


def main() -> None:
    """Time one run from the files to the matrix."""
    data, out = Path(sys.argv[1]) / "m5", Path(sys.argv[2])
    clock = Clock()
    frame = rows(data)
    units, price, day = pl.col("units"), pl.col("sell_price"), pl.col("date").dt
    windows = {
        f"{of}_{width}_back_{shift - 1}": getattr(units.shift(shift), f"rolling_{of}")(width, min_samples=minimum)
        for shift in SHIFTS
        for of, minimum in (("mean", 1), ("std", 2))
        for width in WIDTHS
    }
    state = pl.col("store_id").str.head(2)
    snap = pl.when(state == "CA").then("snap_CA").when(state == "TX").then("snap_TX").otherwise("snap_WI")
    made = (
        frame.lazy()
        .with_columns(
            *(units.shift(lag).over("series").alias(f"lag_{lag}") for lag in LAGS),
            *(window.over("series").alias(name) for name, window in windows.items()),
            price.rolling_mean(28, min_samples=1).over("series").alias("price_mean_28"),
            (price / price.shift(1).rolling_mean(91, min_samples=1)).over("series").alias("price_relative"),
            weekday=day.weekday(),
            day_of_month=day.day(),
            week=day.week(),
            month=day.month(),
            year=day.year(),
        )
        .join(totals(frame, "store_id", "location").lazy(), on=["store_id", "date"], how="left", maintain_order="left")
        .join(totals(frame, "item_id", "product").lazy(), on=["item_id", "date"], how="left", maintain_order="left")
        .join(calendar(data).lazy(), on="date", how="left", maintain_order="left")
        .with_columns(payday=snap)
        .select(*SERIES, *ALL)
        .collect()
    )
    took = clock.stop()

    checked = {}
    for (store,), items in made.select(SERIES).unique().sort(SERIES).group_by("store_id", maintain_order=True):
        for item in sampled(items["item_id"].to_list()):
            values = made.filter((pl.col("store_id") == store) & (pl.col("item_id") == item))
            checked[f"{store}/{item}"] = {name: values[name].cast(pl.Float64).to_numpy() for name in ALL}
    report(out, took, checked, columns=len(ALL))


if __name__ == "__main__":
    main()
