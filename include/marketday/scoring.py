"""How good predictive distributions were: errors of the mean, and whether the width was right.

Rows are one observation each, with ``actual``, ``mean``, ``dispersion``, ``zero_share`` and ``family``. Where stock ran
out, what was sold is a lower bound: leave such rows out, as a distribution of demand cannot be judged by them.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from marketday.distributions import Array, Family, cdf, pinball

__all__ = ["INTERVALS", "bias", "calibration_table", "coverage", "pinball", "randomised_pit", "wape", "with_pit"]

INTERVALS: dict[str, float] = {"coverage_50": 0.50, "coverage_67": 0.67, "coverage_95": 0.95, "coverage_99": 0.99}
"""Central intervals by the name of their coverage, as in the M5 competition."""


def wape(actual: ArrayLike, mean: ArrayLike) -> float:
    """Return the weighted absolute percentage error, sum |mean - actual| / sum actual; NaN if nothing was sold."""
    a, m = np.asarray(actual, dtype=float), np.asarray(mean, dtype=float)
    return float(np.abs(m - a).sum() / a.sum()) if a.sum() > 0.0 else float("nan")


def bias(actual: ArrayLike, mean: ArrayLike) -> float:
    """Return sum (mean - actual) / sum actual, over 0 if too high; NaN if nothing was sold."""
    a, m = np.asarray(actual, dtype=float), np.asarray(mean, dtype=float)
    return float((m - a).sum() / a.sum()) if a.sum() > 0.0 else float("nan")


def randomised_pit(
    actual: ArrayLike, mean: ArrayLike, dispersion: ArrayLike, family: Family, zero_share: ArrayLike = 0.0
) -> Array:
    """Return F(y-) + v (F(y) - F(y-)) with v uniform on (0, 1): uniform itself if y came from F, for counts too.

    Czado, Gneiting and Held (2009), Predictive model assessment for count data, sec. 2.1. v is drawn by a seed made
    from the values, so that the same rows in the same order have the same transform.
    """
    given = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (actual, mean, dispersion, zero_share)))
    y, m, d, z = (np.ascontiguousarray(values) for values in given)
    high = cdf(y, m, d, family, z)
    below = cdf(y - 1.0, m, d, family, z) if family == "negative_binomial" else np.where(y > 0.0, high, 0.0)
    # A mean of 0 is a point mass at 0 in either family: what lies below an actual of 0 has no probability.
    low = np.where((m == 0.0) & (y > 0.0), 1.0, below)
    seed = hashlib.sha256(y.tobytes() + m.tobytes()).digest()
    drawn: Array = low + np.random.default_rng(np.frombuffer(seed, dtype=np.uint32)).random(y.shape) * (high - low)
    return drawn


def with_pit(rows: pl.DataFrame) -> pl.DataFrame:
    """Add ``pit``, the randomised transform of ``actual`` by each row's own distribution."""
    found = np.zeros(rows.height)
    family = rows["family"].to_numpy()
    for name in rows["family"].unique().sort():
        mine = family == name
        y, m, d, z = (rows[c].to_numpy()[mine] for c in ("actual", "mean", "dispersion", "zero_share"))
        found[mine] = randomised_pit(y, m, d, name, z)
    return rows.with_columns(pl.Series("pit", found))


def coverage(pit: ArrayLike, nominal: ArrayLike) -> Array:
    """Return the share of observations inside the central interval of each ``nominal`` coverage; NaN without any."""
    away = np.sort(np.abs(np.asarray(pit, dtype=float) - 0.5))
    inside = np.searchsorted(away, np.atleast_1d(np.asarray(nominal, dtype=float)) / 2.0, side="right")
    share: Array = inside / len(away) if len(away) else np.full(inside.shape, np.nan)
    return share


def calibration_table(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return per value of the columns ``by``: observations, actual, predicted, bias, wape, pit and the ``INTERVALS``.

    ``actual`` and ``predicted`` are units; ``pit`` is the mean transform, below 0.5 where forecasts are too high. All
    of ``rows`` is one group if ``by`` is empty.
    """
    given = rows if "pit" in rows.columns else with_pit(rows)
    units, error = pl.col("actual").sum(), pl.col("mean") - pl.col("actual")
    away = (pl.col("pit") - 0.5).abs()
    measures = [
        pl.len().alias("observations"),
        units.alias("actual"),
        pl.col("mean").sum().alias("predicted"),
        pl.when(units > 0).then(error.sum() / units).alias("bias"),
        pl.when(units > 0).then(error.abs().sum() / units).alias("wape"),
        pl.col("pit").mean(),
        *((away <= nominal / 2.0).mean().alias(name) for name, nominal in INTERVALS.items()),
    ]
    # Sorted first, so that sums of floats are taken in one order.
    return given.group_by(by, maintain_order=True).agg(measures).sort(by) if by else given.select(measures)
