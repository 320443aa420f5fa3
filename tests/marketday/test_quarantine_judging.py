"""Rows that are tried again come in beside a delivery's own: in the order of the key, each with one outcome."""

import datetime as dt
import itertools
import json

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from marketday.cleaning import Known
from marketday.cleaning.delivery import checked
from marketday.quarantine.judging import Replays, first_days
from marketday.tables import DELIVERED, SALES
from marketday.warehouse import conform, empty

DAY = dt.date(2026, 3, 6)
ORIGIN = DAY - dt.timedelta(days=1)
LOCATIONS, PRODUCTS = ("a", "b", "c", "d"), ("milk", "tea")
KNOWN = Known(
    last_day=ORIGIN,
    keys={
        "locations": pl.Series(LOCATIONS),
        "products": pl.Series(PRODUCTS),
        "suppliers": pl.Series([], dtype=pl.String),
    },
)

sales = st.tuples(st.sampled_from(LOCATIONS), st.sampled_from([*PRODUCTS, "pear"]), st.integers(-1, 3).map(float))
replays = st.lists(st.tuples(sales, st.integers(1, 3), st.integers(0, 9)), unique_by=lambda each: each[1:], max_size=12)


def sold(rows: list[tuple]) -> pl.DataFrame:
    columns = ["location_id", "product_id", "units"]
    types = {"location_id": pl.String, "product_id": pl.String, "units": pl.Float64}
    frame = pl.DataFrame(rows, schema={name: types[name] for name in columns}, orient="row")
    return frame.with_columns(day=pl.lit(ORIGIN - dt.timedelta(days=3))).select(SALES.delivered_schema.names)


def refused(tried: list[tuple]) -> pl.DataFrame:
    """Return the table `replays` of ``tried``: a sale, how many days ago it was delivered, its number there."""
    rows = [
        {
            "delivery_day": DAY - dt.timedelta(days=back),
            "table": "sales",
            "row": number,
            "content": json.dumps(sold([sale]).row(0, named=True), default=str),
            "reason": "unknown_product",
        }
        for sale, back, number in tried
    ]
    schema = {"delivery_day": pl.Date, "table": pl.String, "row": pl.Int64, "content": pl.String, "reason": pl.String}
    return pl.DataFrame(rows, schema=schema)


def morning(delivered: list[tuple], tried: list[tuple], most: int) -> tuple[list[pl.DataFrame], pl.DataFrame]:
    """Return the accepted frames of sales, and what became of the rows that were tried."""
    beside = Replays(refused(tried), lambda _: None)
    given = {SALES.name: sold(delivered)}
    frames = {table.name: given.get(table.name, empty(table).drop("run_day")).lazy() for table in DELIVERED}
    results = checked(lambda table: frames[table.name], KNOWN, most=most, beside=beside.beside)
    accepted = [result.accepted for table, result in results if table == SALES]
    return accepted, beside.outcomes()


def said(key: tuple, rows: list[tuple]) -> list[float]:
    """Return what sound rows say of a key."""
    return [units for *other, units in rows if tuple(other) == key and other[1] in PRODUCTS and units >= 0]


@settings(deadline=None, max_examples=20)
@given(st.lists(sales, max_size=12), replays, st.integers(1, 12))
def test_what_is_accepted_is_the_delivery_and_the_newest_of_what_was_tried(delivered, tried, most):
    accepted, outcomes = morning(delivered, tried, most)
    rows = conform(pl.concat(accepted), SALES, DAY)
    ends = [(frame["location_id"].min(), frame["location_id"].max()) for frame in accepted if frame.height]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends)), "frames in key order"
    found = {(location, product): units for location, product, _, units, _ in rows.iter_rows()}
    expected = {}
    for key in [(location, product) for location in LOCATIONS for product in PRODUCTS]:
        sources = [said(key, delivered)] + [
            said(key, [sale for sale, ago, _ in tried if ago == back]) for back in (1, 2, 3)
        ]
        agreed = [units[0] for units in sources if len(set(units)) == 1]
        if agreed:
            expected[key] = agreed[0]
    assert found == expected
    assert outcomes.select("delivery_day", "row").is_unique().all()
    assert outcomes.height == len(tried)


@settings(deadline=None, max_examples=20)
@given(st.lists(sales, max_size=8), replays)
def test_every_row_that_was_tried_says_what_was_accepted_or_why_it_was_not(delivered, tried):
    accepted, outcomes = morning(delivered, tried, most=100)
    stored = {row[:2]: row[3] for row in pl.concat(accepted).iter_rows()}
    for each in outcomes.iter_rows(named=True):
        content = json.loads(each["content"])
        key = (content["location_id"], content["product_id"])
        if each["outcome"] == "admitted":
            assert stored[key] == content["units"]
        if each["outcome"] == "superseded":
            assert key in stored
        assert (each["reason"] == "") == (each["outcome"] != "refused")


def test_the_days_of_an_old_delivery_are_those_that_it_could_bring_then():
    first_day = first_days([(DAY - dt.timedelta(days=5), DAY - dt.timedelta(days=6)), (DAY, ORIGIN)], late_days=7)
    assert first_day(DAY - dt.timedelta(days=5)) is None, "the first delivery brings any"
    assert first_day(DAY - dt.timedelta(days=4)) == DAY - dt.timedelta(days=12)
    assert first_day(DAY + dt.timedelta(days=30)) == DAY, "days that were never known are never too late"
