"""Cleaning: each rule refuses what it says, and no row is ever lost."""

import datetime as dt
import json
import math
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from marketday import tables
from marketday.checks import CHECKS, ROW_CHECKS
from marketday.cleaning import Checked, Known, check
from marketday.cleaning.rules import rules
from marketday.retailers import Checks
from marketday.warehouse import conform, empty

ORIGIN = dt.date(2025, 3, 9)
KNOWN = Known(
    last_day=ORIGIN,
    first_day=dt.date(2025, 3, 2),
    keys={
        "products": pl.Series(["apple", "milk"]),
        "locations": pl.Series(["north", "south"]),
        "suppliers": pl.Series(["farm"]),
    },
    products=pl.DataFrame(
        {"product_id": ["apple", "milk"], "unit": ["weight", "pieces"], "launched": [None] * 2, "delisted": [None] * 2},
        schema_overrides={"launched": pl.Date, "delisted": pl.Date},
    ),
)
PLACE: dict[str, Any] = {"location_id": "north", "product_id": "milk", "day": ORIGIN}
GOOD: dict[str, dict[str, Any]] = {
    "suppliers": {"supplier_id": "farm"},
    "products": {"product_id": "milk", "category": "food", "department": "dairy", "unit": "pieces"},
    "locations": {"location_id": "north", "region": "hills"},
    "sales": {**PLACE, "units": 3.0},
    "stock": {**PLACE, "on_hand": 5.0},
    "prices": {**PLACE, "price": 1.2},
    "promotions": {**PLACE, "kind": "leaflet", "discount": 0.2},
    "offers": {
        "supplier_id": "farm",
        "product_id": "milk",
        "day": ORIGIN,
        "cost": 0.8,
        "pack_size": 12.0,
        "minimum_packs": 1,
        "lead_time": 2,
        "delivery_weekdays": "135",
    },
    "weather": {"location_id": "north", "day": ORIGIN, "temperature": 8.0, "precipitation": 0.0, "source": "observed"},
    "events": {"location_id": "*", "day": dt.date(2025, 4, 20), "name": "Easter", "kind": "religious"},
}


def delivered(table: str, *rows: dict[str, Any]) -> pl.DataFrame:
    schema = dict(empty(tables.RAW[table]).drop("run_day").schema)
    return pl.DataFrame([{**row, "row": number} for number, row in enumerate(rows)], schema=schema)


def cleaned(table: str, *rows: dict[str, Any], known: Known = KNOWN) -> Checked:
    return check(delivered(table, *rows), tables.get(table), known)


@pytest.mark.parametrize("table", [table.name for table in tables.DELIVERED])
def test_a_good_row_is_accepted_as_it_is(table: str) -> None:
    accepted, refused, collapsed, _ = cleaned(table, GOOD[table])
    assert accepted.equals(delivered(table, GOOD[table]).drop("row", "unreadable", "reread"))
    assert (refused.height, collapsed) == (0, 0)
    assert conform(accepted, tables.STAGED[table], ORIGIN).height == 1


@pytest.mark.parametrize(
    ("table", "fault", "reason", "message"),
    [
        ("sales", {"units": None, "unreadable": "units=three"}, "unreadable", "could not be read: units=three"),
        ("sales", {"units": None}, "missing", "units is missing"),
        ("products", {"product_id": None}, "missing", "product_id is missing"),
        ("sales", {"units": -3.0}, "negative_sales", "units is -3.0: what was sold is not negative"),
        ("stock", {"on_hand": -3.0}, "out_of_range", "on_hand is -3.0; the least allowed is 0"),
        ("prices", {"price": 0.0}, "zero_price", "price is 0"),
        ("sales", {"units": 2e6}, "out_of_range", "units is 2000000.0; the most allowed is 1e+06"),
        ("stock", {"on_hand": float("nan")}, "out_of_range", "on_hand is NaN; it must be a finite number"),
        ("stock", {"on_order": float("inf")}, "out_of_range", "on_order is inf; it must be a finite number"),
        ("offers", {"lead_time": 61}, "out_of_range", "lead_time is 61; the most allowed is 60"),
        ("products", {"unit": "kg"}, "not_allowed", "unit is 'kg'; allowed are pieces, weight"),
        (
            "offers",
            {"delivery_weekdays": "Mo"},
            "malformed",
            "delivery_weekdays is 'Mo'; it must be ISO weekdays from 1 (Monday) to 7, such as 135, or empty for any",
        ),
        ("offers", {"delivery_weekdays": "13\n"}, "malformed", "it must be ISO weekdays"),
        ("offers", {"delivery_weekdays": "08"}, "malformed", "delivery_weekdays is '08'"),
        ("sales", {"product_id": "pear"}, "unknown_product", "'pear' is not among the products"),
        ("sales", {"location_id": "west"}, "unknown_location", "'west' is not among the locations"),
        ("events", {"location_id": "west"}, "unknown_location", "'west' is not among the locations"),
        ("products", {"supplier_id": "mine"}, "unknown_supplier", "'mine' is not among the suppliers"),
        (
            "sales",
            {"day": dt.date(2025, 3, 11)},
            "wrong_day",
            "day is 2025-03-11; allowed are 2025-03-02 to 2025-03-09",
        ),
        ("stock", {"day": dt.date(2025, 3, 1)}, "wrong_day", "day is 2025-03-01; allowed are 2025-03-02 to 2025-03-09"),
        ("sales", {"units": 1.5}, "fractional_pieces", "units is 1.5, but product milk is sold in pieces"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_with_the_rule_and_the_value(
    table: str, fault: dict[str, Any], reason: str, message: str
) -> None:
    accepted, refused, _, _ = cleaned(table, {**GOOD[table], **fault})
    assert accepted.is_empty()
    assert refused["reason"].to_list() == [reason]
    assert message in refused["message"].item()


def test_the_first_rule_broken_is_the_reason() -> None:
    _, refused, _, _ = cleaned("sales", {**PLACE, "product_id": "pear", "units": -1.5, "day": dt.date(2026, 1, 1)})
    assert refused["reason"].to_list() == ["negative_sales"]


def test_units_of_a_product_sold_by_weight_need_not_be_whole() -> None:
    assert cleaned("sales", {**PLACE, "product_id": "apple", "units": 1.5}).accepted.height == 1


def test_delivery_weekdays_may_be_any_or_left_open() -> None:
    offers = [
        {**GOOD["offers"], "day": dt.date(2025, 3, n + 1), "delivery_weekdays": weekdays}
        for n, weekdays in enumerate(("", "1", "1234567"))
    ]
    assert cleaned("offers", *offers).accepted.height == 3


def test_a_first_delivery_may_bring_any_past_day_but_no_future_one() -> None:
    first = Known(last_day=ORIGIN, keys=KNOWN.keys)
    past, future = ({**GOOD["sales"], "day": day} for day in (dt.date(2019, 1, 1), dt.date(2025, 3, 11)))
    accepted, refused, _, _ = cleaned("sales", past, future, known=first)
    assert accepted["day"].to_list() == [dt.date(2019, 1, 1)]
    assert refused["message"].to_list() == ["day is 2025-03-11; the last allowed is 2025-03-09"]


def test_planned_facts_may_be_of_any_day() -> None:
    assert cleaned("prices", {**GOOD["prices"], "day": dt.date(2025, 6, 1)}).accepted.height == 1


def test_a_refused_row_is_kept_as_it_was_delivered() -> None:
    _, refused, _, _ = cleaned("sales", GOOD["sales"], {**PLACE, "unreadable": "units=three"})
    assert refused.select("table", "row").rows() == [("sales", 1)]
    assert json.loads(refused["content"].item()) == {
        "location_id": "north",
        "product_id": "milk",
        "day": "2025-03-09",
        "units": None,
        "unreadable": "units=three",
    }
    assert conform(refused, tables.QUARANTINE, ORIGIN).height == 1


def test_equal_rows_are_collapsed_to_one() -> None:
    accepted, refused, collapsed, _ = cleaned("sales", GOOD["sales"], GOOD["sales"], GOOD["sales"])
    assert (accepted.height, refused.height, collapsed) == (1, 0, 2)


def test_all_rows_of_a_key_that_disagree_are_refused() -> None:
    other = {**GOOD["sales"], "location_id": "south"}
    accepted, refused, collapsed, _ = cleaned(
        "sales", GOOD["sales"], other, {**GOOD["sales"], "units": 4.0}, GOOD["sales"], other
    )
    assert accepted["location_id"].to_list() == ["south"]
    assert refused.select("row", "reason").rows() == [(n, "duplicate_key") for n in (0, 2, 3)]
    assert "location_id north, product_id milk, day 2025-03-09" in refused["message"][0]
    assert collapsed == 1


def known_with(**more: Any) -> Known:
    return replace(KNOWN, **more)


def usual(units: float, spread: float, product: str = "milk") -> pl.DataFrame:
    row = {"location_id": "north", "product_id": product, "log_units": math.log(units), "spread": spread}
    return pl.DataFrame([row])


def reasons(table: str, *rows: dict[str, Any], known: Known) -> list[str]:
    return cleaned(table, *rows, known=known).refused["reason"].to_list()


def test_units_of_another_size_are_told_by_the_products_own_history() -> None:
    known = known_with(usual_units=usual(4.0, 0.5))
    hundredfold, thousandfold = ({**GOOD["sales"], "units": units} for units in (300.0, 5000.0))
    assert reasons("sales", hundredfold, {**thousandfold, "location_id": "south"}, known=known) == ["units_scale"]
    assert reasons("sales", thousandfold, known=known) == ["units_scale"]
    message = cleaned("sales", hundredfold, known=known).refused["message"].item()
    assert message == "units is 300.0, where product milk usually sells about 4.0; off by a factor of 100 or 1000?"


def test_a_peak_that_no_factor_explains_is_a_peak() -> None:
    promotion, bulk_purchase, no_whole_pieces = 60.0, 130.0, 350.0
    for units in (promotion, bulk_purchase, no_whole_pieces):
        sale = {**GOOD["sales"], "units": units}
        assert cleaned("sales", sale, known=known_with(usual_units=usual(4.0, 0.5))).accepted.height == 1
    jumping = known_with(usual_units=usual(4.0, 1.3))
    assert cleaned("sales", {**GOOD["sales"], "units": 400.0}, known=jumping).accepted.height == 1


def test_prices_are_compared_with_what_the_product_cost_so_far() -> None:
    known = known_with(usual_prices=pl.DataFrame({"product_id": ["milk"], "log_price": [math.log(1.2)]}))
    for price, found in ((129.0, ["price_scale"]), (0.012, ["price_scale"]), (0.6, []), (5.0, []), (1200.0, [])):
        assert reasons("prices", {**GOOD["prices"], "price": price}, known=known) == found, price


def test_nothing_is_sold_where_a_location_is_closed() -> None:
    known = known_with(closed=pl.DataFrame({"location_id": ["north"], "day": [ORIGIN]}))
    nothing, elsewhere = {**GOOD["sales"], "units": 0.0}, {**GOOD["sales"], "location_id": "south"}
    assert reasons("sales", GOOD["sales"], known=known) == ["closed_store"]
    assert reasons("sales", nothing, elsewhere, known=known) == []
    everywhere = known_with(closed=pl.DataFrame({"location_id": ["*"], "day": [ORIGIN]}))
    assert reasons("sales", elsewhere, known=everywhere) == ["closed_store"]


def test_a_warning_keeps_the_row_and_counts_it() -> None:
    delisted = KNOWN.products.with_columns(delisted=pl.lit(ORIGIN))
    accepted, refused, _, noticed = cleaned(
        "sales", GOOD["sales"], {**GOOD["sales"], "location_id": "south"}, known=known_with(products=delisted)
    )
    assert (accepted.height, refused.height) == (2, 0)
    example = "units is 3.0, but product milk is no longer on sale from 2025-03-09 on"
    assert noticed.rows() == [("sales", "after_delisting", 2, example)]


def test_a_definition_makes_a_check_milder_or_leaves_it_out() -> None:
    half = {**GOOD["sales"], "units": 0.5}
    warned = cleaned("sales", half, known=known_with(checks=Checks(severity={"fractional_pieces": "warn"})))
    assert (warned.accepted.height, warned.noticed["reason"].to_list()) == (1, ["fractional_pieces"])
    left_out = cleaned("sales", half, known=known_with(checks=Checks(left_out=("fractional_pieces",))))
    assert (left_out.accepted.height, left_out.noticed.height) == (1, 0)


@pytest.mark.parametrize(
    "text", ["MÃ¼nchen", "Ca fÃ© ", "â€žBioâ€œ", "k\ufffdse", "Ð¼Ð¾Ð»Ð¾ÐºÐ¾", "ï»¿north", "Å¡unka"]
)
def test_text_of_another_encoding_is_recognised(text: str) -> None:
    assert reasons("locations", {**GOOD["locations"], "region": text}, known=KNOWN) == ["wrong_encoding"]
    named = cleaned("locations", {**GOOD["locations"], "name": text})
    assert named.accepted.height == 1
    assert named.noticed["reason"].to_list() == ["garbled_name"]


@pytest.mark.parametrize("text", ["München", "SÃO PAULO", "Nestlé®", "Crème brûlée…", "Äpfel", "Ål", "молоко", "牛奶"])
def test_text_of_any_language_is_just_text(text: str) -> None:
    assert cleaned("locations", {**GOOD["locations"], "region": text, "name": text}).noticed.is_empty()


def test_every_rule_is_one_of_the_catalogue_and_looks_at_its_tables() -> None:
    usual = pl.DataFrame({"location_id": "north", "product_id": "milk", "log_units": 1.0, "spread": 0.1})
    prices = pl.DataFrame({"product_id": "milk", "log_price": 0.2})
    known = replace(KNOWN, usual_units=usual, usual_prices=prices)
    rules_of = {table.name: [rule.code for rule in rules(table, known)] for table in tables.DELIVERED}
    for table, codes in rules_of.items():
        order = [code for code in dict.fromkeys(codes) if CHECKS[code].severity == "refuse"]
        assert order == sorted(order, key=list(CHECKS).index), table
        assert all(table in (CHECKS[code].tables or rules_of) for code in codes)
    made = {code for codes in rules_of.values() for code in codes} | {"duplicate_key"}
    assert made == {check.code for check in ROW_CHECKS}
