"""What the stock position and the step `orders` promise: yesterday's facts, and every published order counted once."""

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_cases import DAY, forecast, offer, on, placed, position, product, sold, stock

from marketday.errors import StepError


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
