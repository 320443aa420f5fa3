"""The hash that proves that rows are the same: over their values in key order, column by column.

Rows may come in as many frames as one likes; each column has running digests of its own, so the hash does not depend
on where a frame ends, nor on the layout or version of a library.
"""

import hashlib
import json
from typing import Protocol

import numpy as np
import polars as pl

from marketday.tables import Table


class Digest:
    """The hash of a table's rows, fed with frames in the order of the key."""

    def __init__(self, table: Table) -> None:
        self.rows = 0
        self._header = json.dumps([table.name, table.schema.names]).encode()
        self._columns = {name: _column(dtype) for name, dtype in pl.Schema(table.schema).items()}

    def feed(self, rows: pl.DataFrame) -> None:
        """Take the next rows, in the columns and types of the catalogue."""
        self.rows += rows.height
        for name, column in self._columns.items():
            column.feed(rows[name])

    def hexdigest(self) -> str:
        """Return the SHA-256 over all columns; nothing may be fed after it."""
        whole = hashlib.sha256(self._header)
        for column in self._columns.values():
            whole.update(column.digest())
        return whole.hexdigest()


def content_hash(rows: pl.DataFrame, table: Table) -> str:
    """SHA-256 over the rows in key order: the same for the same values, whatever their layout or library version."""
    digest = Digest(table)
    digest.feed(rows.sort(table.key))
    return digest.hexdigest()


class _Column(Protocol):
    def feed(self, values: pl.Series) -> None: ...

    def digest(self) -> bytes: ...


def _column(dtype: pl.DataType) -> _Column:
    if isinstance(dtype, pl.List):
        return _Lists(_column(dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner()))
    return _Text() if dtype == pl.String else _Numbers()


class _Numbers:
    """Fixed-width values; a null counts as zero and is told apart by a second digest."""

    def __init__(self) -> None:
        self._values, self._nulls = hashlib.sha256(), hashlib.sha256()

    def feed(self, values: pl.Series) -> None:
        self._nulls.update(_bytes(values.is_null()))
        self._values.update(_bytes(values.to_physical().fill_null(0)))

    def digest(self) -> bytes:
        return self._values.digest() + self._nulls.digest()


class _Text:
    """Runs of equal values, because the columns of a key repeat theirs: how long a run is, and what it repeats."""

    def __init__(self) -> None:
        self._counts, self._lengths, self._text = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self._open = pl.DataFrame(schema={"len": pl.Int64, "value": pl.String})
        """The last run, which the next frame may go on with."""

    def feed(self, values: pl.Series) -> None:
        if values.is_empty():
            return
        runs = values.rle().struct.unnest().cast({"len": pl.Int64})
        if self._open.height and self._open["value"].equals(runs["value"].head(1), null_equal=True):
            longer = pl.when(pl.int_range(pl.len()) == 0).then(pl.col("len") + self._open["len"].item())
            runs = runs.with_columns(longer.otherwise("len"))
        else:
            self._close(self._open)
        self._close(runs.head(-1))
        self._open = runs.tail(1)

    def digest(self) -> bytes:
        self._close(self._open)
        return self._counts.digest() + self._lengths.digest() + self._text.digest()

    def _close(self, runs: pl.DataFrame) -> None:
        self._counts.update(_bytes(runs["len"]))
        # No text has this length, so that a null is not an empty text.
        self._lengths.update(_bytes(runs["value"].str.len_bytes().cast(pl.Int64).fill_null(-1)))
        # What lies below a null is nobody's business, and not the same everywhere.
        texts = runs["value"].fill_null("").to_arrow(compat_level=pl.CompatLevel.oldest())
        _, offsets, content = texts.buffers()
        if content is not None:
            ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
            self._text.update(memoryview(content)[ends[0] : ends[-1]])


class _Lists:
    """How long each list is, null apart, and the values of all of them one after the other."""

    def __init__(self, values: _Column) -> None:
        self._lengths, self._values = hashlib.sha256(), values

    def feed(self, values: pl.Series) -> None:
        lengths = values.list.len().cast(pl.Int64)
        self._lengths.update(_bytes(lengths.fill_null(-1)))
        self._values.feed(values.filter(lengths > 0).explode())

    def digest(self) -> bytes:
        return self._lengths.digest() + self._values.digest()


def _bytes(values: pl.Series) -> memoryview:
    """Return the buffer of numbers or booleans without nulls."""
    return np.ascontiguousarray(values.to_numpy()).data
