"""What order proposals promise: whole packs, enough until the next arrival, and never more for more stock."""

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from marketday import orders
from marketday.errors import StepError
from marketday.tables import ORDERS
from marketday.warehouse import conform

DAY = dt.date(2025, 3, 31)  # a Monday


def on(offset: int) -> dt.date:
    return DAY + dt.timedelta(days=offset)


def forecast(
    means: list[float], *, first: int = 0, product: str = "milk", family: str = "negative_binomial", mode: str = "fresh"
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "location_id": "store_01",
            "product_id": product,
            "day": [on(first + n) for n in range(len(means))],
            "horizon": [first + n + 1 for n in range(len(means))],
            "mean": means,
            "dispersion": 0.3,
            "family": family,
            "model": "lightgbm@1",
            "mode": mode,
        },
        schema_overrides={"mean": pl.Float64},
    )


def offer(*, product: str = "milk", supplier: str = "dairy", since: int = -30, **terms: object) -> dict[str, object]:
    usual = {"cost": 0.5, "pack_size": 6.0, "minimum_packs": 0, "lead_time": 2, "delivery_weekdays": ""}
    return {"supplier_id": supplier, "product_id": product, "day": on(since), **usual, **terms}


def product(name: str = "milk", *, supplier: str | None = "dairy", shelf_life: int | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "product_id": [name],
            "name": [name.title()],
            "category": ["food"],
            "department": ["fresh"],
            "unit": ["pieces"],
            "supplier_id": [supplier],
            "launched": [None],
            "delisted": [None],
            "shelf_life": [shelf_life],
        },
        schema_overrides={"supplier_id": pl.String, "launched": pl.Date, "delisted": pl.Date, "shelf_life": pl.Int32},
    )


def stock(on_hand: float | None, on_order: float | None = 0.0, *, day: int = -1, name: str = "milk") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "location_id": ["store_01"],
            "product_id": [name],
            "day": [on(day)],
            "on_hand": [on_hand],
            "on_order": [on_order],
            "stockout_share": [None],
        },
        schema_overrides={"on_hand": pl.Float64, "on_order": pl.Float64, "stockout_share": pl.Float64},
    )


def sold(units: list[float], *, first: int, name: str = "milk") -> pl.DataFrame:
    days = [on(first + n) for n in range(len(units))]
    return pl.DataFrame(
        {"location_id": "store_01", "product_id": name, "day": days, "units": units},
        schema_overrides={"location_id": pl.String, "product_id": pl.String, "day": pl.Date, "units": pl.Float64},
    )


def placed(quantities: dict[int, float], name: str = "milk") -> pl.DataFrame:
    """Return published orders, by the offset of their morning."""
    return pl.DataFrame(
        {
            "location_id": "store_01",
            "product_id": name,
            "run_day": [on(n) for n in quantities],
            "quantity": list(quantities.values()),
        },
        schema_overrides={
            "location_id": pl.String,
            "product_id": pl.String,
            "run_day": pl.Date,
            "quantity": pl.Float64,
        },
    )


def position(
    held: pl.DataFrame, sales: pl.DataFrame | None = None, ordered: pl.DataFrame | None = None, *, last: int = -1
) -> pl.DataFrame:
    return orders.position(
        held, sold([], first=0) if sales is None else sales, placed({}) if ordered is None else ordered, on(last)
    )


def proposal(
    means: list[float],
    *,
    held: pl.DataFrame | None = None,
    service_level: float = 0.95,
    shelf_life: int | None = None,
    first: int = 0,
    family: str = "negative_binomial",
    **terms: object,
) -> dict[str, object]:
    """Return the only line's row, with the facts under their own names."""
    offers = orders.choose_offers(pl.DataFrame([offer(**terms)]), product(shelf_life=shelf_life), DAY)
    rows, facts = orders.propose(
        forecast(means, first=first, family=family),
        orders.schedule(offers, DAY),
        position(stock(0.0) if held is None else held, last=first - 1),
        service_level=service_level,
    )
    (row,) = conform(rows, ORDERS, DAY).rows(named=True)
    return {**row, "facts": facts}


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


def test_the_step_uses_the_latest_stock_and_offer_known_and_counts_what_it_lacks(run_step) -> None:
    forecasts = pl.concat(
        [
            forecast([4.0] * 14),
            forecast([4.0] * 14, product="tea", mode="degraded"),
            forecast([1.0] * 14, product="salt"),
        ]
    )
    old, last = stock(90.0, day=-9), stock(2.0, 3.0)
    given_tables = {
        "forecasts": forecasts,
        "offers": pl.DataFrame([offer(), offer(product="tea")], schema_overrides={"minimum_packs": pl.Int32}),
        "products": pl.concat([product(), product("tea"), product("salt")]),
        "stock": pl.concat([old, last, stock(500.0, day=0)]),
    }
    outputs = run_step("orders", DAY, given_tables)
    rows = {r["product_id"]: r for r in outputs.tables["orders"].rows(named=True)}
    assert set(rows) == {"milk", "tea"}
    assert (rows["milk"]["on_hand"], rows["milk"]["on_order"], rows["milk"]["mode"]) == (2.0, 3.0, "fresh")
    assert (rows["tea"]["on_hand"], rows["tea"]["on_order"], rows["tea"]["mode"]) == (0.0, 0.0, "degraded")
    assert (rows["milk"]["stock_day"], rows["tea"]["stock_day"]) == (on(-1), None)
    packs = math.ceil((rows["milk"]["target"] - 5.0) / 6.0)
    assert rows["milk"]["packs"] == packs > 0
    assert outputs.facts == {
        "lines": 2,
        "packs": packs + rows["tea"]["packs"],
        "value": pytest.approx(rows["milk"]["value"] + rows["tea"]["value"]),
        "without_stock": 1,
        "stale_stock": 0,
        "without_offer": 1,
        "beyond_horizon": 0,
    }


def test_stock_of_an_older_day_is_rolled_forward_by_what_was_sold_since_and_counted(run_step) -> None:
    names = ("milk", "tea", "salt")
    given_tables = {
        "forecasts": pl.concat([forecast([4.0] * 14, product=name) for name in names]),
        "offers": pl.DataFrame([offer(product=name) for name in names], schema_overrides={"minimum_packs": pl.Int32}),
        "products": pl.concat([product(name) for name in names]),
        "stock": pl.concat(
            [
                stock(50.0, 6.0, day=-4),
                stock(None, day=-1),
                stock(50.0, 6.0, day=-1, name="tea"),
                stock(None, name="salt"),
            ]
        ),
        "sales": pl.concat([sold([90.0, 3.0, 0.0, 5.0], first=-4), sold([90.0, 7.0], first=-2, name="tea")]),
    }
    outputs = run_step("orders", DAY, given_tables)
    rows = {
        r["product_id"]: (r["stock_day"], r["on_hand"], r["on_order"])
        for r in outputs.tables["orders"].rows(named=True)
    }
    assert rows == {"milk": (on(-4), 42.0, 6.0), "tea": (on(-1), 50.0, 6.0), "salt": (None, 0.0, 0.0)}
    assert (outputs.facts["stale_stock"], outputs.facts["without_stock"]) == (1, 1)


def slow_position(
    closing: tuple[int, float, float] | None, sales: list[float], ordered: dict[int, float], last: int
) -> tuple[float, float]:
    """Go through the days one by one from the closing; ``sales`` are those of the days before ``last`` and of it."""
    day, on_hand, on_order = closing or (last, 0.0, 0.0)
    while day < last:
        day += 1
        on_order += ordered.get(day, 0.0)
    for units in sales[-(last - closing[0]) :] if closing and closing[0] < last else []:
        from_shelf = min(on_hand, units)
        on_hand, on_order = on_hand - from_shelf, max(on_order - (units - from_shelf), 0.0)
    return on_hand, on_order + sum(quantity for morning, quantity in ordered.items() if morning > last)


@settings(max_examples=60, deadline=None)
@given(
    closing=st.none() | st.tuples(st.integers(-9, -3), st.integers(0, 40), st.integers(0, 40)),
    sales=st.lists(st.integers(0, 20), min_size=12, max_size=12),
    ordered=st.dictionaries(st.integers(-12, -1), st.integers(0, 30)),
)
def test_the_position_agrees_with_a_walk_through_the_days(closing, sales, ordered) -> None:
    last = -3
    held = stock(float(closing[1]), float(closing[2]), day=closing[0]) if closing else stock(0.0).clear()
    found = position(held, sold([float(u) for u in sales], first=last - 11), placed(ordered), last=last)
    expected = slow_position(closing, sales, ordered, last)
    rows = found.select("on_hand", "on_order").rows() or [(None, 0.0)]
    assert [(hand or 0.0, order) for hand, order in rows] == [expected]
    assert found["stock_day"].to_list() in ([on(closing[0])] if closing else [None], [])


def morning(run_step, day: int, *, published: bool | str, **given: pl.DataFrame) -> dict[str, object]:
    """Carry out the step orders on a morning whose sales end on the day before DAY, and publish what it proposes.

    The supplier comes on Fridays only, so what is ordered on Monday or Tuesday is for the same days.
    """
    forecasts = forecast([4.0] * 15, mode="degraded" if day else "fresh").with_columns(
        horizon=(pl.col("day") - on(day)).dt.total_days() + 1
    )
    offers = pl.DataFrame([offer(delivery_weekdays="5")], schema_overrides={"minimum_packs": pl.Int32})
    outputs = run_step("orders", on(day), {"forecasts": forecasts, "offers": offers, "products": product(), **given})
    rows = outputs.tables["orders"]
    publication = pl.DataFrame(
        {
            "table": ["orders" if published else "forecasts"],
            "of_day": [on(day)],
            "reason": [""],
            "version": [0],
            "content_hash": ["cafe"],
            "rows": [rows.height],
            "mode": ["fresh"],
        }
    )
    run_step("orders", on(day), {"orders": rows, "publications": publication})
    (row,) = rows.rows(named=True)
    return row


def test_a_morning_without_a_delivery_does_not_order_again_what_the_morning_before_ordered(run_step) -> None:
    first = morning(run_step, 0, published=True, stock=stock(10.0))
    second = morning(run_step, 1, published=True)
    assert first["packs"] > 0
    assert (first["arrives"], first["target"]) == (second["arrives"], second["target"])
    assert (second["on_hand"], second["on_order"], second["packs"]) == (10.0, first["quantity"], 0)
    third = morning(run_step, 2, published=True)
    assert third["on_order"] == first["quantity"], "each published order counts once"


def test_proposals_that_were_never_published_are_not_on_order(run_step) -> None:
    first = morning(run_step, 0, published=False, stock=stock(10.0))
    second = morning(run_step, 1, published=True)
    assert (second["on_order"], second["packs"]) == (0.0, first["packs"])


def test_an_order_is_proposed_the_same_again_once_it_is_published(run_step) -> None:
    first = morning(run_step, 0, published=True, stock=stock(10.0))
    assert morning(run_step, 0, published=True) == first


def test_what_was_ordered_before_the_closing_is_in_the_delivered_stock_already(run_step) -> None:
    first = morning(run_step, 0, published=True, stock=stock(10.0))
    forecasts = forecast([4.0] * 14, first=1)
    closing = stock(8.0, first["quantity"], day=0)
    outputs = run_step("orders", on(1), {"forecasts": forecasts, "stock": closing})
    (row,) = outputs.tables["orders"].rows(named=True)
    assert (row["on_hand"], row["on_order"]) == (8.0, first["quantity"])


def test_a_retailer_without_orders_or_forecasts_is_told_so(run_step, simulated) -> None:
    with pytest.raises(StepError, match="no forecasts of 2025-03-31"):
        run_step("orders", DAY, {})
    with pytest.raises(StepError, match="no section `orders`"):
        run_step("orders", DAY, {}, retailer=simulated.model_copy(update={"orders": None}))
