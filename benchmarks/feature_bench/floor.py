"""The floor: read, then coreforecast (C++, two threads) on flat arrays, with no names, no blocks and no scheduler.

python floor.py DATA OUT.json
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl
from columns import (
    DATE_COLUMNS,
    DAYS,
    FIRST,
    LAG_COLUMNS,
    LAGS,
    PRICE_COLUMNS,
    SHIFTS,
    TOTAL_COLUMNS,
    WIDTHS,
    WINDOW_COLUMNS,
    Clock,
    report,
    sampled,
)
from coreforecast.grouped_array import GroupedArray
from coreforecast.lag_transforms import Lag, RollingMean, RollingStd


def padded(values: np.ndarray, days: int) -> np.ndarray:
    """Return series x DAYS from series x days: unknown after the data."""
    whole = np.full((len(values), DAYS), np.nan, dtype=np.float32)
    whole[:, :days] = values
    return whole


def calendar_columns(data: Path, stores: list[str], per_store: list[int]) -> dict[str, np.ndarray]:
    """Return the eight calendar columns, series x days."""
    calendar = pl.read_parquet(data / "calendar.parquet")
    day = pl.select(day=pl.date_range(FIRST, FIRST + pl.duration(days=DAYS - 1)))["day"]
    dates = (day.dt.weekday(), day.dt.day(), day.dt.week(), day.dt.month(), day.dt.year())
    series = sum(per_store)
    columns = {name: np.tile(values.to_numpy(), (series, 1)) for name, values in zip(DATE_COLUMNS, dates, strict=True)}
    names = calendar["event_name_1"].drop_nulls().unique().sort()
    code = calendar["event_name_1"].cast(pl.Enum(names)).to_physical().cast(pl.Int16).fill_null(-1).to_numpy()
    snap = [calendar[f"snap_{store[:2]}"].to_numpy()[:DAYS].astype(np.float32) for store in stores]
    columns["payday"] = np.repeat(np.stack(snap), per_store, axis=0)
    columns["event"] = np.tile(code[:DAYS], (series, 1))
    columns["event_tomorrow"] = np.tile(np.append(code[1:], -1)[:DAYS], (series, 1))
    return columns


def transformed(values: np.ndarray, transforms: list[object]) -> list[np.ndarray]:
    """Apply coreforecast's transforms to series x days."""
    grouped = GroupedArray(values.reshape(-1), np.arange(0, values.size + 1, values.shape[1]), num_threads=2)
    return [transform.transform(grouped).reshape(values.shape) for transform in transforms]


def main() -> None:
    """Time one run from the files to the matrix."""
    data, out = Path(sys.argv[1]) / "m5", Path(sys.argv[2])
    clock = Clock()
    files = sorted(data.glob("sales_*.parquet"))
    frames = [pl.read_parquet(file, columns=["item_id", "units", "sell_price"]) for file in files]
    runs = [frame["item_id"].rle().struct.unnest() for frame in frames]
    days = runs[0]["len"][0]
    demand = np.concatenate([frame["units"].to_numpy().reshape(-1, days) for frame in frames]).astype(np.float32)
    price = np.concatenate(
        [frame["sell_price"].fill_null(strategy="forward").to_numpy().reshape(-1, days) for frame in frames]
    )
    # Filled by series, not across them: what stands before a series' first price belongs to the one before.
    known = np.concatenate([frame["sell_price"].is_not_null().to_numpy().reshape(-1, days) for frame in frames])
    price[~np.logical_or.accumulate(known, axis=1)] = np.nan
    price = np.concatenate([price, np.repeat(price[:, -1:], DAYS - days, axis=1)], axis=1)
    demand = padded(demand, days)

    windows = [kind(shift, width, 1) for shift in SHIFTS for kind in (RollingMean, RollingStd) for width in WIDTHS]
    columns = dict(zip([*LAG_COLUMNS, *WINDOW_COLUMNS], transformed(demand, [*map(Lag, LAGS), *windows]), strict=True))
    mean, quarter = transformed(price, [RollingMean(0, 28, 1), RollingMean(1, 91, 1)])
    columns |= dict(zip(PRICE_COLUMNS, (mean, price / quarter), strict=True))
    per_store = [run.height for run in runs]
    store = np.repeat(np.arange(len(files)), per_store)
    item = np.unique(np.concatenate([run["value"].to_numpy() for run in runs]), return_inverse=True)[1]
    for i, group in enumerate((store, item)):
        total = np.zeros((group.max() + 1, DAYS), dtype=np.float32)
        np.add.at(total, group, demand)
        made = transformed(total, [Lag(1), Lag(28), RollingMean(1, 28, 1)])
        columns |= dict(zip(TOTAL_COLUMNS[3 * i : 3 * i + 3], (values[group] for values in made), strict=True))
    stores = [file.stem.removeprefix("sales_") for file in files]
    columns |= calendar_columns(data, stores, per_store)
    took = clock.stop()

    checked, start = {}, 0
    for name, run in zip(stores, runs, strict=True):
        items = run["value"].to_list()
        for one in sampled(items):
            row = start + items.index(one)
            checked[f"{name}/{one}"] = {column: values[row] for column, values in columns.items()}
        start += run.height
    report(out, took, checked, columns=len(columns))


if __name__ == "__main__":
    main()
