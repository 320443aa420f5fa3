"""A day's sales that stop when stock runs out: expected demand, and what the moment of stopping tells.

A day sells at a rate that is gamma with mean m and variance dispersion x m^2; at a given rate its sales are Poisson in
multiples of a unit (1 for pieces). A unit near 0 is demand that comes evenly over the day. All arrays broadcast; means
and units are positive.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

Real = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LEAST_TAIL = 1e-12
_LEAST_DISPERSION = 0.02
_LEAST_UNIT = 0.001
"""Over the mean: keeps an exposure near 0 without information."""


def expected_demand(sales: Real, exposure: Real, mean: Real, dispersion: Real, unit: Real | float = 1.0) -> Real:
    """Return the expected demand of a day that sold ``sales`` in a share ``exposure`` of it.

    The posterior of the rate is gamma with the mean m (u + d s) / (u + d e m); it goes on for the rest of the day.
    """
    rate = mean * (unit + dispersion * sales) / (unit + dispersion * exposure * mean)
    demand: Real = sales + (1.0 - exposure) * rate
    return demand


def expected_beyond(sales: Real, mean: Real, dispersion: Real, by_weight: Flags) -> Real:
    """Return the expected demand of a day of which only is known that it was at least ``sales`` > 0.

    Demand is gamma for goods by weight, else negative binomial, by mean and dispersion as in `distributions`. Each is
    its own family when weighted by its value, so that E[D; D >= s] = mean x P(D' >= s) with one more in the shape, and,
    for counts, one less in the bound.
    """
    shape = 1.0 / dispersion
    chance = 1.0 / (1.0 + dispersion * mean)
    whole = np.maximum(np.ceil(sales), 1.0)
    above = np.where(whole > 1.0, special.betainc(np.maximum(whole - 1.0, 0.5), shape + 1.0, 1.0 - chance), 1.0)
    pieces = above, special.betainc(whole, shape, 1.0 - chance)
    weight = special.gammaincc(shape + 1.0, shape * sales / mean), special.gammaincc(shape, shape * sales / mean)
    top, bottom = (np.where(by_weight, w, p) for w, p in zip(weight, pieces, strict=True))
    # Far out in the tail both vanish; what was sold is then nearly all there was.
    ratio = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > _LEAST_TAIL)
    demand: Real = np.maximum(mean * ratio, sales)
    return demand


def split(share: float, mean: Real, unit: Real, dispersion: Real) -> tuple[Real, Real]:
    """Return the unit within days and the dispersion between them; unit x mean + dispersion x mean^2 stays as it is.

    ``share`` of the first term lies within days, the rest between them.
    """
    within = np.maximum(share * unit, _LEAST_UNIT * mean)
    return within, np.maximum(dispersion + (unit - within) / mean, _LEAST_DISPERSION)


def log_density_of_stop(sales: Real, exposure: Real, mean: Real, dispersion: Real, unit: Real) -> Real:
    """Return the log density of the exposure at which the last of ``sales`` was sold, given that it was below 1.

    At a given rate that moment is gamma, like the waiting time for the sales / unit-th event; with a gamma rate it is
    beta prime. ``sales`` and ``exposure`` are positive. Terms that do not depend on the parameters are left out.
    """
    count, size, scale = sales / unit, 1.0 / dispersion, dispersion * mean / unit
    density = (
        special.gammaln(count + size)
        - special.gammaln(count)
        - special.gammaln(size)
        + count * np.log(scale * exposure)
        - (count + size) * np.log1p(scale * exposure)
    )
    before_closing = special.betainc(count, size, scale / (1.0 + scale))
    given: Real = density - np.log(np.maximum(before_closing, _LEAST_TAIL))
    return given


def censored_pit(
    sales: Real, stocked_out: Flags, cdf: Callable[[Real], Real], uniform: Real, *, by_weight: Flags
) -> Real:
    """Return the randomised probability integral transform of each day, uniform on 0 to 1 if the forecast is right.

    Where stock lasted, demand is what was sold, and the value is drawn from P(D < s) to P(D <= s) (Czado, Gneiting and
    Held, Biometrics 65, 2009). Where it ran out, demand was s or more, and the value is drawn from P(D < s) to 1: given
    the forecast and that bound, demand is distributed just so. No day is left out, so that the selection of days with
    little demand, which rows without stock-out are, does no harm. It needs stock levels that tell no more of the day's
    demand than the forecast does.

    Args:
        sales: units sold per row.
        stocked_out: whether stock ran out on that day.
        cdf: the forecasts' cumulative distribution functions, from one value per row to one probability per row.
        uniform: random numbers between 0 and 1, one per row.
        by_weight: whether units are real numbers, of which none has a probability of its own.

    """
    upto = cdf(sales)
    below = np.where(by_weight, upto, np.where(sales > 0.0, cdf(sales - 1.0), 0.0))
    top = np.where(stocked_out, 1.0, upto)
    value: Real = below + uniform * (top - below)
    return value
