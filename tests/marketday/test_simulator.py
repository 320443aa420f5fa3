"""The simulated grocer gives the same answer whenever asked, knows no future, and loses sales to empty shelves."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketday import tables
from marketday.errors import RetailerError
from marketday.simulator import FAULTS, FIRST_DAY, Grocer, demand, true_demand, world

DAY = dt.date(2024, 6, 3)
HORIZON = 14
KEY = ["location_id", "product_id", "day"]
ONE = dt.timedelta(1)


@pytest.fixture(scope="module")
def grocer():
    return Grocer(HORIZON)


@pytest.fixture(scope="module")
def history(grocer):
    return grocer.deliver(DAY, since=None)


def complaints(name: str, delivery: dict[str, pl.DataFrame]) -> list[str]:
    """Compare one delivered table with all that the catalogue says of it."""
    table, rows = tables.get(name), delivery[name]
    found = [] if rows.select(pl.struct(table.key).is_unique().all()).item() else ["key"]
    for column in table.columns:
        if column.name not in rows.columns:
            continue
        values = rows[column.name].drop_nulls()
        found += [f"{column.name} null"] if not column.nullable and rows[column.name].has_nulls() else []
        found += [f"{column.name} low"] if column.minimum is not None and (values < column.minimum).any() else []
        found += [f"{column.name} high"] if column.maximum is not None and (values > column.maximum).any() else []
        found += [f"{column.name} not allowed"] if column.allowed and not values.is_in(column.allowed).all() else []
        if column.references:
            known = [*delivery[column.references][tables.get(column.references).key[0]], column.wildcard]
            found += [f"{column.name} unknown"] if not values.is_in(known).all() else []
    return found


@pytest.mark.parametrize("name", [table.name for table in tables.DELIVERED])
def test_every_table_is_as_the_catalogue_says(history, name):
    assert history[name].height > 0
    wanted = tables.get(name).delivered_schema
    assert set(history[name].columns) == set(wanted.names)
    assert dict(history[name].schema) == {
        field.name: pl.from_arrow(wanted.empty_table()).schema[field.name]
        for field in wanted
        if field.name in history[name].columns
    }
    assert complaints(name, history) == []


def test_more_than_a_year_of_history_is_there_for_the_default_day(grocer):
    assert (grocer.default_day - grocer.first_day).days >= 400


def test_any_day_in_any_order_gives_the_same_answer(history):
    demand.simulation.cache_clear()
    later = Grocer(HORIZON).deliver(DAY + dt.timedelta(40), since=None)
    demand.simulation.cache_clear()
    again = Grocer(HORIZON).deliver(DAY, since=None)
    for name, rows in history.items():
        assert rows.equals(again[name]), name
    for name in ("sales", "stock"):
        assert history[name].equals(later[name].filter(pl.col("day") < DAY)), name


def test_another_seed_is_another_world(grocer, history):
    assert not Grocer(HORIZON, seed=8).deliver(DAY, since=None)["sales"].equals(history["sales"])


def test_daily_deliveries_add_up_to_the_history(grocer):
    start = DAY - dt.timedelta(3)
    parts = [grocer.deliver(start, since=None)]
    parts += [grocer.deliver(start + ONE * n, since=start + ONE * (n - 1)) for n in (1, 2, 3)]
    whole = grocer.deliver(DAY, since=None)
    for name in ("sales", "stock", "prices", "promotions", "offers"):
        joined = pl.concat([part[name] for part in parts]).unique()
        assert joined.sort(joined.columns).equals(whole[name].sort(joined.columns)), name


def test_facts_end_the_day_before_and_plans_reach_one_day_beyond_the_horizon(grocer, history):
    for name in ("sales", "stock"):
        assert (history[name]["day"].min(), history[name]["day"].max()) == (FIRST_DAY, DAY - ONE)
    weather = history["weather"]
    assert weather["day"].max() == DAY + dt.timedelta(HORIZON)
    assert weather.filter(pl.col("source") == "forecast")["day"].min() == DAY
    assert history["promotions"]["day"].max() > DAY
    since = grocer.deliver(DAY, since=DAY - ONE * 2)["sales"]["day"]
    assert (since.min(), since.max()) == (DAY - ONE * 2, DAY - ONE)


def test_forecast_weather_is_near_the_weather_that_comes_but_is_not_it(grocer):
    forecast = grocer.deliver(DAY, since=DAY - ONE)["weather"].filter(pl.col("source") == "forecast")
    later = grocer.deliver(DAY + ONE * 30, since=DAY)["weather"].filter(pl.col("source") == "observed")
    both = forecast.join(later, on=["location_id", "day"], suffix="_came")
    assert both.height == forecast.height
    error = (both["temperature"] - both["temperature_came"]).abs()
    assert 0.1 < error.mean() < 5


def test_every_listed_product_has_a_sales_row_and_a_price_on_every_day(history):
    launched = history["products"].select("product_id", pl.col("launched").fill_null(FIRST_DAY))
    first_price = history["prices"].group_by("location_id", "product_id").agg(priced=pl.col("day").min())
    series = first_price.join(launched, on="product_id").filter(pl.col("launched") < DAY)
    assert series.filter(pl.col("priced") != pl.col("launched")).is_empty()
    rows = history["sales"].group_by("location_id", "product_id").agg(days=pl.len())
    counted = series.join(rows, on=["location_id", "product_id"], how="left")
    assert counted.filter(pl.col("days") != (DAY - pl.col("launched")).dt.total_days()).is_empty()
    assert counted["days"].null_count() == 0
    assert (history["sales"]["units"] == 0).any()


def test_a_price_row_is_a_change(history):
    before = history["prices"].sort(KEY).with_columns(before=pl.col("price").shift().over("location_id", "product_id"))
    assert before.filter(pl.col("price") == pl.col("before")).is_empty()


def test_sales_never_exceed_demand_and_fall_short_only_where_stock_ran_out(history):
    truth = pl.concat([true_demand(FIRST_DAY + ONE * n) for n in range((DAY - FIRST_DAY).days)])
    rows = history["sales"].join(history["stock"], on=KEY).join(truth, on=KEY)
    assert rows.height == history["sales"].height == truth.height
    assert rows["units"].equals(rows["sales"].alias("units"))
    censored = rows.filter(pl.col("demand") > pl.col("units"))
    assert 0.005 < censored.height / rows.height < 0.15, "stock-outs are there, and are not the rule"
    assert (censored["stockout_share"] > 0).all()
    assert (censored["on_hand"] == 0).all()
    assert rows.filter(pl.col("stockout_share") == 0, pl.col("demand") != pl.col("units")).is_empty()


def test_stock_follows_from_the_day_before_sales_and_whole_packs(history):
    """An obvious oracle: what is on hand is what was there, less what was sold, plus packs that had been on order."""
    pack = (
        history["offers"].join(history["products"], on=["product_id", "supplier_id"]).select("product_id", "pack_size")
    )
    rows = history["sales"].join(history["stock"], on=KEY).join(pack.unique(), on="product_id").sort(KEY)
    moved = rows.with_columns(
        pl.col("on_hand", "on_order").shift().over("location_id", "product_id").name.suffix("_before")
    ).drop_nulls("on_hand_before")
    arrived = moved["on_hand"] + moved["units"] - moved["on_hand_before"]
    packs = arrived / moved["pack_size"]
    assert (packs - packs.round()).abs().max() < 1e-2
    assert (arrived > -1e-2).all()
    assert (arrived <= moved["on_order_before"] + 1e-2).all()
    assert (arrived > 0).any()


def test_drawn_demand_has_the_mean_and_variance_of_its_distribution():
    grocers = world.build()
    mean = np.full(len(grocers.product), 6.0)
    draws = np.array([demand._draw(grocers, FIRST_DAY + ONE * n, mean) for n in range(3000)])
    variance = np.where(grocers.by_weight, grocers.dispersion * 36.0, 6.0 + grocers.dispersion * 36.0)
    assert draws.mean() == pytest.approx(6.0, rel=0.01)
    assert (draws.var(axis=0) / variance).mean() == pytest.approx(1.0, rel=0.02)
    assert (draws[:, ~grocers.by_weight] % 1 == 0).all()


def test_promotions_and_holidays_move_demand(grocer):
    late = grocer.deliver(grocer.default_day, since=None)
    level = pl.col("units") / pl.col("units").mean().over("location_id", "product_id")
    rows = late["sales"].with_columns(level=level).join(late["promotions"], on=KEY, how="left")
    by_discount = rows.with_columns(deep=pl.col("discount") >= 0.2).group_by("deep").agg(pl.col("level").mean())
    promoted = by_discount.filter(pl.col("deep"))["level"].item()
    usual = by_discount.filter(pl.col("deep").is_null())["level"].item()
    assert promoted > 1.2 * usual
    holidays = late["events"].filter(pl.col("kind") == "national")["day"]
    assert rows.filter(pl.col("day").is_in(holidays.implode()))["level"].mean() < 0.8 * usual


def test_launches_and_delistings_happen_and_are_not_known_too_early(grocer):
    products = grocer.world.products.drop_nulls("delisted")
    product, delisted = products.select("product_id", "delisted").row(0)
    early = grocer.deliver(delisted - ONE * (HORIZON + 1), since=delisted - ONE * (HORIZON + 2))["products"]
    assert early.filter(pl.col("product_id") == product)["delisted"].item() is None
    late = grocer.deliver(delisted + ONE * 3, since=delisted - ONE)
    assert late["products"].filter(pl.col("product_id") == product)["delisted"].item() == delisted
    assert late["sales"].filter(pl.col("product_id") == product)["day"].unique().to_list() == [delisted - ONE]
    launch = grocer.world.products.drop_nulls("launched")["launched"].max()
    before = grocer.deliver(launch - ONE * (HORIZON + 1), since=launch - ONE * (HORIZON + 2))["products"]
    assert before.height < grocer.deliver(launch, since=launch - ONE)["products"].height


def test_the_first_day_has_no_day_before_it(grocer):
    with pytest.raises(RetailerError, match="Choose a business day from 2024-01-02"):
        grocer.deliver(FIRST_DAY, since=None)


def test_an_unknown_fault_is_refused_with_those_that_are_allowed(grocer):
    with pytest.raises(RetailerError, match=r"no fault typo\n.*unknown_product"):
        grocer.deliver(DAY, since=DAY - ONE, faults=("unknown_product", "typo"))


ROW_FAULTS = ["unknown_product", "unknown_location", "negative_price", "wrong_day", "not_a_number"]


@pytest.mark.parametrize("fault", ROW_FAULTS)
@pytest.mark.parametrize("since", [None, DAY - ONE])
def test_a_row_fault_adds_bad_rows_and_keeps_the_good_ones(grocer, fault, since):
    clean, dirty = grocer.deliver(DAY, since=since), grocer.deliver(DAY, since=since, faults=(fault,))
    name = "prices" if fault == "negative_price" else "sales"
    text = [pl.col("units").cast(pl.String)] if fault == "not_a_number" else []
    added = dirty[name].tail(-clean[name].height)
    assert dirty[name].head(clean[name].height).equals(clean[name].with_columns(text))
    assert 0 < added.height <= 3
    assert added.join(clean[name], on=KEY, how="semi").is_empty(), "their keys are not those of good rows"
    assert all(dirty[other].equals(clean[other]) for other in clean if other != name)


def test_a_duplicate_costs_one_day_of_the_slowest_seller_only(grocer):
    clean = grocer.deliver(DAY, since=DAY - ONE)["sales"]
    dirty = grocer.deliver(DAY, since=DAY - ONE, faults=("duplicate_key",))["sales"]
    twice = dirty.filter(pl.struct(KEY).is_duplicated())
    assert twice.height == 2
    assert twice["units"].n_unique() == 2
    assert twice["units"].min() == clean["units"].min()


def test_whole_table_faults_do_what_they_say(grocer):
    clean = grocer.deliver(DAY, since=DAY - ONE)["sales"]
    spoilt = {name: grocer.deliver(DAY, since=DAY - ONE, faults=(name,))["sales"] for name in FAULTS}
    assert spoilt["units_times_100"]["units"].sum() == pytest.approx(100 * clean["units"].sum())
    assert spoilt["truncated"].height == clean.height // 2
    assert spoilt["empty_table"].is_empty()
    assert "units" not in spoilt["missing_column"].columns


@given(st.sets(st.sampled_from(sorted(FAULTS)), max_size=4))
@hypothesis_settings(max_examples=15, deadline=None)
def test_faults_can_be_combined_in_any_order(faults):
    grocer = Grocer(HORIZON)
    one = grocer.deliver(DAY, since=DAY - ONE, faults=tuple(faults))
    other = grocer.deliver(DAY, since=DAY - ONE, faults=tuple(sorted(faults, reverse=True)))
    assert all(one[name].equals(other[name]) for name in one)


def test_every_fault_says_what_it_is():
    assert all(fault.__doc__ for fault in FAULTS.values())
