"""How widely demand spreads around a forecast mean, how often nothing sells, and what the days have in common.

Per row, from what is known at the origin: the level of the forecast, the series' own recent spread, and the demand that
was missed since the last sale. The few coefficients are fitted to held-out forecasts and hold for all series, so that
a new one has its distribution too: that of its like, wider by what is not known of it.
"""

from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from marketday.distributions import Family, overall_dispersion
from marketday.features.kernels import Array
from marketday.models import likelihood
from marketday.models.rows import Rows, Spread

Real = NDArray[np.float64]

VELOCITY = (0.3, 1.0, 3.0, 10.0)
"""Bounds of the velocity classes of the common share and of the held-out bias, in mean units per day."""
BIAS_STRENGTH = 200.0
"""Units of imagined unbiased sales in a class's held-out bias: as `calibration.prior_units` is by default."""
COMMON_DAYS = 14
"""Days over which a common level is looked for: as long as most lead times with their review period."""
COMMON_STRENGTH = 20.0
"""Wholly dependent fortnights at which a velocity class counts as much as its family."""
COEFFICIENT_STRENGTH = 10.0
"""Precision of the usual coefficients: a standard deviation of 0.3, outweighed by a few hundred held-out rows."""
LEARNT_ROWS = 100_000
"""Most rows that are learnt from; ten coefficients need no more."""
RECENT_DECAY = 0.97
"""Weight of a recent day against the one after it; a half-life of three weeks. 0.97 to 1 were tried on M5."""
OWN_STRENGTH = 14.0
"""Weighted days at which a series' own spread counts as much as that of its level; 7 to 28 score alike on M5."""
USUAL_OWN: dict[Family, tuple[float, float]] = {"negative_binomial": (0.8, -0.5), "gamma": (0.3, 0.0)}
"""Spread that is usual at a level: factor x level^power."""
_LEAST_LEVEL, _LEAST_OWN = 0.01, 0.01

USUAL: dict[Family, dict[str, dict[str, float]]] = {
    "negative_binomial": {
        "spread": {"constant": -0.7, "level": -0.2, "own": 0.65, "missed": 0.1, "unknown": 1.0},
        "zeros": {"constant": -2.7, "level": -0.6, "missed": 0.85},
    },
    "gamma": {
        "spread": {"constant": -1.0, "level": -0.3, "own": 0.8, "missed": 0.1, "unknown": 1.0},
        "zeros": {"constant": -5.3, "level": -2.0, "missed": 0.9},
    },
}
"""Coefficients where nothing is fitted, about those of M5 and FreshRetailNet on early origins. That of ``unknown``, our
choice, makes a series without history twice as widely dispersed as its like."""
USUAL_COMMON = 0.3
"""Share of the dispersion that days have in common, where nothing is fitted."""


@dataclass(frozen=True)
class Dispersion:
    """Coefficients of log(dispersion) and logit(zero_share) by family, and the common share by ``family|velocity``."""

    spread: dict[str, dict[str, float]] = field(default_factory=dict)
    zeros: dict[str, dict[str, float]] = field(default_factory=dict)
    common: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, rows: Rows, mean: Real, actual: Real) -> "Dispersion":
        """Fit on held-out forecasts: one mean and one actual (NaN where unknown) per sorted row.

        A bias that a velocity class shares is taken out first: it is calibration's to correct, and no width.
        """
        fitted = cls()
        mean = mean * _bias(rows, mean, actual)
        for family in USUAL:
            known = np.flatnonzero((rows.family[rows.series] == family) & np.isfinite(actual))
            if not len(known):
                continue
            # Drawn, as every n-th row of weeks could be all Mondays.
            learnt = np.sort(np.random.default_rng(1).permutation(known)[:LEARNT_ROWS])
            columns = _columns(rows, mean, family)
            spread, zeros = USUAL[family]["spread"], USUAL[family]["zeros"]
            a, b = likelihood.fit(
                _matrix(columns, spread, learnt),
                _matrix(columns, zeros, learnt),
                actual[learnt],
                mean[learnt],
                family,
                prior=(np.array(list(spread.values())), np.array(list(zeros.values()))),
                strength=np.array([_strength(name) for name in (*spread, *zeros)]),
            )
            fitted.spread[family] = dict(zip(spread, a.tolist(), strict=True))
            fitted.zeros[family] = dict(zip(zeros, b.tolist(), strict=True))
        found = fitted.predict(rows, mean)
        overall = overall_dispersion(found.dispersion, found.zero_share)
        fitted.common.update(_common_shares(rows, mean, actual, overall))
        return fitted

    def predict(self, rows: Rows, mean: Real) -> Spread:
        """Return the distribution of each sorted row, given its mean."""
        dispersion, zero_share = np.zeros(len(mean)), np.zeros(len(mean))
        for family, usual in USUAL.items():
            mine = np.flatnonzero(rows.family[rows.series] == family)
            if not len(mine):
                continue
            columns = _columns(rows, mean, family)
            spread, zeros = (
                _linear(columns, fitted.get(family, usual[name]), mine)
                for fitted, name in ((self.spread, "spread"), (self.zeros, "zeros"))
            )
            dispersion[mine] = np.exp(np.clip(spread, *likelihood.LOG_DISPERSION))
            zero_share[mine] = special.expit(np.clip(zeros, *likelihood.LOGIT_ZEROS))
        share = [self.common.get(name, USUAL_COMMON) for name in _classes(rows, mean)]
        common = np.array(share)[rows.series] * overall_dispersion(dispersion, zero_share)
        return Spread(dispersion, zero_share, common)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Return the figures as JSON-ready data."""
        return asdict(self)


def _strength(name: str) -> float:
    """Return the precision of a usual coefficient.

    Held-out rows know nearly all of their series' history: what they say of series without any is no evidence.
    """
    return np.inf if name == "unknown" else COEFFICIENT_STRENGTH


def own_spread(recent: Array, family: Family, level: Real) -> tuple[Real, Real]:
    """Return the dispersion of each series' recent demand around its own mean, and the days that it rests on.

    ``recent`` is series x days; recent days weigh more, and few known ones leave it near what is usual at ``level``
    (of the forecast; the series' own where it has one).
    """
    known = np.isfinite(recent)
    weight = np.where(known, RECENT_DECAY ** np.arange(recent.shape[1] - 1, -1, -1), 0.0)
    demand = np.where(known, recent, 0.0).astype(float)
    days = weight.sum(axis=1)
    units = (weight * demand).sum(axis=1)
    average = units / np.maximum(days, np.finfo(float).tiny)
    excess = (weight * (demand - average[:, None]) ** 2).sum(axis=1) - (units if family == "negative_binomial" else 0.0)
    base = np.maximum(np.where(days > 0.0, average, level), _LEAST_LEVEL)
    factor, power = USUAL_OWN[family]
    own = (excess / base**2 + OWN_STRENGTH * factor * base**power) / (days + OWN_STRENGTH)
    return np.maximum(own, _LEAST_OWN), days


def days_missed(recent: Array) -> Real:
    """Return the known days since the last sale, per series; all known days if there is none."""
    sold = np.isfinite(recent) & (recent > 0.0)
    later = ~np.logical_or.accumulate(sold[:, ::-1], axis=1)[:, ::-1]
    missed: Real = (later & np.isfinite(recent)).sum(axis=1).astype(float)
    return missed


def _columns(rows: Rows, mean: Real, family: Family) -> dict[str, Real]:
    """Return what the coefficients multiply, one value per sorted row."""
    level = _level(rows, mean)
    own, days = own_spread(rows.recent, family, level)
    return {
        "constant": np.ones(len(mean)),
        "level": np.log(np.maximum(mean, _LEAST_LEVEL)),
        "own": np.log(own)[rows.series],
        # Units that should have sold since the last sale: the more, the likelier is the shelf empty.
        "missed": np.log1p(days_missed(rows.recent) * level)[rows.series],
        "unknown": (OWN_STRENGTH / (days + OWN_STRENGTH))[rows.series],
    }


def _matrix(columns: dict[str, Real], names: dict[str, float], rows: NDArray[np.intp]) -> Real:
    return np.stack([columns[name][rows] for name in names], axis=1)


def _linear(columns: dict[str, Real], coefficients: dict[str, float], rows: NDArray[np.intp]) -> Real:
    total = np.zeros(len(rows))
    for name, value in coefficients.items():
        total += value * columns[name][rows]
    return total


def _bias(rows: Rows, mean: Real, actual: Real) -> Real:
    """Return by what each sorted row's mean is to be multiplied, so that its class's sum is that of the actuals."""
    known = np.isfinite(actual)
    names, code = np.unique(_classes(rows, mean), return_inverse=True)
    of_row = code[rows.series][known]
    sold, expected = (np.bincount(of_row, v[known], len(names)) + BIAS_STRENGTH for v in (actual, mean))
    factor: Real = (sold / expected)[code][rows.series]
    return factor


def _common_shares(rows: Rows, mean: Real, actual: Real, dispersion: Real) -> dict[str, float]:
    """Return by ``family|velocity`` which share of the dispersion held-out days have in common, from 0 to 1.

    The products of two days' errors, summed over the pairs of a series' fortnight, over what they would be if all
    dispersion were common: least squares through 0, weighted by the variance of the sum, shrunk to the family's.
    """
    known = np.isfinite(actual)
    error = np.where(known, actual - mean, 0.0)
    common = np.where(known, np.sqrt(dispersion) * mean, 0.0)
    linear = np.where(known & (rows.family[rows.series] == "negative_binomial"), mean, 0.0)
    fortnight = (rows.ahead - 1) // COMMON_DAYS
    _, block = np.unique(rows.series * (fortnight.max(initial=0) + 1) + fortnight, return_inverse=True)

    def pairs(values: Real) -> Real:
        products: Real = np.square(np.bincount(block, values)) - np.bincount(block, values**2)
        return products

    found, most = pairs(error), np.maximum(pairs(common), 0.0)  # 0 but for rounding if of one day
    size = np.bincount(block, linear + common**2) + most
    weight = np.divide(most, size**2, out=np.zeros_like(size), where=most > 0.0)
    names, code = np.unique(_classes(rows, mean), return_inverse=True)
    of_block = np.zeros(len(found), dtype=np.intp)
    of_block[block] = code[rows.series]
    top, bottom = (np.bincount(of_block, weight * v, len(names)) for v in (found, most))
    shares = {}
    for family in np.unique(rows.family):
        mine = np.array([name.startswith(f"{family}|") for name in names])
        overall = (top[mine].sum() + COMMON_STRENGTH * USUAL_COMMON) / (bottom[mine].sum() + COMMON_STRENGTH)
        share = np.clip((top[mine] + COMMON_STRENGTH * overall) / (bottom[mine] + COMMON_STRENGTH), 0.0, 1.0)
        shares.update({str(n): round(float(s), 4) for n, s in zip(names[mine], share, strict=True)})
    return shares


def _level(rows: Rows, mean: Real) -> Real:
    size = len(rows.recent)
    level: Real = np.bincount(rows.series, mean, size) / np.maximum(np.bincount(rows.series, minlength=size), 1)
    return level


def _classes(rows: Rows, mean: Real) -> list[str]:
    velocity = np.digitize(_level(rows, mean), VELOCITY)
    return [f"{family}|{v}" for family, v in zip(rows.family, velocity, strict=True)]
