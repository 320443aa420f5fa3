"""What the calendar says of a day: weekday, week, month, the main event of each location, paydays."""

import datetime as dt
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

PAYDAY = "payday"
KIND_ORDER = ("closed", "national", "religious", "local", "cultural", "sporting")
"""If a day has several events, the main one is the first by this order (how much it tends to move demand); within a
kind a location's own goes before one for all, then the first by name."""


class Events(NamedTuple):
    """Events on an axis of days: code of the main event per location x day (-1: none), their names, paydays."""

    main: NDArray[np.int32]
    names: list[str]
    payday: NDArray[np.float32]


def day_columns(days: list[dt.date]) -> pl.DataFrame:
    """Return weekday (ISO, 1 is Monday), day_of_month, week (ISO), month and year: one row per day."""
    day = pl.col("day")
    return pl.DataFrame({"day": pl.Series(days, dtype=pl.Date)}).select(
        day,
        weekday=day.dt.weekday().cast(pl.Int32),
        day_of_month=day.dt.day().cast(pl.Int32),
        week=day.dt.week().cast(pl.Int32),
        month=day.dt.month().cast(pl.Int32),
        year=day.dt.year(),
    )


def locate_events(events: pl.DataFrame, location_ids: list[str], first: dt.date, days: int) -> Events:
    """Place events (location_id or `*`, day, name, kind) on locations x days, beginning with ``first``."""
    places = pl.DataFrame({"location_id": location_ids, "location": np.arange(len(location_ids))})
    own = events.join(places, on="location_id").with_columns(general=False)
    general = (
        events.filter(pl.col("location_id") == "*")
        .join(places.select("location"), how="cross")
        .with_columns(general=True)
    )
    placed = (
        pl.concat([own, general], how="diagonal")
        .with_columns(offset=(pl.col("day") - first).dt.total_days())
        .filter(pl.col("offset").is_between(0, days - 1))
    )
    payday = np.zeros((len(location_ids), days), dtype=np.float32)
    paid = placed.filter(pl.col("kind") == PAYDAY)
    payday[paid["location"].to_numpy(), paid["offset"].to_numpy()] = 1.0

    ranked = placed.filter(pl.col("kind") != PAYDAY).with_columns(
        rank=pl.col("kind").replace_strict(KIND_ORDER, range(len(KIND_ORDER)), default=len(KIND_ORDER))
    )
    chosen = ranked.sort("rank", "general", "name").unique(["location", "offset"], keep="first", maintain_order=True)
    names = chosen["name"].unique().sort().to_list()
    main = np.full((len(location_ids), days), -1, dtype=np.int32)
    codes = chosen["name"].replace_strict(names, range(len(names)), return_dtype=pl.Int32) if names else chosen["rank"]
    main[chosen["location"].to_numpy(), chosen["offset"].to_numpy()] = codes.to_numpy()
    return Events(main, names, payday)
