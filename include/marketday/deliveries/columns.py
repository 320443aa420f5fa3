"""What a delivered table may look like: its columns by name, and the types that a cell can have."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from marketday.deliveries.limits import Limits, too_much
from marketday.errors import DeliveryError, listed
from marketday.tables import Table

MAX_TEXT = 1 << 15
"""Bytes of one cell's text: longer ones are no name or number, but a quote that was left open or a bomb."""


def check_columns(table: Table, given: Iterable[str]) -> None:
    """Compare delivered column names with the catalogue; a nullable column may be left out.

    Raises:
        DeliveryError: a column is missing, is not known, or occurs twice.

    """
    names = list(given)
    missing = [c.name for c in table.columns if not c.nullable and c.name not in names]
    unknown = [name for name in names if name not in table.delivered_schema.names]
    twice = sorted({name for name in names if names.count(name) > 1} - set(unknown))
    found = {"missing": missing, "unknown": unknown, "twice": twice}
    if any(found.values()):
        wanted = ", ".join(c.name + (" (optional)" if c.nullable else "") for c in table.columns)
        problems = [f"{what}: {listed(_short(which))}" for what, which in found.items() if which]
        raise DeliveryError(
            f"{table.name}: columns {'; '.join(problems)}",
            hint=f"Deliver exactly: {wanted}.",
            where={"table": table.name, "rule": "columns", "examples": _short([*missing, *unknown, *twice])[:10]},
        )


def check_schema(table: Table, schema: pa.Schema, limits: Limits) -> pa.Schema:
    """Return the Arrow schema that the table is stored with, if it is one of flat, known columns.

    Raises:
        DeliveryError: there are too many columns, or they are not the catalogue's; or one has a nested type.

    """
    if len(schema.names) > limits.columns:
        raise too_much(table.name, "columns", len(schema.names), limits.columns)
    check_columns(table, schema.names)
    return pa.schema([pa.field(field.name, _stored(table, field)) for field in schema])


def conformed(table: Table, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the batch in the types of ``schema``, after every buffer of it was found sound.

    Raises:
        DeliveryError: a text is not UTF-8 or far too long, or a buffer is not what its batch says.

    """
    try:
        batch.validate(full=True)
        typed = batch.cast(schema)
    except pa.ArrowInvalid as error:
        raise DeliveryError(
            f"{table.name}: some rows cannot be read: {str(error)[:200]}",
            hint="Write texts in UTF-8, and the file with a current library.",
            where={"table": table.name, "rule": "readable"},
        ) from error
    for name, column in zip(schema.names, typed.columns, strict=True):
        texts = column.dictionary if pa.types.is_dictionary(column.type) else column
        if pa.types.is_string(texts.type) and (pc.max(pc.binary_length(texts)).as_py() or 0) > MAX_TEXT:
            raise DeliveryError(
                f"{table.name}.{name}: a text has more than {MAX_TEXT:,} bytes",
                hint="Is there a quote that was left open?",
                where={"table": table.name, "column": name, "rule": "text_length"},
            )
    return typed


def _stored(table: Table, field: pa.Field) -> pa.DataType:
    inner = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    octets = (pa.types.is_binary, pa.types.is_large_binary)  # how older writers of Parquet mark a text
    if any(is_one(inner) for is_one in (*text, *octets)):
        # A text that comes as a dictionary stays one on its way: most of them are few, and repeated for each row.
        return pa.dictionary(pa.int32(), pa.string()) if inner is not field.type else pa.string()
    if pa.types.is_date(inner):
        return pa.date32()
    if pa.types.is_float16(inner):
        return pa.float32()
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal128)
    if any(is_one(inner) for is_one in (*numbers, pa.types.is_boolean, pa.types.is_timestamp)):
        return inner
    raise DeliveryError(
        f"{table.name}.{field.name} has the type {str(field.type)[:100]}, which is none of a cell",
        hint="Deliver texts, whole or real numbers, truth values, dates or timestamps.",
        where={"table": table.name, "column": field.name, "rule": "type"},
    )


def _short(names: Iterable[str]) -> list[str]:
    return [name if len(name) <= 60 else f"{name[:60]}…" for name in names]
