"""Each kernel against a slow, obvious version: pandas on random panels with unequal starts, gaps and closed days."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from marketday.features import kernels
from marketday.features.grid import forward_fill

COUNTS = st.integers(0, 50).map(float)
GRAMS = st.integers(-10_000_000, 10_000_000).map(lambda grams: float(np.float32(grams / 1000)))
"""Weights in kilograms, as scales give them; returns are negative."""


@st.composite
def panels(draw):
    """Series x days: counts or real numbers, gaps, late starts, closed days, down to a single day."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 40)))
    numbers = draw(st.sampled_from([COUNTS, GRAMS]))
    values = draw(stn.arrays(np.float32, shape, elements=st.one_of(st.just(np.nan), numbers, st.just(0.0))))
    for row in values:
        row[: draw(st.integers(0, shape[1]))] = np.nan if draw(st.booleans()) else 0.0
    if draw(st.booleans()):
        values[:, draw(st.integers(0, shape[1] - 1))] = 0.0
    return values


def by_series(values, compute):
    """Apply a pandas computation to each series."""
    return np.stack([compute(pd.Series(row.astype(float))).to_numpy(float) for row in values])


def alike(found, slow, values):
    """Compare to 1e-5 of the values, or of the largest of them where sums cancel."""
    size = float(np.nanmax(np.abs(values), initial=0.0))
    np.testing.assert_allclose(found, slow, rtol=1e-5, atol=1e-6 * size)
    assert found.dtype == np.float32


@given(values=panels(), width=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_rolling_mean_is_that_of_pandas(values, width):
    slow = by_series(values, lambda s: s.rolling(width, min_periods=1).mean())
    alike(kernels.rolling_mean(values, width), slow, values)


@given(values=panels(), width=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_rolling_std_is_that_of_the_sample(values, width):
    # Window by window, since the running sums of pandas leave up to 1e-3 of large numbers in constant windows.
    slow = by_series(values, lambda s: pd.Series([s[max(d + 1 - width, 0) : d + 1].std() for d in range(len(s))]))
    alike(kernels.rolling_std(values, width), slow, values)


@given(values=panels(), width=st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_rolling_extremes_are_those_of_pandas(values, width):
    highest = by_series(values, lambda s: s.rolling(width, min_periods=1).max())
    lowest = by_series(values, lambda s: s.rolling(width, min_periods=1).min())
    np.testing.assert_array_equal(kernels.rolling_max(values, width), highest.astype(np.float32))
    np.testing.assert_array_equal(kernels.rolling_min(values, width), lowest.astype(np.float32))


@given(values=panels(), half_life=st.floats(0.5, 30.0))
@settings(max_examples=40, deadline=None)
def test_a_window_over_all_days_is_the_weighted_mean_of_pandas(values, half_life):
    width = values.shape[1]
    slow = by_series(values, lambda s: s.ewm(halflife=half_life, adjust=True, ignore_na=False).mean())
    # pandas goes on with the last mean where a day is unknown; so does the kernel, since weights only scale.
    alike(kernels.ewm_mean(values, half_life, width), slow, values)


@given(values=panels(), width=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_days_since_counts_from_the_last_time_and_stops_at_the_width(values, width):
    sold = np.nan_to_num(values) > 0
    slow = [[next((b for b in range(min(d + 1, width)) if row[d - b]), width) for d in range(len(row))] for row in sold]
    np.testing.assert_array_equal(kernels.days_since(sold, width), slow)


@given(values=panels(), days=st.integers(0, 45))
@settings(max_examples=40, deadline=None)
def test_lag_is_the_value_of_days_before(values, days):
    slow = by_series(values, lambda s: s.shift(days)).astype(np.float32)
    np.testing.assert_array_equal(kernels.lag(values, days), slow)


@given(values=panels())
@settings(max_examples=40, deadline=None)
def test_forward_fill_carries_the_last_known_value_on(values):
    np.testing.assert_array_equal(forward_fill(values), by_series(values, pd.Series.ffill).astype(np.float32))


@given(values=panels())
@settings(max_examples=40, deadline=None)
def test_mean_of_known_skips_what_is_unknown(values):
    found = kernels.mean_of_known(*values)
    alike(found, pd.DataFrame(values.astype(float)).mean().to_numpy(), values)


def test_relative_is_the_value_over_the_mean_of_the_days_before():
    prices = np.array([[2.0, 4.0, 3.0, np.nan, 6.0]], dtype=np.float32)
    np.testing.assert_allclose(kernels.relative(prices, 2), [[np.nan, 2.0, 1.0, np.nan, 2.0]])


@pytest.mark.parametrize("width", [1, 7, 28, 91, 364])
def test_a_window_gives_the_same_bits_from_a_long_history_and_from_its_own_days(width):
    random = np.random.default_rng(3)
    values = (random.gamma(0.5, 1000.0, size=(5, 800)) + 0.1).astype(np.float32)
    values[random.random(values.shape) < 0.2] = np.nan
    values[:, 10] = 1e9  # would spoil running totals for good
    for kernel in (kernels.rolling_mean, kernels.rolling_std):
        part = kernel(values[:, -width:], width)
        np.testing.assert_array_equal(part[:, -1], kernel(values, width)[:, -1])


def test_a_large_level_does_not_hide_a_small_spread():
    values = (1000.0 + np.tile([0.0, 1.0], 50))[None, :].astype(np.float32)
    assert kernels.rolling_std(values, 28)[0, -1] == pytest.approx(np.std(values[0, -28:], ddof=1), rel=1e-5)
