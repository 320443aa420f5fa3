"""One gradient-boosted model for all series: LightGBM with a Tweedie objective on the features of the target day.

Two schemes reach beyond one day. "recursive" learns one day ahead and feeds its own means back as demand; "direct"
learns all horizons at once, with the series' own history as of the origin and the horizon as a column.
"""

import datetime as dt
import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray

from marketday.errors import StepError
from marketday.features.history import HISTORY_COLUMNS, own_history
from marketday.features.kernels import Array
from marketday.models.dispersion import Dispersion
from marketday.models.rows import Rows, arrange, prediction
from marketday.models.text import Text
from marketday.retailers import Training
from marketday.tables import RECENT_DAYS

CATEGORICAL = ("category", "department", "region", "unit", "event", "event_tomorrow")
KNOWN = (
    "weekday",
    "day_of_month",
    "price",
    "price_relative",
    "promotion",
    "temperature",
    "precipitation",
    "payday",
)
"""Not among them: week, month, age and the levels, which made the backtest worse (docs/decisions/0001)."""
_FIXED: dict[str, Any] = {
    "objective": "tweedie",
    # Between Poisson (1) and gamma (2); 1.1 was the choice of the leading M5 entries for sparse daily sales.
    "tweedie_variance_power": 1.1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 2,
    "seed": 1,
    "verbosity": -1,
}

Encodings = dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Gbm:
    """A fitted model; see the module."""

    kind: ClassVar[str] = "gbm"

    scheme: str
    columns: list[str]
    encodings: Encodings
    typical: dict[str, float]
    """Mean of every number that was never missing in training. It stands in where the number is missing later, as
    without a forecast of the weather: LightGBM, which has learnt no branch for it, would take it for 0."""
    booster: lightgbm.Booster
    dispersion: Dispersion

    @classmethod
    def fit(cls, rows: pl.DataFrame, training: Training) -> "Gbm":
        """Fit on rows of :func:`marketday.features.build.training_rows`; the dispersion is not known yet.

        Raises:
            StepError: there are no rows.

        """
        if rows.is_empty():
            raise StepError(
                "There is nothing to train on: no row has known, uncensored demand", hint="Deliver more history."
            )
        own = [name for name in rows.columns if name in HISTORY_COLUMNS]
        columns = [*CATEGORICAL, *KNOWN, *own, *(["horizon"] if training.scheme == "direct" else [])]
        encodings = {name: rows[name].drop_nulls().unique().sort().to_list() for name in CATEGORICAL}
        typical = {name: round(float(rows[name].to_numpy().mean()), 6) for name in KNOWN if not rows[name].null_count()}
        data = lightgbm.Dataset(
            _encode(rows, columns, encodings),
            label=rows["demand"].to_numpy(),
            feature_name=columns,
            categorical_feature=list(CATEGORICAL),
            params=_FIXED,
        )
        options = {"num_leaves": training.leaves, "learning_rate": training.learning_rate}
        booster = lightgbm.train(_FIXED | options, data, num_boost_round=training.rounds)
        return cls(
            scheme=training.scheme,
            columns=columns,
            encodings=encodings,
            typical=typical,
            booster=booster,
            dispersion=Dispersion({}, {}, {}),
        )

    def predict(self, features: pl.DataFrame, data_until: dt.date) -> pl.DataFrame:
        """Return mean and distribution of each row of the table `features`."""
        rows = arrange(features, data_until)
        mean = self.mean(rows)
        return prediction(rows, mean, self.dispersion.predict(rows, mean))

    def mean(self, rows: Rows) -> NDArray[np.float64]:
        """Return the mean of each sorted row."""
        known = [name for name in self.columns if name in (*CATEGORICAL, *KNOWN)]
        told = rows.frame.with_columns(pl.col(name).fill_null(value) for name, value in self.typical.items())
        matrix = np.full((len(rows.series), len(self.columns)), np.nan, dtype=np.float32)
        matrix[:, [self.columns.index(name) for name in known]] = _encode(told, known, self.encodings)
        if self.scheme == "direct":
            matrix[:, self.columns.index("horizon")] = rows.ahead
        last = RECENT_DAYS - 1
        steps = int(rows.ahead.max(initial=0))
        demand = np.pad(rows.recent, ((0, 0), (0, steps)), constant_values=np.nan)
        mean = np.zeros(len(rows.series))
        for step in range(1, steps + 1) if self.scheme == "recursive" else [0]:
            now = np.flatnonzero(rows.ahead == step) if step else np.arange(len(mean))
            if not len(now):
                continue
            series, target = rows.series[now], last + rows.ahead[now]
            origin = np.full_like(target, last) if self.scheme == "direct" else target - 1
            for name, values in own_history(demand, series, origin, target).items():
                matrix[now, self.columns.index(name)] = values
            mean[now] = self.booster.predict(matrix[now], num_threads=_FIXED["num_threads"])
            demand[series, target] = mean[now]
        return mean

    def with_dispersion(self, rows: Rows, actual: NDArray[np.float64]) -> "Gbm":
        """Return the model with its dispersion fitted on held-out rows; one actual per sorted row, NaN if unknown."""
        return replace(self, dispersion=Dispersion.fit(rows, self.mean(rows), actual))

    def to_text(self) -> Text:
        """Return the booster as LightGBM text and the rest as JSON."""
        kept = {
            "scheme": self.scheme,
            "columns": self.columns,
            "encodings": self.encodings,
            "typical": self.typical,
            "dispersion": self.dispersion.to_dict(),
        }
        return Text(json.dumps(kept, sort_keys=True), self.booster.model_to_string())

    @classmethod
    def from_text(cls, text: Text) -> "Gbm":
        """Rebuild a model.

        Raises:
            StepError: the text is not one.

        """
        try:
            kept = json.loads(text.parameters)
            kept["dispersion"] = Dispersion(**kept["dispersion"])
            return cls(**kept, booster=lightgbm.Booster(model_str=text.artefact))
        except (ValueError, KeyError, TypeError, lightgbm.basic.LightGBMError) as error:
            raise StepError(f"The model cannot be loaded: {error}", hint="Train again: the step `train`.") from error


def _encode(rows: pl.DataFrame, columns: list[str], encodings: Encodings) -> Array:
    """Return the columns as numbers; a category that was not seen in training is missing."""
    matrix = np.empty((rows.height, len(columns)), dtype=np.float32)
    for i, name in enumerate(columns):
        values = rows[name]
        if name in encodings:
            known = encodings[name]
            values = values.replace_strict(known, range(len(known)), default=None, return_dtype=pl.Float32)
        matrix[:, i] = values.cast(pl.Float32).to_numpy()
    return matrix
