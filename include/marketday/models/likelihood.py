"""Maximum likelihood of dispersion and surplus zeros, both by a regression, the mean being given.

log(dispersion) = spread x a and logit(zero_share) = zeros x b: the zero-inflated negative binomial regression of
Greene (1994) with a regression of the dispersion beside it (Smyth, 1989), and its like for the gamma family. A normal
prior around given coefficients keeps them where there is little to learn from.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from marketday.distributions import Family

Real = NDArray[np.float64]

LOG_DISPERSION = (-7.0, 4.0)
"""Bounds of log(dispersion): from next to Poisson to 50, where nine days in ten of a fast seller sell nothing."""
LOGIT_ZEROS = (-12.0, 3.0)
"""Bounds of logit(zero_share): up to 95 %. A mean that is known to be more than nothing is not all zeros."""
LEAST_MEAN = 1e-6
_ITERATIONS = 200
_DIGITS = 4


class Slopes(NamedTuple):
    """Log-likelihood per row, and its slopes in log(dispersion) and in logit(zero_share)."""

    value: Real
    log_dispersion: Real
    logit_zeros: Real


def log_likelihood(actual: Real, mean: Real, log_dispersion: Real, logit_zeros: Real, family: Family) -> Slopes:
    """Return the log-likelihood of each row, up to a term that depends on ``actual`` alone."""
    zeros = special.expit(logit_zeros)
    sells = 1.0 - zeros
    inner = np.maximum(mean, LEAST_MEAN) / sells
    size = np.exp(-log_dispersion)
    if family == "gamma":
        log = np.log(np.maximum(actual, np.finfo(float).tiny))
        value = size * np.log(size / inner) - special.gammaln(size) + size * log - size * actual / inner
        by_size = np.log(size / inner) + 1.0 - special.digamma(size) + log - actual / inner
        by_mean = size / inner * (actual / inner - 1.0)
        none = np.zeros_like(inner)
    else:
        chance = size / (size + inner)
        value = special.gammaln(actual + size) - special.gammaln(size) + size * np.log(chance)
        value += actual * np.log1p(-chance)
        by_size = special.digamma(actual + size) - special.digamma(size) + np.log(chance) + 1.0
        by_size -= (actual + size) / (size + inner)
        by_mean = actual / inner - (actual + size) / (size + inner)
        none = np.exp(size * np.log(chance))
    # A day without a sale is a surplus zero or one of the family's own: the slopes of the latter count by its share.
    nothing = actual == 0.0
    zero_chance = zeros + sells * none
    of_family = np.where(nothing, sells * none / zero_chance, 1.0)
    by_zeros = np.where(nothing, (1.0 - none) / zero_chance, -1.0 / sells) + of_family * by_mean * inner / sells
    return Slopes(
        np.where(nothing, np.log(zero_chance), np.log(sells) + value),
        -size * of_family * np.where(nothing & (none == 0.0), 0.0, by_size),
        zeros * sells * by_zeros,
    )


def fit(
    spread: Real, zeros: Real, actual: Real, mean: Real, family: Family, *, prior: tuple[Real, Real], strength: Real
) -> tuple[Real, Real]:
    """Return the coefficients of log(dispersion) and of logit(zero_share).

    ``spread`` and ``zeros`` are rows x columns; ``prior`` has the coefficients expected, ``strength`` the precision of
    each; infinite: it stays as it is.
    """
    columns, rows = spread.shape[1], max(len(actual), 1)
    expected = np.concatenate(prior)
    held = np.isinf(strength)
    pull = np.where(held, 0.0, strength)

    def loss(coefficients: Real) -> tuple[float, Real]:
        # einsum adds up in one order whatever the number of threads; a BLAS product may not.
        e = np.einsum("ij,j->i", spread, coefficients[:columns])
        logit = np.einsum("ij,j->i", zeros, coefficients[columns:])
        found = log_likelihood(actual, mean, np.clip(e, *LOG_DISPERSION), np.clip(logit, *LOGIT_ZEROS), family)
        away = pull * (coefficients - expected)
        slope = np.concatenate(
            [np.einsum("ij,i->j", spread, found.log_dispersion), np.einsum("ij,i->j", zeros, found.logit_zeros)]
        )
        penalty = float((away * (coefficients - expected)).sum()) / 2.0
        return (penalty - float(found.value.sum())) / rows, (away - slope) / rows

    bounds = [(e, e) if stays else (None, None) for e, stays in zip(expected, held, strict=True)]
    options = {"maxiter": _ITERATIONS, "ftol": 1e-10}
    best = optimize.minimize(loss, expected, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    rounded: Real = np.round(best, _DIGITS)
    return rounded[:columns], rounded[columns:]
