"""A past morning is what was known on it: no later sale, no later correction."""

import datetime as dt

import polars as pl
import pytest

from marketday.backtest import plan as plans
from marketday.backtest import sources
from marketday.errors import RetailerError
from marketday.simulator import FIRST_DAY, Grocer
from marketday.tables import SALES, STOCK
from marketday.tables import get as table_of
from marketday.warehouse import Warehouse

FIRST = FIRST_DAY + dt.timedelta(days=40)
"""Business day of the first delivery."""
SECOND = FIRST + dt.timedelta(days=14)
GROCER = Grocer(7)
PAIR = ["location_id", "product_id"]


@pytest.fixture
def shop(settings, warehouse: Warehouse, tmp_path):
    """A retailer with a customer of its own, whose warehouse knows two deliveries and a correction."""
    folder = tmp_path / "retailers"
    folder.mkdir()
    (folder / "shop.yaml").write_text("title: Shop\ntime_zone: Europe/Berlin\nhorizon: 7\n")
    mine = settings.model_copy(update={"retailers": folder})
    for day, since in ((FIRST, None), (SECOND, FIRST)):
        for name, rows in GROCER.deliver(day, since=since).items():
            warehouse.write("shop", table_of(name), rows, run_day=day)
    wrong = GROCER.deliver(SECOND, since=SECOND - dt.timedelta(days=1))["sales"]
    warehouse.write(
        "shop", SALES, wrong.with_columns(units=pl.lit(777.0)), run_day=SECOND + dt.timedelta(days=1)
    )  # the day before SECOND, corrected a day later
    return mine


def plan(settings, *origins: dt.date, **options):
    return plans.make("shop", settings, settings.home / "definition", origins=origins, **options)


def test_the_warehouse_is_replayed_as_it_was_known(shop):
    origin = SECOND - dt.timedelta(days=1)
    short = plan(shop, FIRST - dt.timedelta(days=1))
    source = sources.find(short, shop, short.origins[0])
    assert (source.history, source.outcome) == ("warehouse", "warehouse")
    known = sources.morning(short, shop, short.origins[0], source)
    assert known["sales"]["day"].max() == FIRST - dt.timedelta(days=1)
    assert known["promotions"]["day"].max() >= FIRST, "plans are known"
    late = sources.morning(plan(shop, origin), shop, origin, source)
    assert late["sales"].filter(pl.col("units") == 777.0).is_empty(), "the correction came later"
    assert late["sales"]["day"].max() == origin


def test_what_followed_is_as_known_by_now(shop):
    origin = SECOND - dt.timedelta(days=8)
    source = sources.Source("warehouse", "warehouse", {})
    sold, stock = sources.outcome(plan(shop, origin), shop, origin, source)
    assert sold["day"].min() == origin + dt.timedelta(days=1)
    assert sold.filter(day=SECOND - dt.timedelta(days=1))["units"].unique().to_list() == [777.0]
    assert set(stock.columns) == set(STOCK.delivered_schema.names)


def test_mornings_before_the_first_delivery_are_cut_from_its_history(shop):
    origin = FIRST - dt.timedelta(days=15)
    source = sources.find(plan(shop, origin), shop, origin)
    assert source.history == "first delivery"
    known = sources.morning(plan(shop, origin), shop, origin, source)
    assert known["sales"]["day"].max() == origin
    assert known["stock"]["day"].max() == origin
    assert known["prices"]["day"].max() <= origin + dt.timedelta(days=8)


def test_days_whose_sales_are_not_known_yet_cannot_be_scored(shop):
    origin = SECOND - dt.timedelta(days=2)
    with pytest.raises(RetailerError, match=r"is not inside the known sales\nWhat to do: .*Choose origins between"):
        sources.find(plan(shop, origin), shop, origin)


def test_a_retailer_that_delivered_nothing_has_no_past(settings, tmp_path):
    folder = tmp_path / "retailers"
    folder.mkdir()
    (folder / "shop.yaml").write_text("title: Shop\ntime_zone: Europe/Berlin\n")
    mine = settings.model_copy(update={"retailers": folder})
    with pytest.raises(RetailerError, match="no past to replay"):
        sources.find(plan(mine, FIRST), mine, FIRST)


def test_a_simulated_retailer_is_replayed_from_its_simulator_if_its_warehouse_knew_nothing(settings):
    mine = plans.make("simulated", settings, settings.home / "definition", origins=[FIRST])
    source = sources.find(mine, settings, FIRST)
    assert (source.history, source.outcome) == ("customer", "customer")


def test_a_part_has_the_same_series_in_every_table_and_at_every_origin(shop):
    first, later = FIRST - dt.timedelta(days=1), FIRST + dt.timedelta(days=6)
    found = []
    for origin in (first, later):
        asked = plan(shop, origin, series=10, locations=["S01", "S02"])
        tables = sources.morning(asked, shop, origin, sources.Source("warehouse", "warehouse", {}))
        pairs = tables["sales"].select(PAIR).unique()
        assert pairs.height == 10
        assert set(pairs["location_id"]) <= {"S01", "S02"} == set(asked.locations)
        assert tables["prices"].join(pairs, on=PAIR, how="anti").is_empty()
        assert set(tables["products"]["product_id"]) == set(pairs["product_id"])
        assert tables["events"].height > 0
        found.append(pairs)
    assert found[0].join(found[1], on=PAIR).height >= 9


def test_a_location_that_is_not_there_is_answered_with_those_that_are(shop):
    origin = FIRST - dt.timedelta(days=1)
    asked = plan(shop, origin, locations=["S77"])
    with pytest.raises(RetailerError, match=r"no location S77\nWhat to do: It has S01, S02"):
        sources.morning(asked, shop, origin, sources.Source("warehouse", "warehouse", {}))
