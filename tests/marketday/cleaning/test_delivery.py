"""A delivery is judged in frames, and comes to the same as if all of it were judged at once."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketday import tables
from marketday.cleaning import Checked, Known, as_raw, check
from marketday.cleaning.delivery import checked
from marketday.errors import DeliveryError
from marketday.tables import Table

DAY = dt.date(2025, 3, 2)
KNOWN = Known(
    last_day=DAY, keys={name: pl.Series([], dtype=pl.String) for name in ("suppliers", "products", "locations")}
)
PRODUCTS = pl.DataFrame({"product_id": ["p", "q"], "category": "c", "department": "d", "unit": "pieces"})
LOCATIONS = pl.DataFrame({"location_id": ["a", "b", "c"], "region": "r"})


def sales(*given_rows: tuple[str | None, str | None, float | None]) -> pl.DataFrame:
    schema = {"location_id": pl.String, "product_id": pl.String, "units": pl.Float64}
    rows = pl.DataFrame(given_rows, schema=schema, orient="row")
    return rows.select("location_id", "product_id", pl.lit(DAY).alias("day"), "units")


def judged(most: int = 2, **delivered: pl.DataFrame) -> dict[str, list[Checked]]:
    def of(table: Table) -> pl.LazyFrame:
        return delivered.get(table.name, pl.DataFrame(schema=pl.Schema(table.delivered_schema))).lazy()

    results: dict[str, list[Checked]] = {table.name: [] for table in tables.DELIVERED}
    for table, result in checked(of, KNOWN, most=most):
        results[table.name].append(result)
    return results


def test_tables_come_in_order_and_dimensions_are_known_to_the_facts():
    results = judged(products=PRODUCTS, locations=LOCATIONS, sales=sales(("a", "p", 1.0), ("b", "q", 2.0)))
    assert list(results) == [table.name for table in tables.DELIVERED]
    assert all(results.values()), "every table gives one result at least"
    assert sum(each.refused.height for each in results["sales"]) == 0


rows = st.tuples(
    st.none() | st.sampled_from("abcz"),
    st.none() | st.sampled_from("pqx"),
    st.none() | st.sampled_from([-1.0, 0.5, 1.0, 2.0]),
)


@hypothesis_settings(max_examples=20, deadline=None)
@given(st.lists(rows, max_size=25), st.integers(1, 9))
def test_frames_come_to_the_same_as_the_whole(given_rows, most: int):
    delivered = sales(*given_rows)
    results = judged(most, products=PRODUCTS, locations=LOCATIONS, sales=delivered)["sales"]
    known = KNOWN.after(tables.PRODUCTS, PRODUCTS.select(as_columns(tables.PRODUCTS, PRODUCTS)))
    known = known.after(tables.LOCATIONS, LOCATIONS.select(as_columns(tables.LOCATIONS, LOCATIONS)))
    whole = check(as_raw(delivered, tables.SALES), tables.SALES, known)
    accepted, refused = (pl.concat(parts) for parts in zip(*((r.accepted, r.refused) for r in results), strict=True))
    key = list(tables.SALES.key)
    assert accepted.sort(key).equals(whole.accepted.sort(key))
    assert refused.sort("row").equals(whole.refused.sort("row")), "each with its number in the delivered table"
    assert sum(each.collapsed for each in results) == whole.collapsed
    assert accepted.height + refused.height + whole.collapsed == delivered.height
    assert accepted["location_id"].is_sorted(), "they come in the order of the key"


def as_columns(table: Table, rows: pl.DataFrame) -> list[pl.Expr]:
    kinds = pl.Schema(table.delivered_schema)
    return [pl.col(n) if n in rows.columns else pl.lit(None, kind).alias(n) for n, kind in kinds.items()]


def test_locations_that_are_numbers_come_in_the_order_of_their_texts():
    numbers = pl.DataFrame({"location_id": [2, 10, 1], "region": "r"})
    sold = sales(("a", "p", 1.0), ("b", "p", 1.0), ("c", "p", 1.0)).with_columns(location_id=pl.Series([2, 10, 1]))
    results = judged(1, products=PRODUCTS, locations=numbers, sales=sold)["sales"]
    assert [each.accepted["location_id"].item() for each in results] == ["1", "10", "2"]


@pytest.mark.parametrize(
    ("spoilt", "complaint"),
    [
        (sales(("a", "p", 1.0)).drop("location_id"), "missing: location_id"),
        (sales(("a", "p", 1.0)).with_columns(location_id=pl.lit([["a"]])), "location_id: cannot be read"),
    ],
)
def test_wrong_columns_are_told_before_any_row_is_read(spoilt: pl.DataFrame, complaint: str):
    with pytest.raises(DeliveryError, match=complaint):
        judged(sales=spoilt)
