"""What a correction changes: the rows of its tables, compared with those of the delivery before it."""

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from marketday.deliveries.acceptance import unchanged
from marketday.deliveries.receipts import Receipt
from marketday.tables import DELIVERED, Table

_PART_ROWS = 4_000_000
"""Rows that are compared at a time, about: one takes 16 bytes, and several times as many while it is looked for."""


class TableChanges(BaseModel):
    """Rows that a correction changes, by key; what several rows say of one key counts as one."""

    model_config = ConfigDict(frozen=True)

    added: int = Field(description="Keys that the delivery before did not have.")
    removed: int = Field(description="Keys that only the delivery before had.")
    changed: int = Field(description="Keys of which it says something else.")


def changes(root: str, before: Receipt, after: Receipt) -> dict[str, TableChanges]:
    """Compare two deliveries, table by table; one that a delivery does not have is empty.

    Values are compared and not how they are written: ``2`` in a CSV is the 2.0 of a Parquet file. What cannot be read
    so, such as a number with a decimal comma, is compared as it is written.

    Raises:
        DeliveryError: a file is no longer what was accepted.

    """
    found = {}
    for table in DELIVERED:
        old, new = before.tables.get(table.name), after.tables.get(table.name)
        if old is None and new is None:
            continue
        if old is not None and new is not None and old.sha256 == new.sha256:
            found[table.name] = TableChanges(added=0, removed=0, changed=0)
        else:
            parts = max(each.rows for each in (old, new) if each is not None) // _PART_ROWS + 1
            found[table.name] = _compared(_hashed(root, before, table), _hashed(root, after, table), parts)
    return found


def _compared(before: pl.LazyFrame, after: pl.LazyFrame, parts: int) -> TableChanges:
    added = removed = changed = 0
    for part in range(parts):
        of_part = pl.col("key") % parts == part
        sides = [rows.filter(of_part).unique().group_by("key").agg(pl.col("row").sum()) for rows in (before, after)]
        counts = (
            sides[0]
            .join(sides[1], on="key", how="full", suffix="_after")
            .select(
                pl.col("key").is_null().sum().alias("added"),
                pl.col("key_after").is_null().sum().alias("removed"),
                (pl.col("row") != pl.col("row_after")).sum().alias("changed"),
            )
            .collect(engine="streaming")
            .row(0)
        )
        added, removed, changed = added + counts[0], removed + counts[1], changed + counts[2]
    return TableChanges(added=added, removed=removed, changed=changed)


def _hashed(root: str, receipt: Receipt, table: Table) -> pl.LazyFrame:
    """Return each row as two hashes: of its key, and of all that it says."""
    if table.name not in receipt.tables:
        return pl.LazyFrame(schema={"key": pl.UInt64, "row": pl.UInt64})
    rows = pl.scan_parquet(unchanged(root, receipt, table.name))
    given = rows.collect_schema()
    wanted = pl.Schema(table.delivered_schema)
    cells = {name: _cell(name, given.get(name), wanted[name]) for name in wanted}
    # A row's hash leaves room for the sum of those that have the same key.
    return rows.select(
        key=pl.struct(cells[name].alias(name) for name in table.key).hash(seed=0),
        row=pl.struct(cell.alias(name) for name, cell in cells.items()).hash(seed=1) // 2**16,
    )


def _cell(name: str, given: pl.DataType | None, wanted: pl.DataType) -> pl.Expr:
    """Return a value as text, in one way of writing where it can be read as its column's type."""
    if given is None:
        return pl.lit(None, pl.String)
    cell = pl.col(name)
    if wanted == pl.String:
        return cell.cast(pl.String)
    text = cell.cast(pl.String)
    if given == pl.String:
        stripped = text.str.strip_chars()
        read = (
            stripped.str.to_date("%Y-%m-%d", strict=False) if wanted == pl.Date else stripped.cast(wanted, strict=False)
        )
    else:
        read = cell.cast(wanted, strict=False)
    return pl.coalesce(read.cast(pl.String), text)
