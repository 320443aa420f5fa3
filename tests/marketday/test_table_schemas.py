"""The catalogue as a contract: JSON Schema of a row, Arrow schema of a table, and an example of every column."""

import datetime as dt
import json
import math
import re

import jsonschema
import pyarrow as pa
import pytest

from marketday import tables
from marketday.simulator.grocer import Grocer
from marketday.tables import Column, Table
from marketday.tables.describe import arrow_schema, json_schema
from marketday.tables.examples import BY_NAME, example, example_row

DELIVERED = pytest.mark.parametrize("table", tables.DELIVERED, ids=lambda table: table.name)
OWN = [table for table in tables.ALL.values() if table.kind not in ("raw", "staged")]
"""Tables that are not a twin of another."""
MORNINGS = ((dt.date(2025, 3, 4), dt.date(2025, 3, 3)), (dt.date(2025, 12, 27), dt.date(2025, 12, 20)))
"""Business days, and the day that their delivery begins with."""
LOOKED_AT = 150
"""Rows of each delivered table, evenly spread."""


@pytest.fixture(scope="module")
def delivered() -> dict[str, list[dict]]:
    """Rows as NDJSON has them, of two mornings of the simulated grocer."""
    rows: dict[str, list[dict]] = {table.name: [] for table in tables.DELIVERED}
    for day, since in MORNINGS:
        for name, frame in Grocer(14).deliver(day, since=since).items():
            sample = frame.gather_every(math.ceil(frame.height / LOOKED_AT) or 1)
            rows[name] += [json.loads(line) for line in sample.write_ndjson().splitlines()]
    return rows


def validator(table: Table) -> jsonschema.Draft202012Validator:
    schema = json_schema(table)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def broken(table: Table, **values: object) -> str:
    """Return the keyword of the one rule that the example breaks if it has these values."""
    row = {**json_schema(table)["examples"][0], **values}
    (error,) = validator(table).iter_errors(row)
    return error.validator


@DELIVERED
def test_what_the_simulated_grocer_delivers_obeys_the_schema(table: Table, delivered: dict[str, list[dict]]):
    assert delivered[table.name]
    assert [e.message for row in delivered[table.name] for e in validator(table).iter_errors(row)] == []


@DELIVERED
def test_a_row_without_a_value_that_must_be_given_breaks_it(table: Table):
    example = json_schema(table)["examples"][0]
    for column in table.columns:
        bad = validator(table).is_valid({**example, column.name: None})
        left_out = validator(table).is_valid({k: v for k, v in example.items() if k != column.name})
        assert bad is left_out is column.nullable, column.name


@DELIVERED
def test_a_value_beyond_its_range_breaks_it(table: Table):
    for column in table.columns:
        if column.minimum is not None:
            assert broken(table, **{column.name: column.minimum - 1}) == "minimum"
        if column.maximum is not None:
            assert broken(table, **{column.name: column.maximum + 1}) == "maximum"


@DELIVERED
def test_a_value_that_is_not_among_the_allowed_breaks_it(table: Table):
    for column in table.columns:
        if column.allowed:
            assert broken(table, **{column.name: "something else"}) == "enum"


@pytest.mark.parametrize(
    ("table", "value", "rule"),
    [
        (tables.SALES, {"units": "12"}, "type"),
        (tables.SALES, {"units": True}, "type"),
        (tables.SALES, {"location_id": 3}, "type"),
        (tables.SALES, {"day": "03.03.2025"}, "pattern"),
        (tables.SALES, {"unit": 12.0}, "additionalProperties"),
        (tables.OFFERS, {"lead_time": 1.5}, "type"),
        (tables.OFFERS, {"delivery_weekdays": "1,3,5"}, "pattern"),
        (tables.PRODUCTS, {"shelf_life": 2**31}, "maximum"),
    ],
)
def test_a_value_of_the_wrong_type_or_form_breaks_it(table: Table, value: dict, rule: str):
    assert broken(table, **value) == rule


def test_key_unit_and_references_are_told_beside_the_rules():
    schema = json_schema(tables.EVENTS)
    assert schema["x-key"] == ["location_id", "day", "name"]
    assert schema["properties"]["location_id"]["x-references"] == "locations"
    assert schema["properties"]["location_id"]["x-wildcard"] == "*"
    assert json_schema(tables.WEATHER)["properties"]["temperature"]["x-unit"] == "°C"


@DELIVERED
def test_the_arrow_schema_is_that_of_the_catalogue_with_what_it_says(table: Table):
    schema = pa.ipc.read_schema(pa.py_buffer(arrow_schema(table)))
    assert schema.equals(table.delivered_schema)
    assert schema.metadata[b"description"].decode() == table.description
    assert json.loads(schema.metadata[b"key"]) == list(table.key)
    for column in table.columns:
        told = schema.field(column.name).metadata
        assert told[b"description"].decode() == column.description
        assert told.get(b"unit", b"").decode() == column.unit


@pytest.mark.parametrize("table", OWN, ids=lambda table: table.name)
def test_every_column_has_an_example_that_obeys_its_own_rules(table: Table):
    pa.Table.from_pylist([example_row(table)], schema=table.delivered_schema).validate(full=True)
    without = [column.name for column in table.columns if example(column, table) is None]
    assert without == [], "give them one in marketday.tables.examples.BY_NAME"
    assert [column.name for column in table.columns if not obeys(column, example(column, table))] == []


@pytest.mark.parametrize("table", OWN, ids=lambda table: table.name)
def test_the_example_row_obeys_the_schema(table: Table):
    schema = json_schema(table)
    assert [error.message for error in validator(table).iter_errors(schema["examples"][0])] == []


def test_the_examples_refer_to_each_other():
    for table in tables.DELIVERED:
        for column in table.columns:
            if column.references:
                dimension = tables.get(column.references)
                assert example(column, table) == example(dimension.column(column.name), dimension)


def test_no_example_is_of_a_column_that_is_not_there():
    used = {column.name for table in OWN for column in table.columns} | {tables.RUN_DAY}
    used |= {f"{table.name}.{column.name}" for table in OWN for column in table.columns}
    assert set(BY_NAME) <= used


def obeys(column: Column, value: object) -> bool:
    """Whether the value is in the column's range, among its allowed ones and in its pattern."""
    return (
        (column.minimum is None or value >= column.minimum)
        and (column.maximum is None or value <= column.maximum)
        and (not column.allowed or value in column.allowed)
        and (column.pattern is None or re.fullmatch(column.pattern.regex, value) is not None)
    )
