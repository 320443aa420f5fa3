"""Each kernel against a slow, obvious loop."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from marketday.features import kernels
from marketday.features.history import HISTORY_COLUMNS, SAME_WEEKDAY, WINDOWS, own_history

PANELS = stn.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 40)),
    elements=st.one_of(st.just(np.nan), st.integers(0, 50).map(float)),
)


def slow_mean(values):
    known = [v for v in values if np.isfinite(v)]
    return np.mean(known) if known else np.nan


@given(values=PANELS, width=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_rolling_mean_is_the_mean_of_what_is_known_in_the_window(values, width):
    slow = [[slow_mean(row[max(d + 1 - width, 0) : d + 1]) for d in range(len(row))] for row in values]
    np.testing.assert_allclose(kernels.rolling_mean(values, width), slow, rtol=1e-5)


@given(values=PANELS, days=st.integers(1, 45))
@settings(max_examples=40, deadline=None)
def test_lag_is_the_value_of_days_before(values, days):
    slow = [[row[d - days] if d >= days else np.nan for d in range(len(row))] for row in values]
    np.testing.assert_array_equal(kernels.lag(values, days), np.array(slow, dtype=np.float32))


@given(values=PANELS)
@settings(max_examples=40, deadline=None)
def test_forward_fill_carries_the_last_known_value_on(values):
    slow = values.copy()
    for row in slow:
        for d in range(1, len(row)):
            row[d] = row[d] if np.isfinite(row[d]) else row[d - 1]
    np.testing.assert_array_equal(kernels.forward_fill(values), slow)


def test_relative_is_the_value_over_the_mean_of_the_days_before():
    prices = np.array([[2.0, 4.0, 3.0, np.nan, 6.0]], dtype=np.float32)
    np.testing.assert_allclose(kernels.relative(prices, 2), [[np.nan, 2.0, 1.0, np.nan, 2.0]])


def test_a_day_outside_the_array_is_unknown():
    values = np.array([[1.0, 2.0]], dtype=np.float32)
    zero = np.zeros(4, dtype=np.intp)
    np.testing.assert_array_equal(kernels.at(values, zero, np.array([-1, 0, 1, 2])), [np.nan, 1.0, 2.0, np.nan])


@given(values=PANELS, data=st.data())
@settings(max_examples=40, deadline=None)
def test_own_history_is_what_a_loop_finds_up_to_the_origin(values, data):
    series = data.draw(st.integers(0, len(values) - 1))
    origin = data.draw(st.integers(0, values.shape[1] - 1))
    target = origin + data.draw(st.integers(1, 30))
    found = own_history(values, np.array([series]), np.array([origin]), np.array([target]))
    row = dict(enumerate(values[series, : origin + 1]))
    same = [d for d in range(origin, -200, -1) if (target - d) % 7 == 0]
    weekdays = [row.get(same[k - 1], np.nan) for k in SAME_WEEKDAY]
    slow = [*weekdays, slow_mean(weekdays)]
    slow += [slow_mean([row.get(origin - back - d, np.nan) for d in range(width)]) for width, back in WINDOWS]
    np.testing.assert_allclose([found[name][0] for name in HISTORY_COLUMNS], slow, rtol=1e-5)


def test_own_history_does_not_look_behind_the_origin():
    values = np.arange(60, dtype=np.float32)[None, :]
    later = values.copy()
    later[:, 41:] = 999.0
    rows = (np.zeros(1, dtype=np.intp), np.array([40]), np.array([50]))
    for name, column in own_history(values, *rows).items():
        assert column[0] == own_history(later, *rows)[name][0], name
