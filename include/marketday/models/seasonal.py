"""The baseline: each series' own recent demand by weekday. Needs no training, and stands in when a model fails."""

import datetime as dt
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from marketday.features.matrix import TrainingMatrices
from marketday.models.contract import model
from marketday.models.dispersion import Dispersion
from marketday.models.rows import Rows, arrange, prediction
from marketday.models.text import Text
from marketday.retailers import Training
from marketday.tables import RECENT_DAYS

DECAY = 0.9
"""Weight of a week against the one after it; a half-life of six to seven weeks."""
_WEEKS = RECENT_DAYS // 7
_NOTHING = Text("{}", "")

Real = NDArray[np.float64]


@model
@dataclass(frozen=True)
class Seasonal:
    """Weighted mean of the recent demand of the same weekday, with wider means where that is unknown."""

    kind: ClassVar[str] = "seasonal"
    features: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def fit(cls, data: TrainingMatrices, training: Training) -> "Seasonal":  # noqa: ARG003  all models are fitted alike
        """Return the baseline, which learns nothing."""
        return cls()

    def predict(self, features: pl.DataFrame, data_until: dt.date) -> pl.DataFrame:
        """Return mean and distribution of each row of the table `features`."""
        rows = arrange(features, data_until)
        mean = weekday_means(rows)[rows.series, (rows.ahead - 1) % 7]
        return prediction(rows, mean, Dispersion({}, {}, {}).predict(rows, mean))

    def to_text(self) -> Text:
        """Return nothing: there is nothing to keep."""
        return _NOTHING

    @classmethod
    def from_text(cls, text: Text) -> "Seasonal":
        """Return the baseline."""
        if text != _NOTHING:
            raise ValueError("the baseline keeps nothing, and here is something")
        return cls()


def weekday_means(rows: Rows) -> Real:
    """Return means per series and weekday, beginning with the first day after the data: series x 7.

    A weekday without known demand has the mean of the series; a series without any has the mean of the series of the
    same location and department, else of the department, else of all, else 0.
    """
    weeks = rows.recent.reshape(-1, _WEEKS, 7).astype(float)
    weight = np.where(np.isfinite(weeks), DECAY ** np.arange(_WEEKS - 1, -1, -1)[:, None], 0.0)
    units = np.nansum(weeks * weight, axis=1)
    known = weight.sum(axis=1)
    by_weekday = _ratio(units, known)
    of_series = _ratio(units.sum(axis=1), known.sum(axis=1))
    first = (
        rows.first_rows().select("location_id", "department").with_columns(mean=pl.Series(of_series, nan_to_null=True))
    )
    mean = pl.col("mean")
    like = first.select(
        pl.coalesce(
            mean,
            mean.mean().over("location_id", "department"),
            mean.mean().over("department"),
            mean.mean(),
            pl.lit(0.0),
        )
    )
    return np.where(np.isfinite(by_weekday), by_weekday, like.to_numpy())


def _ratio(top: Real, bottom: Real) -> Real:
    mean = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=mean, where=bottom > 0.0)
    return mean
