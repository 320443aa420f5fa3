"""Numbers as people and systems write them: read where they mean one thing, refused where they mean two."""

import datetime as dt

import polars as pl
import pytest

from marketday import tables
from marketday.cleaning import as_raw


def sales(*units: str) -> pl.DataFrame:
    rows = len(units)
    return pl.DataFrame(
        {"location_id": ["north"] * rows, "product_id": ["milk"] * rows, "day": ["2025-03-09"] * rows, "units": units}
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,5", 1.5),
        ("-0,25", -0.25),
        ("0,125", 0.125),
        (" 12,3456 ", 12.3456),
        ("1500,250", 1500.25),
        ("1.234,5", 1234.5),
        ("1.234.567,8", 1234567.8),
        ("1,234.5", 1234.5),
    ],
)
def test_a_comma_that_can_only_mean_one_thing_is_read_and_told(text: str, number: float):
    raw = as_raw(sales("2", text), tables.SALES)
    assert raw["units"].to_list() == [2.0, number]
    assert raw["reread"].to_list() == [None, f"units={text}"]
    assert raw["unreadable"].to_list() == [None, None]


@pytest.mark.parametrize("text", ["1,500", "-12,345", "1,2,3", "1,5 kg", "12.34,5", ",5", "1,"])
def test_a_comma_that_may_mean_two_things_is_not_read(text: str):
    raw = as_raw(sales("2", text), tables.SALES)
    assert raw["units"].to_list() == [2.0, None]
    assert raw["reread"].to_list() == [None, None]
    assert raw["unreadable"].to_list() == [None, f"units={text}"]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_a_time_within_the_day_is_no_day(zone: str | None):
    times = [dt.datetime(2025, 3, 9), dt.datetime(2025, 3, 9, 23), None]
    given = sales("1", "2", "3").with_columns(day=pl.Series(times, dtype=pl.Datetime).dt.replace_time_zone(zone))
    raw = as_raw(given, tables.SALES)
    assert raw["day"].to_list() == [dt.date(2025, 3, 9), None, None]
    assert raw["unreadable"].is_not_null().to_list() == [False, True, False]


def test_whole_numbers_and_texts_keep_their_commas():
    offers = {"supplier_id": "farm, north", "product_id": "milk", "day": "2025-03-09", "cost": "0,8", "pack_size": "6"}
    raw = as_raw(
        pl.DataFrame([{**offers, "minimum_packs": "1,0", "lead_time": "2", "delivery_weekdays": ""}]), tables.OFFERS
    )
    assert raw.select("supplier_id", "cost").row(0) == ("farm, north", 0.8)
    assert raw["reread"].item() == "cost=0,8"
    assert raw["unreadable"].item() == "minimum_packs=1,0"
