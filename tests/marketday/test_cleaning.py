"""Cleaning: each rule refuses what it says, and no row is ever lost."""

import datetime as dt
import json
from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketday import tables
from marketday.cleaning import Checked, Known, check
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
    pieces=pl.Series(["milk"]),
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
    accepted, refused, collapsed = cleaned(table, GOOD[table])
    assert accepted.equals(delivered(table, GOOD[table]).drop("row", "unreadable"))
    assert (refused.height, collapsed) == (0, 0)
    assert conform(accepted, tables.STAGED[table], ORIGIN).height == 1


@pytest.mark.parametrize(
    ("table", "fault", "reason", "message"),
    [
        ("sales", {"units": None, "unreadable": "units=three"}, "unreadable", "could not be read: units=three"),
        ("sales", {"units": None}, "missing", "units is missing"),
        ("products", {"product_id": None}, "missing", "product_id is missing"),
        ("sales", {"units": -3.0}, "out_of_range", "units is -3.0; the least allowed is 0"),
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
            {"day": dt.date(2025, 3, 10)},
            "wrong_day",
            "day is 2025-03-10; allowed are 2025-03-02 to 2025-03-09",
        ),
        ("stock", {"day": dt.date(2025, 3, 1)}, "wrong_day", "day is 2025-03-01; allowed are 2025-03-02 to 2025-03-09"),
        ("sales", {"units": 1.5}, "fractional_pieces", "units is 1.5, but product milk is sold in pieces"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_with_the_rule_and_the_value(
    table: str, fault: dict[str, Any], reason: str, message: str
) -> None:
    accepted, refused, _ = cleaned(table, {**GOOD[table], **fault})
    assert accepted.is_empty()
    assert refused["reason"].to_list() == [reason]
    assert message in refused["message"].item()


def test_the_first_rule_broken_is_the_reason() -> None:
    _, refused, _ = cleaned("sales", {**PLACE, "product_id": "pear", "units": -1.5, "day": dt.date(2026, 1, 1)})
    assert refused["reason"].to_list() == ["out_of_range"]


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
    past, future = ({**GOOD["sales"], "day": day} for day in (dt.date(2019, 1, 1), dt.date(2025, 3, 10)))
    accepted, refused, _ = cleaned("sales", past, future, known=first)
    assert accepted["day"].to_list() == [dt.date(2019, 1, 1)]
    assert refused["message"].to_list() == ["day is 2025-03-10; the last allowed is 2025-03-09"]


def test_planned_facts_may_be_of_any_day() -> None:
    assert cleaned("prices", {**GOOD["prices"], "day": dt.date(2025, 6, 1)}).accepted.height == 1


def test_a_refused_row_is_kept_as_it_was_delivered() -> None:
    _, refused, _ = cleaned("sales", GOOD["sales"], {**PLACE, "unreadable": "units=three"})
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
    accepted, refused, collapsed = cleaned("sales", GOOD["sales"], GOOD["sales"], GOOD["sales"])
    assert (accepted.height, refused.height, collapsed) == (1, 0, 2)


def test_all_rows_of_a_key_that_disagree_are_refused() -> None:
    other = {**GOOD["sales"], "location_id": "south"}
    accepted, refused, collapsed = cleaned(
        "sales", GOOD["sales"], other, {**GOOD["sales"], "units": 4.0}, GOOD["sales"], other
    )
    assert accepted["location_id"].to_list() == ["south"]
    assert refused.select("row", "reason").rows() == [(n, "duplicate_key") for n in (0, 2, 3)]
    assert "location_id north, product_id milk, day 2025-03-09" in refused["message"][0]
    assert collapsed == 1


SALES_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "location_id": st.sampled_from(["north", "south", "west", None]),
            "product_id": st.sampled_from(["apple", "milk", "pear", None]),
            "day": st.sampled_from([None, *(dt.date(2025, 3, day) for day in (1, 2, 8, 9, 10))]),
            "units": st.sampled_from([None, -1.0, 0.0, 1.0, 1.5, 2e6, float("nan"), float("inf")]),
            "unreadable": st.sampled_from([None, None, None, "units=x"]),
        }
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(SALES_ROWS)
def test_every_row_is_accepted_refused_or_collapsed_as_a_slow_reader_would(rows: list[dict[str, Any]]) -> None:
    accepted, refused, collapsed = cleaned("sales", *rows)
    assert accepted.height + refused.height + collapsed == len(rows)
    assert refused["row"].is_unique().all()
    assert dict(refused.select("row", "reason").iter_rows()) == _slowly_refused(rows)
    again = cleaned("sales", *accepted.to_dicts())
    assert (again.accepted.height, again.refused.height, again.collapsed) == (accepted.height, 0, 0)


def _slowly_refused(rows: list[dict[str, Any]]) -> dict[int, str]:
    reasons = {number: reason for number, row in enumerate(rows) if (reason := _slow_reason(row))}
    sound = {number: row for number, row in enumerate(rows) if number not in reasons}
    keys = {number: (row["location_id"], row["product_id"], row["day"]) for number, row in sound.items()}
    versions = Counter(key for key, _ in {(keys[number], row["units"]) for number, row in sound.items()})
    return reasons | {number: "duplicate_key" for number, key in keys.items() if versions[key] > 1}


def _slow_reason(row: dict[str, Any]) -> str | None:
    if row["unreadable"]:
        return "unreadable"
    if None in (row["location_id"], row["product_id"], row["day"], row["units"]):
        return "missing"
    faults = {
        "out_of_range": not 0 <= row["units"] <= 1e6,
        "unknown_location": row["location_id"] == "west",
        "unknown_product": row["product_id"] == "pear",
        "wrong_day": not dt.date(2025, 3, 2) <= row["day"] <= ORIGIN,
        "fractional_pieces": row["product_id"] == "milk" and row["units"] == 1.5,
    }
    return next((reason for reason, broken in faults.items() if broken), None)
