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
    zero_share=st.floats(0.0, 0.95),
    family=st.sampled_from(FAMILIES),
)
@settings(max_examples=100, deadline=None)
def test_quantiles_are_finite_never_cross_and_grow_with_the_level(mean, dispersion, zero_share, family):
    found = distributions.quantile(mean, dispersion, family, LEVELS, zero_share)
    assert np.isfinite(found).all()
    assert (found >= 0.0).all()
    assert (np.diff(found, axis=1) >= 0.0).all()
    assert (found[np.array(mean) == 0.0] == 0.0).all()


@given(
    mean=st.floats(0.01, 30.0),
    dispersion=st.floats(0.05, 3.0),
    zero_share=st.floats(0.0, 0.9),
    family=st.sampled_from(FAMILIES),
)
@settings(max_examples=40, deadline=None)
def test_the_mean_and_the_variance_of_the_distribution_are_the_forecasts(mean, dispersion, zero_share, family):
    # For demand of 0 and more, E Y = the integral of 1 - F, and E Y^2 = the integral of 2 y (1 - F); for counts, sums.
    spread = distributions.variance(mean, dispersion, family, zero_share)
    last = mean + 60.0 * np.sqrt(spread) + 60.0
    if family == "gamma":
        width = last * np.linspace(0.0, 1.0, 40_001) ** 3  # fine near 0, where a wide gamma has most of its mass
        demand, step = (width[1:] + width[:-1]) / 2.0, np.diff(width)
        second = 2.0 * demand * step
    else:
        demand = np.arange(np.ceil(last))
        step, second = 1.0, 2.0 * demand + 1.0
    more = 1.0 - distributions.cdf(demand, mean, dispersion, family, zero_share)
    assert (more * step).sum() == pytest.approx(mean, rel=2e-3)
    assert (more * second).sum() - mean**2 == pytest.approx(spread, rel=1e-2)


def test_surplus_zeros_are_found_again_in_a_simulation():
    random = np.random.default_rng(3)
    sells = random.random(400_000) >= 0.4
    drawn = np.where(sells, random.negative_binomial(1 / 0.5, 1 / (1 + 0.5 * 5.0), 400_000), 0)
    for level in (0.3, 0.5, 0.75, 0.975):
        found = distributions.quantile(3.0, 0.5, "negative_binomial", [level], 0.4)[0]
        assert found == np.quantile(drawn, level, method="inverted_cdf")
    for demand in (0, 1, 4, 12):
        assert distributions.cdf(demand, 3.0, 0.5, "negative_binomial", 0.4) == pytest.approx(
            (drawn <= demand).mean(), abs=0.003
        )
    assert distributions.variance(3.0, 0.5, "negative_binomial", 0.4) == pytest.approx(drawn.var(), rel=0.02)


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


def test_quantile_columns_are_added_by_each_rows_own_family():
    frame = pl.DataFrame({"mean": [4.0, 4.0], "dispersion": [0.5, 0.5], "family": ["gamma", "negative_binomial"]})
    found = distributions.with_quantiles(frame)
    assert found.columns[3:] == list(QUANTILE_LEVELS)
    for row, family in enumerate(frame["family"]):
        assert list(found.row(row)[3:]) == distributions.quantile(4.0, 0.5, family, LEVELS).tolist()


def test_quantile_columns_know_each_rows_surplus_zeros():
    frame = pl.DataFrame(
        {"mean": [4.0, 4.0], "dispersion": [0.5, 0.5], "zero_share": [0.0, 0.6], "family": ["negative_binomial"] * 2}
    )
    found = distributions.with_quantiles(frame, ["q500", "q975"])
    assert found["q500"][1] == 0.0 < found["q500"][0]
    assert found["q975"][1] > found["q975"][0]
