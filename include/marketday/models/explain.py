"""Why a mean is what it is: by what each group of features multiplied it, for every row, cheaply.

A tree's value is the end of a path. Every split on it moves the expected value from that of its node to that of the
child taken, and the step is credited to the feature that was split on (Saabas, "Interpreting random forests", 2014).
The value of a node is the mean of its leaves over the training rows. So the steps of all trees add up to the raw
score exactly, and in training each group's add up to nothing. A path is known by its leaf: what each leaf owes to each
group is a table, made once per booster, and a row's contributions are a sum of its rows. TreeSHAP, which averages over
every order of the features, would take longer than the forecast itself.

The model's mean is the average of two boosters, M = (e^a + e^b) / 2. The logarithm of M over the average of their bases
is shared among the groups by logarithmic means (:func:`joined`), exactly and without regard to any order:

    mean = base x factor of recent demand x factor of weekday x …

Further ahead the recursive booster's recent demand holds its own means of the days before, so what moved those shows
as recent demand.
"""

import datetime as dt
from dataclasses import dataclass, replace

import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse, special

from marketday.features.kernels import Array
from marketday.models import Model
from marketday.models.gbm import OWN, Gbm, Trees
from marketday.models.rows import arrange
from marketday.models.seasonal import Seasonal, weekday_means
from marketday.tables import EFFECTS

Real = NDArray[np.float64]

GROUPS = tuple(EFFECTS)
_GROUP_OF = {
    **dict.fromkeys((*OWN, "base"), "recent_demand"),
    # What it sold on this weekday says more of the weekday than of the level, which the base already holds.
    **{name: "weekday" for name in OWN if name.startswith("weekday")},
    "weekday": "weekday",
    **dict.fromkeys(("day_of_month", "week", "month", "event", "event_tomorrow", "payday"), "season"),
    **dict.fromkeys(("price", "price_relative", "price_change"), "price"),
    **dict.fromkeys(("promotion", "promotion_change"), "promotion"),
    **dict.fromkeys(("temperature", "precipitation"), "weather"),
    **dict.fromkeys(("category", "department", "region", "unit", "location", "product"), "place_product"),
}
_ROWS_AT_ONCE = 8192
"""Rows whose leaves are looked up together: 8,192 x 250 trees are 25 MB."""


def group_of(column: str) -> str:
    """Return the group of a column of the model's matrix; what has none of its own is "other"."""
    return _GROUP_OF.get(column, "other")


def predict(model: Model, features: pl.DataFrame, data_until: dt.date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the model's prediction and the rows of the table `explanations`, both in the rows' order.

    ``features`` and ``data_until`` are those of :meth:`marketday.models.Model.predict`. The baseline is its mean over
    the weekdays x the weekday. A kind of model that is not known here is all base.
    """
    if isinstance(model, Gbm):
        near, far = _Watched(model.recursive), _Watched(model.direct)
        predicted = replace(model, recursive=near, direct=far).predict(features, data_until)
        base, factors = joined(*(np.stack(both) for both in zip(near.seen(), far.seen(), strict=True)))
        # The model asks for the means of one target day after the other, in the order of the series.
        asked = features.with_row_index("at").sort("day", "location_id", "product_id")["at"].to_numpy()
        given = np.argsort(asked)
        return predicted, _table(predicted, base[given], factors[given])
    predicted = model.predict(features, data_until)
    base, factors = predicted["mean"].to_numpy(), np.ones((predicted.height, len(GROUPS)))
    if isinstance(model, Seasonal):
        rows = arrange(features, data_until)
        base = rows.in_given_order(weekday_means(rows).mean(axis=1)[rows.series])
        mean = predicted["mean"].to_numpy()
        factors[:, GROUPS.index("weekday")] = np.divide(mean, base, out=np.ones_like(base), where=base > 0.0)
    return predicted, _table(predicted, base, factors)


def joined(log_bases: Real, contributions: Real) -> tuple[Real, Real]:
    """Return base (rows) and factors (rows x groups) of the average of several models' means.

    ``log_bases``: models x rows; ``contributions``: models x rows x groups, on the log scale. base x product of the
    factors is the average of exp(log_base + sum of contributions). It is the multiplicative logarithmic mean Divisia
    index I (Ang and Liu, "A new energy decomposition method: perfect in decomposition and consistent in aggregation",
    Energy 26, 2001): factor = exp(sum over models of w x contribution), w = L(mean, base of the model) / L(total mean,
    total base), with L the logarithmic mean.
    """
    log_means = log_bases + contributions.sum(axis=2)
    bases, means = np.exp(log_bases), np.exp(log_means)
    share = logarithmic_mean(means, bases) / logarithmic_mean(means.sum(axis=0), bases.sum(axis=0))
    return bases.mean(axis=0), np.exp((share[:, :, None] * contributions).sum(axis=0))


def logarithmic_mean(left: Real, right: Real) -> Real:
    """Return (left - right) / ln(left / right), which is left where both are the same; both above 0."""
    # exprel(x) is (e^x - 1) / x, and exact around 0.
    mean: Real = right * special.exprel(np.log(left) - np.log(right))
    return mean


@dataclass(frozen=True)
class Forest:
    """What each leaf of a booster owes to each group."""

    booster: lightgbm.Booster
    base: float
    """Mean raw score of the training rows."""
    owed: Real
    """Leaves of all trees x (GROUPS, and at last the leaf's value)."""
    first: NDArray[np.int32]
    """Row of each tree's first leaf in ``owed``."""

    @classmethod
    def of(cls, booster: lightgbm.Booster) -> "Forest":
        """Read a booster of one output per row, whose columns are grouped by their names."""
        groups = np.array([GROUPS.index(group_of(name)) for name in booster.feature_name()], dtype=np.intp)
        trees = [_read(part) for part in booster.model_to_string().split("\nTree=")[1:]]
        sizes = np.array([len(tree["leaf_value"]) for tree in trees])
        # All trees' nodes in one array: of each tree the inner ones, from the root, then the leaves.
        starts = np.concatenate([[0], np.cumsum(2 * sizes - 1)])
        value, rows = np.zeros(starts[-1]), np.ones(starts[-1])
        below, group = np.full((starts[-1], 2), -1, dtype=np.intp), np.full(starts[-1], -1, dtype=np.intp)
        leaves = np.concatenate([np.arange(s + n - 1, s + 2 * n - 1) for s, n in zip(starts, sizes, strict=False)])
        for tree, start, size in zip(trees, starts, sizes, strict=False):
            inner, outer = slice(start, start + size - 1), slice(start + size - 1, start + 2 * size - 1)
            value[outer] = tree["leaf_value"]
            if size > 1:
                rows[outer] = tree["leaf_count"]
                children = np.stack([tree["left_child"], tree["right_child"]], axis=1).astype(np.intp)
                # A negative child is the leaf of number ~child.
                below[inner] = start + np.where(children >= 0, children, size - 1 + ~children)
                group[inner] = groups[tree["split_feature"].astype(np.intp)]
        levels, level = [], starts[:-1]
        while len(level := level[below[level, 0] >= 0]):
            levels.append(level)
            level = below[level].ravel()
        for level in reversed(levels):
            children = below[level]
            rows[level] = rows[children].sum(axis=1)
            value[level] = (rows[children] * value[children]).sum(axis=1) / rows[level]
        owed = np.zeros((starts[-1], len(GROUPS) + 1))
        for level in levels:
            for child in below[level].T:
                owed[child] = owed[level]
                owed[child, group[level]] += value[child] - value[level]
        owed[:, -1] = value
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
        return cls(booster, float(value[starts[:-1]].sum()), owed[leaves], first)

    def contributions(self, matrix: Array, threads: int = 1) -> tuple[Real, Real]:
        """Return the raw score (rows) and what the groups add to the base (rows x GROUPS).

        The raw score is, to the last bit, that of the booster: leaf values are added in the order of the trees.
        """
        total = np.empty((len(matrix), self.owed.shape[1]))
        for at in range(0, len(matrix), _ROWS_AT_ONCE):
            here = slice(at, at + _ROWS_AT_ONCE)
            leaves = self.booster.predict(matrix[here], pred_leaf=True, num_threads=threads).astype(np.int32)
            leaves += self.first
            ends = np.arange(0, leaves.size + 1, leaves.shape[1], dtype=np.int32)
            chosen = sparse.csr_array((np.ones(leaves.size), leaves.ravel(), ends), shape=(len(leaves), len(self.owed)))
            total[here] = chosen @ self.owed
        return total[:, -1], total[:, :-1]


class _Recorder:
    """Stands in for a booster, predicts the same, and keeps the contributions."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        self.forest = Forest.of(booster)
        self.parts: list[Real] = []

    def predict(self, matrix: Array, *, raw_score: bool, num_threads: int) -> Real:
        """Return the raw scores."""
        assert raw_score  # noqa: S101  a transformed score has no contributions that add up
        raw, parts = self.forest.contributions(matrix, num_threads)
        self.parts.append(parts)
        return raw


class _Watched(Trees):
    """Trees that remember how each mean came about, in the order in which they were asked for."""

    def __init__(self, trees: Trees) -> None:
        self._recorder = _Recorder(trees.booster)
        self._log_means: list[Real] = []
        super().__init__(self._recorder, trees.base)

    def mean(self, matrix: Array) -> Real:
        """Return the same means as the trees that are watched."""
        mean = super().mean(matrix)
        self._log_means.append(np.log(mean))
        return mean

    def seen(self) -> tuple[Real, Real]:
        """Return the log of the base (rows) and the contributions (rows x GROUPS) of all means asked for.

        What is no step of a path is base: the offset where the trees start, and their mean.
        """
        parts = np.concatenate([np.empty((0, len(GROUPS))), *self._recorder.parts])
        return np.concatenate([np.empty(0), *self._log_means]) - parts.sum(axis=1), parts


def _read(part: str) -> dict[str, Real]:
    """Read the arrays of one tree of LightGBM's text."""
    wanted = ("split_feature", "left_child", "right_child", "leaf_value", "leaf_count")
    lines = (line.partition("=") for line in part.split("\n\n", 1)[0].splitlines())
    return {name: np.array(text.split(), dtype=float) for name, _, text in lines if name in wanted}


def _table(predicted: pl.DataFrame, base: Real, factors: Real) -> pl.DataFrame:
    effects = [pl.Series(name, values, dtype=pl.Float32) for name, values in zip(GROUPS, factors.T, strict=True)]
    return predicted.select("location_id", "product_id", "day", "horizon").with_columns(
        pl.Series("base", base, dtype=pl.Float32), *effects
    )
