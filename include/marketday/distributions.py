"""Distributions of daily demand: negative binomial for pieces, gamma for weight, either one with surplus zeros.

With probability ``zero_share`` there is no demand to be seen at all (the product is off the shelf, or asked for in runs
only); otherwise demand follows the family, with mean ``mean / (1 - zero_share)``, so that ``mean`` is the mean of all.
Negative binomial: variance = mean + dispersion x mean^2 (NB2 of Cameron and Trivedi, 2013, ch. 3, and ch. 4 for surplus
zeros); dispersion 0 is Poisson. Gamma: variance = dispersion x mean^2. A mean of 0 is the point mass at 0 in both.
Three numbers per row say it all; quantiles are derived from them. Everything is vectorised: ``mean``, ``dispersion``
and ``zero_share`` (at least 0, below 1) broadcast against each other.
"""

from collections.abc import Sequence
from typing import Literal

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


def overall_dispersion(dispersion: ArrayLike, zero_share: ArrayLike = 0.0) -> Array:
    """Return the dispersion of all demand, surplus zeros included: (dispersion + zero_share) / (1 - zero_share).

    It stands to the variance as the dispersion does without surplus zeros, in both families.
    """
    zeros = np.asarray(zero_share, dtype=float)
    overall: Array = (np.asarray(dispersion, dtype=float) + zeros) / (1.0 - zeros)
    return overall


def variance(mean: ArrayLike, dispersion: ArrayLike, family: Family, zero_share: ArrayLike = 0.0) -> Array:
    """Return the variance, in units squared."""
    m = np.asarray(mean, dtype=float)
    excess: Array = overall_dispersion(dispersion, zero_share) * m**2
    return m + excess if family == "negative_binomial" else excess


def quantile(
    mean: ArrayLike, dispersion: ArrayLike, family: Family, levels: ArrayLike, zero_share: ArrayLike = 0.0
) -> Array:
    """Return the least demand that is not exceeded with each probability: shape of the inputs x levels.

    Quantiles grow with the level, so that they never cross, and are finite for levels below 1.
    """
    m, d, z = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (mean, dispersion, zero_share)))
    wanted = np.atleast_1d(np.asarray(levels, dtype=float))
    zeros = z.ravel()[:, None]
    # Beyond the surplus zeros, the level u is the level (u - z) / (1 - z) of the rest; up to them, the quantile is 0.
    inner = np.maximum((wanted - zeros) / (1.0 - zeros), 0.0)
    flat_mean, flat_dispersion = m.ravel() / (1.0 - zeros[:, 0]), np.maximum(d.ravel(), _LEAST_DISPERSION)
    if family == "gamma":
        unit = special.gammaincinv(1.0 / flat_dispersion[:, None], inner)
        flat = unit * (flat_dispersion * flat_mean)[:, None]
    else:
        flat = _count_quantile(flat_mean, flat_dispersion, inner)
    shaped: Array = flat.reshape(*m.shape, len(wanted))
    return shaped


def _count_quantile(mean: Array, dispersion: Array, levels: Array) -> Array:
    """Return one quantile per row and level, without surplus zeros; ``levels`` are rows x levels, from 0 on."""
    size, chance = 1.0 / dispersion, 1.0 / (1.0 + dispersion * mean)
    found = np.zeros(levels.shape)
    # Most quantiles of interest lie within six deviations: rows that need few steps are counted, the others inverted.
    small = mean + 6.0 * np.sqrt(variance(mean, dispersion, "negative_binomial")) < _COUNTED
    large = ~small
    found[large] = np.maximum(stats.nbinom.ppf(levels[large], size[large, None], chance[large, None]), 0.0)
    rows = np.flatnonzero(small)
    mass = np.exp(size[rows] * np.log(chance[rows]))
    below, wanted = mass.copy(), levels[rows]
    count = 0
    while len(rows):
        short = below[:, None] < wanted
        found[rows] += short
        going = short.any(axis=1) & (mass > 0.0)
        rows, mass, below, wanted = rows[going], mass[going], below[going], wanted[going]
        mass = mass * (count + size[rows]) / (count + 1.0) * (1.0 - chance[rows])
        below = below + mass
        count += 1
    return found


def cdf(
    demand: ArrayLike, mean: ArrayLike, dispersion: ArrayLike, family: Family, zero_share: ArrayLike = 0.0
) -> Array:
    """Return the probability of at most this demand; 0 below 0."""
    given = (demand, mean, dispersion, zero_share)
    x, m, d, z = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in given))
    m, d = m / (1.0 - z), np.maximum(d, _LEAST_DISPERSION)
    at = np.maximum(x, 0.0)
    if family == "gamma":
        inner = special.gammainc(1.0 / d, at / np.where(m > 0.0, m * d, 1.0))
    else:
        inner = special.betainc(1.0 / d, np.floor(at) + 1.0, 1.0 / (1.0 + d * m))
    result: Array = np.where(x < 0.0, 0.0, np.where(m > 0.0, z + (1.0 - z) * inner, 1.0))
    return result


def pinball(actual: ArrayLike, forecast: ArrayLike, level: ArrayLike) -> Array:
    """Return the pinball loss of ``forecast`` as the ``level`` quantile (Koenker and Bassett, 1978), in units."""
    short = np.asarray(actual, dtype=float) - np.asarray(forecast, dtype=float)
    u = np.asarray(level, dtype=float)
    loss: Array = np.maximum(u * short, (u - 1.0) * short)
    return loss


def with_quantiles(frame: pl.DataFrame, levels: Sequence[str] = tuple(QUANTILE_LEVELS)) -> pl.DataFrame:
    """Add the quantile columns to rows with ``mean``, ``dispersion``, ``family`` and ``zero_share`` (0 if absent)."""
    wanted = np.array([QUANTILE_LEVELS[name] for name in levels])
    found = np.zeros((frame.height, len(wanted)))
    given = [frame[name].to_numpy() for name in ("mean", "dispersion")]
    zeros = frame["zero_share"].to_numpy() if "zero_share" in frame.columns else np.zeros(frame.height)
    family = frame["family"].to_numpy()
    for name in frame["family"].unique().sort():
        rows = family == name
        mean, dispersion = (values[rows] for values in given)
        found[rows] = quantile(mean, dispersion, name, wanted, zeros[rows])
    return frame.with_columns(pl.Series(name, found[:, i]) for i, name in enumerate(levels))
