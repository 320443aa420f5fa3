"""Ingest types what can be read, says what cannot, and goes on without a delivery once there is a history."""

import datetime as dt
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketday import deliveries, tables
from marketday.calls import Call
from marketday.cleaning import as_raw
from marketday.errors import DeliveryError, StepError
from marketday.steps.execution import execute

DAY = dt.date(2025, 3, 3)
YESTERDAY = DAY - dt.timedelta(1)


def sales(**columns) -> pl.DataFrame:
    rows = {"location_id": ["S01", "S02"], "product_id": ["P001", "P001"], "day": [YESTERDAY] * 2, "units": [2.0, 0.0]}
    return pl.DataFrame(rows | columns, strict=False)


@pytest.fixture
def accept(settings):
    def accept_delivery(kind: str = "daily", **frames: pl.DataFrame) -> deliveries.Receipt:
        for name, rows in frames.items():
            buffer = io.BytesIO()
            rows.write_parquet(buffer)
            deliveries.put_table(settings.deliveries_url, "simulated", DAY, name, buffer.getvalue())
        now = dt.datetime(2025, 3, 3, 4, tzinfo=dt.UTC)
        return deliveries.complete(settings.deliveries_url, "simulated", DAY, kind, now)

    return accept_delivery


def ingested(warehouse) -> pl.DataFrame:
    return warehouse.scan("simulated", tables.INGESTED).filter(pl.col("run_day") == DAY).sort("table").collect()


def test_the_morning_takes_the_delivery_of_its_day(settings, warehouse, accept):
    receipt = accept(sales=sales(), suppliers=pl.DataFrame({"supplier_id": ["V1"]}))
    result = execute(Call(step="ingest", retailer="simulated", day=DAY), settings)
    assert result.facts == {
        "delivery": receipt.id,
        "sequence": 1,
        "kind": "daily",
        "rows": {"sales": 2, "suppliers": 1},
    }
    assert ingested(warehouse).select("table", "delivery", "rows").rows() == [
        ("sales", receipt.id, 2),
        ("suppliers", receipt.id, 1),
    ]
    assert ingested(warehouse)["sha256"].to_list() == [receipt.tables[name].sha256 for name in ("sales", "suppliers")]


def test_a_correction_takes_the_place_of_the_delivery_before(settings, warehouse, accept):
    for units in ([2.0, 0.0], [7.0, 1.0]):
        receipt = accept(sales=sales(units=units))
        result = execute(Call(step="ingest", retailer="simulated", day=DAY), settings)
    assert result.facts["sequence"] == 2
    assert ingested(warehouse)["delivery"].to_list() == [receipt.id]


def test_a_delivered_file_that_was_changed_is_not_taken(settings, accept):
    accept(sales=sales())
    for file in Path(settings.deliveries_url).rglob("*.parquet"):
        file.write_bytes(file.read_bytes()[::-1])
    with pytest.raises(DeliveryError, match="changed after it was accepted"):
        execute(Call(step="ingest", retailer="simulated", day=DAY), settings)


def test_without_delivery_and_history_it_says_what_to_deliver(settings):
    with pytest.raises(StepError, match="Deliver a history first: marketday deliver simulated"):
        execute(Call(step="ingest", retailer="simulated", day=DAY), settings)


def test_without_delivery_but_with_history_the_morning_goes_on(run_step):
    yesterday = sales().with_columns(day=pl.lit(YESTERDAY - dt.timedelta(1)), run_day=pl.lit(YESTERDAY))
    outputs = run_step("ingest", DAY, {"sales": yesterday})
    assert outputs.facts["delivery"] is None
    assert DAY.isoformat() in outputs.facts["note"]
    assert outputs.tables["ingested"].is_empty()


def test_sales_that_became_known_later_are_no_history(run_step):
    later = sales().with_columns(run_day=pl.lit(DAY + dt.timedelta(1)))
    with pytest.raises(StepError, match="delivered nothing by 2025-03-03"):
        run_step("ingest", DAY, {"sales": later})


def test_what_cannot_be_read_is_null_and_named():
    raw = as_raw(sales(units=["n/a", " 2.5 "], day=["2025-03-02", "yesterday"]), tables.SALES)
    assert raw["units"].to_list() == [None, 2.5]
    assert raw["day"].to_list() == [YESTERDAY, None]
    assert raw["unreadable"].to_list() == ["units=n/a", "day=yesterday"]


def test_several_unreadable_cells_of_a_row_are_joined():
    raw = as_raw(sales(units=["?", "1"], day=["02.03.2025", "2025-03-02"]), tables.SALES)
    assert raw["unreadable"].to_list() == ["day=02.03.2025; units=?", None]


def test_infinite_and_undefined_numbers_are_unreadable_and_nulls_are_not():
    raw = as_raw(pl.concat([sales(units=[float("nan"), float("-inf")]), sales(units=[None, 1.0])]), tables.SALES)
    assert raw["units"].to_list() == [None, None, None, 1.0]
    assert raw["unreadable"].to_list() == ["units=NaN", "units=-inf", None, None]


def test_a_fraction_is_no_integer():
    products = {
        "product_id": ["A", "B"],
        "category": ["c", "c"],
        "department": ["d", "d"],
        "unit": ["pieces", "pieces"],
    }
    raw = as_raw(pl.DataFrame({**products, "shelf_life": [2.0, 2.5]}), tables.PRODUCTS)
    assert raw["shelf_life"].to_list() == [2, None]
    assert raw["unreadable"].to_list() == [None, "shelf_life=2.5"]
    assert raw["launched"].to_list() == [None, None]


def test_numbers_are_no_dates_and_numbered_ids_are_ids():
    raw = as_raw(sales(location_id=[1, 2], day=[20250302, 20250302]), tables.SALES)
    assert raw["location_id"].to_list() == ["1", "2"]
    assert raw["day"].to_list() == [None, None]
    assert raw["unreadable"].to_list() == ["day=20250302", "day=20250302"]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (sales().drop("units"), "missing: units"),
        (sales().with_columns(till=pl.lit(4)), "unknown: till"),
        (sales(units=[[1.0], [2.0]]), r"sales\.units: cannot be read as Float64"),
    ],
)
def test_a_table_of_another_shape_is_refused(rows, complaint):
    with pytest.raises(DeliveryError, match=complaint):
        as_raw(rows, tables.SALES)


def test_an_empty_table_stays_one():
    assert as_raw(sales().clear(), tables.SALES).height == 0


def read_by_hand(text: str | None) -> float | None:
    try:
        number = float(text.strip()) if text is not None else None
    except ValueError:
        return None
    return None if number in (float("inf"), float("-inf")) else number


@given(
    st.lists(
        st.none() | st.floats(-1e9, 1e9).map(str) | st.sampled_from(["", "x", "1;5", "inf", " 3 ", "1e3"]), max_size=8
    )
)
@hypothesis_settings(max_examples=50, deadline=None)
def test_every_cell_is_read_or_named_never_both(texts):
    rows = pl.DataFrame({"location_id": ["S"] * len(texts), "product_id": "P", "day": YESTERDAY}).with_columns(
        units=pl.Series(texts, dtype=pl.String)
    )
    raw = as_raw(rows, tables.SALES)
    assert raw["units"].to_list() == [read_by_hand(text) for text in texts]
    named = [text is not None and read_by_hand(text) is None for text in texts]
    assert raw["unreadable"].is_not_null().to_list() == named
