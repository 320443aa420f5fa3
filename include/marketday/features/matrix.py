"""The compact form of rows to learn from or to predict: one float32 matrix per block."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from marketday.features.declare import Feature, Per
from marketday.features.evaluate import Inputs, Rows, picked
from marketday.features.inputs import Vocabulary
from marketday.features.kernels import Array
from marketday.features.panel import Panel
from marketday.retailers import Training
from marketday.tables import RECENT_DAYS


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Rows of one block, by series and day.

    ``lightgbm.Dataset([m.values for m in matrices])`` takes the blocks as they are, without a copy.
    """

    names: tuple[str, ...]
    """Features, one per column."""
    values: Array
    """Rows x columns, each column contiguous; NaN where unknown. Codes of names count from 0 (see ``Vocabulary``)."""
    demand: Array
    """Demand of each row's day; NaN where unknown."""
    exposure: Array
    """Share of that day on which there was stock; NaN where demand is unknown."""
    series: NDArray[np.int32]
    """Row of each row's series in ``pairs``."""
    day: NDArray[np.int32]
    """Each row's day, in days since 1970-01-01."""
    ahead: NDArray[np.int16]
    """Days from the origin to the row's day."""
    pairs: pl.DataFrame
    """The block's series: location_id, product_id, region, category, department, unit."""
    recent: Array
    """Demand of each series' RECENT_DAYS last known days, oldest first: series x RECENT_DAYS."""

    def __len__(self) -> int:
        return len(self.demand)

    def column(self, name: str) -> Array:
        """Return one feature."""
        found: Array = self.values[:, self.names.index(name)]
        return found

    def dates(self) -> pl.Series:
        """Return each row's day as a date."""
        return pl.Series("day", self.day).cast(pl.Date)

    def where(self, rows: NDArray[np.bool_]) -> "Matrix":
        """Return some of the rows."""
        return Matrix(
            names=self.names,
            values=np.stack([column[rows] for column in self.values.T]).T,
            demand=self.demand[rows],
            exposure=self.exposure[rows],
            series=self.series[rows],
            day=self.day[rows],
            ahead=self.ahead[rows],
            pairs=self.pairs,
            recent=self.recent,
        )


class TrainingMatrices(NamedTuple):
    """Rows to learn from, one matrix per block, and the last horizon to be judged by.

    The latter have no demand and no weather after their origin in their features; prices, promotions and events are as
    known now. Nothing of the last horizon is learnt from.
    """

    near: list[Matrix]
    """Rows one day ahead of their origin."""
    far: list[Matrix]
    """The same rows 1 … H days ahead."""
    held_out: pl.DataFrame
    """In the form of the table `features`."""
    truth: pl.DataFrame
    """location_id, product_id, day, demand of the held-out rows on whose day stock lasted."""
    held_out_origin: dt.date
    names: Vocabulary
    """What the codes in the matrices stand for."""


def training_rows(
    panel: Panel, inputs: Inputs, features: Sequence[Feature], training: Training, horizon: int, *, most: int
) -> tuple[Matrix, Matrix]:
    """Return the rows of the known days that are learnt from: one day ahead of their origin, and 1 … H days.

    Days whose demand is unknown are left out, and the day of the first sale too: that it sold is why the row would be
    there. Of the rest, ``most`` rows at most are drawn, the same ones on every call. Both matrices have the same rows;
    in the second, horizons alternate, and no origin lies before the first sale.
    """
    stop = panel.span.at(panel.span.data_until) + 1
    day = np.arange(panel.span.days)
    usable = np.isfinite(panel.demand) & panel.on_sale & (day > panel.first_sale[:, None])
    usable[:, : max(stop - training.history_days, 0)] = False
    cells = np.flatnonzero(usable)
    if len(cells) > most:
        cells = np.sort(np.random.default_rng(1).choice(cells, most, replace=False))
    series, target = np.divmod(cells, panel.span.days)
    since_first = (target - panel.first_sale[series]).astype(np.intp)
    ahead = np.minimum(1 + (series + target) % horizon, since_first)
    near, far = (Rows(series, target, distance) for distance in (np.ones_like(target), ahead))
    return _matrix(panel, inputs, features, near, horizon), _matrix(panel, inputs, features, far, horizon)


def future_rows(panel: Panel, inputs: Inputs, features: Sequence[Feature], horizon: int) -> Matrix:
    """Return the rows of the days after the data on which a series is on sale; the origin is the last day of data."""
    start = panel.span.at(panel.span.data_until) + 1
    series, days = np.nonzero(panel.on_sale[:, start:])
    return _matrix(panel, inputs, features, Rows(series, days + start, days + 1), horizon)


def frame(matrix: Matrix, features: Sequence[Feature], names: Vocabulary) -> pl.DataFrame:
    """Return rows with location_id, product_id, day and the features, codes as names."""
    columns = {feature.name: _named(feature, matrix, names) for feature in features}
    keys = matrix.pairs.select("location_id", "product_id")[matrix.series]
    return keys.with_columns(matrix.dates(), **columns)


def history_days(features: Collection[Feature], ahead: int, groups_ahead: int) -> int:
    """Return the days before a target that its features rest on, ``ahead`` days (at most) from its origin."""
    return max((_furthest(f, ahead if f.per == "series" else groups_ahead) for f in features), default=0)


def groups(features: Collection[Feature]) -> set[Per]:
    """Return what the features' rows are."""
    return {feature.per for feature in features}


def _matrix(panel: Panel, inputs: Inputs, features: Sequence[Feature], rows: Rows, horizon: int) -> Matrix:
    stop = panel.span.at(panel.span.data_until) + 1
    epoch = pl.Series([panel.span.first]).to_physical().item()
    return Matrix(
        names=tuple(feature.name for feature in features),
        values=picked(inputs, features, rows, horizon),
        demand=panel.demand[rows.series, rows.target],
        exposure=panel.exposure[rows.series, rows.target],
        series=rows.series.astype(np.int32),
        day=(rows.target + epoch).astype(np.int32),
        ahead=rows.ahead.astype(np.int16),
        pairs=panel.series,
        recent=panel.demand[:, stop - RECENT_DAYS : stop].copy(),
    )


def _furthest(feature: Feature, ahead: int) -> int:
    # The days back do not grow evenly with the horizon where weekdays are kept.
    return max(int(feature.behind(days)) for days in range(1, ahead + 1)) + feature.lookback


def _named(feature: Feature, matrix: Matrix, names: Vocabulary) -> pl.Series:
    values = matrix.column(feature.name)
    if feature.vocabulary:
        known = pl.Series(names[feature.vocabulary], dtype=pl.String)
        return known.gather(pl.Series(values, nan_to_null=True).cast(pl.UInt32))
    series = pl.Series(values, nan_to_null=True)
    return series.cast(pl.Int32) if np.issubdtype(feature.dtype, np.integer) else series
