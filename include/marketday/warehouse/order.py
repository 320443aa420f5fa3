"""Tables that are larger than memory, in the order of their key, a bounded number of rows at a time."""

import itertools
from collections.abc import Iterator, Sequence

import polars as pl

from marketday.warehouse.content import rising

ROWS = 1_000_000
"""Rows of one frame: some 50 MB of sales, and a few times that with what is made of them on the way."""


def in_key_order(
    rows: pl.LazyFrame, key: Sequence[str], *, most: int = ROWS, together: int | None = None
) -> Iterator[pl.DataFrame]:
    """Return all rows as frames that are sorted by ``key`` from one to the next; at least one, if need be an empty one.

    A frame has at most ``most`` rows, unless more agree in the first ``together`` columns of the key (all, unless
    given): those are never parted. Nulls come first. Each frame is read by a condition on the key, so that files which
    are clustered by it are read once, and others once per frame.
    """
    parts = _parts(rows, list(key), most, len(key) if together is None else together)
    # Without rows there is no part, and one empty frame, which has the columns.
    for part in itertools.chain([next(parts, pl.lit(value=True))], parts):
        frame = rows.filter(part).collect()
        yield frame if rising(frame, key) else frame.sort(key, maintain_order=True)


def _parts(rows: pl.LazyFrame, key: Sequence[str], most: int, together: int) -> Iterator[pl.Expr]:
    """Return conditions that hold for neighbouring values of the first column, for ``most`` rows together at most."""
    column = pl.col(key[0])
    counts = rows.group_by(column).agg(pl.len().alias("rows")).sort(column).collect(engine="streaming")
    values: list[object] = []
    """Neighbours that go into one frame."""
    total = 0
    for value, count in counts.iter_rows():
        if values and (values[0] is None or total + count > most):
            yield _among(column, values)
            values, total = [], 0
        if count > most and together > 1:
            alike = _among(column, [value])
            yield from (alike & part for part in _parts(rows.filter(alike), key[1:], most, together - 1))
        else:
            values.append(value)
            total += count
    if values:
        yield _among(column, values)


def _among(column: pl.Expr, values: Sequence[object]) -> pl.Expr:
    """Whether it is one of these neighbours; a range rather than a list, because files tell least and greatest."""
    return column.is_null() if values[0] is None else column.is_between(pl.lit(values[0]), pl.lit(values[-1]))
