import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from marketday import distributions
from marketday.distributions import QUANTILE_LEVELS

LEVELS = list(QUANTILE_LEVELS.values())
FAMILIES = ["negative_binomial", "gamma"]


@given(
    mean=st.lists(st.floats(0.0, 2000.0), min_size=1, max_size=20),
    dispersion=st.floats(0.0, 20.0),
    family=st.sampled_from(FAMILIES),
)
@settings(max_examples=60, deadline=None)
def test_quantiles_are_finite_never_cross_and_grow_with_the_level(mean, dispersion, family):
    found = distributions.quantile(mean, dispersion, family, LEVELS)
    assert np.isfinite(found).all()
    assert (found >= 0.0).all()
    assert (np.diff(found, axis=1) >= 0.0).all()
    assert (found[np.array(mean) == 0.0] == 0.0).all()


@given(mean=st.floats(0.01, 500.0), dispersion=st.floats(0.001, 10.0))
@settings(max_examples=60, deadline=None)
def test_negative_binomial_quantiles_are_scipys(mean, dispersion):
    expected = stats.nbinom.ppf(LEVELS, 1 / dispersion, 1 / (1 + dispersion * mean))
    assert distributions.quantile(mean, dispersion, "negative_binomial", LEVELS).tolist() == expected.tolist()


@given(mean=st.floats(0.01, 500.0), dispersion=st.floats(0.01, 10.0))
@settings(max_examples=30, deadline=None)
def test_gamma_quantiles_are_scipys(mean, dispersion):
    expected = stats.gamma.ppf(LEVELS, 1 / dispersion, scale=mean * dispersion)
    assert distributions.quantile(mean, dispersion, "gamma", LEVELS) == pytest.approx(expected, rel=1e-9)


def test_without_dispersion_counts_are_poisson():
    mean = np.array([0.1, 1.0, 7.5, 120.0])
    expected = stats.poisson.ppf(LEVELS, mean[:, None])
    assert distributions.quantile(mean, 0.0, "negative_binomial", LEVELS).tolist() == expected.tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cdf_at_a_quantile_reaches_the_level_and_one_unit_below_it_does_not(family):
    mean, dispersion = np.array([0.4, 3.0, 80.0])[:, None], 0.7
    found = distributions.quantile(mean[:, 0], dispersion, family, LEVELS)
    assert (distributions.cdf(found, mean, dispersion, family) >= np.array(LEVELS) - 1e-9).all()
    assert (distributions.cdf(found - 1.0, mean, dispersion, family) < LEVELS).all()


def test_the_cdf_of_no_demand_at_all_is_one_from_zero_on():
    for family in FAMILIES:
        assert distributions.cdf([-1.0, 0.0, 2.0], 0.0, 0.5, family).tolist() == [0.0, 1.0, 1.0]


def test_pinball_loss_weighs_shortfall_by_the_level_and_excess_by_the_rest():
    assert distributions.pinball([10.0, 10.0], [8.0, 13.0], 0.9) == pytest.approx([1.8, 0.3])


def test_the_sum_of_days_has_their_mean_and_variance():
    mean, dispersion = np.array([[2.0, 5.0, 0.0, 1.0]]), np.array([[0.5, 0.3, 1.0, 2.0]])
    for family in FAMILIES:
        total = distributions.total(mean, dispersion)
        assert total.mean == pytest.approx(8.0)
        expected = distributions.variance(mean, dispersion, family).sum()
        assert distributions.variance(total.mean, total.dispersion, family) == pytest.approx(expected)


def test_the_sum_of_no_demand_and_of_next_to_none_has_no_dispersion():
    assert distributions.total([[0.0, 0.0], [1e-200, 1e-200]], 0.5).dispersion.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("family", FAMILIES)
def test_quantiles_of_a_sum_match_a_simulation(family):
    random = np.random.default_rng(1)
    mean, dispersion = np.array([2.0, 5.0, 1.0, 3.0]), np.array([0.5, 0.3, 1.0, 0.8])
    if family == "gamma":
        days = random.gamma(1 / dispersion, mean * dispersion, (200_000, 4))
    else:
        days = random.negative_binomial(1 / dispersion, 1 / (1 + dispersion * mean), (200_000, 4))
    whole = distributions.total(mean, dispersion)
    for level in (0.5, 0.9, 0.95, 0.99):
        stocked = distributions.quantile(whole.mean, whole.dispersion, family, [level])[0]
        assert (days.sum(axis=1) <= stocked).mean() == pytest.approx(level, abs=0.03)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_dispersion_is_found_again_in_simulated_demand(family):
    random = np.random.default_rng(2)
    truth = np.array([0.2, 0.9])
    groups = np.repeat([0, 1], 50_000)
    mean = random.uniform(2.0, 8.0, len(groups))
    spread = truth[groups]
    if family == "gamma":
        actual = random.gamma(1 / spread, mean * spread)
    else:
        actual = random.negative_binomial(1 / spread, 1 / (1 + spread * mean)).astype(float)
    found = distributions.fit_dispersion(actual, mean, groups, family, prior=5.0, strength=10.0)
    assert found == pytest.approx(truth, rel=0.05)


def test_a_group_without_known_demand_has_the_prior_and_few_observations_stay_near_it():
    actual, mean = np.array([np.nan, 40.0, 0.0]), np.array([1.0, 10.0, 10.0])
    found = distributions.fit_dispersion(actual, mean, np.array([0, 1, 1]), "gamma", prior=0.5, strength=98.0)
    assert found[0] == 0.5
    assert found[1] == pytest.approx(0.98 * 0.5 + 0.02 * (900 + 100) / 200)


def test_quantile_columns_are_added_by_each_rows_own_family():
    frame = pl.DataFrame({"mean": [4.0, 4.0], "dispersion": [0.5, 0.5], "family": ["gamma", "negative_binomial"]})
    found = distributions.with_quantiles(frame)
    assert found.columns[3:] == list(QUANTILE_LEVELS)
    for row, family in enumerate(frame["family"]):
        assert list(found.row(row)[3:]) == distributions.quantile(4.0, 0.5, family, LEVELS).tolist()
