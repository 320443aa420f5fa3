"""Which refused rows are tried again on a morning, and which are superseded by something newer."""

import datetime as dt
import json

import polars as pl
import pytest

from marketday.quarantine.retrying import as_delivered, due, superseded
from marketday.tables import EVENTS, OFFERS, PRODUCTS, SALES, Table
from marketday.warehouse import empty

DAY = dt.date(2026, 3, 6)
KEYS = {
    "products": pl.Series(["milk"]),
    "locations": pl.Series(["north"]),
    "suppliers": pl.Series([], dtype=pl.String),
}


def day(number: int) -> dt.date:
    return DAY + dt.timedelta(days=number)


def refused(table: Table, *rows: dict, back: int = 3, reason: str = "unknown_product", asked: bool = False):
    """Return rows that were refused ``back`` days ago, as they are read back from their content."""
    made = [
        {
            "delivery_day": day(-back),
            "table": table.name,
            "row": number,
            "content": json.dumps(row, default=str),
            "reason": reason,
            "asked": asked,
        }
        for number, row in enumerate(rows)
    ]
    return as_delivered(pl.DataFrame(made), table)


def sale(product: str | None = "milk", location: str | None = "north", of: int = -4, units: float = 2.0) -> dict:
    return {"location_id": location, "product_id": product, "day": day(of), "units": units}


def facts(table: Table, *rows: tuple) -> pl.LazyFrame:
    return pl.DataFrame(rows, schema=empty(table).schema, orient="row").lazy()


def test_the_content_is_read_back_as_it_was_delivered():
    row = refused(SALES, {**sale("mülk"), "units": None, "unreadable": "units=n/a"}).row(0, named=True)
    assert (row["product_id"], row["day"], row["units"]) == ("mülk", day(-4), None)
    assert (row["unreadable"], row["reread"]) == ("units=n/a", None)


def test_a_row_is_tried_once_everything_that_it_refers_to_is_known():
    rows = refused(SALES, sale(), sale("pear"), sale("milk", "moon"))
    assert due(rows, SALES, KEYS, DAY)["row"].to_list() == [0]


def test_a_row_that_broke_another_rule_is_tried_only_if_somebody_asks():
    assert due(refused(SALES, sale(), reason="negative_sales"), SALES, KEYS, DAY).is_empty()
    assert due(refused(SALES, sale(), reason="negative_sales", asked=True), SALES, KEYS, DAY).height == 1


def test_what_may_be_left_out_and_what_stands_for_all_needs_no_reference():
    product = {"product_id": "pear", "category": "food", "supplier_id": None}
    assert due(refused(PRODUCTS, product, reason="unknown_supplier"), PRODUCTS, KEYS, DAY).height == 1
    event = {"location_id": "*", "day": day(-4), "name": "Fair", "kind": "local"}
    assert due(refused(EVENTS, event, reason="unknown_location"), EVENTS, KEYS, DAY).height == 1


def test_a_table_waits_only_for_what_it_refers_to():
    offer = {"supplier_id": "farm", "product_id": "milk", "day": day(-3)}
    known = {**KEYS, "suppliers": pl.Series(["farm"])}
    assert due(refused(OFFERS, offer, reason="unknown_supplier"), OFFERS, known, DAY).height == 1
    assert due(refused(OFFERS, offer, reason="unknown_location"), OFFERS, known, DAY).is_empty()


@pytest.mark.parametrize(("of", "tried"), [(-1, 1), (0, 0), (2, 0)])
def test_a_plan_is_not_replaced_by_one_row_of_an_old_one(of, tried):
    event = {"location_id": "north", "day": day(of), "name": "Fair", "kind": "local"}
    assert due(refused(EVENTS, event, reason="unknown_location", asked=True), EVENTS, KEYS, DAY).height == tried


@pytest.mark.parametrize(("run_day", "is_superseded"), [(-4, False), (-3, True), (-1, True)])
def test_a_row_whose_key_came_with_the_same_delivery_or_a_later_one_is_superseded(run_day, is_superseded):
    rows = refused(SALES, sale(), sale("pear"))
    found = superseded(rows, SALES, facts(SALES, ("north", "milk", day(-4), 5.0, day(run_day))))
    assert found["row"].to_list() == ([0] if is_superseded else [])
    assert found.columns == rows.columns


def test_rows_without_a_whole_key_are_superseded_by_nothing():
    known = facts(SALES, ("north", "milk", day(-4), 5.0, day(-1)))
    assert superseded(refused(SALES, sale(None), sale("milk", None)), SALES, known).is_empty()


@pytest.mark.parametrize(
    ("plan_made", "is_superseded"),
    [(-3, False), (-2, True), (-1, True), (0, False)],
    ids=["by the same delivery", "between", "on its day", "too late for it"],
)
def test_a_planned_row_is_superseded_by_the_next_plan_that_could_have_had_it(plan_made, is_superseded):
    rows = refused(EVENTS, {"location_id": "north", "day": day(-1), "name": "Fair", "kind": "local"})
    plan = facts(EVENTS, ("south", day(9), "Other", "local", day(plan_made)))
    assert superseded(rows, EVENTS, plan).height == is_superseded


def test_past_events_that_are_delivered_late_are_no_plan():
    rows = refused(EVENTS, {"location_id": "north", "day": day(-1), "name": "Fair", "kind": "local"})
    late = facts(EVENTS, ("south", day(-9), "Other", "local", day(-2)))
    assert superseded(rows, EVENTS, late).is_empty()
