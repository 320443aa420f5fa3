"""Distributions of daily demand: negative binomial for pieces, gamma for weight, both by mean and dispersion.

Negative binomial: variance = mean + dispersion x mean^2 (NB2 of Cameron and Trivedi, 2013, ch. 3); dispersion 0 is
Poisson. Gamma: variance = dispersion x mean^2. A mean of 0 is the point mass at 0 in both. Everything is vectorised;
``mean`` and ``dispersion`` broadcast against each other.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Array = NDArray[np.float64]
Family = Literal["negative_binomial", "gamma"]

QUANTILE_LEVELS: dict[str, float] = {
    "q005": 0.005,
    "q025": 0.025,
    "q165": 0.165,
    "q250": 0.25,
    "q500": 0.5,
    "q750": 0.75,
    "q835": 0.835,
    "q975": 0.975,
    "q995": 0.995,
}
"""The nine quantiles of a forecast: median and central 50, 67, 95 and 99 % intervals, as in the M5 competition."""

_LEAST_DISPERSION = 1e-9
"""Below this the distribution cannot be told from its limit in double precision (Poisson, or a point)."""
_COUNTED = 300.0
"""Quantiles that lie below are found by counting up the probability mass; beyond, inversion is faster."""


class Total(NamedTuple):
    """Mean and dispersion of a sum."""

    mean: Array
    dispersion: Array


def variance(mean: ArrayLike, dispersion: ArrayLike, family: Family) -> Array:
    """Return the variance, in units squared."""
    m = np.asarray(mean, dtype=float)
    overdispersed: Array = np.asarray(dispersion, dtype=float) * m**2
    return m + overdispersed if family == "negative_binomial" else overdispersed


def quantile(mean: ArrayLike, dispersion: ArrayLike, family: Family, levels: ArrayLike) -> Array:
    """Return the least demand that is not exceeded with each probability: shape of the inputs x levels.

    Quantiles grow with the level, so that they never cross, and are finite for levels below 1.
    """
    m, d = np.broadcast_arrays(np.asarray(mean, dtype=float), np.asarray(dispersion, dtype=float))
    wanted = np.atleast_1d(np.asarray(levels, dtype=float))
    flat_mean, flat_dispersion = m.ravel(), np.maximum(d.ravel(), _LEAST_DISPERSION)
    if family == "gamma":
        # The shape is one over the dispersion, which few rows have for themselves; the mean only scales.
        each, which = np.unique(flat_dispersion, return_inverse=True)
        unit = special.gammaincinv(1.0 / each[:, None], wanted) * each[:, None]
        flat = unit[which] * flat_mean[:, None]
    else:
        flat = _count_quantile(flat_mean, flat_dispersion, wanted)
    shaped: Array = flat.reshape(*m.shape, len(wanted))
    return shaped


def _count_quantile(mean: Array, dispersion: Array, levels: Array) -> Array:
    size, chance = 1.0 / dispersion, 1.0 / (1.0 + dispersion * mean)
    found = np.zeros((len(mean), len(levels)))
    # Most quantiles of interest lie within six deviations: rows that need few steps are counted, the others inverted.
    small = mean + 6.0 * np.sqrt(variance(mean, dispersion, "negative_binomial")) < _COUNTED
    large = ~small
    found[large] = stats.nbinom.ppf(levels, size[large, None], chance[large, None])
    rows = np.flatnonzero(small)
    mass = np.exp(size[rows] * np.log(chance[rows]))
    below = mass.copy()
    count = 0
    while len(rows):
        short = below[:, None] < levels
        found[rows] += short
        going = short.any(axis=1) & (mass > 0.0)
        rows, mass, below = rows[going], mass[going], below[going]
        mass = mass * (count + size[rows]) / (count + 1.0) * (1.0 - chance[rows])
        below = below + mass
        count += 1
    return found


def cdf(demand: ArrayLike, mean: ArrayLike, dispersion: ArrayLike, family: Family) -> Array:
    """Return the probability of at most this demand; 0 below 0."""
    x, m, d = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (demand, mean, dispersion)))
    d = np.maximum(d, _LEAST_DISPERSION)
    at = np.maximum(x, 0.0)
    if family == "gamma":
        inner = special.gammainc(1.0 / d, at / np.where(m > 0.0, m * d, 1.0))
    else:
        inner = special.betainc(1.0 / d, np.floor(at) + 1.0, 1.0 / (1.0 + d * m))
    result: Array = np.where(x < 0.0, 0.0, np.where(m > 0.0, inner, 1.0))
    return result


def pinball(actual: ArrayLike, forecast: ArrayLike, level: ArrayLike) -> Array:
    """Return the pinball loss of ``forecast`` as the ``level`` quantile (Koenker and Bassett, 1978), in units."""
    short = np.asarray(actual, dtype=float) - np.asarray(forecast, dtype=float)
    u = np.asarray(level, dtype=float)
    loss: Array = np.maximum(u * short, (u - 1.0) * short)
    return loss


def total(mean: ArrayLike, dispersion: ArrayLike) -> Total:
    """Return the distribution of the sum over the last axis, days taken as independent.

    Means and variances add up; the family is kept and its two moments are matched. That is exact where all days have
    the same ``dispersion x mean`` (equal days among them), and close otherwise. It is one formula for both families:
    what the variance has beyond its linear term is dispersion x mean^2 in either.
    """
    m, d = np.broadcast_arrays(np.asarray(mean, dtype=float), np.asarray(dispersion, dtype=float))
    overdispersed = (d * m**2).sum(axis=-1)
    whole = m.sum(axis=-1)
    square = whole**2  # 0 also for a mean too small to square
    return Total(whole, np.divide(overdispersed, square, out=np.zeros_like(whole), where=square > 0.0))


def fit_dispersion(
    actual: Array, mean: Array, groups: NDArray[np.integer], family: Family, *, prior: ArrayLike, strength: float
) -> Array:
    """Return one dispersion per group 0 … max(groups) by the method of moments, shrunk towards ``prior``.

    The estimate is sum((actual - mean)^2 - linear term) / sum(mean^2). ``prior`` (one, or one per group) counts like
    ``strength`` observations. Rows with a NaN are left out; an empty group has its prior.
    """
    known = np.isfinite(actual) & np.isfinite(mean)
    a, m, g = actual[known], mean[known], groups[known]
    size = int(groups.max(initial=-1)) + 1
    excess = (a - m) ** 2 - (m if family == "negative_binomial" else 0.0)
    rows = np.bincount(g, minlength=size).astype(float)
    top, bottom = np.bincount(g, excess, size), np.bincount(g, m**2, size)
    weight = rows / (rows + strength)
    own = np.divide(top, bottom, out=np.zeros(size), where=bottom > 0.0)
    shrunk: Array = np.maximum(weight * own + (1.0 - weight) * np.asarray(prior, dtype=float), 0.0)
    return shrunk


def with_quantiles(frame: pl.DataFrame, levels: Sequence[str] = tuple(QUANTILE_LEVELS)) -> pl.DataFrame:
    """Add the quantile columns to rows with ``mean``, ``dispersion`` and ``family``."""
    wanted = np.array([QUANTILE_LEVELS[name] for name in levels])
    found = np.zeros((frame.height, len(wanted)))
    family = frame["family"].to_numpy()
    for name in frame["family"].unique().sort():
        rows = family == name
        part = frame.filter(pl.col("family") == name)
        found[rows] = quantile(part["mean"].to_numpy(), part["dispersion"].to_numpy(), name, wanted)
    return frame.with_columns(pl.Series(name, found[:, i]) for i, name in enumerate(levels))
