"""An example of every column: what its name says, or what its type and rules allow.

The examples fit each other: those of all delivered tables together are a delivery, of one product in one store.
"""

import datetime as dt

import pyarrow as pa

from marketday.tables.schema import RUN_DAY, Column, Table

Value = str | float | bool | dt.date | list[float | None]
"""What a cell holds, apart from null."""

_OTHERS: dict[pa.DataType, Value] = {
    pa.bool_(): True,
    pa.date32(): dt.date(2025, 3, 3),
    pa.timestamp("us", tz="UTC"): dt.datetime(2025, 3, 4, 5, 12, 40, tzinfo=dt.UTC),
    pa.list_(pa.float32()): [12.0, None, 9.0],
}
"""Of types that have no range."""
_HASH = "6d0e83a1f7c24b5e9a31c08d5f2b7e64"

BY_NAME: dict[str, Value] = {
    RUN_DAY: dt.date(2025, 3, 4),
    # Who and what. With the table's name before it, a column that elsewhere is something else.
    "location_id": "S03",
    "product_id": "P041",
    "supplier_id": "V2",
    "products.name": "Whole milk 1 l",
    "locations.name": "Regensburg",
    "suppliers.name": "Dairy Union",
    "events.name": "Rose Monday",
    "events.kind": "cultural",
    "category": "fresh",
    "department": "dairy",
    "region": "Bayern",
    "launched": dt.date(2024, 9, 2),
    "delisted": dt.date(2025, 12, 1),
    "shelf_life": 9,
    # Facts.
    "units": 12.0,
    "on_hand": 31.0,
    "on_order": 24.0,
    "stockout_share": 0.25,
    "price": 1.29,
    "discount": 0.1,
    "cost": 0.84,
    "pack_size": 12.0,
    "minimum_packs": 2,
    "lead_time": 1,
    "delivery_weekdays": "1246",
    "temperature": 7.5,
    "precipitation": 1.2,
    # What a morning makes of them.
    "block": "S03",
    "verdicts.block": "gate_clean",
    "runs.block": "predict/S03",
    "model": "gbm@4f1c9a72d05e",
    "horizon": 1,
    "event": "Rose Monday",
    "event_tomorrow": "Shrove Tuesday",
    "month": 3,
    "week": 10,
    "features.weekday": 1,
    "price_relative": 0.98,
    "promotion": 0.1,
    "promotion_change": 0.05,
    "price_change": 1.0,
    "payday": 0.0,
    "age": 182.0,
    "explanations.price": 1.02,
    "explanations.promotion": 1.15,
    "mean": 13.4,
    "dispersion": 0.12,
    "zero_share": 0.02,
    "common_dispersion": 0.05,
    "models.kind": "gbm",
    "parameters": '{"rounds": 400}',
    "artefact": "tree\nversion=v4\n…",
    "scores": '{"wspl": 0.205}',
    "segment": "fast|S03|gbm",
    "observations": 840,
    "actual": 10_250.0,
    "predicted": 10_480.0,
    "raw_factor": 0.978,
    "factor": 0.983,
    "arrives": dt.date(2025, 3, 5),
    "covers_until": dt.date(2025, 3, 6),
    "expected_demand": 52.6,
    "target": 71.0,
    "packs": 2,
    "quantity": 24.0,
    "value": 20.16,
    # What is kept about a morning.
    "delivery": _HASH[:16],
    "sequence": 1,
    "sha256": _HASH * 2,
    "rows": 326,
    "table": "sales",
    "publications.table": "forecasts",
    "reason": "unknown_product",
    "message": "product_id 'P041' is not among the products, delivered or known",
    "publications.reason": "",
    "runs.message": "",
    "notices.reason": "price_in_cents",
    "notices.example": "price is 129, 100 times what product P041 cost before",
    "why": "Test rows of the till vendor.",
    "by": "kim",
    "content": '{"location_id":"S03","product_id":"P041","day":"2025-03-03","units":12.0}',
    "gate": "clean",
    "code": "volume",
    "expectation": "expect_column_values_to_be_between",
    "subject": "sales: units",
    "expected": "between 163 and 652 rows",
    "observed": "326",
    "advice": "Ask the retailer for the rest of the day.",
    "content_hash": _HASH * 2,
    "step": "predict@1",
    "key": _HASH[:16],
    "call": '{"step": "predict", "retailer": "simulated", "day": "2025-03-04", "block": "S03"}',
    "definition": '{"name": "simulated", "timezone": "Europe/Berlin", "horizon": 14}',
    "release": "marketday 0.1.0, lightgbm 4.6.0, polars 2.1.0",
    "written": '{"predictions": 4}',
    "inputs": '{"features": 3}',
    "outputs": f'{{"predictions": "{_HASH * 2}"}}',
}
"""By the name of the column, or by table and column."""


def example(column: Column, table: Table) -> Value | None:
    """Return a value that obeys the column's own rules; None for a text of which there is none in ``BY_NAME``."""
    own = f"{table.name.removeprefix('staged_')}.{column.name}"
    named = BY_NAME.get(own, BY_NAME.get(column.name))
    if column.allowed:
        return named if named in column.allowed else column.allowed[0]
    return _by_type(column) if named is None else named


def example_row(table: Table) -> dict[str, Value | None]:
    """Return a row of examples: every column of the table, without ``run_day``."""
    return {column.name: example(column, table) for column in table.columns}


def _by_type(column: Column) -> Value | None:
    kind = column.type
    if pa.types.is_integer(kind):
        return int(_within(3, column))
    if pa.types.is_floating(kind):
        return _within(1.5, column)
    return _OTHERS.get(kind)


def _within(value: float, column: Column) -> float:
    """Return the value, or the end of the column's range that is nearest to it."""
    low = value if column.minimum is None else max(value, column.minimum)
    return low if column.maximum is None else min(low, column.maximum)
