"""Demand behind stock-outs is right in the mean, never less than what was sold, and knows no future."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from slow_censoring import slow_recover

from marketday import distributions
from marketday.features import censoring, gamma_poisson
from marketday.features.censoring import recover
from marketday.simulator import FIRST_DAY, conditions, demand, world


@st.composite
def panels(draw, most_days=30, parts=(0.0, 0.0, 0.25, 0.5, 0.9, 1.0)):
    series, days = draw(st.integers(1, 6)), draw(st.integers(1, most_days))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    by_weight = rng.random(series) < 0.5
    level = np.exp(rng.normal(0.5, 1.5, (series, 1)))
    rate = rng.gamma(3.0, level / 3.0, (series, days))
    sales = np.where(by_weight[:, None], rate.round(3), rng.poisson(rate)).astype(np.float32)
    sales[rng.random(sales.shape) < 0.1] = np.nan
    share = rng.choice(parts, sales.shape).astype(np.float32)
    promoted = rng.random(sales.shape) < 0.2
    return {
        "sales": sales,
        "stockout_share": share,
        "group": rng.integers(0, 2, series),
        "promoted": promoted,
        "by_weight": by_weight,
    }


@given(panel=panels())
@settings(max_examples=60, deadline=None)
def test_recovered_demand_is_never_less_than_sales_and_equal_where_stock_lasted(panel):
    sales, share = panel["sales"], panel["stockout_share"]
    found = recover(**panel)
    delivered = np.isfinite(sales)
    np.testing.assert_array_equal(np.isfinite(found.demand), delivered)
    np.testing.assert_array_equal(np.isfinite(found.exposure), delivered)
    assert (found.demand[delivered] >= sales[delivered]).all()
    lasted = delivered & (share == 0)
    np.testing.assert_array_equal(found.demand[lasted], sales[lasted])
    np.testing.assert_array_equal(found.exposure[delivered], 1 - share[delivered])


@given(panel=panels(), day=st.integers(0, 29))
@settings(max_examples=40, deadline=None)
def test_no_later_day_changes_what_was_recovered(panel, day):
    later = {name: values.copy() for name, values in panel.items()}
    later["sales"][:, day + 1 :] = 77.0
    later["stockout_share"][:, day + 1 :] = 0.5
    later["promoted"][:, day + 1 :] = True
    before, after = recover(**panel), recover(**later)
    np.testing.assert_array_equal(before.demand[:, : day + 1], after.demand[:, : day + 1])


def test_a_panel_without_stock_outs_comes_back_as_it_was():
    sales = np.array([[1.0, np.nan, 3.0]], dtype=np.float32)
    found = recover(
        sales,
        np.array([[0.0, 0.0, np.nan]], dtype=np.float32),
        group=np.zeros(1, dtype=np.intp),
        promoted=np.zeros((1, 3), dtype=bool),
        by_weight=np.zeros(1, dtype=bool),
    )
    np.testing.assert_array_equal(found.demand, sales)
    np.testing.assert_array_equal(found.exposure, [[1.0, np.nan, 1.0]])


@given(panel=panels(most_days=7))
@settings(max_examples=60, deadline=None)
def test_the_filter_is_what_a_loop_over_series_finds(panel):
    np.testing.assert_allclose(recover(**panel).demand, slow_recover(**panel), rtol=1e-4, atol=1e-6)


@given(
    sales=st.integers(0, 40),
    exposure=st.floats(0.0, 1.0),
    mean=st.floats(0.1, 30.0),
    dispersion=st.floats(0.02, 1.5),
)
@settings(max_examples=40, deadline=None)
def test_expected_demand_is_the_integral_over_the_rates_that_sold_as_much(sales, exposure, mean, dispersion):
    prior = stats.gamma(1 / dispersion, scale=dispersion * mean)
    rates = prior.ppf((np.arange(20_000) + 0.5) / 20_000)
    log_likelihood = stats.poisson.logpmf(sales, rates * exposure)
    weight = np.exp(log_likelihood - max(log_likelihood.max(), -700.0))
    slow = sales + (1 - exposure) * (weight * rates).sum() / max(weight.sum(), 1e-300)
    found = gamma_poisson.expected_demand(*(np.array(x, dtype=float) for x in (sales, exposure, mean, dispersion)))
    # A grid of the prior's quantiles is coarse where few rates sell as much.
    if np.exp(log_likelihood.max()) and weight.sum() > 500:
        assert found == pytest.approx(slow, rel=0.01)


@given(
    sales=st.floats(0.0, 40.0),
    exposure=st.floats(0.05, 1.0),
    mean=st.floats(0.01, 30.0),
    more=st.floats(0.0, 30.0),
    share=st.floats(0.05, 1.0),
)
@settings(max_examples=200, deadline=None)
def test_demand_grows_with_the_mean_before_it(sales, exposure, mean, more, share):
    found = []
    for m in (mean, mean + more):
        within, between = gamma_poisson.split(share, np.array(m), np.array(1.0), np.array(0.3))
        found.append(gamma_poisson.expected_demand(np.array(sales), np.array(exposure), np.array(m), between, within))
    assert found[1] >= found[0] - 1e-6 * (1 + found[0])


@given(sales=st.integers(1, 30), mean=st.floats(0.2, 20.0), dispersion=st.floats(0.05, 2.0))
@settings(max_examples=40, deadline=None)
def test_expected_demand_beyond_a_bound_is_the_mean_of_the_tail(sales, mean, dispersion):
    n = np.arange(sales, 20_000)
    mass = stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)).pmf(n)
    gamma = stats.gamma(1 / dispersion, scale=dispersion * mean)
    top = integrate.quad(lambda x: x * gamma.pdf(x), sales, np.inf)[0]
    arguments = (np.full(2, float(sales)), np.full(2, mean), np.full(2, dispersion))
    pieces, weight = gamma_poisson.expected_beyond(*arguments, np.array([False, True]))
    if mass.sum() > 1e-9:
        assert pieces == pytest.approx((n * mass).sum() / mass.sum(), rel=1e-4)
    if gamma.sf(sales) > 1e-6:
        assert weight == pytest.approx(top / gamma.sf(sales), rel=1e-3)


def stopped_days(kind: str, seed: int = 5, series: int = 300, days: int = 120):
    """Draw demand, stop it where stock runs out, and say when: customers at random, evenly, or goods by weight."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(1.5, 1.0, (series, 1)))
    mean = level * np.array([0.8, 0.8, 0.8, 0.9, 1.3, 1.5, 0.9])[np.arange(days) % 7]
    rate = rng.gamma(4.0, mean / 4.0)
    stock = np.ceil(level * rng.uniform(0.3, 2.5, mean.shape))
    if kind == "at random":
        wanted = rng.poisson(rate).astype(float)
        # The stock-th of n customers, who come at independent uniform moments, comes at a beta moment.
        short = wanted >= stock
        stop = rng.beta(stock, np.maximum(wanted - stock + 1, 1))
    else:
        wanted = rate if kind == "by weight" else rng.poisson(rate).astype(float)
        short = wanted > stock
        stop = stock / np.maximum(wanted, 1e-9)
    share = np.where(short, 1 - stop, 0.0)
    panel = {
        "sales": np.minimum(wanted, stock).astype(np.float32),
        "stockout_share": share.astype(np.float32),
        "group": np.arange(series) % 3,
        "promoted": np.zeros(mean.shape, dtype=bool),
        "by_weight": np.full(series, kind == "by weight"),
    }
    return panel, wanted


@pytest.mark.parametrize("kind", ["at random", "evenly", "by weight"])
def test_recovered_demand_is_right_in_the_mean_however_customers_come(kind):
    panel, wanted = stopped_days(kind)
    out, late = panel["stockout_share"] > 0, np.arange(wanted.shape[1]) >= 28
    found = recover(**panel).demand
    assert 0.2 < out.mean() < 0.6
    assert wanted[~out].mean() < 0.8 * wanted.mean(), "days without stock-out are those of little demand"
    assert found[out & late].mean() == pytest.approx(wanted[out & late].mean(), rel=0.03)
    assert found[:, late].mean() == pytest.approx(wanted[:, late].mean(), rel=0.015)


@pytest.mark.parametrize("kind", ["at random", "evenly"])
def test_days_out_of_stock_from_the_morning_get_the_mean_of_their_weekday(kind):
    panel, wanted = stopped_days(kind)
    whole = np.random.default_rng(1).random(wanted.shape) < 0.1
    panel["sales"][whole], panel["stockout_share"][whole] = 0.0, 1.0
    whole[:, :28] = False
    found = recover(**panel).demand
    for weekday in range(7):
        mine = whole & (np.arange(wanted.shape[1]) % 7 == weekday)
        assert found[mine].mean() == pytest.approx(wanted[mine].mean(), rel=0.12)
    assert found[whole].mean() == pytest.approx(wanted[whole].mean(), rel=0.04)


def test_a_day_on_which_a_whole_group_is_out_stays_near_its_mean():
    panel, wanted = stopped_days("at random")
    panel["sales"][:, 60], panel["stockout_share"][:, 60] = 0.0, 1.0
    panel["sales"][:5, 60], panel["stockout_share"][:5, 60] = 1.0, 0.97
    found = recover(**panel).demand[:, 60]
    assert found.mean() == pytest.approx(wanted[:, 60].mean(), rel=0.2)
    assert found.max() < 3 * wanted.max()


@pytest.mark.parametrize("seed", [7, 9])
def test_on_the_simulated_grocer_the_mean_is_within_three_percent_of_true_demand(seed):
    grocers = world.build(seed)
    dates = [FIRST_DAY + dt.timedelta(n) for n in range(420)]
    closed = [demand.simulation(grocers).day(date) for date in dates]
    listed, sales, share, true = (
        np.array([getattr(day, name) for day in closed]).T for name in ("listed", "sales", "stockout_share", "demand")
    )
    promoted = np.array([conditions.shelf(grocers, date).promotion for date in dates]).T > 0
    found = recover(
        np.where(listed, sales, np.nan).astype(np.float32),
        share.astype(np.float32),
        group=grocers.department[grocers.product],
        promoted=promoted,
        by_weight=grocers.by_weight,
    ).demand
    late = listed & (np.arange(len(dates)) >= 28)
    out = late & (share > 0)
    assert sales[out].mean() < 0.6 * true[out].mean()
    assert found[out].mean() == pytest.approx(true[out].mean(), rel=0.03)
    assert found[out & (share < 1)].mean() == pytest.approx(true[out & (share < 1)].mean(), rel=0.03)
    assert found[late].mean() == pytest.approx(true[late].mean(), rel=0.005)


def test_the_noise_within_days_is_told_from_the_moments_of_stock_outs():
    learnt = {}
    for kind in ("at random", "evenly"):
        panel, _ = stopped_days(kind)
        state = censoring._Filter(panel["group"], panel["by_weight"])
        for day in range(60):
            sales, out = (panel[name][:, day].astype(float) for name in ("sales", "stockout_share"))
            known = np.ones(len(sales), dtype=bool)
            state.step(censoring._Day(day, known, sales, out, np.zeros(len(sales), dtype=np.intp)))
        learnt[kind] = state.timing.share
    assert learnt["at random"] >= 0.5
    assert learnt["evenly"] <= 0.2


@pytest.mark.parametrize("family", ["negative_binomial", "gamma"])
def test_the_transform_of_a_right_forecast_is_uniform_although_stock_stops_sales(family):
    rng = np.random.default_rng(3)
    mean, dispersion = rng.uniform(0.5, 15.0, 60_000), 0.3
    rate = rng.gamma(1 / dispersion, dispersion * mean)
    by_weight = np.full(len(mean), family == "gamma")
    wanted = np.where(by_weight, rate, rng.poisson(rate))
    stock = np.ceil(mean * rng.uniform(0.5, 2.0, len(mean)))
    out, sales = wanted >= stock, np.minimum(wanted, stock)

    def transformed(scale):
        def cdf(x):
            return distributions.cdf(x, scale * mean, dispersion, family)

        return gamma_poisson.censored_pit(sales, out, cdf, rng.random(len(mean)), by_weight=by_weight)

    assert 0.2 < out.mean() < 0.6
    right = transformed(1.0)
    assert stats.kstest(right, "uniform").statistic < 0.01
    assert stats.kstest(right[~out], "uniform").statistic > 0.1, "rows without stock-out are not a fair sample"
    assert transformed(0.8).mean() > 0.53
    assert transformed(1.25).mean() < 0.47
