"""What scoring knows of a series, by hand; and which rows an origin has."""

import datetime as dt

import polars as pl
import pytest

from marketday.backtest.rows import joined, revenue, scales, velocities, with_absent_days

ORIGIN = dt.date(2025, 3, 2)
DAYS = [ORIGIN - dt.timedelta(days=n) for n in range(4, -1, -1)]


def sold(units: list[float | None], product: str = "milk", location: str = "north") -> pl.DataFrame:
    """Sales of the last days up to the origin; a day with None has no row."""
    rows = [(location, product, day, u) for day, u in zip(DAYS[-len(units) :], units, strict=True) if u is not None]
    return pl.DataFrame(rows, schema=["location_id", "product_id", "day", "units"], orient="row")


def forecasts(product: str = "milk", *, mean: float = 2.0, horizons: range = range(1, 4)) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "location_id": "north",
            "product_id": product,
            "day": [ORIGIN + dt.timedelta(days=h) for h in horizons],
            "horizon": list(horizons),
            "mean": mean,
            "dispersion": 0.2,
            "zero_share": 0.1,
            "family": "negative_binomial",
            "model": "gbm@1",
            "mode": "fresh",
        },
        schema_overrides={"horizon": pl.Int32},
    )


def compared(forecast: pl.DataFrame, sales: pl.DataFrame, **more: object) -> pl.DataFrame:
    nothing = {"location_id": pl.String, "product_id": pl.String}
    stock = pl.DataFrame(schema={**nothing, "day": pl.Date, "stockout_share": pl.Float64})
    given = {"origin": ORIGIN, "horizon": 3, "pairs": pl.DataFrame(schema=nothing), "absent_is_zero": False, **more}
    return joined(forecast, sales, stock, **given)


def after(units: dict[int, float], product: str = "milk") -> pl.DataFrame:
    rows = [("north", product, ORIGIN + dt.timedelta(days=h), u) for h, u in units.items()]
    return pl.DataFrame(rows, schema=["location_id", "product_id", "day", "units"], orient="row")


def test_the_scale_is_the_change_from_day_to_day_from_the_first_sale_on():
    found = scales(sold([0.0, 0.0, 2.0, 4.0, 1.0])).row(0, named=True)
    assert found["squared"] == pytest.approx((2**2 + 3**2) / 2)
    assert found["absolute"] == pytest.approx((2 + 3) / 2)


def test_an_unknown_day_takes_both_differences_beside_it_with_it():
    found = scales(sold([1.0, 5.0, None, 9.0, 7.0])).row(0, named=True)
    assert found["absolute"] == pytest.approx((4 + 2) / 2)


def test_the_scale_of_one_series_does_not_reach_into_the_next():
    both = pl.concat([sold([1.0, 2.0]), sold([100.0, 103.0], "tea")])
    assert scales(both)["absolute"].to_list() == [1.0, 3.0]


def test_a_series_that_never_sold_has_no_scale():
    assert scales(sold([0.0, 0.0, 0.0])).is_empty()


def test_revenue_takes_the_price_of_each_day():
    prices = pl.DataFrame(
        [("north", "milk", DAYS[0] - dt.timedelta(days=90), 2.0), ("north", "milk", DAYS[3], 3.0)],
        schema=["location_id", "product_id", "day", "price"],
        orient="row",
    )
    assert revenue(sold([1.0, 1.0, 1.0, 1.0, 1.0]), prices, ORIGIN)["weight"].to_list() == [3 * 2.0 + 2 * 3.0]
    assert revenue(sold([1.0, 1.0, 4.0]), prices.clear(), ORIGIN)["weight"].to_list() == [6.0], "no prices: units"


def test_velocity_is_what_was_known_at_the_origin():
    history = pl.concat([sold([6.0, 4.0]), sold([0.0, 0.0, 1.0], "tea"), sold([1.0, 0.0], "oil")])
    by_product = dict(velocities(history, ORIGIN).select("product_id", "velocity").iter_rows())
    assert by_product == {"milk": "fast", "tea": "slow", "oil": "medium"}


def test_days_without_a_row_are_zero_only_where_the_location_was_open():
    history = pl.concat([sold([3.0, None, None, 1.0, 2.0]), sold([1.0, 1.0, None, 1.0, 1.0], "tea")])
    milk = with_absent_days(history, ORIGIN).filter(product_id="milk")
    assert dict(milk.select("day", "units").iter_rows()) == {DAYS[0]: 3.0, DAYS[1]: 0.0, DAYS[3]: 1.0, DAYS[4]: 2.0}


def test_every_forecast_meets_what_was_sold_and_has_its_quantiles():
    rows = compared(forecasts(), after({1: 3.0, 3: 0.0}))
    assert rows["units"].to_list() == [3.0, None, 0.0]
    assert rows["mode"].unique().to_list() == ["fresh"]
    assert rows.filter(pl.col("q005") > pl.col("q500")).is_empty()


def test_what_nobody_forecast_is_a_forecast_of_zero_and_says_so():
    rows = compared(forecasts(), after({2: 5.0}, "new")).filter(product_id="new")
    assert rows.select("mean", "q995", "zero_share", "mode").unique().row(0) == (0.0, 0.0, 0.0, "unlisted")
    assert rows["units"].to_list() == [None, 5.0, None]


def test_a_pair_that_must_be_there_is_there_on_every_day():
    pairs = pl.DataFrame({"location_id": ["north"], "product_id": ["later"]})
    rows = compared(forecasts(), after({1: 1.0}), pairs=pairs).filter(product_id="later")
    assert rows["horizon"].to_list() == [1, 2, 3]
    assert rows["units"].null_count() == 3


def test_past_days_of_a_degraded_forecast_are_not_compared():
    rows = compared(forecasts(horizons=range(-1, 4)), after({1: 1.0}))
    assert rows["horizon"].to_list() == [1, 2, 3]


def test_absent_rows_are_zeros_where_the_retailer_means_that_and_the_location_reports():
    sales = pl.concat([after({1: 4.0, 2: 4.0}, "tea"), after({1: 1.0})])
    rows = compared(pl.concat([forecasts(), forecasts("tea")]), sales, absent_is_zero=True).filter(product_id="milk")
    assert rows["units"].to_list() == [1.0, 0.0, None]
