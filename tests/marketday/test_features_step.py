import datetime as dt

import polars as pl
import pytest
from distributed import LocalCluster
from polars.testing import assert_frame_equal
from small_shop import DAY, LOCATIONS, ORIGIN, PRODUCTS, change, facts

from marketday.errors import StepError
from marketday.features.build import blocks, features_table
from marketday.features.panel import Facts
from marketday.steps.features import READS
from marketday.tables import FEATURES, RECENT_DAYS
from marketday.warehouse import conform

HORIZON = 14
KEY = ["location_id", "product_id", "day"]


@pytest.fixture
def features(run_step):
    """Run the step on the given tables; returns its rows in the table's form."""

    def run(given, **options):
        outputs = run_step("features", DAY, given, **options)
        return conform(outputs.tables["features"], FEATURES, DAY).drop("run_day"), outputs.facts

    return run


def test_there_is_one_row_per_series_and_day_of_the_horizon(features):
    rows, said = features(facts())
    assert rows.height == len(LOCATIONS) * len(PRODUCTS) * HORIZON
    assert rows["horizon"].unique().sort().to_list() == list(range(1, HORIZON + 1))
    assert rows.filter(horizon=1)["day"].unique().to_list() == [DAY]
    assert said == {"blocks": ["000", "001"], "data_until": "2026-03-01", "mode": "fresh", "series": 12}


def test_recent_demand_stands_on_the_first_row_of_each_series_oldest_first(features):
    given = facts()
    rows, _ = features(given)
    carried = rows.filter(pl.col("recent").is_not_null())
    assert carried["day"].to_list() == [DAY] * 12
    one = carried.filter(location_id="south", product_id="bread")["recent"].item().to_list()
    sold = given["sales"].filter(location_id="south", product_id="bread").sort("day")["units"].to_list()
    assert len(one) == RECENT_DAYS
    assert one == ([None] * RECENT_DAYS + sold)[-RECENT_DAYS:]


def test_columns_say_what_they_promise(features):
    given = facts()
    rows, _ = features(given)
    row = rows.filter(location_id="north", product_id="bread", horizon=4).row(0, named=True)
    assert (row["weekday"], row["price"], row["event"], row["event_tomorrow"]) == (4, 3.0, "Spring day", None)
    assert row["price_relative"] == pytest.approx(3.0 / ((90 * 1.5 + 1 * 3.0) / 91))
    assert row["temperature"] == 5.0
    assert rows.filter(horizon=3)["event_tomorrow"].unique().to_list() == ["Spring day"]
    assert rows.filter(horizon=5, payday=1.0)["location_id"].unique().to_list() == ["south"]
    end = row["day"] - dt.timedelta(days=HORIZON)
    window = given["sales"].filter(pl.col("day").is_between(end - dt.timedelta(days=27), end))
    at_north, of_bread = window.filter(location_id="north")["units"], window.filter(product_id="bread")["units"]
    assert row["location_level"] == pytest.approx(at_north.mean(), rel=1e-5)
    assert row["product_level"] == pytest.approx(of_bread.mean(), rel=1e-5)


def leaks():
    """Yield changes of what nobody can know on the morning of the day."""
    later = pl.col("day") > ORIGIN
    given = facts(until=DAY + dt.timedelta(days=20))
    told = facts()
    tomorrow = DAY + dt.timedelta(days=1)
    sold_later = given["sales"].filter(later)
    yield "sales of later days", {**told, "sales": pl.concat([told["sales"], sold_later])}
    stock_later = given["stock"].filter(later).with_columns(stockout_share=pl.lit(1.0))
    yield "stock of later days", {**told, "stock": pl.concat([told["stock"], stock_later])}
    for name in ("sales", "stock", "prices", "promotions", "weather", "events", "products", "locations"):
        corrected = _distorted(told[name], name).with_columns(run_day=pl.lit(tomorrow))
        yield (
            f"{name} as told on a later morning",
            {
                **told,
                name: pl.concat([told[name].with_columns(run_day=pl.lit(DAY)), corrected]),
            },
        )


def _distorted(table, name):
    numbers = {"sales": "units", "stock": "stockout_share", "prices": "price", "promotions": "discount"}
    texts = {"events": "kind", "products": "department", "locations": "region"}
    if name in texts:
        return table.with_columns(pl.lit("local").alias(texts[name]))
    column = numbers.get(name, "temperature")
    return table.with_columns((pl.col(column) + 0.5).alias(column))


@pytest.mark.parametrize(("what", "given"), [pytest.param(w, g, id=w.replace(" ", "-")) for w, g in leaks()])
def test_no_column_knows_what_became_known_later(features, simulated, what, given):
    rows, _ = features(given)
    untouched, _ = features(facts(), retailer=simulated.model_copy(update={"name": "untouched"}))
    assert_frame_equal(rows, untouched)


def test_each_fact_before_the_origin_does_reach_the_features(features, simulated):
    before, _ = features(facts())
    for name in ("sales", "stock", "prices", "promotions", "weather", "events", "products", "locations"):
        given = {**facts(), name: _distorted(facts()[name], name)}
        after, _ = features(given, retailer=simulated.model_copy(update={"name": f"with_{name}"}))
        assert not after.equals(before), name


def test_blocks_change_nothing_but_their_name(features, simulated):
    rows, _ = features(facts())
    one = simulated.model_copy(update={"name": "one_block", "block_size": 10})
    whole, said = features(facts(), retailer=one)
    assert said["blocks"] == ["000"]
    assert_frame_equal(rows.drop("block"), whole.drop("block"))


def test_threads_and_a_cluster_give_the_same_rows(simulated):
    lazy = Facts(*(facts()[table.name].lazy() for table in READS))
    with LocalCluster(n_workers=1, processes=False, protocol="tcp", dashboard_address=None) as cluster:
        in_threads, on_cluster = (
            features_table(lazy, simulated, DAY, ORIGIN, scheduler)
            for scheduler in ("threads", cluster.scheduler_address)
        )
    assert on_cluster.height == 12 * HORIZON
    assert_frame_equal(in_threads, on_cluster)


def test_without_yesterdays_sales_the_gap_is_forecast_too(features):
    late = ORIGIN - dt.timedelta(days=2)
    given = facts()
    rows, said = features({**given, "sales": given["sales"].filter(pl.col("day") <= late)})
    assert (said["mode"], said["data_until"]) == ("degraded", late.isoformat())
    assert rows["horizon"].unique().sort().to_list() == list(range(-1, HORIZON + 1))
    assert rows.filter(pl.col("recent").is_not_null())["day"].unique().to_list() == [late + dt.timedelta(days=1)]


def test_delisted_products_have_no_rows_from_that_day_on(features):
    given = facts()
    gone = pl.lit(DAY + dt.timedelta(days=2))
    given["products"] = change(given["products"], pl.col("product_id") == "bread", delisted=gone)
    rows, _ = features(given)
    assert rows.filter(product_id="bread")["horizon"].unique().sort().to_list() == [1, 2]


def test_a_location_that_lists_a_product_later_has_rows_from_its_first_price_on(features):
    given = facts()
    pair = (pl.col("location_id") == "north") & (pl.col("product_id") == "bread")
    listed = pl.DataFrame(
        [("north", "bread", DAY + dt.timedelta(days=5), 2.0)], schema=given["prices"].columns, orient="row"
    )
    prices = pl.concat([given["prices"].filter(~pair), listed])
    rows, _ = features({**given, "prices": prices, "sales": given["sales"].filter(~pair)})
    assert rows.filter(location_id="north", product_id="bread")["horizon"].to_list() == list(range(6, HORIZON + 1))
    assert rows.filter(location_id="south", product_id="bread").height == HORIZON


def test_a_retailer_without_prices_is_forecast_all_the_same(features):
    given = facts()
    rows, _ = features({**given, "prices": given["prices"].clear()})
    assert rows.height == len(LOCATIONS) * len(PRODUCTS) * HORIZON
    assert rows["price"].null_count() == rows.height


def test_a_block_of_locations_that_sell_nothing_has_no_rows(features):
    given = facts()
    bare = pl.DataFrame({"location_id": ["yard", "zoo"], "name": ["yard", "zoo"], "region": ["lower", "lower"]})
    rows, said = features({**given, "locations": pl.concat([given["locations"], bare])})
    assert said["blocks"] == ["000", "001"]
    assert rows.height == 12 * HORIZON


def test_without_any_sales_the_step_says_what_is_missing(features):
    given = facts()
    with pytest.raises(StepError, match="No sales up to 2026-03-01 are known on the morning of 2026-03-02"):
        features({**given, "sales": given["sales"].clear()})


def test_blocks_are_named_in_the_order_of_locations():
    assert blocks(["c", "a", "b"], 2) == {"000": ["a", "b"], "001": ["c"]}
