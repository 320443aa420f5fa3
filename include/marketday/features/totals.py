"""What groups of series sell together: within a block, and of products over all blocks.

Pass one reduces each block to totals per product. They are added up in the order of the blocks, whoever computed them,
so that the sums are the same to the last bit on any number of workers. Categories and departments are sums of those.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marketday.features.grid import Whole
from marketday.features.kernels import Array, Index, Real


class Totals(NamedTuple):
    """Demand and number of known series per group and day."""

    row: Index
    """The groups' positions among all groups of their kind, ascending."""
    demand: Real
    known: NDArray[np.int32]

    def of(self, rows: Index) -> "Totals":
        """Return those of some groups, given by ascending positions that are among these."""
        at = np.searchsorted(self.row, rows)
        return Totals(rows, self.demand[at], self.known[at])


def by_location(demand: Array, location: Index, locations: int) -> Totals:
    """Add the series of each location up; ``location`` ascends."""
    total = np.zeros((locations, demand.shape[1]))
    known = np.zeros(total.shape, dtype=np.int32)
    for place, rows in _runs(location):
        finite = np.isfinite(demand[rows])
        np.sum(demand[rows], axis=0, dtype=np.float64, where=finite, out=total[place])
        np.sum(finite, axis=0, dtype=np.int32, out=known[place])
    return Totals(np.arange(locations), total, known)


def by_product(demand: Array, location: Index, product: Index) -> Totals:
    """Pass one: add the block's series of each product up; ``location`` ascends, and ``product`` within it."""
    row = np.unique(product)
    parts = []
    for _, rows in _runs(location):
        finite = np.isfinite(demand[rows])
        units = demand[rows].astype(np.float64)
        np.copyto(units, 0.0, where=~finite)
        parts.append(Totals(product[rows], units, finite.astype(np.int32)))
    return parts[0] if len(parts) == 1 else _sum(parts, row, demand.shape[1])


def add(parts: Sequence[Totals]) -> Totals:
    """Add some blocks' totals, in their order."""
    return _sum(parts, reduce(np.union1d, [part.row for part in parts]), parts[0].demand.shape[1])


def by_group(products: Totals, group: Whole, groups: int) -> Totals:
    """Add the products of each group up; ``group`` has one position per row of ``products``."""
    total = np.zeros((groups, products.demand.shape[1]))
    known = np.zeros(total.shape, dtype=np.int32)
    # One product after the other, so that the order of the sum is theirs.
    np.add.at(total, group, products.demand)
    np.add.at(known, group, products.known)
    return Totals(np.arange(groups), total, known)


def _sum(parts: Sequence[Totals], row: Index, days: int) -> Totals:
    """Add parts up, in their order."""
    total = np.zeros((len(row), days))
    known = np.zeros(total.shape, dtype=np.int32)
    for part in parts:
        # A part that has all rows is added where it stands, several times faster than row by row.
        at = ... if len(part.row) == len(row) else np.searchsorted(row, part.row)
        total[at] += part.demand
        known[at] += part.known
    return Totals(row, total, known)


def _runs(location: Index) -> list[tuple[int, slice]]:
    """Return each location's position and its rows."""
    starts = np.flatnonzero(np.diff(location, prepend=-1))
    edges = np.append(starts, len(location))
    return [(int(location[a]), slice(a, b)) for a, b in pairwise(edges)]
