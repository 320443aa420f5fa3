"""The base of the trees: a combination of recent means, against scipy and what must hold of any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from scipy import optimize

from marketday.models.base import FLOOR, Base

MEANS = ("short", "long")
COLUMNS = ("weekday", *MEANS)
NAN = np.nan


def table(short, long):
    """Return rows x COLUMNS."""
    return np.stack([np.ones(len(short)), short, long], axis=1).astype(np.float32)


def fit(matrix, demand, weight=None):
    weight = np.ones(len(demand)) if weight is None else weight
    return Base.fit(MEANS, matrix, COLUMNS, np.asarray(demand, np.float32), np.asarray(weight, np.float32))


@pytest.fixture
def levels():
    return np.random.default_rng(3).gamma(2.0, 3.0, size=(2, 400)).astype(np.float32)


@pytest.mark.parametrize("known", [(0.3, 0.6), (1.0, 0.0), (0.0, 0.9)])
def test_known_weights_are_recovered(levels, known):
    found = fit(table(*levels), known[0] * levels[0] + known[1] * levels[1])
    assert list(found.weights) == list(MEANS)
    assert list(found.weights.values()) == pytest.approx(known, abs=2e-4)


def test_the_weights_are_those_of_weighted_non_negative_least_squares(levels):
    random = np.random.default_rng(4)
    demand, weight = random.poisson(levels[0] * 0.4 + 1.0), random.uniform(0.01, 1.0, levels.shape[1])
    root = np.sqrt(weight / (levels.mean(axis=0) + FLOOR))
    slow, _ = optimize.nnls(levels.T * root[:, None], demand * root)
    assert list(fit(table(*levels), demand, weight).weights.values()) == pytest.approx(slow, abs=2e-4)


@settings(deadline=None)
@given(
    stn.arrays(np.float32, (20, 2), elements=st.one_of(st.floats(0, 1000, width=32), st.just(NAN))),
    stn.arrays(np.float32, 20, elements=st.floats(0, 1000, width=32)),
)
def test_whatever_is_given_weights_are_not_negative_and_bases_not_below_the_floor(means, demand):
    matrix = table(*means.T)
    found = fit(matrix, demand)
    assert min(found.weights.values()) >= 0.0
    log = found.log(matrix, COLUMNS)
    assert np.isfinite(log).all()
    assert (log >= np.log(FLOOR)).all()


def test_a_day_that_weighs_little_says_little(levels):
    demand = 0.5 * levels[0] + 0.5 * levels[1]
    weight = np.ones(len(demand))
    demand[::4], weight[::4] = 0.0, 1e-6
    assert list(fit(table(*levels), demand, weight).weights.values()) == pytest.approx((0.5, 0.5), abs=1e-3)


def test_where_no_row_has_all_means_they_weigh_alike():
    found = fit(table([1.0, NAN, 3.0], [NAN, 2.0, NAN]), [1.0, 2.0, 3.0])
    assert found.weights == {"short": 0.5, "long": 0.5}


def test_the_weight_of_what_is_unknown_goes_to_the_rest():
    base = Base({"short": 0.6, "long": 0.2})
    found = np.exp(base.log(table([5.0, 5.0, NAN, NAN], [2.0, NAN, 2.0, NAN]), COLUMNS))
    assert found == pytest.approx([3.4, 4.0, 1.6, FLOOR])


def test_a_mean_that_weighs_nothing_stands_in_where_it_is_the_only_one():
    base = Base({"short": 0.9, "long": 0.0})
    found = np.exp(base.log(table([5.0, NAN], [2.0, 2.0]), COLUMNS))
    assert found == pytest.approx([4.5, 1.8]), "and not the floor: the series has sold"


def test_a_series_that_sells_nothing_has_the_floor():
    assert np.exp(Base({"short": 1.0, "long": 0.0}).log(table([0.0], [0.0]), COLUMNS)) == pytest.approx([FLOOR])
