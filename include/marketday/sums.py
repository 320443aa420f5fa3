"""Demand summed over several days that go up and down together.

A level that was forecast too low is too low on all days, so days are not independent: quantiles do not add up, and
neither do variances alone. Days i and j share part of their dispersion: Cov = sqrt(c_i c_j) m_i m_j, with c the
``common_dispersion``. It is what a random level of mean 1 and variance c, shared by all days, adds to independent days
(a shared gamma frailty; Cameron and Trivedi, 2013, ch. 9). What each day's own distribution is stays as it was.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from marketday.distributions import Array, overall_dispersion


class Total(NamedTuple):
    """Mean and dispersion of a sum, as of its family; it has no surplus zeros."""

    mean: Array
    dispersion: Array


def total(
    mean: ArrayLike, dispersion: ArrayLike, zero_share: ArrayLike = 0.0, common_dispersion: ArrayLike = 0.0
) -> Total:
    """Return the distribution of the sum over the last axis.

    The family is kept and its two moments are matched: dispersion = (sum D_i m_i^2 + sum over i != j of
    sqrt(c_i c_j) m_i m_j) / (sum m_i)^2, with D the overall dispersion. One formula serves both families: what the
    variance has beyond its linear term is D x m^2 in either. Exact for independent days with the same D x m (negative
    binomial), close otherwise. ``common_dispersion`` counts up to the day's overall dispersion, never beyond.
    """
    given = (mean, overall_dispersion(dispersion, zero_share), common_dispersion)
    m, d, c = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in given))
    shared = np.sqrt(np.minimum(c, d)) * m
    excess = (d * m**2 - shared**2).sum(axis=-1) + shared.sum(axis=-1) ** 2
    whole: Array = m.sum(axis=-1)
    square = whole**2  # 0 also for a mean too small to square
    return Total(whole, np.divide(excess, square, out=np.zeros_like(whole), where=square > 0.0))
