"""The catalogue as a contract that others can read: JSON Schema of a row, Arrow schema of a table.

Both describe a table as it is delivered: its own columns, without ``run_day``. What takes more than one row to judge
(keys, references, whole pieces) is named in the schemas, under ``x-…``, and is checked by :mod:`marketday.cleaning`.
"""

import datetime as dt
import json
from typing import Any

import pyarrow as pa

from marketday.tables.examples import example_row
from marketday.tables.schema import Column, Table

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT = {"type": "string"}
_REAL = {"type": "number"}
_TYPES: dict[pa.DataType, dict[str, Any]] = {
    pa.string(): _TEXT,
    pa.large_string(): _TEXT,
    pa.float64(): _REAL,
    pa.float32(): _REAL,
    pa.int32(): {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    pa.int64(): {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    pa.bool_(): {"type": "boolean"},
    # Most validators take `format` for a remark, so the pattern says it again.
    pa.date32(): {"type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
    pa.timestamp("us", tz="UTC"): {"type": "string", "format": "date-time"},
    pa.list_(pa.float32()): {"type": "array", "items": {"type": ["number", "null"]}},
}


def json_schema(table: Table) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one delivered row, as NDJSON has it, with an example that obeys it."""
    return {
        "$schema": DIALECT,
        "title": table.name,
        "description": table.description,
        "type": "object",
        "properties": {column.name: _property(column) for column in table.columns},
        "required": [column.name for column in table.columns if not column.nullable],
        "additionalProperties": False,
        "x-key": list(table.key),
        "examples": [{name: _plain(value) for name, value in example_row(table).items()}],
    }


def arrow_schema(table: Table) -> bytes:
    """Return the IPC-serialised Arrow schema of the delivered columns, read by ``pyarrow.ipc.read_schema``.

    The metadata of the schema has ``table``, ``description`` and ``key`` (a JSON list); that of a field has
    ``description`` and, where there is one, ``unit`` and ``references``.
    """
    fields = [pa.field(c.name, c.type, nullable=c.nullable, metadata=_metadata(c)) for c in table.columns]
    about = {"table": table.name, "description": table.description, "key": json.dumps(table.key)}
    return bytes(pa.schema(fields, metadata=about).serialize().to_pybytes())


def _property(column: Column) -> dict[str, Any]:
    """Return the schema of one value."""
    about: dict[str, Any] = {"description": column.description, **_TYPES[column.type]}
    if column.minimum is not None:
        about["minimum"] = column.minimum
    if column.maximum is not None:
        about["maximum"] = column.maximum
    if column.allowed:
        about["enum"] = [*column.allowed, *([None] if column.nullable else [])]
    if column.pattern:
        about["pattern"] = f"^(?:{column.pattern.regex})$"
    if column.nullable:
        about["type"] = [about["type"], "null"]
    about.update({f"x-{name}": text for name, text in _extras(column).items()})
    return about


def _metadata(column: Column) -> dict[str, str]:
    return {"description": column.description, **_extras(column)}


def _extras(column: Column) -> dict[str, str]:
    """Return what is said of the column beyond its own values."""
    extras = {"unit": column.unit, "references": column.references, "wildcard": column.wildcard}
    return {name: text for name, text in extras.items() if text}


def _plain(value: Any) -> Any:
    """Return the value as JSON has it."""
    return value.isoformat() if isinstance(value, dt.date) else value
