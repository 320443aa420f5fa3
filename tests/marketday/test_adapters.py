"""Every customer delivers what the catalogue asks for and no fact that could not be known on that morning."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from marketday import adapters, retailers, tables
from marketday.errors import RetailerError
from marketday.settings import Settings

ONE = dt.timedelta(1)
KEY = ["location_id", "product_id", "day"]
NAMES = ("simulated", "m5", "freshretailnet")


@pytest.fixture
def data() -> Path:
    """The folder of the real data sets, where there is one."""
    folder = Settings().data
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not in {folder} (MARKETDAY_DATA)")
    return folder


@pytest.fixture(params=[NAMES[0], *(pytest.param(name, marks=pytest.mark.data) for name in NAMES[1:])])
def replayed(request, settings) -> adapters.Customer:
    """Every customer in turn."""
    folder = settings.data if request.param == "simulated" else request.getfixturevalue("data")
    return adapters.customer(retailers.load(request.param, settings.retailers), folder)


def test_deliveries_have_the_catalogues_columns_keys_and_values(replayed):
    day = replayed.default_day
    for name, rows in replayed.deliver(day, since=day - ONE * 2).items():
        table = tables.get(name)
        assert set(rows.columns) <= set(table.delivered_schema.names), name
        assert {c.name for c in table.columns if not c.nullable} <= set(rows.columns), name
        assert rows.select(pl.struct(table.key).is_unique().all()).item(), name
        for column in table.columns:
            if column.name not in rows.columns:
                continue
            values = rows[column.name].drop_nulls()
            assert column.nullable or values.len() == rows.height, (name, column.name)
            assert column.minimum is None or not (values < column.minimum).any(), (name, column.name)
            assert column.maximum is None or not (values > column.maximum).any(), (name, column.name)
            assert not column.allowed or values.is_in(column.allowed).all(), (name, column.name)


def test_no_fact_of_the_day_itself_or_later_is_delivered(replayed):
    day, since = replayed.default_day, replayed.default_day - ONE * 3
    tables_of_day = replayed.deliver(day, since=since)
    last_planned = day + ONE * replayed.horizon
    for name in {"sales", "stock"} & set(tables_of_day):
        assert set(tables_of_day[name]["day"]) == {since, since + ONE, since + ONE * 2}, name
    for name in {"prices", "promotions", "events", "weather", "offers"} & set(tables_of_day):
        days = tables_of_day[name]["day"]
        assert days.is_empty() or (days.min() >= since and days.max() <= last_planned), name


def test_every_series_that_sells_has_a_price_and_is_announced(replayed):
    history = replayed.deliver(replayed.default_day, since=None)
    pair = ["location_id", "product_id"]
    latest = history["sales"].filter(pl.col("day") == replayed.default_day - ONE)
    assert latest.height > 0
    assert latest.join(history["prices"].unique(pair), on=pair, how="anti").is_empty()
    assert latest.join(history["products"], on="product_id", how="anti").is_empty()
    assert latest.join(history["locations"], on="location_id", how="anti").is_empty()


def test_the_same_morning_is_delivered_the_same_way_twice(replayed):
    day = replayed.default_day
    one, two = (replayed.deliver(day, since=day - ONE) for _ in range(2))
    assert one.keys() == two.keys()
    assert all(one[name].equals(two[name]) for name in one)


def test_days_without_facts_before_them_are_refused(replayed):
    with pytest.raises(RetailerError, match="Choose a business day from"):
        replayed.deliver(replayed.first_day, since=None)
    if replayed.last_day is not None:
        assert replayed.deliver(replayed.last_day + ONE, since=replayed.last_day)["sales"].height > 0
        with pytest.raises(RetailerError, match=f"to {replayed.last_day + ONE}"):
            replayed.deliver(replayed.last_day + ONE * 2, since=None)


@pytest.mark.data
@pytest.mark.parametrize("name", NAMES[1:])
def test_recorded_data_cannot_have_faults(settings, data, name):
    customer = adapters.customer(retailers.load(name, settings.retailers), data)
    with pytest.raises(RetailerError, match="cannot have the faults truncated"):
        customer.deliver(customer.default_day, since=None, faults=("truncated",))


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_missing_data_set_names_the_variable_and_what_was_looked_for(settings, tmp_path, name):
    with pytest.raises(RetailerError, match=r"no .*\.parquet.* in .*\n.*MARKETDAY_DATA"):
        adapters.customer(retailers.load(name, settings.retailers), tmp_path)


def test_a_real_customer_has_nobody_to_deliver_for_it(simulated, tmp_path):
    with pytest.raises(RetailerError, match="simulated has a real customer"):
        adapters.customer(simulated.model_copy(update={"source": "none"}), tmp_path)


@pytest.mark.data
def test_m5_has_all_series_from_their_release_on(settings, data):
    customer = adapters.customer(retailers.load("m5", settings.retailers), data)
    history = customer.deliver(dt.date(2016, 4, 25), since=None)
    series = history["sales"].group_by("location_id", "product_id").agg(first=pl.col("day").min(), days=pl.len())
    assert series.height == 3080
    assert history["sales"].height == 5_049_422
    assert series.filter(pl.col("days") != (dt.date(2016, 4, 25) - pl.col("first")).dt.total_days()).is_empty()
    first_price = history["prices"].group_by("location_id", "product_id").agg(priced=pl.col("day").min())
    assert (
        series.join(first_price, on=["location_id", "product_id"])
        .filter(pl.col("priced") != pl.col("first"))
        .is_empty()
    )
    snap = history["events"].filter(pl.col("name") == "SNAP", pl.col("day") == dt.date(2016, 5, 1))
    assert snap["location_id"].sort().to_list() == ["CA_1", "CA_2", "CA_3", "CA_4", "TX_1", "TX_2", "TX_3"]


@pytest.mark.data
def test_m5_prices_hold_until_the_next_change(settings, data):
    """The sales files carry the price of every day: carrying the changes forward must give it back."""
    customer = adapters.customer(retailers.load("m5", settings.retailers), data)
    changes = customer.deliver(dt.date(2013, 1, 7), since=None)["prices"].sort("day")
    daily = (
        pl.read_parquet(data / "m5" / "sales_WI_1.parquet")
        .filter(pl.col("sell_price").is_not_null(), pl.col("date") < dt.date(2013, 1, 7))
        .select(location_id="store_id", product_id="item_id", day="date", given="sell_price")
        .sort("day")
    )
    held = daily.join_asof(changes, on="day", by=["location_id", "product_id"], check_sortedness=False)
    assert held.height > 100_000
    assert (held["price"] - held["given"]).abs().max() < 1e-5
    assert held["price"].null_count() == 0


@pytest.mark.data
def test_freshretailnet_says_when_shelves_were_empty_but_not_how_much_was_there(settings, data):
    customer = adapters.customer(retailers.load("freshretailnet", settings.retailers), data)
    delivery = customer.deliver(customer.default_day, since=customer.default_day - ONE)
    assert delivery["sales"].height == delivery["stock"].height == 50_000
    assert delivery["stock"].columns == [*KEY, "stockout_share"]
    assert 0.2 < (delivery["stock"]["stockout_share"] > 0).mean() < 0.7
    assert delivery["products"]["unit"].unique().to_list() == ["weight"]
    assert delivery["products"]["product_id"].str.len_chars().unique().to_list() == [5]
