import datetime as dt

import numpy as np
import polars as pl
import pytest
from small_shop import DAY, ORIGIN, change, facts

from marketday.features.panel import UNDISCOUNTED, Facts, Span, load

SPAN = Span(ORIGIN - dt.timedelta(days=99), ORIGIN, ORIGIN, DAY + dt.timedelta(days=9))
THREE_AGO = ORIGIN - dt.timedelta(days=3)


def panel(given, locations=("north", "south"), absent_sales="missing", span=SPAN):
    lazy = {name: table.lazy() for name, table in given.items()}
    return load(Facts(**lazy), list(locations), span, absent_sales)


def series(found, location, product):
    rows = found.series.with_row_index().filter(location_id=location, product_id=product)
    return int(rows["index"].item())


def at(location, product, day):
    return (pl.col("location_id") == location) & (pl.col("product_id") == product) & (pl.col("day") == day)


def demand(found, location, product, day):
    return found.demand[series(found, location, product), SPAN.at(day)]


def test_every_delivered_sale_lies_at_its_series_and_day():
    given = facts()
    found = panel(given)
    inside = given["sales"].filter(pl.col("location_id") != "west", pl.col("day") >= SPAN.first)
    assert inside.height == 2 * 4 * 100
    for location, product, day, units in inside.sample(50, seed=1).iter_rows():
        assert demand(found, location, product, day) == units
    assert np.isnan(found.demand[:, SPAN.at(ORIGIN) + 1 :]).all()


def test_a_missing_row_is_unknown_or_zero_as_the_retailer_says():
    given = facts()
    given["sales"] = given["sales"].filter(~at("north", "bread", THREE_AGO))
    assert np.isnan(demand(panel(given), "north", "bread", THREE_AGO))
    assert demand(panel(given, absent_sales="zero"), "north", "bread", THREE_AGO) == 0.0


def test_a_missing_row_stays_unknown_on_a_day_on_which_the_location_reports_nothing():
    given = facts()
    given["sales"] = given["sales"].filter(~((pl.col("location_id") == "north") & (pl.col("day") == THREE_AGO)))
    assert np.isnan(demand(panel(given, absent_sales="zero"), "north", "bread", THREE_AGO))


def test_demand_is_unknown_before_the_first_sale_ever():
    given = facts()
    begin = ORIGIN - dt.timedelta(days=10)
    bread = (pl.col("location_id") == "north") & (pl.col("product_id") == "bread")
    given["sales"] = change(given["sales"], bread & (pl.col("day") < begin), units=pl.lit(0.0))
    given["sales"] = change(given["sales"], bread & (pl.col("day") == begin), units=pl.lit(5.0))
    found = panel(given)
    assert np.isnan(demand(found, "north", "bread", begin - dt.timedelta(days=1)))
    assert demand(found, "north", "bread", begin) == 5.0
    assert found.first_sale[series(found, "north", "bread")] == SPAN.at(begin)


def test_where_stock_ran_out_demand_is_what_sold_or_more_and_the_exposure_says_so():
    given = facts()
    given["stock"] = change(given["stock"], at("south", "dates", THREE_AGO), stockout_share=pl.lit(0.25))
    found = panel(given)
    sold = given["sales"].filter(at("south", "dates", THREE_AGO))["units"].item()
    assert demand(found, "south", "dates", THREE_AGO) > sold
    exposure = found.exposure[:, SPAN.at(THREE_AGO)]
    assert exposure[series(found, "south", "dates")] == 0.75
    assert exposure[series(found, "south", "apples")] == 1.0


def test_a_price_holds_until_the_next_row_also_from_before_the_axis_and_into_the_plan():
    found = panel(facts())
    row = found.price[series(found, "north", "bread")]
    change_day = SPAN.at(ORIGIN - dt.timedelta(days=149 - 60))
    planned = SPAN.at(ORIGIN + dt.timedelta(days=3))
    assert set(row[:change_day]) == {2.0}
    assert set(row[change_day:planned]) == {1.5}
    assert set(row[planned:]) == {3.0}


def test_an_undiscounted_promotion_can_be_told_from_none():
    found = panel(facts())
    row = found.promotion[series(found, "north", "apples"), SPAN.at(ORIGIN) + 1 :]
    assert row[:4].tolist() == pytest.approx([0.0, UNDISCOUNTED, 0.25, 0.0])


def test_a_series_is_on_sale_from_its_launch_until_it_is_delisted():
    given = facts()
    launch, end = ORIGIN - dt.timedelta(days=5), ORIGIN + dt.timedelta(days=2)
    bread = pl.col("product_id") == "bread"
    given["products"] = change(given["products"], bread, launched=pl.lit(launch), delisted=pl.lit(end))
    found = panel(given)
    on_sale = found.on_sale[series(found, "south", "bread")]
    assert np.flatnonzero(on_sale).tolist() == list(range(SPAN.at(launch), SPAN.at(end)))
    assert found.on_sale[series(found, "south", "apples")].all()


def test_a_series_is_on_sale_only_once_it_has_a_price_or_was_sold():
    given = facts()
    listed, sold = ORIGIN + dt.timedelta(days=4), ORIGIN - dt.timedelta(days=20)
    bread, cheese = pl.col("product_id") == "bread", pl.col("product_id") == "cheese"
    north = pl.col("location_id") == "north"
    prices = given["prices"].filter(~cheese, ~(bread & north))
    later = pl.DataFrame([("north", "bread", listed, 2.0)], schema=prices.columns, orient="row")
    given["prices"] = pl.concat([prices, later])
    given["sales"] = given["sales"].filter(~(bread & north), ~(cheese & (pl.col("day") < sold)))
    given["sales"] = change(given["sales"], cheese & (pl.col("day") == sold), units=pl.lit(3.0))
    found = panel(given)

    def begins(location, product):
        on_sale = found.on_sale[series(found, location, product)]
        assert on_sale[on_sale.argmax() :].all()
        return SPAN.first + dt.timedelta(days=int(on_sale.argmax()))

    assert begins("north", "bread") == listed
    assert begins("north", "cheese") == sold
    assert begins("south", "bread") == SPAN.first


def test_a_price_alone_makes_a_series_and_so_does_a_sale():
    given = facts()
    no_cheese = pl.col("product_id") != "cheese"
    only_price = panel({**given, "sales": given["sales"].filter(no_cheese)})
    only_sales = panel({**given, "prices": given["prices"].filter(no_cheese)})
    neither = panel({**given, "sales": given["sales"].filter(no_cheese), "prices": given["prices"].filter(no_cheese)})
    assert (only_price.series.height, only_sales.series.height, neither.series.height) == (8, 8, 6)


def test_weather_after_the_origin_is_the_forecast():
    given = facts()
    seen = given["weather"].with_columns(temperature=pl.lit(99.0), source=pl.lit("observed"))
    found = panel({**given, "weather": pl.concat([given["weather"], seen.filter(pl.col("day") > ORIGIN)])})
    assert found.temperature[0, SPAN.at(ORIGIN) + 1 :].tolist() == [5.0] * 10


def test_as_of_forgets_later_demand_and_weather_and_nothing_else():
    whole = panel(facts())
    found = whole.as_of(THREE_AGO)
    cut = SPAN.at(THREE_AGO) + 1
    for name in ("demand", "temperature", "precipitation"):
        now, then = getattr(whole, name), getattr(found, name)
        assert np.isfinite(now[:, cut : SPAN.at(ORIGIN) + 1]).all()
        assert np.isnan(then[:, cut:]).all()
        np.testing.assert_array_equal(then[:, :cut], now[:, :cut])
        assert then.dtype == np.float32
    for name in ("price", "promotion", "on_sale"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert (found.span.data_until, found.span.origin) == (THREE_AGO, THREE_AGO)
