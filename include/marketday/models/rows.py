"""A view of the table `features` as models need it: rows in series order, and each series' recent demand."""

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from marketday.distributions import Family
from marketday.features.kernels import Array, Index
from marketday.tables import RECENT_DAYS

_KEY = ["location_id", "product_id"]
FAMILIES: dict[str, Family] = {"pieces": "negative_binomial", "weight": "gamma"}
"""Distribution by `products.unit`."""
LIKE_DAYS = 28
"""Days for which a new series is taken to have sold what its like did: as many as those levels are the mean of."""


class Spread(NamedTuple):
    """What the distribution of each sorted row is beside its mean."""

    dispersion: NDArray[np.float64]
    zero_share: NDArray[np.float64]
    common_dispersion: NDArray[np.float64]
    """Part of the overall dispersion that the days of a series share; see :mod:`marketday.sums`."""


@dataclass(frozen=True)
class Rows:
    """Rows sorted by series and day."""

    frame: pl.DataFrame
    """The features, with ``at``: the place in the given order."""
    series: Index
    """Number of each row's series, 0 … S - 1."""
    ahead: Index
    """Days from the last known day to each row's day, 1 or more."""
    recent: Array
    """Demand of the RECENT_DAYS last known days of each series, oldest first; NaN where unknown: S x RECENT_DAYS."""
    family: NDArray[np.str_]
    """Distribution of each series."""

    @property
    def recent_weekdays(self) -> Index:
        """Weekday of each day of ``recent``; 0 is Monday."""
        until: dt.date = self.frame["day"][0] - dt.timedelta(days=int(self.ahead[0]))
        return (until.weekday() - np.arange(self.recent.shape[1])[::-1]) % 7

    def first_rows(self) -> pl.DataFrame:
        """Return the first row of each series."""
        return self.frame[np.searchsorted(self.series, np.arange(len(self.recent)))]

    def told(self, truth: pl.DataFrame) -> NDArray[np.float64]:
        """Return each sorted row's demand by ``truth`` (location_id, product_id, day, demand), NaN if not there."""
        found = self.frame.join(truth, on=[*_KEY, "day"], how="left", maintain_order="left")["demand"]
        return found.to_numpy().astype(float)

    def in_given_order(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring one value per sorted row back into the order in which the features were given."""
        given = np.empty_like(values)
        given[self.frame["at"].to_numpy()] = values
        return given


def arrange(features: pl.DataFrame, data_until: dt.date) -> Rows:
    """Sort the rows of whole series; ``data_until`` is the last day on which `recent` may know demand."""
    frame = features.with_row_index("at").sort(*_KEY, "day")
    series = frame.select(pl.struct(_KEY).rle_id()).to_series().to_numpy().astype(np.intp)
    ahead = (frame["day"] - data_until).dt.total_days().to_numpy().astype(np.intp)
    size = int(series.max(initial=-1)) + 1
    recent = np.full((size, RECENT_DAYS), np.nan, dtype=np.float32)
    given = frame["recent"].is_not_null().to_numpy()
    recent[series[given]] = frame["recent"].drop_nulls().explode().to_numpy().reshape(-1, RECENT_DAYS)
    units = frame["unit"].to_numpy()[np.searchsorted(series, np.arange(size))]
    family = np.array([FAMILIES[unit] for unit in units], dtype=np.str_)
    return Rows(frame, series, ahead, recent, family)


def with_history(rows: Rows) -> Array:
    """Return the recent demand, in which a series without any has that of its like on every day of four weeks.

    Its like are the same product at the other locations or, of a product that is new everywhere, the mean product of
    the location; failing both it has sold nothing.
    """
    new = ~np.isfinite(rows.recent).any(axis=1)
    if not new.any():
        return rows.recent
    like = rows.first_rows().select(pl.coalesce("product_level", "location_level", pl.lit(0.0)).fill_nan(0.0))
    history = rows.recent.copy()
    history[new, -LIKE_DAYS:] = like.to_series().to_numpy()[new, None]
    return history


def prediction(rows: Rows, mean: NDArray[np.float64], spread: Spread) -> pl.DataFrame:
    """Return location_id, product_id, day, horizon, mean, the columns of ``spread`` and family in the given order."""
    return (
        rows.frame.select("at", *_KEY, "day", "horizon")
        .with_columns(
            pl.Series("mean", mean),
            *(pl.Series(name, values) for name, values in spread._asdict().items()),
            pl.Series("family", rows.family[rows.series]),
        )
        .sort("at")
        .drop("at")
    )
