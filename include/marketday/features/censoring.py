"""Demand behind stock-outs: what would have been sold, had the shelf never been empty.

Sales of a day on which stock ran out are a lower bound of demand, and stock runs out on days of high demand, so that
neither sales nor the days without stock-out tell the mean. A day's demand is a gamma-Poisson process (`gamma_poisson`)
that is observed for the share of the day with stock, its exposure e. That its own sales stopped it does not matter to
the likelihood (Berger and Wolpert, The Likelihood Principle, 1988, ch. 4.2): sales s are negative binomial around e m,
and the mean m is learnt by the score of that, (s - e m) / (unit + dispersion x e m), whose expectation is 0 also then.

The panel is filtered forward: the demand of a day follows from that day and those before it, never from a later one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketday.features.gamma_poisson import expected_beyond, expected_demand, log_density_of_stop, split
from marketday.features.kernels import Array, Index

Real = NDArray[np.float64]
Flags = NDArray[np.bool_]

_WEEK = 7
_LEVEL_MEMORY = 0.95
"""Weight of a series' level from one known day to the next: the last 20 days count most."""
_SERIES_DISPERSION = 2.0
"""Squared coefficient of variation of levels among series of a group, until a series' own sales tell its level."""
_GROUP_MEMORY = 0.97
_WEEKDAY_MEMORY = 0.8  # from one such weekday of a group to the next: five weeks
_PROMOTION_MEMORY = 0.99
_EFFECT_PRIOR = 20.0
"""Information (inverse variance of the logarithm) that weekday and promotion effects are 1: a deviation of 22 %."""
_DAY_PRIOR = 100.0
"""The same of a group's effect of a single day: 10 %."""
_SPREAD_MEMORY = 0.995
_SPREAD_AFTER_DAYS = 7  # before, the error of the level would be taken for dispersion
_SPREAD_PRIOR = 5.0
_FIRST_DISPERSION = 0.3  # about the middle of what grocery series show
_UNIT_BY_WEIGHT = 0.1
"""Unit of goods by weight, over the mean of their group: 0.11 in FreshRetailNet-50K."""
_LEAST_DISPERSION = 0.02
_MOST_DISPERSION = 3.0
_TELLING_EXPOSURE = 0.25  # what sold for less of a day tells more of the hours than of the day
_LEAST_MEAN = 1e-6
_SHARES = np.array([1.0, 0.5, 0.2, 0.05])
"""Of the noise of sales that can lie within a day, from customers at random to customers evenly over the day."""
_TIMED_PER_DAY = 256
"""Stock-outs of a day that the timing is learnt from, evenly picked: bounds its cost."""


class Recovered(NamedTuple):
    """Arrays are series x days; NaN where no sales were delivered."""

    demand: Array
    """Expected demand given sales and exposure; the sales themselves where stock lasted all day."""
    exposure: Array
    """Share of the day's demand that met stock: 1 without stock-out, 0 out all day or for an unknown time."""


def recover(
    sales: Array, stockout_share: Array, *, group: Index, promoted: Flags, by_weight: NDArray[np.bool_]
) -> Recovered:
    """Return the demand behind ``sales``, both series x days.

    Args:
        sales: units sold, NaN where nothing was delivered.
        stockout_share: share of the opening hours without stock, 0 to 1; NaN is read as 0. Where it is 1 although
            something was sold, the duration is unknown, and sales are a lower bound only.
        group: of each series, 0 ... G-1, such as its department; series of a group share effects and dispersion.
        promoted: whether a day has a promotion, series x days.
        by_weight: of each series, whether its units are real numbers.

    """
    known = np.isfinite(sales)
    out = np.where(known, np.nan_to_num(stockout_share), 0.0)
    if not (out > 0.0).any():
        return Recovered(sales.astype(np.float32), np.where(known, 1.0, np.nan).astype(np.float32))
    made = Recovered(*(np.full(sales.shape, np.nan, dtype=np.float32) for _ in Recovered._fields))
    state = _Filter(np.asarray(group), np.asarray(by_weight))
    for day in range(sales.shape[1]):
        now = _Day(
            number=day,
            known=known[:, day],
            sales=np.where(known[:, day], sales[:, day], 0.0).astype(float),
            out=out[:, day].astype(float),
            promoted=promoted[:, day].astype(np.intp),
        )
        for array, values in zip(made, state.step(now), strict=True):
            array[:, day] = np.where(now.known, values, np.nan)
    # What the single precision of the result rounds away must not fall short of what was sold.
    return made._replace(demand=np.where(out > 0.0, np.maximum(made.demand, sales), sales).astype(np.float32))


class _Day(NamedTuple):
    """One day of all series."""

    number: int
    known: Flags
    sales: Real
    """0 where unknown."""
    out: Real
    promoted: Index


class _Factor:
    """A multiplicative effect per key: sums of what was seen over what was expected without it, both weighted."""

    def __init__(self, keys: int, memory: float) -> None:
        self._seen, self._expected = np.full(keys, _EFFECT_PRIOR), np.full(keys, _EFFECT_PRIOR)
        self._memory = memory

    def of(self, key: Index) -> Real:
        factor: Real = self._seen[key] / self._expected[key]
        return factor

    def learn(self, key: Index, seen: Real, expected: Real) -> None:
        """Add one value per series; only keys of that day forget. The prior keeps its weight."""
        size = len(self._seen)
        memory = np.where(np.bincount(key, minlength=size) > 0, self._memory, 1.0)
        for sums, added in ((self._seen, seen), (self._expected, expected)):
            sums[:] = memory * (sums - _EFFECT_PRIOR) + np.bincount(key, added, size) + _EFFECT_PRIOR


class _Spread:
    """Dispersion of each group's days, by moments: what their variance has beyond unit x mean, over mean^2."""

    def __init__(self, group: Index) -> None:
        self._group, self._groups = group, int(group.max(initial=-1)) + 1
        self._excess, self._square = np.zeros(self._groups), np.zeros(self._groups)

    def dispersion(self) -> Real:
        """Return the dispersion of each series: that of its group, shrunk while little is known."""
        fitted = (self._excess + _SPREAD_PRIOR * _FIRST_DISPERSION) / (self._square + _SPREAD_PRIOR)
        found: Real = np.clip(fitted, _LEAST_DISPERSION, _MOST_DISPERSION)[self._group]
        return found

    def learn(self, use: Flags, sales: Real, expected: Real, unit: Real) -> None:
        """Add one day.

        The weights are about those of the usual dispersion. They do not depend on the fitted one, as an early misfit
        would then weigh for ever.
        """
        weight = np.where(use, 1.0 / (unit + _FIRST_DISPERSION * expected), 0.0) ** 2
        excess = weight * ((sales - expected) ** 2 - unit * expected)
        for sums, added in ((self._excess, excess), (self._square, weight * expected**2)):
            sums[:] = _SPREAD_MEMORY * sums + np.bincount(self._group, added, self._groups)


class _Timing:
    """How noisy sales are within a day: the share, of a few, under which stock most likely ran out when it did.

    A day's sales come in multiples of share x unit; the rest of the unit's variance is the day's. With a share of 1
    customers come at random, with one near 0 evenly, so that half a day without stock is half the demand.
    """

    def __init__(self) -> None:
        self._likelihood = np.zeros(len(_SHARES))
        # Until something is learnt: Poisson sales.
        self.share = float(_SHARES[0])

    def learn(self, sales: Real, met: Real, mean: Real, unit: Real, dispersion: Real) -> None:
        """Add a day's stock-outs, for each its sales > 0 and the share ``met`` of the day with stock, 0 < met < 1."""
        pick = np.unique(np.linspace(0, len(sales) - 1, _TIMED_PER_DAY).astype(int))
        s, e, m, u, d = (values[pick] for values in (sales, met, mean, unit, dispersion))
        for i, share in enumerate(_SHARES):
            within, between = split(share, m, u, d)
            self._likelihood[i] += log_density_of_stop(s, e, m, between, within).sum()
        self.share = float(_SHARES[self._likelihood.argmax()])


class _Filter:
    """What is known of the series, their groups and their days, from the days so far."""

    def __init__(self, group: Index, by_weight: NDArray[np.bool_]) -> None:
        self.group, self.by_weight, self.groups = group, by_weight, int(group.max(initial=-1)) + 1
        self.seen, self.expected = np.zeros(len(group)), np.zeros(len(group))
        self.group_seen, self.group_expected = np.zeros(self.groups), np.zeros(self.groups)
        self.days = np.zeros(len(group), dtype=np.int32)
        self.weekday = _Factor(self.groups * _WEEK, _WEEKDAY_MEMORY)
        self.promotion = _Factor(self.groups * 2, _PROMOTION_MEMORY)
        self.spread, self.timing = _Spread(group), _Timing()

    def step(self, now: _Day) -> tuple[Real, Real]:
        """Return the demand and exposure of the next day, and learn from it."""
        exposure = 1.0 - now.out
        unknown_duration = (now.out >= 1.0) & (now.sales > 0.0)
        timed = now.known & ~unknown_duration
        exposed = np.where(timed, exposure, 0.0)
        sold = np.where(timed, now.sales, 0.0)

        typical = self._typical(sold, exposed)
        unit, dispersion = np.where(self.by_weight, _UNIT_BY_WEIGHT * typical, 1.0), self.spread.dispersion()
        # A gamma prior around the group's mean.
        level = (self.seen + 1.0 / _SERIES_DISPERSION) / (self.expected + 1.0 / (_SERIES_DISPERSION * typical))
        weekday_key, promotion_key = self.group * _WEEK + now.number % _WEEK, self.group * 2 + now.promoted
        weekday, promotion = self.weekday.of(weekday_key), self.promotion.of(promotion_key)
        planned = np.maximum(level * weekday * promotion, _LEAST_MEAN)
        within, between = split(self.timing.share, planned, unit, dispersion)
        # The score's weight; by the plan alone, as one that knew the day's own sales would be biased.
        weight = 1.0 / (within + between * exposed * planned)
        # Shelves that were empty for most of the day tell of their own sales, not of how busy the day was.
        tells = np.where(exposed >= _TELLING_EXPOSURE, weight, 0.0)
        met = self._sum(tells * exposed * planned)
        day = ((_DAY_PRIOR + self._sum(tells * sold)) / (_DAY_PRIOR + met))[self.group]
        mean = planned * day
        within, between = split(self.timing.share, mean, unit, dispersion)
        demand = expected_demand(sold, exposed, mean, between, within)
        if unknown_duration.any():
            i = np.flatnonzero(unknown_duration)
            total = dispersion + np.where(self.by_weight, unit / mean, 0.0)
            demand[i] = expected_beyond(now.sales[i], mean[i], total[i], self.by_weight[i])

        usual = self.days >= _SPREAD_AFTER_DAYS
        self.spread.learn(usual & (exposed >= _TELLING_EXPOSURE), sold, exposed * mean, unit)
        i = np.flatnonzero(usual & (exposed > 0.0) & (exposed < 1.0) & (sold > 0.0))
        if len(i):
            self.timing.learn(sold[i], exposed[i], mean[i], unit[i], dispersion[i])
        self.weekday.learn(weekday_key, weight * sold, weight * exposed * level * promotion)
        self.promotion.learn(promotion_key, weight * sold, weight * exposed * level * weekday * day)
        effects = weekday * promotion * day
        self.group_seen = _GROUP_MEMORY * self.group_seen + self._sum(sold)
        self.group_expected = _GROUP_MEMORY * self.group_expected + self._sum(exposed * effects)
        memory = np.where(now.known, _LEVEL_MEMORY, 1.0)
        self.seen = memory * self.seen + weight * sold
        self.expected = memory * self.expected + weight * exposed * effects
        self.days += now.known
        return demand, np.where(unknown_duration, 0.0, exposure)

    def _typical(self, sold: Real, exposed: Real) -> Real:
        """Return the mean level of each series' group, today included: on the first day there is nothing else."""
        seen = _GROUP_MEMORY * self.group_seen + self._sum(sold)
        expected = _GROUP_MEMORY * self.group_expected + self._sum(exposed)
        level = np.divide(seen, expected, out=np.ones(self.groups), where=expected > 0.0)
        return np.maximum(level, _LEAST_MEAN)[self.group]

    def _sum(self, values: Real) -> Real:
        sums: Real = np.bincount(self.group, values, self.groups).astype(float)
        return sums
