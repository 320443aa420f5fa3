"""CSV and NDJSON as batches of text: what a cell says is kept as it was written; the checks understand it later."""

import codecs
import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from marketday.deliveries.limits import Limits, too_much
from marketday.deliveries.unfolding import Unfolded
from marketday.errors import DeliveryError, listed
from marketday.tables import Table

_BLOCK = 1 << 20
"""Bytes that are read at a time; no line may be longer."""
_HEAD = 1 << 16
_SEPARATORS = ",;\t|"
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
CHARSETS = ("utf-8", "latin-1", "cp1252", "utf-16")
_EXAMPLES = 10


def encoding_of(stream: Unfolded, table: str, charset: str) -> str:
    """Return the encoding that was named, or that the text begins with; UTF-8 if neither says anything.

    Raises:
        DeliveryError: an encoding was named that is not read.

    """
    if not charset:
        return next((name for bom, name in _BOMS.items() if stream.peek(4).startswith(bom)), "utf-8")
    try:
        wanted = codecs.lookup(charset).name
    except LookupError:
        wanted = ""
    for name in CHARSETS:
        if codecs.lookup(name).name == wanted:
            return name
    raise DeliveryError(
        f"{table}: the charset {charset[:40]!r} is not read",
        hint=f"Use one of: {listed(CHARSETS)}.",
        where={"table": table, "rule": "charset"},
    )


def separated(
    stream: Unfolded, table: Table, encoding: str, limits: Limits
) -> tuple[str, pa.Schema, Iterator[pa.RecordBatch]]:
    """Open a CSV file with a first line of column names: its separator, schema and batches, all of it text.

    An empty cell is null, and ``""`` an empty text. The separator is the one that finds the most columns.

    Raises:
        DeliveryError: there is no line of names; while batches are read, a line has too many or too few cells.
        UnicodeError: a text is not in the encoding.

    """
    head = codecs.getincrementaldecoder(encoding)(errors="replace").decode(stream.peek(_HEAD)).removeprefix("\ufeff")
    first, newline, _ = head.replace("\r", "\n").lstrip("\n").partition("\n")
    if not first.strip() or (not newline and len(stream.peek(_HEAD)) == _HEAD):
        raise _broken(table.name, "its first line does not name the columns", hint=f"Begin with: {_names(table)}.")
    separator = max(_SEPARATORS, key=lambda each: len(set(_cells(first, each)) & set(table.delivered_schema.names)))
    names = _cells(first, separator)
    if len(names) > limits.columns:
        raise too_much(table.name, "columns", len(names), limits.columns)
    wrong: list[pa_csv.InvalidRow] = []

    def note(row: Any) -> str:
        wrong.append(row)
        return "error" if len(wrong) >= _EXAMPLES else "skip"

    def batches(reader: pa_csv.CSVStreamingReader | None) -> Iterator[pa.RecordBatch]:
        try:
            yield from reader or ()
        except pa.ArrowInvalid as error:
            if not wrong:
                raise _of_csv(error, table.name) from error
        if wrong:
            raise _ragged(table.name, separator, wrong)

    try:
        reader = pa_csv.open_csv(
            _Utf8(stream, encoding),
            read_options=pa_csv.ReadOptions(
                block_size=_BLOCK,
                use_threads=False,
            ),
            parse_options=pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=note),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if not wrong:
            raise _of_csv(error, table.name) from error
        reader = None
    schema = reader.schema if reader else pa.schema([(name, pa.string()) for name in names])
    return separator, schema, batches(reader)


def lines(stream: Unfolded, table: Table) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Open NDJSON, one object per line with columns as names: its schema and batches, all of it text.

    Numbers are kept as they are written. A name that is left out is null.

    Raises:
        DeliveryError: while batches are read: a line is no object, names no column, or has something nested in it.

    """
    schema = pa.schema([(name, pa.string()) for name in table.delivered_schema.names])

    def batches() -> Iterator[pa.RecordBatch]:
        rest, number = b"", 0
        stream.read(len(codecs.BOM_UTF8)) if stream.peek(3) == codecs.BOM_UTF8 else None
        while block := stream.read(_BLOCK):
            *whole, rest = (rest + block).split(b"\n")
            if len(rest) > _BLOCK:
                raise _broken(table.name, f"line {number + len(whole) + 1} is longer than {_BLOCK >> 20} MiB")
            yield _rows(whole, number, table, schema)
            number += len(whole)
        yield _rows([rest], number, table, schema)

    return schema, batches()


def _rows(block: list[bytes], before: int, table: Table, schema: pa.Schema) -> pa.RecordBatch:
    known = set(schema.names)
    rows = dict[int, dict[str, Any]]()
    for number, line in enumerate(block, before):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            raise _broken(table.name, f"line {number + 1} is no JSON: {error}", row=number) from error
        if not isinstance(row, dict) or not row.keys() <= known:
            what = "is no object" if not isinstance(row, dict) else f"has unknown columns: {_few(row.keys() - known)}"
            raise _broken(table.name, f"line {number + 1} {what}", hint=f"Use: {_names(table)}.", row=number)
        for name, cell in row.items():
            if isinstance(cell, (dict, list)):
                raise _broken(table.name, f"line {number + 1}: {name} is nested", row=number, column=name)
        rows[number] = row
    try:
        columns = [pa.array([_text(row.get(name)) for row in rows.values()], pa.string()) for name in schema.names]
    except UnicodeEncodeError as error:
        raise _no_text(table, rows) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _no_text(table: Table, rows: dict[int, dict[str, Any]]) -> DeliveryError:
    """Return the refusal of the first cell that has half of a character: JSON can write that, and UTF-8 cannot."""
    number, column = next(
        (number, name) for number, row in rows.items() for name, cell in row.items() if not _encodable(_text(cell))
    )
    said = f"line {number + 1}: {column} has half of a character: {rows[number][column][:80]!r}"
    return _broken(table.name, said, row=number, column=column)


def _encodable(text: str | None) -> bool:
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(cell: Any) -> str | None:
    return cell if cell is None or isinstance(cell, str) else str(cell).lower()


class _Utf8(io.RawIOBase):
    """A text in UTF-8, whatever encoding it comes in; one that is not in its encoding raises UnicodeError.

    The parser of CSV would find that out, too, but passes over a line that has the wrong number of cells as well.
    """

    def __init__(self, stream: Unfolded, encoding: str) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        content = b""
        while not content:
            # A character of one byte has up to three in UTF-8, as cp1252's euro has: more than `size` bytes in all must
            # not be returned.
            part = self._stream.read(max(size // 3, 1))
            content = self._decoder.decode(part, final=not part).encode()
            if not part:
                break
        return content


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _of_csv(error: pa.ArrowInvalid, table: str) -> DeliveryError:
    said = str(error)
    if "straddling object" in said:
        return _broken(table, f"a line is longer than {_BLOCK >> 20} MiB", hint="Is there a quote that was left open?")
    return _broken(table, said)


def _ragged(table: str, separator: str, wrong: "list[pa_csv.InvalidRow]") -> DeliveryError:
    rows = [
        {"row": row.number - 2, "cells": row.actual_columns, "text": row.text[:80]} if row.number else {}
        for row in wrong
    ]
    first = wrong[0]
    lines = f"at least {_EXAMPLES}" if len(wrong) == _EXAMPLES else len(wrong)
    return DeliveryError(
        f"{table}: line {first.number} has {first.actual_columns} cells and not {first.expected_columns} as the first "
        f"line, separated by {separator!r}: {first.text[:80]!r}. Lines like this: {lines}",
        hint="Quote cells that have a separator, a quote or a line break in them, and close every quote.",
        where={"table": table, "row": (first.number or 2) - 2, "rule": "cells", "examples": rows},
    )


def _broken(table: str, what: str, *, hint: str = "", **where: object) -> DeliveryError:
    said = what.encode(errors="backslashreplace").decode()[:300]  # a name in JSON may have half of a character
    return DeliveryError(
        f"{table}: {said}",
        hint=hint or "Correct the file and send it again.",
        where={"table": table, "rule": "format", **where},
    )


def _few(names: "set[str]") -> str:
    return listed(sorted(name[:60] for name in names))


def _names(table: Table) -> str:
    return ", ".join(table.delivered_schema.names)
