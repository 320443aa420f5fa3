"""Gradient-boosted trees over all series: LightGBM with a Tweedie objective, the mean of two ways to look ahead.

"recursive" learns one day ahead and feeds its own means back as demand; "direct" learns every horizon at once from what
is known at the origin. They err differently, and their mean errs less than either (docs/decisions/0003). Both start
from a base, which is a fitted combination of the series' own recent means, and learn by what to multiply it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray

from marketday.errors import StepError
from marketday.features.declare import get
from marketday.features.evaluate import latest
from marketday.features.kernels import Array
from marketday.features.matrix import Matrix, TrainingMatrices
from marketday.models.base import FAR, NEAR, Base
from marketday.models.contract import model
from marketday.models.dispersion import Dispersion
from marketday.models.mean import MeanModel
from marketday.models.rows import Rows, with_history
from marketday.models.text import Text
from marketday.retailers import Training
from marketday.tables import RECENT_DAYS

CATEGORICAL = {
    "category": "category",
    "department": "department",
    "region": "region",
    "unit": "unit",
    "event": "event",
    "event_tomorrow": "event",
    "location": "location",
    "product": "product",
}
"""Features that are codes of names, and the vocabulary of each."""
KNOWN = (
    *("weekday", "day_of_month", "price", "price_relative", "price_change", "promotion", "promotion_change"),
    *("temperature", "precipitation", "payday"),
)
"""What is known of the target. Not among them: week, month, age and levels across series, which made the backtest
worse (docs/decisions/0001)."""
RELATIVE = (
    *("weekday_1", "weekday_2", "weekday_3", "weekday_4", "weekday_mean"),
    *("mean_7_back_0", "mean_28_back_0", "mean_91_back_0", "mean_182_back_0", "mean_364_back_0"),
    *("mean_7_back_7", "mean_28_back_7", "mean_7_back_28", "mean_28_back_28", "mean_28_back_350"),
    *("ewm_3", "ewm_7", "ewm_28"),
)
"""The series' own demand as of the origin; the trees see it over the base."""
OWN = (*RELATIVE, "selling_7", "selling_14", "selling_28", "selling_91")
FEATURES = (*CATEGORICAL, *KNOWN, *OWN)
_EXTRA = ("ahead", "in_stock", "base")
COLUMNS = (*FEATURES, *_EXTRA)
"""`ahead`: days from origin to target. `in_stock`: 0 where stock ran out on the target, so that what sold says less and
the day was a busy one; 1 in a forecast. `base`: where the trees start, in units."""
LEAST_WEIGHT = 0.01
"""Weight of a day without any stock, whose recovered demand is a guess; a day with stock throughout has 1."""

_FIXED: dict[str, Any] = {
    "objective": "tweedie",
    # Between Poisson (1) and gamma (2); 1.1 was the choice of the leading M5 entries for sparse daily sales.
    "tweedie_variance_power": 1.1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 2,
    "seed": 1,
    "verbosity": -1,
    # Twice as fast as 255, and no worse on the earlier M5 origins.
    "max_bin": 127,
    "feature_fraction": 0.4,
}
MOST_RELATIVE = 20.0
"""Most that a RELATIVE column may be: beyond, it says that the base is next to nothing."""
_ROWS_PER_LEAF = (20, 200, 5000)
"""Least rows in a leaf: one in 5,000 of all rows, but 20 to 200."""


class Trees:
    """One booster with its base."""

    def __init__(self, booster: lightgbm.Booster, base: Base) -> None:
        self.booster, self.base = booster, base

    def mean(self, matrix: Array) -> NDArray[np.float64]:
        """Return the mean of each row of ``matrix``, rows x COLUMNS."""
        log = self.base.log(matrix, COLUMNS)
        raw = self.booster.predict(_over_base(matrix.copy(), log), raw_score=True, num_threads=_FIXED["num_threads"])
        return np.asarray(np.exp(raw + log), dtype=float)


@model
@dataclass(frozen=True, kw_only=True)
class Gbm(MeanModel):
    """A fitted model; see the module."""

    kind: ClassVar[str] = "gbm"
    features: ClassVar[tuple[str, ...]] = FEATURES

    encodings: dict[str, list[str]]
    """Names by vocabulary; a name's position is its code."""
    typical: dict[str, float]
    """Mean of every number that was never missing in training. It stands in where the number is missing later, as
    without a forecast of the weather: LightGBM, which has learnt no branch for it, would take it for 0."""
    recursive: Trees
    direct: Trees

    @classmethod
    def learn(cls, data: TrainingMatrices, training: Training) -> "Gbm":
        """Fit the trees on the rows to learn from.

        Raises:
            StepError: there are no rows.

        """
        if not sum(len(rows) for rows in data.near):
            raise StepError(
                "There is nothing to train on: no row of the training days has known demand",
                hint="Deliver more history.",
            )
        typical = {}
        for name in KNOWN:
            column = np.concatenate([rows.column(name) for rows in data.near])
            if np.isfinite(column).all():
                typical[name] = round(float(column.mean(dtype=float)), 6)
        options = {"num_leaves": training.leaves, "learning_rate": training.learning_rate}
        # Further ahead there is less to learn: fewer and smaller trees score better (docs/decisions/0003).
        further = options | {"num_leaves": max(training.leaves // 2, 2)}
        return cls(
            encodings={name: list(data.names[name]) for name in sorted(set(CATEGORICAL.values()))},
            typical=typical,
            recursive=_boost(data.near, NEAR, training.rounds, options),
            direct=_boost(data.far, FAR, max(training.rounds * 2 // 5, 1), further),
        )

    def mean(self, rows: Rows) -> NDArray[np.float64]:
        """Return the mean of each sorted row."""
        recursive, direct = self.both(rows)
        return (recursive + direct) / 2.0

    def both(self, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean of each sorted row by the recursive and by the direct trees."""
        matrix = self.known(rows)
        own = [get(name) for name in OWN]
        columns = slice(COLUMNS.index(OWN[0]), COLUMNS.index(OWN[-1]) + 1)
        last, steps = RECENT_DAYS - 1, int(rows.ahead.max(initial=0))
        demand = np.pad(with_history(rows), ((0, 0), (0, steps)), constant_values=np.nan)
        near, far = np.zeros(len(rows.series)), np.zeros(len(rows.series))
        for step in range(1, steps + 1):
            now = np.flatnonzero(rows.ahead == step)
            if not len(now):
                continue
            series, at = rows.series[now], last + step
            matrix[now, columns] = latest(own, {"demand": demand[:, : last + 1]}, last, step)[series]
            matrix[now, COLUMNS.index("ahead")] = step
            far[now] = self.direct.mean(matrix[now])
            matrix[now, columns] = latest(own, {"demand": demand}, at - 1)[series]
            matrix[now, COLUMNS.index("ahead")] = 1
            near[now] = self.recursive.mean(matrix[now])
            demand[series, at] = near[now]
        return near, far

    def known(self, rows: Rows) -> Array:
        """Return the matrix of the rows, rows x COLUMNS, without the columns of a series' own demand."""
        told = rows.frame.with_columns(pl.col(name).fill_null(value) for name, value in self.typical.items())
        told = told.with_columns(location="location_id", product="product_id")
        matrix = np.full((told.height, len(COLUMNS)), np.nan, dtype=np.float32)
        for name in (*CATEGORICAL, *KNOWN):
            values = told[name]
            if name in CATEGORICAL:
                known = pl.Enum(self.encodings[CATEGORICAL[name]])
                values = values.cast(known, strict=False).to_physical()
            matrix[:, COLUMNS.index(name)] = values.cast(pl.Float32).to_numpy()
        matrix[:, COLUMNS.index("in_stock")] = 1.0
        return matrix

    def to_text(self) -> Text:
        """Return the boosters as JSON of LightGBM texts and the rest as JSON."""
        kept = {
            "encodings": self.encodings,
            "typical": self.typical,
            "bases": {"recursive": asdict(self.recursive.base), "direct": asdict(self.direct.base)},
            "dispersion": self.dispersion.to_dict(),
        }
        boosters = {"recursive": self.recursive.booster, "direct": self.direct.booster}
        artefact = {name: booster.model_to_string() for name, booster in boosters.items()}
        return Text(json.dumps(kept, sort_keys=True), json.dumps(artefact))

    @classmethod
    def from_text(cls, text: Text) -> "Gbm":
        """Rebuild a model."""
        kept, artefact = json.loads(text.parameters), json.loads(text.artefact)
        trees = {
            name: Trees(lightgbm.Booster(model_str=artefact[name]), Base(**kept["bases"][name]))
            for name in ("recursive", "direct")
        }
        return cls(
            encodings=kept["encodings"],
            typical=kept["typical"],
            dispersion=Dispersion(**kept["dispersion"]),
            **trees,
        )


def _boost(blocks: Sequence[Matrix], means: Sequence[str], rounds: int, options: dict[str, Any]) -> Trees:
    """Fit one booster on all blocks' rows."""
    size = sum(len(rows) for rows in blocks)
    matrix = np.empty((len(COLUMNS), size), dtype=np.float32)
    at = 0
    for rows in blocks:
        here = slice(at, at + len(rows))
        for i, name in enumerate(FEATURES):
            matrix[i, here] = rows.column(name)
        matrix[COLUMNS.index("ahead"), here] = rows.ahead
        matrix[COLUMNS.index("in_stock"), here] = rows.exposure >= 1.0
        at += len(rows)
    demand = np.concatenate([rows.demand for rows in blocks])
    weight = np.maximum(np.concatenate([rows.exposure for rows in blocks]), LEAST_WEIGHT)
    base = Base.fit(means, matrix.T, COLUMNS, demand, weight)
    log = base.log(matrix.T, COLUMNS)
    _over_base(matrix.T, log)
    low, high, share = _ROWS_PER_LEAF
    params = _FIXED | options | {"min_data_in_leaf": int(np.clip(size // share, low, high))}
    data = lightgbm.Dataset(
        matrix.T,
        label=demand,
        weight=None if (weight == 1.0).all() else weight,
        init_score=log,
        feature_name=list(COLUMNS),
        categorical_feature=list(CATEGORICAL),
        params=params,
    )
    return Trees(lightgbm.train(params, data, num_boost_round=rounds), base)


def _over_base(matrix: Array, log: NDArray[np.float64]) -> Array:
    """Divide the RELATIVE columns by the base and write that into its own column, in place."""
    base = np.exp(log).astype(np.float32)
    for name in RELATIVE:
        column = matrix[:, COLUMNS.index(name)]
        np.minimum(column / base, MOST_RELATIVE, out=column)
    matrix[:, COLUMNS.index("base")] = base
    return matrix
