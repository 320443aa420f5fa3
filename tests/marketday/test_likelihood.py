"""What the fit of dispersion and surplus zeros promises: the true coefficients, and right slopes on the way to them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from marketday.models import likelihood

FAMILIES = ["negative_binomial", "gamma"]
SHAPES = {
    "actual": st.integers(0, 30),
    "mean": st.floats(0.05, 30.0),
    "log_dispersion": st.floats(-4.0, 2.0),
    "logit_zeros": st.floats(-6.0, 2.5),
}


def value(family, actual, mean, log_dispersion, logit_zeros):
    arrays = (np.array([float(v)]) for v in (actual, mean, log_dispersion, logit_zeros))
    return likelihood.log_likelihood(*arrays, family)


def slow(family, actual, mean, log_dispersion, logit_zeros):
    """Return it straight from scipy's distributions."""
    zeros, size = 1 / (1 + np.exp(-logit_zeros)), np.exp(-log_dispersion)
    inner = mean / (1 - zeros)
    if family == "gamma":
        log = stats.gamma.logpdf(actual, size, scale=inner / size) if actual else -np.inf
    else:
        log = stats.nbinom.logpmf(actual, size, size / (size + inner))
    return np.log(1 - zeros) + log if actual else np.log(zeros + (1 - zeros) * np.exp(log))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=100, deadline=None)
@given(first=st.fixed_dictionaries(SHAPES), second=st.fixed_dictionaries(SHAPES))
def test_it_is_scipys_up_to_what_depends_on_the_actual_alone(family, first, second):
    second["actual"] = first["actual"]
    found = value(family, **first).value - value(family, **second).value
    assert found[0] == pytest.approx(slow(family, **first) - slow(family, **second), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=100, deadline=None)
@given(at=st.fixed_dictionaries(SHAPES))
def test_its_slopes_are_those_of_small_steps(family, at):
    found, step = value(family, **at), 1e-5
    for name, slope in (("log_dispersion", found.log_dispersion), ("logit_zeros", found.logit_zeros)):
        more, less = (value(family, **{**at, name: at[name] + s}).value for s in (step, -step))
        assert slope == pytest.approx((more - less) / (2 * step), rel=1e-3, abs=1e-4)


def drawn(family, rows=30_000):
    """Return demand whose dispersion and zeros follow a column, with that column and the mean."""
    random = np.random.default_rng(6)
    x, mean = random.normal(size=rows), random.uniform(2.0, 9.0, rows)
    dispersion, zeros = np.exp(-1.0 + 0.5 * x), 1 / (1 + np.exp(1.5 - 0.8 * x))
    inner = mean / (1 - zeros)
    if family == "gamma":
        demand = random.gamma(1 / dispersion, inner * dispersion)
    else:
        demand = random.negative_binomial(1 / dispersion, 1 / (1 + dispersion * inner)).astype(float)
    return np.where(random.random(rows) < zeros, 0.0, demand), mean, np.stack([np.ones(rows), x], axis=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_coefficients_are_found_again_in_simulated_demand(family):
    actual, mean, columns = drawn(family)
    start = (np.zeros(2), np.zeros(2))
    spread, zeros = likelihood.fit(
        columns, columns, actual, mean, family, prior=start, strength=np.full(2 * columns.shape[1], 1.0)
    )
    assert spread == pytest.approx([-1.0, 0.5], abs=0.06)
    assert zeros == pytest.approx([-1.5, 0.8], abs=0.08)


def test_without_rows_and_with_few_of_them_the_coefficients_stay_where_they_are_expected():
    actual, mean, columns = drawn("negative_binomial", rows=20)
    expected = (np.array([-0.4, 0.2]), np.array([-2.0, 0.5]))
    for rows, near in ((0, 1e-9), (20, 0.2)):
        given_rows = (columns[:rows], columns[:rows], actual[:rows], mean[:rows])
        found = likelihood.fit(
            *given_rows, "negative_binomial", prior=expected, strength=np.full(sum(map(len, expected)), 100.0)
        )
        assert np.concatenate(found) == pytest.approx(np.concatenate(expected), abs=near)
