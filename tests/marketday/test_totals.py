"""Totals of groups against pandas, and that blocks change nothing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketday.features.totals import Totals, add, by_group, by_location, by_product

PLACES, PRODUCTS, DAYS = 5, 7, 12


def shop(seed, unit=1.0):
    """Return demand with gaps and the location and product of each series; not every place sells every product."""
    random = np.random.default_rng(seed)
    location, product = np.nonzero(random.random((PLACES, PRODUCTS)) < 0.6)
    demand = (random.poisson(3.0, size=(len(location), DAYS)) * unit).astype(np.float32)
    demand[random.random(demand.shape) < 0.3] = np.nan
    return demand, location, product


def in_pandas(demand, group):
    by = pd.DataFrame(demand.astype(float)).groupby(group)
    return by.sum().to_numpy(), by.count().to_numpy()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_totals_are_those_of_pandas(seed):
    demand, location, product = shop(seed)
    for found, group in (
        (by_location(demand, location, PLACES).of(np.unique(location)), location),
        (by_product(demand, location, product), product),
    ):
        total, known = in_pandas(demand, group)
        np.testing.assert_array_equal(found.row, np.unique(group))
        np.testing.assert_array_equal(found.demand, total)
        np.testing.assert_array_equal(found.known, known)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_category_is_the_sum_of_its_products(seed):
    demand, location, product = shop(seed)
    products = by_product(demand, location, product)
    category = np.arange(PRODUCTS) % 3
    found = by_group(products, category[products.row], 3)
    total, known = in_pandas(demand, category[product])
    rows = np.unique(category[product])
    np.testing.assert_array_equal(found.demand[rows], total)
    np.testing.assert_array_equal(found.known[rows], known)


@given(seed=st.integers(0, 10_000), cut=st.integers(0, PLACES))
@settings(max_examples=30, deadline=None)
def test_blocks_add_up_to_the_whole(seed, cut):
    demand, location, product = shop(seed)
    parts = [by_product(demand[some], location[some], product[some]) for some in (location < cut, location >= cut)]
    both, whole = add(parts), by_product(demand, location, product)
    for found, expected in zip(both, whole, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_order_of_blocks_and_not_of_arrival_decides_about_rounding():
    parts = [
        Totals(np.array([0]), np.array([[value]]), np.array([[1]], dtype=np.int32)) for value in (0.1, 1e16, -1e16)
    ]
    assert add(parts).demand == (0.1 + 1e16) - 1e16
    assert add(parts).known.tolist() == [[3]]


@pytest.mark.parametrize("rows", [0, 1])
def test_a_block_of_few_series_has_totals_too(rows):
    nothing = np.zeros(rows, dtype=np.intp)
    found = by_product(np.ones((rows, DAYS), dtype=np.float32), nothing, nothing)
    assert found.demand.shape == (rows, DAYS)
