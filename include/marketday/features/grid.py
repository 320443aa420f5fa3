"""From long rows to dense arrays: each value at its series and day.

Rows may come in any order. Those of a table are sorted by location, product and day, mostly, so that their names are
coded by runs: one look-up for all neighbouring rows of a name.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from marketday.features.kernels import Array, Index

UNKNOWN = -1
Codes = NDArray[np.int32]
Whole = NDArray[np.integer[Any]]


class Axis(NamedTuple):
    """The days of dense arrays: ``days`` from ``first`` on."""

    first: dt.date
    days: int

    def columns(self, day: pl.Series) -> Codes:
        """Return the column of each day; outside of 0 … days - 1 if it is not on the axis."""
        return day.to_physical().to_numpy() - np.int32((self.first - dt.date(1970, 1, 1)).days)


def codes(names: pl.Series, known: Sequence[str]) -> Codes:
    """Return each name's position in ``known``, UNKNOWN if it is not there."""
    runs = names.rle().struct.unnest()
    found = runs["value"].cast(pl.Enum(known), strict=False).to_physical().cast(pl.Int32).fill_null(UNKNOWN)
    return np.repeat(found.to_numpy(), runs["len"].to_numpy())


class Pairs:
    """Rows of dense arrays: pairs of a location and a product, by their positions, sorted."""

    def __init__(self, present: Whole, products: int) -> None:
        """Take the pairs from their keys, location x ``products`` + product, in any order and repeated."""
        seen = np.zeros(int(present.max(initial=-1)) + 1, dtype=bool)
        seen[present] = True
        self.keys: Index = np.flatnonzero(seen)
        self.location, self.product = np.divmod(self.keys, max(products, 1))

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, keys: Whole) -> Codes:
        """Return the row of each key, UNKNOWN for a pair that is not among these."""
        # One place more than there are keys: it is what UNKNOWN, the last one by its number, reads.
        row = np.full(max(self.keys.max(initial=0), keys.max(initial=0)) + 2, UNKNOWN, dtype=np.int32)
        row[self.keys] = np.arange(len(self.keys))
        return row[keys]


def scatter(rows: Whole, columns: Whole, values: NDArray[Any], shape: tuple[int, int]) -> Array:
    """Place each value at its row and column; the last one wins. Rows that are UNKNOWN are left out."""
    dense = np.full(shape, np.nan, dtype=np.float32)
    at, values = places(rows, columns, values, shape)
    dense.reshape(-1)[at] = values
    return dense


def places(rows: Whole, columns: Whole, values: NDArray[Any], shape: tuple[int, int]) -> tuple[Index, NDArray[Any]]:
    """Return the flat positions of the rows that are known, and their values."""
    at = np.multiply(rows, shape[1], dtype=np.intp)
    at += columns
    known = rows >= 0
    return (at, values) if known.all() else (at[known], values[known])


def forward_fill(values: Array) -> Array:
    """Carry each known value on to the days after it, until the next one."""
    filled = np.array(values, order="C")
    flat, days = filled.reshape(-1), max(filled.shape[1], 1)
    unknown = np.flatnonzero(~np.isfinite(flat))
    # Runs of unknown days; those from a row's first day on have nothing before them.
    opening = unknown % days == 0
    starts = np.flatnonzero((np.diff(unknown, prepend=-2) != 1) | opening)
    before = np.where(opening[starts], np.float32(np.nan), flat[unknown[starts] - 1])
    flat[unknown] = np.repeat(before, np.diff(starts, append=len(unknown)))
    return filled
