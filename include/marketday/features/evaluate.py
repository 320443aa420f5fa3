"""Compute declared features: for all days of a block, for chosen rows, or for one origin alone.

Series are taken some at a time, so that what a kernel makes in between stays in the processor's cache.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketday.errors import StepError, listed
from marketday.features.declare import INPUTS, Compute, Feature, Per, Shared
from marketday.features.grid import Whole
from marketday.features.kernels import Array, Index

CHUNK_CELLS = 64_000
"""Series x days computed at once: 512 kB in double precision, small for a cache and much for one call."""


@dataclass(frozen=True)
class Inputs:
    """What the features of a block may read."""

    arrays: Mapping[tuple[Per, str], NDArray[Any]]
    """By what the rows are and the input's name: rows x days, or rows x 1 where all days are alike."""
    row: Mapping[Per, Whole]
    """Row of each series in the arrays of a group."""
    series: int
    days: int

    def read(self, per: Per, name: str, rows: slice) -> NDArray[Any]:
        """Return an input for some rows of ``per``; that of a group repeated for each of its series.

        Raises:
            StepError: the block has no such input.

        """
        own = INPUTS[name].per
        if (per, name) in self.arrays:
            found = self.arrays[per, name][rows]
        elif own == "day" and ("day", name) in self.arrays:
            found = np.broadcast_to(self.arrays["day", name], (rows.stop - rows.start, self.days))
        elif per == "series" and (own, name) in self.arrays:
            found = self.arrays[own, name][self.row[own][rows]]
        else:
            have = [f"{name} per {per}" for per, name in self.arrays]
            raise StepError(f"There is no {name} per {per} here", hint=f"There are: {listed(have, most=40)}.")
        return found if found.shape[1] == self.days else np.broadcast_to(found, (len(found), self.days))

    def rows(self, per: Per) -> int:
        """Return the number of rows of ``per``."""
        if per == "series":
            return self.series
        return 1 if per == "day" else next(len(array) for (of, _), array in self.arrays.items() if of == per)

    def chunks(self, per: Per) -> list[slice]:
        """Return the rows of ``per``, some at a time."""
        size, rows = max(CHUNK_CELLS // max(self.days, 1), 1), self.rows(per)
        return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


class Rows(NamedTuple):
    """Rows of a matrix by series: each has its series, the column of its target, and the days from origin to target."""

    series: Whole
    target: Index
    ahead: Index


class Values:
    """Features' values for some rows; features that differ only in when they are read share theirs."""

    def __init__(self, inputs: Inputs, rows: slice) -> None:
        self._inputs, self._rows = inputs, rows
        self._made: dict[tuple[Per, Compute], NDArray[Any]] = {}
        self._windows: Shared = {}

    def of(self, feature: Feature) -> NDArray[Any]:
        """Return one feature's values: rows x days."""
        key = (feature.per, feature.compute)
        if key not in self._made:
            self._made[key] = feature.apply(
                lambda name: self._inputs.read(feature.per, name, self._rows), self._windows
            )
        return self._made[key]


def dense(inputs: Inputs, features: Sequence[Feature], ahead: int, groups_ahead: int) -> dict[str, NDArray[Any]]:
    """Return the features of every day as a target, each an array of its own type, series x days.

    ``ahead`` days lie between the origin and its target; ``groups_ahead`` for features across series. Features that
    show the same values on other days, as lags do, are views of one array, and so is what all series have in common.
    """
    made: dict[str, NDArray[Any]] = {}
    for per, group in by_rows(features).items():
        distance = ahead if per == "series" else groups_ahead
        behind = {feature.name: int(feature.behind(distance)) for feature in group}
        shared: dict[Compute, _Shifted] = {}
        for feature in group:
            room = shared.setdefault(feature.compute, _Shifted(np.dtype(feature.dtype)))
            room.before = max(room.before, behind[feature.name])
        for room in shared.values():
            room.open(inputs.rows(per), inputs.days)
        for rows in inputs.chunks(per):
            values = Values(inputs, rows)
            for feature in group:
                shared[feature.compute].fill(rows, values.of(feature))
        for feature in group:
            made[feature.name] = _repeated(shared[feature.compute].at(behind[feature.name]), inputs, per)
    return made


class _Shifted:
    """One function's values with unknown days before the first, so that any lag of them is a view."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype, self.before = dtype, 0
        self._values: NDArray[Any]

    def open(self, rows: int, days: int) -> None:
        self._values = np.empty((rows, self.before + days), self.dtype)
        if self.before:
            self._values[:, : self.before] = np.nan

    def fill(self, rows: slice, values: NDArray[Any]) -> None:
        self._values[rows, self.before :] = values

    def at(self, behind: int) -> NDArray[Any]:
        """Return each day's value of ``behind`` days before."""
        start = self.before - behind
        return self._values[:, start : start + self._values.shape[1] - self.before]


def picked(inputs: Inputs, features: Sequence[Feature], rows: Rows, groups_ahead: int) -> Array:
    """Return the features of chosen rows as a matrix, rows x features, each column contiguous; codes of -1 as NaN.

    ``groups_ahead`` days lie between origin and target for features across series.
    """
    series, target, ahead = rows
    matrix = np.empty((len(features), len(series)), dtype=np.float32)
    column = {feature.name: i for i, feature in enumerate(features)}
    for per, group in by_rows(features).items():
        if per == "series":
            for part in inputs.chunks(per):
                some = slice(*np.searchsorted(series, (part.start, part.stop)))
                values = Values(inputs, part)
                at = Rows(series[some] - part.start, target[some], ahead[some])
                for feature in group:
                    matrix[column[feature.name], some] = _at(values.of(feature), feature, at)
            continue
        of_rows = {f.name: np.empty((inputs.rows(per), inputs.days), dtype=np.float32) for f in group}
        for part in inputs.chunks(per):
            values = Values(inputs, part)
            for feature in group:
                of_rows[feature.name][part] = values.of(feature)
        at = Rows(_rows_of(inputs, per, series), target, np.full_like(target, groups_ahead))
        for feature in group:
            matrix[column[feature.name]] = _at(of_rows[feature.name], feature, at)
    return matrix.T


def latest(features: Sequence[Feature], arrays: Mapping[str, Array], origin: int, ahead: int = 1) -> Array:
    """Return features of each series at one origin, ``ahead`` days before the target: series x features.

    ``arrays`` are inputs by name, series x days, of which column ``origin`` is the last that is looked at. Each feature
    is computed from as many days as it declares, so that a recursive forecast can write its mean of a day into
    ``arrays["demand"]`` and ask for the next one.
    """
    series = len(next(iter(arrays.values())))
    made = np.full((len(features), series), np.nan, dtype=np.float32)
    stops = [origin + ahead + 1 - int(feature.behind(ahead)) for feature in features]
    # By where the windows end: those of features for which one day is enough share what they are made of.
    longest: dict[int, int] = {}
    for feature, stop in zip(features, stops, strict=True):
        if feature.daywise:
            longest[stop] = max(longest.get(stop, 1), feature.lookback)
    size = max(CHUNK_CELLS // max((feature.lookback for feature in features), default=1), 1)
    for first in range(0, series, size):
        rows = slice(first, min(first + size, series))
        shared: dict[int, Shared] = {stop: {} for stop in longest}
        for i, (feature, stop) in enumerate(zip(features, stops, strict=True)):
            if stop > 0:
                lookback = longest[stop] if feature.daywise else feature.lookback
                days = slice(max(stop - lookback, 0), stop)
                read = {name: arrays[name][rows, days] for name in feature.inputs}
                windows = shared[stop] if feature.daywise else {}
                made[i, rows] = feature.apply(read.__getitem__, windows, last_only=True)[:, -1]
    return made.T


def by_rows(features: Sequence[Feature]) -> dict[Per, list[Feature]]:
    """Return the features by what their rows are."""
    kinds: dict[Per, list[Feature]] = {}
    for feature in features:
        kinds.setdefault(feature.per, []).append(feature)
    return kinds


def _at(values: NDArray[Any], feature: Feature, rows: Rows) -> Array:
    """Return the values of rows, of which ``series`` counts in ``values``; what is before the first day is unknown."""
    day = rows.target - feature.behind(rows.ahead)
    found: Array = values[rows.series, np.maximum(day, 0)].astype(np.float32)
    found[day < 0] = np.nan
    if feature.vocabulary:
        found[found < 0] = np.nan
    return found


def _rows_of(inputs: Inputs, per: Per, series: Whole) -> Whole:
    if per == "series":
        return series
    return np.zeros_like(series) if per == "day" else inputs.row[per][series]


def _repeated(values: NDArray[Any], inputs: Inputs, per: Per) -> NDArray[Any]:
    """Return a group's values for each of its series."""
    if per == "series" or (len(values) == inputs.series and np.array_equal(inputs.row[per], np.arange(len(values)))):
        return values
    if len(values) == 1:
        return np.broadcast_to(values, (inputs.series, values.shape[1]))
    return values[inputs.row[per]]
