"""Levels: how much locations and products sell on average, from all blocks' demand.

Pass one reduces each block to totals per product, which are added up; a location lies in one block only.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from marketday.features.kernels import Index, RunningSums
from marketday.features.panel import Panel

LEVEL_WINDOW = 28
"""Days that a level is the mean of."""


class Totals(NamedTuple):
    """Demand and number of known series per product and day: products x days."""

    demand: NDArray[np.float64]
    known: NDArray[np.float64]


class Levels(NamedTuple):
    """Running sums of demand from which a block's levels are read, so far back that every horizon knows them."""

    location: RunningSums
    """Locations of the block x days."""
    product: RunningSums
    """Series of the block x days: each has its product's sums over all locations."""
    horizon: int


def product_totals(panel: Panel, product_ids: Sequence[str]) -> Totals:
    """Pass one: reduce a block to totals per product, in the sorted order of ``product_ids``."""
    return _add_rows(panel, _positions(panel, product_ids), len(product_ids))


def add_up(parts: Sequence[Totals]) -> Totals:
    """Add the totals of all blocks."""
    return Totals(np.sum([p.demand for p in parts], axis=0), np.sum([p.known for p in parts], axis=0))


def block_levels(panel: Panel, totals: Totals, product_ids: Sequence[str], horizon: int) -> Levels:
    """Return the levels of a block; ``totals`` are those of all blocks, in the order of ``product_ids``."""
    own = _add_rows(panel, panel.location, len(panel.location_ids))
    product = _accumulate(totals)
    row = _positions(panel, product_ids)
    return Levels(_accumulate(own), RunningSums(product.sums[row], product.counts[row]), horizon)


def _add_rows(panel: Panel, row: Index, rows: int) -> Totals:
    """Add the series' demand up into ``rows`` rows."""
    member = sparse.csr_array((np.ones(len(row)), (row, np.arange(len(row)))), shape=(rows, len(row)))
    known = np.isfinite(panel.demand)
    return Totals(member @ np.where(known, panel.demand, 0.0), member @ known.astype(float))


def _accumulate(totals: Totals) -> RunningSums:
    edge = ((0, 0), (1, 0))
    counts = np.cumsum(totals.known, axis=1).astype(np.int32)
    return RunningSums(np.pad(np.cumsum(totals.demand, axis=1), edge), np.pad(counts, edge))


def _positions(panel: Panel, product_ids: Sequence[str]) -> Index:
    return np.searchsorted(np.array(product_ids), panel.series["product_id"].to_numpy().astype(str))
