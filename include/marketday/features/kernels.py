"""Vectorised kernels over dense arrays, series x days, in which NaN means unknown.

A window's mean is the mean of what is known in it, and NaN if nothing is. All windows come from two running sums (of
values and of counts), so that the cost does not depend on their width.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Index = NDArray[np.intp]


class RunningSums(NamedTuple):
    """Sums and counts of the known values of all days before each day: series x (days + 1)."""

    sums: NDArray[np.float64]
    counts: NDArray[np.int32]


def running_sums(values: Array) -> RunningSums:
    """Return the running sums of ``values``; in double precision, so that differences of them are exact enough."""
    known = np.isfinite(values)
    edge = ((0, 0), (1, 0))
    sums = np.cumsum(np.where(known, values, 0.0), axis=1, dtype=np.float64)
    return RunningSums(np.pad(sums, edge), np.pad(np.cumsum(known, axis=1, dtype=np.int32), edge))


def window_mean(running: RunningSums, series: Index, last: Index, width: int) -> Array:
    """Return the mean of ``width`` days up to and including day ``last``, one for each (series, last) pair.

    Days outside the array are unknown.
    """
    days = running.sums.shape[1] - 1
    stop = np.clip(last + 1, 0, days)
    start = np.clip(last + 1 - width, 0, days)
    count = running.counts[series, stop] - running.counts[series, start]
    total = running.sums[series, stop] - running.sums[series, start]
    return _ratio(total, count)


def rolling_mean(values: Array, width: int) -> Array:
    """Return, for each series and day, the mean of the ``width`` days up to and including it."""
    series, last = np.ogrid[: values.shape[0], : values.shape[1]]
    return window_mean(running_sums(values), series, last, width)


def mean_of_known(values: Array) -> Array:
    """Return the mean over the first axis of what is known."""
    known = np.isfinite(values)
    count = known.sum(axis=0, dtype=np.int32)
    total = np.where(known, values, 0.0).sum(axis=0, dtype=np.float64)
    return _ratio(total, count)


def lag(values: Array, days: int) -> Array:
    """Return the values of ``days`` days before, NaN where there are none."""
    shifted = np.full_like(values, np.nan)
    if days < values.shape[1]:
        shifted[:, days:] = values[:, : values.shape[1] - days]
    return shifted


def at(values: Array, series: Index, day: Index) -> Array:
    """Return the value of each (series, day) pair, NaN where the day lies outside the array."""
    inside = (day >= 0) & (day < values.shape[1])
    return np.where(inside, values[series, np.where(inside, day, 0)], np.nan).astype(np.float32)


def forward_fill(values: Array) -> Array:
    """Carry each known value on to the days after it, until the next one."""
    day = np.where(np.isfinite(values), np.arange(values.shape[1]), 0)
    return np.take_along_axis(values, np.maximum.accumulate(day, axis=1), axis=1)


def relative(values: Array, width: int) -> Array:
    """Return each value over the mean of the ``width`` days before it (NaN if either is unknown)."""
    return values / lag(rolling_mean(values, width), 1)


def _ratio(total: NDArray[np.float64], count: NDArray[np.int32]) -> Array:
    mean = np.full(total.shape, np.nan, dtype=np.float32)
    np.divide(total, count, out=mean, where=count > 0, casting="same_kind")
    return mean
