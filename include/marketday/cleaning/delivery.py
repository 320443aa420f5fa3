"""A whole delivery, checked table by table and in frames that fit into memory."""

from collections.abc import Callable, Iterator
from functools import partial

import polars as pl

from marketday import deliveries, tables
from marketday.cleaning.judging import Checked, check
from marketday.cleaning.known import Known
from marketday.cleaning.reading import as_raw
from marketday.deliveries import Receipt
from marketday.errors import DeliveryError
from marketday.tables import Table
from marketday.warehouse import ahead, in_key_order

Delivered = Callable[[Table], pl.LazyFrame]
"""Gives a delivered table's rows, in the columns and types in which they came."""

FRAME_ROWS = 500_000
"""Rows that are judged at a time, if no location has more: reading, judging and storing them takes some 200 MB."""


def delivered_in(root: str, receipt: Receipt | None) -> Delivered:
    """Return what gives the rows of an accepted delivery; a table that it does not bring has none."""

    def delivered(table: Table) -> pl.LazyFrame:
        if receipt is None or table.name not in receipt.tables:
            return pl.LazyFrame(schema=pl.Schema(table.delivered_schema))
        return deliveries.scan(root, receipt, table.name)

    return delivered


Beside = Callable[[Table, Known, Iterator[Checked]], Iterator[Checked]]
"""Puts other rows in beside the accepted ones of a table, whose frames stay in the order of the key."""


def checked(
    delivered: Delivered, known: Known, *, most: int = FRAME_ROWS, beside: Beside | None = None
) -> Iterator[tuple[Table, Checked]]:
    """Judge all delivered tables, dimensions first: what they bring is known to the facts.

    Each table gives one result at least, and several if it has more than ``most`` rows: then each is about other
    locations (suppliers of the supplier's tables), all rows of which it has, and they come in the order of the key.

    Raises:
        DeliveryError: a table lacks a column, has an unknown one or a nested type, or its file has changed.

    """
    for table in tables.DELIVERED:
        after = known
        frames = ahead(_frames(delivered(table), table, most))
        results = map(partial(check, table=table, known=known), frames)
        for result in beside(table, known, results) if beside else results:
            after = after.after(table, result.accepted)
            yield table, result
        known = after


def _frames(delivered: pl.LazyFrame, table: Table, most: int) -> Iterator[pl.DataFrame]:
    """Return the rows in the columns of the raw twin, each with its number in the delivered table."""
    # From here on the number is part of how the file is read; put on later, it would have all of it read every time.
    numbered = delivered.with_row_index("row")
    columns = numbered.head(0).drop("row").collect()
    as_raw(columns, table)  # What is wrong with them is told before any row is read.
    first = table.key[0]
    if columns.schema[first].is_nested():
        raise DeliveryError(f"{table.name}.{first}: cannot be read as String: it is {columns.schema[first]}")
    # Numbers have another order than the texts that they become.
    ordered = numbered if columns.schema[first] == pl.String else numbered.cast({first: pl.String})
    for frame in in_key_order(ordered, table.key, most=most, together=1):
        yield as_raw(frame.drop("row"), table).with_columns(frame["row"].cast(pl.Int64))
