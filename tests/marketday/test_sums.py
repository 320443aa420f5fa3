"""What the sum of days promises: mean and variance of dependent days, and quantiles that a simulation confirms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketday import distributions, sums

FAMILIES = ["negative_binomial", "gamma"]
MEAN, DISPERSION = np.array([2.0, 5.0, 1.0, 3.0, 4.0, 2.5, 6.0]), np.array([0.5, 0.3, 1.0, 0.8, 0.4, 0.6, 0.35])
DRAWS = 200_000


def simulated_sums(family: str, common: float) -> np.ndarray:
    """Draw sums of days whose mean is multiplied by one gamma level; each day's own dispersion stays what it is."""
    random = np.random.default_rng(1)
    level = random.gamma(1 / common, common, (DRAWS, 1)) if common else np.ones((DRAWS, 1))
    own = (DISPERSION - common) / (1 + common)
    mean = MEAN * level
    if family == "gamma":
        return random.gamma(1 / own, mean * own).sum(axis=1)
    return random.negative_binomial(1 / own, 1 / (1 + own * mean)).sum(axis=1)


@pytest.mark.parametrize("common", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("family", FAMILIES)
def test_quantiles_of_a_sum_match_a_simulation_of_days_that_share_a_level(family, common):
    drawn = simulated_sums(family, common)
    whole = sums.total(MEAN, DISPERSION, common_dispersion=common)
    for level in (0.5, 0.75, 0.9, 0.95, 0.99):
        stocked = distributions.quantile(whole.mean, whole.dispersion, family, [level])[0]
        assert (drawn <= stocked).mean() > level - 0.015
        assert (drawn < stocked).mean() < level + 0.015


@pytest.mark.parametrize("family", FAMILIES)
def test_days_taken_as_independent_run_out_more_often_than_asked_for(family):
    drawn = simulated_sums(family, 0.25)
    whole = sums.total(MEAN, DISPERSION)
    assert (drawn <= distributions.quantile(whole.mean, whole.dispersion, family, [0.95])[0]).mean() < 0.88


@pytest.mark.parametrize("family", FAMILIES)
def test_the_sum_of_independent_days_has_their_mean_and_variance_surplus_zeros_included(family):
    zeros = np.array([0.0, 0.2, 0.5, 0.0, 0.1, 0.3, 0.0])
    whole = sums.total(MEAN, DISPERSION, zeros)
    assert whole.mean == pytest.approx(MEAN.sum())
    expected = distributions.variance(MEAN, DISPERSION, family, zeros).sum()
    assert distributions.variance(whole.mean, whole.dispersion, family) == pytest.approx(expected)


def slow_variance(mean: list[float], dispersion: list[float], common: list[float]) -> float:
    """Add up the matrix of covariances, one pair of days at a time."""
    found = 0.0
    for i, m in enumerate(mean):
        for j, other in enumerate(mean):
            c = min(common[i], dispersion[i]) * min(common[j], dispersion[j])
            found += m + dispersion[i] * m * m if i == j else np.sqrt(c) * m * other
    return found


days = st.lists(st.tuples(st.floats(0.01, 50.0), st.floats(0.0, 3.0), st.floats(0.0, 3.0)), min_size=1, max_size=6)


@given(days)
def test_its_variance_is_the_sum_of_all_covariances(each):
    mean, dispersion, common = (list(values) for values in zip(*each, strict=True))
    whole = sums.total(mean, dispersion, common_dispersion=common)
    found = distributions.variance(whole.mean, whole.dispersion, "negative_binomial")
    assert found == pytest.approx(slow_variance(mean, dispersion, common))


@given(days)
def test_a_common_level_never_makes_the_sum_narrower_and_wholly_common_days_add_up_like_one(each):
    mean, dispersion, common = (np.array(values) for values in zip(*each, strict=True))
    apart, together = sums.total(mean, dispersion), sums.total(mean, dispersion, common_dispersion=common)
    assert together.dispersion >= apart.dispersion * (1 - 1e-9)
    whole = sums.total(mean, 0.7, common_dispersion=5.0)
    assert whole.dispersion == pytest.approx(0.7)


def test_the_sum_of_no_demand_and_of_next_to_none_has_no_dispersion():
    assert sums.total([[0.0, 0.0], [1e-200, 1e-200]], 0.5).dispersion.tolist() == [0.0, 0.0]
