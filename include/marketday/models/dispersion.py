"""How widely demand spreads around a forecast mean: per series, from its own recent demand.

The dispersion of a series' recent demand around its own average is shrunk towards that of its group (department and
velocity, from held-out forecasts) and scaled so that it fits held-out forecasts in sum: a good model explains part of
the spread. It needs nothing per series in the model, so that new series have one too.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from marketday.distributions import Family, fit_dispersion
from marketday.features.kernels import Array
from marketday.models.rows import Rows

Real = NDArray[np.float64]

VELOCITY = (0.3, 1.0, 3.0, 10.0)
"""Bounds of the velocity classes, in mean units per day."""
GROUP_STRENGTH = 500.0
"""Observations at which a group counts as much as its family: some 18 series over 28 days."""
SERIES_STRENGTH = 28.0
"""Known days at which a series counts as much as its group; 14 to 56 score alike on M5."""
UNFITTED = 0.5
"""Where nothing is known: about the middle of what grocery series show."""


@dataclass(frozen=True)
class Dispersion:
    """Fitted dispersion: by family, by group (``family|department|velocity``), and the scale of a series' own."""

    family: dict[str, float]
    group: dict[str, float]
    scale: dict[str, float]

    @classmethod
    def fit(cls, rows: Rows, mean: Real, actual: Real) -> "Dispersion":
        """Fit on held-out forecasts: one mean and one actual (NaN where unknown) per sorted row."""
        level = _level(rows, mean)
        keys = np.array(_groups(rows, level))
        fitted = cls({}, {}, {})
        for family in np.unique(rows.family):
            mine = rows.family == family
            inside = mine[rows.series] & np.isfinite(actual)
            if not inside.any():
                continue
            names, code = np.unique(keys[rows.series[inside]], return_inverse=True)
            a, m = actual[inside], mean[inside]
            overall = fit_dispersion(a, m, np.zeros_like(code), family, prior=UNFITTED, strength=0.0)
            groups = fit_dispersion(a, m, code, family, prior=overall[0], strength=GROUP_STRENGTH)
            fitted.family[family] = round(float(overall[0]), 6)
            fitted.group.update({str(n): round(float(g), 6) for n, g in zip(names, groups, strict=True)})
            own = fitted._own(rows, keys)[rows.series[inside]]
            left = float(overall[0] * (m**2).sum() / max((m**2 * own).sum(), np.finfo(float).tiny))
            fitted.scale[family] = round(left, 6)
        return fitted

    def predict(self, rows: Rows, mean: Real) -> Real:
        """Return the dispersion of each series, given one mean per sorted row."""
        keys = np.array(_groups(rows, _level(rows, mean)))
        scale = np.array([self.scale.get(family, 1.0) for family in rows.family])
        return scale * self._own(rows, keys)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Return the figures as JSON-ready data."""
        return asdict(self)

    def _own(self, rows: Rows, keys: NDArray[np.str_]) -> Real:
        overall = [self.family.get(family, UNFITTED) for family in rows.family]
        prior = np.array([self.group.get(key, default) for key, default in zip(keys, overall, strict=True)])
        own = prior.copy()
        for family in np.unique(rows.family):
            mine = rows.family == family
            own[mine] = spread(rows.recent[mine], family, prior[mine])
        return own


def spread(recent: Array, family: Family, prior: Real) -> Real:
    """Return the dispersion of each series' recent demand (series x days) around its own mean, shrunk to ``prior``."""
    known = np.isfinite(recent)
    count = known.sum(axis=1)
    average = np.where(known, recent, 0.0).sum(axis=1, dtype=float) / np.maximum(count, 1)
    series = np.repeat(np.arange(len(recent)), recent.shape[1])
    return fit_dispersion(
        recent.ravel().astype(float), average[series], series, family, prior=prior, strength=SERIES_STRENGTH
    )


def _level(rows: Rows, mean: Real) -> Real:
    size = len(rows.recent)
    return np.bincount(rows.series, mean, size) / np.maximum(np.bincount(rows.series, minlength=size), 1)


def _groups(rows: Rows, level: Real) -> list[str]:
    department = rows.first_rows()["department"].to_list()
    velocity = np.digitize(level, VELOCITY)
    return [f"{f}|{d}|{v}" for f, d, v in zip(rows.family, department, velocity, strict=True)]
