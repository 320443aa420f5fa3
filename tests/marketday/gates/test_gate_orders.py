"""The gate after the orders: whole packs, none missing, none too large."""

import datetime as dt
from collections.abc import Callable

import polars as pl
import pytest
from gate_cases import (
    BEFORE,
    DAY,
    FORECASTS,
    ORIGIN,
    PAIRS,
    PRODUCTS,
    PUBLISHED,
    publications,
    unmet,
)

from marketday.calls import Result
from marketday.errors import GateFailed

OFFERS = pl.DataFrame({"product_id": PRODUCTS}).with_columns(
    supplier_id=pl.lit("farm"),
    day=pl.lit(BEFORE),
    cost=1.0,
    pack_size=12.0,
    minimum_packs=pl.lit(2),
    lead_time=pl.lit(1),
    delivery_weekdays=pl.lit("123456"),
)
LINES = PAIRS.with_columns(
    supplier_id=pl.lit("farm"),
    arrives=pl.lit(DAY),
    covers_until=pl.lit(DAY),
    expected_demand=10.0,
    target=24.0,
    on_hand=0.0,
    on_order=0.0,
    stock_day=pl.lit(ORIGIN),
    packs=pl.lit(2),
    quantity=24.0,
    value=24.0,
    mode=pl.lit("fresh"),
)


@pytest.fixture
def order(write, gate) -> Callable[..., Result]:
    def judge(lines: pl.DataFrame = LINES, forecasts: pl.DataFrame = FORECASTS) -> Result:
        write(BEFORE, offers=OFFERS, publications=PUBLISHED)
        write(orders=lines, forecasts=forecasts)
        return gate("gate_orders")

    return judge


def test_proposals_of_whole_packs_for_every_product_pass(order, warehouse) -> None:
    order()
    assert unmet(warehouse) == {}


def _first_line(lines: pl.DataFrame = LINES, **columns: object) -> pl.DataFrame:
    first = pl.int_range(pl.len()) == 0
    return lines.with_columns(
        pl.when(first).then(value).otherwise(pl.col(name)).alias(name) for name, value in columns.items()
    )


@pytest.mark.parametrize(
    ("lines", "subject"),
    [
        (_first_line(quantity=-12.0, packs=-1), "orders.quantity, negative"),
        (_first_line(quantity=20.0), "orders.quantity, whole packs"),
        (LINES.tail(-1), "orders, missing lines"),
        (LINES.filter(pl.col("location_id") != "store_2"), "orders, missing lines"),
        (LINES.with_columns(quantity=1200.0, packs=100), "orders.quantity, share of large lines"),
    ],
)
def test_proposals_that_must_not_be_sent_fail(order, warehouse, lines: pl.DataFrame, subject: str) -> None:
    with pytest.raises(GateFailed) as raised:
        order(lines)
    assert unmet(warehouse)[subject] == "fail"
    assert subject in raised.value.message
    assert [row["table"] for row in publications(warehouse)] == ["forecasts"]


@pytest.mark.parametrize("stock_day", [None, ORIGIN - dt.timedelta(days=1)])
def test_stock_that_is_old_or_missing_in_many_lines_is_a_warning(order, warehouse, stock_day: dt.date | None) -> None:
    order(LINES.with_columns(stock_day=pl.lit(stock_day, pl.Date)))
    assert unmet(warehouse) == {"orders.stock_day, share of stale or missing stock": "warn"}


def test_stock_that_is_missing_in_a_few_lines_is_accepted(order, warehouse) -> None:
    order(_first_line(stock_day=None))
    assert LINES.height > 10
    assert unmet(warehouse) == {}


def test_on_a_degraded_morning_stock_of_the_last_known_day_is_not_old(order, warehouse) -> None:
    gap = FORECASTS.filter(pl.col("horizon") == 1).with_columns(day=pl.lit(ORIGIN), horizon=pl.lit(0, pl.Int64))
    forecasts = pl.concat([gap, FORECASTS.with_columns(pl.col("horizon").cast(pl.Int64))])
    order(LINES.with_columns(stock_day=pl.lit(ORIGIN - dt.timedelta(days=1))), forecasts.select(FORECASTS.columns))
    assert unmet(warehouse) == {}


def test_a_supplier_minimum_may_cover_more_than_the_most_days(order, warehouse) -> None:
    order(forecasts=FORECASTS.with_columns(mean=0.01))
    assert unmet(warehouse) == {}


def test_a_single_large_line_among_many_is_a_warning() -> None:
    from marketday import gates
    from marketday.retailers import Gates

    many = pl.concat([LINES.with_columns(pl.col("location_id") + f"_{n}") for n in range(3)])
    one_large = many.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(v).otherwise(pl.col(n)).alias(n)
        for n, v in (("quantity", 1200.0), ("packs", 100))
    )
    means = many.select("location_id", "product_id").with_columns(horizon=1, mean=10.0, day=pl.lit(DAY))
    lines = gates.orders.lines(one_large, OFFERS.drop("day"), means)
    summaries = {
        "orders": gates.orders.totals(lines, Gates()),
        "locations": gates.orders.by_location(lines, many.select("location_id", "product_id"), Gates()),
    }
    verdict = gates.run_gate("orders", summaries, gates.orders.suite(Gates()), retailer="simulated", day=DAY)
    assert verdict.failed.is_empty()
    assert verdict.rows.filter(~pl.col("passed"))["subject"].to_list() == ["orders.quantity, large lines"]
