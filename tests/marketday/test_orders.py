"""What order proposals promise: whole packs, enough until the next arrival, and never more for more stock."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_cases import DAY, offer, on, product, proposal, stock
from scipy import stats

from marketday import orders
from marketday.errors import StepError


@pytest.mark.parametrize(
    ("earliest", "weekdays", "arrives"),
    [(0, "", 0), (0, "1", 0), (0, "5", 4), (1, "1", 7), (3, "135", 4), (5, "135", 7), (6, "67", 6)],
)
def test_it_arrives_on_the_first_delivery_weekday_that_the_lead_time_allows(
    earliest: int, weekdays: str, arrives: int
) -> None:
    assert orders.arrival(on(earliest), weekdays) == on(arrives)


def test_weekdays_that_are_none_are_refused() -> None:
    with pytest.raises(StepError, match="delivery_weekdays is '089'"):
        orders.arrival(DAY, "089")


def test_an_order_covers_the_days_until_the_next_one_can_arrive() -> None:
    daily = proposal([4.0] * 14, lead_time=2)
    assert (daily["arrives"], daily["covers_until"]) == (on(2), on(2))
    assert daily["expected_demand"] == pytest.approx(3 * 4.0)
    mondays_and_fridays = proposal([4.0] * 14, lead_time=2, delivery_weekdays="15")
    assert (mondays_and_fridays["arrives"], mondays_and_fridays["covers_until"]) == (on(4), on(6))
    assert mondays_and_fridays["expected_demand"] == pytest.approx(7 * 4.0)


def test_gap_days_count_because_stock_is_as_old_as_the_sales() -> None:
    row = proposal([4.0] * 17, first=-3, held=stock(10.0, day=-4))
    assert row["expected_demand"] == pytest.approx(6 * 4.0)
    assert row["on_hand"] == 10.0


def test_a_horizon_that_ends_too_early_is_said() -> None:
    row = proposal([4.0] * 5, lead_time=9)
    assert row["expected_demand"] == pytest.approx(5 * 4.0)
    assert row["facts"]["beyond_horizon"] == 1
    assert proposal([4.0] * 14, lead_time=9)["facts"]["beyond_horizon"] == 0


def test_what_would_spoil_is_not_ordered_for_safety() -> None:
    fresh = proposal([4.0] * 14, lead_time=1, shelf_life=1, pack_size=1.0)
    durable = proposal([4.0] * 14, lead_time=1, shelf_life=300, pack_size=1.0)
    assert fresh["target"] == pytest.approx(8.0)
    assert (fresh["packs"], durable["target"] > 8.0) == (8, True)
    assert durable["target"] == proposal([4.0] * 14, lead_time=1, pack_size=1.0)["target"]


def test_a_minimum_holds_only_if_anything_is_ordered() -> None:
    assert proposal([4.0] * 14, minimum_packs=50)["packs"] == 50
    assert proposal([4.0] * 14, minimum_packs=50, held=stock(1000.0))["packs"] == 0


def test_the_main_supplier_is_asked_else_the_cheapest_and_only_terms_in_force_count() -> None:
    offers = pl.DataFrame(
        [
            offer(cost=0.9),
            offer(supplier="cheap", cost=0.1),
            offer(supplier="cheap", cost=0.01, since=1),
            offer(product="tea", supplier="dear", cost=2.0, since=-30),
            offer(product="tea", supplier="dear", cost=3.0, since=-2),
            offer(product="tea", supplier="fair", cost=2.5, since=0),
        ]
    )
    products = pl.concat([product(), product("tea", supplier=None)])
    chosen = orders.choose_offers(offers, products, DAY)
    assert chosen.select("product_id", "supplier_id", "cost").rows() == [("milk", "dairy", 0.9), ("tea", "fair", 2.5)]


def slow_proposal(means: list[float], terms: dict, held: float, service_level: float) -> tuple[dt.date, dt.date, int]:
    """Order for one pair, a day at a time, straight from the definition."""
    allowed = terms["delivery_weekdays"] or "1234567"
    arrives = on(terms["lead_time"])
    while str(arrives.isoweekday()) not in allowed:
        arrives += dt.timedelta(days=1)
    following = arrives + dt.timedelta(days=1)
    while str(following.isoweekday()) not in allowed:
        following += dt.timedelta(days=1)
    mean = variance = 0.0
    for n, m in enumerate(means):
        if on(n) < following:
            mean += m
            variance += m + 0.3 * m * m
    size = mean**2 / (variance - mean)
    target = stats.nbinom.ppf(service_level, size, mean / variance)
    packs = 0
    while held + packs * terms["pack_size"] < target:
        packs += 1
    return arrives, following - dt.timedelta(days=1), max(packs, terms["minimum_packs"]) if packs else 0


@settings(max_examples=60, deadline=None)
@given(
    means=st.lists(st.floats(0.01, 30.0), min_size=14, max_size=14),
    held=st.integers(0, 120),
    lead_time=st.integers(0, 5),
    weekdays=st.sampled_from(["", "1", "36", "12345"]),
    pack_size=st.sampled_from([1.0, 6.0, 12.0]),
    minimum_packs=st.integers(0, 4),
    service_level=st.floats(0.5, 0.99),
)
def test_it_agrees_with_the_slow_obvious_way(means, held, service_level, **terms) -> None:
    terms["delivery_weekdays"] = terms.pop("weekdays")
    row = proposal(means, held=stock(float(held)), service_level=service_level, **terms)
    expected = slow_proposal(means, terms, held, service_level)
    assert (row["arrives"], row["covers_until"], row["packs"]) == expected
    assert row["quantity"] == row["packs"] * terms["pack_size"]
    assert row["value"] == pytest.approx(row["quantity"] * 0.5)


@settings(max_examples=40, deadline=None)
@given(
    mean=st.floats(0.0, 50.0),
    family=st.sampled_from(["negative_binomial", "gamma"]),
    held=st.tuples(st.floats(0, 200), st.floats(0, 200)),
    levels=st.tuples(st.floats(0.05, 0.99), st.floats(0.05, 0.99)),
    pack_size=st.floats(0.1, 50.0),
    shelf_life=st.none() | st.integers(1, 20),
)
def test_more_stock_never_orders_more_and_more_service_never_orders_less(
    *, mean, family, held, levels, pack_size, shelf_life
) -> None:
    def packs(units: float, level: float) -> int:
        row = proposal(
            [mean] * 14,
            held=stock(0.0, units),
            service_level=level,
            pack_size=pack_size,
            shelf_life=shelf_life,
            family=family,
        )
        assert row["quantity"] == row["packs"] * pack_size
        enough = row["on_hand"] + row["on_order"] + row["quantity"] + 1e-6 * pack_size >= row["target"]
        assert enough, "what is ordered reaches the target"
        one_less = row["on_hand"] + row["on_order"] + row["quantity"] - pack_size
        assert row["packs"] == 0 or one_less < row["target"], "one pack less would not"
        return row["packs"]

    less, more = sorted(held)
    low, high = sorted(levels)
    assert packs(more, low) <= packs(less, low) <= packs(less, high)


def test_the_sum_of_days_has_the_service_level_that_was_asked_for() -> None:
    rng = np.random.default_rng(1)
    row = proposal([6.0] * 14, lead_time=6, pack_size=1.0)
    drawn = rng.negative_binomial(1 / 0.3, 1 / (1 + 0.3 * 6.0), size=(100_000, 7)).sum(axis=1)
    assert (drawn <= row["target"]).mean() == pytest.approx(0.95, abs=0.01)


def test_days_that_go_up_and_down_together_need_a_higher_target_for_the_same_service_level() -> None:
    rng = np.random.default_rng(2)
    common, own = 0.2, (0.3 - 0.2) / (1 + 0.2)  # of a level that all days share, and of each day around it
    row = proposal([6.0] * 14, lead_time=6, pack_size=1.0, common=common)
    level = rng.gamma(1 / common, common, size=(100_000, 1)) * 6.0
    drawn = rng.negative_binomial(1 / own, 1 / (1 + own * level), size=(100_000, 7)).sum(axis=1)
    assert (drawn <= row["target"]).mean() == pytest.approx(0.95, abs=0.01)
    assert (drawn <= proposal([6.0] * 14, lead_time=6, pack_size=1.0)["target"]).mean() < 0.85
