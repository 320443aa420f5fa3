"""What delivered rows are compared with is what was known before the morning, of the last weeks."""

import datetime as dt
import math
from typing import Any

import polars as pl
import pytest

from marketday import retailers, tables
from marketday.cleaning import Known, known_on
from marketday.retailers import Retailer
from marketday.warehouse import empty

DAY = dt.date(2025, 3, 10)
ORIGIN = DAY - dt.timedelta(days=1)
SERIES = {"location_id": "north", "product_id": "milk"}


@pytest.fixture
def simulated(settings) -> Retailer:
    return retailers.load("simulated", settings.retailers)


def known(simulated: Retailer, **given: list[dict[str, Any]]) -> Known:
    """Return what is known of rows that became known the day after theirs, if they do not say otherwise."""

    def scan(table: tables.Table) -> pl.LazyFrame:
        rows = [{"run_day": row.get("day", ORIGIN) + dt.timedelta(days=1), **row} for row in given.get(table.name, [])]
        return pl.DataFrame(rows, schema=empty(table).schema).lazy()

    return known_on(scan, simulated, DAY)


def sold(*units: float, until: dt.date = ORIGIN) -> list[dict[str, Any]]:
    return [
        {**SERIES, "day": until - dt.timedelta(days=n + 1), "units": value} for n, value in enumerate(reversed(units))
    ]


def test_usual_units_are_those_of_days_with_sales(simulated):
    usual = known(simulated, sales=sold(0.0, *[2.0, 8.0] * 4, 0.0)).usual_units
    assert usual.select("location_id", "product_id").row(0) == ("north", "milk")
    assert usual["log_units"].item() == pytest.approx(math.log(4))
    assert usual["spread"].item() == pytest.approx(math.log(2) * math.sqrt(8 / 7))


def test_a_product_that_hardly_sold_has_no_usual_units(simulated):
    assert known(simulated, sales=sold(*[1.0] * 7)).usual_units.is_empty()
    assert known(simulated, sales=sold(*[1.0] * 8)).usual_units.height == 1


def test_sales_of_more_than_thirteen_weeks_ago_are_forgotten(simulated):
    old = sold(*[1.0] * 20, until=ORIGIN - dt.timedelta(days=90))
    assert known(simulated, sales=old).usual_units.is_empty()


def test_what_the_mornings_own_run_wrote_is_not_known(simulated):
    again = [{**row, "run_day": DAY} for row in sold(*[1.0] * 20)]
    product = {"product_id": "milk", "category": "food", "department": "dairy", "unit": "pieces", "run_day": DAY}
    found = known(simulated, sales=again, products=[product])
    assert found.usual_units.is_empty()
    assert found.products.is_empty()
    assert found.keys["products"].is_empty()
    assert found.first_day is None


def test_usual_prices_are_of_the_product_in_all_locations(simulated):
    place = {**SERIES, "day": ORIGIN - dt.timedelta(days=1)}
    prices = [{**place, "price": 1.0}, {**place, "location_id": "south", "price": 4.0}]
    (row,) = known(simulated, prices=prices).usual_prices.to_dicts()
    assert row == {"product_id": "milk", "log_price": pytest.approx(math.log(2))}


def test_a_table_that_was_accepted_brings_what_later_ones_refer_to(simulated):
    product = {"product_id": "milk", "category": "food", "department": "dairy", "unit": "pieces"}
    before = known(simulated, products=[{**product, "run_day": ORIGIN}])
    accepted = pl.DataFrame(
        [{**product, "unit": "weight"}, {**product, "product_id": "oats"}],
        schema=empty(tables.PRODUCTS).drop("run_day").schema,
    )
    after = before.after(tables.PRODUCTS, accepted)
    assert sorted(after.keys["products"]) == ["milk", "oats"]
    assert dict(after.products.select("product_id", "unit").iter_rows()) == {"milk": "weight", "oats": "pieces"}
    closed = pl.DataFrame([{"location_id": "*", "day": ORIGIN, "name": "Fair", "kind": "closed"}])
    assert after.after(tables.EVENTS, closed).closed.rows() == [("*", ORIGIN)]
    assert after.after(tables.WEATHER, empty(tables.WEATHER)) is after
