"""A column's type and rules in the words of the pages and tables that people read."""

import datetime as dt
from typing import Any

import pyarrow as pa

from marketday.tables.examples import example
from marketday.tables.schema import Column, Table

_TYPES = {
    pa.string(): "text",
    pa.large_string(): "text",
    pa.date32(): "date",
    pa.bool_(): "true or false",
    pa.float64(): "float64",
    pa.float32(): "float32",
    pa.timestamp("us", tz="UTC"): "time in UTC",
}
_LONGEST = 40
"""Letters of an example in a table that people read."""


def type_words(column: Column) -> str:
    """Return the type, and whether a value may be left out: as ``float64 or null``."""
    kind = column.type
    words = f"list of {_TYPES[kind.value_type]}" if pa.types.is_list(kind) else _TYPES.get(kind, str(kind))
    return f"{words} or null" if column.nullable else words


def rule_words(column: Column) -> str:
    """Return what a value must be, in short: range, allowed values, pattern, reference; empty if its type is all."""
    rules = [_range(column)]
    if column.allowed:
        rules.append("one of " + ", ".join(column.allowed))
    if column.pattern:
        rules.append(column.pattern.words)
    if column.references:
        rules.append(f"in {column.references}" + (f", or {column.wildcard}" if column.wildcard else ""))
    return "; ".join(rule for rule in rules if rule)


def example_words(column: Column, table: Table) -> str:
    """Return the column's example as it is written in a table for people."""
    text = _written(example(column, table)).replace("\n", " ")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _written(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join("null" if each is None else _written(each) for each in value)
    return str(value)


def _range(column: Column) -> str:
    low = "" if column.minimum is None else f"{column.minimum:,g}"
    high = "" if column.maximum is None else f"{column.maximum:,.10g}"
    if low and high:
        return f"{low} to {high}"
    return f"at least {low}" if low else f"at most {high}" if high else ""
