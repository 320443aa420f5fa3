"""Where the trees start: a combination of a series' own recent means, fitted once for all series.

The trees then learn by what to multiply it, so that a fast and a slow mover with the same weekday, price and promotion
effects share them, and no leaf is spent on telling how much a series sells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from marketday.features.kernels import Array

NEAR = ("mean_28_back_0", "mean_91_back_0", "mean_364_back_0")
"""Slow means, for trees that feed their own means back: a base that follows them at once would run away."""
FAR = ("ewm_3", "mean_7_back_0", *NEAR)
"""From what has just happened to what always does, as of an origin that stays."""
FLOOR = 0.03
"""Least base, in units per day: one unit a month. A series that has not sold for a year may sell again."""
_LEAST_WEIGHT = 1e-9
"""Counts for nothing beside another weight, but lets a mean of weight 0 stand in where no other is known."""
_LEARNT_ROWS = 300_000
"""Most rows that five weights are fitted to."""


@dataclass(frozen=True)
class Base:
    """Weights of recent means, by name."""

    weights: dict[str, float]

    @classmethod
    def fit(cls, means: Sequence[str], matrix: Array, columns: Sequence[str], demand: Array, weight: Array) -> "Base":
        """Fit the weights of ``means`` by non-negative least squares.

        Each row is weighted by one over its level, as Poisson's variance grows.
        ``matrix`` is rows x ``columns``. Equal weights where no row has all of the means.
        """
        every = np.stack([matrix[:, columns.index(name)] for name in means], axis=1)
        known = np.flatnonzero(np.isfinite(every).all(axis=1))
        rows = known[:: max(len(known) // _LEARNT_ROWS, 1)]
        if len(rows) < len(means):
            return cls(dict.fromkeys(means, 1.0 / len(means)))
        given = every[rows].astype(float)
        root = np.sqrt(weight[rows] / (given.mean(axis=1) + FLOOR))[:, None]
        left, right = given * root, (demand[rows, None] * root)[:, 0]
        # The normal equations: einsum adds up in one order whatever the number of threads; a BLAS product may not.
        square = np.einsum("ij,ik->jk", left, left) + 1e-9 * np.eye(len(means))
        triangle = np.linalg.cholesky(square)
        found, _ = optimize.nnls(triangle.T, np.linalg.solve(triangle, np.einsum("ij,i->j", left, right)))
        return cls({name: round(float(value), 4) for name, value in zip(means, found, strict=True)})

    def log(self, matrix: Array, columns: Sequence[str]) -> NDArray[np.float64]:
        """Return the logarithm of each row's base; weights of what is unknown go to the rest."""
        total, known = np.zeros(len(matrix)), np.zeros(len(matrix))
        for name, value in self.weights.items():
            mean = matrix[:, columns.index(name)]
            there, share = np.isfinite(mean), max(value, _LEAST_WEIGHT)
            total += np.where(there, share * mean, 0.0)
            known += share * there
        whole = sum(self.weights.values())
        scaled = np.divide(total * whole, known, out=np.zeros_like(total), where=known > 0.0)
        log: NDArray[np.float64] = np.log(np.maximum(scaled, FLOOR))
        return log
