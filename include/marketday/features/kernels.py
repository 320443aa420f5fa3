"""Vectorised kernels over dense arrays, series x days, in which NaN means unknown.

A kernel gives, for each series and day, a figure of the days up to and including it. What is unknown is skipped; a day
before the array is unknown; where a window knows nothing, the figure is NaN.

Window sums are built by doubling: of an even width from two halves, of an odd one from a day and the rest. The cost
grows with the logarithm of the width, and a sum depends on nothing outside its window, not even by rounding: the last
days of a long history and those days alone give the same bits.
"""

from functools import reduce

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Index = NDArray[np.intp]
Real = NDArray[np.float64]
Summed = NDArray[np.float64 | np.uint16]


class Windows:
    """Windows of any width over one array; what widths have in common is computed once.

    Sums are in double precision: those of float32 values are then as good as exact. With ``last_only``, figures are
    those of the last day alone, series x 1, to the same bits.
    """

    def __init__(self, values: Array, half_life: float = np.inf, *, last_only: bool = False) -> None:
        known = np.isfinite(values)
        decay = 0.5 ** (1.0 / half_life)
        self._values = values.astype(np.float64)
        np.copyto(self._values, 0.0, where=~known)
        weights = known.astype(np.float64) if decay < 1.0 else known.astype(np.uint16)
        self._last_only = last_only
        self._sums, self._weights = (_Doubling(each, decay, last_only=last_only) for each in (self._values, weights))
        self._squares: _Doubling | None = None

    def sum(self, width: int) -> Real:
        """Return the sum of what is known, NaN where nothing is."""
        return np.where(self._weights.sum(width) > 0, self._sums.sum(width), np.nan)

    def mean(self, width: int) -> Array:
        """Return the mean of what is known."""
        mean = self._sums.sum(width).astype(np.float32)
        with np.errstate(invalid="ignore"):
            mean /= self._weights.sum(width).astype(np.float32)  # 0 / 0 where nothing is known
        return mean

    def std(self, width: int) -> Array:
        """Return the sample standard deviation of what is known, NaN of fewer than two days."""
        if self._squares is None:
            self._squares = _Doubling(self._values * self._values, 1.0, last_only=self._last_only)
        total, count = self._sums.sum(width), self._weights.sum(width).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            squares = total * total
            squares /= count
            np.subtract(self._squares.sum(width), squares, out=squares)
            # Rounding may leave less than nothing of a constant window.
            np.maximum(squares, 0.0, out=squares)
            count -= 1.0
            squares /= count  # 0 / 0 for a single day
            return np.sqrt(squares.astype(np.float32))


class _Doubling:
    """Weighted sums over windows; the weight falls by ``decay`` with each day back."""

    def __init__(self, values: Summed, decay: float, *, last_only: bool) -> None:
        self._decay, self._last_only = decay, last_only
        self._widths = {1: values}

    def sum(self, width: int) -> Summed:
        """Return the sums over ``width`` days."""
        if self._last_only:
            return self._at(width, np.array([self._widths[1].shape[1] - 1]))
        if width not in self._widths:
            near = width // 2 if width % 2 == 0 else width - 1
            self._widths[width] = self._joined(self.sum(near), self.sum(width - near), near)
        return self._widths[width]

    def _at(self, width: int, days: Index) -> Summed:
        """Return the sums that end on some days, added up in the same order as those of all days."""
        if width == 1:
            values = self._widths[1][:, days]
            if (days < 0).any():
                values[:, days < 0] = 0
            return values
        near = width // 2 if width % 2 == 0 else width - 1
        if width % 2 == 0:
            both = self._at(near, np.concatenate([days, days - near]))
            last, before = both[:, : len(days)], both[:, len(days) :]
        else:
            last, before = self._at(near, days), self._at(1, days - near)
        if self._decay < 1.0:
            np.multiply(before, self._decay**near, out=before)
        return np.add(last, before)

    def _joined(self, near: Summed, far: Summed, days: int) -> Summed:
        """Add ``far`` of ``days`` days before to ``near``."""
        days = min(days, near.shape[1])
        joined = np.empty_like(near)
        # As if all series were one, which is several times faster than row by row; then each one's first days anew.
        flat, before = joined.reshape(-1)[days:], far.reshape(-1)[: far.size - days]
        if self._decay < 1.0:
            np.multiply(before, self._decay**days, out=flat)
            before = flat
        np.add(near.reshape(-1)[days:], before, out=flat)
        joined[:, :days] = near[:, :days]
        return joined


def rolling_mean(values: Array, width: int) -> Array:
    """Return the mean over ``width`` days."""
    return Windows(values).mean(width)


def rolling_std(values: Array, width: int) -> Array:
    """Return the sample standard deviation over ``width`` days."""
    return Windows(values).std(width)


def ewm_mean(values: Array, half_life: float, width: int) -> Array:
    """Return the mean over ``width`` days in which a day counts half as much as one ``half_life`` days after it."""
    return Windows(values, half_life).mean(width)


def rolling_max(values: Array, width: int) -> Array:
    """Return the largest value of ``width`` days."""
    highest, size = values, 1
    while size < width:
        step = min(size, width - size)
        highest = np.fmax(highest, lag(highest, step))
        size += step
    return highest


def rolling_min(values: Array, width: int) -> Array:
    """Return the smallest value of ``width`` days."""
    return -rolling_max(-values, width)


def days_since(happened: NDArray[np.bool_], width: int) -> Array:
    """Return the days since it last happened, 0 on the day itself; ``width`` where it did not within as many days."""
    day = np.arange(happened.shape[1])
    last = np.maximum.accumulate(np.where(happened, day, -width), axis=1)
    return np.minimum(day - last, width).astype(np.float32)


def lag(values: Array, days: int) -> Array:
    """Return the values of ``days`` days before, NaN where there are none."""
    shifted = np.full_like(values, np.nan)
    if days < values.shape[1]:
        shifted[:, days:] = values[:, : values.shape[1] - days]
    return shifted


def mean_of_known(*values: Array) -> Array:
    """Return the mean of those arrays' values that are known, place by place."""
    known = reduce(np.add, (np.isfinite(v).astype(np.float64) for v in values))
    total = reduce(np.add, (np.nan_to_num(v).astype(np.float64) for v in values))
    with np.errstate(invalid="ignore"):
        return np.divide(total, known).astype(np.float32)


def relative(values: Array, width: int) -> Array:
    """Return each value over the mean of the ``width`` days before it (NaN if either is unknown)."""
    return values / lag(rolling_mean(values, width), 1)
